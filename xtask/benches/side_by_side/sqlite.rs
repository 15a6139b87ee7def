//! SQLite: backup and restore beside `sqlite3`, `gzip` and `zstd`.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::load;
use crate::process::{self, Cost};
use crate::report::{Report, Target, mebibytes};
use crate::stage::{Project, Stage};
use crate::turns::{self, Candidate};

const GZIP_WAY: &str = ".backup, gzip, sha256sum";
const BACKUP_ALONE: &str = ".backup alone";
const LIMIT: &str = "zstd -3 -T0 of the file alone";
const RESTORE: &str = "gunzip, .restore";

pub fn backup(stage: &Stage, report: &mut Report) -> Result<()> {
    let project = filled(stage, "sqlite-backup")?;
    let out = stage.folder("sqlite-backup-out")?;
    let database = project.sqlite_path();
    let (from, to) = (&database, &out);
    let shell = |name, script| Candidate::new(name, move || in_shell(script, from, to));
    let candidates = vec![
        Candidate::new("xtask db backup", || {
            let cost = process::run(&mut project.tool(["db", "backup"]))?;
            let size_bytes = Some(project.remove_backups()?);
            Ok(Cost { size_bytes, ..cost })
        }),
        shell(
            GZIP_WAY,
            r#"sqlite3 "$1" ".backup '$2/copy.db'"
               gzip "$2/copy.db"
               sha256sum "$2/copy.db.gz" >"$2/copy.db.gz.sha256""#,
        ),
        shell(BACKUP_ALONE, r#"sqlite3 "$1" ".backup '$2/copy.db'""#),
        shell(LIMIT, r#"zstd -q -3 -T0 "$1" -o "$2/copy.zst""#),
    ];
    let measured = turns::take(stage.settings.rounds, candidates)?;
    let targets = [
        (GZIP_WAY, Target::Faster(7.0)),
        (LIMIT, Target::Within(1.4)),
        (BACKUP_ALONE, Target::None),
    ];
    report.compare("sqlite-backup", &measured, &targets);
    Ok(())
}

/// Into a file that is not there. Over one that is, the tool takes a backup of it first, which
/// nobody else does.
pub fn restore(stage: &Stage, report: &mut Report) -> Result<()> {
    let project = filled(stage, "sqlite-restore")?;
    let out = stage.folder("sqlite-restore-out")?;
    let database = project.sqlite_path();
    let zipped = out.with_extension("gz");
    let zip = r#"sqlite3 "$1" ".backup '$2/copy.db'"; gzip --stdout "$2/copy.db" >"$2.gz""#;
    in_shell(zip, &database, &out)?;
    let id = project.backup()?;
    let arguments = ["db", "restore", &id, "--yes"];
    let candidates = vec![
        Candidate::new("xtask db restore", || {
            remove_database(&database)?;
            let cost = process::run(&mut project.tool(arguments))?;
            let size_bytes = Some(fs::metadata(&database)?.len());
            Ok(Cost { size_bytes, ..cost })
        }),
        Candidate::new(RESTORE, || {
            let script = r#"gunzip --stdout "$1" >"$2/copy.db"
                            sqlite3 "$2/app.db" ".restore '$2/copy.db'"; rm "$2/copy.db""#;
            in_shell(script, &zipped, &out)
        }),
    ];
    let measured = turns::take(stage.settings.rounds, candidates)?;
    report.compare(
        "sqlite-restore",
        &measured,
        &[(RESTORE, Target::Within(1.0))],
    );
    Ok(())
}

pub fn filled<'a>(stage: &'a Stage, name: &str) -> Result<Project<'a>> {
    let project = stage.project(name, None)?;
    let database = project.sqlite_path();
    load::sqlite(&database, stage.settings.megabytes, stage.settings.seed)?;
    let size = fs::metadata(&database)?.len();
    println!("the database has {}", mebibytes(size));
    Ok(project)
}

pub fn remove_database(path: &Path) -> Result<()> {
    for suffix in ["", "-wal", "-shm", "-journal"] {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        match fs::remove_file(name) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
    }
    Ok(())
}

/// A script with the database or file as `$1` and a folder for what it makes as `$2`.
fn in_shell(script: &str, input: &Path, out: &Path) -> Result<Cost> {
    let mut command = Command::new("/bin/sh");
    command.args(["-ec", script, "sh"]).args([input, out]);
    let cost = process::run(&mut command)?;
    let size_bytes = Some(empty(out)?);
    // The shell's own memory says nothing.
    let peak_bytes = None;
    Ok(Cost {
        size_bytes,
        peak_bytes,
        ..cost
    })
}

/// Removes everything in a folder and returns how large it was.
pub fn empty(folder: &Path) -> Result<u64> {
    let mut size = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            size += empty(&entry.path())?;
            fs::remove_dir(entry.path())?;
        } else {
            size += entry.metadata()?.len();
            fs::remove_file(entry.path())?;
        }
    }
    Ok(size)
}
