//! `--jobs`: several sessions dump into a folder, the folder is packed into one backup, and several
//! sessions restore it. What goes wrong on the way leaves neither a backup nor a changed database.

mod forged;
mod restored;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::process::Signal;
use serde_json::Value;

use crate::exec;
use crate::pg_bin::PgBin;
use crate::project::Project;
use crate::setup::{Case, says, text};

const FILL: &str = "CREATE TABLE t (id BIGINT NOT NULL PRIMARY KEY, name TEXT);
                    INSERT INTO t SELECT n, repeat('x', 100) FROM generate_series(1, 500) n;
                    CREATE TABLE small (id INT); INSERT INTO small VALUES (1), (2);
                    CREATE TABLE empty (id INT); SELECT lo_from_bytea(4711, 'a large object');";
const ASK: &str = "SELECT count(*), sum(id) FROM t; SELECT id FROM small ORDER BY id;
                   SELECT count(*) FROM empty; SELECT convert_from(lo_get(4711), 'UTF8');";
const ANSWER: [&str; 5] = ["500|125250", "1", "2", "0", "a large object"];

/// Sets `$f` to the folder that `pg_dump` is told to make.
const FIND_FOLDER: &str =
    "for a in \"$@\"; do case \"$a\" in --file=*) f=${a#--file=} ;; esac; done";

/// A backup of two sessions; its id.
#[track_caller]
fn backup(case: &Case) -> String {
    let taken = case.project.json(["db", "backup", "--jobs", "2"]);
    text(&taken, "/backup/id").to_owned()
}

fn filled(name: &str) -> Option<Case> {
    let case = Case::postgres(name)?;
    case.query(FILL);
    Some(case)
}

fn each_filled(name: &str) -> Vec<Case> {
    let owner = Case::owner(&format!("{name}_owner")).map(|(case, _)| case);
    let owner = owner.inspect(|case| drop(case.query(FILL)));
    filled(name).into_iter().chain(owner).collect()
}

/// Every file of the tar in a dump, in its order.
fn packed(dump: &Path) -> Vec<(String, Vec<u8>)> {
    let bytes = fs::read(dump).expect("read the dump");
    let tar = zstd::decode_all(&bytes[..]).expect("decompress the dump");
    let mut archive = tar::Archive::new(&tar[..]);
    let entries = archive.entries().expect("a tar").raw(true);
    entries
        .map(|entry| {
            let mut entry = entry.expect("an entry");
            assert_eq!(entry.header().entry_type(), tar::EntryType::Regular);
            let name = String::from_utf8(entry.path_bytes().into_owned()).expect("a name");
            let mut bytes = Vec::new();
            std::io::copy(&mut entry, &mut bytes).expect("read an entry");
            (name, bytes)
        })
        .collect()
}

#[test]
fn several_sessions_make_one_backup() {
    let Some(mut case) = filled("one_backup") else {
        return;
    };
    let bin = PgBin::logging(case.server.as_ref().expect("a server").cluster());
    case.project = case.project.env("PG_BIN", bin.path());
    let taken = case.project.json(["db", "backup", "--jobs", "3"]);
    let log = bin.log();
    for argument in ["--format=directory\n", "--jobs=3\n", "--file=/dev/null\n"] {
        assert!(log.contains(argument), "{log}");
    }
    let id = text(&taken, "/backup/id");
    let files = [format!("{id}.json"), format!("{id}.tar.zst")];
    assert_eq!(case.project.vault_files(), files);
    assert_eq!(text(&taken, "/backup/dump/format"), "directory");
    assert_eq!(text(&taken, "/backup/dump/file"), files[1]);
    let dump = Path::new(text(&taken, "/path"));
    let mode = fs::metadata(dump).expect("the dump").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    let names: Vec<String> = packed(dump).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names[0], "toc.dat");
    assert!(names.len() > 4 && names[1..].is_sorted(), "{names:?}");
    let listed = case.project.json(["db", "list"]);
    assert_eq!(listed["problems"], serde_json::json!([]));
    case.project.run(["db", "verify", "--all"]).expect_code(0);

    fs::remove_file(case.manifest(id)).expect("lose the manifest");
    let listed = case.project.json(["db", "list"]);
    assert_eq!(listed["backups"], serde_json::json!([]));
    assert_eq!(text(&listed, "/problems/0/file"), files[1]);
}

/// As every backup was before there was a choice.
#[test]
fn one_session_makes_one_stream() {
    let Some(mut case) = filled("one_stream") else {
        return;
    };
    let bin = PgBin::logging(case.server.as_ref().expect("a server").cluster());
    case.project = case.project.env("PG_BIN", bin.path());
    for flags in [&[][..], &["--jobs", "1"]] {
        let taken = case.project.json([&["db", "backup"], flags].concat());
        assert!(text(&taken, "/path").ends_with(".dump.zst"), "{taken:#}");
        assert_eq!(taken["backup"]["dump"]["format"], Value::Null);
    }
    let log = bin.log();
    assert!(log.contains("--format=custom\n"), "{log}");
    assert!(!log.contains("--jobs"), "{log}");
}

#[test]
fn a_number_of_jobs_that_is_none_is_wrong_usage() {
    let project = Project::new();
    for verb in ["backup", "migrate-safe", "restore"] {
        for number in ["0", "65", "-1", "many", ""] {
            let jobs = format!("--jobs={number}");
            project.run(["db", verb, &jobs]).expect_code(2);
        }
    }
    project.run(["db", "list", "--jobs=2"]).expect_code(2);
    assert!(!project.vault().exists());
}

#[test]
fn sqlite_is_told_that_jobs_change_nothing() {
    let case = Case::sqlite();
    case.query("CREATE TABLE t (id INTEGER); INSERT INTO t VALUES (1);");
    let taken = case.project.run(["db", "backup", "--jobs", "4"]);
    let taken = taken.expect_code(0);
    says(&taken, &["note: `--jobs` changes nothing for SQLite"]);
    assert!(case.project.vault_files()[0].ends_with(".db.zst"));
    case.query("DELETE FROM t;");
    let arguments = ["db", "restore", "latest", "--yes", "--jobs", "4"];
    case.project.run(arguments).expect_code(0);
    assert_eq!(case.query("SELECT id FROM t;"), ["1"]);
}

/// Exit code 0, and a part of the folder is missing or is none of its own; or no exit code 0.
#[test]
fn a_pg_dump_that_lies_about_its_folder() {
    let Some(case) = filled("lying") else {
        return;
    };
    let cluster = case.server.as_ref().expect("a server").cluster();
    let real = cluster.bin().join("pg_dump");
    for (after, said) in [
        ("exit 1", "ended with exit status: 1"),
        ("rm -r \"$f\"", "cannot list"),
        ("rm \"$f/toc.dat\"", "no table of contents"),
        ("rm \"$f\"/[0-9]*.dat", "pg_restore"),
        ("rm \"$f\"/blob*_4711.dat", "pg_restore"),
        (
            "head -c 700 \"$f/toc.dat\" >\"$f/t\"; mv \"$f/t\" \"$f/toc.dat\"",
            "pg_restore",
        ),
        (
            "for t in \"$f\"/[0-9]*.dat; do head -c -3 \"$t\" >\"$f/t\"; mv \"$f/t\" \"$t\"; done",
            "do not come to their end",
        ),
        ("mkdir \"$f/more\"", "`more`"),
        ("ln -s toc.dat \"$f/more.dat\"", "`more.dat`"),
    ] {
        let body = format!("{FIND_FOLDER}\n'{}' \"$@\"\n{after}", real.display());
        let bin = PgBin::logging(cluster).script(cluster, "pg_dump", &body);
        let mut command = case.project.command(["db", "backup", "--jobs", "2"]);
        let failed = exec::run(command.env("PG_BIN", bin.path()), None);
        says(&failed, &[said]);
        assert_eq!(case.project.vault_files(), [""; 0], "{after}\n{failed}");
        failed.expect_code(1);
    }
    backup(&case);
}

/// Each job is a session, and the role may not have as many.
#[test]
fn more_sessions_than_the_role_may_have() {
    let Some((case, admin)) = Case::owner("few_sessions") else {
        return;
    };
    case.query(FILL);
    let role = format!("{}_owner", admin.name());
    admin.psql(&format!("ALTER ROLE {role} CONNECTION LIMIT 5;"));
    let failed = case.project.run(["db", "backup", "--jobs", "20"]);
    says(&failed, &["too many connections"]);
    assert_eq!(case.project.vault_files(), [""; 0], "{failed}");
    failed.expect_code(1);
    case.project.json(["db", "backup", "--jobs", "1"]);
}

/// `kill -9` ends the tool, and nobody ends what it had started: the next run is not in its way.
#[test]
fn a_pg_dump_that_outlives_its_killed_run() {
    let Some(case) = filled("outlived") else {
        return;
    };
    let cluster = case.server.as_ref().expect("a server").cluster();
    let bin = PgBin::logging(cluster);
    let folder = bin.path().display();
    let body = format!(
        "{FIND_FOLDER}\nmkdir \"$f\"; n=0; touch '{folder}/writes'\n\
         while echo $n >\"$f/$n.dat\"; do n=$((n + 1)); done 2>/dev/null\ntouch '{folder}/ended'"
    );
    let bin = bin.script(cluster, "pg_dump", &body);
    let mut command = case.project.command(["db", "backup", "--jobs", "2"]);
    let running = exec::start(command.env("PG_BIN", bin.path()), None);
    bin.wait_for("writes");
    running.signal(Signal::KILL);
    running.finish().expect_code(128 + 9);

    let taken = case.project.run(["db", "backup", "--jobs", "2"]);
    let taken = taken.expect_code(0);
    says(
        &taken,
        &["removed what a crashed run left behind: .backup_"],
    );
    bin.wait_for("ended");
    let files = case.project.vault_files();
    assert_eq!(files.len(), 2, "{files:?}");
}
