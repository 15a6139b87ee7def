//! Which bucket a URL means, however it is written.

use std::collections::BTreeMap;

use percent_encoding::percent_decode_str;
use url::Url;

use super::{Place, PlaceKind, PlaceUrl};

/// A bucket, container or folder and the prefix in it. The same of two servers are two.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bucket {
    kind: PlaceKind,
    name: String,
    prefix: Vec<String>,
}

/// Options that say which server it is, and account, by the names that the library takes.
const SERVERS: &[&str] = &[
    "endpoint",
    "endpoint_url",
    "aws_endpoint",
    "aws_endpoint_url",
    "aws_endpoint_url_s3",
    "azure_endpoint",
    "azure_storage_endpoint",
    "base_url",
    "google_base_url",
];
const ACCOUNTS: &[&str] = &["account_name", "azure_storage_account_name"];

/// All of its hosts lead to the same buckets.
const AMAZON: &str = "amazonaws.com";

impl Place {
    /// Whether what is written at one of them is there at the other, as far as can be told from what
    /// was said of them.
    pub fn is_same_as(&self, other: &Place) -> bool {
        self.url.bucket() == other.url.bucket() && self.server() == other.server()
    }

    /// The same in words, for the journal: of one name, another address is another place.
    pub fn address(&self) -> String {
        let Bucket { kind, name, prefix } = self.url.bucket();
        let kind = match kind {
            PlaceKind::Folder => "folder",
            PlaceKind::S3 => "s3",
            PlaceKind::Gcs => "gcs",
            PlaceKind::Azure => "azure",
        };
        let [server, account] = self.server();
        let server = server.map_or(String::new(), |server| format!(" at {server}"));
        let account = account.map_or(String::new(), |account| format!(" of {account}"));
        format!("{kind} {name}/{}{server}{account}", prefix.join("/"))
    }

    /// Nothing: the one that everybody means.
    fn server(&self) -> [Option<String>; 2] {
        let options = [&self.options, &self.url.options];
        let said = |names: &[&str]| options.iter().find_map(|options| one_of(options, names));
        let (host, account) = self.url.host();
        let server = said(SERVERS).map(host_of).or(host);
        [
            server.filter(|host| !host.ends_with(AMAZON)),
            said(ACCOUNTS).map(str::to_owned).or(account),
        ]
    }
}

fn one_of<'a>(options: &'a BTreeMap<String, String>, names: &[&str]) -> Option<&'a str> {
    names
        .iter()
        .find_map(|name| Some(options.get(*name)?.as_str()))
}

/// With its port, where that is not the usual one.
fn host_of(endpoint: &str) -> String {
    let url = Url::parse(endpoint).ok();
    let host = url.as_ref().and_then(|url| {
        let port = url.port().map_or(String::new(), |port| format!(":{port}"));
        Some(format!("{}{port}", url.host_str()?))
    });
    host.unwrap_or_else(|| endpoint.trim_end_matches('/').to_ascii_lowercase())
}

impl PlaceUrl {
    pub fn bucket(&self) -> Bucket {
        let host = self.url.host_str().unwrap_or_default();
        let path = percent_decode_str(self.url.path()).decode_utf8_lossy();
        let mut prefix: Vec<String> = path.split('/').map(str::to_owned).collect();
        prefix.retain(|part| !part.is_empty());
        let first_label = host.split('.').next().unwrap_or_default();
        let name = match self.url.scheme() {
            // `abfss://container@account.…`
            "abfs" | "abfss" if !self.url.username().is_empty() => self.url.username().to_owned(),
            "https" if host.ends_with(AMAZON) && first_label != "s3" => first_label.to_owned(),
            "https" if !prefix.is_empty() => prefix.remove(0),
            _ => host.to_owned(),
        };
        Bucket {
            kind: self.kind,
            name,
            prefix,
        }
    }

    /// Server and account, where its host is no bucket.
    fn host(&self) -> (Option<String>, Option<String>) {
        let host = self.url.host_str().unwrap_or_default();
        let names_account = self.url.scheme() == "https" || !self.url.username().is_empty();
        match self.kind {
            PlaceKind::Azure if names_account => (None, host.split('.').next().map(str::to_owned)),
            PlaceKind::S3 if self.url.scheme() == "https" => (Some(host.to_owned()), None),
            _ => (None, None),
        }
    }
}
