//! Foreign tables of a scratch database: they come with the backup and lead to where those of
//! the live one do, so a rehearsal would write there for real.

use anyhow::{Context, Result};
use sqlx::{AssertSqlSafe, Executor, PgConnection};

use crate::values::failure::Failure;

/// What PostgreSQL says of a wrapper without a handler, and of a server without a mapping.
const LEADS_NOWHERE: &[&str] = &["55000", "42704"];

/// From here on foreign tables can be named and changed, and neither read nor written: their
/// wrappers have no handler any more. Only a superuser may take it away; else, and where there
/// is none to take (dblink's), the user mappings go, without which no password is known. A text says
/// one as well, so dblink's functions connect to nothing where they may be changed.
/// Returns the names of the wrappers, and dblink's.
pub async fn cut_off(session: &mut PgConnection) -> Result<Vec<String>> {
    let context = "cannot cut off the foreign servers of the scratch database";
    let found: Vec<(String, String)> = sqlx::query_as(
        "WITH used AS (SELECT w.oid, w.fdwname, w.fdwhandler <> 0 AND r.rolsuper AS has_handler \
           FROM pg_catalog.pg_foreign_data_wrapper w, pg_catalog.pg_roles r \
           WHERE r.rolname = current_user \
             AND EXISTS (SELECT FROM pg_catalog.pg_foreign_server s WHERE s.srvfdw = w.oid)) \
         SELECT fdwname::text, format('ALTER FOREIGN DATA WRAPPER %I NO HANDLER', fdwname) \
           FROM used WHERE has_handler \
         UNION ALL SELECT u.fdwname::text, format('DROP USER MAPPING FOR %s SERVER %I', \
             CASE m.umuser WHEN 0 THEN 'PUBLIC' ELSE quote_ident(m.usename) END, m.srvname) \
           FROM used u JOIN pg_catalog.pg_foreign_server s ON s.srvfdw = u.oid \
             JOIN pg_catalog.pg_user_mappings m ON m.srvid = s.oid \
           WHERE NOT u.has_handler \
         UNION ALL SELECT e.extname::text, format('CREATE OR REPLACE FUNCTION %I.%I(%s) RETURNS %s \
             LANGUAGE plpgsql AS %L', n.nspname, p.proname, \
             pg_catalog.pg_get_function_arguments(p.oid), pg_catalog.pg_get_function_result(p.oid), \
             'BEGIN RAISE ''dblink leads nowhere in a rehearsal'' USING ERRCODE = ''55000''; END') \
           FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace \
             JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_proc'::regclass \
               AND d.objid = p.oid AND d.refclassid = 'pg_catalog.pg_extension'::regclass \
             JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid AND d.deptype = 'e' \
           WHERE e.extname = 'dblink' AND pg_has_role(p.proowner, 'USAGE') AND p.proname IN \
             ('dblink', 'dblink_connect', 'dblink_connect_u', 'dblink_exec')",
    )
    .fetch_all(&mut *session)
    .await
    .context(context)?;
    if found.is_empty() {
        return Ok(Vec::new());
    }
    // The role or the server may be read-only by default.
    session
        .execute("SET default_transaction_read_only = off")
        .await
        .context(context)?;
    let mut wrappers = Vec::new();
    for (wrapper, statement) in found {
        let done = session.execute(AssertSqlSafe(statement)).await;
        done.context(context)?;
        wrappers.push(wrapper);
    }
    wrappers.dedup();
    Ok(wrappers)
}

/// Why a migration failed that would have reached through one of them.
pub fn explain(wrappers: &[String], error: anyhow::Error) -> anyhow::Error {
    let mut causes = error.chain().filter_map(|cause| cause.downcast_ref());
    let leads_nowhere = causes.any(|error: &sqlx::Error| {
        let error = error.as_database_error();
        error.is_some_and(|error| {
            let is_code = error
                .code()
                .is_some_and(|code| LEADS_NOWHERE.contains(&&*code));
            let names = wrappers.iter().map(String::as_str).chain(["user mapping"]);
            is_code && names.into_iter().any(|name| error.message().contains(name))
        })
    });
    if wrappers.is_empty() || !leads_nowhere {
        return error;
    }
    let what = "a foreign table leads nowhere in a rehearsal, which would write to the other \
                server for real; nothing was changed";
    error.context(Failure::refused(what).hint(NOT_TWICE))
}

const NOT_TWICE: &str = "\
if reading and writing there twice does no harm: cargo xtask db migrate-safe --rehearse-reaching; \
or go without this proof: cargo xtask db migrate-safe --no-rehearse";
