//! The harness itself: a broken one would let every other test pass or hang.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::cluster::{Cluster, PASSWORD, SUPERUSER};
use crate::project::{Project, shared_data};
use crate::pty::{self, Terminal};
use crate::{exec, project};

#[test]
fn the_cluster_answers_in_every_form_of_its_url() {
    let Some(cluster) = Cluster::get_or_skip() else {
        return;
    };
    let database = cluster.create_database("Ünï \"code\"");
    assert_eq!(
        database.psql("SELECT current_user, current_database();"),
        format!("{SUPERUSER}|{}", database.name())
    );
    for url in [
        database.url(),
        database.url_tcp(),
        database.url_parameters(),
        database.as_role(SUPERUSER, PASSWORD).url(),
    ] {
        let mut psql = Command::new(cluster.bin().join("psql"));
        psql.args(["-XAtc", "SELECT current_database()", &url]);
        let output = exec::run(&mut psql, None).expect_code(0);
        assert_eq!(output.stdout.trim_end(), database.name(), "through {url}");
    }
}

#[test]
fn the_cluster_asks_for_the_password() {
    let Some(cluster) = Cluster::get_or_skip() else {
        return;
    };
    let stranger = cluster.database("postgres").as_role(SUPERUSER, "wrong");
    let url = stranger.url();
    let mut psql = Command::new(cluster.bin().join("psql"));
    let output = exec::run(psql.args(["-XAtc", "SELECT 1", &url]), None).expect_code(2);
    assert!(output.stderr.contains("authentication failed"), "{output}");
}

#[test]
fn the_cluster_ends_with_the_process_that_uses_it() {
    let Some(cluster) = Cluster::get_or_skip() else {
        return;
    };
    // This binary again, for one test; it is killed, so nothing in it can clean up.
    let mut command = Command::new(std::env::current_exe().expect("path of this binary"));
    command.args(["--exact", "harness::hold_a_cluster", "--nocapture"]);
    command.env(HOLD, "1");
    let running = exec::start(&mut command, None);
    let folder = running.wait_for_line("holding ");
    assert_ne!(Path::new(&folder), cluster.socket());
    assert!(Path::new(&folder).join("data/postmaster.pid").exists());
    running.signal(rustix::process::Signal::KILL);
    running.finish().expect_code(128 + 9);

    let deadline = Instant::now() + Duration::from_secs(30);
    while Path::new(&folder).exists() {
        assert!(Instant::now() < deadline, "{folder} is still there");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Set for the child of `the_cluster_ends_with_the_process_that_uses_it`.
const HOLD: &str = "XTASK_DB_HOLD_A_CLUSTER";

/// The other half of the test above; on its own it checks that the server has a folder.
#[test]
fn hold_a_cluster() {
    let Some(cluster) = Cluster::get_or_skip() else {
        return;
    };
    assert!(cluster.socket().is_dir());
    if std::env::var_os(HOLD).is_some() {
        println!("\nholding {}", cluster.socket().display());
        std::thread::sleep(exec::LIMIT);
    }
}

#[test]
fn chinook_loads_into_both_databases() {
    if let Some(file) = shared_data("chinook/chinook.sqlite") {
        let connection = rusqlite::Connection::open(file).expect("open chinook");
        let tracks = project::sqlite_rows(&connection, "SELECT count(*) FROM Track");
        assert_eq!(tracks.expect("read chinook"), ["3503"]);
    }
    let script = shared_data("chinook/chinook-postgres.sql");
    if let (Some(script), Some(cluster)) = (script, Cluster::get_or_skip()) {
        let database = cluster.create_database("chinook");
        database.psql(&std::fs::read_to_string(script).expect("read chinook"));
        assert_eq!(database.psql("SELECT count(*) FROM track"), "3503");
    }
}

#[test]
fn the_example_migrations_run_on_both_databases() {
    let project = Project::new().example_migrations();
    let mut files: Vec<_> = std::fs::read_dir(project.path().join("migrations"))
        .expect("list the migrations")
        .map(|entry| entry.expect("list the migrations").path())
        .collect();
    files.sort();
    assert!(files.len() >= 5, "only {files:?}");
    let in_transactions: String = files
        .iter()
        .map(|file| std::fs::read_to_string(file).expect("read a migration"))
        .map(|sql| format!("BEGIN;\n{sql}\nCOMMIT;\n"))
        .collect();
    let revenue = "SELECT sum(revenue_cents) FROM customer_revenue;";

    project.sqlite(&format!("PRAGMA foreign_keys = ON; {in_transactions}"));
    assert_eq!(project.sqlite(revenue), ["14900"]);
    if let Some(cluster) = Cluster::get_or_skip() {
        let database = cluster.create_database("example");
        database.psql(&in_transactions);
        assert_eq!(database.psql(revenue), "14900");
    }
}

#[test]
fn a_project_shuts_the_machine_out() {
    let project = Project::new()
        .migration("1_init.sql", "CREATE TABLE t (id INTEGER);")
        .database_url("sqlite://other.db");
    assert!(project.path().join("migrations/1_init.sql").is_file());
    assert_eq!(project.vault_files(), [""; 0]);
    std::fs::create_dir(project.vault()).expect("create a vault");
    project.write("database/backups/b.json", "{}");
    project.write("database/backups/a.json", "{}");
    project.write("database/backups/.lock", "");
    assert_eq!(project.vault_files(), ["a.json", "b.json"]);

    let command = project.command(["db", "list"]);
    let value = |name: &str| {
        command
            .get_envs()
            .find(|(key, _)| *key == name)
            .and_then(|(_, value)| value)
            .map(|value| value.to_string_lossy().into_owned())
    };
    assert_eq!(value("DATABASE_URL").as_deref(), Some("sqlite://other.db"));
    assert_eq!(value("TMPDIR").as_deref(), project.tmp().to_str());
    assert_eq!(value("CARGO_MANIFEST_DIR"), None);
}

#[test]
fn the_tool_runs_without_a_terminal() {
    let project = Project::new();
    let output = project.run(["--version"]).expect_code(0);
    assert!(
        output.stdout.contains(env!("CARGO_PKG_VERSION")),
        "{output}"
    );
}

#[test]
fn a_terminal_is_one_and_keys_reach_the_program() {
    let mut shell = Command::new("/bin/sh");
    shell.arg("-c").arg(
        "test -t 0 && test -t 1 && test -t 2 && stty size </dev/tty; \
         printf 'name? '; read name; printf '\\033[31mhello %s\\033[0m\\n' \"$name\"; \
         printf 'name? '; read name; exit 7",
    );
    let mut terminal = Terminal::start(shell);
    terminal
        .wait_for("40 120")
        .wait_for("name? ")
        .send("Ada")
        .send(pty::ENTER);
    terminal.wait_for("hello Ada\n").wait_for("name? ");
    terminal.send(pty::CTRL_D);
    assert_eq!(terminal.exit_code(), 7, "{}", terminal.screen());
}

#[test]
fn keys_arrive_as_a_keyboard_sends_them() {
    let mut cat = Command::new("/bin/sh");
    cat.args(["-c", "echo ready; cat"]);
    let mut terminal = Terminal::start(cat);
    // The terminal itself echoes control characters in this way.
    terminal.wait_for("ready").send(pty::ESCAPE).wait_for("^[");
    terminal.send(pty::DOWN).wait_for("^[[B");
    terminal.send(pty::ENTER).send(pty::CTRL_D);
    assert_eq!(terminal.exit_code(), 0);
}

#[test]
fn ctrl_c_on_a_terminal_is_an_interrupt() {
    let mut shell = Command::new("/bin/sh");
    shell.args([
        "-c",
        "trap 'exit 130' INT; echo ready; while :; do sleep 1; done",
    ]);
    let mut terminal = Terminal::start(shell);
    terminal.wait_for("ready").send(pty::CTRL_C);
    assert_eq!(terminal.exit_code(), 130);
}
