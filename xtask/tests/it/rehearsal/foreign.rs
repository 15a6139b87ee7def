//! Foreign tables come with the backup and lead to another database: a rehearsal does not write there.

use super::{assert_no_scratch, migrate};
use crate::cluster::{Cluster, Database, PASSWORD, SUPERUSER};
use crate::setup::{Case, says};

/// A database with a foreign table, a trigger and a function that write to the other one.
fn with_remote(name: &str) -> Option<(Case, Database)> {
    let case = Case::postgres(name)?;
    let near = case.server.as_ref().expect("a server");
    let far = near.cluster().create_database("far");
    far.psql("CREATE TABLE counts (n int); INSERT INTO counts VALUES (1);");
    let (socket, port) = (near.cluster().socket().display(), near.cluster().port());
    let password = PASSWORD.replace('\'', "''");
    let server = |extension: &str, name: &str, wrapper: &str| {
        format!(
            "CREATE EXTENSION {extension}; \
             CREATE SERVER {name} FOREIGN DATA WRAPPER {wrapper} \
               OPTIONS (host '{socket}', port '{port}', dbname '{}'); \
             CREATE USER MAPPING FOR {SUPERUSER} SERVER {name} \
               OPTIONS (user '{SUPERUSER}', password '{password}');",
            far.name()
        )
    };
    near.psql(&server("postgres_fdw", "there", "postgres_fdw"));
    near.psql(&server("dblink", "linked", "dblink_fdw"));
    let word = PASSWORD.replace('\\', "\\\\").replace('\'', "\\'");
    near.psql(&format!(
        "CREATE FUNCTION by_text() RETURNS text LANGUAGE sql AS $by_text$ SELECT dblink_exec( \
           $$host={socket} port={port} dbname={} user={SUPERUSER} password='{word}'$$, \
           'UPDATE counts SET n = n + 1') $by_text$;",
        far.name()
    ));
    near.psql(
        "CREATE FOREIGN TABLE counts (n int) SERVER there; \
         CREATE TABLE local (n int); \
         CREATE FUNCTION far() RETURNS trigger LANGUAGE plpgsql AS \
           $$ BEGIN UPDATE counts SET n = n + 1; RETURN NEW; END $$; \
         CREATE TRIGGER far AFTER INSERT ON local FOR EACH ROW EXECUTE FUNCTION far(); \
         CREATE FUNCTION linked() RETURNS text LANGUAGE sql AS \
           $$ SELECT dblink_exec('linked', 'UPDATE counts SET n = n + 1') $$;",
    );
    Some((case, far))
}

const WRITES: [&str; 4] = [
    "UPDATE counts SET n = n + 1;",
    "INSERT INTO local VALUES (1);",
    "SELECT linked();",
    "SELECT by_text();",
];

#[track_caller]
fn refused(case: &Case, far: &Database, sql: &str) {
    case.project.write("migrations/1_far.sql", sql);
    let refused = migrate(case, &[]).expect_code(3);
    says(
        &refused,
        &["a foreign table leads nowhere", "--rehearse-reaching"],
    );
    assert_eq!(far.psql("SELECT n FROM counts;"), "1", "{sql}");
}

#[test]
fn a_rehearsal_does_not_write_through_them() {
    let Some((case, far)) = with_remote("foreign") else {
        return;
    };
    for sql in WRITES {
        refused(&case, &far, sql);
        assert_no_scratch(&case);
    }
    // With the word, both the rehearsal and the live run have written.
    migrate(&case, &["--rehearse-reaching"]).expect_code(0);
    assert_eq!(far.psql("SELECT n FROM counts;"), "3");
    // What only names and changes them is rehearsed as ever.
    let harmless = "ALTER FOREIGN TABLE counts RENAME TO far_counts; \
        CREATE VIEW seen AS SELECT n FROM far_counts; INSERT INTO local SELECT 1 WHERE false;";
    case.project.write("migrations/2_names.sql", harmless);
    migrate(&case, &[]).expect_code(3);
    case.project.write(
        "migrations/2_names.sql",
        harmless.replace("ALTER FOREIGN TABLE", "ALTER TABLE"),
    );
    migrate(&case, &[]).expect_code(0);
    assert_eq!(far.psql("SELECT n FROM counts;"), "3");
}

#[test]
fn nor_does_one_on_another_server() {
    let Some((mut case, far)) = with_remote("foreign_away") else {
        return;
    };
    let Some(other) = Cluster::own_or_skip("") else {
        return;
    };
    let away = other.create_database("away");
    case.project = case.project.env("SCRATCH_DATABASE_URL", away.url());
    for sql in WRITES {
        refused(&case, &far, sql);
    }
}

/// Its rows were in the database, and are wherever the new one leads.
#[test]
fn a_table_that_is_replaced_by_a_foreign_one_is_lost() {
    let Some((mut case, _)) = with_remote("foreign_gate") else {
        return;
    };
    case.query("CREATE TABLE books (id int); INSERT INTO books VALUES (1), (2);");
    case.project = case.project.migration(
        "1_away.sql",
        "DROP TABLE books; CREATE FOREIGN TABLE books (id int) SERVER there;",
    );
    let refused = migrate(&case, &["--rehearse-reaching"]).expect_code(3);
    says(&refused, &["books: the table is dropped, with 2 rows"]);
    assert_eq!(case.query("SELECT count(*) FROM books;"), ["2"]);
}
