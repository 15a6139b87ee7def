//! Patterns choose what they say, and one that chooses nothing is a mistake.

use proptest::prelude::*;
use xtask_db::parsers::Pattern;

use super::{id, refused, rows, taken};
use crate::parsers::{any_text, holds};
use crate::setup::Case;

#[test]
fn a_pattern_that_matches_nothing_is_an_error() {
    for case in Case::each("kind_none") {
        case.query("CREATE TABLE t (id BIGINT); CREATE TABLE \"Mixed\" (id BIGINT);");
        for flag in ["--table", "--exclude-table", "--exclude-table-data"] {
            let output = case.project.run(["db", "backup", flag, "x*"]);
            refused(output, 2, &["there is no table like `x*`", "double quotes"]);
            // Beside one that matches.
            let output = case.project.run(["db", "backup", flag, "t", flag, "tt"]);
            refused(output, 2, &["there is no table like `tt`"]);
        }
        if case.server.is_some() {
            let output = case.project.run(["db", "backup", "--schema", "shop"]);
            refused(output, 2, &["there is no schema like `shop`"]);
            let output = case.project.run(["db", "backup", "--table", "Mixed"]);
            refused(output, 2, &["there is no table like `Mixed`"]);
        }
        assert_eq!(case.project.vault_files(), [""; 0]);
        let manifest = taken(&case, &["--table", "\"Mixed\""]);
        assert_eq!(rows(&manifest), [("Mixed".into(), 0)], "{}", id(&manifest));
    }
}

/// As `pg_dump` has it: what is in quotes is itself.
#[test]
fn a_quoted_name_matches_itself_and_nothing_else() {
    holds((any_text(), any_text()), |(name, other)| {
        let quoted = format!("\"{}\"", name.replace('"', "\"\""));
        let pattern = Pattern::in_schema(&quoted, "main").expect("no schema was named");
        prop_assert!(pattern.matches(&name), "{:?}", name);
        if name.to_lowercase() != other.to_lowercase() {
            prop_assert!(!pattern.matches(&other), "{:?} and {:?}", name, other);
        }
        Ok(())
    });
}

#[test]
fn stars_and_question_marks_stand_for_what_they_say() {
    let letters = "[ab]{0,8}";
    holds(("[ab*?]{0,8}", letters), |(pattern, name)| {
        let parsed = Pattern::in_schema(&pattern, "main").expect("no schema was named");
        let pieces: Vec<char> = pattern.chars().collect();
        let name_chars: Vec<char> = name.chars().collect();
        prop_assert_eq!(
            parsed.matches(&name),
            slow(&pieces, &name_chars),
            "{} {}",
            pattern,
            name
        );
        Ok(())
    });
    assert!(Pattern::in_schema("main.t*", "main").is_some_and(|p| p.matches("Tracks")));
    assert!(Pattern::in_schema("other.t", "main").is_none());
}

/// The same by trying everything.
fn slow(pattern: &[char], name: &[char]) -> bool {
    match (pattern.first(), name.first()) {
        (None, None) => true,
        (Some('*'), _) => {
            slow(&pattern[1..], name) || (!name.is_empty() && slow(pattern, &name[1..]))
        }
        (Some('?'), Some(_)) => slow(&pattern[1..], &name[1..]),
        (Some(a), Some(b)) if a == b => slow(&pattern[1..], &name[1..]),
        _ => false,
    }
}
