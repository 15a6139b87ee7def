//! What tables cannot do without and the database that they are meant for does
//! not have: types, functions, collations. They come along.

use anyhow::{Context, Result};
use sqlx::{AssertSqlSafe, PgConnection};

use crate::values::failure::Failure;

/// Something that comes along with the tables.
pub struct Along {
    class: i64,
    oid: i64,
    /// `type`, `function`, and so on.
    pub kind: String,
    /// The schema that it has in the backup.
    pub schema: String,
    /// What it is called in the backup, in SQL.
    pub identity: String,
    /// The same, where it is meanwhile.
    pub place_before: String,
}

impl Along {
    pub fn is_type(&self) -> bool {
        self.kind == "type"
    }
}

/// Kinds that `ALTER … SET SCHEMA` takes under the name that they have here.
const MOVABLE: [&str; 4] = ["type", "function", "aggregate", "collation"];

/// Something that is needed.
struct Needed {
    class: i64,
    oid: i64,
    kind: String,
    schema: Option<String>,
    identity: String,
    names: Vec<String>,
    arguments: Vec<String>,
    extension: Option<String>,
    signature: Option<String>,
}

type NeededRow = (
    i64,
    i64,
    String,
    Option<String>,
    String,
    Vec<String>,
    Vec<String>,
    Option<String>,
    Option<String>,
);

/// What the tables need, and what that needs, until all of it is there or comes along.
pub async fn find(
    session: &mut PgConnection,
    there: &mut PgConnection,
    tables: &[i64],
) -> Result<Vec<Along>> {
    let mut along: Vec<Along> = Vec::new();
    let mut seen: Vec<(i64, i64)> = Vec::new();
    loop {
        let known = along.len();
        for needed in needed(session, tables, &along).await? {
            if seen.contains(&(needed.class, needed.oid)) {
                continue;
            }
            seen.push((needed.class, needed.oid));
            if !is_there(there, &needed).await? {
                along.push(needed.into_along()?);
            }
        }
        if along.len() == known {
            return Ok(along);
        }
    }
}

async fn needed(
    session: &mut PgConnection,
    tables: &[i64],
    along: &[Along],
) -> Result<Vec<Needed>> {
    let moved = along.iter().map(|along| (along.class, along.oid));
    let (classes, oids): (Vec<i64>, Vec<i64>) = moved.unzip();
    let question = NEEDED.replace("SIGNATURE", SIGNATURE);
    let rows: Vec<NeededRow> = sqlx::query_as(AssertSqlSafe(question))
        .bind(tables)
        .bind(classes)
        .bind(oids)
        .fetch_all(session)
        .await
        .context("cannot ask what the tables need")?;
    let needed =
        |(class, oid, kind, schema, identity, names, arguments, extension, signature)| Needed {
            class,
            oid,
            kind,
            schema,
            identity,
            names,
            arguments,
            extension,
            signature,
        };
    Ok(rows.into_iter().map(needed).collect())
}

/// Under the same name, and of a type also with the same labels or fields.
async fn is_there(there: &mut PgConnection, needed: &Needed) -> Result<bool> {
    let found: Result<(i64, i64), sqlx::Error> = sqlx::query_as(
        "SELECT a.classid::bigint, a.objid::bigint \
         FROM pg_catalog.pg_get_object_address($1, $2, $3) a",
    )
    .bind(&needed.kind)
    .bind(&needed.names)
    .bind(&needed.arguments)
    .fetch_one(&mut *there)
    .await;
    let oid = match found {
        Ok((_, oid)) => oid,
        Err(error)
            if error
                .as_database_error()
                .is_some_and(|e| is_missing(e.code())) =>
        {
            return Ok(false);
        }
        Err(error) => return Err(error).context(format!("cannot look for `{}`", needed.identity)),
    };
    if needed.kind != "type" {
        return Ok(true);
    }
    let signature: Option<String> = sqlx::query_scalar(AssertSqlSafe(format!(
        "SELECT {SIGNATURE} FROM pg_catalog.pg_type t WHERE t.oid = $1::bigint::oid"
    )))
    .bind(oid)
    .fetch_one(there)
    .await
    .with_context(|| format!("cannot look at `{}`", needed.identity))?;
    Ok(signature == needed.signature)
}

/// Undefined, of whatever kind; or its schema is.
fn is_missing(code: Option<std::borrow::Cow<'_, str>>) -> bool {
    let undefined = ["42704", "42883", "42P01", "3F000", "42703"];
    code.is_some_and(|code| undefined.contains(&code.as_ref()))
}

impl Needed {
    fn into_along(self) -> Result<Along, Failure> {
        let Needed { kind, identity, .. } = self;
        if let Some(extension) = self.extension {
            return Err(Failure::refused(format!(
                "the tables need the {kind} `{identity}` of the extension `{extension}`, which the \
                 database does not have; nothing was changed"
            ))
            .hint(format!(
                "CREATE EXTENSION \"{extension}\" there, then run the command again"
            )));
        }
        match self.schema {
            Some(schema) if MOVABLE.contains(&kind.as_str()) => Ok(Along {
                class: self.class,
                oid: self.oid,
                kind,
                schema,
                place_before: identity.clone(),
                identity,
            }),
            _ => Err(Failure::refused(format!(
                "the tables need the {kind} `{identity}`, which the database does not have; \
                 nothing was changed"
            ))
            .hint(
                "create it there; or restore the whole backup into another database with `--into`",
            )),
        }
    }
}

/// What it is called where it is now, in SQL.
pub async fn identity(session: &mut PgConnection, along: &Along) -> Result<String> {
    sqlx::query_scalar(
        "SELECT i.identity FROM pg_catalog.pg_identify_object($1::bigint::oid, $2::bigint::oid, 0) i",
    )
    .bind(along.class)
    .bind(along.oid)
    .fetch_one(session)
    .await
    .with_context(|| format!("cannot ask what `{}` is called", along.identity))
}

/// `$1`: tables; `$2`, `$3`: classes and oids of what comes along. An array is as its element.
const NEEDED: &str = "\
WITH RECURSIVE own(class, oid) AS ( \
  SELECT 'pg_catalog.pg_class'::regclass::oid, t::oid FROM unnest($1::bigint[]) t \
  UNION SELECT c::oid, o::oid FROM unnest($2::bigint[], $3::bigint[]) AS m(c, o) \
  UNION SELECT d.classid, d.objid FROM own JOIN pg_catalog.pg_depend d \
    ON d.refclassid = own.class AND d.refobjid = own.oid AND d.deptype IN ('a', 'i', 'P', 'S')), \
needed AS ( \
  SELECT DISTINCT d.refclassid AS class, \
    CASE WHEN t.typcategory = 'A' AND t.typelem <> 0 THEN t.typelem ELSE d.refobjid END AS oid \
  FROM own JOIN pg_catalog.pg_depend d \
    ON d.classid = own.class AND d.objid = own.oid AND d.deptype = 'n' \
  LEFT JOIN pg_catalog.pg_type t \
    ON d.refclassid = 'pg_catalog.pg_type'::regclass AND t.oid = d.refobjid \
  WHERE d.refclassid <> 'pg_catalog.pg_namespace'::regclass) \
SELECT n.class::bigint, n.oid::bigint, i.type, i.schema, i.identity, \
  a.object_names, a.object_args, \
  (SELECT e.extname::text FROM pg_catalog.pg_depend x \
    JOIN pg_catalog.pg_extension e ON e.oid = x.refobjid \
    WHERE x.classid = n.class AND x.objid = n.oid AND x.deptype = 'e' \
      AND x.refclassid = 'pg_catalog.pg_extension'::regclass LIMIT 1), \
  CASE WHEN n.class = 'pg_catalog.pg_type'::regclass THEN ( \
    SELECT SIGNATURE FROM pg_catalog.pg_type t WHERE t.oid = n.oid) END \
FROM needed n \
CROSS JOIN LATERAL pg_catalog.pg_identify_object(n.class, n.oid, 0) i \
CROSS JOIN LATERAL pg_catalog.pg_identify_object_as_address(n.class, n.oid, 0) a \
WHERE n.oid >= 16384 AND NOT EXISTS (SELECT FROM own WHERE own.class = n.class AND own.oid = n.oid) \
ORDER BY 3, 5";

/// What of a type `t` decides how its values are written: base, labels, fields.
const SIGNATURE: &str = "\
pg_catalog.concat_ws('|', t.typtype, \
  pg_catalog.format_type(nullif(t.typbasetype, 0), t.typtypmod), \
  (SELECT pg_catalog.string_agg(e.enumlabel, ',' ORDER BY e.enumsortorder) \
    FROM pg_catalog.pg_enum e WHERE e.enumtypid = t.oid), \
  (SELECT pg_catalog.string_agg(f.attname || ' ' || pg_catalog.format_type(f.atttypid, f.atttypmod), \
    ',' ORDER BY f.attnum) FROM pg_catalog.pg_attribute f \
    WHERE f.attrelid = t.typrelid AND f.attnum > 0 AND NOT f.attisdropped))";
