//! The contracts on PostgreSQL: for a superuser, and for the owner of a database who may not create
//! another one.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use super::state::State;
use super::{Subject, contract_tests, schema_tests, survives, text};
use crate::cluster::{Cluster, Database, PASSWORD};
use crate::exec;
use crate::project::{Project, shared_data};

/// A database of the server of version `MAJOR`, or of the shared one, which is 0; `LIMITED` is the
/// owner without `CREATEDB`.
pub(super) struct Postgres<const LIMITED: bool, const MAJOR: u32 = 0> {
    project: Project,
    database: Database,
    flags: &'static [&'static str],
}

pub(super) type Superuser = Postgres<false>;
pub(super) type Owner = Postgres<true>;

contract_tests!(Superuser:
    an_empty_database_is_one_again
    a_restore_under_a_writer_holds
    a_migration_applies_again_after_the_restore
    looking_writes_nothing
    a_flipped_bit_is_refused
);

schema_tests!(Superuser, "postgres":
    partitions columns values references views inheritance names odd_names large_objects extensions
    security server
);

/// Where the old database cannot be kept aside, everything happens in one transaction.
mod owner {
    use super::{Owner, contract_tests, schema_tests};

    contract_tests!(Owner:
        an_empty_database_is_one_again
        a_restore_under_a_writer_holds
        a_migration_applies_again_after_the_restore
        looking_writes_nothing
        a_flipped_bit_is_refused
    );

    schema_tests!(Owner, "postgres":
        partitions columns values references views inheritance names odd_names large_objects
    );
}

mod jobs;
mod versions;

const CHINOOK_CHANGE: &str = "
    DROP TABLE playlist_track;
    UPDATE track SET unit_price = unit_price * 2, name = upper(name);
    DELETE FROM invoice_line WHERE invoice_id % 2 = 0;
    ALTER TABLE artist ADD COLUMN country TEXT NOT NULL DEFAULT 'unknown';
    INSERT INTO artist (artist_id, name) VALUES (nextval('artist_artist_id_seq') + 10000, 'New');
    CREATE TABLE rating (track_id INTEGER REFERENCES track (track_id), stars INTEGER);
    CREATE VIEW best AS SELECT name FROM track JOIN rating USING (track_id);
";

#[test]
fn chinook() {
    if let Some(subject) = Superuser::start() {
        super::chinook_survives(&subject, CHINOOK_CHANGE);
    }
}

#[test]
fn a_dump_restores_without_this_tool() {
    if let Some(subject) = Superuser::start() {
        super::a_dump_restores_without_this_tool(&subject, include_str!("postgres/partitions.sql"));
    }
}

#[test]
fn a_database_with_a_difficult_name() {
    if let Some(cluster) = Cluster::get_or_skip() {
        let database = cluster.create_database("Ünï \"quoted\" 'name' %20 $HOME; --");
        let subject = Superuser::of(database);
        survives(&subject, include_str!("postgres/inheritance.sql"));
    }
}

/// Bytes that are text in no encoding: restored into a UTF-8 database they would be other bytes, and
/// `pg_restore` would say nothing.
#[test]
fn sql_ascii_keeps_its_bytes() {
    let Some(cluster) = Cluster::get_or_skip() else {
        return;
    };
    let options = "ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'";
    let subject = Superuser::of(cluster.create_database_with("ascii", options));
    subject.query(
        r"CREATE TABLE raw (bytes TEXT); INSERT INTO raw VALUES (E'\xff\xe9'), (E'\xc3\xa9');",
    );
    let bytes = r"SELECT encode(convert_to(bytes, 'SQL_ASCII'), 'hex') FROM raw ORDER BY 1;";
    let before = (subject.state(), subject.query(bytes));
    assert_eq!(before.1, ["c3a9", "ffe9"]);
    subject.project.json(["db", "backup"]);
    subject.query("TRUNCATE raw;");
    subject.project.json(["db", "restore", "latest", "--yes"]);
    before.0.assert_same(&subject.state(), "after the restore");
    assert_eq!(subject.query(bytes), before.1);
}

/// What the restore replaced is still there under the name that it tells, as it was.
#[test]
fn the_old_database_is_kept() {
    let Some(subject) = Superuser::start() else {
        return;
    };
    subject.query("CREATE TABLE kept (id INTEGER); INSERT INTO kept VALUES (1);");
    subject.project.json(["db", "backup"]);
    subject.query("INSERT INTO kept VALUES (2);");
    let changed = subject.state();
    let restored = subject.project.json(["db", "restore", "latest", "--yes"]);

    let kept = text(&restored, "/kept_database");
    let postgres = subject.database.cluster().database("postgres");
    let quoted = kept.replace('\'', "''");
    let rows = postgres.psql(&format!(
        "SELECT datallowconn FROM pg_database WHERE datname = '{quoted}'"
    ));
    assert_eq!(rows, "f", "nobody writes to it by accident");
    let quoted = kept.replace('"', "\"\"");
    postgres.psql(&format!(
        "ALTER DATABASE \"{quoted}\" ALLOW_CONNECTIONS true"
    ));
    let old = state_of(&subject.database.cluster().database(kept));
    changed
        .without("database")
        .assert_same(&old.without("database"), "the kept database");
}

/// Owners of things in the scripts; roles belong to the whole server, so they are made once.
fn create_roles(cluster: &'static Cluster, major: u32) {
    static DONE: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());
    if DONE.lock().expect("roles can be made").insert(major) {
        let roles = ["contract_owner", "contract_reader", "contract_writer"];
        for role in roles {
            cluster
                .database("postgres")
                .psql(&format!("CREATE ROLE {role};"));
        }
    }
}

/// A session that may write even where the database says read-only.
const WRITABLE: &str = "SET default_transaction_read_only = off;\n";

impl Superuser {
    fn of(database: Database) -> Self {
        let project = Project::new().database_url(&database.url());
        Self {
            project,
            database,
            flags: &[],
        }
    }
}

impl<const LIMITED: bool, const MAJOR: u32> Subject for Postgres<LIMITED, MAJOR> {
    const ENGINE: &'static str = "postgresql";

    fn chinook() -> Option<String> {
        let script = shared_data("chinook/chinook-postgres.sql")?;
        Some(fs::read_to_string(script).expect("read chinook"))
    }

    fn start() -> Option<Self> {
        let cluster = match MAJOR {
            0 => Cluster::get_or_skip()?,
            major => Cluster::of_major_or_skip(major)?,
        };
        create_roles(cluster, MAJOR);
        let mut database = cluster.create_database("contract");
        if LIMITED {
            let role = format!("{}_owner", database.name());
            database.psql(&format!(
                "CREATE ROLE {role} LOGIN PASSWORD '{}'; ALTER DATABASE {} OWNER TO {role};",
                PASSWORD.replace('\'', "''"),
                database.name(),
            ));
            database = database.as_role(&role, PASSWORD);
        }
        let mut project = Project::new().database_url(&database.url());
        if LIMITED {
            // It may not create a scratch database.
            project = project.unrehearsed();
        }
        if MAJOR != 0 {
            project = project.env("PG_BIN", cluster.bin());
        }
        Some(Self {
            project,
            database,
            flags: &[],
        })
    }

    fn project(&self) -> &Project {
        &self.project
    }

    fn flags(&self) -> &'static [&'static str] {
        self.flags
    }

    fn query(&self, sql: &str) -> Vec<String> {
        let rows = self.database.psql(&format!("{WRITABLE}{sql}"));
        rows.lines().map(str::to_owned).collect()
    }

    fn state(&self) -> State {
        state_of(&self.database)
    }

    fn writer(&self) -> impl Sized + 'static {
        Writer::start(self.database.clone())
    }

    fn state_by_hand(&self, dump: &Path) -> State {
        let by_hand = self.database.cluster().create_database("by_hand");
        let mut zstd = zstd_child(dump, Stdio::piped());
        let mut restore = by_hand.client("pg_restore");
        restore
            .args(["--exit-on-error", "--dbname", by_hand.name()])
            .stdin(zstd.stdout.take().expect("stdout is piped"));
        let status = restore.status().expect("run pg_restore");
        assert!(status.success(), "pg_restore: {status}");
        assert!(zstd.wait().expect("wait for zstd").success());
        state_of(&by_hand)
    }
}

/// `zstd` as an operator has it, decompressing `dump`.
pub fn zstd_child(dump: &Path, output: Stdio) -> Child {
    let mut command = Command::new("zstd");
    command
        .args(["--decompress", "--stdout", "--quiet"])
        .stdin(File::open(dump).expect("open the dump"))
        .stdout(output);
    command.spawn().expect("start zstd (package `zstd`)")
}

fn state_of(database: &Database) -> State {
    let records = database.psql(include_str!("postgres/state.sql"));
    let mut state = State::default();
    for record in records.split_terminator('\0') {
        let (section, line) = record.split_once('\x1f').expect("a section and a line");
        state.push(section, line.replace('\x1f', "|"));
    }
    state.sorted()
}

/// `psql` in a loop, as a pool that reconnects.
struct Writer {
    database: Database,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

const WRITER_NAME: &str = "contract writer";

impl Writer {
    fn start(database: Database) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (theirs, target) = (Arc::clone(&stop), database.clone());
        let thread = std::thread::spawn(move || {
            while !theirs.load(Ordering::Relaxed) {
                write_until_cut(&target, &theirs);
            }
        });
        Self {
            database,
            stop,
            thread: Some(thread),
        }
    }
}

impl Drop for Writer {
    /// Returns once no transaction of the writer can still become visible.
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().expect("dropped once");
        let ended = thread.join();
        if std::thread::panicking() {
            return;
        }
        ended.expect("the writer's thread");
        let sessions = format!(
            "SELECT count(*) FROM pg_stat_activity
             WHERE application_name = '{WRITER_NAME}' AND datname = current_database()"
        );
        while self.database.psql(&sessions) != "0" {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn write_until_cut(database: &Database, stop: &AtomicBool) {
    let script = format!(
        "{WRITABLE}
        WITH number AS (SELECT coalesce(max(id), 0) + 1 AS id FROM writer_left),
             half AS (INSERT INTO writer_left SELECT id FROM number)
        INSERT INTO writer_right SELECT id FROM number
        \\watch 0.002\n"
    );
    let mut psql = database.psql_command();
    psql.env("PGAPPNAME", WRITER_NAME)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut child = exec::spawn_feeding(&mut psql, &script);
    while !stop.load(Ordering::Relaxed) {
        if child.try_wait().expect("wait for the writer").is_some() {
            return;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    // It may have been cut in this very moment.
    let _ = child.kill();
    child.wait().expect("wait for the writer");
}
