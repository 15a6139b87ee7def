//! For whom the backups of a run are encrypted, and where an unencrypted one is refused.

use anyhow::Result;

use super::Keys;
use crate::commands::{Scene, choose};
use crate::config::{Audience, NOBODY};
use crate::engine::Engine;
use crate::values::database::DatabaseFacts;
use crate::values::encryption::{self, Encryption, Seal, not_built};
use crate::values::failure::Failure;
use crate::vault::Backup;

impl Scene<'_> {
    /// What was encrypted does not lie there for everybody because nobody is named: from here on
    /// backups are for those who are named, or else for those of the newest backup of this database,
    /// or else for those of the dump that was opened, or of a database of this name. To be called
    /// before writers are held.
    pub(in crate::commands) fn settle_seal(
        &self,
        engine: &mut dyn Engine,
        facts: &DatabaseFacts,
    ) -> Result<()> {
        let is_settled = self.keys.seal().is_some() || self.settings.encryption.is_declined;
        if !is_settled && let Some((before, seal)) = self.seal_like_before(facts)? {
            self.ui.insist(format!(
                "note: nobody is named to encrypt backups for; they are encrypted as before, for {}",
                before.summary()
            ));
            self.keys.like_before.get_or_init(|| seal);
        } else if !is_settled && let Some(why) = self.keys.of_ssh_key {
            return Err(self.refuse_passphrase_of_a_key(why).into());
        }
        if self.keys.seal().is_some() {
            engine.stay_off_the_disk();
        }
        Ok(())
    }

    fn refuse_passphrase_of_a_key(&self, why: &str) -> Failure {
        let verb = self.keys.verb.borrow();
        Failure::usage(format!(
            "{why}; for whom backups are to be encrypted is not said"
        ))
        .hint(format!(
            "for the SSH key: cargo xtask db {verb} --recipient \"$(cat KEY.pub)\"\n\
             or unencrypted: cargo xtask db {verb} --recipient {NOBODY}\n\
             or, when it is the passphrase of backups, leave `--identity` and `XTASK_DB_IDENTITY` out"
        ))
    }

    /// Who was opened for may have been shut out since, and counts only where nobody else is known;
    /// those of a database of the same name, where nothing at all is known of this one.
    fn seal_like_before(&self, facts: &DatabaseFacts) -> Result<Option<(Encryption, Seal)>> {
        let is_alike = |backup: &Backup| {
            let then = &backup.manifest.database;
            then.engine == facts.engine && then.name == facts.name
        };
        let newest = choose::newest_full(self, &|backup| choose::is_of(backup, facts))?;
        let (newest, opened) = match (newest, self.keys.opened.get()) {
            (None, None) => (choose::newest_full(self, &is_alike)?, None),
            known => known,
        };
        let newest = newest.and_then(|backup| backup.manifest.dump.encryption);
        let Some(before) = newest.or_else(|| opened.cloned()) else {
            return Ok(None);
        };
        let seal = self.seal_like(&before)?;
        Ok(Some((before, seal)))
    }

    fn seal_like(&self, before: &Encryption) -> Result<Seal, Failure> {
        let Keys { typed, verb, .. } = &self.keys;
        let verb = &verb.borrow();
        let seal = match (&*typed.borrow(), before.passphrase) {
            (Some(typed), true) => Seal::with_passphrase(&typed.passphrase),
            (None, true) => None,
            (_, false) => Seal::for_recipients(before.recipients.iter().map(String::as_str)).ok(),
        };
        if let Some(seal) = seal {
            return Ok(seal);
        }
        let whom = before.summary();
        let message = format!(
            "the backups before are encrypted for {whom}, and nothing is named to encrypt this one \
             with; nothing was changed"
        );
        if !encryption::IS_BUILT {
            return Err(not_built(message, verb));
        }
        let how = match (before.passphrase, self.keys.of_ssh_key) {
            (true, Some(why)) => {
                format!(
                    "{why}: when it is that of backups, leave `--identity` and `XTASK_DB_IDENTITY` out"
                )
            }
            (true, None) => format!("cargo xtask db {verb} --passphrase-file FILE"),
            (false, _) => format!("cargo xtask db {verb} --recipient KEY"),
        };
        Err(Failure::refused(message).hint(format!(
            "{how}\n\
             or, when it is to lie there unencrypted: cargo xtask db {verb} --recipient {NOBODY}"
        )))
    }

    /// The artifacts and caches of a public repository can be downloaded by everybody.
    pub(in crate::commands) fn refuse_public(&self) -> Result<(), Failure> {
        if self.keys.seal().is_some() {
            return Ok(());
        }
        let refused = self.refuse_public_plain("the backup would not be encrypted");
        refused.map_err(|failure| {
            let or_else = failure.hint.clone().unwrap_or_default();
            failure.hint(format!(
                "encrypt it: cargo xtask db backup --recipient age1…\nor, {or_else}"
            ))
        })
    }

    /// The same of what is not encrypted, whatever backups are. An event that does not say is no
    /// reason to believe that it is nobody's business.
    pub(in crate::commands) fn refuse_public_plain(&self, what: &str) -> Result<(), Failure> {
        if self.settings.encryption.unencrypted_in_public {
            return Ok(());
        }
        let whose = match self.settings.audience {
            Audience::Few => return Ok(()),
            Audience::Everybody => "this is a GitHub Actions run of a public repository",
            Audience::Unknown => {
                "this is a GitHub Actions run, and its event does not say that the repository is private"
            }
        };
        Err(Failure::refused(format!(
            "{whose}; the artifacts of a public one can be read by everybody, and {what}; nothing was changed"
        ))
        .hint("when it stays on a machine of your own, say so: --unencrypted-in-public"))
    }
}
