//! Flag, then environment, then `.env`, then `database/db.toml`, then the default.

use std::collections::HashSet;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::environment::Environment;
use super::keys::{self, Key, Row};
use super::kinds::{Given, Kind, Place, for_show};
use super::policy_file::{FileValue, PolicyFile};
use crate::values::database_url::DatabaseUrl;
use crate::values::failure::Failure;
use crate::values::{offsite, platform};

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "from", rename_all = "snake_case")]
pub enum Origin {
    Default,
    SqlxToml,
    /// The name of the database's host.
    Host,
    /// `database/db.toml`.
    File {
        line: usize,
    },
    /// `.env`.
    DotEnv {
        variable: String,
    },
    Environment {
        variable: String,
    },
    Flag {
        flag: &'static str,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::SqlxToml => f.write_str("sqlx.toml"),
            Origin::Host => f.write_str("by the host"),
            Origin::File { line } => write!(f, "database/db.toml line {line}"),
            Origin::DotEnv { variable } => write!(f, ".env: {variable}"),
            Origin::Environment { variable } => write!(f, "environment: {variable}"),
            Origin::Flag { flag } => write!(f, "flag: {flag}"),
        }
    }
}

/// A setting as it counts in this run.
#[derive(Debug, Clone, Serialize)]
pub struct Setting {
    #[serde(rename = "setting")]
    pub path: &'static str,
    /// Nothing: as the story sees fit.
    pub value: Option<Given>,
    #[serde(flatten)]
    pub origin: Origin,
    /// The name of its variable.
    pub variable: String,
    pub about: &'static str,
}

impl Setting {
    /// Without a password.
    pub fn for_show(&self) -> Setting {
        let mut shown = self.clone();
        match &mut shown.value {
            // Its words may hold what it prints.
            Some(Given::Text(text)) if self.path == keys::PASSPHRASE_COMMAND.path => {
                *text = "(hidden: a command)".into();
            }
            Some(Given::Text(text)) => *text = for_show(text),
            Some(Given::List(list)) => list.iter_mut().for_each(|text| *text = for_show(text)),
            _ => {}
        }
        shown
    }
}

/// All settings of a run.
pub struct Resolved {
    pub settings: Vec<Setting>,
    /// Of each place off-site.
    pub places: Vec<Vec<Setting>>,
    here: PathBuf,
    dotenv: PathBuf,
    project: PathBuf,
}

/// What was given on the command line: section and name, and the value as text.
pub type Flags = Vec<(&'static str, String)>;

impl Resolved {
    pub fn new(
        file: &PolicyFile,
        environment: &Environment,
        flags: &Flags,
        url_variable: &str,
        project: &Path,
    ) -> Result<Resolved, Failure> {
        // A flag that reaches no setting would be passed over in silence.
        let is_known = |path: &str| keys::ALL.iter().any(|row| row.path == path);
        if let Some((path, _)) = flags.iter().find(|(path, _)| !is_known(path)) {
            return Err(Failure::unexpected(format!(
                "a flag leads to `{path}`, and there is no such setting"
            )));
        }
        let mut known = HashSet::new();
        let mut settings = Vec::new();
        for row in keys::ALL {
            let variable = match row.path {
                path if path == keys::DATABASE_URL.path => url_variable.to_owned(),
                _ => row.variable_name(),
            };
            known.insert(variable.clone());
            let flag = flags.iter().find(|(path, _)| *path == row.path);
            let flag = flag.map(|(_, text)| text.as_str());
            settings.push(resolve(row, variable, flag, environment, &file.values)?);
        }
        let mut places = Vec::new();
        for values in &file.places {
            let name = name_of(values)?;
            let rows = keys::PLACE.iter().map(|row| {
                let variable = row.variable_of_place(name);
                known.insert(variable.clone());
                resolve(row, variable, None, environment, values)
            });
            let place: Vec<Setting> = rows.collect::<Result<_, _>>()?;
            require(&place, keys::OFFSITE_URL.path, name)?;
            places.push(place);
        }
        environment.refuse_unknown(&known)?;
        let here = environment.here.clone();
        Ok(Resolved {
            settings,
            places,
            dotenv: environment.folder.clone().unwrap_or_else(|| here.clone()),
            here,
            project: project.to_owned(),
        })
    }

    /// The default of the migrations folder is sqlx's to say.
    pub fn with_sqlx_toml(mut self, migrations_dir: &str) -> Resolved {
        let is_source = |setting: &&mut Setting| setting.path == keys::SOURCE.path;
        if let Some(source) = self.settings.iter_mut().find(is_source)
            && source.origin == Origin::Default
            && migrations_dir != "migrations"
        {
            source.value = Some(Given::Text(migrations_dir.to_owned()));
            source.origin = Origin::SqlxToml;
        }
        self
    }

    /// The platform that nobody names is known by the database's host.
    pub fn with_host(mut self, url: &DatabaseUrl) -> Resolved {
        let is_open =
            |setting: &&mut Setting| setting.path == keys::PROFILE.path && setting.value.is_none();
        if let Some(profile) = platform::by_host(url)
            && let Some(setting) = self.settings.iter_mut().find(is_open)
        {
            setting.value = Some(Given::Text(profile.to_string()));
            setting.origin = Origin::Host;
        }
        self
    }

    /// What a flag or a variable says of the places off-site counts instead of the file; of that,
    /// only the places that are named again are left.
    pub fn with_places(mut self, said: Option<Setting>, places: &[offsite::Place]) -> Resolved {
        let Some(said) = said else {
            return self;
        };
        self.settings.push(said);
        let is_name = |setting: &Setting| match (setting.path, &setting.value) {
            (path, Some(Given::Text(name))) if path == keys::OFFSITE_NAME.path => {
                places.iter().any(|place| place.name == *name)
            }
            _ => false,
        };
        self.places.retain(|place| place.iter().any(is_name));
        self
    }

    /// Without a secret.
    pub fn for_show(&self) -> Vec<Setting> {
        let mut shown: Vec<Setting> = self.settings.iter().map(Setting::for_show).collect();
        let passphrase = self.path(keys::PASSPHRASE_FILE);
        // What is no file may be the passphrase itself.
        if passphrase.is_some_and(|path| !path.is_file()) {
            let is_it = |setting: &&mut Setting| setting.path == keys::PASSPHRASE_FILE.path;
            for setting in shown.iter_mut().filter(is_it) {
                setting.value = Some(Given::Text("(hidden: there is no such file)".into()));
            }
        }
        shown
    }

    fn setting<T>(&self, key: &Key<T>) -> Option<&Setting> {
        self.settings
            .iter()
            .find(|setting| setting.path == key.path)
    }

    /// `None` where nothing was given and there is no default.
    pub fn get<T: Kind>(&self, key: Key<T>) -> Option<T> {
        let given = self.setting(&key)?.value.as_ref()?;
        // It was checked when it was read.
        T::read(given).ok()
    }

    /// `None` where nobody has said anything.
    pub fn get_said<T: Kind>(&self, key: Key<T>) -> Option<(T, &Origin)> {
        let setting = self.setting(&key)?;
        let value = T::read(setting.value.as_ref()?).ok()?;
        (setting.origin != Origin::Default).then_some((value, &setting.origin))
    }

    /// Absolute.
    pub fn path(&self, key: Key<Place>) -> Option<PathBuf> {
        let (Place(path), origin) = self.get_said(key)?;
        Some(self.folder_of(origin).join(path))
    }

    /// What a relative path is relative to.
    pub fn folder_of(&self, origin: &Origin) -> &Path {
        match origin {
            Origin::Flag { .. } | Origin::Environment { .. } => &self.here,
            Origin::DotEnv { .. } => &self.dotenv,
            Origin::Default | Origin::SqlxToml | Origin::Host | Origin::File { .. } => {
                &self.project
            }
        }
    }
}

fn require(place: &[Setting], path: &str, name: &str) -> Result<(), Failure> {
    let found = place.iter().find(|setting| setting.path == path);
    match found {
        Some(setting) if setting.value.is_none() => Err(Failure::usage(format!(
            "in `database/db.toml`, the place `{name}` below `[[offsite]]` has no `url`"
        ))
        .hint(format!("write one, or set `{}`", setting.variable))),
        _ => Ok(()),
    }
}

fn name_of(values: &[FileValue]) -> Result<&str, Failure> {
    let name = values
        .iter()
        .find(|value| value.path == keys::OFFSITE_NAME.path);
    match name.map(|value| &value.given) {
        Some(Given::Text(name)) => Ok(name),
        _ => Err(Failure::usage(
            "in `database/db.toml`, a place below `[[offsite]]` has no `name`",
        )),
    }
}

fn resolve(
    row: &Row,
    variable: String,
    flag: Option<&str>,
    environment: &Environment,
    file: &[FileValue],
) -> Result<Setting, Failure> {
    let set = match flag {
        Some(_) => None,
        None => environment.variable(&variable, row.default)?,
    };
    let in_file = file.iter().find(|value| value.path == row.path);
    let (value, origin) = match (flag, set, in_file) {
        (Some(text), _, _) => {
            let flag = row.flag.unwrap_or("a flag");
            let given = given(row, text, flag)?;
            (Some(given), Origin::Flag { flag })
        }
        (None, Some((text, origin)), _) => (Some(given(row, text.trim(), &variable)?), origin),
        (None, None, Some(value)) => {
            let line = value.line;
            (Some(value.given.clone()), Origin::File { line })
        }
        (None, None, None) if row.default.is_empty() => (None, Origin::Default),
        (None, None, None) => (Some(given(row, row.default, row.path)?), Origin::Default),
    };
    Ok(Setting {
        path: row.path,
        value,
        origin,
        variable,
        about: row.about,
    })
}

fn given(row: &Row, text: &str, from: &str) -> Result<Given, Failure> {
    let given = row.shape.of_text(text);
    let checked = given.and_then(|given| (row.check)(&given).map(|()| given));
    checked.map_err(|why| Failure::usage(format!("`{from}` cannot be used: {why}")))
}
