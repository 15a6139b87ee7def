//! What many tests begin with: a project on a database of either engine, and its documents read.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::cluster::{Cluster, Database, PASSWORD};
use crate::exec::Output;
use crate::project::Project;

/// A project and the database that it leads to, the default SQLite file or one on the server.
pub struct Case {
    pub project: Project,
    pub server: Option<Database>,
}

impl Case {
    pub fn sqlite() -> Self {
        Self {
            project: Project::new(),
            server: None,
        }
    }

    /// For the superuser; nothing, after a visible line, where there is no server.
    pub fn postgres(name: &str) -> Option<Self> {
        Cluster::get_or_skip().map(|cluster| Self::of(cluster.create_database(name)))
    }

    /// For the owner of a database who may not create another one, and the superuser's view of it.
    pub fn owner(name: &str) -> Option<(Self, Database)> {
        let admin = Cluster::get_or_skip()?.create_database(name);
        let role = format!("{}_owner", admin.name());
        create_role(&admin, &role);
        admin.psql(&format!("ALTER DATABASE {} OWNER TO {role};", admin.name()));
        let mut case = Self::of(admin.as_role(&role, PASSWORD));
        case.project = case.project.unrehearsed();
        Some((case, admin))
    }

    pub fn of(database: Database) -> Self {
        Self {
            project: Project::new().database_url(&database.url()),
            server: Some(database),
        }
    }

    /// One of each engine.
    pub fn each(name: &str) -> Vec<Self> {
        std::iter::once(Self::sqlite())
            .chain(Self::postgres(name))
            .collect()
    }

    /// Runs statements and returns the rows of all of them as `a|b`.
    #[track_caller]
    pub fn query(&self, sql: &str) -> Vec<String> {
        match &self.server {
            None => self.project.sqlite(sql),
            Some(database) => database.psql(sql).lines().map(str::to_owned).collect(),
        }
    }

    #[track_caller]
    pub fn migrate(&self) -> Value {
        self.project.json(["db", "migrate-safe", "--yes"])
    }

    #[track_caller]
    pub fn restore(&self, backup: &str) -> Value {
        self.project.json(["db", "restore", backup, "--yes"])
    }

    /// Takes a backup and returns its id.
    #[track_caller]
    pub fn backup(&self) -> String {
        let taken = self.project.json(["db", "backup"]);
        text(&taken, "/backup/id").to_owned()
    }

    pub fn dump(&self, id: &str) -> PathBuf {
        let suffix = match self.server {
            None => "db.zst",
            Some(_) => "dump.zst",
        };
        self.project.vault().join(format!("{id}.{suffix}"))
    }

    pub fn manifest(&self, id: &str) -> PathBuf {
        self.project.vault().join(format!("{id}.json"))
    }

    /// Every table's rows and the whole history, where there is one.
    pub fn contents(&self) -> Value {
        let status = self.project.json(["db", "status"]);
        serde_json::json!([status["tables"], status["applied"], status["pending"]])
    }
}

/// A role that may log in and nothing else.
pub fn create_role(admin: &Database, role: &str) {
    let password = PASSWORD.replace('\'', "''");
    admin.psql(&format!("CREATE ROLE {role} LOGIN PASSWORD '{password}';"));
}

#[track_caller]
pub fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    (value.pointer(pointer).and_then(Value::as_str))
        .unwrap_or_else(|| panic!("no text at {pointer} of {value:#}"))
}

/// The numbers under `version` of a list in a document.
#[track_caller]
pub fn versions(list: &Value) -> Vec<i64> {
    let list = list.as_array().expect("a list of migrations");
    list.iter()
        .map(|migration| migration["version"].as_i64().expect("a version"))
        .collect()
}

/// Panics with the whole output when a part of what stderr should say is not there.
#[track_caller]
pub fn says(output: &Output, parts: &[&str]) {
    for part in parts {
        assert!(output.stderr.contains(part), "no `{part}` in\n{output}");
    }
}

/// The command after `cargo xtask` in the hint, as its reader would paste it.
#[track_caller]
pub fn hinted_command(output: &Output) -> Vec<String> {
    let hint = output.stderr.split_once("\nhint: ");
    let command = hint.and_then(|(_, hint)| hint.split_once("cargo xtask "));
    let Some((_, command)) = command else {
        panic!("no command in a hint\n{output}");
    };
    let command = command.lines().next().unwrap_or_default();
    let command = command.split('`').next().unwrap_or_default();
    command.split_whitespace().map(str::to_owned).collect()
}

/// The digests of a SQLite database and of what SQLite keeps beside it; nothing for a missing file.
pub fn database_digests(path: &Path) -> Vec<(String, String)> {
    ["", "-wal", "-journal"]
        .into_iter()
        .filter_map(|suffix| {
            let mut file = path.as_os_str().to_owned();
            file.push(suffix);
            Some((suffix.to_owned(), sha256(&fs::read(file).ok()?)))
        })
        .collect()
}

/// A manifest that says of itself that it is as it was written, whatever it says otherwise.
pub fn sealed(mut document: Value) -> Vec<u8> {
    let fields = document.as_object_mut().expect("a manifest is an object");
    fields.remove("manifest_sha256");
    let text = serde_json::to_string_pretty(&document).expect("write JSON");
    let lines = format!("{},\n", text.strip_suffix("\n}").expect("fields"));
    let digest = sha256(lines.as_bytes());
    format!("{lines}  \"manifest_sha256\": \"{digest}\"\n}}\n").into_bytes()
}

pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
