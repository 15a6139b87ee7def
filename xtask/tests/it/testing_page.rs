//! `TESTING.md` names tests; a test that was renamed or removed must not live on in it.

use std::fs;
use std::path::Path;

/// Whether `a::b::c` is a module of tests, or a test in one.
fn exists(name: &str) -> bool {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it");
    let is_file = |parts: &[&str]| tests.join(parts.join("/")).with_extension("rs").is_file();
    let parts: Vec<&str> = name.split("::").collect();
    if is_file(&parts) {
        return true;
    }
    let Some((test, module)) = parts.split_last() else {
        return false;
    };
    let text = fs::read_to_string(tests.join(module.join("/")).with_extension("rs"));
    text.is_ok_and(|text| {
        text.contains(&format!("\nfn {test}(")) || text.contains(&format!("    fn {test}("))
    })
}

#[test]
fn every_test_that_the_page_names_is_there() {
    let page = include_str!("../../TESTING.md");
    let rows = page.lines().filter(|line| line.starts_with("| "));
    let mut named = 0;
    for row in rows {
        let last = row
            .trim_end_matches('|')
            .rsplit('|')
            .next()
            .unwrap_or_default();
        for name in last.split('`').skip(1).step_by(2) {
            assert!(exists(name), "`{name}` is not there: {row}");
            named += 1;
        }
    }
    assert!(named > 50, "only {named} names: is this still the page?");
    assert!(!exists("kill::nothing") && !exists("nothing"));
}
