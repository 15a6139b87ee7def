//! Flags, environment, `.env` and `sqlx.toml` → settings.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sqlx_core::config::Config as SqlxConfig;

use crate::cli::Options;
use crate::values::database_url::{DatabaseUrl, SqliteUrl};
use crate::values::failure::Failure;
use crate::values::plan::{Bookkeeping, Source};
use crate::values::words::shell_quoted;

/// What a run works with; all paths are absolute.
pub struct Settings {
    pub project: PathBuf,
    pub url: DatabaseUrl,
    /// What a relative path in the URL is relative to.
    pub url_folder: PathBuf,
    pub source: Source,
    pub vault: PathBuf,
    /// Where scratch databases are built; nothing: beside the live one.
    pub scratch_url: Option<DatabaseUrl>,
    pub bookkeeping: Bookkeeping,
    /// What was given on the command line and decides which database and which
    /// vault are meant, ready for a shell; never with a password.
    pub flags: String,
}

const DEFAULT_DATABASE: &str = "database/app.db";
const SCRATCH_VARIABLE: &str = "SCRATCH_DATABASE_URL";
const DEFAULT_VAULT: &str = "database/backups";

pub fn settings(options: &Options) -> Result<Settings> {
    let here = env::current_dir().context("cannot ask for the current folder")?;
    refuse_urls(options)?;
    let project = match &options.project {
        Some(project) => canonical_folder(&here.join(project), "--project")?,
        None => nearest_project(&here),
    };
    let sqlx = read_sqlx_toml(&project)?;
    let (url, url_folder) = database_url(options, &here, &project, &sqlx)?;
    let source = match &options.source {
        Some(source) => here.join(source),
        None => project.join(sqlx.migrate.migrations_dir()),
    };
    let vault = match &options.backups {
        Some(vault) => here.join(vault),
        None => project.join(DEFAULT_VAULT),
    };
    Ok(Settings {
        flags: flags(options, &url),
        url,
        url_folder,
        source: Source {
            folder: source,
            ignored_chars: sqlx.migrate.ignored_chars.iter().copied().collect(),
        },
        vault,
        scratch_url: scratch_url()?,
        bookkeeping: Bookkeeping {
            table: sqlx.migrate.table_name().to_owned(),
            create_schemas: sqlx
                .migrate
                .create_schemas
                .iter()
                .map(|s| s.to_string())
                .collect(),
        },
        project,
    })
}

/// A database URL behind the wrong flag is not repeated: it may hold a password.
fn refuse_urls(options: &Options) -> Result<(), Failure> {
    let folders = [&options.project, &options.source, &options.backups];
    let mut folders = folders.into_iter().flatten();
    if folders.any(|folder| folder.to_string_lossy().contains("://")) {
        return Err(
            Failure::usage("a database URL stands where a folder was expected")
                .hint("put `--database-url` before it, or set `DATABASE_URL`"),
        );
    }
    Ok(())
}

fn flags(options: &Options, url: &DatabaseUrl) -> String {
    let mut flags = Vec::new();
    if let Some(given) = &options.database_url {
        flags.push(if url.has_password() {
            "--database-url \"$DATABASE_URL\"".to_owned()
        } else {
            format!("--database-url {}", shell_quoted(given))
        });
    }
    let folders = [
        ("--source", &options.source),
        ("--backups", &options.backups),
        ("--project", &options.project),
    ];
    for (flag, folder) in folders {
        if let Some(folder) = folder {
            let folder = folder.to_string_lossy();
            // Behind a space, clap would take it for a flag.
            let between = if folder.starts_with('-') { '=' } else { ' ' };
            flags.push(format!("{flag}{between}{}", shell_quoted(&folder)));
        }
    }
    flags.join(" ")
}

fn canonical_folder(path: &Path, flag: &str) -> Result<PathBuf> {
    match path.canonicalize() {
        Ok(folder) if folder.is_dir() => Ok(folder),
        _ => Err(
            Failure::usage(format!("`{flag}`: there is no folder `{}`", path.display()))
                .hint("name a folder that exists")
                .into(),
        ),
    }
}

/// The nearest ancestor with `migrations/` or `database/`; else the folder itself.
fn nearest_project(here: &Path) -> PathBuf {
    let is_project =
        |folder: &&Path| folder.join("migrations").is_dir() || folder.join("database").is_dir();
    here.ancestors().find(is_project).unwrap_or(here).to_owned()
}

fn read_sqlx_toml(project: &Path) -> Result<SqlxConfig> {
    let path = project.join("sqlx.toml");
    SqlxConfig::try_from_path_or_default(path.clone()).map_err(|error| {
        let failure = Failure::usage(format!("cannot read `{}`", path.display()));
        anyhow::Error::new(error).context(failure)
    })
}

/// Flag, then environment, then `.env`, then the project's own SQLite file.
///
/// A relative SQLite path is relative to the current folder, as in sqlx-cli;
/// one from `.env` to the folder of `.env`, so that it means the same file
/// from every folder of the project.
fn database_url(
    options: &Options,
    here: &Path,
    project: &Path,
    sqlx: &SqlxConfig,
) -> Result<(DatabaseUrl, PathBuf)> {
    let variable = sqlx.common.database_url_var();
    let given = match &options.database_url {
        Some(url) => Some(url.clone()),
        None => variable_of(variable)?,
    };
    let from_file = load_dotenv(here, project)?;
    let (text, folder) = match (given, from_file) {
        (Some(url), _) => (Some(url), here.to_owned()),
        (None, Some(folder)) => (variable_of(variable)?, folder),
        (None, None) => (None, project.to_owned()),
    };
    let default = project.join(DEFAULT_DATABASE);
    let Some(text) = text else {
        let url = SqliteUrl {
            path: default,
            create: true,
            read_only: false,
        };
        return Ok((DatabaseUrl::Sqlite(url), project.to_owned()));
    };
    let mut url = DatabaseUrl::parse(&text)?;
    if let DatabaseUrl::Sqlite(sqlite) = &mut url
        && std::path::absolute(sqlite.path_in(&folder)).is_ok_and(|path| path == default)
        && !sqlite.read_only
    {
        // Naming the default is no reason to treat it otherwise.
        sqlite.create = true;
    }
    Ok((url, folder))
}

/// After `.env` was read: it may be in there.
fn scratch_url() -> Result<Option<DatabaseUrl>> {
    let Some(text) = variable_of(SCRATCH_VARIABLE)? else {
        return Ok(None);
    };
    let parsed = DatabaseUrl::parse(&text);
    Ok(Some(parsed.with_context(|| {
        Failure::usage(format!("`{SCRATCH_VARIABLE}` cannot be used"))
    })?))
}

/// A variable that is set and empty is a mistake that must be seen: a secret
/// that is missing in CI arrives like that, and the default is another database.
fn variable_of(name: &str) -> Result<Option<String>> {
    match env::var(name) {
        Ok(value) if !value.trim().is_empty() => Ok(Some(value)),
        Err(env::VarError::NotPresent) => Ok(None),
        _ => Err(
            Failure::usage(format!("`{name}` is set, and empty or not UTF-8"))
                .hint(match name {
                    SCRATCH_VARIABLE => format!("set it to the URL of a server, or `unset {name}`"),
                    _ => format!(
                        "set it to the database URL, or `unset {name}` for `{DEFAULT_DATABASE}`"
                    ),
                })
                .into(),
        ),
    }
}

/// Puts the variables of the nearest `.env`, looked for upwards, into the
/// environment, where sqlx and libpq look for theirs. What is set already
/// stays. Returns the folder of the file.
fn load_dotenv(here: &Path, project: &Path) -> Result<Option<PathBuf>> {
    let mut folders = here.ancestors().chain(project.ancestors());
    let Some(folder) = folders.find(|folder| folder.join(".env").is_file()) else {
        return Ok(None);
    };
    let folder = folder.to_owned();
    let path = folder.join(".env");
    dotenvy::from_path(&path).map_err(|error| match error {
        // The error of the library repeats the line, and the line may hold a password.
        dotenvy::Error::LineParse(_, at) => Failure::usage(format!(
            "`{}` cannot be read: the line with character {at} is no `NAME=value`",
            path.display()
        ))
        .hint("put values with spaces or `#` in quotes"),
        error => Failure::usage(format!("`{}` cannot be read: {error}", path.display())),
    })?;
    Ok(Some(folder))
}
