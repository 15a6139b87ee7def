//! The contracts again, with backups that are encrypted.

use std::fs;
use std::path::Path;

use super::postgres::{Owner, Superuser};
use super::sqlite::Sqlite;
use super::state::State;
use super::{Subject, contract_tests, schema_tests};
use crate::encryption::Pair;
use crate::project::Project;

/// A subject whose project encrypts, and has the key at hand.
struct Encrypted<S> {
    subject: S,
    pair: Pair,
}

impl<S: Subject> Subject for Encrypted<S> {
    const ENGINE: &'static str = S::ENGINE;

    fn chinook() -> Option<String> {
        S::chinook()
    }

    fn start() -> Option<Self> {
        let (subject, pair) = (S::start()?, Pair::new());
        let key = pair.file(subject.project(), "key.txt");
        let variables = format!(
            "XTASK_DB_RECIPIENTS={}\nXTASK_DB_IDENTITY={}\n",
            pair.public,
            key.display()
        );
        subject.project().write(".env", variables);
        Some(Self { subject, pair })
    }

    fn project(&self) -> &Project {
        self.subject.project()
    }

    fn query(&self, sql: &str) -> Vec<String> {
        self.subject.query(sql)
    }

    fn state(&self) -> State {
        self.subject.state()
    }

    fn writer(&self) -> impl Sized + 'static {
        self.subject.writer()
    }

    fn state_by_hand(&self, dump: &Path) -> State {
        let name = dump.file_stem().expect("a name without `.age`");
        let opened = self.project().tmp().join(name);
        fs::write(&opened, self.pair.frame(dump)).expect("write the opened dump");
        self.subject.state_by_hand(&opened)
    }
}

mod sqlite {
    use super::{Encrypted, Sqlite, contract_tests, schema_tests};

    contract_tests!(Encrypted<Sqlite>:
        an_empty_database_is_one_again
        a_restore_under_a_writer_holds
        a_migration_applies_again_after_the_restore
        looking_writes_nothing
        a_flipped_bit_is_refused
    );

    schema_tests!(Encrypted<Sqlite>, "sqlite": tables search pages blobs);
}

mod postgres {
    use super::{Encrypted, Superuser, contract_tests, schema_tests};

    contract_tests!(Encrypted<Superuser>:
        an_empty_database_is_one_again
        a_restore_under_a_writer_holds
        a_migration_applies_again_after_the_restore
        looking_writes_nothing
        a_flipped_bit_is_refused
    );

    schema_tests!(Encrypted<Superuser>, "postgres": partitions values large_objects);
}

/// In place, where the dump is read as a stream several times.
mod owner {
    use super::{Encrypted, Owner, contract_tests, schema_tests};

    contract_tests!(Encrypted<Owner>:
        an_empty_database_is_one_again
        a_migration_applies_again_after_the_restore
        a_flipped_bit_is_refused
    );

    schema_tests!(Encrypted<Owner>, "postgres": references large_objects);
}

#[test]
fn a_dump_restores_without_this_tool() {
    if let Some(subject) = Encrypted::<Sqlite>::start() {
        super::a_dump_restores_without_this_tool(&subject, include_str!("sqlite/tables.sql"));
    }
    if let Some(subject) = Encrypted::<Superuser>::start() {
        super::a_dump_restores_without_this_tool(&subject, include_str!("postgres/partitions.sql"));
    }
}
