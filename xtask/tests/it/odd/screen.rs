//! What a terminal gets when names, errors and arguments try to steer it: nothing that it obeys.

use std::process::Command;

use crate::cluster::Cluster;
use crate::pg_bin::PgBin;
use crate::project::Project;
use crate::setup::Case;
use crate::terminal::raw;

/// Title, screen, colour, bell, the one-byte forms of C1 and DEL, and what turns the direction.
const EVIL: &str = "evil\u{1b}]0;owned\u{7}\u{1b}[2J\u{9b}31m\u{7f}\u{202e}\u{2066}txt\rover";

/// The tool itself hides the cursor and clears its own lines; of the rest it writes nothing.
const PIECES: [&str; 9] = [
    "\u{1b}]",
    "\u{7}",
    "\u{1b}[2J",
    "\u{9b}",
    "\u{7f}",
    "\u{202e}",
    "\u{2066}",
    "txt\r",
    "\rover",
];

/// Runs a program on a terminal to its end, typing `yes` where it asks.
#[track_caller]
fn assert_harmless(mut command: Command, asks: bool, code: i32) -> String {
    let shown = format!("{command:?}");
    let (mut master, mut child) = raw::start(&mut command, None);
    let mut bytes = Vec::new();
    if asks {
        bytes = raw::read_until(&mut master, "type `yes`");
        raw::send(&mut master, "yes\r");
    }
    bytes.extend(raw::read_to_end(&mut master));
    let text = String::from_utf8_lossy(&bytes).into_owned();
    assert_eq!(raw::exit_code(&mut child), code, "{shown}\n{text:?}");
    for piece in PIECES {
        assert!(!text.contains(piece), "{piece:?} of {shown}\n{text:?}");
    }
    text
}

#[test]
fn names_of_a_sqlite_database() {
    let project = Project::new().database_url(&format!("sqlite:{EVIL}.db"));
    let path = project.path().join(format!("{EVIL}.db"));
    let connection = rusqlite::Connection::open(&path).expect("make the file");
    let create =
        format!("CREATE TABLE \"{EVIL}\" (id INTEGER); INSERT INTO \"{EVIL}\" VALUES (1);");
    connection.execute_batch(&create).expect("make the table");
    for verb in [&["backup"][..], &["verify"]] {
        assert_harmless(project.command([&["db"], verb].concat()), false, 0);
    }
    for verb in [&["list"][..], &["status", "--verbose"]] {
        let text = assert_harmless(project.command([&["db"], verb].concat()), false, 0);
        assert!(text.contains("evil"), "{text:?}");
    }
    let delete = format!("DELETE FROM \"{EVIL}\";");
    connection.execute_batch(&delete).expect("empty the table");
    let restore = project.command(["db", "restore", "latest"]);
    let text = assert_harmless(restore, true, 0);
    assert!(text.contains("rows in the backup"), "{text:?}");
    for verb in ["status", "list", "verify", "backup"] {
        let text = assert_harmless(project.command(["db", verb, "--json"]), false, 0);
        assert!(text.contains('{'), "{text:?}");
    }
    // The same names, though: JSON has its own way to write them.
    let status = project.json(["db", "status"]);
    assert_eq!(status["tables"][0]["name"], EVIL);
    project.write(
        "migrations/1_evil.sql",
        format!("INSERT INTO \"no {EVIL}\" VALUES (1);"),
    );
    let text = assert_harmless(project.command(["db", "migrate-safe"]), true, 3);
    assert!(text.contains("no such table: no evil"), "{text:?}");
}

/// A name has no line of its own: the next line of an error would look like the tool's.
#[test]
fn a_name_with_a_line_break_forges_no_line() {
    let name = "x`\nerror: forged\nhint: cargo xtask db forged\r\n";
    let encoded = name.replace('\n', "%0A").replace('\r', "%0D");
    let project = Project::new().database_url(&format!("sqlite:database/{encoded}"));
    let file = project.path().join("database").join(name);
    let connection = rusqlite::Connection::open(file).expect("make the file");
    let create = format!("CREATE TABLE \"{name}\" (id INTEGER);");
    connection.execute_batch(&create).expect("make the table");
    project.write(format!("migrations/1_{name}.sql"), "SELECT broken(;");
    for (verb, code) in [
        (&["status", "--verbose"][..], 0),
        (&["backup"], 0),
        (&["list"], 0),
        (&["migrate-safe", "--yes"], 3),
        (&["restore", "latest"], 3),
        (&["restore", "latest", "--yes"], 0),
    ] {
        let output = project.run([&["db"], verb].concat()).expect_code(code);
        let mut lines = output.stdout.lines().chain(output.stderr.lines());
        assert!(
            !lines.any(|line| line.starts_with("error: forged")
                || line.starts_with("hint: cargo xtask db forged")),
            "{output}"
        );
    }
}

#[test]
fn names_and_errors_of_a_server() {
    let Some(case) = Case::postgres("screen") else {
        return;
    };
    let name = EVIL.replace('\r', "");
    case.query(&format!("CREATE TABLE \"{name}\" (id INTEGER);"));
    let project = &case.project;
    for verb in [&["backup"][..], &["status"], &["migrate-safe", "--dry-run"]] {
        assert_harmless(project.command([&["db"], verb].concat()), false, 0);
    }
    project.write(
        "migrations/1_raise.sql",
        format!("DO $$ BEGIN RAISE EXCEPTION '{EVIL}' USING DETAIL = '{EVIL}'; END $$;"),
    );
    let text = assert_harmless(project.command(["db", "migrate-safe"]), true, 3);
    assert!(text.contains("evil"), "{text:?}");
    let url = case
        .server
        .as_ref()
        .expect("a server")
        .cluster()
        .database(&name)
        .url();
    let missing = project.command(["db", "status", "--database-url", &url]);
    let text = assert_harmless(missing, false, 1);
    assert!(text.contains("does not exist"), "{text:?}");
}

/// What an external program says on stderr comes from a server, too.
#[test]
fn words_of_a_program() {
    let (Some(case), Some(cluster)) = (Case::postgres("programs"), Cluster::get_or_skip()) else {
        return;
    };
    let says =
        r"printf 'evil\033]0;owned\007\033[2J\302\2331m\177\342\200\256\n\233x\n' >&2; exit 1";
    let programs = PgBin::logging(cluster).script(cluster, "pg_dump", says);
    let mut command = case.project.command(["db", "backup"]);
    command.env("PG_BIN", programs.path());
    let text = assert_harmless(command, false, 1);
    assert!(text.contains("evil"), "{text:?}");
}

/// clap repeats what it does not understand.
#[test]
fn arguments_that_are_not_understood() {
    let project = Project::new();
    for arguments in [
        &["db", EVIL][..],
        &["db", "backup", "--", "one", EVIL],
        &["db", "list", &format!("--{EVIL}")],
        &["db", "migrate-safe", "--target-version", EVIL],
        &["db", "verify", "--all", "--", EVIL],
        &["db", "backup", "--", EVIL],
    ] {
        assert_harmless(project.command(arguments), false, 2);
    }
}
