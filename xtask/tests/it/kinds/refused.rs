//! Flags that do not go together, or that an engine has nothing for.

use super::refused;
use crate::setup::Case;

#[test]
fn what_does_not_go_together_is_wrong_usage() {
    let wrong: [&[&str]; 9] = [
        &["--schema-only", "--data-only"],
        &["--schema-only", "--exclude-table-data", "t"],
        &["--clean"],
        &["--no-owner"],
        &["--format", "tar"],
        &["--format", "plain", "--clean", "--data-only"],
        &["--format", "plain", "--jobs", "2"],
        &["--table", ""],
        &["--table", "postgres://me:secret@host/x"],
    ];
    for case in Case::each("kind_usage") {
        case.query("CREATE TABLE t (id BIGINT);");
        for flags in wrong {
            let output = case.project.run([&["db", "backup"], flags].concat());
            assert!(!output.stderr.contains("secret"), "{output}");
            output.expect_code(2);
        }
        assert_eq!(case.project.vault_files(), [""; 0]);
    }
}

#[test]
fn sqlite_has_no_schemas_owners_grants_or_roles() {
    let case = Case::sqlite();
    case.query("CREATE TABLE t (id BIGINT);");
    let wrong: [&[&str]; 4] = [
        &["--schema", "main"],
        &["--format", "plain", "--no-owner"],
        &["--format", "plain", "--no-privileges"],
        &["--globals"],
    ];
    for flags in wrong {
        let output = case.project.run([&["db", "backup"], flags].concat());
        refused(output, 2, &["is for PostgreSQL", "hint: leave out"]);
    }
}
