//! What identifies a database, and what it holds; never a password.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::kind::ForeignKey;
use super::schema::{self, Relation, RelationKind};
use super::words::on_one_line;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EngineKind {
    Sqlite,
    Postgresql,
}

impl EngineKind {
    /// Of tables and columns, as it keeps them.
    pub fn is_same_name(self, one: &str, other: &str) -> bool {
        match self {
            EngineKind::Sqlite => one.eq_ignore_ascii_case(other),
            EngineKind::Postgresql => one == other,
        }
    }
}

impl fmt::Display for EngineKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            EngineKind::Sqlite => "SQLite",
            EngineKind::Postgresql => "PostgreSQL",
        })
    }
}

/// Which database a backup was taken of, in a form that another machine can
/// compare with its own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DatabaseFacts {
    pub engine: EngineKind,
    /// PostgreSQL: the database's name. SQLite: the file's name.
    pub name: String,
    /// PostgreSQL: host name, address or socket folder.
    pub host: Option<String>,
    pub port: Option<u16>,
    /// PostgreSQL: the role that was connected.
    pub user: Option<String>,
    /// SQLite: the absolute path of the file.
    pub path: Option<String>,
    pub server_version: String,
    /// PostgreSQL: of the cluster (`pg_control_system()`), where the role may read it.
    pub system_identifier: Option<String>,
    /// PostgreSQL: what `CREATE DATABASE` and its companions need.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub properties: Option<DatabaseProperties>,
    /// Fields of a later version; written back as they were.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

impl DatabaseFacts {
    /// Without what a log must not hold.
    pub fn for_show(&self) -> DatabaseFacts {
        DatabaseFacts {
            properties: None,
            ..self.clone()
        }
    }

    /// Whether all that says which one it is means something else on another machine: a path, a
    /// socket, `localhost`.
    pub fn is_named_by_this_machine(&self) -> bool {
        let is_local = |host: &str| {
            let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
            host.starts_with(['/', '@'])
                || host.eq_ignore_ascii_case("localhost")
                || address.is_ok_and(|address| address.is_loopback())
        };
        self.host.as_deref().is_none_or(is_local)
    }

    /// Whether both were reached at one address. A socket and a loopback address lead to
    /// one server on one machine only.
    pub fn is_at_address_of(&self, other: &DatabaseFacts, is_same_machine: bool) -> bool {
        let host = |facts: &DatabaseFacts| {
            let host = facts.host.as_deref().unwrap_or_default().to_owned();
            match facts.is_named_by_this_machine() && !host.starts_with(['/', '@']) {
                true => "localhost".to_owned(),
                false => host.to_ascii_lowercase(),
            }
        };
        host(self) == host(other)
            && self.port == other.port
            && (is_same_machine || !self.is_named_by_this_machine())
    }

    /// Whether `then`, the facts of a backup, are of this database.
    ///
    /// PostgreSQL: the same name in the same cluster; where a role may not
    /// read the cluster's identifier, the same name on the same host and port.
    /// SQLite: the same file. A recorded path that leads nowhere
    /// (`exists` says so) was moved or is another machine's: then the name
    /// decides. One that leads to another file was that file's backup.
    pub fn is_same_as(&self, then: &DatabaseFacts, exists: impl Fn(&str) -> bool) -> bool {
        if self.engine != then.engine {
            return false;
        }
        match self.engine {
            EngineKind::Sqlite => {
                let moved = || !then.path.as_deref().is_some_and(exists);
                self.path == then.path || (self.name == then.name && moved())
            }
            EngineKind::Postgresql => {
                self.name == then.name
                    && match (&self.system_identifier, &then.system_identifier) {
                        (Some(now), Some(then)) => now == then,
                        _ => self.host == then.host && self.port == then.port,
                    }
            }
        }
    }
}

impl fmt::Display for DatabaseFacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = on_one_line(self.path.as_deref().unwrap_or(&self.name));
        write!(f, "{} database `{name}`", self.engine)?;
        let (None, Some(host)) = (&self.path, &self.host) else {
            return Ok(());
        };
        write!(f, " on `{}`", on_one_line(host))?;
        self.port.map_or(Ok(()), |port| write!(f, " port {port}"))
    }
}

/// All that a plain dump leaves out of a PostgreSQL database.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct DatabaseProperties {
    pub owner: String,
    pub encoding: String,
    pub collate: String,
    pub ctype: String,
    /// `c` libc, `i` ICU, `b` builtin.
    pub locale_provider: String,
    pub locale: Option<String>,
    pub icu_rules: Option<String>,
    pub tablespace: String,
    pub connection_limit: i32,
    pub is_template: bool,
    pub comment: Option<String>,
    /// `None`: the built-in default grants.
    pub grants: Option<Vec<Grant>>,
    /// `ALTER DATABASE … SET` and `ALTER ROLE … IN DATABASE … SET`.
    pub settings: Vec<Setting>,
    /// The schemas in which the session of the backup found unqualified names,
    /// in their order; functions may need them while a dump is restored.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub search_path: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Grant {
    /// `None`: `PUBLIC`.
    pub grantee: Option<String>,
    pub privilege: String,
    pub grantable: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Setting {
    /// `None`: for all roles.
    pub role: Option<String>,
    pub name: String,
    pub value: String,
}

/// A table and its exact number of rows.
///
/// The rows of a partitioned table are those of its partitions, which are
/// listed as well. A materialized view is listed when it has been filled.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TableRows {
    pub schema: String,
    pub name: String,
    pub rows: u64,
    #[serde(default, skip_serializing_if = "RelationKind::is_table")]
    pub kind: RelationKind,
    /// Of the values of all rows in any order, after the name of its method; when it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
}

impl TableRows {
    pub fn key(&self) -> (&str, &str) {
        (&self.schema, &self.name)
    }
}

impl fmt::Display for TableRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&schema::display_name(&self.schema, &self.name))
    }
}

/// What a database holds, counted in one moment.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Contents {
    pub tables: Vec<TableRows>,
    /// PostgreSQL only.
    pub large_objects: Option<u64>,
    pub applied: Vec<AppliedMigration>,
    /// Where the history is, as written into SQL; on PostgreSQL with its schema,
    /// because databases and roles have search paths of their own.
    pub history_table: Option<String>,
    /// Of all user schemas; empty where nobody looked.
    pub relations: Vec<Relation>,
}

impl Contents {
    /// The first few differences, in words; empty when both hold the same.
    ///
    /// Rows of tables count. Those of a materialized view do not, because a
    /// restore computes it anew; nor those of one partition, because rows of
    /// some keys move when they are restored: their table's sum counts.
    pub fn differences(&self, found: &Contents) -> Vec<String> {
        let mut differences = Vec::new();
        let rows_found = found.by_name();
        for table in &self.tables {
            match rows_found.get(&table.key()) {
                None => differences.push(format!("table `{table}` is missing")),
                Some(other) if table.kind.is_table() => {
                    differences.extend(table.difference(other));
                }
                Some(_) => {}
            }
        }
        let known = self.by_name();
        for table in found.tables.iter().filter(|table| table.kind.is_table()) {
            if !known.contains_key(&table.key()) {
                differences.push(format!("table `{table}` is not in the manifest"));
            }
        }
        if self.large_objects != found.large_objects {
            differences.push(format!(
                "{} large objects, the manifest says {}",
                found.large_objects.unwrap_or(0),
                self.large_objects.unwrap_or(0)
            ));
        }
        if self.applied != found.applied {
            differences.push("the migration history differs from the manifest".into());
        }
        // A manifest of an earlier version does not say.
        if !self.relations.is_empty() {
            differences.extend(schema::differences(&self.relations, &found.relations));
        }
        differences
    }

    /// Of what is compared without this foreign key.
    pub fn lacks(&mut self, key: &ForeignKey) {
        let mut relations = self.relations.iter_mut();
        let owner = relations.find(|r| r.schema == key.schema && r.name == key.table);
        if let Some(relation) = owner {
            relation.constraints.retain(|part| part.name != key.name);
        }
    }

    /// Whether a look at the same tables has to fingerprint them, too.
    pub fn has_fingerprints(&self) -> bool {
        self.tables.iter().any(|table| table.fingerprint.is_some())
    }

    pub fn by_name(&self) -> BTreeMap<(&str, &str), &TableRows> {
        self.tables
            .iter()
            .map(|table| (table.key(), table))
            .collect()
    }
}

impl TableRows {
    /// In words, from the manifest to what was found.
    pub fn difference(&self, found: &TableRows) -> Option<String> {
        if self.rows != found.rows {
            return Some(format!(
                "table `{self}` has {} rows, the manifest says {}",
                found.rows, self.rows
            ));
        }
        (self.has_same_content(found) == Some(false)).then(|| {
            format!("table `{self}` has as many rows, and other values than the manifest says")
        })
    }

    /// `None` where one of them has no fingerprint, or both were made in different ways: a
    /// fingerprint begins with its method, which says how values became bytes.
    pub fn has_same_content(&self, other: &TableRows) -> Option<bool> {
        let method = |text: &str| Some(text.split_once(':')?.0.to_owned());
        let (then, now) = (self.fingerprint.as_deref()?, other.fingerprint.as_deref()?);
        (method(then)? == method(now)?).then(|| then == now)
    }
}

/// A row of sqlx's bookkeeping table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppliedMigration {
    pub version: i64,
    pub description: String,
    /// SHA-384 of the file, hexadecimal, as sqlx computes it.
    pub checksum: String,
    /// `false`: begun and not finished; sqlx calls such a history dirty.
    #[serde(default = "yes")]
    pub success: bool,
}

fn yes() -> bool {
    true
}
