//! Work that is shared among the cores of the machine.

use std::thread;

/// Fewer pieces than this are done sooner than a thread is started.
pub const WORTH_A_THREAD: usize = 32;
const MAX_THREADS: usize = 16;

/// Does the work in shares, and returns what became of them in their order.
pub fn on_all<T: Sync, R: Send>(items: &[T], work: impl Fn(&[T]) -> R + Sync) -> Vec<R> {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let threads = cores.min(MAX_THREADS).min(items.len() / WORTH_A_THREAD);
    if threads < 2 {
        return vec![work(items)];
    }
    thread::scope(|scope| {
        let shares = items.chunks(items.len().div_ceil(threads));
        let workers: Vec<_> = shares.map(|share| scope.spawn(|| work(share))).collect();
        let done = workers.into_iter().map(|worker| match worker.join() {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        done.collect()
    })
}
