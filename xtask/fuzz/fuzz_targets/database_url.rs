//! Database URLs: no panic, no NUL, and a password in nothing that can be shown.

#![no_main]

use libfuzzer_sys::fuzz_target;
use xtask_db::parsers::DatabaseUrl;

/// Not in any message of the tool, and long enough to be no coincidence.
const MARK: &str = "QXZJ";

fuzz_target!(|text: &str| {
    match DatabaseUrl::parse(text) {
        Ok(DatabaseUrl::Postgres(url)) => {
            let password = url
                .password
                .as_ref()
                .map_or("", |password| password.expose());
            let shown = format!("{url} {url:?} {}", url.without_password("other"));
            assert!(!shown.contains("\\0"));
            // One that is also the user's name, the host or the database's is shown as that.
            let beside = [
                url.user.as_deref(),
                url.database.as_deref(),
                url.options.as_deref(),
            ];
            let hosts = url.hosts.iter().map(|host| host.host.as_deref());
            let more = url
                .shared
                .iter()
                .chain(&url.libpq)
                .map(|(_, value)| Some(value.as_str()));
            let all: Vec<&str> = beside
                .into_iter()
                .chain(hosts)
                .chain(more)
                .flatten()
                .collect();
            if password.contains(MARK) && !all.concat().contains(MARK) {
                assert!(!shown.contains(MARK), "{shown}");
            }
        }
        Ok(url) => drop(format!("{url} {url:?}")),
        Err(failure) => {
            // A parameter that SQLite or TLS does not know is repeated by its name, never its value.
            let shown = format!("{failure} {failure:?}");
            let names = text.split(['?', '&']).skip(1);
            let is_in_a_name = names.map(|pair| pair.split('=').next()).any(|name| {
                name.is_some_and(|name| {
                    name.contains(MARK) || name.contains('%') || name.contains('+')
                })
            });
            assert!(is_in_a_name || !shown.contains(MARK), "{shown}");
        }
    }
});
