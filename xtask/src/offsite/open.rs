//! From a URL and options to a store of the library.

use std::io::ErrorKind;
use std::path::Path as FilePath;
use std::sync::Arc;

use anyhow::{Context, Result};
use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use object_store::multipart::MultipartStore;
use object_store::path::Path;

use super::answer::Secrets;
use crate::values::failure::Failure;
use crate::values::id::BackupId;
use crate::values::offsite::{Inventory, Place, PlaceKind};

pub(super) struct Opened {
    pub store: Arc<dyn ObjectStore>,
    pub multipart: Option<Arc<dyn MultipartStore>>,
    pub base: Path,
    pub secrets: Secrets,
}

pub(super) fn open(place: &Place) -> Result<Opened> {
    match place.url.kind() {
        PlaceKind::Folder => open_folder(place),
        #[cfg(feature = "s3")]
        PlaceKind::S3 => buckets::s3(place),
        #[cfg(feature = "gcs")]
        PlaceKind::Gcs => buckets::gcs(place),
        #[cfg(feature = "azure")]
        PlaceKind::Azure => buckets::azure(place),
        #[cfg(not(all(feature = "s3", feature = "gcs", feature = "azure")))]
        _ => anyhow::bail!("{place} is of a kind that this program was built without"),
    }
}

/// A folder that is not there may be a disk that is not mounted: it is not made.
fn open_folder(place: &Place) -> Result<Opened> {
    let folder = place.url.folder().unwrap_or_default();
    let missing = |why: &dyn std::fmt::Display| {
        Failure::usage(format!("{place} cannot be used: {why}"))
            .hint("mount it, or make the folder: nothing is made where a disk may be missing")
    };
    if !place.options.is_empty() || !place.url.options().is_empty() {
        return Err(Failure::usage(format!("{place} is a folder, which has no options")).into());
    }
    let is_folder = folder.metadata().map(|found| found.is_dir());
    match is_folder {
        Ok(true) => {}
        Ok(false) => return Err(missing(&"it is no folder").into()),
        Err(error) => return Err(missing(&error).into()),
    }
    let store = LocalFileSystem::new_with_prefix(&folder)
        .map_err(|error| missing(&error))?
        .with_fsync(true);
    Ok(Opened {
        store: Arc::new(store),
        multipart: None,
        base: Path::default(),
        secrets: Secrets::default(),
    })
}

/// The library leaves its staged files out of its lists.
pub(super) fn add_cut_short(folder: &FilePath, inventory: &mut Inventory) -> Result<()> {
    for (name, size) in staged(folder)? {
        inventory.add(&name, size);
    }
    Ok(())
}

/// Removes what killed runs have left of a copy of this backup, and says how it was called. To be
/// called by the one run that copies it.
pub(super) fn remove_cut_short(folder: &FilePath, id: &BackupId) -> Result<Vec<String>> {
    let mut removed = Vec::new();
    for (name, _) in staged(folder)? {
        let mut inventory = Inventory::default();
        inventory.add(&name, 0);
        let is_of_it = name
            .strip_prefix(id.as_str())
            .is_some_and(|rest| rest.starts_with('.'));
        if !is_of_it || inventory.cut_short.is_empty() {
            continue;
        }
        match std::fs::remove_file(folder.join(&name)) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            done => {
                done.with_context(|| format!("cannot remove `{name}`"))?;
                removed.push(name);
            }
        }
    }
    Ok(removed)
}

/// The files that the library writes into before they have their names.
fn staged(folder: &FilePath) -> Result<Vec<(String, u64)>> {
    let context = || format!("cannot read the folder `{}`", folder.display());
    let mut staged = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(context)? {
        let entry = entry.with_context(context)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let number = name.rsplit_once('#').map(|(_, number)| number);
        if number.is_some_and(|number| number.bytes().all(|b| b.is_ascii_digit())) {
            let size = entry.metadata().map_or(0, |found| found.len());
            staged.push((name, size));
        }
    }
    Ok(staged)
}

#[cfg(any(feature = "s3", feature = "gcs", feature = "azure"))]
mod buckets {
    use std::env;
    use std::str::FromStr;
    use std::sync::Arc;
    use std::time::Duration;

    use anyhow::Result;
    use object_store::path::Path;
    use object_store::{ObjectStoreScheme, RetryConfig};

    use super::super::answer::{self, Secrets};
    use super::Opened;
    use crate::values::failure::Failure;
    use crate::values::offsite::{Place, is_secret};

    /// For one request, which moves no more than one part: 8 MiB in that time is a slow line.
    const TIMEOUT: &str = "5 minutes";
    const CONNECT_TIMEOUT: &str = "5 seconds";

    /// Options of ours: how often, and for how many seconds, the library tries again.
    const MAX_RETRIES: &str = "max_retries";
    const RETRY_SECONDS: &str = "retry_seconds";

    /// Variables for everybody that are stronger than what is ours.
    const OURS: &[&str] = &["timeout", "connect_timeout", MAX_RETRIES, RETRY_SECONDS];

    /// What is said of a place, the weakest first: defaults of ours, its URL, its options, its own
    /// variables. Those of everybody, such as `AWS_REGION`, are weaker than all of them.
    struct Said {
        options: Vec<(String, String)>,
        retry: RetryConfig,
        secrets: Secrets,
    }

    impl Said {
        /// `everybody` is how the variables begin that the library reads by itself.
        fn of(place: &Place, everybody: &str) -> Result<Said> {
            // More than one library may want a say; the first one has it.
            let _ = rustls::crypto::ring::default_provider().install_default();
            let mut said = Said {
                options: vec![
                    ("timeout".into(), TIMEOUT.into()),
                    ("connect_timeout".into(), CONNECT_TIMEOUT.into()),
                ],
                retry: RetryConfig::default(),
                secrets: Secrets::default(),
            };
            for (name, value) in variables(everybody) {
                said.hide(&name, &value);
                // The library reads the others.
                let name = name[everybody.len()..].to_ascii_lowercase();
                if OURS.contains(&name.as_str()) {
                    said.add(place, name, value)?;
                }
            }
            for (name, value) in place.url.options().iter().chain(&place.options) {
                said.add(place, name.to_ascii_lowercase(), value.clone())?;
            }
            if let Some(start) = place.variables() {
                for (name, value) in variables(&start) {
                    let mut others = place.others_variables.iter();
                    if others.any(|other| name.starts_with(other)) {
                        continue;
                    }
                    said.hide(&name, &value);
                    let name = name[start.len()..].to_ascii_lowercase();
                    said.add(place, name, value)?;
                }
            }
            Ok(said)
        }

        fn hide(&mut self, name: &str, value: &str) {
            if is_secret(name) {
                self.secrets.add(value);
            }
            // Of a proxy, say.
            if let Ok(url) = url::Url::parse(value)
                && let Some(password) = url.password()
            {
                self.secrets.add(password);
            }
        }

        fn add(&mut self, place: &Place, name: String, value: String) -> Result<()> {
            let number = || {
                value.parse::<u32>().map_err(|_| {
                    Failure::usage(format!("the option `{name}` of {place} is no number"))
                })
            };
            match name.as_str() {
                MAX_RETRIES => self.retry.max_retries = number()? as usize,
                RETRY_SECONDS => {
                    self.retry.retry_timeout = Duration::from_secs(number()?.into());
                }
                _ => self.options.push((name, value)),
            }
            Ok(())
        }
    }

    /// Those that are set and begin so.
    fn variables(start: &str) -> Vec<(String, String)> {
        let set = env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        });
        set.filter(|(name, _)| name.starts_with(start)).collect()
    }

    /// An option that the library does not know is a mistake that must be seen.
    fn key<K: FromStr>(place: &Place, name: &str) -> Result<K> {
        name.parse().map_err(|_| {
            Failure::usage(format!("{place} has no option `{name}`"))
                .hint("the options are those of `object_store`, such as `endpoint` and `region`")
                .into()
        })
    }

    fn base(place: &Place) -> Result<Path> {
        let parsed = ObjectStoreScheme::parse(place.url.url());
        let (_, base) = parsed.map_err(|_| wrong(place, &"its URL cannot be used"))?;
        Ok(base)
    }

    fn wrong(place: &Place, why: &dyn std::fmt::Display) -> Failure {
        Failure::usage(format!("{place} cannot be used: {why}"))
    }

    /// The library's own words may repeat what it read, which may be a key, also from a file.
    fn do_not_fit(place: &Place) -> Failure {
        let variables = answer::variables(place);
        wrong(place, &"its credentials or options do not fit").hint(format!(
            "look at the options of {place}, and at its credentials: {variables}"
        ))
    }

    /// The builders of the library have their methods in common, and no trait.
    macro_rules! built {
        ($place:expr, $builder:ty, $key:ty, $everybody:expr) => {{
            let said = Said::of($place, $everybody)?;
            let mut builder = <$builder>::from_env()
                .with_url($place.url.to_string())
                .with_retry(said.retry.clone());
            for (name, value) in said.options {
                builder = builder.with_config(key::<$key>($place, &name)?, value);
            }
            let store = builder.build().map_err(|_| do_not_fit($place))?;
            (Arc::new(store), said.secrets)
        }};
    }

    #[cfg(feature = "s3")]
    pub fn s3(place: &Place) -> Result<Opened> {
        use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
        let (store, secrets) = built!(place, AmazonS3Builder, AmazonS3ConfigKey, "AWS_");
        Ok(Opened {
            base: base(place)?,
            multipart: Some(Arc::clone(&store) as _),
            store,
            secrets,
        })
    }

    #[cfg(feature = "gcs")]
    pub fn gcs(place: &Place) -> Result<Opened> {
        use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
        let (store, secrets) = built!(place, GoogleCloudStorageBuilder, GoogleConfigKey, "GOOGLE_");
        Ok(Opened {
            base: base(place)?,
            multipart: Some(Arc::clone(&store) as _),
            store,
            secrets,
        })
    }

    #[cfg(feature = "azure")]
    pub fn azure(place: &Place) -> Result<Opened> {
        use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
        let (store, secrets) = built!(place, MicrosoftAzureBuilder, AzureConfigKey, "AZURE_");
        Ok(Opened {
            base: base(place)?,
            // Its parts have no name at the store, which forgets them by itself.
            multipart: None,
            store,
            secrets,
        })
    }
}
