//! Places off-site: where copies of backups are kept, and what lies there.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::Serialize;
use url::Url;

use super::id::BackupId;
use super::manifest::{Manifest, split_dump_name};
use super::retention::Policy;

mod bucket;
mod known;
mod parts;
mod taken;
pub use known::{Begun, Known, KnownCopies, known_copies, known_copy, last_known};
pub use parts::part_bytes;
pub use taken::taken;

/// One bucket, container or folder, with a prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// As it is called in messages, the journal and `OFFSITE_<NAME>_…`; its URL when nobody named it.
    pub name: String,
    pub url: PlaceUrl,
    /// Options of the library, such as `endpoint` and `region`; no secrets.
    pub options: BTreeMap<String, String>,
    /// How those variables of other places begin that begin like this one's.
    pub others_variables: Vec<String>,
    /// What `db prune --offsite` keeps there; nothing: all.
    pub keep: Option<Policy>,
    /// Whether it may remove what is nowhere else.
    pub removes_last_copies: bool,
}

impl Place {
    /// A place that has no name of its own.
    pub fn unnamed(url: PlaceUrl) -> Place {
        Place {
            name: url.to_string(),
            options: BTreeMap::new(),
            others_variables: Vec::new(),
            keep: None,
            removes_last_copies: false,
            url,
        }
    }

    /// The same, for a question that may stay without an answer: it is not asked for minutes.
    pub fn in_a_hurry(&self) -> Place {
        let mut place = self.clone();
        if place.url.kind() != PlaceKind::Folder {
            let limits = [
                ("timeout", "10 seconds"),
                ("max_retries", "1"),
                ("retry_seconds", "5"),
            ];
            let limits = limits.map(|(name, value)| (name.to_owned(), value.to_owned()));
            place.options.extend(limits);
        }
        place
    }

    /// How the environment variables begin that are about this place only.
    pub fn variables(&self) -> Option<String> {
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        let is_name = !self.name.is_empty() && self.name.chars().all(is_word);
        is_name.then(|| {
            let name = self.name.to_ascii_uppercase().replace('-', "_");
            format!("OFFSITE_{name}_")
        })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.name == self.url.to_string() {
            return write!(f, "`{}`", self.name);
        }
        write!(f, "`{}` ({})", self.name, self.url)
    }
}

/// What is spoken there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlaceKind {
    Folder,
    S3,
    Gcs,
    Azure,
}

impl PlaceKind {
    /// The cargo feature that it needs and that this program was built without.
    pub fn missing_feature(self) -> Option<&'static str> {
        let (feature, is_built) = match self {
            PlaceKind::Folder => ("offsite", cfg!(feature = "offsite")),
            PlaceKind::S3 => ("s3", cfg!(feature = "s3")),
            PlaceKind::Gcs => ("gcs", cfg!(feature = "gcs")),
            PlaceKind::Azure => ("azure", cfg!(feature = "azure")),
        };
        (!is_built).then_some(feature)
    }
}

/// Where a place is; never a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlaceUrl {
    kind: PlaceKind,
    url: Url,
    /// Options that were written behind a `?`.
    options: BTreeMap<String, String>,
}

/// What is wrong is said without the text: it may hold a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadPlace {
    #[error("it is no URL")]
    NotUrl,
    #[error("it begins with none of `file:///`, `s3://`, `gs://`, `az://`, `abfss://`")]
    Scheme,
    #[error("it names no folder: a mounted one is written `file:///mnt/backups`")]
    NoFolder,
    #[error("it names no bucket")]
    NoBucket,
    #[error("it holds a user name or a password")]
    Credentials,
    #[error("it holds `{0}`, which is a secret or comes with one")]
    Secret(String),
    #[error("it has a part behind `#`")]
    Fragment,
}

/// Parts of the names of options whose values nobody may read in a URL or a file.
const SECRETS: &[&str] = &[
    "access_key",
    "accesskey",
    "account_key",
    "credential",
    "customer_key",
    "encryption_key",
    "master_key",
    "password",
    "secret",
    "service_account_key",
    "token",
];

/// The same, of such as are parts of harmless words, too.
const SECRET_WORDS: &[&str] = &["sas", "sig", "signature"];

/// Whether an option of the library is a secret, or comes with one.
pub fn is_secret(option: &str) -> bool {
    let option = option.to_ascii_lowercase().replace('-', "_");
    let has_word = || option.split('_').any(|word| SECRET_WORDS.contains(&word));
    let has_part = || SECRETS.iter().any(|secret| option.contains(secret));
    !option.ends_with("skip_signature") && (has_word() || has_part())
}

/// Of an option that others may read.
pub fn check_option(name: &str, value: &str) -> Result<(), BadPlace> {
    let is_signed = ["x-amz-", "x-goog-"]
        .iter()
        .any(|start| name.starts_with(start));
    if is_secret(name) || is_signed {
        return Err(BadPlace::Secret(name.to_owned()));
    }
    match has_user_info(value) {
        true => Err(BadPlace::Credentials),
        false => Ok(()),
    }
}

/// As in `http://me:password@proxy`, where the beginning may be left out.
fn has_user_info(value: &str) -> bool {
    let value = value.trim();
    let whole = Url::parse(value).ok();
    let completed = Url::parse(&format!("http://{value}")).ok();
    whole.is_some_and(|url| !url.username().is_empty() || url.password().is_some())
        || completed.is_some_and(|url| url.password().is_some())
}

impl FromStr for PlaceUrl {
    type Err = BadPlace;

    fn from_str(text: &str) -> Result<PlaceUrl, BadPlace> {
        let mut url = Url::parse(text.trim()).map_err(|_| BadPlace::NotUrl)?;
        let kind = kind_of(&url)?;
        // In `abfss://container@account.…` what stands there is no user.
        let names_container = matches!(url.scheme(), "abfs" | "abfss");
        if url.password().is_some() || (!url.username().is_empty() && !names_container) {
            return Err(BadPlace::Credentials);
        }
        if url.fragment().is_some() {
            return Err(BadPlace::Fragment);
        }
        let mut options = BTreeMap::new();
        for (name, value) in url.query_pairs() {
            let name = name.to_ascii_lowercase();
            check_option(&name, &value)?;
            options.insert(name, value.into_owned());
        }
        url.set_query(None);
        let path = url.path().trim_end_matches('/').to_owned();
        url.set_path(&path);
        Ok(PlaceUrl { kind, url, options })
    }
}

fn kind_of(url: &Url) -> Result<PlaceKind, BadPlace> {
    let host = url.host_str().unwrap_or_default();
    let ends = |endings: &[&str]| endings.iter().any(|ending| host.ends_with(ending));
    let kind = match url.scheme() {
        "file" if url.to_file_path().is_ok_and(|path| path != Path::new("/")) => {
            return Ok(PlaceKind::Folder);
        }
        "file" => return Err(BadPlace::NoFolder),
        "s3" | "s3a" => PlaceKind::S3,
        "gs" => PlaceKind::Gcs,
        "az" | "abfs" | "abfss" => PlaceKind::Azure,
        "https" if ends(&["amazonaws.com", "r2.cloudflarestorage.com"]) => PlaceKind::S3,
        "https" if ends(&["blob.core.windows.net", "dfs.core.windows.net"]) => PlaceKind::Azure,
        _ => return Err(BadPlace::Scheme),
    };
    match host {
        "" => Err(BadPlace::NoBucket),
        _ => Ok(kind),
    }
}

impl PlaceUrl {
    pub fn kind(&self) -> PlaceKind {
        self.kind
    }

    #[cfg(any(feature = "s3", feature = "gcs", feature = "azure"))]
    pub fn url(&self) -> &Url {
        &self.url
    }

    #[cfg(feature = "offsite")]
    pub fn options(&self) -> &BTreeMap<String, String> {
        &self.options
    }

    /// The folder, of a place that is one.
    pub fn folder(&self) -> Option<PathBuf> {
        match self.kind {
            PlaceKind::Folder => self.url.to_file_path().ok(),
            _ => None,
        }
    }
}

impl fmt::Display for PlaceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.url.as_str())
    }
}

/// What lies at a place, by names and sizes only.
#[derive(Debug, Clone, Default)]
pub struct Inventory {
    /// By id; the size of each manifest.
    pub manifests: BTreeMap<BackupId, u64>,
    /// By file name.
    pub dumps: BTreeMap<String, u64>,
    /// What is not ours.
    pub foreign: Vec<String>,
    /// What a copy into a folder leaves when it is killed.
    pub cut_short: Vec<String>,
}

impl Inventory {
    /// Whether both files of a backup are there and as long as they should be.
    pub fn has(&self, manifest: &Manifest, manifest_bytes: u64) -> bool {
        self.manifests.get(&manifest.id) == Some(&manifest_bytes)
            && self.dumps.get(&manifest.dump.file) == Some(&manifest.dump.size_bytes)
    }

    /// What can be said against a copy without reading its dump.
    pub fn problem_with(&self, manifest: &Manifest) -> Option<String> {
        let expected = manifest.dump.size_bytes;
        match self.dumps.get(&manifest.dump.file) {
            None => Some(format!("its dump `{}` is not there", manifest.dump.file)),
            Some(found) if *found != expected => Some(format!(
                "its dump has {found} bytes, its manifest says {expected}"
            )),
            Some(_) => None,
        }
    }

    /// Dumps beside which there is no manifest.
    pub fn orphans(&self) -> impl Iterator<Item = &str> {
        let named = |name: &&String| {
            let id = split_dump_name(name).and_then(|(stem, _)| stem.parse::<BackupId>().ok());
            id.is_none_or(|id| !self.manifests.contains_key(&id))
        };
        self.dumps.keys().filter(named).map(String::as_str)
    }
}

#[cfg(feature = "offsite")]
impl Inventory {
    pub fn add(&mut self, name: &str, size_bytes: u64) {
        let stem = name.strip_suffix(".json");
        if let Some(id) = stem.and_then(|stem| stem.parse().ok()) {
            self.manifests.insert(id, size_bytes);
        } else if is_dump(name) {
            self.dumps.insert(name.to_owned(), size_bytes);
        } else if name
            .split_once('#')
            .is_some_and(|(name, _)| is_dump(name) || name.strip_suffix(".json").is_some_and(is_id))
        {
            self.cut_short.push(name.to_owned());
        } else {
            self.foreign.push(name.to_owned());
        }
    }
}

#[cfg(feature = "offsite")]
fn is_id(stem: &str) -> bool {
    stem.parse::<BackupId>().is_ok()
}

#[cfg(feature = "offsite")]
fn is_dump(name: &str) -> bool {
    split_dump_name(name).is_some_and(|(stem, _)| is_id(stem))
}

/// What came of sending a backup to a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[cfg_attr(
    not(feature = "offsite"),
    expect(dead_code, reason = "without the feature nothing can be sent")
)]
pub enum Pushed {
    Copied,
    /// The same bytes were there; they were read and matched.
    AlreadyThere,
}

/// In an error: parts that were sent of a dump are left at a place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the parts that were sent of `{file}` are left there, and could not be removed: {why}")]
pub struct PartsLeft {
    pub file: String,
    /// What the store calls them, where it does.
    pub upload: Option<String>,
    pub why: String,
}

/// In an error: the copy is not as it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{dump}` is left at {place} without its manifest, which cannot be put back: {why}; \
     `cargo xtask db push` does that later, where the vault has the backup"
)]
pub struct CopyHalfRemoved {
    pub dump: String,
    pub place: String,
    pub why: String,
}
