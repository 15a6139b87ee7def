//! Places off-site, from flags, the environment or `database/db.toml`.

use std::cell::Cell;
use std::collections::BTreeMap;

use anyhow::Result;

use super::environment::Environment;
use super::keys;
use super::kinds::{Given, Kind, Shape};
use super::resolved::{Origin, Resolved, Setting};
use crate::cli::Options;
use crate::values::failure::Failure;
use crate::values::offsite::{BadPlace, Place, PlaceUrl, check_option};
use crate::values::retention::{HowLong, Policy};

const VARIABLE: &str = "OFFSITE_URL";
const FLAG: &str = "--offsite-url";

/// The URL of a place.
pub struct PlaceText(PlaceUrl);

impl Kind for PlaceText {
    const SHAPE: Shape = Shape::Text;

    fn read(given: &Given) -> Result<PlaceText, String> {
        let url = String::read(given)?.parse();
        url.map(PlaceText).map_err(|bad: BadPlace| bad.to_string())
    }
}

/// `name=value`, several of them.
pub struct OptionsText(BTreeMap<String, String>);

impl Kind for OptionsText {
    const SHAPE: Shape = Shape::List;

    fn read(given: &Given) -> Result<OptionsText, String> {
        let mut options = BTreeMap::new();
        for option in Vec::<String>::read(given)? {
            let Some((name, value)) = option.split_once('=') else {
                return Err("`name=value` is expected".into());
            };
            let name = name.trim().to_ascii_lowercase();
            check_option(&name, value).map_err(|bad| bad.to_string())?;
            options.insert(name, value.trim().to_owned());
        }
        Ok(OptionsText(options))
    }
}

/// Flags, then the environment, then the file. Each may name several places; one that the file
/// knows has its name and its options. What is nearer than the file is a setting to be shown.
pub fn places(
    options: &Options,
    resolved: &Resolved,
    environment: &Environment,
) -> Result<(Vec<Place>, Option<Setting>)> {
    let of_file = resolved.places.iter().map(|place| named(place));
    let mut of_file: Vec<Place> = of_file.collect::<Result<_>>()?;
    tell_apart(&mut of_file)?;
    let said = match options.offsite_url.as_slice() {
        [] => in_environment(environment)?,
        given => Some((given.to_vec(), Origin::Flag { flag: FLAG })),
    };
    let Some((urls, origin)) = said else {
        return Ok((of_file, None));
    };
    let whence = match origin {
        Origin::Flag { flag } => flag,
        _ => VARIABLE,
    };
    let mut places: Vec<Place> = Vec::new();
    for url in &urls {
        let url: PlaceUrl = url.parse().map_err(|error| refused(whence, &error))?;
        let known = of_file.iter().find(|place| place.url == url).cloned();
        let place = known.unwrap_or_else(|| Place::unnamed(url));
        let is_it = |other: &&Place| other.name == place.name || other.is_same_as(&place);
        match places.iter().find(is_it) {
            None => places.push(place),
            Some(same) if *same == place => {}
            Some(same) if same.name == place.name => {
                let what = format!("`{whence}` has two places that are both called {place}");
                let hint = "name them in `database/db.toml`, each below a `[[offsite]]` of its own";
                return Err(Failure::usage(what).hint(hint).into());
            }
            Some(same) => {
                let what = format!("`{whence}` has {same} and {place}, which are one and the same");
                return Err(Failure::usage(what).hint("name it once").into());
            }
        }
    }
    let said = Setting {
        path: keys::OFFSITE_URL.path,
        value: Some(Given::List(urls)),
        origin,
        variable: VARIABLE.to_owned(),
        about: "The places off-site, instead of those of the file",
    };
    Ok((places, Some(said)))
}

/// By their names, by their variables, and by where they are: what is known of one must not be
/// taken for what is known of another.
fn tell_apart(places: &mut [Place]) -> Result<(), Failure> {
    let starts: Vec<String> = places.iter().filter_map(Place::variables).collect();
    for (i, place) in places.iter_mut().enumerate() {
        let is_longer = |start: &&String| start.starts_with(&starts[i]) && **start != starts[i];
        place.others_variables = starts.iter().filter(is_longer).cloned().collect();
    }
    for (i, one) in places.iter().enumerate() {
        for (j, other) in places.iter().enumerate().skip(i + 1) {
            let (a, b) = (&one.name, &other.name);
            let refuse = |what: String| {
                let failure = Failure::usage(format!("in `database/db.toml`, {what}"));
                Err(failure.hint("give each `[[offsite]]` a name and a place of its own"))
            };
            if starts[i] == starts[j] {
                let start = &starts[i];
                return refuse(format!(
                    "the variables of the places `{a}` and `{b}` both begin with `{start}`"
                ));
            }
            if one.is_same_as(other) {
                return refuse(format!("the places `{a}` and `{b}` are one and the same"));
            }
        }
    }
    Ok(())
}

/// A variable that is set and empty is a secret that is missing in CI: then no copy would be made,
/// and nobody would know.
fn in_environment(environment: &Environment) -> Result<Option<(Vec<String>, Origin)>, Failure> {
    let said = environment.variable(VARIABLE, "")?;
    let urls = |text: &str| text.split_whitespace().map(str::to_owned).collect();
    Ok(said.map(|(text, origin)| (urls(&text), origin)))
}

fn named(settings: &[Setting]) -> Result<Place> {
    let given = |path: &str| {
        let mut settings = settings.iter();
        settings
            .find(|setting| setting.path == path)?
            .value
            .as_ref()
    };
    let name = given(keys::OFFSITE_NAME.path).and_then(|given| String::read(given).ok());
    let url = given(keys::OFFSITE_URL.path).and_then(|given| PlaceText::read(given).ok());
    let options = given(keys::OFFSITE_OPTIONS.path).map(OptionsText::read);
    let (Some(name), Some(PlaceText(url))) = (name, url) else {
        return Err(
            Failure::usage("a place below `[[offsite]]` has no `name` or no `url`")
                .hint("`cargo xtask db config` shows all settings")
                .into(),
        );
    };
    let OptionsText(options) = options
        .transpose()
        .map_err(Failure::usage)?
        .unwrap_or(OptionsText(BTreeMap::new()));
    let removes = given(keys::OFFSITE_REMOVE_LAST.path).and_then(|given| bool::read(given).ok());
    let place = Place {
        keep: policy(&name, &given)?,
        removes_last_copies: removes.unwrap_or(false),
        others_variables: Vec::new(),
        name,
        url,
        options,
    };
    if place.variables().is_none() {
        return Err(Failure::usage(
            "the name of a place below `[[offsite]]` is letters, digits, `-` and `_`",
        )
        .into());
    }
    Ok(place)
}

/// What nobody has said anything about is left alone.
fn policy<'a>(
    name: &str,
    given: &dyn Fn(&str) -> Option<&'a Given>,
) -> Result<Option<Policy>, Failure> {
    let is_said = Cell::new(false);
    let said = |path| given(path).inspect(|_| is_said.set(true));
    let policy = keys::OF_PLACE.policy(
        |key| u32::read(said(key.path)?).ok(),
        |key| HowLong::read(said(key.path)?).ok(),
    );
    if !is_said.get() {
        return Ok(None);
    }
    match policy.is_empty() {
        true => Err(Failure::usage(format!(
            "the policy of the place `{name}` keeps nothing: every `keep_` below it is 0"
        ))
        .hint("say what stays there, such as `keep_monthly = 12`, or leave the lines out")),
        false => Ok(Some(policy)),
    }
}

/// Without the URL: it may hold a secret.
fn refused(whence: &str, error: &BadPlace) -> Failure {
    let failure = Failure::usage(format!("`{whence}` cannot be used: {error}"));
    match error {
        BadPlace::Credentials | BadPlace::Secret(_) => failure.hint(
            "put credentials into the environment, such as `AWS_ACCESS_KEY_ID` and \
             `AWS_SECRET_ACCESS_KEY`",
        ),
        _ => failure
            .hint("such as `s3://bucket/prefix?region=eu-central-1` or `file:///mnt/backups`"),
    }
}
