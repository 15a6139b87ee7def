//! Flags, environment, `.env`, `database/db.toml` and `sqlx.toml` → settings.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sqlx_core::config::Config as SqlxConfig;

use crate::cli::Options;
use crate::values::database_url::{DatabaseUrl, SqliteUrl};
use crate::values::failure::Failure;
use crate::values::offsite::Place;
use crate::values::plan::{Bookkeeping, Source};
use crate::values::platform::{self, Profile};
use crate::values::words::shell_quoted;
use environment::Environment;
use kinds::UrlText;
use policy_file::PolicyFile;
use resolved::{Flags, Origin, Resolved};

mod encryption;
mod environment;
mod github;
pub mod keys;
mod kinds;
mod offsite;
mod policy_file;
mod resolved;

pub use encryption::{Encryption, NOBODY, PassphraseSource};
pub use github::Audience;
pub use keys::Key;
pub use kinds::{Kind, holds_a_secret};
pub use resolved::Setting;

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
    /// Where copies of backups go.
    pub offsite: Vec<Place>,
    pub bookkeeping: Bookkeeping,
    pub encryption: Encryption,
    /// Who can read what this run leaves behind.
    pub audience: Audience,
    /// What was given on the command line and decides which database and which
    /// vault are meant, ready for a shell; never with a password.
    pub flags: String,
    /// Every setting, and where it comes from.
    pub resolved: Resolved,
}

const DEFAULT_DATABASE: &str = "database/app.db";
const DEFAULT_VAULT: &str = "database/backups";

impl Settings {
    /// `None` where nothing was given and there is no default.
    pub fn get<T: Kind>(&self, key: Key<T>) -> Option<T> {
        self.resolved.get(key)
    }

    /// What is said counts for whatever is connected to; else the name of the host does.
    pub fn profile_for(&self, url: &DatabaseUrl) -> Profile {
        match self.resolved.get_said(keys::PROFILE) {
            Some((said, origin)) if *origin != Origin::Host => said,
            _ => platform::by_host(url).unwrap_or_default(),
        }
    }

    /// `None` where nobody has said anything.
    pub fn get_said<T: Kind>(&self, key: Key<T>) -> Option<T> {
        self.resolved.get_said(key).map(|(value, _)| value)
    }
}

/// `given` is what the verb's own flags say, by the keys' names.
pub fn settings(options: &Options, mut given: Flags) -> Result<Settings> {
    let here = env::current_dir().context("cannot ask for the current folder")?;
    refuse_urls(options)?;
    let project = match &options.project {
        Some(project) => canonical_folder(&here.join(project), "--project")?,
        None => nearest_project(&here),
    };
    let sqlx = read_sqlx_toml(&project)?;
    given.extend(given_by(options));
    let environment = Environment::new(&here);
    let environment = environment.with_dotenv(load_dotenv(&here, &project)?);
    let file = PolicyFile::read(&project)?;
    let variable = sqlx.common.database_url_var();
    let resolved = Resolved::new(&file, &environment, &given, variable, &project)?;
    let resolved = resolved.with_sqlx_toml(sqlx.migrate.migrations_dir());

    let (offsite, said) = offsite::places(options, &resolved, &environment)?;
    let resolved = resolved.with_places(said, &offsite);
    let (url, url_folder) = database_url(&resolved, &project)?;
    let resolved = resolved.with_host(&url);
    // As they were given: they need not be UTF-8.
    let source = options.source.as_ref().map(|source| here.join(source));
    let source = source.or_else(|| resolved.path(keys::SOURCE));
    let vault = options.backups.as_ref().map(|vault| here.join(vault));
    let vault = vault.or_else(|| resolved.path(keys::VAULT));
    Ok(Settings {
        flags: flags(options, &url),
        url,
        url_folder,
        source: Source {
            folder: source.unwrap_or_else(|| project.join(sqlx.migrate.migrations_dir())),
            ignored_chars: sqlx.migrate.ignored_chars.iter().copied().collect(),
        },
        vault: vault.unwrap_or_else(|| project.join(DEFAULT_VAULT)),
        scratch_url: scratch_url(&resolved)?,
        offsite,
        encryption: encryption::encryption(&options.encryption, &resolved, &here)?,
        audience: github::audience(),
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
        resolved,
    })
}

/// What the flags of every verb say.
fn given_by(options: &Options) -> Flags {
    let text = |folder: &PathBuf| folder.to_string_lossy().into_owned();
    let given = [
        (keys::DATABASE_URL.path, options.database_url.clone()),
        (keys::SOURCE.path, options.source.as_ref().map(text)),
        (keys::VAULT.path, options.backups.as_ref().map(text)),
        (keys::PROFILE.path, options.profile.clone()),
    ];
    let given = given
        .into_iter()
        .chain(encryption::given_by(&options.encryption));
    given
        .filter_map(|(path, text)| Some((path, text?)))
        .collect()
}

/// A database URL behind the wrong flag is not repeated: it may hold a password.
fn refuse_urls(options: &Options) -> Result<(), Failure> {
    let folders = [
        &options.project,
        &options.source,
        &options.backups,
        &options.encryption.passphrase_file,
    ];
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
        flags.push(if url.may_be_shown() {
            format!("--database-url {}", shell_quoted(given))
        } else {
            "--database-url \"$DATABASE_URL\"".to_owned()
        });
    }
    let folders = [
        ("--source", &options.source),
        ("--backups", &options.backups),
        ("--project", &options.project),
    ];
    let folders = folders
        .into_iter()
        .filter_map(|(flag, path)| Some((flag, path.as_ref()?)));
    flags.extend(folders.map(|(name, path)| flag(name, &path.to_string_lossy())));
    flags.extend(encryption::flags(&options.encryption));
    let profile = options.profile.iter();
    flags.extend(profile.map(|profile| flag("--profile", profile)));
    for url in &options.offsite_url {
        flags.push(format!("--offsite-url {}", shell_quoted(url)));
    }
    flags.join(" ")
}

fn flag(name: &str, value: &str) -> String {
    // Behind a space, clap would take it for a flag.
    let between = if value.starts_with('-') { '=' } else { ' ' };
    format!("{name}{between}{}", shell_quoted(value))
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

/// The URL, and the folder that a relative SQLite path in it is relative to: the
/// current one, as in sqlx-cli; that of `.env`, or the project, so that it
/// means the same file from every folder of the project.
fn database_url(resolved: &Resolved, project: &Path) -> Result<(DatabaseUrl, PathBuf)> {
    let default = project.join(DEFAULT_DATABASE);
    let Some((UrlText(text), origin)) = resolved.get_said(keys::DATABASE_URL) else {
        let url = SqliteUrl {
            path: default,
            create: true,
            read_only: false,
        };
        return Ok((DatabaseUrl::Sqlite(url), project.to_owned()));
    };
    let folder = resolved.folder_of(origin).to_owned();
    let mut url = parse_url(&text, origin, keys::DATABASE_URL.path)?;
    if let DatabaseUrl::Sqlite(sqlite) = &mut url
        && std::path::absolute(sqlite.path_in(&folder)).is_ok_and(|path| path == default)
        && !sqlite.read_only
    {
        // Naming the default is no reason to treat it otherwise.
        sqlite.create = true;
    }
    Ok((url, folder))
}

/// The error says where it stands when it is not where one would look first.
fn parse_url(text: &str, origin: &Origin, path: &str) -> Result<DatabaseUrl> {
    let parsed = DatabaseUrl::parse(text);
    let Origin::File { line } = origin else {
        return Ok(parsed?);
    };
    parsed.with_context(|| {
        Failure::usage(format!(
            "`database/db.toml` line {line}: `{path}` cannot be used"
        ))
    })
}

fn scratch_url(resolved: &Resolved) -> Result<Option<DatabaseUrl>> {
    let Some((UrlText(text), origin)) = resolved.get_said(keys::SCRATCH_URL) else {
        return Ok(None);
    };
    let parsed = parse_url(&text, origin, keys::SCRATCH_URL.path);
    let parsed = parsed.with_context(|| Failure::usage("`SCRATCH_DATABASE_URL` cannot be used"));
    Ok(Some(parsed?))
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
