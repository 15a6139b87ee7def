//! What reaches out of the database: in its lines, on one line, and nothing in a string.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sqlx::migrate::MigrationType;
use sqlx::{AssertSqlSafe, SqlSafeStr};
use xtask_db::parsers::{EngineKind, Migration, expected_losses, reaches};

fn migration(sql: String) -> Migration {
    let sql = AssertSqlSafe(sql).into_sql_str();
    Migration::new(7, "any".into(), MigrationType::Simple, sql, false)
}

fuzz_target!(|input: (String, bool)| {
    let (text, is_sqlite) = input;
    let engine = if is_sqlite {
        EngineKind::Sqlite
    } else {
        EngineKind::Postgresql
    };
    let quoted = migration(format!("SELECT '{}' AS x", text.replace('\'', "''")));
    assert_eq!(reaches(&quoted, engine, "_sqlx_migrations"), []);
    let lines = text.matches('\n').count() + 1;
    let plain = migration(text);
    for reach in reaches(&plain, engine, "_sqlx_migrations") {
        assert!((1..=lines).contains(&reach.line), "{reach:?}");
        assert!(!reach.to_string().contains('\n'), "{reach:?}");
    }
    drop(expected_losses(&plain, engine));
});
