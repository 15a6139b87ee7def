//! Odd migration files: the tool does what sqlx does with them, or refuses them by name before a
//! backup is taken.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use super::{folder, history, sqlx_with};
use crate::exec::Output;
use crate::setup::{Case, says, versions};

const TABLE: &str = "CREATE TABLE t (id BIGINT);";

/// Two projects with the same files: one for the tool, one for sqlx.
struct Pair {
    ours: Case,
    theirs: Case,
}

impl Pair {
    fn new(fill: impl Fn(&Path)) -> Self {
        let pair = Self {
            ours: Case::sqlite(),
            theirs: Case::sqlite(),
        };
        for case in [&pair.ours, &pair.theirs] {
            fill(&folder(case));
        }
        pair
    }

    fn of_file(file: &str, content: impl AsRef<[u8]>) -> Self {
        Self::new(|folder| fs::write(folder.join(file), &content).expect("write a migration"))
    }

    /// Both run the same migrations, with the same history afterwards.
    #[track_caller]
    fn runs(&self, expected: &[i64]) -> &Self {
        let done = self.ours.migrate();
        if !expected.is_empty() {
            assert_eq!(versions(&done["applied"]), expected);
        }
        sqlx_with(&self.theirs, None, |_| ()).expect("sqlx runs them");
        let count = "SELECT count(*) FROM sqlite_schema WHERE name = '_sqlx_migrations';";
        if self.ours.query(count) == ["1"] {
            assert_eq!(history(&self.ours), history(&self.theirs));
        }
        let schema = "SELECT name, sql FROM sqlite_schema WHERE name NOT LIKE '%sqlx%';";
        assert_eq!(self.ours.query(schema), self.theirs.query(schema));
        self
    }

    /// Refused before anything is made; the message has these parts.
    #[track_caller]
    fn refuses(&self, parts: &[&str]) {
        let is_empty = |output: Output| {
            says(&output, parts);
            says(&output, &["\nhint: "]);
            assert!(!self.ours.project.sqlite_path().exists(), "{output}");
            let backups = self.ours.project.vault_files();
            assert!(backups.is_empty(), "{backups:?}\n{output}");
        };
        for verb in [
            &["migrate-safe", "--yes"][..],
            &["migrate-safe", "--dry-run"],
        ] {
            let output = self.ours.project.run([&["db"], verb].concat());
            is_empty(output.expect_code(3));
        }
    }

    #[track_caller]
    fn sqlx_refuses(&self) -> &Self {
        sqlx_with(&self.theirs, None, |_| ()).expect_err("sqlx refuses them");
        self
    }
}

#[test]
fn texts_that_are_hardly_migrations_run_as_in_sqlx() {
    let padded = format!(
        "{TABLE}{}INSERT INTO t VALUES (1);",
        "-- padding\n".repeat(1_000_000)
    );
    for text in [
        "",
        "\n",
        "-- nothing but a comment",
        ";;;",
        "CREATE TABLE t (id BIGINT);\r\n-- over two lines\r\nINSERT INTO t\r\nVALUES (1);\r\n",
        "-- no-transaction\r\nCREATE TABLE t (id BIGINT);\r\n",
        "-- no-transactions are meant\nCREATE TABLE t (id BIGINT);",
        " -- no-transaction\nCREATE TABLE t (id BIGINT);",
        "\u{feff}CREATE TABLE t (id BIGINT);",
        "\u{feff}-- no-transaction\nCREATE TABLE t (id BIGINT);",
        "CREATE TABLE \"t\u{1b}[31m 😀\" (id BIGINT);",
        &padded,
    ] {
        Pair::of_file("1_a.sql", text).runs(&[1]);
    }
}

#[test]
fn names_that_are_hardly_migrations_run_as_in_sqlx() {
    let long = format!("1_{}.sql", "l".repeat(245));
    for (file, version) in [
        ("1_.sql", 1),
        ("1__.sql", 1),
        ("1_a.sql.sql", 1),
        ("0_zero.sql", 0),
        ("000_zero.sql", 0),
        ("-1_below_zero.sql", -1),
        ("+7_plus.sql", 7),
        ("9223372036854775807_last.sql", i64::MAX),
        ("-9223372036854775808_first.sql", i64::MIN),
        ("1_$(touch pwned); `x` %s {}.sql", 1),
        ("1_new\nline\u{1b}[31m.sql", 1),
        ("1_-rf --help.sql", 1),
        ("1_ü😀.up.sql", 1),
        (&long, 1),
    ] {
        Pair::of_file(file, TABLE).runs(&[version]);
    }
    use std::os::unix::ffi::OsStrExt;
    let no_text = std::ffi::OsStr::from_bytes(b"1_a\xff\xfe.sql");
    Pair::new(|folder| fs::write(folder.join(no_text), TABLE).expect("write it")).runs(&[1]);
}

/// sqlx passes over them in silence, and so there is nothing to run.
#[test]
fn what_is_no_migration_is_passed_over_as_in_sqlx() {
    for file in [
        "1.sql",
        "1_a.SQL",
        "1_a.sql~",
        "a.sql",
        "1_a.down.sql",
        ".1_a.sqlx",
    ] {
        Pair::of_file(file, TABLE).runs(&[]);
    }
    Pair::new(|_| ()).runs(&[]);
    Pair::new(|folder| fs::create_dir(folder.join("1_a.sql")).expect("make a folder")).runs(&[]);
    let pipe = |folder: &Path| {
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(
            rustix::fs::CWD,
            folder.join("1_a.sql"),
            rustix::fs::FileType::Fifo,
            mode,
            0,
        )
        .expect("make a pipe");
    };
    Pair::new(pipe).runs(&[]);
}

#[test]
fn a_link_is_the_file_that_it_leads_to() {
    let link = |folder: &Path| {
        fs::write(folder.join("real.txt"), TABLE).expect("write the file");
        symlink("real.txt", folder.join("1_a.sql")).expect("link to it");
    };
    Pair::new(link).runs(&[1]);
    let folder_link = |folder: &Path| {
        let real = folder.with_file_name("real");
        fs::rename(folder, &real).expect("move the folder");
        fs::write(real.join("1_a.sql"), TABLE).expect("write the file");
        symlink("real", folder).expect("link to it");
    };
    Pair::new(folder_link).runs(&[1]);
}

#[test]
fn what_cannot_be_read_is_refused_by_name() {
    for (file, bytes) in [
        ("1_a.sql", &b"CREATE TABLE t (a TEXT);\xff"[..]),
        ("2_utf16.sql", b"\xff\xfeC\0R\0E\0A\0T\0E\0"),
        ("9223372036854775808_too_late.sql", b""),
        ("1e3_a.sql", b""),
        ("\u{661}_arabic.sql", b""),
        (" 1_a.sql", b""),
        ("_.sql", b""),
    ] {
        Pair::of_file(file, bytes).sqlx_refuses().refuses(&[file]);
    }
    for target in ["nowhere", "1_a.sql", "/proc/self/mem"] {
        let pair = Pair::new(|folder| symlink(target, folder.join("1_a.sql")).expect("link"));
        pair.sqlx_refuses().refuses(&["1_a.sql"]);
    }
    for unlink in [true, false] {
        let pair = Pair::new(|folder| {
            fs::remove_dir(folder).expect("remove the folder");
            if !unlink {
                fs::write(folder, "a file").expect("write a file in its place");
            }
        });
        pair.sqlx_refuses()
            .refuses(&["there is no migrations folder"]);
    }
}

/// sqlx looks for the end of such a file for ever on SQLite.
#[test]
fn a_nul_in_a_migration_is_refused_by_name() {
    for text in [
        "CREATE TABLE t (id BIGINT);\0INSERT INTO t VALUES (1);",
        "\0",
        "SELECT 1;\n\0",
    ] {
        for file in ["1_nul.sql", "1_nul.down.sql"] {
            Pair::of_file(file, text).refuses(&[file, "NUL"]);
        }
    }
    if let Some(case) = Case::postgres("nul") {
        case.project.write("migrations/1_nul.sql", "SELECT 1;\0");
        let refused = case
            .project
            .run(["db", "migrate-safe", "--yes"])
            .expect_code(3);
        says(&refused, &["1_nul.sql", "NUL"]);
        assert_eq!(case.project.vault_files(), [""; 0]);
    }
}

/// sqlx would run one of them, fail at the other, and leave a history that neither can go on from.
#[test]
fn two_files_of_one_version_are_refused() {
    for files in [
        ["1_a.sql", "01_b.sql"],
        ["1_a.up.sql", "1_a.sql"],
        ["+1_a.sql", "1_a.sql"],
    ] {
        let pair = Pair::new(|folder| {
            for (n, file) in files.iter().enumerate() {
                let sql = format!("CREATE TABLE t{n} (id BIGINT);");
                fs::write(folder.join(file), sql).expect("write a migration");
            }
        });
        pair.sqlx_refuses()
            .refuses(&["two migration files have the version 1"]);
    }
}

/// On a server too: what PostgreSQL does not take is said by PostgreSQL, to sqlx and to the tool.
#[test]
fn odd_texts_run_on_a_server_as_in_sqlx() {
    let long = format!("{TABLE}{}SELECT 1;", " ".repeat(10_000_000));
    for text in [
        "",
        "-- nothing",
        "CREATE TABLE t (id BIGINT);\r\n",
        "\u{feff}SELECT 1;",
        &long,
    ] {
        let (Some(ours), Some(theirs)) = (Case::postgres("odd_text"), Case::postgres("odd_text"))
        else {
            return;
        };
        for case in [&ours, &theirs] {
            case.project.write("migrations/1_a.sql", text);
        }
        let arguments = ["db", "migrate-safe", "--yes", "--no-rehearse"];
        let done = ours.project.run(arguments);
        match sqlx_with(&theirs, None, |_| ()) {
            Ok(()) => {
                done.expect_code(0);
                assert_eq!(history(&ours), history(&theirs));
            }
            Err(_) => {
                says(
                    &done.expect_code(5),
                    &["migration 1 (a) failed", "not committed: 1"],
                );
                assert_eq!(ours.query("SELECT count(*) FROM _sqlx_migrations;"), ["0"]);
            }
        }
    }
}
