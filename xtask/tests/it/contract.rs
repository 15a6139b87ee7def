//! What both engines promise, told once: each contract is generic over [`Subject`], and every engine
//! runs all of them on its own hard schemas.
//!
//! Identical means: the same catalogue, the same rows of every root table by column name and in any
//! order, the same sequences and large objects. Dump texts are not compared, see `state.sql`.

mod encrypted;
mod postgres;
mod sqlite;
mod state;

use std::path::Path;

use serde_json::Value;

use crate::project::Project;
use state::State;

/// A database under test, with a project whose `DATABASE_URL` leads to it.
trait Subject: Sized {
    /// As manifests name it.
    const ENGINE: &'static str;

    /// The music store of the shared data, as a script; nothing where it is not beside the checkout.
    fn chinook() -> Option<String>;

    /// A new empty database; nothing, after a visible line, where its server is missing.
    fn start() -> Option<Self>;

    fn project(&self) -> &Project;

    /// What every backup and every restore is asked for besides.
    fn flags(&self) -> &'static [&'static str] {
        &[]
    }

    /// Runs statements and returns the rows of all of them as `a|b`.
    fn query(&self, sql: &str) -> Vec<String>;

    /// Everything in it but the rows of the writer.
    fn state(&self) -> State;

    /// A second connection that writes until it is dropped, and comes back when it is cut.
    fn writer(&self) -> impl Sized + 'static;

    /// The state that `dump` holds, restored with nothing but `zstd` and the engine's own tools.
    fn state_by_hand(&self, dump: &Path) -> State;
}

/// Two tables that every transaction of a writer grows by one row each, without a gap: a copy that
/// was taken between two of its statements, or from two moments, shows.
const WRITER_TABLES: &str = "
    CREATE TABLE writer_left (id BIGINT NOT NULL PRIMARY KEY);
    CREATE TABLE writer_right (id BIGINT NOT NULL PRIMARY KEY);
";

/// What separates the two halves of a schema's script.
const CHANGE: &str = "\n-- The change.\n";

/// How many rows the writer has made; panics when the copy is from no single moment.
#[track_caller]
fn written<S: Subject>(subject: &S) -> u64 {
    let found = subject.query(
        "SELECT count(*), coalesce(max(id), 0), (SELECT count(*) FROM writer_right),
                (SELECT coalesce(max(id), 0) FROM writer_right)
         FROM writer_left;",
    );
    let numbers: Vec<u64> = found[0]
        .split('|')
        .map(|number| number.parse().expect("a count"))
        .collect();
    assert!(
        numbers.iter().all(|number| *number == numbers[0]),
        "a transaction of the writer is there in part: {numbers:?}"
    );
    numbers[0]
}

/// Waits for the writer to get `more` rows in.
#[track_caller]
fn wait_for_writes<S: Subject>(subject: &S, more: u64) {
    let deadline = std::time::Instant::now() + crate::exec::LIMIT;
    let wanted = written(subject) + more;
    while written(subject) < wanted {
        assert!(
            std::time::Instant::now() < deadline,
            "the writer does not write"
        );
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

#[track_caller]
fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_else(|| panic!("no text at {pointer} of {value:#}"))
}

/// The rows that a manifest counts in a table.
#[track_caller]
fn counted(manifest: &Value, table: &str) -> u64 {
    let tables = manifest["tables"].as_array().expect("a list of tables");
    tables
        .iter()
        .find(|entry| entry["name"] == table)
        .and_then(|entry| entry["rows"].as_u64())
        .unwrap_or_else(|| panic!("no `{table}` in {tables:?}"))
}

/// Backup under a writer, change everything, restore: identical; and the safety backup undoes it.
fn survives<S: Subject>(subject: &S, script: &str) {
    let (create, change) = script.split_once(CHANGE).expect("a script of two halves");
    let project = subject.project();
    let run = |words: &[&str]| project.json([&["db"], words, subject.flags()].concat());
    subject.query(create);
    subject.query(WRITER_TABLES);
    let before = subject.state();

    let writer = subject.writer();
    wait_for_writes(subject, 3);
    let at_least = written(subject);
    let taken = run(&["backup", "contract"]);
    wait_for_writes(subject, 3);
    drop(writer);
    let at_most = written(subject);

    let manifest = &taken["backup"];
    assert_eq!(text(manifest, "/database/engine"), S::ENGINE);
    assert_eq!(text(manifest, "/reason"), "manual");
    let dumped = counted(manifest, "writer_left");
    assert!((at_least..=at_most).contains(&dumped), "{dumped} rows");
    let verified = project.json(["db", "verify", "--all"]);
    assert_eq!(verified["verified"][0]["trusted"], true, "{verified:#}");

    subject.query(change);
    let changed = subject.state();
    assert_ne!(before, changed, "the change changes nothing");
    let restored = run(&["restore", "latest", "--yes"]);
    assert_eq!(restored["restored"], manifest["id"]);
    before.assert_same(&subject.state(), "after the restore");
    assert_eq!(written(subject), dumped, "rows of the dump's own moment");

    let undo = text(&restored, "/safety_backup");
    run(&["restore", undo, "--yes"]);
    changed.assert_same(&subject.state(), "after the undo");
    assert_eq!(written(subject), at_most);
}

/// The same when nothing is there: what came after an empty database goes.
fn an_empty_database_is_one_again<S: Subject>(subject: &S) {
    let before = subject.state();
    subject.project().json(["db", "backup"]);
    subject
        .query("CREATE TABLE late (id BIGINT NOT NULL PRIMARY KEY); INSERT INTO late VALUES (1);");
    subject.project().json(["db", "restore", "latest", "--yes"]);
    before.assert_same(&subject.state(), "after the restore");
}

/// A writer that reconnects in a loop neither breaks a restore nor is broken by it.
fn a_restore_under_a_writer_holds<S: Subject>(subject: &S) {
    subject.query(WRITER_TABLES);
    subject.query("CREATE TABLE kept (id BIGINT NOT NULL PRIMARY KEY, name TEXT);");
    subject.query("INSERT INTO kept VALUES (1, 'one'), (2, 'two');");
    let before = subject.state();
    let taken = subject.project().json(["db", "backup"]);
    subject.query("DELETE FROM kept; ALTER TABLE kept ADD COLUMN more TEXT;");
    subject.query("CREATE TABLE late (id BIGINT NOT NULL PRIMARY KEY);");

    let writer = subject.writer();
    wait_for_writes(subject, 20);
    let id = text(&taken, "/backup/id");
    let restored = subject.project().json(["db", "restore", id, "--yes"]);
    before.assert_same(&subject.state(), "right after the restore");
    wait_for_writes(subject, 20);
    drop(writer);
    before.assert_same(&subject.state(), "with the writer back");
    assert!(restored["safety_backup"].is_string(), "{restored:#}");
}

/// A migration that was a mistake is gone after the restore, and applies cleanly again.
fn a_migration_applies_again_after_the_restore<S: Subject>(subject: &S) {
    let project = subject.project();
    let add = |file: &str, sql: &str| project.write(format!("migrations/{file}"), sql);
    add(
        "1_base.sql",
        "CREATE TABLE authors (id BIGINT NOT NULL PRIMARY KEY, name TEXT NOT NULL);
         INSERT INTO authors VALUES (1, 'Ada'), (2, 'Grace');",
    );
    project.json(["db", "migrate-safe", "--yes"]);
    let before = subject.state();
    add(
        "2_books.sql",
        "CREATE TABLE books (id BIGINT NOT NULL PRIMARY KEY, author BIGINT NOT NULL REFERENCES authors (id));
         INSERT INTO books VALUES (7, 1);
         CREATE VIEW written AS SELECT authors.name, books.id FROM books JOIN authors ON authors.id = books.author;",
    );
    add(
        "10_email.sql",
        "ALTER TABLE authors ADD COLUMN email TEXT; UPDATE authors SET email = name;",
    );

    for round in ["first", "second"] {
        let done = project.json(["db", "migrate-safe", "--yes"]);
        assert_eq!(done["outcome"], "migrated", "{round}: {done:#}");
        let versions: Vec<_> = done["applied"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|m| &m["version"])
            .collect();
        assert_eq!(versions, [2, 10], "{round}");
        assert_eq!(text(&done, "/backup/reason"), "pre-migrate");
        assert_eq!(subject.query("SELECT count(*) FROM written;"), ["1"]);
        project.json(["db", "restore", text(&done, "/backup/id"), "--yes"]);
        before.assert_same(&subject.state(), round);
        let status = project.json(["db", "status"]);
        assert_eq!(
            status["pending"].as_array().map(Vec::len),
            Some(2),
            "{status:#}"
        );
    }
}

/// Verbs that only look leave no trace, not even sqlx's own table.
fn looking_writes_nothing<S: Subject>(subject: &S) {
    subject
        .project()
        .write("migrations/1_init.sql", "CREATE TABLE t (id BIGINT);");
    subject
        .query("CREATE TABLE seen (id BIGINT NOT NULL PRIMARY KEY); INSERT INTO seen VALUES (1);");
    subject.project().json(["db", "backup"]);
    let before = subject.state();
    let files = subject.project().vault_files();
    let planned = subject.project().json(["db", "migrate-safe", "--dry-run"]);
    assert_eq!(planned["outcome"], "planned", "{planned:#}");
    for verb in ["status", "list", "verify"] {
        subject.project().json(["db", verb]);
    }
    before.assert_same(&subject.state(), "after looking");
    assert_eq!(subject.project().vault_files(), files);
}

/// One flipped bit in the dump, and neither verify nor restore has anything to do with it.
fn a_flipped_bit_is_refused<S: Subject>(subject: &S) {
    subject
        .query("CREATE TABLE kept (id BIGINT NOT NULL PRIMARY KEY); INSERT INTO kept VALUES (1);");
    let taken = subject.project().json(["db", "backup"]);
    let dump = Path::new(text(&taken, "/path"));
    subject.query("INSERT INTO kept VALUES (2);");
    let before = subject.state();

    let mut bytes = std::fs::read(dump).expect("read the dump");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    std::fs::write(dump, &bytes).expect("damage the dump");
    let files = subject.project().vault_files();
    subject.project().run(["db", "verify"]).expect_code(4);
    subject
        .project()
        .run(["db", "restore", "latest", "--yes"])
        .expect_code(4);
    before.assert_same(&subject.state(), "after a refused restore");
    assert_eq!(
        subject.project().vault_files(),
        files,
        "no safety backup for nothing"
    );

    bytes[middle] ^= 0x10;
    std::fs::write(dump, &bytes).expect("repair the dump");
    subject.project().run(["db", "verify"]).expect_code(0);
}

/// The README's promise for the day on which this tool is not at hand.
fn a_dump_restores_without_this_tool<S: Subject>(subject: &S, script: &str) {
    if crate::exec::is_missing("zstd") {
        return;
    }
    let (create, _) = script.split_once(CHANGE).expect("a script of two halves");
    subject.query(create);
    let before = subject.state();
    let taken = subject.project().json(["db", "backup"]);
    let by_hand = subject.state_by_hand(Path::new(text(&taken, "/path")));
    // Settings, owner and comment of the database itself are in no plain dump.
    let without = |state: State| state.without("database");
    without(before).assert_same(&without(by_hand), "restored by hand");
}

/// The store's real data: every row is counted in the manifest, and comes back.
fn chinook_survives<S: Subject>(subject: &S, change: &str) {
    let Some(script) = S::chinook() else {
        // Past the capture of libtest, as every skip.
        crate::exec::say("SKIPPED: no ../shared/data/chinook beside this checkout");
        return;
    };
    survives(subject, &format!("{script}{CHANGE}{change}"));
    let taken = subject.project().json(["db", "backup"]);
    let tables = taken["backup"]["tables"].as_array();
    let counted: u64 = (tables.expect("a list of tables").iter())
        .filter(|table| {
            !table["name"]
                .as_str()
                .is_some_and(|name| name.starts_with("writer_"))
        })
        .map(|table| table["rows"].as_u64().expect("a count"))
        .sum();
    assert_eq!(counted, subject.state().rows());
    assert!(counted > 5_000, "not the store: {counted} rows");
}

/// The contracts that need no script, as tests of the engine that calls this.
macro_rules! contract_tests {
    ($subject:ty: $($contract:ident)*) => {
        $(
            #[test]
            fn $contract() {
                if let Some(subject) = <$subject as $crate::contract::Subject>::start() {
                    $crate::contract::$contract(&subject);
                }
            }
        )*
    };
}
use contract_tests;

/// One test for each hard schema, a script in `folder`.
macro_rules! schema_tests {
    ($subject:ty, $folder:literal: $($schema:ident)*) => {
        $(
            #[test]
            fn $schema() {
                if let Some(subject) = <$subject as $crate::contract::Subject>::start() {
                    let script = include_str!(concat!($folder, "/", stringify!($schema), ".sql"));
                    $crate::contract::survives(&subject, script);
                }
            }
        )*
    };
}
use schema_tests;
