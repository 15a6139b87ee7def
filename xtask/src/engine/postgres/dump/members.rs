//! Tables that extensions brought along: a dump holds the rows of those of which the extension says so.

use anyhow::{Context, Result};
use sqlx::{AssertSqlSafe, Executor, PgConnection};

use crate::engine::postgres::connect::quoted;
use crate::engine::postgres::inspect::begin_in;
use crate::engine::postgres::toc::some_of;
use crate::values::schema::display_name;

/// A table of an extension.
pub struct Member {
    extension: String,
    schema: String,
    name: String,
    /// Whether `pg_dump` takes its rows.
    is_dumped: bool,
    /// Whether the role may act as its owner.
    is_ours: bool,
    may_read: bool,
}

/// In the moment of the dump. What will not come back, in words; `is_in_place` says that a restore
/// will not make what is of other roles.
pub async fn not_brought_back(
    session: &mut PgConnection,
    snapshot: &str,
    platform: &[String],
    is_in_place: bool,
) -> Result<Option<String>> {
    let context = "cannot ask for the tables of extensions";
    session
        .execute(AssertSqlSafe(begin_in(Some(snapshot))))
        .await
        .context(context)?;
    let mut lines = Vec::new();
    for member in members(session, platform).await.context(context)? {
        let stays = is_in_place && !member.is_ours;
        if (member.is_dumped && !stays) || !member.has_rows(session).await.context(context)? {
            continue;
        }
        let name = display_name(&member.schema, &member.name);
        let extension = &member.extension;
        lines.push(match member.is_dumped {
            true => format!("{name} of {extension} (in the dump, and left as it is)"),
            false => format!("{name} of {extension} (not in the dump)"),
        });
    }
    session.execute("COMMIT").await.context(context)?;
    Ok((!lines.is_empty()).then(|| {
        format!(
            "rows in tables of extensions do not come back with a restore: {}",
            some_of(&lines)
        )
    }))
}

/// In the transaction of a session: those of other roles whose rows are in the dump.
pub async fn theirs(session: &mut PgConnection, platform: &[String]) -> sqlx::Result<Vec<Member>> {
    let mut members = members(session, platform).await?;
    members.retain(|member| member.is_dumped && !member.is_ours);
    Ok(members)
}

/// The tables of this extension, with their schemas.
pub fn of(members: &[Member], extension: &str) -> Vec<(String, String)> {
    let of = members.iter().filter(|m| m.extension == extension);
    of.map(|m| (m.schema.clone(), m.name.clone())).collect()
}

impl Member {
    /// Of one that the role may not read nobody knows: it may.
    async fn has_rows(&self, session: &mut PgConnection) -> sqlx::Result<bool> {
        if !self.may_read {
            return Ok(true);
        }
        let (schema, name) = (quoted(&self.schema), quoted(&self.name));
        let question = format!("SELECT EXISTS (SELECT FROM {schema}.{name})");
        let has_rows = sqlx::query_scalar(AssertSqlSafe(question));
        has_rows.fetch_one(session).await
    }
}

async fn members(session: &mut PgConnection, platform: &[String]) -> sqlx::Result<Vec<Member>> {
    type Row = (String, String, String, bool, bool, bool);
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT e.extname::text, n.nspname::text, c.relname::text, \
           coalesce(c.oid = ANY(e.extconfig), false), \
           pg_has_role(current_user, c.relowner, 'USAGE'), \
           has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT') \
         FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid \
         JOIN pg_catalog.pg_class c ON c.oid = d.objid \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE d.deptype = 'e' AND d.refclassid = 'pg_catalog.pg_extension'::regclass \
           AND d.classid = 'pg_catalog.pg_class'::regclass AND c.relkind IN ('r', 'p') \
           AND c.oid >= 16384 AND n.nspname::text <> ALL($1) ORDER BY 1, 2, 3",
    )
    .bind(platform)
    .fetch_all(session)
    .await?;
    let member = |(extension, schema, name, is_dumped, is_ours, may_read): Row| Member {
        extension,
        schema,
        name,
        is_dumped,
        is_ours,
        may_read,
    };
    Ok(rows.into_iter().map(member).collect())
}
