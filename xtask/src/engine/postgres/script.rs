//! The SQL around what `pg_restore` writes, for a restore in place.

use std::io::Write;

use anyhow::{Context, Result};

use super::connect::{literal, quoted};
use super::fingerprint::{self, ROW};
use super::replay::ANSWER;
use super::toc::Toc;
use crate::values::platform::Attached;
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
    let theirs = dump.manifest().platform_schemas().iter();
    let theirs: String = theirs
        .map(|schema| format!("INSERT INTO {PLATFORM} VALUES ({});\n", literal(schema)))
        .collect();
    write!(
        script,
        "CREATE TEMPORARY TABLE xtask_db_platform (schema text) ON COMMIT DROP;\n\
         {theirs}{DROP_OWNED}{public}{needed}"
    )
    .context("cannot begin the restore")
}

/// The schemas that are somebody else's, in the transaction.
const PLATFORM: &str = "pg_temp.xtask_db_platform";

/// Puts what went with what it called back on the tables of the platform.
pub fn attach_statements(dump: &VerifiedDump) -> String {
    let Some(platform) = &dump.manifest().platform else {
        return String::new();
    };
    let triggers = platform.triggers.iter().map(|trigger| ("tg", trigger));
    let policies = platform.policies.iter().map(|policy| ("pol", policy));
    let all = triggers.chain(policies);
    all.map(|(of, attached)| attach(of, attached)).collect()
}

/// `of` is what the columns of its catalogue begin with.
fn attach(of: &str, attached: &Attached) -> String {
    let catalogue = if of == "tg" {
        "pg_trigger"
    } else {
        "pg_policy"
    };
    let own = if of == "tg" {
        "NOT t.tgisinternal"
    } else {
        "true"
    };
    let state = attached.state.as_deref().map(literal);
    let state = state.map_or_else(String::new, |state| format!("EXECUTE {state};"));
    let body = format!(
        "\nBEGIN\n  IF NOT EXISTS (SELECT FROM pg_catalog.{catalogue} t \
         JOIN pg_catalog.pg_class c ON c.oid = t.{of}relid \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE {own} AND n.nspname = {} AND c.relname = {} AND t.{of}name = {}) THEN\n    \
         EXECUTE {};\n    {state}\n  END IF;\n\
         EXCEPTION WHEN OTHERS THEN\n  RAISE EXCEPTION '% cannot be made again: %', {}, SQLERRM \
         USING ERRCODE = 'XD003';\nEND\n",
        literal(&attached.schema),
        literal(&attached.table),
        literal(&attached.name),
        literal(&attached.definition),
        literal(&attached.to_string()),
    );
    let tag = tag("attach", &body);
    format!("\nDO {tag}{body}{tag};\n")
}

/// A name in a manifest may hold anything, also the end of a quotation.
fn tag(name: &str, quoted: &str) -> String {
    let mut tag = format!("${name}$");
    while quoted.contains(&tag) {
        tag.insert(1, '_');
    }
    tag
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
    let tag = tag("compare", &values);
    let unexpected = format!(
        "SELECT pg_catalog.string_agg(n.nspname || '.' || c.relname, ', ') \
         FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't' \
         AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_' \
         AND NOT EXISTS (SELECT FROM {PLATFORM} p WHERE p.schema = n.nspname) \
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
