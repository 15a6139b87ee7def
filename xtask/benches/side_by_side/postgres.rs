//! PostgreSQL: backup and restore beside `pg_dump` and `pg_restore`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::cluster::Database;
use crate::load;
use crate::process::{self, Cost};
use crate::report::{Report, Target, mebibytes};
use crate::sqlite::empty;
use crate::stage::Stage;
use crate::turns::{self, Candidate};

const GZIP_WAY: &str = "pg_dump --format=custom, gzip, sha256sum";
const CUSTOM: &str = "pg_dump --format=custom alone";
const LIMIT: &str = "pg_dump --format=custom --compress=0 >/dev/null";
const DIRECTORY: &str = "pg_dump --format=directory --jobs=2";
const RESTORE: &str = "createdb, pg_restore";
const RESTORE_JOBS: &str = "createdb, pg_restore --jobs=2";

pub fn backup(stage: &Stage, report: &mut Report) -> Result<()> {
    let Some(database) = filled(stage, "backup")? else {
        return Ok(());
    };
    let project = stage.project("postgres-backup", Some(database.url()))?;
    let out = stage.folder("postgres-backup-out")?;
    let (from, to) = (&database, &out);
    let shell = |name, script| Candidate::new(name, move || in_shell(from, script, to));
    let candidates = vec![
        Candidate::new("xtask db backup", || {
            let mut backup = project.tool(["db", "backup"]);
            let cost = with_server(&database, || process::run(&mut backup))?;
            let size_bytes = Some(project.remove_backups()?);
            Ok(Cost { size_bytes, ..cost })
        }),
        shell(
            GZIP_WAY,
            r#"pg_dump --format=custom --file="$1/dump"
               gzip "$1/dump"
               sha256sum "$1/dump.gz" >"$1/dump.gz.sha256""#,
        ),
        shell(CUSTOM, r#"pg_dump --format=custom --file="$1/dump""#),
        shell(LIMIT, "pg_dump --format=custom --compress=0 >/dev/null"),
        shell(
            DIRECTORY,
            r#"pg_dump --format=directory --jobs=2 --file="$1/dump""#,
        ),
    ];
    let measured = turns::take(stage.settings.rounds, candidates)?;
    let targets = [
        (LIMIT, Target::Within(1.10)),
        (GZIP_WAY, Target::Faster(3.5)),
        (CUSTOM, Target::None),
        (DIRECTORY, Target::None),
    ];
    report.compare("postgres-backup", &measured, &targets);
    report.compare_sizes("postgres-backup", &measured, CUSTOM);
    Ok(())
}

/// Into a database that is not there. Over one that is, the tool takes a backup of it first, which
/// nobody else does. The tool's time has its comparison with the manifest and its `ANALYZE` in it.
pub fn restore(stage: &Stage, report: &mut Report) -> Result<()> {
    let Some(database) = filled(stage, "restore")? else {
        return Ok(());
    };
    let project = stage.project("postgres-restore", Some(database.url()))?;
    let out = stage.folder("postgres-restore-out")?;
    let dump = out.join("dump");
    let mut pg_dump = database.client("pg_dump");
    pg_dump.arg("--format=custom").arg("--file").arg(&dump);
    process::run(&mut pg_dump)?;
    let id = project.backup()?;
    drop_database(&database)?;

    let arguments = ["db", "restore", &id, "--yes"];
    let ours = || {
        let cost = with_server(&database, || process::run(&mut project.tool(arguments)))?;
        drop_database(&database)?;
        Ok(cost)
    };
    let theirs = |jobs: &'static str| {
        let (database, dump) = (&database, &dump);
        move || {
            let script = r#"createdb --maintenance-db=postgres --template=template0 "$PGDATABASE"
                            pg_restore --exit-on-error $1 --dbname="$PGDATABASE" "$2""#;
            let mut command = clients_in_shell(database, script)?;
            command.arg(jobs).arg(dump);
            let cost = with_server(database, || process::run(&mut command))?;
            drop_database(database)?;
            Ok(Cost {
                peak_bytes: None,
                ..cost
            })
        }
    };
    let candidates = vec![
        Candidate::new("xtask db restore", ours),
        Candidate::new(RESTORE, theirs("--jobs=1")),
        Candidate::new(RESTORE_JOBS, theirs("--jobs=2")),
    ];
    let measured = turns::take(stage.settings.rounds, candidates)?;
    let targets = [
        (RESTORE, Target::Within(1.0)),
        (RESTORE_JOBS, Target::Within(1.0)),
    ];
    report.compare("postgres-restore", &measured, &targets);
    Ok(())
}

pub fn filled(stage: &Stage, name: &str) -> Result<Option<Database>> {
    let Some(database) = stage.postgres(name) else {
        return Ok(None);
    };
    load::postgres(&database, stage.settings.megabytes, stage.settings.seed)?;
    let size = "SELECT pg_database_size(current_database());";
    let size = database.psql(size).parse().context("no size")?;
    println!("the database has {}", mebibytes(size));
    Ok(Some(database))
}

pub fn drop_database(database: &Database) -> Result<()> {
    let name = database.name();
    let postgres = database.cluster().database("postgres");
    postgres.psql(&format!("DROP DATABASE IF EXISTS \"{name}\" WITH (FORCE);"));
    Ok(())
}

pub fn in_shell(database: &Database, script: &str, out: &Path) -> Result<Cost> {
    let mut command = clients_in_shell(database, script)?;
    command.arg(out);
    let cost = with_server(database, || process::run(&mut command))?;
    let size = empty(out)?;
    Ok(Cost {
        size_bytes: Some(size).filter(|size| *size > 0),
        // The shell's own memory says nothing.
        peak_bytes: None,
        ..cost
    })
}

/// A script that finds the clients of the server's version first, connected to this database.
pub fn clients_in_shell(database: &Database, script: &str) -> Result<Command> {
    // For its variables: they say how to connect.
    let client = database.client("psql");
    let mut folders = vec![database.cluster().bin().to_owned()];
    folders.extend(std::env::split_paths(
        &std::env::var_os("PATH").unwrap_or_default(),
    ));
    let mut command = Command::new("/bin/sh");
    command
        .args(["-ec", script, "sh"])
        .env("PATH", std::env::join_paths(folders)?);
    for (name, value) in client.get_envs() {
        command.envs(value.map(|value| (name, value)));
    }
    Ok(command)
}

/// Adds what the server worked: its processes are nobody's children here.
pub fn with_server(database: &Database, run: impl FnOnce() -> Result<Cost>) -> Result<Cost> {
    let pid = server_pid(database)?;
    let before = process::cpu_of_server(pid);
    let cost = run()?;
    // The server has counted a session's time when it has seen the session's end.
    std::thread::sleep(Duration::from_millis(50));
    let after = process::cpu_of_server(pid);
    let server_cpu = after
        .zip(before)
        .map(|(after, before)| after.saturating_sub(before));
    Ok(Cost { server_cpu, ..cost })
}

fn server_pid(database: &Database) -> Result<u32> {
    let path: PathBuf = database.cluster().socket().join("data/postmaster.pid");
    let text = fs::read_to_string(&path).context("cannot read the server's pid")?;
    let first = text.lines().next().unwrap_or_default();
    ensure!(!first.is_empty(), "`{}` is empty", path.display());
    first.parse().context("the server's pid is no number")
}
