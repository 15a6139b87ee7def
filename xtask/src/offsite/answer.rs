//! What a store answers, in words for people and without secrets.

use std::error::Error as _;

use object_store::Error;

use crate::values::failure::Failure;
use crate::values::offsite::Place;

/// Values that must not be repeated, whoever says them.
#[derive(Default)]
pub(super) struct Secrets(Vec<String>);

/// Shorter ones are words that stand anywhere.
#[cfg(any(feature = "s3", feature = "gcs", feature = "azure"))]
const SHORTEST: usize = 6;

impl Secrets {
    #[cfg(any(feature = "s3", feature = "gcs", feature = "azure"))]
    pub(super) fn add(&mut self, value: &str) {
        if value.len() >= SHORTEST {
            self.0.push(value.to_owned());
            let encoded =
                percent_encoding::utf8_percent_encode(value, percent_encoding::NON_ALPHANUMERIC);
            self.0.push(encoded.to_string());
            // As an error shows a text that it could not read.
            let quoted = format!("{value:?}");
            self.0.push(quoted.trim_matches('"').to_owned());
        }
    }

    fn hide(&self, text: &str) -> String {
        let hidden = |text: String, secret: &String| text.replace(secret.as_str(), "…");
        self.0.iter().fold(without_queries(text), hidden)
    }

    pub(super) fn told(&self, place: &Place, error: Error) -> anyhow::Error {
        let said = self.words(&error);
        match hint(place, &error, &said) {
            Some(hint) => Failure::unexpected(said).hint(hint).into(),
            None => Failure::unexpected(said).into(),
        }
    }

    /// The innermost words, which are those of the server or of the system. What is hidden is hidden
    /// before they are shortened: of half a secret nobody can tell that it is one.
    fn words(&self, error: &Error) -> String {
        let mut chain = vec![self.hide(&error.to_string())];
        let mut cause = error.source();
        while let Some(found) = cause {
            chain.push(self.hide(&found.to_string()));
            cause = found.source();
        }
        if let Some((code, message)) = chain.iter().find_map(|text| answer(text)) {
            return format!("the server says {code}: {message}");
        }
        if let Some(status) = chain.iter().find_map(|text| status(text)) {
            return format!("the server says {status}");
        }
        let (first, last) = (&chain[0], &chain[chain.len() - 1]);
        match first.contains(last.as_str()) {
            true => one_line(last),
            false => format!("{}: {}", one_line(kind(error)), one_line(last)),
        }
    }
}

fn kind(error: &Error) -> &'static str {
    match error {
        Error::NotFound { .. } => "it is not there",
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => "it is not allowed",
        _ => "no answer that is of use",
    }
}

/// The code and the message that S3, Google and Azure write into the XML of an answer.
fn answer(text: &str) -> Option<(String, String)> {
    let code = between(text, "<Code>", "</Code>")?;
    let message = between(text, "<Message>", "</Message>").unwrap_or_default();
    Some((one_line(code), one_line(message)))
}

fn status(text: &str) -> Option<String> {
    let (_, rest) = text.split_once("status code: ")?;
    let status = rest.split([':', '\n']).next()?;
    Some(status.trim().to_owned())
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(start)?;
    Some(rest.split_once(end)?.0)
}

/// Of an answer that is long, what a person would read.
const LONGEST: usize = 300;

fn one_line(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").chars().take(LONGEST).collect()
}

/// A signature or a token may stand behind the `?` of a URL.
fn without_queries(text: &str) -> String {
    let mut parts = text.split("://");
    let mut whole = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        whole.push_str("://");
        let end = part.find([' ', ')', '"', '\n']).unwrap_or(part.len());
        let (url, rest) = part.split_at(end);
        whole.push_str(url.split('?').next().unwrap_or(url));
        whole.push_str(rest);
    }
    whole
}

fn hint(place: &Place, error: &Error, said: &str) -> Option<String> {
    let has = |words: &[&str]| words.iter().any(|word| said.contains(word));
    if has(&["RequestTimeTooSkewed"]) {
        return Some("set the clock of this machine, which the server finds wrong".into());
    }
    if has(&["NoSuchBucket", "ContainerNotFound"]) {
        return Some(format!("make the bucket of {place}, or mend its URL"));
    }
    let refused = matches!(
        error,
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. }
    );
    let codes = [
        "AccessDenied",
        "AuthenticationFailed",
        "AuthenticationRequired",
        "AuthorizationFailure",
        "InvalidAccessKeyId",
        "InvalidSecurity",
        "NotSignedUp",
        "SignatureDoesNotMatch",
        "says 401",
        "says 403",
        // Where a machine of a cloud has its role from; this one has none.
        "169.254.",
    ];
    let refused = refused || has(&codes);
    refused.then(|| format!("look at the credentials for {place}: {}", variables(place)))
}

/// Where the library looks for credentials.
pub(super) fn variables(place: &Place) -> String {
    use crate::values::offsite::PlaceKind::{Azure, Folder, Gcs, S3};
    let names = match place.url.kind() {
        S3 => "`AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`",
        Gcs => "`GOOGLE_APPLICATION_CREDENTIALS` or `GOOGLE_SERVICE_ACCOUNT`",
        Azure => "`AZURE_STORAGE_ACCOUNT_NAME` and `AZURE_STORAGE_ACCOUNT_KEY`",
        Folder => "the owner and mode of the folder",
    };
    match place.variables() {
        Some(start) => format!("{names}, or the same behind `{start}`"),
        None => names.to_owned(),
    }
}
