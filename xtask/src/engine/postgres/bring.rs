//! Tables of a backup beside what a database holds: the backup is restored into
//! a scratch database, compared, the tables are taken out of that and copied
//! over, in one transaction in which they are counted before it is committed.

use anyhow::{Context, Result};
use futures_util::StreamExt;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};

use super::carve::{self, Carved, Piece};
use super::connect::{self, quoted};
use super::definitions::{adapted, described};
use super::fingerprint::{self, ROW, SETTINGS};
use super::scratch::{self, PostgresScratch};
use super::{Postgres, in_place, inspect, platform};
use crate::engine::{Brought, Scratch, TablesOrder};
use crate::values::database::TableRows;
use crate::values::database_url::{DatabaseUrl, PostgresUrl};
use crate::values::failure::{Failure, is_after_change};
use crate::values::progress::Progress;
use crate::values::words::on_one_line;

mod created;
mod replace;

/// What a dump begins with may have taken the limit away.
const LOCK_TIMEOUT: &str = "SET LOCAL lock_timeout = '60s'";
const NOTHING_CHANGED: &str = "the tables were not brought over; the database is as it was";

pub fn bring(
    postgres: &mut Postgres,
    order: &TablesOrder,
    progress: &dyn Progress,
) -> Result<Brought> {
    let elsewhere = scratch_server(postgres, order)?;
    let mut scratch = scratch::build(postgres, elsewhere, &order.scratch, false, progress)
        .context("cannot build a scratch database from the backup")?;
    let mut notes = scratch.warnings().to_vec();
    notes.extend(platform::keys_left(order));
    // As late as can be: what ends this run before leaves no database.
    let created = created::create_if_missing(postgres, order.scratch.dump)?;
    progress.begin("bring over", None);
    let brought = hand_over(postgres, order, &mut scratch);
    progress.end();
    let brought = brought.map_err(|error| as_it_was(postgres, created.as_deref(), error));
    notes.extend(brought?);
    if let Err(error) = Box::new(scratch).remove() {
        notes.push(format!("{error:#}"));
    }
    Ok(Brought { notes })
}

/// What failed, and that nothing came of it, unless nobody knows.
fn as_it_was(postgres: &Postgres, created: Option<&str>, error: anyhow::Error) -> anyhow::Error {
    if is_after_change(&error) {
        return error;
    }
    let error = explain(error).context(NOTHING_CHANGED);
    let Some(name) = created else {
        return error;
    };
    match created::drop_if_empty(postgres, name) {
        Ok(()) => error,
        Err(why) => error.context(format!(
            "the database `{}`, which was made for them, is left: {why:#}",
            on_one_line(name)
        )),
    }
}

/// Another database has a server of its own: the live one need not work for it.
fn scratch_server<'a>(
    postgres: &'a Postgres,
    order: &'a TablesOrder,
) -> Result<Option<&'a PostgresUrl>> {
    let named = DatabaseUrl::scratch_server(order.scratch.elsewhere)?;
    Ok(named.or(order.schema.is_none().then_some(&postgres.url)))
}

/// All of the transaction, to the answer to its COMMIT.
fn hand_over(
    postgres: &Postgres,
    order: &TablesOrder,
    scratch: &mut PostgresScratch,
) -> Result<Vec<String>> {
    let runtime = &postgres.runtime;
    let (carved, mut from, mut to) = runtime.block_on(async {
        let mut to = connect::connect(&postgres.url).await?;
        to.session.execute("SET search_path = ''").await?;
        let mut from = connect::connect_to(&scratch.postgres.url, Some(&scratch.name)).await?;
        let is_superuser = scratch.target.is_superuser;
        let tables = order.tables;
        let carved = carve::carve(&mut from.session, &mut to.session, tables, is_superuser).await?;
        anyhow::Ok((carved, from, to))
    })?;
    let before = described(scratch, &carved, "pre-data", order)?;
    let after = described(scratch, &carved, "post-data", order)?;
    let major = to.server_major;
    let (from, to) = (&mut from.session, &mut to.session);
    let (number, rights) = runtime.block_on(async {
        to.execute(
            "BEGIN; SET LOCAL default_transaction_read_only = off; SET TRANSACTION READ WRITE",
        )
        .await?;
        let number: i64 = sqlx::query_scalar("SELECT txid_current()")
            .fetch_one(&mut *to)
            .await?;
        run(to, adapted(&before, major)).await?;
        run(to, format!("{LOCK_TIMEOUT}; {SETTINGS}")).await?;
        for piece in carved.pieces.iter().filter(|piece| piece.has_rows) {
            let copied = copy(from, to, &carved, piece).await;
            copied.with_context(|| format!("cannot copy the rows of `{}`", piece.name))?;
        }
        for sequence in &carved.sequences {
            set(to, sequence).await?;
        }
        run(to, adapted(&after, major)).await?;
        run(to, format!("{LOCK_TIMEOUT}; {SETTINGS}")).await?;
        replace::drop_all(to, order.replace).await?;
        put_in_place(to, &carved, order).await?;
        // When nothing more is done to them: the database may have triggers of its own on that.
        for table in order.tables {
            compare(from, to, &carved, (order, table)).await?;
        }
        anyhow::Ok((number, rights(to, order).await?))
    })?;
    commit(postgres, to, number)?;
    let mut notes = carved.notes;
    notes.push(rights);
    Ok(notes)
}

/// The truth is the server's, when its answer does not come.
fn commit(postgres: &Postgres, session: &mut PgConnection, number: i64) -> Result<()> {
    postgres.interrupt().check()?;
    postgres.runtime.block_on_to_the_end(async {
        match session.execute("COMMIT").await {
            Ok(_) => Ok(()),
            Err(error) if connect::is_answer(&error) => Err(error).context("cannot commit"),
            Err(_) => in_place::require_committed(postgres, number).await,
        }
    })
}

async fn run(session: &mut PgConnection, sql: String) -> Result<()> {
    session.execute(AssertSqlSafe(sql)).await?;
    Ok(())
}

/// As text: the numbers of types in the binary form are the other database's.
async fn copy(
    from: &mut PgConnection,
    to: &mut PgConnection,
    carved: &Carved,
    piece: &Piece,
) -> Result<()> {
    let columns: Vec<String> = piece.columns.iter().map(|name| quoted(name)).collect();
    let columns = match columns.is_empty() {
        true => String::new(),
        false => format!(" ({})", columns.join(", ")),
    };
    let place = carved.place(piece);
    let begin = inspect::begin_in(None) + "; SET LOCAL row_security = off; " + SETTINGS;
    run(from, begin).await?;
    let mut read = from
        .copy_out_raw(&format!("COPY {place}{columns} TO STDOUT"))
        .await?;
    let mut write = to
        .copy_in_raw(&format!("COPY {place}{columns} FROM STDIN"))
        .await?;
    while let Some(bytes) = read.next().await {
        write.send(bytes?).await?;
    }
    write.finish().await?;
    drop(read);
    run(from, "COMMIT".into()).await
}

async fn set(session: &mut PgConnection, sequence: &carve::Sequence) -> Result<()> {
    sqlx::query("SELECT pg_catalog.setval($1::regclass, $2, $3)")
        .bind(&sequence.name)
        .bind(sequence.last_value)
        .bind(sequence.is_called)
        .execute(session)
        .await
        .with_context(|| format!("cannot set the sequence {}", sequence.name))?;
    Ok(())
}

/// Rows, and values where the backup knows them, against the manifest. Of a single partition the
/// rows may be others, which its table accounts for: it has those of the scratch database.
async fn compare(
    from: &mut PgConnection,
    to: &mut PgConnection,
    carved: &Carved,
    (order, table): (&TablesOrder<'_>, &TableRows),
) -> Result<()> {
    let pieces = &mut carved.pieces.iter();
    let piece = pieces.find(|piece| (piece.schema.as_str(), piece.name.as_str()) == table.key());
    let missing = || Failure::untrusted(format!("table `{table}` did not come out of the backup"));
    let piece = piece.ok_or_else(missing)?;
    let only = if piece.has_rows { "ONLY " } else { "" };
    let wanted = match table.kind.is_table() {
        true => table.clone(),
        false => {
            let begin = inspect::begin_in(None) + "; SET LOCAL row_security = off; " + SETTINGS;
            run(from, begin).await?;
            let place = format!("{only}{}", carved.place(piece));
            let wanted = measured(from, &place, &piece.columns, table).await?;
            run(from, "COMMIT".into()).await?;
            wanted
        }
    };
    let (schema, name) = order.destination(table);
    let place = format!("{only}{}.{}", quoted(&schema), quoted(&name));
    let found = measured(to, &place, &piece.columns, table).await?;
    match wanted.difference(&found) {
        Some(difference) => Err(Failure::untrusted(difference).into()),
        None => Ok(()),
    }
}

/// The rows of `place`, and what their values add up to where that of the table is known.
async fn measured(
    session: &mut PgConnection,
    place: &str,
    columns: &[String],
    table: &TableRows,
) -> Result<TableRows> {
    let mut columns = columns.to_vec();
    columns.sort();
    let sum = match &table.fingerprint {
        Some(_) => fingerprint::sum(&columns),
        None => "NULL::text".into(),
    };
    let question = format!("SELECT count(*), {sum} FROM {place} AS {ROW}");
    let (rows, sum): (i64, Option<String>) = sqlx::query_as(AssertSqlSafe(question))
        .persistent(false)
        .fetch_one(session)
        .await
        .with_context(|| format!("cannot count the rows of `{table}`"))?;
    let sum = sum.map(|sum| sum.parse()).transpose();
    let sum = sum.context("a fingerprint is no number")?;
    Ok(TableRows {
        rows: rows.unsigned_abs(),
        fingerprint: sum.map(fingerprint::text),
        ..table.clone()
    })
}

/// From the schemas in which they were gathered, which must be empty then.
async fn put_in_place(
    to: &mut PgConnection,
    carved: &Carved,
    order: &TablesOrder<'_>,
) -> Result<()> {
    for gathered in &carved.gathered {
        let schema = order.schema.unwrap_or(&gathered.schema);
        let exists: bool = sqlx::query_scalar(
            "SELECT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = $1)",
        )
        .bind(schema)
        .fetch_one(&mut *to)
        .await?;
        if !exists {
            run(to, format!("CREATE SCHEMA {}", quoted(schema))).await?;
        }
    }
    let schema_of = |schema: &str| quoted(order.schema.unwrap_or(schema));
    for piece in &carved.pieces {
        let to_schema = schema_of(&piece.schema);
        let place = carved.place(piece);
        run(to, format!("ALTER TABLE {place} SET SCHEMA {to_schema}")).await?;
    }
    for along in &carved.along {
        let (kind, place) = (along.kind.to_uppercase(), &along.place_before);
        let to_schema = schema_of(&along.schema);
        run(to, format!("ALTER {kind} {place} SET SCHEMA {to_schema}")).await?;
    }
    for gathered in &carved.gathered {
        run(to, format!("DROP SCHEMA {}", gathered.name)).await?;
    }
    Ok(())
}

/// Who may read them now: `pg_dump` has brought no grants, and yet the role may have some by default.
async fn rights(to: &mut PgConnection, order: &TablesOrder<'_>) -> Result<String> {
    let (schemas, names): (Vec<String>, Vec<String>) = order
        .tables
        .iter()
        .map(|table| order.destination(table))
        .unzip();
    let granted: Vec<String> = sqlx::query_scalar(GRANTED)
        .bind(schemas)
        .bind(names)
        .fetch_all(to)
        .await
        .context("cannot ask who has rights on the tables")?;
    Ok(match granted.is_empty() {
        true => {
            "they belong to the role that brought them, and nobody else has rights on them".into()
        }
        false => format!(
            "they belong to the role that brought them; by its default privileges others have rights on {}",
            granted.join(", ")
        ),
    })
}

const GRANTED: &str = "\
SELECT pg_catalog.format('%I.%I', n.nspname, c.relname) \
FROM unnest($1::text[], $2::text[]) AS w(schema, name) \
JOIN pg_catalog.pg_namespace n ON n.nspname = w.schema \
JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname = w.name \
WHERE EXISTS (SELECT FROM pg_catalog.aclexplode(c.relacl) a WHERE a.grantee <> c.relowner) ORDER BY 1";

/// What the server refuses for a reason that a person can do something about.
fn explain(error: anyhow::Error) -> anyhow::Error {
    let code = error.chain().find_map(|cause| {
        let error = cause.downcast_ref::<sqlx::Error>()?.as_database_error()?;
        Some(error.code()?.into_owned())
    });
    let (what, hint) = match code.as_deref() {
        Some("42P07" | "42710" | "42723" | "42809") => (
            "something of that name is there already",
            "choose a schema or database that has nothing of that name",
        ),
        Some("2BP01") => (
            "something needs the table that is there",
            "choose another schema or database; nothing is dropped along with a table",
        ),
        Some("42501") => (
            "the role may not do that there",
            "GRANT CREATE ON DATABASE … TO …; or bring them into another database with `--into`",
        ),
        _ => return error,
    };
    error.context(Failure::refused(what).hint(hint))
}

/// Tables, types and whatever else would be in the way of a table of that name.
pub async fn taken(url: &PostgresUrl, names: &[(String, String)]) -> Result<Vec<String>> {
    let mut connected = match connect::connect(url).await {
        Ok(connected) => connected,
        Err(error) if connect::is_missing_database(&error) => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let (schemas, names): (Vec<&str>, Vec<&str>) = names
        .iter()
        .map(|(schema, name)| (schema.as_str(), name.as_str()))
        .unzip();
    let lines = sqlx::query_scalar(TAKEN)
        .bind(schemas)
        .bind(names)
        .fetch_all(&mut connected.session)
        .await
        .context("cannot look for tables of these names")?;
    connected.session.close().await?;
    Ok(lines)
}

const TAKEN: &str = "\
SELECT pg_catalog.format('%I.%I', w.schema, w.name) FROM unnest($1::text[], $2::text[]) AS w(schema, name) \
WHERE EXISTS (SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
    WHERE n.nspname = w.schema AND c.relname = w.name) \
  OR EXISTS (SELECT FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace \
    WHERE n.nspname = w.schema AND t.typname = w.name AND t.typrelid = 0 AND t.typtype <> 'p' \
      AND t.typcategory <> 'A')";
