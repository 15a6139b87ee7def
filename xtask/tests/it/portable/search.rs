//! Search indexes over rows that an import brings: they are not made anew, and that is said.

use super::{export, import};
use crate::setup::{Case, says};

/// Four ways to write whose rows they show, one that keeps its own, and one of nothing.
const INDEXES: &[(&str, bool)] = &[
    ("CREATE VIRTUAL TABLE ft USING fts5(a, content='t')", true),
    ("CREATE VIRTUAL TABLE ft USING fts5(a, content=T)", true),
    (
        "CREATE VIRTUAL TABLE ft USING fts5(a, content = \"t\", tokenize='ascii')",
        true,
    ),
    ("CREATE VIRTUAL TABLE ft USING fts4(content=\"t\", a)", true),
    (
        "CREATE VIEW w AS SELECT rowid, a FROM t; CREATE VIRTUAL TABLE ft USING fts5(a, content=[w])",
        true,
    ),
    (
        "CREATE VIRTUAL TABLE ft USING fts5(a, content='other')",
        false,
    ),
    ("CREATE VIRTUAL TABLE ft USING fts5(a, content='')", false),
    ("CREATE VIRTUAL TABLE ft USING fts5(content, a)", false),
];

#[test]
fn an_index_that_shows_what_was_there_is_named_with_what_mends_it() {
    for (index, is_stale) in INDEXES {
        let case = Case::sqlite();
        case.query(&format!(
            "CREATE TABLE t (a TEXT); CREATE TABLE other (a TEXT); \
             INSERT INTO t VALUES ('one'), ('two'), ('three'); DELETE FROM t WHERE a = 'two'; {index};"
        ));
        if *is_stale {
            case.query("INSERT INTO ft(ft) VALUES ('rebuild');");
        }
        let path = export(&case, "ndjson");
        let output = import(&case, &path, &["--replace", "--table", "t"]).expect_code(0);
        let mend = "INSERT INTO \"ft\"(\"ft\") VALUES('rebuild');";
        assert_eq!(output.stderr.contains(mend), *is_stale, "{index}\n{output}");
        if *is_stale {
            says(
                &output,
                &["the search index `ft` finds what was there before"],
            );
            case.query(mend);
            let found = case.query("SELECT rowid FROM ft WHERE ft MATCH 'three';");
            assert_eq!(found, ["2"], "{index}");
        }
    }
}
