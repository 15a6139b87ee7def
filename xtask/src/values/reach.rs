//! What of a migration reaches further than the database that it runs on.

use std::fmt;

use serde::Serialize;

/// One place in a migration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reach {
    pub version: i64,
    /// Of the file, counted from 1.
    pub line: usize,
    /// Short, and without any string of the statement: those may be secrets.
    pub what: String,
    pub kind: ReachKind,
    pub within: Within,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReachKind {
    /// Roles, databases, tablespaces, settings, sessions of the server. No backup of a database holds them, so a
    /// restore leaves them as the migration made them; a rehearsal on the same server would do it for real.
    Server,
    /// Files, programs, other servers, those who listen. What was done there stays done after a restore, and a
    /// rehearsal would do it a second time.
    Outside,
    /// Ends sqlx's transaction, or begins one in it: what stands before it is committed, whatever becomes of the
    /// rest. A restore brings all of it back; a rehearsal is not spared by a rollback.
    OwnTransaction,
    /// Writes sqlx's own table, or what holds it. A restore brings the table back; a rehearsal that compares the
    /// history afterwards finds another than it expects.
    Bookkeeping,
    /// Not understood, so it may be any of these.
    Unknown,
}

/// Where it stands: only what runs now does anything now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Within {
    /// Runs with the migration.
    Statement,
    /// In the code of a `DO`: runs with the migration, when its conditions lead there.
    Block,
    /// In the body of a function, trigger, rule, policy or view: waits for somebody to call it.
    Definition,
}

impl Reach {
    /// Whether the migration itself may do it; a definition only waits for it.
    pub fn runs(&self) -> bool {
        self.within != Within::Definition
    }
}

/// The line for a person: `7 line 3: CREATE ROLE reporting (restoring will not undo this)`.
impl fmt::Display for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let within = match self.within {
            Within::Statement => "",
            Within::Block => ", in a DO block",
            Within::Definition => ", in a body that waits to be called",
        };
        let so = match self.kind {
            ReachKind::Server => "restoring will not undo this",
            ReachKind::Outside => "outside of the database: restoring will not undo this",
            ReachKind::OwnTransaction => {
                "ends sqlx's transaction or begins another: a failure may leave a part"
            }
            ReachKind::Bookkeeping => "this is where sqlx keeps its history",
            ReachKind::Unknown => "not understood: look yourself how far it reaches",
        };
        let Reach {
            version,
            line,
            what,
            ..
        } = self;
        write!(f, "{version} line {line}: {what}{within} ({so})")
    }
}
