//! Virtual tables of SQLite, whose parts are tables: without their rows they make them themselves.

use super::{drilled, elsewhere, id, restored_into, rows, taken, unpacked};
use crate::setup::Case;

const INDEXED: &str = "\
CREATE TABLE notes (id INTEGER PRIMARY KEY, body TEXT); \
CREATE VIRTUAL TABLE own USING fts5(body); CREATE VIRTUAL TABLE places USING rtree(id, x1, x2); \
CREATE VIRTUAL TABLE found USING fts5(body, content='notes', content_rowid='id'); \
CREATE TRIGGER noted AFTER INSERT ON notes BEGIN \
  INSERT INTO found(rowid, body) VALUES (new.id, new.body); END; \
INSERT INTO notes VALUES (1, 'a quick fox'), (5, 'lazy dogs'); \
INSERT INTO own VALUES ('brown fox'), ('red hen'); INSERT INTO places VALUES (1, 0.5, 2.5), (2, 7, 9);";

const CHECK: &str = "INSERT INTO own(own) VALUES ('integrity-check'); \
INSERT INTO found(found) VALUES ('integrity-check'); SELECT rtreecheck('places');";

const LOOK: &str = "SELECT rowid FROM own('fox'); SELECT rowid FROM found('fox OR dogs') ORDER BY 1; \
SELECT id, x1 FROM places WHERE x1 > 1;";

#[test]
fn without_rows_they_are_made_by_their_own_definition() {
    let case = Case::sqlite();
    case.query(INDEXED);
    let found: [(&[&str], &[&str]); 4] = [
        (&["--schema-only"], &[]),
        (&["--schema-only", "--format", "plain", "--clean"], &[]),
        (&["--exclude-table-data", "*"], &[]),
        // A part stands for the whole: half of one cannot be read.
        (
            &[
                "--exclude-table-data",
                "own_data",
                "--exclude-table-data",
                "places",
            ],
            &["1", "5"],
        ),
    ];
    for (flags, expected) in found {
        let manifest = taken(&case, flags);
        let own = rows(&manifest)
            .into_iter()
            .filter(|(name, _)| name == "own");
        assert!(own.map(|(_, rows)| rows).eq([0]), "{flags:?}");
        drilled(&case, id(&manifest)).expect_code(0);
        let (url, other) = elsewhere(&case, "copy");
        restored_into(&case, id(&manifest), &url);
        assert_eq!(other.query(LOOK), expected, "{flags:?}");
        // They are of use.
        other.query(
            "INSERT INTO own VALUES ('new fox'); INSERT INTO places VALUES (3, 8, 9); \
                     INSERT INTO notes VALUES (9, 'old dogs');",
        );
        let mut filled = vec!["1"];
        filled.extend(expected);
        filled.extend(["9", "3|8.0"]);
        assert_eq!(other.query(LOOK), filled, "{flags:?}");
        assert_eq!(other.query(CHECK), ["ok"], "{flags:?}");
    }
    let data = taken(&case, &["--data-only", "--exclude-table-data", "own*"]);
    assert!(!unpacked(&case, &data).contains("own"));
}
