//! Variables: which are set, and which of them nobody would read.

use std::collections::HashSet;
use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::keys;
use super::policy_file::nearest;
use super::resolved::Origin;
use crate::values::failure::Failure;

/// The environment, which `.env` has been read into.
pub struct Environment {
    /// The names that were set before.
    before: HashSet<OsString>,
    pub(super) here: PathBuf,
    /// Of `.env`.
    pub(super) folder: Option<PathBuf>,
}

impl Environment {
    /// To be made before `.env` is read.
    pub fn new(here: &Path) -> Environment {
        Environment {
            before: env::vars_os().map(|(name, _)| name).collect(),
            here: here.to_owned(),
            folder: None,
        }
    }

    pub fn with_dotenv(mut self, folder: Option<PathBuf>) -> Environment {
        self.folder = folder;
        self
    }

    /// A variable that is set and empty is a mistake that must be seen: a secret
    /// that is missing in CI arrives like that, and what counts without it may
    /// be another database.
    pub(super) fn variable(
        &self,
        name: &str,
        instead: &str,
    ) -> Result<Option<(String, Origin)>, Failure> {
        let variable = name.to_owned();
        match env::var(name) {
            Ok(value) if !value.trim().is_empty() => {
                let origin = if self.before.contains(&OsString::from(name)) {
                    Origin::Environment { variable }
                } else {
                    Origin::DotEnv { variable }
                };
                Ok(Some((value, origin)))
            }
            Err(env::VarError::NotPresent) => Ok(None),
            _ => Err(
                Failure::usage(format!("`{name}` is set, and empty or not UTF-8")).hint(
                    match instead {
                        "" => format!("give it a value, or `unset {name}`"),
                        instead => format!("give it a value, or `unset {name}` for `{instead}`"),
                    },
                ),
            ),
        }
    }

    /// A setting that reaches nothing would be passed over in silence.
    pub(super) fn refuse_unknown(&self, known: &HashSet<String>) -> Result<(), Failure> {
        let prefix = keys::PREFIX;
        for name in env::vars_os().map(|(name, _)| name) {
            let name = name.to_string_lossy().into_owned();
            let Some(rest) = name.strip_prefix(prefix) else {
                continue;
            };
            let is_of_tests = OF_TESTS
                .iter()
                .any(|other| *other == rest || (other.ends_with('_') && rest.starts_with(other)));
            if known.contains(&name) || is_of_tests {
                continue;
            }
            let meant = match meant(rest, known) {
                Some(meant) => format!("is `{prefix}{meant}` meant? else"),
                None => "every one is in `database/db.toml.example`; this one".to_owned(),
            };
            return Err(
                Failure::usage(format!("`{name}` is set, and there is no such setting"))
                    .hint(format!("{meant}: unset {name}")),
            );
        }
        Ok(())
    }
}

/// What the tests and benchmarks of this program are told; one that ends in `_` begins so.
const OF_TESTS: &[&str] = &[
    "AZURITE",
    "BENCH_",
    "BIG",
    "HOLD_A_CLUSTER",
    "KILL_ROUNDS",
    "POSTGRES_BINS",
    "REQUIRE_POSTGRES",
    "ROUNDS",
    "SEED",
    "SERVE_S3",
    "SERVE_S3_",
    "SKIPS",
];

/// Perhaps with its section before it, as the file has it.
fn meant<'a>(rest: &str, known: &'a HashSet<String>) -> Option<&'a str> {
    let names = || {
        let names = known.iter();
        names.filter_map(|name| name.strip_prefix(keys::PREFIX))
    };
    let bare = keys::sections().into_iter().find_map(|section| {
        let bare = rest.strip_prefix(&section.to_uppercase())?;
        bare.strip_prefix('_')
    });
    let exact = bare.and_then(|bare| names().find(|name| *name == bare));
    let alike = || nearest(rest, names());
    exact.or_else(alike).or_else(|| nearest(bare?, names()))
}
