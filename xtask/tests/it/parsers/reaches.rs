//! What reaches out of the database is found where it stands, and nowhere else.

mod anything;
mod asked;
mod inside;
mod postgres;
mod sqlite;

use sqlx::migrate::MigrationType;
use sqlx::{AssertSqlSafe, SqlSafeStr};
use xtask_db::parsers::{EngineKind, Migration, Reach, Within, reaches};

pub const TABLE: &str = "_sqlx_migrations";

pub fn migration(sql: &str) -> Migration {
    let sql = AssertSqlSafe(sql.to_owned()).into_sql_str();
    Migration::new(7, "any".into(), MigrationType::Simple, sql, false)
}

pub fn found(sql: &str, engine: EngineKind) -> Vec<Reach> {
    reaches(&migration(sql), engine, TABLE)
}

/// `1 Server CREATE ROLE reporting`, with `+` for a `DO` and `-` for what is only defined.
fn line(reach: &Reach) -> String {
    let within = match reach.within {
        Within::Statement => "",
        Within::Block => "+",
        Within::Definition => "-",
    };
    assert_eq!(reach.version, 7);
    format!("{} {:?}{within} {}", reach.line, reach.kind, reach.what)
}

#[track_caller]
fn finds(engine: EngineKind, sql: &str, expected: &[&str]) {
    let found: Vec<String> = found(sql, engine).iter().map(line).collect();
    assert_eq!(found, expected, "{sql}");
}
