//! A vault with a past: copies of a real backup under ids of other days.

use std::fs;
use std::path::PathBuf;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use crate::exec::Output;
use crate::project::Project;
use crate::setup::{Case, sealed, sha256, text};

pub struct History {
    pub case: Case,
    /// The real one; also the newest.
    pub newest: String,
    manifest: Value,
    dump: Vec<u8>,
}

impl History {
    /// A database with two rows, and one backup of it.
    pub fn of(case: Case) -> Self {
        case.query("CREATE TABLE t (id INTEGER); INSERT INTO t VALUES (1), (2);");
        let newest = case.backup();
        let manifest = fs::read(case.manifest(&newest)).expect("read a manifest");
        Self {
            dump: fs::read(case.dump(&newest)).expect("read a dump"),
            manifest: serde_json::from_slice(&manifest).expect("a manifest"),
            case,
            newest,
        }
    }

    pub fn sqlite() -> Self {
        Self::of(Case::sqlite())
    }

    pub fn each(name: &str) -> Vec<Self> {
        Case::each(name).into_iter().map(Self::of).collect()
    }

    pub fn project(&self) -> &Project {
        &self.case.project
    }

    /// A copy that is so many hours old; `change` makes its manifest another one.
    pub fn add(&self, hours: i64, label: &str, change: impl FnOnce(&mut Value)) -> String {
        let at = Utc::now() - TimeDelta::hours(hours);
        self.add_at(at, label, change)
    }

    pub fn add_at(
        &self,
        at: DateTime<Utc>,
        label: &str,
        change: impl FnOnce(&mut Value),
    ) -> String {
        let id = format!("backup_{}_{label}", at.format("%Y-%m-%d_%H%M%S"));
        let mut manifest = self.manifest.clone();
        let dump = self.case.dump(&id);
        manifest["id"] = json!(id);
        manifest["label"] = json!(label);
        manifest["created_at"] = json!(at);
        manifest["dump"]["file"] = json!(dump.file_name().and_then(|name| name.to_str()));
        change(&mut manifest);
        fs::write(self.case.manifest(&id), sealed(manifest)).expect("write a manifest");
        fs::write(dump, &self.dump).expect("write a dump");
        id
    }

    /// A line of the journal like the last one; `change` makes it another one.
    pub fn record(&self, change: impl FnOnce(&mut Value)) {
        let path = self.project().vault().join("journal.jsonl");
        let mut journal = fs::read_to_string(&path).expect("read the journal");
        let last = journal.lines().last().expect("a line");
        let mut entry: Value = serde_json::from_str(last).expect("an entry");
        entry["previous"] = json!(sha256(last.as_bytes()));
        entry["number"] = json!(entry["number"].as_u64().expect("a number") + 1);
        change(&mut entry);
        journal.push_str(&format!("{entry}\n"));
        fs::write(path, journal).expect("write the journal");
    }

    pub fn prune(&self, arguments: &[&str]) -> Output {
        self.project()
            .run([&["db", "prune"][..], arguments].concat())
    }

    /// The ids that `db prune --dry-run` would remove, and why each of the others stays.
    #[track_caller]
    pub fn plan(&self, arguments: &[&str]) -> (Vec<String>, Vec<(String, String)>) {
        let arguments = [&["db", "prune", "--dry-run"][..], arguments].concat();
        let plan = self.project().json(arguments);
        let ids = |list: &Value| -> Vec<String> {
            let list = list.as_array().expect("a list").iter();
            list.map(|line| text(line, "/id").to_owned()).collect()
        };
        let why = |line: &Value| {
            let why = line["why"].as_array().expect("reasons").iter();
            let why: Vec<&str> = why.filter_map(Value::as_str).collect();
            (text(line, "/id").to_owned(), why.join(", "))
        };
        let kept = plan["keep"].as_array().expect("a list").iter().map(why);
        (ids(&plan["remove"]), kept.collect())
    }

    /// What is in the vault of a backup: manifest, dump.
    pub fn files(&self, id: &str) -> [bool; 2] {
        [self.case.manifest(id), self.case.dump(id)]
            .map(|path: PathBuf| path.symlink_metadata().is_ok())
    }
}

/// Of a history of migrations; versions only.
pub fn applied(versions: &[i64]) -> Value {
    let applied = versions.iter().map(|version| {
        json!({"version": version, "description": "d", "checksum": "00", "success": true})
    });
    applied.collect()
}
