//! What of its database a dump holds. Only one that holds all of it, in the form that a restore
//! puts in its place, is full; any other one never takes the place of a database.

use std::ops::Not;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The default is a full dump.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Kind {
    /// Definitions or rows, where it is not both.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub only: Option<Only>,
    /// SQL as text, and not what the engine restores fastest.
    #[serde(skip_serializing_if = "Not::not")]
    pub plain: bool,
    /// The patterns that chose what is in it, as they were given.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub schemas: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tables: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub without_tables: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub without_rows_of: Vec<String>,
    /// Of SQL as text: it drops first what it makes.
    #[serde(skip_serializing_if = "Not::not")]
    pub clean: bool,
    #[serde(skip_serializing_if = "Not::not")]
    pub no_owner: bool,
    #[serde(skip_serializing_if = "Not::not")]
    pub no_privileges: bool,
    /// Foreign keys to tables or rows that are not in it: they are not restored, and text, in which
    /// they stand, is not restored alone.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub foreign_keys_left_out: Vec<ForeignKey>,
    /// What it refers to and does not hold, in words.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<String>,
    /// Schemas of what it holds that it does not make itself.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub schemas_needed: Vec<String>,
    /// Of a later version: whatever it is, the dump is not what this program would take it for.
    #[serde(flatten)]
    pub unknown: Map<String, Value>,
}

/// What a backup is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selection {
    pub kind: Kind,
    /// Roles and tablespaces as well.
    pub globals: bool,
}

/// One half of a dump.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Only {
    Schema,
    Data,
}

/// As PostgreSQL and its dump know it. In SQLite it has no name of its own, and a number in its table.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ForeignKey {
    pub oid: i64,
    pub schema: String,
    pub table: String,
    pub name: String,
    /// The table that is not in the dump, or whose rows are not.
    pub refers_to: String,
}

/// Of the words that a kind puts into an id, in their order. No label begins with one.
pub const WORDS: [&str; 4] = ["schema-only", "data-only", "partial", "plain"];

/// The word of a kind that a text is, or that it begins with before a `_`; and what follows.
pub fn word_before(text: &str) -> Option<(&'static str, &str)> {
    WORDS.into_iter().find_map(|word| {
        let after = text.strip_prefix(word)?;
        (after.is_empty() || after.starts_with('_')).then_some((word, after))
    })
}

/// Where among the words of an id it stands.
pub fn place(word: &str) -> Option<usize> {
    WORDS.iter().position(|known| *known == word)
}

impl Kind {
    pub fn is_full(&self) -> bool {
        *self == Kind::default()
    }

    /// Whether only some of the tables are in it, or only of some their rows.
    pub fn is_partial(&self) -> bool {
        let chosen = [
            &self.schemas,
            &self.tables,
            &self.without_tables,
            &self.without_rows_of,
        ];
        chosen.iter().any(|patterns| !patterns.is_empty())
    }

    pub fn has_rows(&self) -> bool {
        self.only != Some(Only::Schema)
    }

    pub fn has_definitions(&self) -> bool {
        self.only != Some(Only::Data)
    }

    /// How a superuser has rows alone of PostgreSQL taken without a look at foreign keys.
    pub fn without_keys(is_text: bool) -> &'static str {
        match is_text {
            true => "PGOPTIONS='-c session_replication_role=replica' before `psql`",
            false => "`--disable-triggers` behind `pg_restore`",
        }
    }

    /// As in an id; none of a full one.
    pub fn words(&self) -> Vec<&'static str> {
        let is = [
            self.only == Some(Only::Schema),
            self.only == Some(Only::Data),
            self.is_partial(),
            self.plain,
        ];
        let words = WORDS.into_iter().zip(is);
        words.filter_map(|(word, is)| is.then_some(word)).collect()
    }

    /// `schema-only, plain`; of a full one, nothing.
    pub fn name(&self) -> Option<String> {
        let words = self.words();
        (!words.is_empty()).then(|| words.join(", "))
    }

    /// What of a database is not in it, for a person.
    pub fn lacks(&self) -> String {
        let mut lacks = Vec::new();
        match self.only {
            Some(Only::Schema) => lacks.push("it holds definitions and no rows".to_owned()),
            Some(Only::Data) => lacks.push("it holds rows and no definitions".to_owned()),
            None => {}
        }
        let chosen = [
            ("it holds only the schemas", &self.schemas),
            ("it holds only", &self.tables),
            ("it does not hold", &self.without_tables),
            ("it does not hold the rows of", &self.without_rows_of),
        ];
        for (what, patterns) in chosen {
            if !patterns.is_empty() {
                lacks.push(format!("{what} `{}`", patterns.join("`, `")));
            }
        }
        if lacks.is_empty() {
            lacks.push("it is SQL as text".into());
        }
        lacks.join("; ")
    }
}
