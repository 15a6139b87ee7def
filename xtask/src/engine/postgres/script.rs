//! The SQL around what `pg_restore` writes, for a restore in place.

use std::io::Write;

use anyhow::{Context, Result};

use super::connect::literal;
use super::replay::ANSWER;
use super::toc::Toc;
use crate::values::verified_dump::VerifiedDump;

const DROP_OWNED: &str = include_str!("in_place.sql");

/// Begins the transaction and asks for its number.
pub fn write_beginning(script: &mut dyn Write) -> Result<()> {
    writeln!(
        script,
        "BEGIN;\nSELECT '{ANSWER}' || pg_catalog.txid_current();"
    )
    .and_then(|()| script.flush())
    .context("cannot begin the restore")
}

/// Drops what is ours.
pub fn write_drops(toc: &Toc, script: &mut dyn Write) -> Result<()> {
    let public = if toc.mentions_public() {
        // A dump takes it for granted.
        "CREATE SCHEMA IF NOT EXISTS public;\n"
    } else {
        ""
    };
    write!(script, "{DROP_OWNED}{public}").context("cannot begin the restore")
}

/// Raises an exception, inside the transaction, when a table is missing or
/// has other rows than the manifest says.
pub fn compare_statement(dump: &VerifiedDump) -> String {
    let rows: Vec<String> = dump
        .manifest()
        .tables
        .iter()
        .filter(|t| t.kind.is_table())
        .map(|t| format!("({}, {}, {})", literal(&t.schema), literal(&t.name), t.rows))
        .collect();
    // VALUES needs a row.
    let nothing = (literal(""), literal(""));
    let rows = if rows.is_empty() {
        vec![format!("({}, {}, -1)", nothing.0, nothing.1)]
    } else {
        rows
    };
    let values = rows.join(", ");
    // A name in a manifest may hold anything, also the end of a quotation.
    let mut tag = String::from("$compare$");
    while values.contains(&tag) {
        tag.insert(1, '_');
    }
    let unexpected = format!(
        "SELECT pg_catalog.string_agg(n.nspname || '.' || c.relname, ', ') \
         FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't' \
         AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_' \
         AND pg_has_role(current_user, c.relowner, 'USAGE') \
         AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d \
         WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e') \
         AND NOT EXISTS (SELECT FROM (VALUES {values}) AS v(schema, name, rows) \
         WHERE v.schema = n.nspname AND v.name = c.relname)"
    );
    format!(
        "\nDO {tag}\nDECLARE\n  expected record;\n  counted bigint;\n  kind \"char\";\n  more text;\nBEGIN\n  \
         {unexpected} INTO more;\n  \
         IF more IS NOT NULL THEN RAISE EXCEPTION \
         'after the restore there are tables that are not in the manifest: %', more \
         USING ERRCODE = 'XD002'; END IF;\n  \
         FOR expected IN SELECT * FROM (VALUES {values}) AS v(schema, name, rows) LOOP\n    \
         CONTINUE WHEN expected.rows < 0;\n    \
         SELECT c.relkind INTO kind FROM pg_catalog.pg_class c \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE n.nspname = expected.schema AND c.relname = expected.name;\n    \
         IF NOT FOUND THEN RAISE EXCEPTION 'table %.% is missing after the restore', \
         expected.schema, expected.name USING ERRCODE = 'XD002'; END IF;\n    \
         CONTINUE WHEN EXISTS (SELECT FROM pg_catalog.pg_class c \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE n.nspname = expected.schema AND c.relname = expected.name \
         AND NOT pg_has_role(current_user, c.relowner, 'USAGE'));\n    \
         EXECUTE format('SELECT count(*) FROM %s %I.%I', \
         CASE WHEN kind = 'p' THEN '' ELSE 'ONLY' END, expected.schema, expected.name) \
         INTO counted;\n    \
         IF counted <> expected.rows THEN RAISE EXCEPTION \
         'table %.% has % rows after the restore, the manifest says %', \
         expected.schema, expected.name, counted, expected.rows USING ERRCODE = 'XD002'; END IF;\n  \
         END LOOP;\nEND\n{tag};\n"
    )
}
