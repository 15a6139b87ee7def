//! What comes back of a dump of several sessions, in every way of restoring, and what is refused.

use std::fs;

use super::{ANSWER, ASK, backup, each_filled, filled};
use crate::pg_bin::PgBin;
use crate::setup::{says, sealed, text};

/// The arguments of the `pg_restore` that fills a database.
fn filling(bin: &PgBin) -> String {
    let log = bin.log();
    let runs = log.split("pg_restore\n").map(str::to_owned);
    let fills: Vec<String> = runs.filter(|run| run.contains("--dbname=")).collect();
    let last = fills
        .last()
        .unwrap_or_else(|| panic!("nothing was filled: {log}"));
    let jobs = last.lines().find(|line| line.starts_with("--jobs="));
    jobs.unwrap_or("one stream").to_owned()
}

#[test]
fn a_restore_takes_as_many_sessions_as_it_is_told() {
    let Some(mut case) = filled("sessions") else {
        return;
    };
    let stream = case.backup();
    let folder = backup(&case);
    let bin = PgBin::logging(case.server.as_ref().expect("a server").cluster());
    case.project = case.project.env("PG_BIN", bin.path());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let unasked = format!("--jobs={}", cores.min(4));
    for (id, flags, expected) in [
        (&stream, &[][..], "one stream"),
        (&stream, &["--jobs=1"], "one stream"),
        (&stream, &["--jobs=3"], "--jobs=3"),
        (&folder, &[], unasked.as_str()),
        (&folder, &["--jobs=1"], "--jobs=1"),
        (&folder, &["--jobs=3"], "--jobs=3"),
    ] {
        case.query("DELETE FROM t; SELECT lo_unlink(4711); CREATE TABLE late (id INT);");
        let restored = [&["db", "restore", id, "--yes"], flags].concat();
        case.project.json(restored);
        assert_eq!(filling(&bin), expected, "{id} {flags:?}");
        assert_eq!(case.query(ASK), ANSWER);
        assert_eq!(case.query("SELECT to_regclass('late') IS NULL;"), ["t"]);
    }
    let files = case.project.vault_files();
    assert!(!files.iter().any(|name| name.starts_with('.')), "{files:?}");
}

#[test]
fn the_way_back_of_a_migration() {
    for case in each_filled("migrated_with_jobs") {
        let migration = "DROP TABLE small; DELETE FROM t; SELECT lo_unlink(4711);";
        case.project.write("migrations/1_mistake.sql", migration);
        let arguments = [
            "db",
            "migrate-safe",
            "--yes",
            "--jobs",
            "2",
            "--no-rehearse",
        ];
        let done = case.project.json(arguments);
        assert_eq!(text(&done, "/backup/dump/format"), "directory");
        assert_eq!(case.query("SELECT count(*) FROM t;"), ["0"]);
        case.restore(text(&done, "/backup/id"));
        assert_eq!(case.query(ASK), ANSWER);
        let left = fs::read_dir(case.project.tmp()).expect("list the temporary files");
        assert_eq!(left.count(), 0);
    }
}

/// The second attempt of a restore reads the folder three times, a part of the dump each time.
#[test]
fn functions_that_need_a_search_path_or_another_table() {
    let script = "
        CREATE SCHEMA app; SET search_path = app;
        CREATE TABLE rate (id INT PRIMARY KEY, factor INT NOT NULL);
        INSERT INTO rate VALUES (1, 10), (2, 20);
        CREATE FUNCTION total() RETURNS BIGINT LANGUAGE sql AS 'SELECT sum(factor) FROM rate';
        CREATE MATERIALIZED VIEW totals AS SELECT total() AS total;
        CREATE FUNCTION is_rate(n INT) RETURNS BOOLEAN LANGUAGE sql
            AS 'SELECT EXISTS (SELECT FROM app.rate WHERE id = n)';
        CREATE TABLE a_sale (id INT PRIMARY KEY, rate INT, CONSTRAINT known CHECK (is_rate(rate)));
        INSERT INTO a_sale VALUES (1, 1), (2, 2);
    ";
    let question = "SELECT total FROM app.totals; SELECT id, rate FROM app.a_sale ORDER BY id;
        SELECT convalidated FROM pg_constraint WHERE conname = 'known';";
    for case in each_filled("names_with_jobs") {
        let database = case.server.as_ref().expect("a server").name();
        case.query(&format!(
            "ALTER DATABASE {database} SET search_path = app, public;"
        ));
        case.query(script);
        let before = case.query(question);
        assert_eq!(before, ["30", "1|1", "2|2", "t"]);
        let id = backup(&case);
        case.query("DROP SCHEMA app CASCADE; DELETE FROM public.t;");
        let arguments = ["db", "restore", &id, "--yes", "--jobs", "2"];
        let restored = case.project.json(arguments);
        assert_eq!(restored["warnings"], serde_json::json!([]));
        assert_eq!(case.query(question), before);
        assert_eq!(case.query(ASK), ANSWER);
    }
}

#[test]
fn a_damaged_dump_is_refused() {
    for case in each_filled("damaged_with_jobs") {
        let id = backup(&case);
        let dump = case.project.vault().join(format!("{id}.tar.zst"));
        let whole = fs::read(&dump).expect("read the dump");
        case.query("DELETE FROM small;");
        let files = case.project.vault_files();
        let flips = [0, whole.len() / 2, whole.len() - 1].map(|at| {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x01;
            bytes
        });
        let cuts = [1, whole.len() / 2, whole.len() - 1].map(|end| whole[..end].to_vec());
        for bytes in flips.into_iter().chain(cuts) {
            fs::write(&dump, bytes).expect("damage the dump");
            case.project.run(["db", "verify", &id]).expect_code(4);
            let refused = case.project.run(["db", "restore", &id, "--yes"]);
            refused.expect_code(4);
        }
        assert_eq!(case.project.vault_files(), files, "no safety backup");
        assert_eq!(case.query("SELECT count(*) FROM small;"), ["0"]);
        fs::write(&dump, whole).expect("repair the dump");
        case.restore(&id);
        assert_eq!(case.query(ASK), ANSWER);
    }
}

/// Refused by name, and not half-way by a full disk. A size that no disk has stands for one.
#[test]
fn a_disk_without_room_for_the_folder_is_refused() {
    for case in each_filled("no_room") {
        let id = backup(&case);
        let manifest = case.manifest(&id);
        let bytes = fs::read(&manifest).expect("read the manifest");
        let mut document: serde_json::Value = serde_json::from_slice(&bytes).expect("JSON");
        document["dump"]["raw_size_bytes"] = (1_u64 << 60).into();
        fs::write(&manifest, sealed(document)).expect("write the manifest");
        case.query("DELETE FROM small;");
        let refused = case.project.run(["db", "restore", &id, "--yes"]);
        says(&refused, &["1099511628032 MiB", "MiB are free", "hint: "]);
        refused.expect_code(3);
        assert_eq!(case.query("SELECT count(*) FROM small;"), ["0"]);
        let files = case.project.vault_files();
        assert!(!files.iter().any(|name| name.starts_with('.')), "{files:?}");
    }
}

/// One that was taken on the same server by a newer tool, or by nobody.
#[test]
fn a_format_that_is_not_the_files_is_refused() {
    let Some(case) = filled("other_format") else {
        return;
    };
    for (id, format) in [
        (backup(&case), "stream"),
        (backup(&case), "cpio"),
        (case.backup(), "directory"),
    ] {
        let manifest = case.manifest(&id);
        let bytes = fs::read(&manifest).expect("read the manifest");
        let mut document: serde_json::Value = serde_json::from_slice(&bytes).expect("JSON");
        document["dump"]["format"] = format.into();
        fs::write(&manifest, sealed(document)).expect("write the manifest");
        let refused = case.project.run(["db", "restore", &id, "--force"]);
        refused.expect_code(4);
        let listed = case.project.json(["db", "list"]);
        let problems = listed["problems"].to_string();
        assert!(problems.contains(&id), "{problems}");
    }
    assert_eq!(case.query(ASK), ANSWER);
}
