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
use super::{Postgres, in_place, inspect, left_beside, properties, rebuild, target};
use crate::engine::{Brought, Scratch, TablesOrder};
use crate::values::database::TableRows;
use crate::values::database_url::{DatabaseUrl, PostgresUrl};
use crate::values::failure::Failure;
use crate::values::progress::Progress;

/// What a dump begins with may have taken the limit away.
const LOCK_TIMEOUT: &str = "SET LOCAL lock_timeout = '60s'";
const NOTHING_CHANGED: &str = "the tables were not brought over; the database is as it was";

pub fn bring(
    postgres: &mut Postgres,
    order: &TablesOrder,
    progress: &dyn Progress,
) -> Result<Brought> {
    let created = create_if_missing(postgres, order)?;
    let brought = from_a_scratch(postgres, order, progress);
    if brought.is_err()
        && let Some(name) = created
    {
        // Empty, and made by this run.
        let dropped = async {
            let mut target = target::target(&postgres.url).await?;
            left_beside::drop_database(postgres, &mut target.maintenance, &name).await
        };
        if let Err(error) = postgres.runtime.block_on_to_the_end(dropped) {
            let what = format!("the empty database `{name}` could not be dropped ({error})");
            return brought.context(what);
        }
    }
    brought
}

/// Its name, when it was not there.
fn create_if_missing(postgres: &Postgres, order: &TablesOrder) -> Result<Option<String>> {
    let dump = order.scratch.dump;
    postgres.runtime.block_on(async {
        let mut target = target::target(&postgres.url).await?;
        if target.now.is_some() {
            return Ok(None);
        }
        let maintenance = &mut target.maintenance;
        let mut wanted = rebuild::properties_of(dump)?;
        wanted.owner.clone_from(&maintenance.user);
        let major = maintenance.server_major;
        let sql = properties::create_statement(&target.database, &wanted, major);
        let session = &mut maintenance.session;
        session
            .execute("SET default_transaction_read_only = off")
            .await?;
        let created = session.execute(AssertSqlSafe(sql)).await;
        created.with_context(|| format!("cannot create the database `{}`", target.database))?;
        Ok(Some(target.database))
    })
}

fn from_a_scratch(
    postgres: &Postgres,
    order: &TablesOrder,
    progress: &dyn Progress,
) -> Result<Brought> {
    let elsewhere = scratch_server(postgres, order)?;
    let mut scratch = scratch::build(postgres, elsewhere, &order.scratch, progress)
        .context("cannot build a scratch database from the backup")?;
    let mut notes = scratch.warnings().to_vec();
    progress.begin("bring over", None);
    let brought = hand_over(postgres, order, &mut scratch);
    progress.end();
    notes.extend(brought.map_err(explain).context(NOTHING_CHANGED)?);
    if let Err(error) = Box::new(scratch).remove() {
        notes.push(format!("{error:#}"));
    }
    Ok(Brought { notes })
}

/// Another database has a server of its own: the live one need not work for it.
fn scratch_server<'a>(
    postgres: &'a Postgres,
    order: &'a TablesOrder,
) -> Result<Option<&'a PostgresUrl>> {
    match order.scratch.elsewhere {
        Some(DatabaseUrl::Postgres(url)) => Ok(Some(url)),
        Some(DatabaseUrl::Sqlite(_)) => Err(scratch::no_postgres().into()),
        None => Ok(order.schema.is_none().then_some(&postgres.url)),
    }
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
    let number = runtime.block_on(async {
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
        for table in order.tables {
            compare(to, &carved, table).await?;
        }
        put_in_place(to, &carved, order).await?;
        anyhow::Ok(number)
    })?;
    commit(postgres, to, number)?;
    let mut notes = carved.notes;
    notes.push(
        "they belong to the role that brought them, and nobody else has rights on them".into(),
    );
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

/// Rows, and values where the backup knows them, against the manifest; of a
/// single partition the rows may be others, which its table accounts for.
async fn compare(session: &mut PgConnection, carved: &Carved, table: &TableRows) -> Result<()> {
    let pieces = &mut carved.pieces.iter();
    let piece = pieces.find(|piece| (piece.schema.as_str(), piece.name.as_str()) == table.key());
    let missing = || Failure::untrusted(format!("table `{table}` did not come out of the backup"));
    let piece = piece.ok_or_else(missing)?;
    let then = table.fingerprint.as_deref().and_then(fingerprint::sum_in);
    let mut columns = piece.columns.clone();
    columns.sort();
    let sum = match then {
        Some(_) => fingerprint::sum(&columns),
        None => "NULL::text".into(),
    };
    let only = if piece.has_rows { "ONLY " } else { "" };
    let question = format!(
        "SELECT count(*), {sum} FROM {only}{} AS {ROW}",
        carved.place(piece)
    );
    let (rows, sum): (i64, Option<String>) = sqlx::query_as(AssertSqlSafe(question))
        .persistent(false)
        .fetch_one(session)
        .await
        .with_context(|| format!("cannot count the rows of `{table}`"))?;
    if !table.kind.is_table() {
        return Ok(());
    }
    if rows.unsigned_abs() != table.rows {
        return Err(Failure::untrusted(format!(
            "table `{table}` has {rows} rows, the manifest says {}",
            table.rows
        ))
        .into());
    }
    if sum.as_deref() != then {
        return Err(Failure::untrusted(format!(
            "table `{table}` has as many rows, and other values than the manifest says"
        ))
        .into());
    }
    Ok(())
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
    if order.replace {
        for table in order.tables {
            let (schema, name) = order.destination(table);
            let name = format!("{}.{}", quoted(&schema), quoted(&name));
            run(to, format!("DROP TABLE IF EXISTS {name}")).await?;
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

/// What the server refuses for a reason that a person can do something about.
fn explain(error: anyhow::Error) -> anyhow::Error {
    let code = error.chain().find_map(|cause| {
        let error = cause.downcast_ref::<sqlx::Error>()?.as_database_error()?;
        Some(error.code()?.into_owned())
    });
    let (what, hint) = match code.as_deref() {
        Some("42P07" | "42710" | "42723") => (
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
