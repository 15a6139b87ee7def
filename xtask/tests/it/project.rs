//! One project folder to run the tool in, shut off from the machine around it.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use rusqlite::fallible_iterator::FallibleIterator;
use serde_json::Value;

use crate::exec::{self, Output};

/// Inherited variables that would steer the tool, git, libpq or a backtrace into its output.
const FOREIGN: &[&str] = &[
    "PG",
    "GIT",
    "CARGO",
    "RUST_",
    "XTASK_",
    "DATABASE_URL",
    "SCRATCH_DATABASE_URL",
    "OFFSITE_",
    "AWS_",
    "AZURE_",
    "GOOGLE_",
    "CI",
    "GITHUB_",
];

/// What a vault keeps besides backups.
const BESIDES: [&str; 4] = [".lock", "journal.jsonl", ".journal-end", ".index"];

/// A project with `migrations/` and `database/`, a home and a folder for temporary files.
pub struct Project {
    root: tempfile::TempDir,
    environment: Vec<(OsString, OsString)>,
    rehearses: bool,
}

impl Project {
    pub fn new() -> Self {
        let root = tempfile::Builder::new()
            .prefix("xtask-db-it-")
            .tempdir()
            .expect("create the test's folder");
        for folder in ["project/migrations", "project/database", "home", "tmp"] {
            fs::create_dir_all(root.path().join(folder)).expect("create the project's folders");
        }
        Self {
            root,
            environment: Vec::new(),
            rehearses: true,
        }
    }

    /// From now on `migrate-safe` runs with `--no-rehearse`: for what happens on the live database
    /// when a migration fails there, and for roles that can make no scratch database.
    pub fn unrehearsed(mut self) -> Self {
        self.rehearses = false;
        self
    }

    pub fn rehearsed(mut self) -> Self {
        self.rehearses = true;
        self
    }

    /// Adds a migration file, such as `1_init.sql`.
    pub fn migration(self, file: &str, sql: &str) -> Self {
        self.write(format!("migrations/{file}"), sql);
        self
    }

    /// Adds the migrations of the example application.
    pub fn example_migrations(self) -> Self {
        let from = workspace_root().join("migrations");
        for entry in fs::read_dir(&from).expect("list the example migrations") {
            let entry = entry.expect("list the example migrations");
            let to = self.path().join("migrations").join(entry.file_name());
            fs::copy(entry.path(), to).expect("copy an example migration");
        }
        self
    }

    /// Sets a variable for every run.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.environment
            .push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    pub fn database_url(self, url: &str) -> Self {
        self.env("DATABASE_URL", url)
    }

    /// The project folder; home and temporary files are beside it, not in it.
    pub fn path(&self) -> PathBuf {
        self.root.path().join("project")
    }

    /// The folder that is the tool's `TMPDIR`.
    pub fn tmp(&self) -> PathBuf {
        self.root.path().join("tmp")
    }

    pub fn vault(&self) -> PathBuf {
        self.path().join("database/backups")
    }

    /// The names of everything in the vault but the lock file, the journal with its end, and the
    /// index, sorted; empty when there is none.
    pub fn vault_files(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.vault())
            .into_iter()
            .flatten()
            .map(|entry| entry.expect("list the vault").file_name())
            .map(|name| name.into_string().expect("a UTF-8 file name"))
            .filter(|name| !BESIDES.contains(&name.as_str()))
            .collect();
        names.sort();
        names
    }

    /// Writes a file, given by its path in the project.
    pub fn write(&self, path: impl AsRef<Path>, content: impl AsRef<[u8]>) {
        let path = self.path().join(path);
        fs::write(&path, content).unwrap_or_else(|error| panic!("write {path:?}: {error}"));
    }

    /// The tool with `arguments`, in this project, not yet started.
    pub fn command<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command.args(arguments).current_dir(self.path());
        let has = |word: &str| command.get_args().any(|argument| argument == word);
        if !self.rehearses && has("migrate-safe") && !has("--no-rehearse") {
            command.arg("--no-rehearse");
        }
        for (name, _) in std::env::vars_os() {
            let bytes = name.as_encoded_bytes();
            if FOREIGN
                .iter()
                .any(|start| bytes.starts_with(start.as_bytes()))
            {
                command.env_remove(name);
            }
        }
        command
            .env("HOME", self.root.path().join("home"))
            .env("TMPDIR", self.tmp())
            .env("GIT_CEILING_DIRECTORIES", self.root.path())
            // Times are UTC in files and ids, wherever the machine stands.
            .env("TZ", "JST-9")
            .env("LC_ALL", "C.UTF-8")
            .env("NO_COLOR", "1")
            .envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs the tool to its end, without a terminal.
    #[track_caller]
    pub fn run<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Output {
        exec::run(&mut self.command(arguments), None)
    }

    /// Runs the tool with `--json`, which must succeed, and returns its document.
    #[track_caller]
    pub fn json<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Value {
        let mut command = self.command(arguments);
        command.arg("--json");
        exec::run(&mut command, None).expect_code(0).json()
    }

    /// The default SQLite database.
    pub fn sqlite_path(&self) -> PathBuf {
        self.path().join("database/app.db")
    }

    /// Runs SQL on the default SQLite database, made when missing; the rows as `a|b`.
    #[track_caller]
    pub fn sqlite(&self, sql: &str) -> Vec<String> {
        let connection = rusqlite::Connection::open(self.sqlite_path()).expect("open the database");
        sqlite_rows(&connection, sql).unwrap_or_else(|error| panic!("{error} in {sql}"))
    }
}

/// Runs every statement of `sql` and returns the rows of all of them as `a|b`.
pub fn sqlite_rows(connection: &rusqlite::Connection, sql: &str) -> rusqlite::Result<Vec<String>> {
    let mut lines = Vec::new();
    let mut batch = rusqlite::Batch::new(connection, sql);
    while let Some(mut statement) = FallibleIterator::next(&mut batch)? {
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            // Not before the first row: a schema that another connection changed shows only then.
            let fields: Vec<String> = (0..row.as_ref().column_count())
                .map(|column| row.get_ref(column).map(sqlite_text))
                .collect::<rusqlite::Result<_>>()?;
            lines.push(fields.join("|"));
        }
    }
    Ok(lines)
}

fn sqlite_text(value: rusqlite::types::ValueRef<'_>) -> String {
    use rusqlite::types::ValueRef;
    match value {
        ValueRef::Null => String::new(),
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Real(number) => format!("{number:?}"),
        ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
        ValueRef::Blob(bytes) => format!("{} bytes", bytes.len()),
    }
}

pub fn workspace_root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the package is in the workspace")
}

/// A file of the shared real data, where a checkout has it beside itself.
pub fn shared_data(file: &str) -> Option<PathBuf> {
    let path = workspace_root().join("../shared/data").join(file);
    path.is_file().then_some(path)
}
