//! The safest way to run a database migration.
//!
//! `cargo xtask db migrate-safe` never lets a migration touch a database before
//! a backup of that database has been written, read back and matched against
//! its SHA-256. `cargo xtask db restore latest` brings that backup back,
//! exactly, or changes nothing. This page is the architecture; the README is
//! for users.
//!
//! # The idea that carries it
//!
//! No migration runs and no restore starts without a
//! `values::verified_dump::VerifiedDump` in hand. Its fields are private, it
//! has one constructor, which reads the dump's bytes and matches them with the
//! manifest, and that has one caller: `vault/verify.rs`. Delete the verify step
//! and the program does not compile. The proof keeps the file open and digests
//! it once more while it is restored: what is restored is what was verified.
//!
//! # The house
//!
//! | part | what it is | what it must not know |
//! |---|---|---|
//! | [`cli`] | flags and help | everything else |
//! | `commands` | the stories, one verb a file | SQL, JSON, file names |
//! | `config` | flags, environment, `.env`, `database/db.toml`, `sqlx.toml` → settings; `config/keys.rs` has a line for each | the terminal |
//! | `engine` | what differs between databases: `sqlite`, `postgres` | vault, ids, the terminal |
//! | `vault` | ids, staging, publishing, finding, locking, verifying, the journal | databases, network, the terminal |
//! | `offsite` | copies of backups in buckets and folders, through `object_store` | databases, the vault, the terminal |
//! | `migrations` | the folder as sqlx sees it; applied × available → plan; what of a file reaches further | databases |
//! | `ui` | say, show, ask, progress | all but the human |
//! | `values` | what the parts tell each other | files, processes, clocks |
//! | `tool`, `durable`, `interrupt`, `runtime`, `cores` | the floor: programs, files that survive a power cut, signals, async drivers, threads | what they are used for |
//! | `outcome` | from a story's result to exit code and last words | how it came about |
//! | `parsers` | what property tests and `fuzz/` may reach of the parts above | all else |
//!
//! Imports point down: `commands → {engine, vault, offsite, migrations, ui, config} →
//! values → floor`. Parts in braces never import each other; they meet in a
//! story and speak in values. `tests/it/tidy.rs` holds this table, 70 lines a
//! function and 400 lines a file.
//!
//! It is synchronous on purpose: a run is one line of steps. An engine, and a place off-site, owns a
//! current-thread runtime and blocks on it inside, so `Engine` is object-safe
//! and no story has an `.await`.
//!
//! # Orders that matter
//!
//! **migrate-safe**: lock → plan → show → ask → backup → rehearsal → loss gate → look at the history
//! again → migrate → report. The question comes before the dump: no human
//! pause may fall into the gap between dump and migration. Where a person types what may be lost, backup
//! and rehearsal are done again. On PostgreSQL the session that holds the
//! lock is also asked for facts, size and history, as long as it answers.
//!
//! **Rehearsal**: the dump restored into a scratch database as a restore would, and compared → a survey (rows,
//! values of each column, what tables look like) → the pending migrations, one by one → a second survey; the
//! difference is the effect (`values/effect.rs`), and what of it is a loss. Which table and column is which is known by marks:
//! PostgreSQL's own numbers, and on SQLite the names, followed through the files (`migrations/renames.rs`). On PostgreSQL each migration runs in
//! a transaction of ours in which sqlx's own is a savepoint, so that its locks can still be seen at its end; one
//! that commits by itself runs as it would on the live database (what it left on the server is named, and the run ends), and on another server so does one that fails so. On the live one's own server what
//! it changed of the shared catalogs is looked for before that transaction is committed, and rolled back; foreign data
//! wrappers have no handler there, and `dblink` connects to nothing (`engine/postgres/scratch/`). The scratch database carries
//! the mark of one that is being restored and is dropped with its value.
//!
//! **After a failure**: what is committed is read, what is left over is asked → have others written since before the
//! backup? (SQLite: `data_version` of the connection that migrates, opened before the backup, which changes with the commits
//! of others only. PostgreSQL: the `xmin` of each row and the counts of the backup; not the statistics.) → writers held, with
//! nothing written between the answer and the lock (SQLite) → safety backup → asked again (PostgreSQL) → a restore like any
//! other. What others write after that is in the database that is kept.
//!
//! **Exclusive**: SQLite: the connection that migrates begins to write before the backup; sqlx's transactions become
//! savepoints of that one. PostgreSQL: may everybody be shut out? → `.exclusive` in the vault, with what the setting was → the
//! setting → sessions that began before are ended, until none is seen and none is starting (one that starts holds a lock on its database until it can be seen) → the work → the setting as it was → sessions that
//! began meanwhile are ended → no mark. The engine's end does the same, and so does the next run that finds the mark. The
//! database is known by its oid, which a swap does not change.
//!
//! **Journal**: a line for each thing that was done, added and flushed under a lock; then `.journal-end`, written over in one call
//! and not flushed, so that it may be behind and never ahead. What was done to the last line the next one shows, for it follows
//! what `.journal-end` knows. `.unfinished` lies in the
//! vault from before the first change to a live database until it is known how that ended.
//!
//! **Backup**: claim the id (a folder `.<id>.partial`, created, never
//! overwritten) → dump into it (`pg_restore` reads along) → flush → read back from the disk and match (a
//! large one part by part, each as soon as it is flushed) → manifest into it, flushed and read back as well → name the dump without
//! overwriting → flush the folder → name the manifest → flush. The dump is
//! matched before it has a manifest, so a backup that does not match itself
//! never exists, not even for a moment. PostgreSQL with `--jobs`: several sessions dump into a
//! folder in it, which is then packed into the one stream, table of contents first, while
//! `pg_restore` reads it; from there on it is a dump like any other. A power cut leaves a staging folder
//! (removed and named by the next backup) or an orphan (named by `db list`).
//!
//! **Encryption** (`values/encryption.rs`, the feature `encryption`): the bytes that leave zstd go through age before they are digested
//! and stored, so that all of the order above is about what is stored, and verifying takes no key. What SQLite sorts of an unpacked file
//! spills into the staging folder (`engine/sqlite/spill.rs`). To unpack takes
//! one: `VerifiedDump::unlock` tries the keys once and keeps what they unwrapped. With a key at hand a new dump is decrypted and
//! decompressed before it gets its manifest. SQLite is packed from the live file, also with a rollback journal, where writers then
//! wait; a log is emptied before others are watched, because a checkpoint looks like a commit of theirs, and before a turn-back by the
//! connection that watches. For whom: who is named; else those of the newest backup; else those of the dump that this run
//! opened; else those of the newest backup of a database of this name (`commands/keyring/sealing.rs`), so that no safety backup lies there in clear because nobody was named.
//!
//! **Rekey**: verify → unlock → decrypt and encrypt anew into staging → flush → read back, match, decrypt, the same compressed bytes →
//! name the dump `….2.age` beside the old one → flush → the new manifest replaces the old one, in one rename → flush → remove the
//! old dump, which the same rekey again makes up for, whoever it removes. The file key is another one, because who was shut out knows the old one.
//!
//! The manifest's last field is the SHA-256 of all lines before it: a restore
//! compares rows with what it says, so a flipped byte in it must be seen too.
//!
//! **Kinds**: what `pg_dump` makes of the patterns is asked of it beforehand, in the same snapshot (its table of contents, through
//! `pg_restore --list`); only that is counted. Foreign keys to tables that are not in the dump are noted, and left out of
//! every restore of it, as are the schemas that it lies in and does not make; text, in which they stand, is not restored alone. SQL as text is SQLite's only other form: every
//! statement that is written is run at once into a database beside, whose values are compared with those of the copy; a virtual table whose rows stay
//! behind makes its parts itself. Rows alone do without sqlx's table: what they go into has its own. Only a full
//! backup (`Manifest::is_full`) is `latest`, and only such a one gets into [`Engine::restore`](engine) of the live database; a
//! manifest of any other has format 2 (one without a platform's part: 3), so that a program that knows no kinds leaves it alone.
//!
//! **Prune**: what is there → guards (`commands/prune/plan.rs`) and rules (`values/retention.rs`, pure) → the newest of those that stay
//! is read and matched; when it does not match it counts for nothing, and the plan is made anew → show → ask → lock, and all of that
//! again: another plan is refused → the oldest first: manifest into a staging folder → flush → dump → flush. When the dump cannot be
//! removed the manifest goes back to its name, at once or by the next run that writes.
//!
//! **Prune off-site**: the same plan for each place that has a policy (`prune/plan.rs`, `decide`), of whole copies of this very database;
//! also guarded is what neither the vault nor another place is known to have, one place after the other, so that none counts on what
//! goes at the next → the newest that stays is read there, and in the vault each dump that a removal counts on → show → ask → the places are looked at again → lock → the plan once more, for
//! which nothing is read: another one is refused → the oldest first: claim, and no waiting for one → is the manifest the one that was
//! planned? → manifest → dump. When either cannot be removed the manifest is created again, unless both are gone after all. What is removed
//! is not sent again. A place that lets go of the only copies does so of those that the journal knows as sent or fetched: pins are
//! in the vault, and another one's are not known. Two names of one place would count on each other: buckets are compared by what their URLs mean, folders by device
//! and inode, also with the vault.
//!
//! **Poolers**: before the live database is asked for anything, and with nothing set in the session, it is looked whether the
//! host is a known one in transaction mode, and then whether a second
//! session of ours gets the same process of the server (`engine/postgres/pooler.rs`). **Points in time**: the log's position is asked in
//! the snapshot's transaction, below a savepoint, because managed servers may refuse it (`engine/postgres/wal.rs`).
//!
//! **Platforms** (`values/platform.rs`): of the profile's schemas those that are there are left out by `pg_dump`, and what counts is
//! narrowed as for a kind; nothing that lists the live database sees them. Such a backup is full and has format 3. Its restore is in
//! place for every role, a superuser included: what is left out on the way, in the safety backup as well, is what the backup leaves out, whatever the profile is by now. `in_place.sql` counts what is in these schemas among what others own, but for triggers and
//! policies on tables there, which go with what they mention and are made again from the manifest in the same transaction. Publications of the user that hold tables of it are not dropped: the rest of what they hold, and what is said of them, is put back. A schema that the
//! platform has given up since, or an extension that the role could not make, is an obstacle and no refusal: force tries, and the transaction says whether something needs it. A scratch
//! database gets the schemas as the live one describes them (`scratch/stand_ins.rs`), by a script that goes on after errors; the dump's own
//! script does not. It lacks the foreign keys to tables that have no rows there; under their names are conditions that always hold, so that a migration can drop them.
//! What a migration does to them is asked before and after it, in its own session: what is there and how it looks, and the server's counts of
//! scans, which grow also where there are no rows (`scratch/touched.rs`); each is a loss.
//! Not left out: `supabase_migrations`, which Supabase's own tool leaves out of definitions, because users own what is in it; and a schema that the
//! role has made itself, with nobody else's tables in it. Tables of extensions are no user's: rows that no restore brings back are named (`dump/members.rs`).
//!
//! **Fingerprints**, when asked for: the sessions that count rows for a backup also add up a hash of each row, in
//! the same snapshot (`engine/*/fingerprint.rs`). A manifest that has them makes every later comparison compute
//! them, with the same settings. Each begins with the name of its method; two methods are never compared.
//!
//! **Diff**: two `Contents`, of manifests or of the live database, side by side (`values/diff.rs`). It counts the
//! text of definitions, which a comparison after a restore does not, because it reports and refuses nothing. With `--rows`, both are read
//! in the order of a key that collations and encodings have no part in (`engine/*/rows.rs`), PostgreSQL through a
//! cursor, SQLite by a thread of its own, and walked along side by side (`values/rows.rs`): a few rows are in memory.
//!
//! **Export**: an engine hands heads and rows to a `Sink` in one read transaction (PostgreSQL: `COPY`), the format writes them
//! (`values/portable`), the vault's `export_file.rs` names the file when it is whole.
//!
//! **Import**: the file is read to its end and matched with itself → lock → where each table and column belongs → show → ask → with
//! `--replace`, PostgreSQL: the transaction that holds the tables begins; SQLite: others are watched → backup → the transaction: rows as planned?
//! → delete → triggers off, keys in circles deferred → the file is read once more, into the tables → keys checked, all put back →
//! sequences → read back, and both digests compared (`Compare` says how, column by column; when they differ, `mismatch` looks for column and line) → commit.
//! A `COMMIT` whose answer is lost is asked of the server; before it there is nothing to ask.
//!
//! **List**: names, then a line of each manifest. In a vault of 256 backups or more, `.index` keeps the
//! lines of earlier runs, each with device, inode, size, mtime and ctime of the manifest that it was
//! read from; any other manifest is read. A file that changed less than two seconds
//! before the index was begun is not kept, for it could change again within one tick. It is written
//! beside and renamed, carries its own SHA-256, and is left alone when it is of no use, somebody else's
//! or cannot be written. Only the table and the order of `--json` come from it: that reads each manifest while it is written, and all else
//! reads the manifests first.
//!
//! What was shown of each backup is the journal's: `.proofs` keeps, in the same way, what was read of it and up to
//! where, for a journal only grows. `--json` and `db log` read all of it.
//!
//! **Backup, SQLite**: a read transaction pins one moment. In WAL mode nobody waits for a reader, and with an
//! empty log SQLite's locks keep the file as it is until the reader ends (`engine/sqlite/live_file.rs`): the
//! live file itself is packed and checked, in two transactions that see the same. With a rollback journal, or
//! where the log holds a part of the moment, the online backup API makes a copy; others go on, and the copy is
//! packed and checked.
//!
//! **Restore, PostgreSQL**: a dump that is a packed folder is unpacked and matched once more, before
//! anything is begun → a new database with the encoding, locale and owner
//! of the backup → `pg_restore` (a large dump is unpacked first, and filled in by several
//! sessions; when a constraint fails because of that, once more in the dump's own order; when it stops at a
//! function that does not find its names, once more through `psql`,
//! with the schemas in reach and such constraints last) → settings and grants → compare rows, large
//! objects and history with the manifest, in a session without these settings, while `ANALYZE` runs in one
//! with them → is the advisory lock still ours? → both renames in one transaction, while a second session ends whoever is still connected. The
//! database is entered by a session of ours before it is marked as being built,
//! so "marked and without a session of ours" means abandoned, and the next restore
//! of that database drops it and says so. A role that may not create databases, or could not make all that the
//! dump holds, gets one transaction instead: drop what it owns, check that nothing
//! of others went with it (what is gone depends on nothing), say of `public` what a dump takes for granted, restore, compare, commit. Whether a COMMIT arrived is
//! asked of the server in a new session, never taken from an exit code.
//!
//! **Copy off-site** (features `s3`, `gcs`, `azure`, `offsite`): what the journal calls begun and not ended is given up at the
//! store → is the manifest there, is the dump? → what is there and is something else is an error, never overwritten, and a backup of another database is never said to be in the way (`values/offsite/taken.rs`) → the dump, in
//! parts that grow with it, a few in flight, digested on the way → read back from there and matched with the manifest, as is one
//! that was there already → manifest, created and not put. Only a `VerifiedDump` is copied. A copy that fails is code 6: the backup
//! stands, and the next backup or `db push` sends what is missing. The journal says which dump a copy is of: a rekey keeps the id and
//! names another one. `migrate-safe` copies when it has migrated, with
//! `--offsite-first` between proof and migration, to all places. The journal knows which copies were matched, and where: a name may come to mean another bucket; `status` reads it.
//!
//! **From off-site**: the manifests of all places together make a listing like the vault's, so `latest` and doubt mean the same; of a
//! SQLite file `latest` is one of its very path. Where the vault has a `latest`, the names at the places say whether one of them is newer, asked with
//! little patience (`offsite/newer.rs`). While a place does not answer only a whole id is fetched. A dump
//! is fetched into a staging folder of the vault, matched, and named in the publish order with the manifest's own bytes.
//!
//! **Undo**: which of what restores left is newer, the database that a swap kept or the backup that a restore took
//! first (the journal knows of those that came to nothing) → a kept database is opened for the moment in which a
//! session of ours enters it, and its rows counted → show → ask → the same swap the other way round. The mark of a
//! kept database is put before its own comment in the transaction of the swap, and taken off in that of the undo.
//!
//! **Restore into another database**: is it the live one by another name (server and database, device and inode)? → verify →
//! does it hold anything? → show → ask → is it there by now? → others are held off → look once more → the same restore as
//! above, with a safety backup of what is replaced by force. The live database is asked who it is, and `.unfinished` is not about it.
//!
//! **Single tables**: verify → is anything of their names there? → show → ask → look once more → a safety backup with fingerprints,
//! where tables are to be replaced → the backup restored into a scratch
//! database and compared, as a drill does → there, the tables are taken off what does not come along (which is named) and
//! gathered in a schema of their own, with the types and functions that the database lacks → a missing database is created; when
//! it fails from here on that is dropped again, if nobody has moved in → one transaction: what `pg_dump`
//! says of that schema, rows as text from session to session, sequences, the rest that `pg_dump` says, what is replaced is locked,
//! compared with the safety backup and dropped, `SET SCHEMA` to where they belong, which fails when something of that name has
//! come meanwhile, rows and values against the manifest → commit. The
//! gathering schema is dropped in it, and could not be if something were forgotten. SQLite: the unpacked backup is attached.
//!
//! **Removing what is kept**: only what has both name and mark, and nobody in it: `DROP DATABASE` without the force that
//! ends sessions.
//!
//! **Restore, SQLite**: unpack beside → `integrity_check` (above 64 MiB `quick_check`, in the backup as
//! in the restore: what one lets pass the other takes) → compare with the
//! manifest → online backup API into the live file, which is one transaction
//! for every open connection. What no backup could be taken of first is moved aside when it cannot be read, and else copied
//! aside, page by page (`engine/sqlite/damaged.rs`): whoever has it open is to see the restored one.
//!
//! # Where this differs from the first sketch, and why
//!
//! - `latest` leaves out `pre-restore` backups. After a restore that failed
//!   half-way (a full disk, say), the newest backup is the safety copy of the
//!   state that one wanted to get rid of; `restore latest` must not bring that
//!   back and report success. The way to undo a restore is the id that it prints,
//!   or `--undo`.
//! - `latest` is refused when the newest backup is dated in the future and there
//!   are others: a clock was set back, and which one is meant is for a person to say. So it is (`commands/choose/doubt.rs`) when a newer manifest cannot be
//!   read, or is lost, which the journal knows; and when the newest came through another address than others did.
//! - The dump is read back before the manifest is written, not after.
//! - Dumps are packed at zstd's level 2, not 3: 1 % larger, half the time, half the memory.
//! - Signals are on the floor (`interrupt`), because tools, engines and the
//!   prompt all need them; values are in a folder of their own, because engine
//!   and vault both speak in manifests and neither may import the other.
//! - `cli` is a leaf: flags are data, and the stories read them.
//! - What a migration reaches is read by a real lexer (`squawk-lexer`) and lists of words, not by a full parser: that of PostgreSQL is
//!   C and minutes of compiling, others do not know every statement, and of one that they do not take nothing would be known at all. What
//!   no reading of a file can know (functions, code made at run time, foreign tables) the rehearsal itself holds back.
//!
//! # Using it from another xtask
//!
//! ```no_run
//! // The whole `main.rs` of an xtask that has nothing else:
//! fn main() -> std::process::ExitCode {
//!     xtask_db::run(std::env::args_os())
//! }
//! ```
//!
//! One that has subcommands of its own takes [`cli::Db`] among them and calls
//! [`run_db`].

pub mod cli;
mod commands;
mod config;
mod cores;
mod durable;
mod engine;
mod interrupt;
mod migrations;
mod offsite;
mod outcome;
#[doc(hidden)]
pub mod parsers;
mod runtime;
mod tool;
mod ui;
mod values;
mod vault;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;

/// Runs `cargo xtask` with these arguments, the program's name first, and
/// returns the exit code of the table in the README. Errors have been printed.
///
/// Takes over SIGINT, SIGTERM and SIGHUP for the process.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    match cli::Cli::try_parse_from(&arguments) {
        Ok(cli::Cli {
            command: cli::Command::Db(db),
        }) => run_db(&db),
        Err(error) => ExitCode::from(outcome::report_usage(&error, &arguments)),
    }
}

/// Runs one `db` verb: for an xtask of one's own that has it among its
/// subcommands. Returns the exit code; errors have been printed.
pub fn run_db(db: &cli::Db) -> ExitCode {
    let ui = ui::Ui::new(db.options.quiet, db.options.verbose, db.options.json);
    ExitCode::from(outcome::report(&ui, |interrupt| {
        commands::run(db, &ui, interrupt)
    }))
}
