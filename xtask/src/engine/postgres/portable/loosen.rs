//! What would keep rows out until all of them are there, or change them on their way in: foreign
//! keys in circles wait for the end of the transaction, triggers of the application do not fire.
//! All of it is put back as it was before the transaction is committed, and the keys are checked.

use anyhow::{Context, Result};
use sqlx::{AssertSqlSafe, Executor, PgConnection};

use super::super::connect::quoted;
use super::import::{in_sql, way_out};
use super::outline::KEYS;
use crate::engine::portable::silent_triggers;
use crate::values::failure::Failure;
use crate::values::portable::fit::{Landed, Landing};

#[derive(Default)]
pub struct Loosened {
    /// The statements that put it back.
    tighten: Vec<String>,
    /// One line for each table whose triggers do not fire.
    pub warnings: Vec<String>,
}

pub async fn loosen(session: &mut PgConnection, landing: &Landing) -> Result<Loosened> {
    let mut loosened = Loosened::default();
    for table in landing.wanted() {
        loosen_triggers(session, table, &mut loosened).await?;
    }
    loosen_keys(session, landing, &mut loosened).await?;
    run(session, "SET CONSTRAINTS ALL DEFERRED").await?;
    Ok(loosened)
}

/// Checks what was put off, then puts back what was loosened.
pub async fn tighten(session: &mut PgConnection, loosened: &Loosened) -> Result<()> {
    let checked = session.execute("SET CONSTRAINTS ALL IMMEDIATE").await;
    checked.map_err(|error| {
        let failure = Failure::refused("the rows do not fit together");
        anyhow::Error::new(error)
            .context(failure.hint("mend the rows, or import the tables that they refer to as well"))
    })?;
    for statement in &loosened.tighten {
        run(session, statement).await?;
    }
    Ok(())
}

async fn run(session: &mut PgConnection, statement: &str) -> Result<()> {
    let done = session.execute(AssertSqlSafe(statement.to_owned())).await;
    done.map(drop).map_err(|error| {
        let refused = Failure::refused(format!("the server does not take `{statement}`"));
        let refused = refused.hint(way_out(&error));
        anyhow::Error::new(error).context(refused)
    })
}

/// Of the table and its partitions, where a trigger of the table is another one of the same name.
async fn loosen_triggers(
    session: &mut PgConnection,
    table: &Landed,
    loosened: &mut Loosened,
) -> Result<()> {
    let triggers: Vec<(String, String, String, String)> = sqlx::query_as(
        "SELECT n.nspname::text, c.relname::text, t.tgname::text, t.tgenabled::text \
         FROM (SELECT to_regclass($1) AS relid, 0 AS level \
           UNION SELECT relid, level FROM pg_partition_tree(to_regclass($1)) WHERE level > 0) AS p \
         JOIN pg_catalog.pg_class c ON c.oid = p.relid \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         JOIN pg_catalog.pg_trigger t ON t.tgrelid = c.oid AND NOT t.tgisinternal \
         ORDER BY p.level, 1, 2, 3",
    )
    .bind(in_sql(table))
    .fetch_all(&mut *session)
    .await
    .context("cannot list the triggers")?;
    if triggers.iter().all(|(_, _, _, enabled)| enabled == "D") {
        return Ok(());
    }
    loosened.warnings.push(silent_triggers(&table.title));
    for (schema, name, trigger, enabled) in triggers {
        let table = format!("ALTER TABLE {}.{}", quoted(&schema), quoted(&name));
        let trigger = quoted(&trigger);
        run(session, &format!("{table} DISABLE TRIGGER {trigger}")).await?;
        let before = match enabled.as_str() {
            "D" => "DISABLE",
            "R" => "ENABLE REPLICA",
            "A" => "ENABLE ALWAYS",
            _ => "ENABLE",
        };
        loosened
            .tighten
            .push(format!("{table} {before} TRIGGER {trigger}"));
    }
    Ok(())
}

/// Those that lead to rows of the same table or of one that comes later.
async fn loosen_keys(
    session: &mut PgConnection,
    landing: &Landing,
    loosened: &mut Loosened,
) -> Result<()> {
    type Row = (String, String, String, String, String, String, String, bool);
    let keys: Vec<Row> = sqlx::query_as(AssertSqlSafe(format!("{KEYS} ORDER BY 1, 2, 3")))
        .fetch_all(&mut *session)
        .await
        .context("cannot list the foreign keys")?;
    let tables: Vec<&Landed> = landing.wanted().collect();
    let place = |schema: &str, name: &str| {
        tables
            .iter()
            .position(|table| table.schema == schema && table.name == name)
    };
    for (own_schema, own, key, schema, name, parent_schema, parent, deferrable) in keys {
        let (child, parent) = (place(&schema, &name), place(&parent_schema, &parent));
        let is_early = matches!((child, parent), (Some(child), Some(parent)) if parent >= child);
        if deferrable || !is_early {
            continue;
        }
        let alter = format!(
            "ALTER TABLE {}.{} ALTER CONSTRAINT {}",
            quoted(&own_schema),
            quoted(&own),
            quoted(&key)
        );
        run(session, &format!("{alter} DEFERRABLE INITIALLY IMMEDIATE")).await?;
        loosened.tighten.push(format!("{alter} NOT DEFERRABLE"));
    }
    Ok(())
}
