//! `DATABASE_URL`, in every form that sqlx and libpq take; never shown with its password.

use std::fmt;
use std::path::{Path, PathBuf};

use percent_encoding::percent_decode_str;

use super::database::{DatabaseFacts, EngineKind};
use super::failure::Failure;
use super::words::on_one_line;

mod postgres;

pub use postgres::{PostgresHost, PostgresUrl};

/// A parsed database URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DatabaseUrl {
    Sqlite(SqliteUrl),
    Postgres(PostgresUrl),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqliteUrl {
    pub path: PathBuf,
    /// `mode=rwc`: the file is created when it is missing.
    pub create: bool,
    /// `mode=ro` or `immutable=1`.
    pub read_only: bool,
}

impl DatabaseUrl {
    /// Parses a URL. The errors name the form that was expected and never
    /// repeat the URL: it may hold a password.
    pub fn parse(url: &str) -> Result<DatabaseUrl, Failure> {
        let url = url.trim();
        match url.split_once(':') {
            Some(("sqlite", _)) => parse_sqlite(url).map(DatabaseUrl::Sqlite),
            Some(("postgres" | "postgresql", rest)) => {
                PostgresUrl::parse(rest).map(DatabaseUrl::Postgres)
            }
            // Not repeated: what stands there may be the start of a password.
            _ => Err(not_a_url(
                "its scheme is none of `sqlite`, `postgres` and `postgresql`",
            )),
        }
    }

    /// The server of `SCRATCH_DATABASE_URL`, as a PostgreSQL database needs it.
    pub fn scratch_server(named: Option<&DatabaseUrl>) -> Result<Option<&PostgresUrl>, Failure> {
        match named {
            None => Ok(None),
            Some(DatabaseUrl::Postgres(url)) => Ok(Some(url)),
            Some(DatabaseUrl::Sqlite(_)) => Err(Failure::usage(
                "`SCRATCH_DATABASE_URL` is not a PostgreSQL URL",
            )
            .hint("name a PostgreSQL server, or unset it")),
        }
    }
}

fn not_a_url(why: &str) -> Failure {
    Failure::usage(format!("the database URL cannot be read: {why}")).hint(
        "use `sqlite://path/to/app.db` or `postgres://user@host:5432/name` \
         (`--database-url`, `DATABASE_URL` or `.env`)",
    )
}

/// As sqlx reads it: everything between the scheme and the first `?` is a
/// percent-encoded path, relative to the current folder unless it begins with `/`.
fn parse_sqlite(url: &str) -> Result<SqliteUrl, Failure> {
    let rest = url
        .trim_start_matches("sqlite://")
        .trim_start_matches("sqlite:");
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let path = percent_decode_str(path)
        .decode_utf8()
        .map_err(|_| not_a_url("its path is not UTF-8 after percent-decoding"))?;
    if path.contains('\0') {
        return Err(not_a_url("its path holds a NUL, which ends a path"));
    }
    if path.is_empty() || path == ":memory:" {
        return Err(in_memory());
    }
    let mut parsed = SqliteUrl {
        path: PathBuf::from(path.as_ref()),
        create: false,
        read_only: false,
    };
    for (key, value) in url::form_urlencoded::parse(query.as_bytes()) {
        match (key.as_ref(), value.as_ref()) {
            ("mode", "ro") | ("immutable", "1" | "true") => parsed.read_only = true,
            ("mode", "rwc") => parsed.create = true,
            ("mode", "memory") => return Err(in_memory()),
            ("mode", "rw") | ("immutable", "0" | "false") | ("cache", "private" | "shared") => {}
            _ => {
                // The value is not repeated: with some builds of SQLite it is a key.
                return Err(not_a_url(&format!(
                    "sqlx knows no such SQLite parameter `{key}`; it knows \
                     `mode=ro|rw|rwc|memory`, `cache=private|shared`, `immutable=0|1`"
                )));
            }
        }
    }
    Ok(parsed)
}

fn in_memory() -> Failure {
    Failure::usage("a SQLite database in memory cannot be backed up or migrated by another process")
        .hint("name a file: `sqlite://path/to/app.db`")
}

impl SqliteUrl {
    /// The path, made absolute against `folder`.
    pub fn path_in(&self, folder: &Path) -> PathBuf {
        folder.join(&self.path)
    }
}

impl DatabaseUrl {
    pub fn has_password(&self) -> bool {
        matches!(self, DatabaseUrl::Postgres(url) if url.password.is_some())
    }

    /// Whether nothing of it may be a secret, as it was given.
    pub fn may_be_shown(&self) -> bool {
        match self {
            DatabaseUrl::Sqlite(_) => true,
            DatabaseUrl::Postgres(url) => !(self.has_password() || url.has_opaque),
        }
    }

    /// Who that probably is, without having asked: nothing where the name comes from elsewhere, or
    /// where links of the file system decide.
    pub fn likely_facts(&self) -> Option<DatabaseFacts> {
        let DatabaseUrl::Postgres(url) = self else {
            return None;
        };
        let host = url.hosts.first();
        Some(DatabaseFacts {
            engine: EngineKind::Postgresql,
            name: url.database.clone()?,
            host: Some(host.and_then(|host| host.host.clone()).unwrap_or_default()),
            port: host.and_then(|host| host.port),
            user: url.user.clone(),
            path: None,
            server_version: String::new(),
            system_identifier: None,
            properties: None,
            other: Default::default(),
        })
    }

    /// Whether a backup with these facts may be of this URL's database, as far
    /// as names can tell.
    pub fn may_be(&self, then: &DatabaseFacts) -> bool {
        match self {
            DatabaseUrl::Sqlite(url) => {
                let name = url.path.file_name().unwrap_or_default().to_string_lossy();
                then.engine == EngineKind::Sqlite && then.name == name
            }
            DatabaseUrl::Postgres(url) => {
                then.engine == EngineKind::Postgresql
                    && url.database.as_ref().is_none_or(|name| *name == then.name)
            }
        }
    }
}

impl DatabaseUrl {
    pub fn engine(&self) -> EngineKind {
        match self {
            DatabaseUrl::Sqlite(_) => EngineKind::Sqlite,
            DatabaseUrl::Postgres(_) => EngineKind::Postgresql,
        }
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DatabaseUrl::Sqlite(url) => {
                let path = url.path.display().to_string();
                write!(f, "sqlite://{}", on_one_line(&path))
            }
            DatabaseUrl::Postgres(url) => write!(f, "{url}"),
        }
    }
}
