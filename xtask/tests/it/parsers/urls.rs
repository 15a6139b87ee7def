//! Database URLs: never a panic, and never a password in anything that can be shown.

use proptest::prelude::*;
use xtask_db::parsers::DatabaseUrl;

use super::{any_text, holds, mutated, shown};

/// Found in a text, it is a leak; no other part of a URL has a letter of it.
const MARK: &str = "QXZJ";

fn scheme() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        6 => Just("postgres://"),
        3 => Just("postgresql://"),
        1 => Just("postgres:/"),
        1 => Just("postgres:"),
        1 => Just("postgre://"),
        1 => Just("POSTGRES://"),
        1 => Just(" postgres://"),
        1 => Just("mysql://"),
        1 => Just("jdbc:postgresql://"),
        1 => Just("://"),
        1 => Just(""),
    ]
}

/// What a person forgets to encode.
const UNENCODED: &[&str] = &[
    ":", "?", ":?", "?a=b", "@", "/", "#", "&", "%", "%zz", "%2", "]", "://", ",", "\n", "é",
];

/// Marked from end to end, with all that a person forgets to encode in between.
fn password() -> impl Strategy<Value = String> {
    let between = || prop_oneof![prop::sample::select(UNENCODED), Just("")];
    let between = || {
        prop_oneof![
            (between(), between()).prop_map(|(a, b)| format!("{a}{b}")),
            "[ -~]{0,6}"
        ]
    };
    (between(), between()).prop_map(|(a, b)| format!("{MARK}{a}{MARK}{b}{MARK}"))
}

fn host() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        "[a-y0-9.]{1,12}(:[0-9]{0,6})?",
        "(one|two)(:[0-9]{1,5})?,three",
        Just("[::1]:5432".to_owned()),
        Just("[::1".to_owned()),
        Just("%2Fvar%2Frun".to_owned()),
    ]
}

fn parameters() -> impl Strategy<Value = String> {
    let parameter = prop_oneof![
        Just("sslmode=require".to_owned()),
        Just("sslmode=wild".to_owned()),
        Just("ssl_mode=require".to_owned()),
        Just("host=other,more&port=1,2".to_owned()),
        Just("options=-c%20geqo%3Doff".to_owned()),
        Just("options[geqo]=off".to_owned()),
        Just("broken".to_owned()),
        Just("=".to_owned()),
        Just("user=%ff".to_owned()),
        "[a-y]{1,8}=[a-y0-9]{0,8}",
    ];
    proptest::collection::vec(parameter, 0..4).prop_map(|all| all.join("&"))
}

/// A URL with its marked password where sqlx and libpq take one.
fn marked() -> impl Strategy<Value = String> {
    let parts = (
        scheme(),
        "[a-y]{0,6}",
        password(),
        host(),
        "[a-y]{0,6}",
        parameters(),
    );
    (parts, any::<bool>()).prop_map(|((scheme, user, password, host, name, more), in_query)| {
        if in_query {
            let password = percent_encoding::utf8_percent_encode(
                &password,
                percent_encoding::NON_ALPHANUMERIC,
            );
            format!("{scheme}{user}@{host}/{name}?{more}&password={password}")
        } else {
            format!("{scheme}{user}:{password}@{host}/{name}?{more}")
        }
    })
}

fn everything_that_shows(text: &str) -> String {
    match DatabaseUrl::parse(text) {
        Ok(url) => {
            let beside = match &url {
                DatabaseUrl::Postgres(url) => url.without_password("other"),
                DatabaseUrl::Sqlite(_) => String::new(),
            };
            format!("{} {beside}", shown(&url))
        }
        Err(failure) => {
            let hint = failure.hint.clone().unwrap_or_default();
            format!("{} {hint}", shown(&failure))
        }
    }
}

#[test]
fn any_text_is_a_url_or_refused() {
    let start = prop_oneof![
        Just(""),
        Just("sqlite:"),
        Just("sqlite://"),
        Just("postgres://"),
        Just("postgres://["),
        Just("postgres://a?"),
        Just("sqlite:a?"),
    ];
    holds((start, any_text()), |(start, text)| {
        let text = format!("{start}{text}");
        everything_that_shows(&text);
        Ok(())
    });
}

#[test]
fn a_password_is_in_nothing_that_shows() {
    holds(marked(), |text| {
        let shown = everything_that_shows(&text);
        prop_assert!(!shown.contains(MARK), "{}", shown);
        Ok(())
    });
}

/// Whoever types a URL by hand loses a character, or types one twice. An error then repeats nothing
/// of it; what can be read may have its password as its user's name, and keeps what it takes for one.
#[test]
fn a_password_of_a_url_with_mistakes_is_in_nothing_that_shows() {
    holds(mutated(marked()), |text| {
        let shown = everything_that_shows(&text);
        match DatabaseUrl::parse(&text) {
            Err(_) => prop_assert!(!shown.contains(MARK), "{}", shown),
            Ok(DatabaseUrl::Postgres(url)) => {
                let password = url
                    .password
                    .as_ref()
                    .map_or("", |password| password.expose());
                let is_one = password.contains(MARK);
                prop_assert!(!(is_one && shown.contains(password)), "{}", shown);
            }
            Ok(DatabaseUrl::Sqlite(_)) => {}
        }
        Ok(())
    });
}

/// No client can send one: it ends every string of PostgreSQL's protocol and of SQLite.
#[test]
fn a_nul_is_refused_wherever_it_stands() {
    holds((marked(), any::<prop::sample::Index>()), |(text, at)| {
        let places: Vec<usize> = text
            .match_indices(|c: char| c.is_ascii_lowercase())
            .map(|(i, _)| i)
            .collect();
        if places.is_empty() {
            return Ok(());
        }
        let at = *at.get(&places);
        let text = format!("{}%00{}", &text[..at], &text[at..]);
        if let Ok(url) = DatabaseUrl::parse(&text) {
            let shown = format!("{url:?}");
            prop_assert!(!shown.contains("\\0"), "{}", shown);
        }
        Ok(())
    });
    for url in [
        "sqlite:a%00b",
        "postgres://h/a%00b",
        "postgres://u%00@h/a",
        "postgres://h/?user=%00",
    ] {
        assert!(DatabaseUrl::parse(url).is_err(), "{url}");
    }
}
