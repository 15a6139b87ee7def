//! What runs when: the programs of PostgreSQL write a word into a log, and the log is the assertion.

mod broken;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::cluster::Database;
use crate::pty::{self, Terminal};
use crate::setup::{Case, says};

const CREATE: &str = "CREATE TABLE t (id BIGINT NOT NULL PRIMARY KEY, name TEXT);
                      INSERT INTO t SELECT n, repeat('x', 100) FROM generate_series(1, 500) n;";
const MIGRATION: &str = "CREATE TABLE migrated (id BIGINT); DELETE FROM t;";

/// `pg_restore` as the proof that a dump can be read: it restores nothing.
const CHECK: &str = "check";

/// A folder for `PG_BIN` whose programs write their name and are then the real ones.
struct Programs {
    folder: PathBuf,
    real: PathBuf,
}

impl Programs {
    /// Has the case use them.
    fn for_case(mut case: Case) -> (Case, Self) {
        let cluster = case.server.as_ref().map(Database::cluster);
        let folder = case.project.tmp().join("programs");
        fs::create_dir(&folder).expect("create a folder");
        case.project = case.project.env("PG_BIN", &folder);
        let real = cluster.expect("a server").bin().to_owned();
        let programs = Self { folder, real };
        for name in ["pg_dump", "pg_restore", "psql"] {
            programs.replace(name, "exec \"$real\" \"$@\"");
        }
        (case, programs)
    }

    /// Gives a program another body; `$real` is the program, `$database` how it is told to connect.
    fn replace(&self, name: &str, body: &str) {
        let (real, log) = (self.real.join(name), self.log_path());
        self.write(
            name,
            &format!(
                "#!/bin/sh\nreal='{}'\nif [ \"$1\" = --version ]; then exec \"$real\" \"$@\"; fi\n\
                 word={name}\n\
                 for argument in \"$@\"; do case \"$argument\" in\n\
                 --list) word='{name} --list' ;;\n\
                 --file=/dev/null) word='{CHECK}' ;;\n\
                 --dbname=*) database=${{argument#--dbname=}} ;;\n\
                 esac; done\n\
                 echo \"$word\" >>'{}'\n\
                 if [ \"$word\" = '{CHECK}' ]; then exec \"$real\" \"$@\"; fi\n{body}\n",
                real.display(),
                log.display()
            ),
        );
    }

    fn write(&self, name: &str, script: &str) {
        // Renamed into place: a program that is being run cannot be written to.
        let (new, path) = (self.folder.join("new"), self.folder.join(name));
        fs::write(&new, script).expect("write a program");
        fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).expect("make it one");
        fs::rename(&new, &path).expect("put the program in place");
    }

    fn log_path(&self) -> PathBuf {
        self.folder.join("log")
    }

    /// Without the checks: each runs beside the dump that it reads, in no order.
    fn log(&self) -> Vec<String> {
        let mut words = self.words();
        words.retain(|word| word != CHECK);
        words
    }

    fn words(&self) -> Vec<String> {
        let log = fs::read_to_string(self.log_path()).unwrap_or_default();
        // The table of contents is looked at for the plan, before anything is decided.
        let is_step = |line: &&str| *line != "pg_restore --list";
        log.lines().filter(is_step).map(str::to_owned).collect()
    }

    fn forget(&self) {
        fs::write(self.log_path(), "").expect("empty the log");
    }
}

/// A superuser's database with a table, a backup and a pending migration, and an empty log.
fn started(name: &str) -> Option<(Case, Programs)> {
    Case::postgres(name).map(start)
}

/// The same for an owner without the right to create databases.
fn started_as_owner(name: &str) -> Option<(Case, Programs)> {
    Case::owner(name).map(|(case, _)| start(case))
}

fn start(case: Case) -> (Case, Programs) {
    let (mut case, programs) = Programs::for_case(case);
    case.project = case.project.unrehearsed();
    case.query(CREATE);
    case.backup();
    let mut words = programs.words();
    words.sort();
    assert_eq!(words, [CHECK, "pg_dump"], "every dump is checked");
    programs.forget();
    case.project.write("migrations/1_migration.sql", MIGRATION);
    (case, programs)
}

/// While the dump is written, nothing has been migrated: the program itself looks.
#[test]
fn the_dump_is_whole_before_the_migration_begins() {
    let Some((case, programs)) = started("dump_first") else {
        return;
    };
    let look = "\"$real\" \"$@\" || exit\n\
                sleep 0.2\n\
                psql=$(dirname \"$real\")/psql\n\
                \"$psql\" --no-psqlrc --tuples-only --no-align --dbname=\"$database\" --command=\
                \"SELECT 'migrated tables: ' || count(*) FROM pg_class WHERE relname = 'migrated'\" \
                >>\"$(dirname \"$0\")/log\"";
    programs.replace("pg_dump", look);
    case.migrate();
    assert_eq!(programs.log(), ["pg_dump", "migrated tables: 0"]);
    assert_eq!(case.query("SELECT count(*) FROM migrated;"), ["0"]);
}

/// The live database is looked at when the scratch database is whole, and has not been touched.
#[test]
fn the_backup_is_restored_beside_before_the_migration_begins() {
    let Some((mut case, programs)) = started("rehearsed_first") else {
        return;
    };
    case.project = case.project.rehearsed();
    let live = case.server.as_ref().expect("a server").url();
    let look = format!(
        "\"$real\" \"$@\" || exit\n\
         case \"$database\" in *_scratch_*) word=scratch ;; *) word=live ;; esac\n\
         \"$(dirname \"$real\")/psql\" --no-psqlrc --tuples-only --no-align --dbname='{live}' \
         --command=\"SELECT 'into $word, migrated tables: ' || count(*) FROM pg_class \
         WHERE relname = 'migrated'\" >>\"$(dirname \"$0\")/log\""
    );
    programs.replace("pg_restore", &look);
    let arguments = ["db", "migrate-safe", "--yes", "--accept-loss", "t"];
    case.project.run(arguments).expect_code(0);
    let steps = ["pg_dump", "pg_restore", "into scratch, migrated tables: 0"];
    assert_eq!(programs.log(), steps);
    assert_eq!(case.query("SELECT count(*) FROM migrated;"), ["0"]);
}

#[test]
fn nothing_pending_runs_nothing() {
    let Some((case, programs)) = started("nothing") else {
        return;
    };
    case.migrate();
    programs.forget();
    case.migrate();
    case.project.json(["db", "status"]);
    case.project.json(["db", "verify", "--all"]);
    case.project.json(["db", "migrate-safe", "--dry-run"]);
    assert_eq!(programs.log(), [""; 0]);
}

#[test]
fn a_restore_dumps_what_is_there_before_it_restores() {
    let Some((case, programs)) = started("restore") else {
        return;
    };
    case.restore("latest");
    assert_eq!(programs.log(), ["pg_dump", "pg_restore"]);
    assert_eq!(
        programs.words().last().map(String::as_str),
        Some("pg_restore")
    );
}

#[test]
fn a_restore_in_place_dumps_what_is_there_before_it_restores() {
    let Some((case, programs)) = started_as_owner("restore_in_place") else {
        return;
    };
    case.restore("latest");
    // psql begins the transaction, then pg_restore writes what goes into it.
    assert_eq!(programs.log(), ["pg_dump", "psql", "pg_restore"]);
}

/// `no`, and everything that is not the word: not one program runs after it.
#[test]
fn nothing_runs_after_a_no() {
    let Some((case, programs)) = started("no") else {
        return;
    };
    let before = case.contents();
    let files = case.project.vault_files();
    for verb in [&["db", "migrate-safe"][..], &["db", "restore", "latest"]] {
        for answer in ["no\r", "y\r", "YES\r", "\r", pty::ESCAPE, pty::CTRL_D] {
            let mut terminal = Terminal::start(case.project.command(verb));
            terminal.wait_for("type `yes`").send(answer);
            assert_eq!(terminal.exit_code(), 3, "{answer:?}\n{}", terminal.screen());
        }
        case.project.run(verb).expect_code(3);
    }
    assert_eq!(programs.words(), [""; 0]);
    assert_eq!(case.project.vault_files(), files);
    assert_eq!(case.contents(), before);
}

#[test]
fn the_dump_begins_after_a_yes() {
    let Some((case, programs)) = started("yes") else {
        return;
    };
    let mut terminal = Terminal::start(case.project.command(["db", "migrate-safe"]));
    terminal.wait_for("type `yes`");
    assert_eq!(
        programs.log(),
        [""; 0],
        "no pause of a person falls into the gap"
    );
    terminal.send("yes").send(pty::ENTER);
    assert_eq!(terminal.exit_code(), 0, "{}", terminal.screen());
    assert_eq!(programs.log(), ["pg_dump"]);
}

/// An older `pg_dump` cannot dump this server; said before anything is made, with what to install.
#[test]
fn an_old_pg_dump_is_refused() {
    let Some((case, programs)) = started("old") else {
        return;
    };
    programs.write("pg_dump", "#!/bin/sh\necho 'pg_dump (PostgreSQL) 9.6.1'\n");
    refused_with_the_install_line(&case, &programs, &["is version 9"]);
}

#[test]
fn a_missing_pg_dump_is_refused() {
    let Some((case, programs)) = started("no_program") else {
        return;
    };
    fs::remove_file(programs.folder.join("pg_dump")).expect("remove the program");
    refused_with_the_install_line(&case, &programs, &["`pg_dump` was not found"]);
}

#[track_caller]
fn refused_with_the_install_line(case: &Case, programs: &Programs, parts: &[&str]) {
    let version = case.query("SELECT current_setting('server_version_num')::int / 10000;");
    let install = format!("postgresql-client-{}", version[0]);
    let files = case.project.vault_files();
    for verb in [
        &["backup"][..],
        &["migrate-safe", "--yes"],
        &["restore", "latest", "--yes"],
    ] {
        let refused = case
            .project
            .run([&["db"][..], verb].concat())
            .expect_code(3);
        says(&refused, parts);
        says(&refused, &["\nhint: install", &install, "PG_BIN"]);
    }
    assert_eq!(programs.log(), [""; 0]);
    assert_eq!(case.project.vault_files(), files);
    assert_eq!(case.query("SELECT count(*) FROM t;"), ["500"]);
}

/// The names of files in a folder of the project's vault that nobody else should see.
fn staged(vault: &Path) -> Vec<String> {
    let entries = fs::read_dir(vault).expect("list the vault");
    let names = entries.map(|entry| entry.expect("list the vault").file_name());
    let names = names.map(|name| name.into_string().expect("UTF-8"));
    names.filter(|name| name.ends_with(".partial")).collect()
}
