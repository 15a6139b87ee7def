//! Off-site in a program that was built without it: there is no place to open.

use std::convert::Infallible;
use std::io::Write;

use anyhow::Result;

use crate::interrupt::Interrupt;
use crate::values::id::BackupId;
use crate::values::manifest::Manifest;
use crate::values::offsite::{Inventory, Place, Pushed};
use crate::values::progress::Progress;
use crate::values::verified_dump::VerifiedDump;

/// There is none.
pub struct Offsite(Infallible);

impl Offsite {
    pub fn open(place: &Place, _: &Interrupt) -> Result<Offsite> {
        anyhow::bail!("{place} cannot be opened: this program was built without copies off-site")
    }

    pub fn names(&self) -> Result<Inventory> {
        match self.0 {}
    }

    pub fn manifest(&self, _: &BackupId) -> Result<Vec<u8>> {
        match self.0 {}
    }

    pub fn manifests(&self, _: &[BackupId]) -> Result<Vec<Result<Vec<u8>>>> {
        match self.0 {}
    }

    pub fn push(
        &self,
        _: &VerifiedDump,
        _: &[u8],
        _: &dyn Progress,
        _: &mut dyn FnMut(Option<&str>),
    ) -> Result<(Pushed, Vec<String>)> {
        match self.0 {}
    }

    pub fn abandon(&self, _: &str, _: &str) -> Result<()> {
        match self.0 {}
    }

    pub fn remove(&self, _: &Manifest) -> Result<()> {
        match self.0 {}
    }

    pub fn matches(&self, _: &Manifest, _: &dyn Progress) -> Result<()> {
        match self.0 {}
    }

    pub fn fetch(&self, _: &Manifest, _: &mut dyn Write, _: &dyn Progress) -> Result<()> {
        match self.0 {}
    }
}
