//! The contracts on other versions of PostgreSQL, and what happens between two of them.
//!
//! The programs of 16 and 18 that every machine can have come without contrib and libxml, which the
//! schemas `extensions`, `server` and `columns` need.

use super::{Postgres, Subject, survives};
use crate::cluster::Cluster;
use crate::contract::{contract_tests, schema_tests};
use crate::setup::{Case, says, text};

/// All contracts on one version.
macro_rules! version {
    ($name:ident, $major:literal) => {
        mod $name {
            use super::*;

            contract_tests!(Postgres<false, $major>:
                an_empty_database_is_one_again
                a_restore_under_a_writer_holds
                a_migration_applies_again_after_the_restore
                looking_writes_nothing
                a_flipped_bit_is_refused
            );

            schema_tests!(Postgres<false, $major>, ".":
                partitions references views inheritance names large_objects security
            );

            mod owner {
                use super::*;

                contract_tests!(Postgres<true, $major>:
                    an_empty_database_is_one_again
                    a_restore_under_a_writer_holds
                    a_migration_applies_again_after_the_restore
                );

                schema_tests!(Postgres<true, $major>, ".":
                    partitions references views inheritance names large_objects
                );
            }
        }
    };
}

version!(sixteen, 16);
version!(eighteen, 18);

const OLD: &str = "CREATE TABLE t (id BIGINT PRIMARY KEY, name TEXT NOT NULL);
                   INSERT INTO t VALUES (1, 'one'), (2, 'two'); SELECT lo_create(7);";
const QUESTION: &str =
    "SELECT id, name FROM t ORDER BY id; SELECT oid FROM pg_largeobject_metadata;";

/// A dump by an older program would lack what it does not know.
#[test]
fn an_older_pg_dump_is_refused_before_anything() {
    let (Some(older), Some(newer)) = (Cluster::get_or_skip(), Cluster::of_major_or_skip(18)) else {
        return;
    };
    let mut case = Case::of(newer.create_database("older_tool"));
    case.project = case
        .project
        .migration("1_first.sql", "CREATE TABLE first (id INT);")
        .env("PG_BIN", older.bin());
    for arguments in [&["db", "backup"][..], &["db", "migrate-safe", "--yes"]] {
        let refused = case.project.run(arguments).expect_code(3);
        says(
            &refused,
            &["does not fit: the server is 18", "postgresql-client-18"],
        );
    }
    assert_eq!(case.project.vault_files(), [""; 0]);
    assert_eq!(case.query("SELECT to_regclass('first') IS NULL;"), ["t"]);
}

/// Its script begins with a setting that the older server does not know.
#[test]
fn a_newer_pg_dump_serves_an_older_server() {
    let Some(newer) = Cluster::of_major_or_skip(18) else {
        return;
    };
    let Some(mut superuser) = Postgres::<false>::start() else {
        return;
    };
    superuser.project = superuser.project.env("PG_BIN", newer.bin());
    survives(&superuser, include_str!("large_objects.sql"));
    let Some(mut owner) = Postgres::<true>::start() else {
        return;
    };
    owner.project = owner.project.env("PG_BIN", newer.bin());
    survives(&owner, include_str!("large_objects.sql"));
}

/// The vault moves to the new server with its database, and the plan says so.
#[test]
fn a_restore_into_a_newer_server() {
    let (Some(older), Some(newer)) = (Cluster::get_or_skip(), Cluster::of_major_or_skip(18)) else {
        return;
    };
    let case = Case::of(older.create_database("upgraded"));
    case.query(OLD);
    let major = older
        .database("postgres")
        .psql("SELECT current_setting('server_version_num')::int / 10000;");
    let before = case.query(QUESTION);
    let id = case.backup();
    let target = newer.create_database("upgraded");
    let mut after = Case {
        project: case.project,
        server: Some(target.clone()),
    };
    after.project = after
        .project
        .database_url(&target.url())
        .env("PG_BIN", newer.bin());
    let arguments = ["db", "restore", &id, "--force"];
    let restored = after.project.run(arguments).expect_code(0);
    says(
        &restored,
        &[
            &format!(
                "warning: the backup was taken on PostgreSQL {}",
                major.trim()
            ),
            "this is 18",
        ],
    );
    assert_eq!(after.query(QUESTION), before);
}

/// And back, where nothing that only the newer server knows is in the way: refused or right.
#[test]
fn a_restore_into_an_older_server() {
    let (Some(older), Some(newer)) = (Cluster::get_or_skip(), Cluster::of_major_or_skip(18)) else {
        return;
    };
    let mut case = Case::of(newer.create_database("downgraded"));
    case.project = case.project.env("PG_BIN", newer.bin());
    case.query(OLD);
    let before = case.query(QUESTION);
    let plain = case.backup();
    case.query("ALTER TABLE t ADD COLUMN twice BIGINT GENERATED ALWAYS AS (id * 2) VIRTUAL;");
    let virtual_column = case.backup();

    let target = older.create_database("downgraded");
    let after = Case {
        project: case.project.database_url(&target.url()),
        server: Some(target),
    };
    let arguments = ["db", "restore", &plain, "--force"];
    let restored = after.project.run(arguments).expect_code(0);
    says(
        &restored,
        &["warning: the backup was taken on PostgreSQL 18"],
    );
    assert_eq!(after.query(QUESTION), before);
    after.query("DELETE FROM t;");
    let arguments = ["db", "restore", &virtual_column, "--force"];
    let refused = after.project.run(arguments).expect_code(1);
    says(
        &refused,
        &["warning: the backup was taken on", "syntax error"],
    );
    assert_eq!(after.query("SELECT count(*) FROM t;"), ["0"], "untouched");
    let status = after.project.json(["db", "status"]);
    assert_eq!(
        text(&status, "/database/name"),
        after.server.as_ref().expect("a server").name()
    );
}
