//! Rows that refer to those that are to be deleted, in tables that nobody named: a key may take them
//! along. Asked in the transaction that deletes; who adds one later makes that fail.

use anyhow::{Context, Result};
use sqlx::{AssertSqlSafe, PgConnection};

use super::super::connect::quoted;
use super::outline::{KEYS, only};
use crate::values::portable::fit::{Landing, children_refusal};
use crate::values::schema::display_name;

pub async fn refuse(session: &mut PgConnection, landing: &Landing) -> Result<()> {
    let keys: Vec<(String, String, String, String)> = sqlx::query_as(AssertSqlSafe(format!(
        "SELECT DISTINCT child_schema, child, parent_schema, parent FROM ({KEYS}) AS k ORDER BY 1, 2, 3, 4"
    )))
    .fetch_all(&mut *session)
    .await
    .context("cannot list the foreign keys")?;
    for (schema, child, parent_schema, parent) in keys {
        if landing.has(&schema, &child) || !landing.has(&parent_schema, &parent) {
            continue;
        }
        let only = only(session, (&schema, &child)).await?;
        let question = format!(
            "SELECT EXISTS (SELECT FROM {only}{}.{})",
            quoted(&schema),
            quoted(&child)
        );
        let has_rows: bool = sqlx::query_scalar(AssertSqlSafe(question))
            .persistent(false)
            .fetch_one(&mut *session)
            .await
            .with_context(|| format!("cannot look for rows of table `{child}`"))?;
        if has_rows {
            return Err(children_refusal(&display_name(&schema, &child), &parent).into());
        }
    }
    Ok(())
}
