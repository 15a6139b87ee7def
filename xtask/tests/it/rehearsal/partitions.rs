//! A partitioned table has no rows of its own, and loses those of its partitions.

use super::migrate;
use crate::setup::{Case, says};

/// `kind` takes no NULL in one of them; the other is partitioned itself.
const FIRST: &str = "\
CREATE TABLE events (id INT NOT NULL, payload TEXT, day INT, note VARCHAR(9), kind TEXT) \
  PARTITION BY RANGE (id);
CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM (0) TO (10);
CREATE TABLE events_2 PARTITION OF events FOR VALUES FROM (10) TO (20) PARTITION BY LIST (day);
CREATE TABLE events_2a PARTITION OF events_2 DEFAULT;
ALTER TABLE events_1 ALTER kind SET NOT NULL;
INSERT INTO events VALUES (1, 'a', 1, 'x', 'k'), (2, NULL, 1, 'x', 'k'), (11, 'b', 2, 'y', NULL), \
  (12, 'c', 2, 'y', 'k');";

const LOSSES: [(&str, &str); 6] = [
    (
        "ALTER TABLE events DROP COLUMN payload;",
        "events.payload: the column is dropped, with 3 values",
    ),
    (
        "ALTER TABLE events DROP COLUMN kind;",
        "events.kind: the column is dropped, with 3 values",
    ),
    (
        "UPDATE events SET payload = NULL WHERE id > 11;",
        "events.payload: 1 of 3 values are gone",
    ),
    (
        "UPDATE events_2a SET payload = NULL;",
        "events.payload: 2 of 3 values are gone",
    ),
    (
        "ALTER TABLE events ALTER note TYPE varchar(3);",
        "events.note: 4 values are cast from character varying(9) to character varying(3)",
    ),
    (
        "ALTER TABLE events DROP COLUMN payload; \
         ALTER TABLE events ADD COLUMN payload TEXT NOT NULL DEFAULT '';",
        "events.payload: the column is dropped, with 3 values",
    ),
];

const HARMLESS: [&str; 5] = [
    "ALTER TABLE events RENAME COLUMN payload TO body;",
    "ALTER TABLE events ADD COLUMN more TEXT; ALTER TABLE events DROP COLUMN more;",
    "CREATE TABLE events_3 (LIKE events); \
     ALTER TABLE events ATTACH PARTITION events_3 FOR VALUES FROM (20) TO (30);",
    "UPDATE events SET id = 13 WHERE id = 2;",
    "ALTER TABLE events ALTER kind TYPE VARCHAR; ALTER TABLE events_2a ALTER day SET NOT NULL;",
];

#[test]
fn values_of_partitions_are_those_of_their_table() {
    let Some(mut case) = Case::postgres("partitions") else {
        return;
    };
    case.project = case.project.migration("1_first.sql", FIRST);
    case.migrate();
    for (second, said) in LOSSES {
        case.project.write("migrations/2_second.sql", second);
        says(&migrate(&case, &[]).expect_code(3), &[said]);
        let counts = "SELECT count(payload), count(note), count(kind) FROM events;";
        assert_eq!(case.query(counts), ["3|4|3"], "{second}");
    }
    for (at, harmless) in HARMLESS.into_iter().enumerate() {
        case.project
            .write(format!("migrations/{}_harmless.sql", at + 2), harmless);
        if at == 0 {
            std::fs::remove_file(case.project.path().join("migrations/2_second.sql"))
                .expect("take it away");
        }
        migrate(&case, &[]).expect_code(0);
    }
}
