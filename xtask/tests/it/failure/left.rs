//! What a migration without a transaction leaves behind, and the SQL that removes it.

use crate::setup::{Case, says, text};

#[test]
fn an_index_that_is_not_valid_is_named_with_its_clean_up() {
    let Some(mut case) = Case::postgres("invalid_index") else {
        return;
    };
    case.project = case.project.unrehearsed().migration(
        "1_first.sql",
        "CREATE SCHEMA \"the Shop\"; CREATE TABLE \"the Shop\".t (a int); \
         INSERT INTO \"the Shop\".t VALUES (1), (1);",
    );
    case.migrate();
    case.project = case.project.migration(
        "2_index.sql",
        "-- no-transaction\nCREATE UNIQUE INDEX CONCURRENTLY \"by A\" ON \"the Shop\".t (a);",
    );
    let failed = case.project.run(["db", "migrate-safe", "--yes", "--json"]);
    let failed = failed.expect_code(5);
    let clean_up = "DROP INDEX CONCURRENTLY \"the Shop\".\"by A\";";
    says(
        &failed,
        &[
            "left over: the index `the Shop.by A`, which is not valid",
            clean_up,
        ],
    );
    let document = failed.json();
    assert!(text(&document, "/error/message").contains("left over: the index"));
    assert!(text(&document, "/error/hint").contains(clean_up));

    let invalid = "SELECT count(*) FROM pg_index WHERE NOT indisvalid;";
    assert_eq!(case.query(invalid), ["1"]);
    case.query(clean_up);
    assert_eq!(case.query(invalid), ["0"]);
    case.query("DELETE FROM \"the Shop\".t;");
    case.migrate();
}
