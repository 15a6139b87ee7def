//! A limit on the size of files: a write fails in the middle of a file, with every user and in every
//! container.

use std::process::Command;

use super::{Before, fill_sqlite};
use crate::exec::{self, Output};
use crate::project::Project;
use crate::setup::{Case, says};

/// Runs the tool with files of at most `kib`; a write beyond is an error and no signal.
fn run(project: &Project, kib: u64, arguments: &[&str]) -> Output {
    let mut shell = Command::new("sh");
    // In blocks of 512 bytes, as POSIX has it.
    let script = format!("trap '' XFSZ; ulimit -S -f {}; exec \"$@\"", kib * 2);
    shell.args(["-c", &script, "sh"]);
    exec::run(&mut exec::wrapped(shell, &project.command(arguments)), None)
}

fn kib_of(case: &Case) -> u64 {
    let file = std::fs::metadata(case.project.sqlite_path());
    file.expect("look at the database").len() >> 10
}

#[test]
fn a_backup_of_sqlite_that_cannot_be_written_to_its_end() {
    let case = Case::sqlite();
    fill_sqlite(&case, 700);
    let whole = kib_of(&case);
    let before = Before::of(&case);
    for kib in [1, 4, whole / 2, whole - 4] {
        let failed = run(&case.project, kib, &["db", "backup"]);
        assert_eq!(failed.code, 1, "{kib} KiB\n{failed}");
        says(&failed, &["error: no backup was taken of the SQLite"]);
        before.is_still_there(&case, &failed);
    }
    run(&case.project, whole + 8, &["db", "backup"]).expect_code(0);
    case.project.run(["db", "verify", "--all"]).expect_code(0);
}

/// In WAL mode there is no copy that could fail first.
#[test]
fn a_dump_of_the_live_file_that_cannot_be_written_to_its_end() {
    let case = Case::sqlite();
    case.query("PRAGMA journal_mode = wal;");
    fill_sqlite(&case, 3000);
    let whole = kib_of(&case);
    let bytes = || std::fs::read(case.project.sqlite_path()).expect("read the database");
    let (before, contents) = (bytes(), case.contents());
    for kib in [whole / 4, whole / 2, whole - whole / 8] {
        let failed = run(&case.project, kib, &["db", "backup"]);
        assert_eq!(failed.code, 1, "{kib} KiB\n{failed}");
        says(&failed, &["error: no backup was taken of the SQLite"]);
        assert_eq!(case.project.vault_files(), [""; 0], "{failed}");
        assert!(bytes() == before, "{failed}");
    }
    assert_eq!(case.contents(), contents);
    run(&case.project, whole + 8, &["db", "backup"]).expect_code(0);
    case.project.run(["db", "verify", "--all"]).expect_code(0);
}

/// The dump streams into the vault, and stops at any byte.
#[test]
fn a_backup_of_a_server_that_cannot_be_written_to_its_end() {
    let Some(case) = Case::postgres("limited") else {
        return;
    };
    case.query(
        "CREATE TABLE t AS SELECT x, sha512(x::text::bytea) FROM generate_series(1, 9000) x;",
    );
    let before = Before::of(&case);
    for kib in [1, 60, 300] {
        let failed = run(&case.project, kib, &["db", "backup"]);
        assert_eq!(failed.code, 1, "{kib} KiB\n{failed}");
        says(&failed, &["no backup was taken", "File too large"]);
        before.is_still_there(&case, &failed);
    }
    run(&case.project, 2 << 10, &["db", "backup"]).expect_code(0);
    case.project.run(["db", "verify", "--all"]).expect_code(0);
}

/// The log of what is to become the database is larger than the database.
#[test]
fn a_restore_that_cannot_be_written_to_its_end_leaves_the_sqlite_file_as_it_is() {
    for (mode, spare) in [("delete", -8), ("wal", -8), ("wal", 4)] {
        let case = Case::sqlite();
        case.query(&format!("PRAGMA journal_mode = {mode};"));
        fill_sqlite(&case, 700);
        let id = case.backup();
        let whole = kib_of(&case);
        case.query("DELETE FROM t WHERE id > 5; VACUUM; PRAGMA wal_checkpoint(TRUNCATE);");
        let rows = "SELECT id, hex(bytes) FROM t ORDER BY id; PRAGMA integrity_check;";
        let small = case.query(rows);
        let kib = whole.checked_add_signed(spare).expect("a limit");
        let failed = run(&case.project, kib, &["db", "restore", &id, "--yes"]);
        assert_eq!(failed.code, 1, "{mode} {spare}\n{failed}");
        says(&failed, &["was not restored"]);
        assert_eq!(case.query(rows), small, "{mode} {spare}\n{failed}");
        let staged = |name: &String| name.starts_with('.');
        assert!(!case.project.vault_files().iter().any(staged), "{failed}");
        case.restore(&id);
        assert_eq!(case.query("SELECT count(*) FROM t;"), ["700"], "{mode}");
    }
}

/// There is room for the backup and none for what the migration writes.
#[test]
fn a_migration_that_cannot_be_written_to_its_end_is_rolled_back() {
    for mode in ["delete", "wal"] {
        let mut case = Case::sqlite();
        case.project = case.project.unrehearsed();
        case.query(&format!("PRAGMA journal_mode = {mode};"));
        fill_sqlite(&case, 300);
        let whole = kib_of(&case);
        let twice = "INSERT INTO t SELECT id + 1000, randomblob(3000) FROM t;";
        case.project.write("migrations/1_twice.sql", twice);
        let arguments = ["db", "migrate-safe", "--yes"];
        let failed = run(&case.project, whole + 200, &arguments);
        assert_eq!(failed.code, 5, "{mode}\n{failed}");
        says(
            &failed,
            &["committed: none; not committed: 1", "hint: to go back"],
        );
        let rows = "SELECT count(*), max(id) FROM t; PRAGMA integrity_check;";
        assert_eq!(case.query(rows), ["300|300", "ok"], "{mode}\n{failed}");
        case.project.run(["db", "verify", "--all"]).expect_code(0);
        case.migrate();
        assert_eq!(case.query("SELECT count(*) FROM t;"), ["600"], "{mode}");
    }
}

/// The disk is to blame, and not a line of the file.
#[test]
fn an_import_into_sqlite_that_finds_no_room() {
    let case = Case::sqlite();
    fill_sqlite(&case, 5000);
    let export = ["db", "export", "-o", "t.ndjson"];
    case.project.run(export).expect_code(0);
    case.query("DELETE FROM t; VACUUM;");
    let before = Before::of(&case);
    let import = ["db", "import", "t.ndjson", "--yes"];
    let failed = run(&case.project, 1024, &import);
    assert_eq!(failed.code, 1, "{failed}");
    says(&failed, &["was not imported", "caused by: "]);
    assert!(!failed.stderr.contains("mend that line"), "{failed}");
    // SQLite leaves its journal, and whoever opens the file next rolls back.
    assert_eq!(case.contents(), before.contents);
    assert_eq!(case.query("SELECT count(*) FROM t;"), ["0"]);
    case.project.run(import).expect_code(0);
}
