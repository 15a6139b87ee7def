//! The SQL around what `pg_restore` writes, for a restore in place.

use std::io::Write;

use anyhow::{Context, Result};

use super::connect::{literal, quoted};
use super::fingerprint::{self, ROW};
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
pub fn write_drops(toc: &Toc, dump: &VerifiedDump, script: &mut dyn Write) -> Result<()> {
    let public = if toc.mentions_public() {
        // A dump takes it for granted.
        "CREATE SCHEMA IF NOT EXISTS public;\n"
    } else {
        ""
    };
    let schema = |name: &String| format!("CREATE SCHEMA IF NOT EXISTS {};\n", quoted(name));
    let needed = dump.manifest().kind.schemas_needed.iter();
    let needed: String = needed.map(schema).collect();
    write!(script, "{DROP_OWNED}{public}{needed}").context("cannot begin the restore")
}

/// Raises an exception, inside the transaction, when a table is missing or
/// has other rows than the manifest says. What it sets is set as before when it is done.
pub fn compare_statement(dump: &VerifiedDump) -> String {
    let (before, after) = match dump.manifest().contents().has_fingerprints() {
        true => (
            format!("SAVEPOINT compare; {};", fingerprint::SETTINGS),
            "ROLLBACK TO SAVEPOINT compare; RELEASE SAVEPOINT compare;",
        ),
        false => (String::new(), ""),
    };
    let values = expected_rows(dump);
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
         AND NOT EXISTS (SELECT FROM (VALUES {values}) AS v(schema, name, rows, sum) \
         WHERE v.schema = n.nspname AND v.name = c.relname)"
    );
    format!(
        "\n{before}\nDO {tag}\nDECLARE\n  expected record;\n  counted bigint;\n  \
         summed text;\n  kind \"char\";\n  more text;\nBEGIN\n  \
         {unexpected} INTO more;\n  \
         IF more IS NOT NULL THEN RAISE EXCEPTION \
         'after the restore there are tables that are not in the manifest: %', more \
         USING ERRCODE = 'XD002'; END IF;\n  \
         FOR expected IN SELECT * FROM (VALUES {values}) AS v(schema, name, rows, sum) LOOP\n    \
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
         expected.schema, expected.name, counted, expected.rows USING ERRCODE = 'XD002'; END IF;\n    \
         {content}END LOOP;\nEND\n{tag};\n{after}\n",
        content = compare_content(),
    )
}

/// What the manifest says of tables, as rows in SQL: schema, name, rows, sum.
fn expected_rows(dump: &VerifiedDump) -> String {
    let rows: Vec<String> = dump
        .manifest()
        .tables
        .iter()
        .filter(|t| t.kind.is_table())
        .map(|t| {
            let sum = t.fingerprint.as_deref().and_then(fingerprint::sum_in);
            let sum = sum.map_or("NULL".into(), literal);
            let (schema, name) = (literal(&t.schema), literal(&t.name));
            format!("({schema}, {name}, {}, {sum})", t.rows)
        })
        .collect();
    // VALUES needs a row.
    let nothing = (literal(""), literal(""));
    let rows = if rows.is_empty() {
        vec![format!("({}, {}, -1, NULL)", nothing.0, nothing.1)]
    } else {
        rows
    };
    rows.join(", ")
}

/// In the loop over the tables, where their rows are as many as they should be.
fn compare_content() -> String {
    let question = literal(&format!(
        "SELECT {} FROM %s %I.%I AS {ROW}",
        fingerprint::sum_of("%s")
    ));
    format!(
        "CONTINUE WHEN expected.sum IS NULL;\n    \
         SELECT coalesce(string_agg(format('{ROW}.%I', a.attname), ', ' \
         ORDER BY a.attname::text COLLATE \"C\"), '') INTO more \
         FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE n.nspname = expected.schema AND c.relname = expected.name \
         AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '';\n    \
         EXECUTE format({question}, more, CASE WHEN kind = 'p' THEN '' ELSE 'ONLY' END, \
         expected.schema, expected.name) INTO summed;\n    \
         IF summed <> expected.sum THEN RAISE EXCEPTION \
         'table %.% has as many rows, and other values than the manifest says', \
         expected.schema, expected.name USING ERRCODE = 'XD002'; END IF;\n  "
    )
}
