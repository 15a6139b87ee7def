//! The same without the feature: nothing of it can ever be made.

use std::convert::Infallible;
use std::io::{self, Read, Write};
use std::marker::PhantomData;

use super::{BadIdentity, BadRecipient, Encryption, Locked, Passphrase};

pub struct Seal(Infallible);

impl Seal {
    pub fn for_recipients<'a>(
        _keys: impl IntoIterator<Item = &'a str>,
    ) -> Result<Seal, BadRecipient> {
        Err(BadRecipient::Unknown)
    }

    pub fn with_passphrase(_passphrase: &Passphrase) -> Option<Seal> {
        None
    }

    pub fn encryption(&self) -> &Encryption {
        match self.0 {}
    }

    pub fn wrap<W: Write>(&self, _sink: W) -> io::Result<Sealing<W>> {
        match self.0 {}
    }
}

pub struct Sealing<W>(Infallible, PhantomData<W>);

impl<W: Write> Sealing<W> {
    pub fn finish(self) -> io::Result<W> {
        match self.0 {}
    }
}

impl<W: Write> Write for Sealing<W> {
    fn write(&mut self, _buffer: &[u8]) -> io::Result<usize> {
        match self.0 {}
    }

    fn flush(&mut self) -> io::Result<()> {
        match self.0 {}
    }
}

#[derive(Default)]
pub struct Identities(());

impl Identities {
    pub fn wants_passphrase(&self) -> bool {
        false
    }

    pub fn add(&mut self, _text: &[u8]) -> Result<(), BadIdentity> {
        Err(BadIdentity::None)
    }

    pub fn add_passphrase(&mut self, _passphrase: &Passphrase) -> bool {
        false
    }

    pub fn opened_by(&self, _passphrase: &Passphrase) -> Identities {
        Identities(())
    }

    pub fn try_open(&self, seal: &Seal) -> Result<(), Locked> {
        match seal.0 {}
    }

    pub fn can_open(&self, seal: &Seal) -> bool {
        match seal.0 {}
    }

    pub fn unlock(&self, _stored: impl Read) -> Result<Unlocked, Locked> {
        Err(Locked::NotBuilt)
    }
}

pub struct Unlocked(Infallible);

impl Unlocked {
    pub fn open<R: Read>(&self, _stored: R) -> io::Result<Opened<R>> {
        match self.0 {}
    }
}

pub struct Opened<R>(Infallible, PhantomData<R>);

impl<R: Read> Read for Opened<R> {
    fn read(&mut self, _buffer: &mut [u8]) -> io::Result<usize> {
        match self.0 {}
    }
}
