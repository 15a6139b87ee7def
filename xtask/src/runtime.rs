//! The bridge from asynchronous drivers to a synchronous story.

use std::future::Future;
use std::pin::pin;

use anyhow::{Context, Result};
use futures_util::future::{Either, select};

use crate::interrupt::{Interrupt, Interrupted};

/// A current-thread runtime that gives up waiting when a signal comes.
pub struct Runtime {
    runtime: tokio::runtime::Runtime,
    interrupt: Interrupt,
}

impl Runtime {
    pub fn new(interrupt: Interrupt) -> Result<Runtime> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("cannot start the async runtime")?;
        Ok(Runtime { runtime, interrupt })
    }

    pub fn interrupt(&self) -> &Interrupt {
        &self.interrupt
    }

    /// Waits for `work`, or for a signal.
    pub fn block_on<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        self.runtime.block_on(async {
            let raised = pin!(self.interrupt.raised());
            match select(pin!(work), raised).await {
                Either::Left((done, _)) => done,
                Either::Right(((), _)) => Err(Interrupted.into()),
            }
        })
    }

    /// Waits for `work` even when a signal came: for cleaning up.
    pub fn block_on_to_the_end<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }
}
