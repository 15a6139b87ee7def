//! Row-level security: where a policy would hide rows from this role, the server refuses, as it was
//! asked to, and does not say what to do.

use super::connect::quoted;
use crate::values::failure::Failure;

const REFUSED: &str = "affected by row-level security policy for table \"";

/// The server's own words reach us through `pg_dump` as well.
pub fn explain(error: anyhow::Error) -> anyhow::Error {
    let said = format!("{error:#}");
    let Some((_, rest)) = said.split_once(REFUSED) else {
        return error;
    };
    let line = rest.lines().next().unwrap_or_default();
    let table = line.split_once('"').map_or(line, |(table, _)| table);
    let refused =
        format!("policies of `{table}` may hide rows from this role, and none is left out unseen");
    error.context(Failure::unexpected(refused).hint(format!(
        "go on as a role with BYPASSRLS or a superuser; or, in `psql` as the owner, whom policies hold because of \
         FORCE: ALTER TABLE {} NO FORCE ROW LEVEL SECURITY;",
        quoted(table)
    )))
}
