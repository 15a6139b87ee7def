//! What opens a dump, and whether a new one can be opened here.

use anyhow::Result;

use super::Typed;
use crate::commands::Scene;
use crate::values::encryption::{Identities, Locked, Passphrase, Seal};
use crate::values::failure::Failure;
use crate::values::progress::Progress;
use crate::values::verified_dump::VerifiedDump;
use crate::vault::ReadBack;

impl Scene<'_> {
    /// From here on the dump can be unpacked; asks for a passphrase where that would help and
    /// somebody is there. `verb` is what a hint begins with.
    pub(in crate::commands) fn unlock(&self, dump: &mut VerifiedDump, verb: &str) -> Result<()> {
        self.keys.verb.replace(verb.to_owned());
        let Some(encryption) = dump.manifest().dump.encryption.clone() else {
            return Ok(());
        };
        let id = dump.manifest().id.clone();
        let identities = &self.keys.identities;
        let mut unlocked = dump.unlock(identities);
        let is_closed =
            |tried: &Result<(), Locked>| tried.as_ref().is_err_and(Locked::is_for_another_key);
        if is_closed(&unlocked)
            && let Some(typed) = &*self.keys.typed.borrow()
        {
            unlocked = dump.unlock(&typed.identities);
        }
        let asks = encryption.passphrase || identities.wants_passphrase();
        let is_ci = std::env::var_os("CI").is_some_and(|value| !value.is_empty());
        if is_closed(&unlocked)
            && asks
            && !is_ci
            && let Some(typed) = self.ui.ask_secret("passphrase", self.interrupt)?
            && let Some(passphrase) = Passphrase::new(&typed)
        {
            let identities = identities.opened_by(&passphrase);
            unlocked = dump.unlock(&identities);
            if unlocked.is_ok() {
                self.keys.typed.replace(Some(Typed {
                    passphrase,
                    identities,
                }));
            }
        }
        unlocked.map_err(|locked| {
            let refusal = locked.refusal(&id, &encryption, verb);
            anyhow::Error::new(locked).context(refusal)
        })?;
        self.keys.opened.get_or_init(|| encryption);
        Ok(())
    }

    /// As [`ReadBack::open`], with the keys at hand, or else with what a typed passphrase opens.
    pub(in crate::commands) fn open_read_back(
        &self,
        read_back: &mut ReadBack,
        progress: &dyn Progress,
    ) -> Result<Option<Locked>> {
        let locked = read_back.open(&self.keys.identities, progress, self.interrupt)?;
        match (&locked, &*self.keys.typed.borrow()) {
            (Some(_), Some(typed)) => read_back.open(&typed.identities, progress, self.interrupt),
            _ => Ok(locked),
        }
    }

    /// Hands over keys that open what is encrypted like this, for the test that it does; refuses
    /// before anything is encrypted when there are none.
    pub(in crate::commands) fn with_keys_for<T>(
        &self,
        seal: &Seal,
        work: impl FnOnce(&Identities) -> Result<T>,
    ) -> Result<T> {
        let typed = self.keys.typed.borrow();
        let typed = typed.as_ref().map(|typed| &typed.identities);
        let mut all = std::iter::once(&self.keys.identities).chain(typed);
        match all.find(|identities| identities.can_open(seal)) {
            Some(identities) => work(identities),
            None => Err(Failure::refused(
                "what it would become cannot be tested: no key at hand opens it",
            )
            .hint("name a key of somebody who will be able to open it, with `--identity FILE`")
            .into()),
        }
    }

    /// Refuses when what a backup of this run will be could not be restored here.
    pub(in crate::commands) fn require_own_key(&self) -> Result<(), Failure> {
        let Some(seal) = self.keys.seal() else {
            return Ok(());
        };
        if self.keys.identities.can_open(seal) {
            return Ok(());
        }
        Err(Failure::refused(format!(
            "backups are encrypted for {}, and no key at hand opens them: the rehearsal could not \
             restore the one that it takes; nothing was changed",
            seal.encryption().summary()
        ))
        .hint(
            "name the key: cargo xtask db migrate-safe --identity FILE\n\
             or go without this proof: cargo xtask db migrate-safe --no-rehearse",
        ))
    }

    /// Refuses when a key is named for what a backup of this run will be, and it is another one:
    /// who is so sure of a restore would find out too late.
    pub(in crate::commands) fn refuse_another_key(&self) -> Result<(), Failure> {
        let Some(seal) = self.keys.seal() else {
            return Ok(());
        };
        if self.keys.identities.try_open(seal) != Err(Locked::WrongKey) {
            return Ok(());
        }
        let verb = self.keys.verb.borrow();
        Err(Failure::refused(format!(
            "nobody here could restore the backup: it would be encrypted for {}, and the keys at hand \
             are others; nothing was changed",
            seal.encryption().summary()
        ))
        .hint(format!(
            "name the right key: cargo xtask db {verb} --identity FILE\n\
             or, when others are to restore it, name none: leave `--identity` and `XTASK_DB_IDENTITY` out"
        )))
    }

    /// Said once in a run.
    pub(in crate::commands) fn say_locked(&self, locked: &Locked) {
        let Some(seal) = self.keys.seal() else {
            return;
        };
        if self.keys.said.replace(true) {
            return;
        }
        let whom = seal.encryption().summary();
        self.ui.insist(match locked {
            Locked::NoKey => format!(
                "note: nobody here can restore it: it is encrypted for {whom}, and no key for that \
                 is at hand (`--identity FILE`), so it was not decrypted to see that it can be"
            ),
            Locked::ClosedKey => format!(
                "note: nobody here can restore it: it is encrypted for {whom}, and the SSH key at hand \
                 has a passphrase, which is not at hand (`--passphrase-file FILE`), so it was not \
                 decrypted to see that it can be"
            ),
            _ => format!(
                "warning: nobody here can restore it: it is encrypted for {whom}, and the keys at \
                 hand are others"
            ),
        });
    }
}
