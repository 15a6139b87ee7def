//! Where an export may stand, what a killed one leaves, and what is too large to be one.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::Duration;

use rustix::process::Signal;
use xtask_db::parsers::Interrupt;
use xtask_db::parsers::portable::bound::Allowance;
use xtask_db::parsers::portable::intake::Intake;
use xtask_db::parsers::portable::{Nowhere, read_file};

use super::{export, import};
use crate::exec;
use crate::setup::{Case, database_digests, says};

fn small() -> Case {
    let case = Case::sqlite();
    case.query("CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT); INSERT INTO t VALUES (1, 'a'), (2, NULL);");
    case
}

#[test]
fn no_export_takes_the_place_of_what_is_none() {
    let case = small();
    let id = case.backup();
    let before = database_digests(&case.project.sqlite_path());
    let dump = fs::read(case.dump(&id)).expect("read the dump");
    let write = |place: &str, code| {
        let arguments = ["db", "export", "-o", place, "--format", "ndjson", "--force"];
        case.project.run(arguments).expect_code(code)
    };
    says(&write("database/app.db", 3), &["is the database itself"]);
    // By another name.
    fs::hard_link(
        case.project.sqlite_path(),
        case.project.path().join("hard.ndjson"),
    )
    .expect("link it");
    says(&write("hard.ndjson", 3), &["is the database itself"]);
    symlink("database/app.db", case.project.path().join("soft.ndjson")).expect("link it");
    says(&write("soft.ndjson", 3), &["is no regular file"]);
    let place = case.dump(&id);
    says(
        &write(place.to_str().expect("UTF-8"), 3),
        &["is in the vault"],
    );
    let place = case.project.vault().join("new.ndjson");
    says(
        &write(place.to_str().expect("UTF-8"), 3),
        &["is in the vault"],
    );
    assert_eq!(database_digests(&case.project.sqlite_path()), before);
    assert_eq!(fs::read(case.dump(&id)).expect("read the dump"), dump);
    fs::write(case.project.path().join("old.ndjson"), "old").expect("write it");
    write("old.ndjson", 0);
    assert!(
        fs::read_to_string(case.project.path().join("old.ndjson"))
            .expect("read it")
            .contains("\"end\"")
    );
}

#[test]
fn the_hint_for_csv_keeps_the_name() {
    let case = small();
    let output = case
        .project
        .run(["db", "export", "--format", "csv", "-o", "my-shop-rows.csv"])
        .expect_code(2);
    says(&output, &["name one: --format csv -o my-shop-rows\n"]);
    let output = case
        .project
        .run(["db", "export", "--format", "csv", "-o", "-"])
        .expect_code(2);
    says(&output, &["name one: --format csv -o export\n"]);
}

/// It could not be read again. Half of what its text would take is in the database.
#[test]
fn a_row_beyond_the_bound_is_not_exported() {
    if std::env::var_os("XTASK_DB_BIG").is_none() {
        return exec::say("SKIPPED: a row of more than 1 GiB, without XTASK_DB_BIG");
    }
    let case = Case::sqlite();
    case.query(
        "CREATE TABLE t (id INTEGER, body BLOB); INSERT INTO t VALUES (1, zeroblob(540000000));",
    );
    for format in ["ndjson", "json", "csv"] {
        let path = super::place(&case, format);
        let shown = path.to_str().expect("a UTF-8 path");
        let arguments = ["db", "export", "--format", format, "-o", shown];
        let output = case.project.run(arguments).expect_code(1);
        says(&output, &["a row has more than 1 GiB as text"]);
        assert!(!path.exists());
    }
}

fn left_overs(case: &Case) -> Vec<String> {
    let entries = fs::read_dir(case.project.path()).expect("list it");
    let names = entries.map(|entry| {
        entry
            .expect("an entry")
            .file_name()
            .into_string()
            .expect("UTF-8")
    });
    let mut names: Vec<String> = names.filter(|name| name.ends_with(".partial")).collect();
    names.sort();
    names
}

/// The next one to the same name removes it and says so; one that is still being written stays.
#[test]
fn what_a_killed_export_leaves_goes_with_the_next_one() {
    let case = Case::sqlite();
    case.query(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT); INSERT INTO t
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000) SELECT i, 'a name that takes some room ' || i FROM n;",
    );
    for format in ["ndjson", "csv"] {
        let path = super::place(&case, format);
        let shown = path.to_str().expect("a UTF-8 path");
        let arguments = ["db", "export", "--format", format, "-o", shown];
        let start = || {
            let earlier = left_overs(&case);
            let running = exec::start(&mut case.project.command(arguments), None);
            while left_overs(&case) == earlier {
                std::thread::sleep(Duration::from_millis(2));
            }
            // It is held as soon as it is there.
            std::thread::sleep(Duration::from_millis(20));
            running
        };
        let killed = start();
        killed.signal(Signal::KILL);
        assert_eq!(killed.finish().code, 137);
        let left = left_overs(&case);
        assert_eq!(left.len(), 1, "{left:?}");
        // Stopped in the middle, and alive.
        let alive = start();
        alive.signal(Signal::STOP);
        let theirs: Vec<String> = left_overs(&case)
            .into_iter()
            .filter(|name| !left.contains(name))
            .collect();
        let output = case
            .project
            .run(["db", "export", "--format", format, "-o", shown])
            .expect_code(0);
        alive.signal(Signal::CONT);
        if !output
            .stderr
            .contains("removed what a killed export left behind")
        {
            // The one in between has already removed it.
            assert!(alive.finish().stderr.contains(&left[0]), "{output}");
        } else {
            assert!(
                !theirs
                    .iter()
                    .any(|name| output.stderr.contains(name.as_str())),
                "{output}"
            );
            assert_eq!(alive.finish().code, 3, "the name was taken meanwhile");
        }
        assert_eq!(left_overs(&case), [""; 0]);
        import(&case, &path, &["--replace"]).expect_code(0);
    }
}

/// A file without an end of its first line, and rows that never end.
#[test]
fn what_is_too_large_ends_with_its_line() {
    let case = small();
    let path = export(&case, "ndjson");
    let text = fs::read_to_string(&path).expect("read it");
    let document = fs::read_to_string(export(&case, "json")).expect("read it");
    let name = "\"name\": \"a\"";
    assert!(text.contains(name) && document.contains(name), "{document}");
    // Of zeros, which take no room on the disk.
    fs::write(&path, "").expect("empty it");
    let file = fs::OpenOptions::new()
        .write(true)
        .open(&path)
        .expect("open it");
    file.set_len(200 << 20).expect("make it long");
    let output = import(&case, &path, &["--replace"]).expect_code(4);
    says(&output, &["line 1: it has no end within 64 MiB"]);

    for whole in [text, document] {
        let bytes = whole.replace(name, &format!("\"name\": \"{}\"", "x".repeat(1 << 20)));
        let mut nowhere = Nowhere;
        let mut intake = Intake::new(&mut nowhere, true, Interrupt::unconnected());
        intake.allowance = Allowance::new(100_000);
        let mut open = || {
            Ok(Box::new(std::io::Cursor::new(bytes.clone().into_bytes()))
                as Box<dyn std::io::BufRead>)
        };
        let said = read_file(&mut open, &mut intake).expect_err("it is too long");
        assert!(
            format!("{said:#}").contains("100000 bytes, and no row ends"),
            "{said:#}"
        );
    }
}
