//! A backup becomes another database: a copy to look into, or one for tests.

use std::os::unix::fs::symlink;

use rustix::process::Signal;

use crate::cluster::{Cluster, Database, PASSWORD};
use crate::exec::{self, Output};
use crate::pg_bin::PgBin;
use crate::pty::Terminal;
use crate::setup::{Case, says, text};

const CREATE: &str = "CREATE TABLE \"a \"\"t\" (id BIGINT NOT NULL PRIMARY KEY, name TEXT);
                      INSERT INTO \"a \"\"t\" VALUES (1, 'one'), (2, 'two');";
const CHANGE: &str = "DELETE FROM \"a \"\"t\"; CREATE TABLE late (id BIGINT);";
const ASK: &str = "SELECT count(*) FROM \"a \"\"t\";";

/// A backup with two rows, and a database with none.
fn filled(case: &Case) {
    case.query(CREATE);
    case.backup();
    case.query(CHANGE);
}

fn into(case: &Case, url: &str, more: &[&str]) -> Output {
    let mut command = case
        .project
        .command(["db", "restore", "latest", "--into", url]);
    let output = exec::run(command.args(more), None);
    // Nor as it is written in a URL.
    for secret in [Some(PASSWORD), url.contains('@').then_some(url)]
        .into_iter()
        .flatten()
    {
        let shown = output.stderr.contains(secret) || output.stdout.contains(secret);
        assert!(!shown, "{output}");
    }
    output
}

/// Another database of the same engine that does not exist yet: its URL, and what it answers.
struct Other {
    url: String,
    database: Option<Database>,
    path: std::path::PathBuf,
}

impl Other {
    fn of(case: &Case, name: &str) -> Self {
        let path = case.project.path().join(format!("{name}.db"));
        let name = |live: &Database| format!("{} {name}", live.name());
        let database = case
            .server
            .as_ref()
            .map(|live| live.cluster().database(&name(live)));
        let url = database.as_ref().map_or_else(
            || format!("sqlite:{name}.db", name = "other"),
            Database::url,
        );
        Self {
            url,
            database,
            path,
        }
    }

    fn query(&self, sql: &str) -> Vec<String> {
        match &self.database {
            Some(database) => database.psql(sql).lines().map(str::to_owned).collect(),
            None => {
                let connection = rusqlite::Connection::open(&self.path).expect("open the copy");
                crate::project::sqlite_rows(&connection, sql).expect("ask the copy")
            }
        }
    }
}

#[test]
fn a_missing_database_is_made_and_the_live_one_is_not_touched() {
    for case in Case::each("into Ünï \"x\"") {
        filled(&case);
        let other = Other::of(&case, "other");
        let before = (case.contents(), case.project.vault_files());
        let runtime = crate::compat::runtime();
        let mut session = case
            .server
            .as_ref()
            .map(|live| runtime.block_on(crate::compat::connect(live)));

        let refused = into(&case, &other.url, &[]).expect_code(3);
        says(&refused, &["does not exist yet", "--into", "--yes"]);
        let done = into(&case, &other.url, &["--yes", "--json"]).expect_code(0);
        assert_eq!(other.query(ASK), ["2"]);
        assert!(done.json()["safety_backup"].is_null(), "{done}");
        assert_eq!((case.contents(), case.project.vault_files()), before);
        if let Some(session) = &mut session {
            let asked = sqlx::query("SELECT 1").execute(session);
            runtime
                .block_on(asked)
                .expect("no session of the live database was cut");
        }
        // There is nothing to undo here.
        case.project
            .run(["db", "restore", "--undo", "--yes"])
            .expect_code(3);
    }
}

#[test]
fn what_holds_something_is_replaced_only_by_force_and_backed_up_first() {
    for case in Case::each("into_full") {
        filled(&case);
        let latest = case.project.json(["db", "status"])["latest"]["id"].clone();
        let other = Other::of(&case, "other");
        into(&case, &other.url, &["--yes"]).expect_code(0);
        other.query("CREATE TABLE theirs (id BIGINT); INSERT INTO theirs VALUES (7); DROP TABLE \"a \"\"t\";");
        let refused = into(&case, &other.url, &["--yes"]).expect_code(3);
        says(&refused, &["is not empty", "theirs", "--force"]);
        assert_eq!(other.query("SELECT id FROM theirs;"), ["7"]);

        let done = into(&case, &other.url, &["--force", "--json"])
            .expect_code(0)
            .json();
        assert_eq!(other.query(ASK), ["2"]);
        let safety = text(&done, "/safety_backup");
        let taken = case
            .project
            .run(["db", "restore", safety, "--yes"])
            .expect_code(3);
        says(&taken, &["of another database"]);
        assert_eq!(case.project.json(["db", "status"])["latest"]["id"], latest);
        assert_eq!(case.query(ASK), ["0"]);
        // It is the other one's, and leads back there.
        let mut command = case
            .project
            .command(["db", "restore", safety, "--into", &other.url, "--force"]);
        exec::run(&mut command, None).expect_code(0);
        assert_eq!(other.query("SELECT id FROM theirs;"), ["7"]);
    }
}

#[test]
fn the_live_database_is_known_by_any_spelling() {
    let case = Case::sqlite();
    filled(&case);
    let live = case.project.sqlite_path();
    symlink(&live, case.project.path().join("link.db")).expect("make a link");
    std::fs::hard_link(&live, case.project.path().join("hard.db")).expect("make a hard link");
    let mut urls = vec![
        "sqlite:link.db".into(),
        "sqlite://hard.db".into(),
        "sqlite:database/../database/app.db".into(),
    ];
    urls.push(format!("sqlite://{}?mode=rwc", live.display()));
    for url in &urls {
        let refused = into(&case, url, &["--force"]).expect_code(3);
        says(&refused, &["the live database itself"]);
    }
    assert_eq!(case.query(ASK), ["0"]);
    if let Some(case) = Case::postgres("into_live") {
        filled(&case);
        let live = case.server.as_ref().expect("a server");
        for url in [live.url(), live.url_tcp(), live.url_parameters()] {
            let refused = into(&case, &url, &["--force"]).expect_code(3);
            says(&refused, &["the live database itself"]);
        }
        assert_eq!(case.query(ASK), ["0"]);
    }
}

#[test]
fn wrong_usage_is_refused_without_the_url() {
    for case in Case::each("into_usage") {
        filled(&case);
        let secret = format!("mysql://me:{PASSWORD}@somewhere/x");
        into(&case, &secret, &["--yes"]).expect_code(2);
        into(&case, "sqlite::memory:", &["--yes"]).expect_code(2);
        let other = Other::of(&case, "other");
        into(&case, &other.url, &["--undo"]).expect_code(2);
        let url = match case.server {
            Some(_) => "sqlite:new.db".to_owned(),
            None => match Cluster::get_or_skip() {
                Some(cluster) => cluster.database("postgres").url(),
                None => continue,
            },
        };
        let refused = into(&case, &url, &["--force"]).expect_code(3);
        says(&refused, &["the same engine"]);
        assert!(!case.project.path().join("new.db").exists());
        assert_eq!(case.query(ASK), ["0"]);
    }
}

/// A function is something, too, and a role that may make no databases would drop it.
#[test]
fn an_empty_database_is_filled_in_place_and_a_function_makes_it_full() {
    let Some((case, admin)) = Case::owner("into_place") else {
        return;
    };
    filled(&case);
    let other = admin.cluster().create_database("into_empty");
    let role = format!("{}_owner", admin.name());
    other.psql(&format!(
        "ALTER DATABASE {} OWNER TO {role}; ALTER SCHEMA public OWNER TO {role};",
        other.name()
    ));
    other.psql("CREATE FUNCTION theirs() RETURNS int LANGUAGE sql AS 'SELECT 1';");
    let url = other.as_role(&role, PASSWORD).url();
    let refused = into(&case, &url, &["--yes"]).expect_code(3);
    says(&refused, &["public.theirs"]);
    other.psql("DROP FUNCTION theirs();");
    into(&case, &url, &["--yes"]).expect_code(0);
    assert_eq!(other.psql(ASK), "2");
}

/// As an application makes it that comes back while a person still thinks.
fn make(case: &Case, database: Option<&Database>) {
    if let (Some(database), Some(live)) = (database, &case.server) {
        let name = database.name().replace('"', "\"\"");
        let postgres = live.cluster().database("postgres");
        postgres.psql(&format!("CREATE DATABASE \"{name}\";"));
    }
}

const THEIRS: &str = "CREATE TABLE theirs (id BIGINT); INSERT INTO theirs VALUES (7);";

#[test]
fn a_database_that_comes_during_the_question_is_not_overwritten() {
    for case in Case::each("into_late") {
        filled(&case);
        let other = Other::of(&case, "other");
        let arguments = ["db", "restore", "latest", "--into", &other.url];
        let mut terminal = Terminal::start(case.project.command(arguments));
        terminal.wait_for("type `yes`");
        make(&case, other.database.as_ref());
        other.query(THEIRS);
        terminal.send("yes\r");
        assert_eq!(terminal.exit_code(), 3, "{}", terminal.screen());
        let screen = terminal.screen();
        assert!(screen.contains("is not empty"), "{screen}");
        assert_eq!(other.query("SELECT id FROM theirs;"), ["7"]);
    }
}

/// The same of the live one, which a restore replaces: then it is backed up first.
#[test]
fn a_live_database_that_comes_during_the_question_is_backed_up_first() {
    for case in Case::each("live_late") {
        filled(&case);
        match &case.server {
            None => std::fs::remove_file(case.project.sqlite_path()).expect("lose it"),
            Some(live) => {
                let postgres = live.cluster().database("postgres");
                postgres.psql(&format!("DROP DATABASE {};", live.name()));
            }
        }
        let arguments = ["db", "restore", "latest"];
        let mut terminal = Terminal::start(case.project.command(arguments));
        terminal.wait_for("type `yes`");
        make(&case, case.server.as_ref());
        case.query(THEIRS);
        terminal.send("yes\r");
        assert_eq!(terminal.exit_code(), 0, "{}", terminal.screen());
        assert_eq!(case.query(ASK), ["2"]);
        case.project
            .run(["db", "restore", "--undo", "--yes"])
            .expect_code(0);
        assert_eq!(case.query("SELECT id FROM theirs;"), ["7"]);
        let backups = case.project.json(["db", "list"])["backups"].clone();
        let safety =
            |backup: &&serde_json::Value| text(backup, "/manifest/reason") == "pre-restore";
        let backups = backups.as_array().expect("a list");
        assert!(backups.iter().any(|backup| safety(&backup)), "{backups:#?}");
    }
}

/// And while the backup is unpacked.
#[test]
fn a_file_that_comes_during_the_restore_is_not_overwritten() {
    let case = Case::sqlite();
    case.query(
        "CREATE TABLE big (b BLOB); WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n \
         WHERE i < 60) INSERT INTO big SELECT randomblob(1000000) FROM n;",
    );
    case.backup();
    std::fs::remove_file(case.project.sqlite_path()).expect("lose it");
    let mut command = case.project.command(["db", "restore", "latest", "--yes"]);
    let running = exec::start(&mut command, None);
    let deadline = std::time::Instant::now() + exec::LIMIT;
    let is_unpacking = || {
        let mut files = case.project.vault_files().into_iter();
        files.any(|name| case.project.vault().join(name).join("restored.db").exists())
    };
    while !is_unpacking() {
        assert!(std::time::Instant::now() < deadline, "it unpacks nothing");
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    case.query(THEIRS);
    let refused = running.finish().expect_code(3);
    says(&refused, &["somebody has made it meanwhile", "hint: "]);
    assert_eq!(case.query("SELECT id FROM theirs;"), ["7"]);
}

#[test]
fn one_that_is_killed_leaves_the_live_database_and_is_done_again() {
    let Some(case) = Case::postgres("into_killed") else {
        return;
    };
    let cluster = Cluster::get_or_skip().expect("a cluster");
    filled(&case);
    let other = Other::of(&case, "other");
    let bin = PgBin::logging(cluster).gated(cluster, "pg_restore", "--dbname=");
    let mut command = case
        .project
        .command(["db", "restore", "latest", "--yes", "--into", &other.url]);
    let running = exec::start(command.env("PG_BIN", bin.path()), None);
    bin.wait_for("pg_restore.waits");
    running.signal(Signal::KILL);
    bin.open("pg_restore");
    running.finish().expect_code(128 + 9);
    assert_eq!(case.query(ASK), ["0"]);
    assert_eq!(
        case.project.json(["db", "status"])["unfinished"],
        serde_json::Value::Null
    );
    into(&case, &other.url, &["--yes"]).expect_code(0);
    assert_eq!(other.query(ASK), ["2"]);
}
