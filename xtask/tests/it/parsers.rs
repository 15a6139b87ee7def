//! Properties of the parsers of what comes from outside: ids, labels, digests, manifests, database
//! URLs, migration files.
//!
//! `PROPTEST_CASES` sets how many inputs each property sees, `XTASK_DB_SEED` which ones; a failure
//! names its seed. `xtask/fuzz` holds the same promises with a fuzzer.

mod ids;
mod losses;
mod manifests;
mod migration_files;
mod reaches;
mod recipients;
mod urls;

use std::fmt::Debug;

use proptest::strategy::{BoxedStrategy, Strategy};
use proptest::test_runner::{Config, RngSeed, TestCaseResult, TestRunner};

/// Few enough for every `cargo test`.
const CASES: u32 = 256;

/// Runs `test` on what `strategy` makes, and panics with the smallest input that it does not hold for.
#[track_caller]
pub fn holds<S: Strategy>(strategy: S, test: impl Fn(S::Value) -> TestCaseResult) {
    let number = |name: &str| {
        let value = std::env::var(name).ok()?;
        Some(value.parse::<u64>().expect("a whole number"))
    };
    let seed = number("XTASK_DB_SEED").unwrap_or_else(rand_seed);
    let cases = number("PROPTEST_CASES").map_or(CASES, |cases| cases as u32);
    let config = Config {
        cases,
        rng_seed: RngSeed::Fixed(seed),
        failure_persistence: None,
        ..Config::default()
    };
    if let Err(error) = TestRunner::new(config).run(&strategy, test) {
        panic!("XTASK_DB_SEED={seed}: {error}");
    }
}

fn rand_seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(0)
}

/// Text of anything: control characters, quotes, paths, letters of all scripts.
pub fn any_text() -> BoxedStrategy<String> {
    let likely = r"[ -~]{0,40}";
    proptest::prop_oneof![likely, r"\PC{0,20}", proptest::prelude::any::<String>()].boxed()
}

/// A text with some of its characters replaced, taken out, doubled, or cut off.
fn mutated(text: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    use proptest::prelude::{any, prop_oneof};
    // What parsers stumble over, more often than chance would have it.
    let likely = proptest::sample::select(
        " \t\n\r\0+-._/\\:@?#%&='\"09aZé\u{a0}\u{2028}"
            .chars()
            .collect::<Vec<_>>(),
    );
    let change = (any::<usize>(), 0..5_u8, prop_oneof![likely, any::<char>()]);
    (text, proptest::collection::vec(change, 0..6)).prop_map(|(text, changes)| {
        let mut chars: Vec<char> = text.chars().collect();
        for (at, kind, other) in changes {
            let at = at % (chars.len() + 1);
            match kind {
                0 => chars.truncate(at),
                1 => chars.insert(at, other),
                _ if at == chars.len() => {}
                2 => drop(chars.remove(at)),
                3 => chars[at] = other,
                _ => chars.insert(at, chars[at]),
            }
        }
        chars.into_iter().collect()
    })
}

/// A value that is also printed by `{}` and `{:?}`, as errors and logs would.
fn shown(value: &(impl Debug + ToString)) -> String {
    format!("{} {value:?} {value:#?}", value.to_string())
}
