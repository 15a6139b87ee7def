//! A dump's table of contents, for a restore in place: what belongs to other
//! roles stays as it is, and is left out.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tempfile::TempDir;
use xshell::cmd;

use super::owners::Owners;
use super::{Postgres, connect, folder, owners, plain, programs};
use crate::durable;
use crate::tool::{self, Pipes, Program, Running};
use crate::values::failure::Failure;
use crate::values::kind::ForeignKey;
use crate::values::verified_dump::VerifiedDump;

pub mod beside;

/// A dump's entries, sorted by whether this role can make them.
pub struct Toc {
    /// All lines but those of other roles, for `pg_restore --use-list`.
    ours: Vec<String>,
    theirs: Vec<String>,
    /// Extensions that only an administrator can create.
    uncreatable: Vec<String>,
    given_up: Vec<String>,
    kept_publications: Vec<String>,
}

/// How many names a line for a person holds.
const SOME: usize = 8;

impl Toc {
    pub fn read(postgres: &Postgres, pg_restore: &Program, dump: &VerifiedDump) -> Result<Toc> {
        let platform = dump.manifest().platform.as_ref();
        let owners = postgres
            .runtime
            .block_on(Owners::read(postgres, platform))?;
        let contents = read(postgres, pg_restore, dump)?;
        let given_up = platform.map_or_else(Vec::new, |platform| owners.given_up(platform));
        let stays = |line: &&str| {
            let is_platforms = platform.is_some() && is_of_database(line);
            is_gap(dump, line)
                || (is_platforms && owners.is_theirs(line))
                || given_up.iter().any(|name| is_extension(line, name))
                || owners.is_kept_publication(line)
                || owners.holds_theirs(line)
        };
        let uncreatable = |line: &&str| {
            let name = line
                .split_once(" EXTENSION - ")
                .map(|(_, name)| name.trim_end());
            name.is_some_and(|name| !line.contains(" COMMENT - ") && !owners.may_create(name))
        };
        let uncreatable = contents.lines().filter(uncreatable).map(shown).collect();
        let (theirs, ours): (Vec<&str>, Vec<&str>) = {
            let lines = contents.lines().filter(|line| !stays(line));
            lines.partition(|line| owners.is_theirs(line))
        };
        let owned = |lines: Vec<&str>| lines.into_iter().map(str::to_owned).collect();
        let mut toc = Toc {
            ours: owned(ours),
            theirs: owned(theirs),
            uncreatable,
            given_up,
            kept_publications: owners.kept_publications,
        };
        toc.sort_contents_of_large_objects()?;
        Ok(toc)
    }

    /// Before version 17 they are one entry, whoever owns them, and it is filled into all of them or none.
    fn sort_contents_of_large_objects(&mut self) -> Result<()> {
        let is_object = |line: &&String| entry_of(line).is_some_and(|(of, _)| of == LARGE_OBJECT);
        let is_contents = |line: &String| shown(line) == "BLOBS - BLOBS";
        let theirs: Vec<String> = self
            .theirs
            .iter()
            .filter(is_object)
            .map(|l| shown(l))
            .collect();
        if theirs.is_empty() || !self.ours.iter().any(is_contents) {
            return Ok(());
        }
        if !self.ours.iter().any(|line| is_object(&line)) {
            self.ours.retain(|line| !is_contents(line));
            return Ok(());
        }
        Err(Failure::refused(format!(
            "the dump holds the large objects of this role in one piece with those of others, which it \
             may not write: {}",
            some_of(&theirs)
        ))
        .hint("restore as an administrator")
        .into())
    }

    /// What the backup takes for granted, the platform no longer has and this role cannot make.
    pub fn given_up(&self, profile: &str) -> impl Iterator<Item = String> {
        self.given_up.iter().map(move |name| {
            format!(
                "the database lacks the extension `{name}`, which is {profile}'s, and which this role may not create"
            )
        })
    }

    /// Of this role, and not dropped, because it holds tables of the platform.
    pub fn kept_publications(&self) -> &[String] {
        &self.kept_publications
    }

    /// What a new database could not get from this role, in words.
    pub fn needs_others(&self) -> Option<String> {
        let theirs = self.objects_of_others().map(|(_, _, line)| shown(line));
        let all: Vec<String> = self.uncreatable.iter().cloned().chain(theirs).collect();
        (!all.is_empty()).then(|| some_of(&all))
    }

    /// What a restore in place leaves as it is, in words.
    pub fn left_out(&self) -> Option<String> {
        let objects = self.objects_of_others().map(|(_, _, line)| line);
        let all: Vec<String> = objects.chain(self.rows_of_others()).map(shown).collect();
        (!all.is_empty()).then(|| {
            format!(
                "what belongs to other roles stays as it is: {}",
                some_of(&all)
            )
        })
    }

    /// Catalogue, object and line. A table's data, its grants and its comment are no objects.
    fn objects_of_others(&self) -> impl Iterator<Item = (i64, i64, &str)> {
        self.theirs.iter().filter_map(|line| {
            let (catalogue, object) = entry_of(line).filter(|(catalogue, _)| *catalogue != 0)?;
            Some((catalogue, object, line.as_str()))
        })
    }

    /// Of tables that an extension makes, which are no entries themselves.
    fn rows_of_others(&self) -> impl Iterator<Item = &str> {
        let is_made = |table: i64| {
            let mut objects = self.objects_of_others();
            objects.any(|(catalogue, object, _)| catalogue == CLASS && object == table)
        };
        let lines = self.theirs.iter().map(String::as_str);
        lines.filter(move |line| {
            let rows = entry_of(line).filter(|_| shown(line).starts_with("TABLE DATA "));
            rows.is_some_and(|(_, table)| !is_made(table))
        })
    }

    pub fn mentions_public(&self) -> bool {
        self.ours
            .iter()
            .any(|line| entry_of(line).is_some() && line.contains(" public "))
    }

    /// Whether what the dump says of the schema itself is said again.
    pub fn public_is_ours(&self) -> bool {
        !self.theirs.iter().any(|line| {
            let words = shown(line);
            words.starts_with("SCHEMA - public ") || words.contains(" - SCHEMA public ")
        })
    }

    /// Writes the list for `pg_restore --use-list`. Refuses when an object of
    /// another role is no longer in the database: this role could not bring it
    /// back, and a restore without it would not be whole.
    pub fn write_list(&self, postgres: &Postgres, staging: &Path) -> Result<PathBuf> {
        postgres.runtime.block_on(refuse_missing(postgres, self))?;
        let path = staging.join("list");
        let mut file =
            durable::create_private_file(&path).context("cannot write the restore list")?;
        for line in &self.ours {
            writeln!(file, "{line}").context("cannot write the restore list")?;
        }
        Ok(path)
    }
}

/// For `pg_restore --use-list`, where the dump has foreign keys to tables that it does not have.
pub fn list_without_gaps(
    postgres: &Postgres,
    dump: &VerifiedDump,
    staging: &Path,
) -> Result<Option<PathBuf>> {
    if dump.manifest().kind.foreign_keys_left_out.is_empty() || plain::is_plain(dump) {
        return Ok(None);
    }
    let path = staging.join("whole_list");
    write_without(postgres, dump, &path, |line| is_gap(dump, line))?;
    Ok(Some(path))
}

fn write_without(
    postgres: &Postgres,
    dump: &VerifiedDump,
    path: &Path,
    is_left_out: impl Fn(&str) -> bool,
) -> Result<()> {
    let written_by = tool::major_of(&dump.manifest().dump_tool).unwrap_or(0);
    let pg_restore = programs::find("pg_restore", written_by, 0)?;
    let contents = read(postgres, &pg_restore, dump)?;
    let mut file = durable::create_private_file(path).context("cannot write the restore list")?;
    for line in contents.lines().filter(|line| !is_left_out(line)) {
        writeln!(file, "{line}").context("cannot write the restore list")?;
    }
    Ok(())
}

/// Whether the entry is a foreign key that the manifest says cannot come back.
fn is_gap(dump: &VerifiedDump, line: &str) -> bool {
    is_key_of(&dump.manifest().kind.foreign_keys_left_out, line)
}

fn is_key_of(keys: &[ForeignKey], line: &str) -> bool {
    entry_of(line).is_some_and(|(catalogue, object)| {
        catalogue == CONSTRAINT && keys.iter().any(|key| key.oid == object)
    })
}

pub fn is_schema(line: &str, name: &str) -> bool {
    entry_of(line).is_some() && shown(line).starts_with(&format!("SCHEMA - {name} "))
}

/// Itself, or its comment. These have no owner.
pub fn is_extension(line: &str, name: &str) -> bool {
    let line = line.trim_end();
    let endings = [
        format!(" EXTENSION - {name}"),
        format!(" COMMENT - EXTENSION {name}"),
        format!(" COMMENT - EXTENSION \"{name}\""),
    ];
    entry_of(line).is_some() && endings.iter().any(|ending| line.ends_with(ending))
}

/// In no schema, and made anew by whoever runs the platform.
fn is_of_database(line: &str) -> bool {
    entry_of(line).is_some_and(|(catalogue, _)| [EXTENSION, EVENT_TRIGGER].contains(&catalogue))
}

/// `pg_class`, `pg_constraint`, `pg_largeobject`, `pg_extension`, `pg_event_trigger`.
const CLASS: i64 = 1259;
const CONSTRAINT: i64 = 2606;
const LARGE_OBJECT: i64 = 2613;
const EXTENSION: i64 = 3079;
const EVENT_TRIGGER: i64 = 3466;

/// `pg_default_acl`, `pg_publication`, `pg_publication_rel`, `pg_publication_namespace`: no data, and
/// in another database, or after an upgrade of the server, what says the same has another number.
const MEANT_BY_WHAT_THEY_SAY: [i64; 4] = [826, 6104, 6106, 6237];

/// `TABLE public customers app` of an entry's line.
pub fn shown(line: &str) -> String {
    let words = line.split_once("; ").map_or(line, |(_, rest)| rest);
    words
        .splitn(3, ' ')
        .nth(2)
        .unwrap_or(words)
        .trim_end()
        .to_owned()
}

pub fn some_of(all: &[String]) -> String {
    let more = all.len().saturating_sub(SOME);
    let shown = all[..all.len().min(SOME)].join("; ");
    if more == 0 {
        shown
    } else {
        format!("{shown}; and {more} more")
    }
}

fn read(postgres: &Postgres, pg_restore: &Program, dump: &VerifiedDump) -> Result<String> {
    let shell = tool::shell()?;
    let path = &pg_restore.path;
    let folder = folder::contents_of(dump, postgres.interrupt())?;
    let folder = folder.as_ref().map(TempDir::path);
    let command = cmd!(shell, "{path} --list {folder...}");
    let command = command.quiet().env("LC_ALL", "C");
    let pipes = folder.map_or(Pipes::Both, |_| Pipes::Stdout);
    let mut running = Running::start(command, pipes, postgres.interrupt())?;
    let stdin = match folder {
        Some(_) => None,
        None => Some(running.take_stdin()?),
    };
    let mut stdout = running.take_stdout()?;
    let mut contents = Vec::new();
    let read = std::thread::scope(|scope| {
        if let Some(mut stdin) = stdin {
            scope.spawn(move || {
                // It stops reading after the table of contents, at the start of the dump.
                dump.unpack()
                    .and_then(|mut unpacked| std::io::copy(&mut unpacked, &mut stdin))
            });
        }
        let read = stdout.read_to_end(&mut contents);
        drop(stdout);
        read
    });
    read.context("cannot read the dump's table of contents")?;
    running.wait().map_err(|error| {
        // It has only the dump to read.
        error.context(Failure::untrusted(
            "cannot read the dump's table of contents",
        ))
    })?;
    Ok(String::from_utf8_lossy(&contents).into_owned())
}

/// `215; 1259 16385 TABLE public customers app`: catalogue and object. The
/// catalogue is 0 for an entry that is no object, such as a table's data.
pub fn entry_of(line: &str) -> Option<(i64, i64)> {
    let (number, rest) = line.split_once("; ")?;
    number.parse::<u32>().ok()?;
    let mut words = rest.split(' ');
    Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?))
}

async fn refuse_missing(postgres: &Postgres, toc: &Toc) -> Result<()> {
    let mut connected = connect::connect(&postgres.url).await?;
    let mut missing = Vec::new();
    let objects = toc.objects_of_others();
    for (catalogue, object, line) in objects.filter(|(of, ..)| !MEANT_BY_WHAT_THEY_SAY.contains(of))
    {
        let words = shown(line);
        if !owners::is_there(&mut connected.session, (catalogue, object), &words).await? {
            missing.push(words);
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    Err(Failure::refused(format!(
        "the backup holds objects of other roles that are no longer in the database, \
         and this role cannot bring them back: {}",
        some_of(&missing)
    ))
    .hint("restore as an administrator")
    .into())
}
