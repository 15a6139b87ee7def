//! One URL, two clients: sqlx for our own sessions, libpq for the programs.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use sqlx::postgres::{PgConnectOptions, PgDatabaseError, PgSeverity, PgSslMode};
use sqlx::{ConnectOptions, Executor, PgConnection};

use crate::durable;
use crate::values::database_url::{PostgresHost, PostgresUrl};
use crate::values::failure::Failure;

/// How long a server that does not answer is asked again: one that crashed takes a while to come back.
const PATIENCE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(50);

/// A session and what the server said of itself.
pub struct Connected {
    pub session: PgConnection,
    /// The host that answered, with everything else that was resolved.
    pub options: PgConnectOptions,
    pub database: String,
    pub user: String,
    pub server_version: String,
    pub server_major: u32,
}

/// Connects to the URL's database; of several hosts, to the first that answers.
pub async fn connect(url: &PostgresUrl) -> Result<Connected> {
    connect_to(url, None).await
}

/// Connects to another database of the same server.
pub async fn connect_to(url: &PostgresUrl, database: Option<&str>) -> Result<Connected> {
    let mut connected = visit(url, database).await?;
    lift_limits(&mut connected.session)
        .await
        .context("cannot set what holds for this session")?;
    Ok(connected)
}

/// As [`connect_to`], and nothing is set in the session: it may be somebody else's in the next moment.
pub async fn visit(url: &PostgresUrl, database: Option<&str>) -> Result<Connected> {
    let mut last = None;
    let no_host = [PostgresHost::default()];
    let hosts = if url.hosts.is_empty() {
        &no_host[..]
    } else {
        &url.hosts[..]
    };
    for host in hosts {
        let mut options = options(url, host)?;
        if let Some(database) = database {
            options = options.database(database);
        }
        match open(options).await {
            Ok(connected) => return Ok(connected),
            Err(error) => last = Some(error),
        }
    }
    let error = last.unwrap_or_else(|| sqlx::Error::Configuration("no host".into()));
    let name = database.map_or_else(|| url.to_string(), |name| format!("{name}` at `{url}"));
    let hint = match code(&error).as_deref() {
        Some("3D000") => {
            "check the name; `createdb` creates a database, `cargo xtask db restore` brings one back"
        }
        Some("28P01" | "28000") => {
            "the server answers and refuses the user or the password: check `DATABASE_URL`, \
             `PGPASSWORD` and the passfile"
        }
        Some(_) => "the server answers; what it says is above",
        None => "check `DATABASE_URL`, and that the server is running and reachable",
    };
    let failure = Failure::unexpected(format!("cannot connect to `{name}`")).hint(hint);
    Err(anyhow::Error::new(error).context(failure))
}

async fn open(options: PgConnectOptions) -> Result<Connected, sqlx::Error> {
    let mut session = options.connect().await?;
    let (database, user, server_version, number): (String, String, String, i32) = sqlx::query_as(
        "SELECT current_database()::text, current_user::text, \
         current_setting('server_version'), current_setting('server_version_num')::int",
    )
    .persistent(false)
    .fetch_one(&mut session)
    .await?;
    let server_major = (number / 10_000).unsigned_abs();
    Ok(Connected {
        session,
        options,
        database,
        user,
        server_version,
        server_major,
    })
}

/// Our own questions must not be cut short by limits that are meant for the application, nor wait for
/// ever for a table that a schema change has locked. What `PGOPTIONS` or the URL says of that wait is
/// meant for this run.
async fn lift_limits(session: &mut PgConnection) -> Result<(), sqlx::Error> {
    session
        .execute(
            "SELECT set_config(name, '0', false) FROM pg_settings WHERE name IN \
             ('statement_timeout', 'idle_session_timeout', 'transaction_timeout', \
              'idle_in_transaction_session_timeout'); \
             SELECT set_config(name, '60s', false) FROM pg_settings \
             WHERE name = 'lock_timeout' AND source <> 'client'",
        )
        .await?;
    Ok(())
}

/// As [`connect_to`], for a question that must be answered: again and again, for a bounded time,
/// while the server is away or coming back.
pub async fn connect_patiently(url: &PostgresUrl, database: Option<&str>) -> Result<Connected> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let connecting = tokio::time::timeout(PATIENCE, connect_to(url, database));
        match connecting.await.context("the server does not answer")? {
            Err(error) if Instant::now() < deadline && may_come_back(&error) => {
                tokio::time::sleep(POLL).await;
            }
            done => return done,
        }
    }
}

fn may_come_back(error: &anyhow::Error) -> bool {
    let mut causes = error.chain().filter_map(|cause| cause.downcast_ref());
    causes.any(|error: &sqlx::Error| match code(error) {
        // It shuts down, or it starts.
        Some(code) => code.starts_with("57P"),
        None => true,
    })
}

/// Whether the server has said no. Of a session that is gone nobody knows what
/// became of the last thing that it was told.
pub fn is_answer(error: &sqlx::Error) -> bool {
    let answer = error
        .as_database_error()
        .and_then(|error| error.try_downcast_ref::<PgDatabaseError>());
    answer.is_some_and(|answer| !matches!(answer.severity(), PgSeverity::Fatal | PgSeverity::Panic))
}

/// A session of the server, told apart from one that gets its pid later. Its
/// name would not do: a migration may change that.
#[derive(Clone, Copy)]
pub struct SessionId {
    pid: i32,
    began_at_us: i64,
}

/// What [`end_session`] needs.
pub async fn id_of(session: &mut PgConnection) -> Result<SessionId> {
    let (pid, began_at_us) = sqlx::query_as(
        "SELECT pid, (extract(epoch FROM backend_start) * 1000000)::bigint \
         FROM pg_stat_activity WHERE pid = pg_backend_pid()",
    )
    .fetch_one(session)
    .await
    .context("cannot ask for the session's pid")?;
    Ok(SessionId { pid, began_at_us })
}

/// Ends a session of this run that we no longer hear from, and waits until the
/// server has let go of it: what it was told is then done or not done, and stays so.
pub async fn end_session(session: &mut PgConnection, id: SessionId) -> Result<()> {
    let SessionId { pid, began_at_us } = id;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let found: Option<bool> = sqlx::query_scalar(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
             WHERE pid = $1 AND (extract(epoch FROM backend_start) * 1000000)::bigint = $2",
        )
        .bind(pid)
        .bind(began_at_us)
        .fetch_optional(&mut *session)
        .await
        .context("cannot end the session that is gone")?;
        if found.is_none() {
            return Ok(());
        }
        anyhow::ensure!(
            Instant::now() < deadline,
            "the server does not let go of the session with pid {pid}"
        );
        tokio::time::sleep(POLL).await;
    }
}

pub fn is_missing_database(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref())
        .any(is_missing)
}

fn is_missing(error: &sqlx::Error) -> bool {
    code(error).is_some_and(|code| code == "3D000")
}

fn code(error: &sqlx::Error) -> Option<String> {
    Some(error.as_database_error()?.code()?.into_owned())
}

/// For sqlx. Everything goes in as parameters of an otherwise empty URL,
/// because only that way lets sqlx look a password up in the passfile.
pub fn options(url: &PostgresUrl, host: &PostgresHost) -> Result<PgConnectOptions> {
    let mut for_sqlx = url::Url::parse("postgres:///").context("cannot build a URL")?;
    {
        let mut pairs = for_sqlx.query_pairs_mut();
        let port = host.port.map(|port| port.to_string());
        let given = [
            ("host", host.host.as_deref()),
            ("port", port.as_deref()),
            ("user", url.user.as_deref()),
            (
                "password",
                url.password.as_ref().map(|password| password.expose()),
            ),
            ("dbname", url.database.as_deref()),
            ("options", url.options.as_deref()),
        ];
        for (key, value) in given {
            if let Some(value) = value {
                pairs.append_pair(key, value);
            }
        }
        for (key, value) in &url.shared {
            pairs.append_pair(key, value);
        }
        // The last one counts. It shows who holds a lock, and which sessions are our own.
        pairs.append_pair("application_name", &session_name());
    }
    for_sqlx
        .as_str()
        .parse::<PgConnectOptions>()
        .map(|options| options.disable_statement_logging())
        // Its error may repeat a value, and a value may be a secret.
        .map_err(|_| Failure::usage("sqlx refuses a parameter of the database URL").into())
}

/// For libpq: a connection string without the password, and the environment
/// that leads to it.
pub struct Libpq {
    pub dbname: String,
    passfile: Option<PathBuf>,
}

impl Libpq {
    /// `staging` is a private folder; the passfile in it goes away with it.
    /// `settings` are given to the server on top of the URL's own.
    pub fn new(
        url: &PostgresUrl,
        connected: &PgConnectOptions,
        database: &str,
        settings: &[&str],
        staging: &Path,
    ) -> Result<Libpq> {
        let host = connected.get_socket().map_or_else(
            || connected.get_host().to_owned(),
            |path| path.display().to_string(),
        );
        let mut options = connected.get_options().unwrap_or_default().to_owned();
        for setting in settings {
            let _ = write!(options, " -c {setting}");
        }
        let mut dbname = String::new();
        let port = connected.get_port().to_string();
        let given = [
            ("host", host.as_str()),
            ("port", port.as_str()),
            ("user", connected.get_username()),
            ("dbname", database),
            ("sslmode", ssl_mode(connected.get_ssl_mode())),
            ("options", options.trim()),
        ];
        let shared = url
            .shared
            .iter()
            .chain(&url.libpq)
            .map(|(k, v)| (k.as_str(), v.as_str()));
        for (key, value) in given.into_iter().chain(shared) {
            let value = value.replace('\\', "\\\\").replace('\'', "\\'");
            let _ = write!(dbname, "{key}='{value}' ");
        }
        let passfile = match &url.password {
            Some(password) => Some(write_passfile(password.expose(), staging)?),
            // libpq finds the password where sqlx found it: `PGPASSWORD` or the passfile.
            None => None,
        };
        Ok(Libpq {
            dbname: dbname.trim_end().to_owned(),
            passfile,
        })
    }

    /// Lets a program find the password, and speak English.
    pub fn prepare<'a>(&self, command: xshell::Cmd<'a>) -> xshell::Cmd<'a> {
        let command = command.quiet().env("LC_ALL", "C");
        // A dump is in the database's own encoding, whatever this shell prefers.
        let command = command.env_remove("PGCLIENTENCODING");
        match &self.passfile {
            Some(passfile) => command.env("PGPASSFILE", passfile).env_remove("PGPASSWORD"),
            None => command,
        }
    }
}

/// What the sessions of this run are called.
pub fn session_name() -> String {
    format!("xtask-db {}", std::process::id())
}

fn write_passfile(password: &str, staging: &Path) -> Result<PathBuf> {
    let path = staging.join("passfile");
    let escaped = password.replace('\\', "\\\\").replace(':', "\\:");
    let _ = std::fs::remove_file(&path);
    durable::create_private_file(&path)
        .and_then(|mut file| writeln!(file, "*:*:*:*:{escaped}"))
        .context("cannot write the passfile for the PostgreSQL programs")?;
    Ok(path)
}

fn ssl_mode(mode: PgSslMode) -> &'static str {
    match mode {
        PgSslMode::Disable => "disable",
        PgSslMode::Allow => "allow",
        PgSslMode::Prefer => "prefer",
        PgSslMode::Require => "require",
        PgSslMode::VerifyCa => "verify-ca",
        PgSslMode::VerifyFull => "verify-full",
    }
}

/// An identifier, quoted for SQL.
pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A string, quoted for SQL, whatever `standard_conforming_strings` says.
pub fn literal(text: &str) -> String {
    let escaped = text.replace('\'', "''");
    if escaped.contains('\\') {
        format!(" E'{}'", escaped.replace('\\', "\\\\"))
    } else {
        format!("'{escaped}'")
    }
}
