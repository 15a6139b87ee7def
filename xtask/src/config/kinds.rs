//! What a setting may say, whatever it is read from.

use std::fmt;
use std::path::PathBuf;

use clap::ValueEnum;
use serde::Serialize;

use crate::cli::OnFailure;
use crate::values::database_url::DatabaseUrl;
use crate::values::platform::Profile;
use crate::values::retention::{HowLong, NotATime};

/// A value as somebody gave it: typed in TOML, text in a variable or behind a flag.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Given {
    Flag(bool),
    Number(i64),
    Text(String),
    List(Vec<String>),
}

impl fmt::Display for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Given::Flag(flag) => write!(f, "{flag}"),
            Given::Number(number) => write!(f, "{number}"),
            Given::Text(text) => f.write_str(text),
            Given::List(list) => f.write_str(&list.join(", ")),
        }
    }
}

/// How text becomes a [`Given`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    Flag,
    Number,
    Text,
    /// In a variable: separated by commas or line breaks.
    List,
}

impl Shape {
    pub fn of_text(self, text: &str) -> Result<Given, String> {
        match self {
            Shape::Flag => match text {
                "true" | "1" => Ok(Given::Flag(true)),
                "false" | "0" => Ok(Given::Flag(false)),
                _ => Err("`true` or `false` is expected".into()),
            },
            Shape::Number => match text.parse() {
                Ok(number) => Ok(Given::Number(number)),
                Err(_) => Err("a whole number is expected".into()),
            },
            Shape::Text => Ok(Given::Text(text.to_owned())),
            Shape::List => {
                let parts = text.split([',', '\n']).map(str::trim);
                let parts = parts.filter(|part| !part.is_empty()).map(str::to_owned);
                Ok(Given::List(parts.collect()))
            }
        }
    }

    /// What stands in TOML instead.
    pub fn expected(self) -> &'static str {
        match self {
            Shape::Flag => "`true` or `false`",
            Shape::Number => "a whole number",
            Shape::Text => "a text in quotes",
            Shape::List => "a list of texts in quotes",
        }
    }

    pub fn is_of(self, given: &Given) -> bool {
        matches!(
            (self, given),
            (Shape::Flag, Given::Flag(_))
                | (Shape::Number, Given::Number(_))
                | (Shape::Text, Given::Text(_))
                | (Shape::List, Given::List(_))
        )
    }
}

/// The type of a setting. The error says what would have been right, and never
/// repeats the value, which may hold a secret.
pub trait Kind: Sized {
    const SHAPE: Shape;

    fn read(given: &Given) -> Result<Self, String>;
}

impl Kind for bool {
    const SHAPE: Shape = Shape::Flag;

    fn read(given: &Given) -> Result<bool, String> {
        match given {
            Given::Flag(flag) => Ok(*flag),
            _ => Err(expected(Self::SHAPE)),
        }
    }
}

/// How many; none is a number as well.
impl Kind for u32 {
    const SHAPE: Shape = Shape::Number;

    fn read(given: &Given) -> Result<u32, String> {
        match given {
            Given::Number(number) => u32::try_from(*number)
                .map_err(|_| format!("a whole number from 0 to {} is expected", u32::MAX)),
            _ => Err(expected(Self::SHAPE)),
        }
    }
}

/// Sessions at once.
impl Kind for u8 {
    const SHAPE: Shape = Shape::Number;

    fn read(given: &Given) -> Result<u8, String> {
        let jobs = match given {
            Given::Number(jobs) => u8::try_from(*jobs).ok(),
            _ => None,
        };
        let jobs = jobs.filter(|jobs| crate::cli::JOBS.contains(&i64::from(*jobs)));
        jobs.ok_or_else(|| "a whole number from 1 to 64 is expected".into())
    }
}

impl Kind for String {
    const SHAPE: Shape = Shape::Text;

    fn read(given: &Given) -> Result<String, String> {
        match given {
            Given::Text(text) => Ok(text.clone()),
            _ => Err(expected(Self::SHAPE)),
        }
    }
}

impl Kind for Vec<String> {
    const SHAPE: Shape = Shape::List;

    fn read(given: &Given) -> Result<Vec<String>, String> {
        match given {
            Given::List(list) if !list.is_empty() => Ok(list.clone()),
            _ => Err("at least one text is expected".into()),
        }
    }
}

/// A folder or a file. What a relative one is relative to depends on where it was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place(pub PathBuf);

impl Kind for Place {
    const SHAPE: Shape = Shape::Text;

    fn read(given: &Given) -> Result<Place, String> {
        match given {
            Given::Text(text) if text.contains("://") => {
                Err("a database URL stands where a path is expected".into())
            }
            // Only a shell knows whose home it is.
            Given::Text(text) if text.starts_with("~/") => {
                Err("`~` means nothing here, and a path without it is expected".into())
            }
            Given::Text(text) => Ok(Place(text.into())),
            _ => Err(expected(Self::SHAPE)),
        }
    }
}

impl Kind for HowLong {
    const SHAPE: Shape = Shape::Text;

    fn read(given: &Given) -> Result<HowLong, String> {
        match given {
            Given::Text(text) => text.parse().map_err(|error: NotATime| error.to_string()),
            _ => Err(expected(Self::SHAPE)),
        }
    }
}

impl Kind for OnFailure {
    const SHAPE: Shape = Shape::Text;

    fn read(given: &Given) -> Result<OnFailure, String> {
        let text = String::read(given)?;
        OnFailure::from_str(&text, false)
            .map_err(|_| "`ask`, `restore` or `keep` is expected".into())
    }
}

impl Kind for Profile {
    const SHAPE: Shape = Shape::Text;

    fn read(given: &Given) -> Result<Profile, String> {
        Profile::parse(&String::read(given)?)
    }
}

/// A database URL that has yet to be parsed: the errors of that have hints of their own.
pub struct UrlText(pub String);

impl Kind for UrlText {
    const SHAPE: Shape = Shape::Text;

    fn read(given: &Given) -> Result<UrlText, String> {
        String::read(given).map(UrlText)
    }
}

fn expected(shape: Shape) -> String {
    format!("{} is expected", shape.expected())
}

/// Whether a text holds what must not stand in a file that is committed: a
/// URL with a password, or a secret key of age.
pub fn holds_a_secret(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    if lower.contains("age-secret-key-") || lower.contains("private key-----") {
        return true;
    }
    if !text.contains("://") {
        return false;
    }
    if DatabaseUrl::parse(text).is_ok_and(|url| url.has_password()) {
        return true;
    }
    // Also one that cannot be parsed as what it should be.
    let rest = text.split_once("://").map_or("", |(_, rest)| rest);
    let before_path = rest.split(['/', '?']).next().unwrap_or_default();
    let user_info = before_path.rsplit_once('@').map_or("", |(user, _)| user);
    let has_password = user_info
        .split_once(':')
        .is_some_and(|(_, p)| !p.is_empty());
    let names = ["password=", "secret", "token=", "signature=", "sig="];
    let query = lower.split_once('?').map_or("", |(_, query)| query);
    has_password || names.iter().any(|name| query.contains(name))
}

/// As it is shown: a URL without its password and its parameters' secrets.
pub fn for_show(text: &str) -> String {
    match DatabaseUrl::parse(text) {
        Ok(url) => url.to_string(),
        Err(_) if holds_a_secret(text) => "(hidden: it holds a secret)".into(),
        Err(_) => text.to_owned(),
    }
}
