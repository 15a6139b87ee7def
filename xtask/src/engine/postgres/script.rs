//! The SQL around what `pg_restore` writes, for a restore in place.

use std::io::Write;

use anyhow::{Context, Result};

use super::connect::{literal, quoted};
use super::fingerprint::{self, ROW};
use super::platform::{POLICIES, TRIGGERS, published};
use super::replay::ANSWER;
use super::toc::Toc;
use crate::tool;
use crate::values::platform::Attached;
use crate::values::verified_dump::VerifiedDump;

const DROP_OWNED: &str = include_str!("in_place.sql");
const PUBLIC_ANEW: &str = include_str!("public_anew.sql");
/// Older ones say nothing of its comment, and of its grants what differs from another beginning.
const TAKES_PUBLIC_AS_IT_IS_MADE: u32 = 15;

/// Begins the transaction and asks for its number.
pub fn write_beginning(script: &mut dyn Write) -> Result<()> {
    writeln!(
        script,
        "BEGIN;\nSELECT '{ANSWER}' || pg_catalog.txid_current();"
    )
    .and_then(|()| script.flush())
    .context("cannot begin the restore")
}

/// Drops what is ours, and not in the schemas of somebody else.
pub fn write_drops(
    toc: &Toc,
    dump: &VerifiedDump,
    theirs: &[String],
    script: &mut dyn Write,
) -> Result<()> {
    let public = if toc.mentions_public() {
        // A dump takes it for granted.
        "CREATE SCHEMA IF NOT EXISTS public;\n"
    } else {
        ""
    };
    let schema = |name: &String| format!("CREATE SCHEMA IF NOT EXISTS {};\n", quoted(name));
    let needed = dump.manifest().kind.schemas_needed.iter();
    let needed: String = needed.map(schema).collect();
    let theirs: String = theirs
        .iter()
        .map(|schema| format!("INSERT INTO {PLATFORM} VALUES ({});\n", literal(schema)))
        .collect();
    let kept = toc.kept_publications().iter();
    let kept: String = kept
        .map(|name| format!("INSERT INTO {PUBLICATIONS} VALUES ({});\n", literal(name)))
        .collect();
    let tool = tool::major_of(&dump.manifest().dump_tool);
    let is_said_again = toc.public_is_ours() && tool >= Some(TAKES_PUBLIC_AS_IT_IS_MADE);
    let public_anew = if is_said_again { PUBLIC_ANEW } else { "" };
    write!(
        script,
        "CREATE TEMPORARY TABLE xtask_db_platform (schema text) ON COMMIT DROP;\n\
         CREATE TEMPORARY TABLE xtask_db_publications (name text) ON COMMIT DROP;\n\
         {theirs}{kept}{DROP_OWNED}{public}{public_anew}{needed}"
    )
    .context("cannot begin the restore")
}

/// The schemas that are somebody else's, in the transaction.
const PLATFORM: &str = "pg_temp.xtask_db_platform";
/// Those that stay, in the transaction.
const PUBLICATIONS: &str = "pg_temp.xtask_db_publications";

/// Puts what went with what it called back on the tables of the platform, and in place of what has
/// come there under its name. What is there as it was is left alone: it may be nobody's to drop.
pub fn attach_statements(dump: &VerifiedDump, server_major: u32) -> String {
    let Some(platform) = &dump.manifest().platform else {
        return String::new();
    };
    let triggers = platform.triggers.iter().map(|trigger| ("TRIGGER", trigger));
    let policies = platform.policies.iter().map(|policy| ("POLICY", policy));
    let publications = platform.publications.iter();
    let publications = publications.map(|table| ("PUBLICATION", table));
    let all = triggers.chain(policies).chain(publications);
    let all: String = all.map(|(kind, attached)| attach(kind, attached)).collect();
    if all.is_empty() {
        return all;
    }
    let schemas = platform.schemas.iter().map(|schema| literal(schema));
    let schemas = format!("ARRAY[{}]::text[]", schemas.collect::<Vec<_>>().join(", "));
    let published = published(server_major);
    let there = [
        ("TRIGGER", TRIGGERS),
        ("POLICY", POLICIES),
        ("PUBLICATION", &published),
    ];
    let there = there.map(|(kind, asked)| {
        let asked = asked.replace("$1", &schemas);
        format!("SELECT '{kind}', asked.* FROM ({asked}) AS asked")
    });
    let columns = "(kind, schema, on_table, name, definition, state)";
    let there = there.join(" UNION ALL ");
    format!("\nCREATE TEMPORARY TABLE {THERE} {columns} ON COMMIT DROP AS {there};\n{all}")
}

/// What hangs on the platform's tables, in the transaction.
const THERE: &str = "xtask_db_attached";

fn attach(kind: &str, attached: &Attached) -> String {
    let on = format!("{}.{}", quoted(&attached.schema), quoted(&attached.table));
    let name = quoted(&attached.name);
    let drop = match kind {
        "PUBLICATION" => format!("ALTER {kind} {name} DROP TABLE ONLY {on}"),
        _ => format!("DROP {kind} IF EXISTS {name} ON {on}"),
    };
    let (schema, table) = (literal(&attached.schema), literal(&attached.table));
    let (name, definition) = (literal(&attached.name), literal(&attached.definition));
    // What is said of a publication as a whole needs no table put there anew. Of the others, what is
    // there under the name need not be of the kind that is listed.
    let (is_another, is_there) = match kind {
        "PUBLICATION" => (
            format!("there.definition IS DISTINCT FROM {definition}"),
            "there.name IS NOT NULL",
        ),
        _ => ("true".to_owned(), "true"),
    };
    let state = attached.state.as_deref().map(literal);
    let set = state.as_ref().map(|state| format!("EXECUTE {state};"));
    let body = format!(
        "\nDECLARE\n  there record;\nBEGIN\n  SELECT * INTO there FROM pg_temp.{THERE} t \
         WHERE t.schema = {schema} AND t.on_table = {table} AND t.name = {name} \
         AND t.kind = {kind};\n  \
         IF there.definition = {definition} AND there.state IS NOT DISTINCT FROM {state} THEN\n    \
         RETURN;\n  END IF;\n  \
         IF {is_another} THEN\n    \
         IF {is_there} THEN\n      EXECUTE {drop};\n    END IF;\n    \
         EXECUTE {definition};\n  END IF;\n  {set}\n\
         EXCEPTION WHEN OTHERS THEN\n  RAISE EXCEPTION '% cannot be made again: %', {what}, SQLERRM \
         USING ERRCODE = 'XD003';\nEND\n",
        kind = literal(kind),
        state = state.as_deref().unwrap_or("NULL"),
        drop = literal(&drop),
        set = set.unwrap_or_default(),
        what = literal(&attached.to_string()),
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
