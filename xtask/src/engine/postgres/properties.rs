//! What belongs to a database and not into its dump: encoding, locale, owner,
//! grants, comment and settings.

use anyhow::{Context, Result};
use sqlx::{AssertSqlSafe, Executor, PgConnection};

use super::connect::{Connected, literal, quoted};
use crate::values::database::{DatabaseProperties, Grant};

/// Read as JSON, because the columns of `pg_database` differ between versions.
const QUESTION: &str = "\
SELECT jsonb_build_object(
  'owner', pg_get_userbyid(d.datdba),
  'encoding', pg_encoding_to_char(d.encoding),
  'collate', d.datcollate,
  'ctype', d.datctype,
  'locale_provider', coalesce(to_jsonb(d)->>'datlocprovider', 'c'),
  'locale', coalesce(to_jsonb(d)->>'datlocale', to_jsonb(d)->>'daticulocale'),
  'icu_rules', to_jsonb(d)->>'daticurules',
  'tablespace', t.spcname,
  'connection_limit', d.datconnlimit,
  'is_template', d.datistemplate,
  'comment', shobj_description(d.oid, 'pg_database'),
  'grants', CASE WHEN d.datacl IS NOT NULL THEN (
    SELECT coalesce(jsonb_agg(jsonb_build_object(
      'grantee', CASE WHEN a.grantee <> 0 THEN pg_get_userbyid(a.grantee) END,
      'privilege', a.privilege_type, 'grantable', a.is_grantable)
      ORDER BY a.grantee, a.privilege_type), '[]')
    FROM aclexplode(d.datacl) a) END,
  'settings', (
    SELECT coalesce(jsonb_agg(jsonb_build_object(
      'role', CASE WHEN s.setrole <> 0 THEN pg_get_userbyid(s.setrole) END,
      'name', split_part(c.setting, '=', 1),
      'value', substr(c.setting, strpos(c.setting, '=') + 1)) ORDER BY s.setrole, c.n), '[]')
    FROM pg_db_role_setting s, unnest(s.setconfig) WITH ORDINALITY AS c(setting, n)
    WHERE s.setdatabase = d.oid))::text
FROM pg_database d JOIN pg_tablespace t ON t.oid = d.dattablespace
WHERE d.datname = $1";

/// `None` when there is no such database.
pub async fn read(connected: &mut Connected, database: &str) -> Result<Option<DatabaseProperties>> {
    let json: Option<String> = sqlx::query_scalar(QUESTION)
        .bind(database)
        .fetch_optional(&mut connected.session)
        .await
        .with_context(|| format!("cannot read the properties of database `{database}`"))?;
    json.map(|json| serde_json::from_str(&json).context("cannot understand them"))
        .transpose()
}

/// `CREATE DATABASE` with what cannot be changed later.
pub fn create_statement(name: &str, properties: &DatabaseProperties, server_major: u32) -> String {
    let mut sql = format!(
        "CREATE DATABASE {} TEMPLATE template0 OWNER {} ENCODING {} LC_COLLATE {} LC_CTYPE {}",
        quoted(name),
        quoted(&properties.owner),
        literal(&properties.encoding),
        literal(&properties.collate),
        literal(&properties.ctype)
    );
    let locale = properties.locale.as_deref().map(literal);
    match (properties.locale_provider.as_str(), locale) {
        ("i", Some(locale)) => {
            sql += &format!(" LOCALE_PROVIDER icu ICU_LOCALE {locale}");
            if let Some(rules) = &properties.icu_rules {
                sql += &format!(" ICU_RULES {}", literal(rules));
            }
        }
        ("b", Some(locale)) => sql += &format!(" LOCALE_PROVIDER builtin BUILTIN_LOCALE {locale}"),
        // Said outright: template0 may have another provider. Older servers know only this one.
        _ if server_major >= 15 => sql += " LOCALE_PROVIDER libc",
        _ => {}
    }
    if properties.tablespace != "pg_default" {
        sql += &format!(" TABLESPACE {}", quoted(&properties.tablespace));
    }
    sql
}

/// Everything else, once the data is in: a database that is read-only by
/// default could not have been filled. Returns what could not be set.
pub async fn apply(
    session: &mut PgConnection,
    name: &str,
    properties: &DatabaseProperties,
) -> Result<Vec<String>> {
    let mut warnings = Vec::new();
    for (what, sql) in statements(name, properties) {
        if let Err(error) = session.execute(AssertSqlSafe(sql)).await {
            // One of the statements is a transaction; for the others this is only a notice.
            session
                .execute("ROLLBACK")
                .await
                .context("cannot roll back")?;
            let code = error.as_database_error().and_then(|error| error.code());
            // A role that is gone, or something that only an administrator may set.
            if !matches!(code.as_deref(), Some("42704" | "42501")) {
                return Err(error).context(format!("cannot set {what} of database `{name}`"));
            }
            let error = error
                .as_database_error()
                .map_or("", |error| error.message());
            warnings.push(format!("{what} was not set: {error}"));
        }
    }
    Ok(warnings)
}

fn statements(name: &str, properties: &DatabaseProperties) -> Vec<(String, String)> {
    let database = quoted(name);
    let mut statements = Vec::new();
    for setting in &properties.settings {
        let target = match &setting.role {
            Some(role) => format!("ALTER ROLE {} IN DATABASE {database}", quoted(role)),
            None => format!("ALTER DATABASE {database}"),
        };
        let what = format!("the setting `{}`", setting.name);
        statements.push((what, set_statement(&target, &setting.name, &setting.value)));
    }
    if let Some(grants) = &properties.grants {
        let owner = quoted(&properties.owner);
        let revoke = format!("REVOKE ALL ON DATABASE {database} FROM PUBLIC, {owner}");
        statements.push(("the default grants".into(), revoke));
        statements.extend(grants.iter().map(|grant| grant_statement(&database, grant)));
    }
    statements.push((
        "the connection limit".into(),
        format!(
            "ALTER DATABASE {database} CONNECTION LIMIT {}",
            properties.connection_limit
        ),
    ));
    if properties.is_template {
        let sql = format!("ALTER DATABASE {database} IS_TEMPLATE true");
        statements.push(("the template mark".into(), sql));
    }
    statements
}

/// Kept for the moment of the swap: until then the comment says that the
/// database is being built.
pub fn comment_statement(name: &str, comment: Option<&str>) -> String {
    let comment = comment.map_or_else(|| "NULL".into(), literal);
    format!("COMMENT ON DATABASE {} IS {comment}", quoted(name))
}

fn grant_statement(database: &str, grant: &Grant) -> (String, String) {
    let grantee = grant
        .grantee
        .as_deref()
        .map_or_else(|| "PUBLIC".into(), quoted);
    let option = if grant.grantable {
        " WITH GRANT OPTION"
    } else {
        ""
    };
    // The catalogue says `TEMPORARY`, `CONNECT` and `CREATE`: words that GRANT takes.
    let sql = format!(
        "GRANT {} ON DATABASE {database} TO {grantee}{option}",
        grant.privilege
    );
    (
        format!("the grant of {} to {grantee}", grant.privilege),
        sql,
    )
}

/// Settings whose value is a list of names: stored joined, and one literal
/// would become one name. The server's own copy of the value is exact.
const LISTS: [&str; 6] = [
    "local_preload_libraries",
    "search_path",
    "session_preload_libraries",
    "shared_preload_libraries",
    "temp_tablespaces",
    "unix_socket_directories",
];

fn set_statement(target: &str, name: &str, value: &str) -> String {
    let (quoted_name, value) = (quoted(name), literal(value));
    if LISTS.contains(&name) {
        let name = literal(name);
        format!(
            "BEGIN; SELECT set_config({name}, {value}, true); \
             {target} SET {quoted_name} FROM CURRENT; COMMIT"
        )
    } else {
        format!("{target} SET {quoted_name} = {value}")
    }
}
