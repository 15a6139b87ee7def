//! Less than all of a database: what `pg_dump` makes of the patterns, as it says itself, and what
//! of it could not be restored alone.

use std::collections::BTreeSet;
use std::io::{self, Read};

use anyhow::{Context, Result};
use sqlx::{AssertSqlSafe, Executor, PgConnection};
use xshell::cmd;

use super::Postgres;
use super::connect::quoted;
use super::dump::{LOCK_WAIT, Snapshot};
use super::inspect::{Table, begin_in};
use super::toc::entry_of;
use crate::interrupt::Interrupted;
use crate::tool::{self, Pipes, Running};
use crate::values::database::Contents;
use crate::values::failure::Failure;
use crate::values::kind::{ForeignKey, Kind, Only};
use crate::values::schema::Relation;

/// `pg_class` and `pg_namespace`, as a table of contents names them.
const CLASS: i64 = 1259;
const NAMESPACE: i64 = 2615;

/// Which objects a dump holds, by catalogue and number.
pub struct Held {
    definitions: BTreeSet<(i64, i64)>,
    /// Relations whose rows are in it.
    rows: BTreeSet<i64>,
    pub has_large_objects: bool,
}

/// What `pg_dump` is told besides where to read and what to write.
pub fn arguments(kind: &Kind, snapshot: &Snapshot) -> Vec<String> {
    let mut arguments: Vec<String> = match kind.only {
        Some(Only::Schema) => vec!["--schema-only".into()],
        Some(Only::Data) => vec!["--data-only".into()],
        None => Vec::new(),
    };
    let patterns = [
        ("schema", &kind.schemas),
        ("table", &kind.tables),
        ("exclude-table", &kind.without_tables),
        ("exclude-table-data", &kind.without_rows_of),
    ];
    for (flag, patterns) in patterns {
        arguments.extend(patterns.iter().map(|pattern| format!("--{flag}={pattern}")));
    }
    // As SQL writes it a pattern means nothing else.
    let history = snapshot.history_left_out.iter();
    arguments.extend(history.map(|table| format!("--exclude-table={table}")));
    let quoted = snapshot.platform.iter().map(|schema| quoted(schema));
    arguments.extend(quoted.map(|schema| format!("--exclude-schema={schema}")));
    if !kind.schemas.is_empty() || !kind.tables.is_empty() {
        arguments.push("--strict-names".into());
    }
    arguments
}

/// And what it is told of SQL as text.
pub fn plain_arguments(kind: &Kind) -> Vec<String> {
    let flags = [
        (kind.clean, "--clean"),
        // Into an empty database as well.
        (kind.clean, "--if-exists"),
        (kind.no_owner, "--no-owner"),
        (kind.no_privileges, "--no-privileges"),
    ];
    let flags = flags.into_iter().filter(|(is, _)| *is);
    flags.map(|(_, flag)| flag.to_owned()).collect()
}

/// Asks `pg_dump` itself, in the same moment and with the same patterns: its table of contents
/// comes before any row, and then it is ended.
pub fn held(postgres: &Postgres, snapshot: &Snapshot) -> Result<Held> {
    let kind = &postgres.selection.kind;
    require_matches(postgres, snapshot)?;
    let shell = tool::shell()?;
    let Snapshot { name, libpq, .. } = snapshot;
    let (path, dbname) = (&snapshot.pg_dump.path, &libpq.dbname);
    let more = arguments(kind, snapshot);
    let command = libpq.prepare(cmd!(
        shell,
        "{path} --format=custom --compress=0 --no-password --snapshot={name}
            --lock-wait-timeout={LOCK_WAIT} --dbname={dbname} {more...}"
    ));
    let mut dumping = Running::start(command, Pipes::Stdout, postgres.interrupt())?;
    let pg_restore = &snapshot.pg_restore.path;
    let command = cmd!(shell, "{pg_restore} --list").quiet();
    let command = command.env("LC_ALL", "C");
    let mut listing = Running::start(command, Pipes::Both, postgres.interrupt())?;
    let (mut from, mut to) = (dumping.take_stdout()?, listing.take_stdin()?);
    let mut stdout = listing.take_stdout()?;
    let mut list = Vec::new();
    let (read, listed) = std::thread::scope(|scope| {
        // It stops reading after the table of contents.
        scope.spawn(move || io::copy(&mut from, &mut to));
        let read = stdout.read_to_end(&mut list);
        let listed = listing.wait();
        if listed.is_ok() {
            dumping.kill();
        }
        (read, listed)
    });
    if let Err(error) = listed {
        dumping.wait().map_err(explain)?;
        return Err(error.context("cannot list what is to be dumped"));
    }
    read.context("cannot list what is to be dumped")?;
    Ok(Held::of(&String::from_utf8_lossy(&list)))
}

/// A pattern that leaves nothing out is as wrong as one that chooses nothing, and `pg_dump` takes
/// it without a word.
fn require_matches(postgres: &Postgres, snapshot: &Snapshot) -> Result<()> {
    let kind = &postgres.selection.kind;
    let patterns = kind.without_tables.iter().chain(&kind.without_rows_of);
    let tables: Vec<String> = patterns.map(|p| format!("--table={p}")).collect();
    if tables.is_empty() {
        return Ok(());
    }
    let shell = tool::shell()?;
    let Snapshot { name, libpq, .. } = snapshot;
    let (path, dbname) = (&snapshot.pg_dump.path, &libpq.dbname);
    let command = libpq.prepare(cmd!(
        shell,
        "{path} --schema-only --strict-names --file=/dev/null --no-password --snapshot={name}
            --lock-wait-timeout={LOCK_WAIT} --dbname={dbname} {tables...}"
    ));
    let running = Running::start(command, Pipes::None, postgres.interrupt())?;
    match running.wait().map_err(explain) {
        Err(error) if error.is::<Failure>() || error.is::<Interrupted>() => Err(error),
        // It has found all of them: one that may not be read is a reason to leave it out. What else
        // is wrong meets the dump as well.
        _ => Ok(()),
    }
}

fn explain(error: anyhow::Error) -> anyhow::Error {
    let said = error.root_cause().to_string();
    let no_match = said
        .split_once("no matching ")
        .and_then(|(_, rest)| rest.split_once(" were found for pattern "));
    let Some((what, pattern)) = no_match else {
        return error;
    };
    let what = if what == "tables" { "table" } else { "schema" };
    let pattern = pattern.lines().next().unwrap_or_default();
    let pattern = pattern.trim_matches('"');
    Failure::usage(format!("there is no {what} like `{pattern}`"))
        .hint(
            "`*` stands for anything; a name with capitals, dots or spaces is written in double \
             quotes: '\"Order Items\"'",
        )
        .into()
}

impl Held {
    fn of(list: &str) -> Held {
        let mut held = Held {
            definitions: BTreeSet::new(),
            rows: BTreeSet::new(),
            has_large_objects: false,
        };
        for line in list.lines() {
            let Some((catalogue, object)) = entry_of(line) else {
                continue;
            };
            let what = line.split(' ').nth(3).unwrap_or_default();
            held.has_large_objects |= what == "BLOBS";
            match catalogue {
                0 if object != 0 => held.rows.insert(object),
                0 => false,
                _ => held.definitions.insert((catalogue, object)),
            };
        }
        held
    }

    pub fn relations(&self) -> Vec<i64> {
        let relations = self.definitions.iter().filter(|(of, _)| *of == CLASS);
        relations.map(|(_, object)| *object).collect()
    }

    pub fn rows(&self) -> Vec<i64> {
        self.rows.iter().copied().collect()
    }

    pub fn has_rows_of(&self, relation: Option<i64>) -> bool {
        relation.is_some_and(|relation| self.rows.contains(&relation))
    }

    /// Those whose rows are in the dump, and those that come back without any.
    pub fn sort(&self, tables: Vec<Table>) -> (Vec<Table>, Vec<Table>) {
        let is_defined = |table: &Table| self.definitions.contains(&(CLASS, table.oid));
        let (with, without): (Vec<_>, Vec<_>) = tables
            .into_iter()
            .filter(|table| is_defined(table) || self.rows.contains(&table.oid))
            .partition(|table| self.rows.contains(&table.oid) || table.is_partitioned());
        // A materialized view that is not filled counts for nothing.
        let without = without.into_iter().filter(Table::is_stored).collect();
        (with, without)
    }

    /// Leaves of the relations those whose definitions are in the dump.
    pub async fn narrow(
        &self,
        session: &mut PgConnection,
        relations: Vec<Relation>,
    ) -> Result<Vec<Relation>> {
        let names: Vec<(String, String)> = sqlx::query_as(
            "SELECT n.nspname::text, c.relname::text FROM pg_catalog.pg_class c \
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             WHERE c.oid::bigint = ANY($1)",
        )
        .bind(self.relations())
        .fetch_all(session)
        .await
        .context("cannot ask for the names of what is dumped")?;
        let names: BTreeSet<(String, String)> = names.into_iter().collect();
        let is_held = |relation: &Relation| names.contains(&relation.full_name());
        Ok(relations.into_iter().filter(is_held).collect())
    }

    /// What the dump refers to and does not hold, but for the keys that stay; written into its
    /// kind, and taken out of what will be compared. Returns what a person must know.
    pub async fn note_gaps(
        &self,
        session: &mut PgConnection,
        snapshot: &str,
        kind: &mut Kind,
        contents: &mut Contents,
        stay: &[ForeignKey],
    ) -> Result<Vec<String>> {
        let context = "cannot ask what the dump depends on";
        session
            .execute(AssertSqlSafe(begin_in(Some(snapshot))))
            .await
            .context(context)?;
        let gaps = self.gaps(session, kind).await.context(context);
        session.execute("COMMIT").await.context(context)?;
        let mut warnings = gaps?;
        let keys = &mut kind.foreign_keys_left_out;
        keys.retain(|key| !stay.contains(key));
        for key in &kind.foreign_keys_left_out {
            contents.lacks(key);
            let what = match kind.plain {
                true => "stands in the text, which cannot be read without it",
                false => "will not come back",
            };
            warnings.push(format!(
                "the foreign key `{}` of `{}.{}` {what}: `{}` or its rows are not in the dump",
                key.name, key.schema, key.table, key.refers_to
            ));
        }
        if !kind.needs.is_empty() {
            warnings.push(format!(
                "it cannot be restored alone: it needs {}",
                kind.needs.join(", ")
            ));
        }
        Ok(warnings)
    }

    async fn gaps(&self, session: &mut PgConnection, kind: &mut Kind) -> Result<Vec<String>> {
        let relations = self.relations();
        let keys: Vec<KeyRow> = sqlx::query_as(FOREIGN_KEYS)
            .bind(&relations)
            .bind(self.rows())
            .fetch_all(&mut *session)
            .await?;
        kind.foreign_keys_left_out = keys.into_iter().map(foreign_key).collect();
        let (catalogues, objects): (Vec<i64>, Vec<i64>) = self.definitions.iter().copied().unzip();
        kind.needs = sqlx::query_scalar(NEEDS)
            .bind(&catalogues)
            .bind(&objects)
            .fetch_all(&mut *session)
            .await?;
        let made = self.definitions.iter().filter(|(of, _)| *of == NAMESPACE);
        let made: Vec<i64> = made.map(|(_, schema)| *schema).collect();
        kind.schemas_needed = sqlx::query_scalar(SCHEMAS)
            .bind(&relations)
            .bind(&made)
            .fetch_all(&mut *session)
            .await?;
        let parts: Vec<(String, i64)> = sqlx::query_as(PARTITIONS)
            .bind(&relations)
            .fetch_all(session)
            .await?;
        let line = |(table, parts): (String, i64)| {
            format!(
                "`{table}` is partitioned, and the rows of {parts} of its partitions are not in \
                 the dump: name them too, such as `--table '{table}*'`"
            )
        };
        Ok(parts.into_iter().map(line).collect())
    }
}

pub type KeyRow = (i64, String, String, String, String);

pub fn foreign_key((oid, schema, table, name, refers_to): KeyRow) -> ForeignKey {
    ForeignKey {
        oid,
        schema,
        table,
        name,
        refers_to,
    }
}

/// To tables that are not in the dump, and of rows that are to rows that are not. Those of a
/// partitioned table are its partitions'.
const FOREIGN_KEYS: &str = "\
WITH RECURSIVE keys AS ( \
  SELECT oid, conname, conrelid, confrelid FROM pg_catalog.pg_constraint \
  WHERE contype = 'f' AND conparentid = 0 AND conrelid::bigint = ANY($1)), \
parts AS ( \
  (SELECT conrelid AS whole, conrelid AS part FROM keys UNION SELECT confrelid, confrelid FROM keys) \
  UNION SELECT parts.whole, i.inhrelid FROM parts \
    JOIN pg_catalog.pg_inherits i ON i.inhparent = parts.part \
    JOIN pg_catalog.pg_class p ON p.oid = i.inhrelid AND p.relispartition), \
stored AS ( \
  SELECT parts.whole, bool_or(p.oid::bigint = ANY($2)) AS any_of_it, bool_and(p.oid::bigint = ANY($2)) AS all_of_it \
  FROM parts JOIN pg_catalog.pg_class p ON p.oid = parts.part AND p.relkind = 'r' GROUP BY 1) \
SELECT k.oid::bigint, n.nspname::text, c.relname::text, k.conname::text, \
  rn.nspname || '.' || r.relname \
FROM keys k \
JOIN pg_catalog.pg_class c ON c.oid = k.conrelid \
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
JOIN pg_catalog.pg_class r ON r.oid = k.confrelid \
JOIN pg_catalog.pg_namespace rn ON rn.oid = r.relnamespace \
LEFT JOIN stored own ON own.whole = k.conrelid \
LEFT JOIN stored other ON other.whole = k.confrelid \
WHERE NOT k.confrelid::bigint = ANY($1) OR (own.any_of_it AND NOT other.all_of_it) \
ORDER BY 2, 3, 4";

/// One step far: each object of the dump has its own line in it. An array is its elements; the
/// type of a row comes with its table.
const NEEDS: &str = "\
WITH held AS (SELECT classid::oid, objid::oid FROM unnest($1, $2) AS t(classid, objid)), \
parts AS ( \
  SELECT classid, objid FROM held \
  UNION SELECT 'pg_catalog.pg_attrdef'::regclass, d.oid FROM pg_catalog.pg_attrdef d \
    JOIN held h ON h.classid = 'pg_catalog.pg_class'::regclass AND h.objid = d.adrelid \
  UNION SELECT 'pg_catalog.pg_rewrite'::regclass, d.oid FROM pg_catalog.pg_rewrite d \
    JOIN held h ON h.classid = 'pg_catalog.pg_class'::regclass AND h.objid = d.ev_class \
  UNION SELECT 'pg_catalog.pg_constraint'::regclass, d.oid FROM pg_catalog.pg_constraint d \
    JOIN held h ON h.classid = 'pg_catalog.pg_class'::regclass AND h.objid = d.conrelid \
      AND d.contype <> 'f'), \
referred AS ( \
  SELECT d.refclassid, CASE WHEN e.typelem <> 0 AND e.typcategory = 'A' THEN e.typelem \
      ELSE d.refobjid END AS refobjid \
  FROM pg_catalog.pg_depend d JOIN parts p ON p.classid = d.classid AND p.objid = d.objid \
  LEFT JOIN pg_catalog.pg_type e \
    ON d.refclassid = 'pg_catalog.pg_type'::regclass AND e.oid = d.refobjid \
  WHERE d.deptype = 'n' AND NOT (d.classid = 'pg_catalog.pg_constraint'::regclass AND EXISTS ( \
    SELECT FROM pg_catalog.pg_constraint k WHERE k.oid = d.objid AND k.contype = 'f'))) \
SELECT DISTINCT pg_catalog.pg_describe_object(r.refclassid, r.refobjid, 0) FROM referred r \
WHERE r.refobjid >= 16384 AND r.refclassid <> 'pg_catalog.pg_namespace'::regclass \
  AND NOT EXISTS (SELECT FROM held h WHERE h.classid = r.refclassid AND h.objid = r.refobjid) \
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_type t \
    JOIN held h ON h.classid = 'pg_catalog.pg_class'::regclass AND h.objid = t.typrelid \
    WHERE r.refclassid = 'pg_catalog.pg_type'::regclass AND t.oid = r.refobjid) \
  AND NOT (r.refclassid = 'pg_catalog.pg_class'::regclass AND EXISTS ( \
    SELECT FROM pg_catalog.pg_inherits i WHERE i.inhparent = r.refobjid)) \
ORDER BY 1";

const SCHEMAS: &str = "\
SELECT DISTINCT n.nspname::text FROM pg_catalog.pg_class c \
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
WHERE c.oid::bigint = ANY($1) AND NOT n.oid::bigint = ANY($2) AND n.nspname <> 'public' ORDER BY 1";

const PARTITIONS: &str = "\
SELECT n.nspname || '.' || p.relname, count(*) FROM pg_catalog.pg_inherits i \
JOIN pg_catalog.pg_class p ON p.oid = i.inhparent AND p.relkind = 'p' \
JOIN pg_catalog.pg_namespace n ON n.oid = p.relnamespace \
WHERE i.inhparent::bigint = ANY($1) AND NOT i.inhrelid::bigint = ANY($1) GROUP BY 1 ORDER BY 1";
