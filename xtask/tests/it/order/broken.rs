//! Programs that fail, lie or stop: no backup is left, no migration runs, the database stays.

use super::{Case, Programs, staged, started, started_as_owner};
use crate::exec::Output;
use crate::setup::{says, text};

/// Nothing was taken, nothing ran, and the vault is as it was.
#[track_caller]
fn no_backup_and_no_migration(case: &Case, parts: &[&str], code: i32) {
    let files = case.project.vault_files();
    let before = case.contents();
    for verb in [&["backup"][..], &["migrate-safe", "--yes"]] {
        let failed = case.project.run([&["db"][..], verb].concat());
        says(&failed, parts);
        assert_eq!(case.project.vault_files(), files, "{failed}");
        assert_eq!(staged(&case.project.vault()), [""; 0], "{failed}");
        assert_eq!(case.contents(), before, "{failed}");
        failed.expect_code(code);
    }
    let listed = case.project.json(["db", "list"]);
    assert_eq!(listed["backups"].as_array().map(Vec::len), Some(1));
    assert_eq!(listed["problems"].as_array().map(Vec::len), Some(0));
}

#[test]
fn a_pg_dump_that_fails_half_way() {
    let Some((case, programs)) = started("dump_fails") else {
        return;
    };
    let body = "\"$real\" \"$@\" | head -c 2000\n\
                for n in $(seq 100); do echo \"pg_dump: detail $n\" >&2; done\n\
                echo 'pg_dump: error: the disk is on fire' >&2\nexit 1";
    programs.replace("pg_dump", body);
    let tail = ["pg_dump: detail 95", "the disk is on fire"];
    no_backup_and_no_migration(&case, &tail, 1);
    let failed = case.project.run(["db", "backup"]);
    assert!(
        !failed.stderr.contains("detail 5\n"),
        "only the end\n{failed}"
    );
    assert_eq!(programs.log(), ["pg_dump"; 3]);
}

#[test]
fn a_pg_dump_that_a_signal_ends() {
    let Some((case, programs)) = started("dump_killed") else {
        return;
    };
    programs.replace("pg_dump", "\"$real\" \"$@\" | head -c 2000\nkill -9 $$");
    no_backup_and_no_migration(&case, &["pg_dump", "signal"], 1);
}

/// Exit code 0, and half of the dump is missing: only reading it as `pg_restore` does shows that.
#[test]
fn a_pg_dump_that_ends_early_and_says_nothing() {
    let Some((case, programs)) = started("dump_early") else {
        return;
    };
    programs.replace("pg_dump", "\"$real\" \"$@\" | head -c 5000\nexit 0");
    no_backup_and_no_migration(&case, &["pg_dump"], 1);
}

#[test]
fn a_pg_dump_that_writes_nothing() {
    let Some((case, programs)) = started("dump_nothing") else {
        return;
    };
    programs.replace("pg_dump", "exit 0");
    no_backup_and_no_migration(&case, &["pg_dump"], 1);
}

/// The safety backup cannot be taken: there is no restore without one, unless it is forced.
#[test]
fn no_restore_without_a_safety_backup() {
    let Some((case, programs)) = started("no_safety") else {
        return;
    };
    case.query("DELETE FROM t WHERE id > 400;");
    let before = case.contents();
    programs.replace("pg_dump", "echo 'pg_dump: error: no' >&2; exit 1");
    let refused = case.project.run(["db", "restore", "latest", "--yes"]);
    says(&refused.expect_code(3), &["pg_dump: error: no", "--force"]);
    assert_eq!(programs.log(), ["pg_dump"], "no pg_restore");
    assert_eq!(case.contents(), before);
    let forced = case.project.json(["db", "restore", "latest", "--force"]);
    assert!(forced["safety_backup"].is_null(), "{forced:#}");
    assert_eq!(case.query("SELECT count(*) FROM t;"), ["500"]);
}

/// The restore failed in one of its programs: the database is there as it was, nothing is left
/// beside it, and the safety backup is.
#[track_caller]
fn the_database_stays(case: &Case, programs: &Programs) -> Output {
    case.query("DELETE FROM t WHERE id > 400;");
    let before = case.contents();
    let databases = "SELECT datname FROM pg_database WHERE datname LIKE
                     current_database() || '\\_%';";
    let failed = case.project.run(["db", "restore", "latest", "--yes"]);
    assert_eq!(case.contents(), before, "{failed}");
    assert_eq!(case.query(databases), [""; 0], "{failed}");
    assert_eq!(staged(&case.project.vault()), [""; 0], "{failed}");
    // Which of the two it is depends on whose fault it was; both say that nothing was touched.
    assert!(matches!(failed.code, 1 | 4), "neither 1 nor 4\n{failed}");
    assert_eq!(programs.log()[0], "pg_dump");
    let listed = case.project.json(["db", "list"]);
    let reason = text(&listed, "/backups/0/manifest/reason");
    assert_eq!(reason, "pre-restore", "{failed}");
    failed
}

#[test]
fn a_pg_restore_that_fails_half_way() {
    let Some((case, programs)) = started("restore_fails") else {
        return;
    };
    for read in ["head -c 5000 |", ""] {
        programs.forget();
        let body =
            format!("{read} \"$real\" \"$@\"\necho 'pg_restore: error: cannot go on' >&2\nexit 1");
        programs.replace("pg_restore", &body);
        let failed = the_database_stays(&case, &programs);
        says(&failed, &["pg_restore: error: cannot go on"]);
    }
}

/// It takes everything, says that it is done, and has done nothing.
#[test]
fn a_pg_restore_that_only_pretends() {
    let Some((case, programs)) = started("restore_pretends") else {
        return;
    };
    programs.replace("pg_restore", "cat >/dev/null; exit 0");
    let failed = the_database_stays(&case, &programs);
    says(&failed, &["`t` is missing"]);
}

#[test]
fn a_pg_restore_that_does_not_read() {
    let Some((case, programs)) = started("restore_deaf") else {
        return;
    };
    programs.replace("pg_restore", "exit 0");
    the_database_stays(&case, &programs);
}

#[test]
fn in_place_a_pg_restore_that_fails_half_way() {
    let Some((case, programs)) = started_as_owner("in_place_fails") else {
        return;
    };
    let body = "if [ \"$word\" = 'pg_restore --list' ]; then exec \"$real\" \"$@\"; fi\n\
                head -c 5000 | \"$real\" \"$@\"\n\
                echo 'pg_restore: error: cannot go on' >&2\nexit 1";
    programs.replace("pg_restore", body);
    let failed = the_database_stays(&case, &programs);
    says(&failed, &["cannot go on"]);
}

/// The transaction is never committed, whatever the exit code says.
#[test]
fn in_place_a_psql_that_stops_before_the_commit() {
    let Some((case, programs)) = started_as_owner("in_place_stops") else {
        return;
    };
    for body in [
        "head -c 9000 | \"$real\" \"$@\"; exit 1",
        "sed '/^COMMIT;$/d' | \"$real\" \"$@\"",
        "cat >/dev/null; exit 0",
    ] {
        programs.forget();
        programs.replace("psql", body);
        the_database_stays(&case, &programs);
    }
}
