//! Tables of a scratch database, taken out of all that they are part of there,
//! so that `pg_dump` can describe them alone. What is changed goes away with it.

use anyhow::{Context, Result};
use sqlx::{AssertSqlSafe, Executor, PgConnection};

use super::along::{self, Along};
use super::connect::quoted;
use crate::values::database::TableRows;

/// What the transaction begins with: every name says where it is, and triggers
/// on events of the database that the backup may hold do not interfere.
const BEGIN: &str =
    "BEGIN; SET LOCAL default_transaction_read_only = off; SET LOCAL search_path = ''";
const NO_EVENT_TRIGGERS: &str = "SET LOCAL session_replication_role = replica";

/// A schema of the backup, and the one that stands for it meanwhile.
pub struct Gathered {
    pub schema: String,
    pub name: String,
}

/// A table, or a partition of one.
pub struct Piece {
    oid: i64,
    pub schema: String,
    pub name: String,
    /// Whether rows are in it, and not in its partitions.
    pub has_rows: bool,
    /// Those that are no function of others.
    pub columns: Vec<String>,
}

pub struct Sequence {
    /// In SQL.
    pub name: String,
    pub last_value: i64,
    pub is_called: bool,
}

pub struct Carved {
    pub gathered: Vec<Gathered>,
    pub pieces: Vec<Piece>,
    pub along: Vec<Along>,
    pub sequences: Vec<Sequence>,
    /// What does not come along, or otherwise; one line each.
    pub notes: Vec<String>,
}

impl Carved {
    /// The schema in which what was in this one is gathered.
    pub fn gathered<'a>(&'a self, schema: &'a str) -> &'a str {
        let found = self.gathered.iter().find(|g| g.schema == schema);
        found.map_or(schema, |gathered| &gathered.name)
    }

    /// Where a piece is meanwhile, in SQL.
    pub fn place(&self, piece: &Piece) -> String {
        let schema = quoted(self.gathered(&piece.schema));
        format!("{schema}.{}", quoted(&piece.name))
    }
}

/// `there` is a session of the database that they are meant for: what it has
/// already need not come along.
pub async fn carve(
    session: &mut PgConnection,
    there: &mut PgConnection,
    tables: &[TableRows],
    is_superuser: bool,
) -> Result<Carved> {
    let mut begin = BEGIN.to_owned();
    if is_superuser {
        begin += "; ";
        begin += NO_EVENT_TRIGGERS;
    }
    run(session, begin).await?;
    let pieces = pieces(session, tables).await?;
    let oids: Vec<i64> = pieces.iter().map(|piece| piece.oid).collect();
    let mut notes = Vec::new();
    for question in STAYS {
        let found: Vec<(String, String)> = sqlx::query_as(*question)
            .bind(&oids)
            .fetch_all(&mut *session)
            .await
            .context("cannot ask what belongs to the tables")?;
        for (statement, note) in found {
            run(session, statement).await?;
            notes.extend((!note.is_empty()).then_some(note));
        }
    }
    notes.dedup();
    let along = along::find(session, there, &oids).await?;
    let schemas = pieces.iter().map(|piece| piece.schema.as_str());
    let schemas = schemas.chain(along.iter().map(|along| along.schema.as_str()));
    let gathered = gather(session, schemas).await?;
    let mut carved = Carved {
        gathered,
        pieces,
        along,
        sequences: Vec::new(),
        notes,
    };
    move_all(session, &mut carved).await?;
    let moved = carved.along.iter();
    let moved = moved.map(|along| format!("{} `{}` comes along", along.kind, along.identity));
    carved.notes.extend(moved);
    carved.sequences = sequences(session, &carved.gathered).await?;
    run(session, "COMMIT".into()).await?;
    Ok(carved)
}

async fn run(session: &mut PgConnection, sql: String) -> Result<()> {
    let context = "cannot take the tables out of the scratch database";
    session.execute(AssertSqlSafe(sql)).await.context(context)?;
    Ok(())
}

async fn pieces(session: &mut PgConnection, tables: &[TableRows]) -> Result<Vec<Piece>> {
    type Row = (i64, String, String, bool, Vec<String>);
    let schemas: Vec<&str> = tables.iter().map(|table| table.schema.as_str()).collect();
    let names: Vec<&str> = tables.iter().map(|table| table.name.as_str()).collect();
    let rows: Vec<Row> = sqlx::query_as(PIECES)
        .bind(schemas)
        .bind(names)
        .fetch_all(session)
        .await
        .context("cannot look for the tables")?;
    let piece = |(oid, schema, name, has_rows, columns): Row| Piece {
        oid,
        schema,
        name,
        has_rows,
        columns,
    };
    Ok(rows.into_iter().map(piece).collect())
}

/// A schema for each of these, under a name that nobody else uses.
async fn gather<'a>(
    session: &mut PgConnection,
    schemas: impl Iterator<Item = &'a str>,
) -> Result<Vec<Gathered>> {
    let mut gathered: Vec<Gathered> = Vec::new();
    let unique: String = sqlx::query_scalar(
        "SELECT pg_catalog.md5(pg_catalog.random()::text || pg_catalog.clock_timestamp()::text)",
    )
    .fetch_one(&mut *session)
    .await
    .context("cannot ask for a name")?;
    for schema in schemas {
        if gathered.iter().any(|known| known.schema == schema) {
            continue;
        }
        let name = format!("xtask_db_{}_{unique}", gathered.len());
        run(session, format!("CREATE SCHEMA {name}")).await?;
        gathered.push(Gathered {
            schema: schema.to_owned(),
            name,
        });
    }
    Ok(gathered)
}

/// With a table move its indexes, constraints and own sequences. A function is
/// known by the types of its arguments: it goes before they do.
async fn move_all(session: &mut PgConnection, carved: &mut Carved) -> Result<()> {
    for piece in &carved.pieces {
        let from = format!("{}.{}", quoted(&piece.schema), quoted(&piece.name));
        let to = quoted(carved.gathered(&piece.schema));
        run(session, format!("ALTER TABLE {from} SET SCHEMA {to}")).await?;
    }
    carved.along.sort_by_key(Along::is_type);
    let places: Vec<String> = carved
        .along
        .iter()
        .map(|a| quoted(carved.gathered(&a.schema)))
        .collect();
    for (along, to) in carved.along.iter_mut().zip(places) {
        along.place_before = along::identity(session, along).await?;
        let from = &along.place_before;
        let kind = along.kind.to_uppercase();
        run(session, format!("ALTER {kind} {from} SET SCHEMA {to}")).await?;
    }
    for along in &mut carved.along {
        along.place_before = along::identity(session, along).await?;
    }
    Ok(())
}

async fn sequences(session: &mut PgConnection, gathered: &[Gathered]) -> Result<Vec<Sequence>> {
    let schemas: Vec<&str> = gathered.iter().map(|g| g.name.as_str()).collect();
    let names: Vec<String> = sqlx::query_scalar(
        "SELECT format('%I.%I', n.nspname, c.relname) FROM pg_catalog.pg_class c \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.relkind = 'S' AND n.nspname = ANY($1)",
    )
    .bind(schemas)
    .fetch_all(&mut *session)
    .await
    .context("cannot list the sequences")?;
    let mut sequences = Vec::new();
    for name in names {
        let question = format!("SELECT last_value, is_called FROM {name}");
        let (last_value, is_called) = sqlx::query_as(AssertSqlSafe(question))
            .persistent(false)
            .fetch_one(&mut *session)
            .await
            .with_context(|| format!("cannot read the sequence {name}"))?;
        sequences.push(Sequence {
            name,
            last_value,
            is_called,
        });
    }
    Ok(sequences)
}

/// The tables that were asked for, and all partitions of each.
const PIECES: &str = "\
WITH RECURSIVE asked AS ( \
  SELECT c.oid FROM unnest($1::text[], $2::text[]) AS w(schema, name) \
  JOIN pg_catalog.pg_namespace n ON n.nspname = w.schema \
  JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = w.name \
    AND c.relkind IN ('r', 'p')), \
all_of AS ( \
  SELECT oid FROM asked UNION SELECT c.oid FROM all_of \
  JOIN pg_catalog.pg_inherits i ON i.inhparent = all_of.oid \
  JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid AND c.relispartition \
    AND c.relkind IN ('r', 'p')) \
SELECT c.oid::bigint, n.nspname::text, c.relname::text, c.relkind = 'r', \
  ARRAY(SELECT a.attname::text FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid \
    AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '' ORDER BY a.attnum) \
FROM all_of JOIN pg_catalog.pg_class c ON c.oid = all_of.oid \
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace ORDER BY c.oid";

/// What is taken off the tables whose oids are `$1`: a statement, and what to say of it.
const STAYS: &[&str] = &[
    "SELECT CASE WHEN c.relispartition \
       THEN format('ALTER TABLE %s DETACH PARTITION %s', i.inhparent::regclass, c.oid::regclass) \
       ELSE format('ALTER TABLE %s NO INHERIT %s', c.oid::regclass, i.inhparent::regclass) END, \
       CASE WHEN c.relispartition \
       THEN format('`%s` comes as a table of its own, not as a partition of `%s`', \
         c.oid::regclass, i.inhparent::regclass) \
       ELSE format('`%s` no longer inherits from `%s`', c.oid::regclass, i.inhparent::regclass) END \
     FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid \
     WHERE i.inhrelid = ANY($1::bigint[]::oid[]) AND i.inhparent <> ALL($1::bigint[]::oid[])",
    "SELECT format('ALTER TABLE %s DROP CONSTRAINT %I', k.conrelid::regclass, k.conname), \
       format('without the foreign key `%s` of `%s`: `%s` does not come along', \
         k.conname, k.conrelid::regclass, k.confrelid::regclass) \
     FROM pg_catalog.pg_constraint k WHERE k.contype = 'f' AND k.conparentid = 0 \
       AND k.conrelid = ANY($1::bigint[]::oid[]) AND k.confrelid <> ALL($1::bigint[]::oid[])",
    "SELECT format('DROP TRIGGER IF EXISTS %I ON %s', t.tgname, t.tgrelid::regclass), \
       CASE WHEN c.relispartition THEN '' \
       ELSE format('without the trigger `%s` of `%s`', t.tgname, t.tgrelid::regclass) END \
     FROM pg_catalog.pg_trigger t JOIN pg_catalog.pg_class c ON c.oid = t.tgrelid \
     WHERE NOT t.tgisinternal AND t.tgrelid = ANY($1::bigint[]::oid[]) \
     ORDER BY c.relispartition, c.oid",
    "SELECT format('DROP POLICY %I ON %s', p.polname, p.polrelid::regclass), \
       format('without the policy `%s` of `%s`', p.polname, p.polrelid::regclass) \
     FROM pg_catalog.pg_policy p WHERE p.polrelid = ANY($1::bigint[]::oid[])",
    "SELECT format('ALTER TABLE %s DISABLE ROW LEVEL SECURITY, NO FORCE ROW LEVEL SECURITY', \
         c.oid::regclass), format('without the row-level security of `%s`', c.oid::regclass) \
     FROM pg_catalog.pg_class c WHERE (c.relrowsecurity OR c.relforcerowsecurity) \
       AND c.oid = ANY($1::bigint[]::oid[])",
    "SELECT format('DROP RULE %I ON %s', r.rulename, r.ev_class::regclass), \
       format('without the rule `%s` of `%s`', r.rulename, r.ev_class::regclass) \
     FROM pg_catalog.pg_rewrite r WHERE r.ev_class = ANY($1::bigint[]::oid[])",
    "SELECT format('DROP STATISTICS %I.%I', n.nspname, s.stxname), \
       format('without the extended statistics `%s` of `%s`', s.stxname, s.stxrelid::regclass) \
     FROM pg_catalog.pg_statistic_ext s JOIN pg_catalog.pg_namespace n ON n.oid = s.stxnamespace \
     WHERE s.stxrelid = ANY($1::bigint[]::oid[])",
    // One that another table uses as well would be advanced by both.
    "SELECT DISTINCT format('ALTER TABLE %s ALTER COLUMN %I DROP DEFAULT', a.attrelid::regclass, a.attname), \
       format('without the default of `%s` in `%s`: the sequence `%s` is not its own', \
         a.attname, a.attrelid::regclass, s.oid::regclass) \
     FROM pg_catalog.pg_attrdef d \
     JOIN pg_catalog.pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum \
     JOIN pg_catalog.pg_depend p ON p.classid = 'pg_catalog.pg_attrdef'::regclass AND p.objid = d.oid \
       AND p.refclassid = 'pg_catalog.pg_class'::regclass \
     JOIN pg_catalog.pg_class s ON s.oid = p.refobjid AND s.relkind = 'S' \
     WHERE d.adrelid = ANY($1::bigint[]::oid[]) AND NOT EXISTS ( \
       SELECT FROM pg_catalog.pg_depend o WHERE o.classid = 'pg_catalog.pg_class'::regclass \
         AND o.objid = s.oid AND o.deptype IN ('a', 'i') \
         AND o.refclassid = 'pg_catalog.pg_class'::regclass \
         AND o.refobjid = ANY($1::bigint[]::oid[]))",
    // Nothing is taken off; it is only said.
    "SELECT 'SELECT 1', format('large objects that `%s` of `%s` may name do not come along', \
         a.attname, a.attrelid::regclass) \
     FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid \
     WHERE a.attrelid = ANY($1::bigint[]::oid[]) AND a.attnum > 0 AND NOT a.attisdropped \
       AND t.typname IN ('oid', 'lo') \
       AND EXISTS (SELECT FROM pg_catalog.pg_largeobject_metadata)",
];
