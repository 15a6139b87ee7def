//! What `deny.toml` allows, held without a network and without another tool: licences, bans, sources.
//!
//! Advisories need a database that is fetched: see the job `dependencies` in
//! `.github/workflows/ci.yml`.

use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::exec;
use crate::project::workspace_root;

/// All packages that are built for this machine, with what cargo knows of them.
fn packages() -> Vec<Value> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let run = |command: &mut Command| exec::run(command, None).expect_code(0);
    let version = run(Command::new("rustc").arg("-vV"));
    let host = version
        .stdout
        .lines()
        .find_map(|line| line.strip_prefix("host: "));
    // For one platform only: those of others need not have been downloaded.
    let mut metadata = Command::new(cargo);
    metadata
        .args([
            "metadata",
            "--locked",
            "--offline",
            "--format-version=1",
            "--filter-platform",
        ])
        .arg(host.expect("the host's name"))
        .current_dir(workspace_root());
    let packages = run(&mut metadata).json()["packages"].take();
    let Value::Array(packages) = packages else {
        panic!("no list of packages");
    };
    assert!(packages.len() > 100, "only {} packages", packages.len());
    packages
}

fn text<'a>(package: &'a Value, field: &str) -> &'a str {
    package[field].as_str().unwrap_or_default()
}

/// The quoted words of one list in `deny.toml`.
fn list_in_deny_toml(section: &str, key: &str) -> Vec<String> {
    let path = workspace_root().join("xtask/deny.toml");
    let whole = fs::read_to_string(path).expect("read deny.toml");
    let (_, section) = whole
        .split_once(&format!("[{section}]\n"))
        .expect("the section");
    let (_, list) = section
        .split_once(&format!("\n{key} = ["))
        .expect("the list");
    let (list, _) = list.split_once("]\n").expect("the end of the list");
    let lines = list
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'));
    let words: Vec<String> = lines
        .flat_map(|line| line.split('"').skip(1).step_by(2))
        .map(str::to_owned)
        .collect();
    assert!(!words.is_empty(), "{section}: {key} is empty");
    words
}

/// Whether an SPDX expression can be met with allowed licences; `/` is an old `OR`.
fn is_met(expression: &str, allowed: &[String]) -> bool {
    let spaced = expression
        .replace('/', " OR ")
        .replace('(', " ( ")
        .replace(')', " ) ");
    let mut words = spaced.split_whitespace().peekable();
    let met = either(&mut words, allowed);
    met && words.peek().is_none()
}

type Words<'a> = std::iter::Peekable<std::str::SplitWhitespace<'a>>;

fn either(words: &mut Words, allowed: &[String]) -> bool {
    let mut met = both(words, allowed);
    while words.next_if_eq(&"OR").is_some() {
        // Not lazily: the rest of the expression must be read.
        met |= both(words, allowed);
    }
    met
}

fn both(words: &mut Words, allowed: &[String]) -> bool {
    let mut met = one(words, allowed);
    while words.next_if_eq(&"AND").is_some() {
        met &= one(words, allowed);
    }
    met
}

fn one(words: &mut Words, allowed: &[String]) -> bool {
    if words.next_if_eq(&"(").is_some() {
        let met = either(words, allowed);
        return words.next() == Some(")") && met;
    }
    let mut name = words.next().unwrap_or_default().to_owned();
    if words.next_if_eq(&"WITH").is_some() {
        name = format!("{name} WITH {}", words.next().unwrap_or_default());
    }
    allowed.contains(&name)
}

#[test]
fn an_expression_is_met_by_what_is_allowed_and_by_nothing_else() {
    let allowed = ["MIT", "Zlib"].map(str::to_owned);
    for met in [
        "MIT",
        "MIT/GPL-3.0",
        "GPL-3.0 OR MIT",
        "MIT AND Zlib",
        "(GPL-3.0 OR MIT) AND Zlib",
    ] {
        assert!(is_met(met, &allowed), "{met}");
    }
    for not in [
        "",
        "GPL-3.0",
        "MIT AND GPL-3.0",
        "(MIT OR GPL-3.0) AND GPL-3.0",
        "MIT WITH X",
        "MIT MIT",
        "(MIT",
    ] {
        assert!(!is_met(not, &allowed), "{not}");
    }
}

#[test]
fn every_licence_is_on_the_list() {
    let allowed = list_in_deny_toml("licenses", "allow");
    for package in packages() {
        let (name, licence) = (text(&package, "name"), text(&package, "license"));
        assert!(
            is_met(licence, &allowed),
            "`{name}` has the licence `{licence}`"
        );
    }
}

/// A line of the list: what is banned, and who may have it all the same.
fn banned() -> Vec<(String, Vec<String>)> {
    let path = workspace_root().join("xtask/deny.toml");
    let whole = fs::read_to_string(path).expect("read deny.toml");
    let (_, list) = whole.split_once("\ndeny = [\n").expect("the list");
    let (list, _) = list.split_once("\n]\n").expect("the end of the list");
    let lines = list
        .lines()
        .filter(|line| line.trim_start().starts_with("{ name = "));
    let line = |line: &str| {
        let mut words = line.split('"').skip(1).step_by(2).map(str::to_owned);
        (words.next().expect("a name"), words.collect())
    };
    lines.map(line).collect()
}

#[test]
fn no_banned_package_is_there() {
    let banned = banned();
    let has = |name: &str| banned.iter().any(|(banned, _)| banned == name);
    assert!(has("openssl-sys") && has("rsa"), "{banned:?}");
    for package in packages() {
        let name = text(&package, "name");
        let forbidden = banned
            .iter()
            .any(|(b, wrappers)| b == name && wrappers.is_empty());
        assert!(!forbidden, "`{name}` is banned in deny.toml");
    }
    for (name, wrappers) in banned.iter().filter(|(_, wrappers)| !wrappers.is_empty()) {
        let mut tree = Command::new(env!("CARGO"));
        tree.args([
            "tree", "--locked", "--invert", name, "--depth", "1", "--prefix", "none",
        ]);
        tree.args(["--package", "xtask-db", "--all-features"]);
        let tree = tree.arg("--offline").current_dir(workspace_root());
        let tree = exec::run(tree, None).expect_code(0);
        // The first line is the package itself.
        let brings = tree
            .stdout
            .lines()
            .skip(1)
            .filter_map(|line| line.split(' ').next());
        let brings: Vec<&str> = brings.collect();
        assert!(!brings.is_empty(), "{tree}");
        let is_wrapper = |name: &&str| wrappers.iter().any(|wrapper| wrapper == name);
        assert!(brings.iter().all(is_wrapper), "{brings:?} bring `{name}`");
    }
}

#[test]
fn every_package_comes_from_the_registry() {
    let allowed = list_in_deny_toml("sources", "allow-registry");
    for package in packages() {
        let (name, source) = (text(&package, "name"), text(&package, "source"));
        let is_ours = package["source"].is_null() && name == env!("CARGO_PKG_NAME");
        let is_allowed = source
            .strip_prefix("registry+")
            .is_some_and(|url| allowed.iter().any(|a| a == url));
        assert!(is_ours || is_allowed, "`{name}` comes from `{source}`");
    }
}
