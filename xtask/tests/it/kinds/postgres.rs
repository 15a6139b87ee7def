//! What each flag means on PostgreSQL, and what comes back of it.

use super::{chinook, drilled, elsewhere, feed, id, refused, restored_into, rows, taken, unpacked};
use crate::encryption::Pair;
use crate::setup::{Case, create_role, says, text};

#[test]
fn definitions_alone_come_back_without_rows() {
    let Some(case) = Case::postgres("kind_schema") else {
        return;
    };
    if !chinook(&case) {
        return;
    }
    case.query("SELECT lo_create(0); CREATE MATERIALIZED VIEW m AS SELECT 1 AS one;");
    let manifest = taken(&case, &["--schema-only"]);
    assert!(rows(&manifest).iter().all(|(_, rows)| *rows == 0));
    assert_eq!(rows(&manifest).len(), 11);
    assert_eq!(manifest["large_objects"], 0);
    drilled(&case, id(&manifest)).expect_code(0);
    let (url, other) = elsewhere(&case, "copy");
    restored_into(&case, id(&manifest), &url);
    assert_eq!(other.query("SELECT count(*) FROM track;"), ["0"]);
    let keys = "SELECT count(*) FROM pg_constraint WHERE contype = 'f';";
    assert_eq!(other.query(keys), case.query(keys));
}

#[test]
fn rows_alone_cannot_be_tried_alone_and_go_into_tables_that_are_there() {
    let Some(case) = Case::postgres("kind_data") else {
        return;
    };
    if !chinook(&case) {
        return;
    }
    let schema = taken(&case, &["--schema-only"]);
    let data = taken(&case, &["--data-only", "--fingerprint"]);
    assert_eq!(data["relations"], serde_json::Value::Null);
    assert!(rows(&data).contains(&("track".into(), 3503)));
    refused(
        drilled(&case, id(&data)),
        3,
        &["no definitions", "pg_restore --data-only"],
    );
    let all = case.project.run(["db", "drill", "--all"]).expect_code(0);
    assert!(
        all.stdout.contains(&format!("not tried     {}", id(&data))),
        "{all}"
    );
    let (url, other) = elsewhere(&case, "both");
    let restore = ["db", "restore", id(&data), "--into", &url, "--yes"];
    refused(
        case.project.run(restore),
        3,
        &["no table that they could go into"],
    );
    restored_into(&case, id(&schema), &url);
    // The command of the hint.
    let dump = case.project.vault().join(text(&data, "/dump/file"));
    let live = other.server.as_ref().expect("a server");
    let script = format!(
        "zstd -dc '{}' | '{}/pg_restore' --data-only --single-transaction --exit-on-error --dbname='{}'",
        dump.display(),
        live.cluster().bin().display(),
        live.name()
    );
    let mut shell = live.client("psql");
    let environment: Vec<_> = shell
        .get_envs()
        .map(|(k, v)| (k.to_owned(), v.map(Into::into)))
        .collect();
    shell = std::process::Command::new("/bin/sh");
    for (key, value) in environment {
        if let Some(value) = value {
            let value: std::ffi::OsString = value;
            shell.env(key, value);
        }
    }
    shell.args(["-c", &script]);
    feed(shell, "");
    let count = "SELECT count(*) FROM track; SELECT count(*) FROM playlist_track;";
    assert_eq!(other.query(count), case.query(count));
}

/// With foreign keys to a table that stays away, a schema that the dump does not make, and a name
/// that means something in a pattern.
#[test]
fn some_tables_come_back_with_what_they_can_have_alone() {
    let Some(case) = Case::postgres("kind_some") else {
        return;
    };
    case.query(
        "CREATE SCHEMA \"Shop.x\"; CREATE TABLE \"Shop.x\".\"Order \"\"Items*\" (id serial PRIMARY KEY); \
         CREATE TABLE customers (id int PRIMARY KEY); INSERT INTO customers VALUES (1), (2); \
         CREATE TABLE orders (id int PRIMARY KEY, customer int REFERENCES customers, \
           item int REFERENCES \"Shop.x\".\"Order \"\"Items*\"); \
         INSERT INTO \"Shop.x\".\"Order \"\"Items*\" DEFAULT VALUES; INSERT INTO orders VALUES (7, 1, 1);",
    );
    let items = "\"Shop.x\".\"Order \"\"Items*\"";
    let manifest = taken(&case, &["--table", "orders", "--table", items]);
    assert!(id(&manifest).ends_with("_partial"), "{}", id(&manifest));
    assert_eq!(
        rows(&manifest),
        [("Order \"Items*".into(), 1), ("orders".into(), 1)]
    );
    let keys = &manifest["kind"]["foreign_keys_left_out"];
    assert_eq!(keys.as_array().map(Vec::len), Some(1), "{keys}");
    assert_eq!(keys[0]["refers_to"], "public.customers");
    drilled(&case, id(&manifest)).expect_code(0);
    let (url, other) = elsewhere(&case, "some");
    let restore = ["db", "restore", id(&manifest), "--into", &url, "--yes"];
    let done = case.project.run(restore).expect_code(0);
    says(&done, &["orders_customer_fkey", "public.customers"]);
    let keys = "SELECT conname FROM pg_constraint WHERE contype = 'f';";
    assert_eq!(other.query(keys), ["orders_item_fkey"]);
    assert_eq!(
        other.query(&format!("SELECT id FROM {items}; SELECT id FROM orders;")),
        ["1", "7"]
    );

    // The whole schema makes itself; a table left out takes its foreign keys with it.
    let manifest = taken(&case, &["--schema", "\"Shop.x\""]);
    assert_eq!(rows(&manifest), [("Order \"Items*".into(), 1)]);
    drilled(&case, id(&manifest)).expect_code(0);
    let manifest = taken(&case, &["--exclude-table", "customers", "--jobs", "2"]);
    assert_eq!(rows(&manifest).len(), 2);
    drilled(&case, id(&manifest)).expect_code(0);
    // Rows that refer to rows which are not there.
    let manifest = taken(&case, &["--exclude-table-data", "cust*"]);
    assert!(rows(&manifest).contains(&("customers".into(), 0)));
    assert_eq!(rows(&manifest).len(), 3);
    let keys = &manifest["kind"]["foreign_keys_left_out"];
    assert_eq!(keys[0]["name"], "orders_customer_fkey", "{keys}");
    drilled(&case, id(&manifest)).expect_code(0);
}

/// Not to be allowed to read a table is a reason to leave it out.
#[test]
fn a_table_that_may_not_be_read_can_be_left_out() {
    let Some((case, admin)) = Case::owner("kind_unread") else {
        return;
    };
    let role = format!("{}_owner", admin.name());
    admin.psql(&format!(
        "ALTER SCHEMA public OWNER TO {role}; CREATE TABLE theirs (id int); INSERT INTO theirs VALUES (1);"
    ));
    case.query("CREATE TABLE mine (id int); INSERT INTO mine VALUES (1), (2);");
    case.project.run(["db", "backup"]).expect_code(1);
    let manifest = taken(&case, &["--exclude-table", "theirs"]);
    assert_eq!(rows(&manifest), [("mine".into(), 2)]);
    // In place, by a role that may create no databases, into one that holds nothing.
    let other = admin.cluster().create_database("kind_unread_into");
    other.psql(&format!(
        "ALTER DATABASE {} OWNER TO {role}; ALTER SCHEMA public OWNER TO {role};",
        other.name()
    ));
    let url = other.as_role(&role, crate::cluster::PASSWORD).url();
    restored_into(&case, id(&manifest), &url);
    assert_eq!(other.psql("SELECT count(*) FROM mine"), "2");
}

/// What a table needs and the dump has not is said when it is taken, and found by nobody at 3 a.m.
#[test]
fn what_needs_something_else_is_said_and_not_tried() {
    let Some(case) = Case::postgres("kind_needs") else {
        return;
    };
    case.query(
        "CREATE TYPE mood AS ENUM ('good'); CREATE TABLE people (id int, moods mood[]); \
         CREATE TABLE parts (at int) PARTITION BY RANGE (at); \
         CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (1) TO (9); \
         INSERT INTO parts VALUES (3), (4);",
    );
    let output = case
        .project
        .run(["db", "backup", "--table", "people"])
        .expect_code(0);
    says(&output, &["cannot be restored alone", "type mood"]);
    let newest = case.project.json(["db", "status"]);
    refused(
        drilled(&case, text(&newest, "/newer/id")),
        3,
        &["type mood"],
    );
    let output = case
        .project
        .run(["db", "backup", "--table", "parts"])
        .expect_code(0);
    says(&output, &["is partitioned", "1 of its partitions"]);
    let manifest = taken(&case, &["--table", "parts*"]);
    assert_eq!(
        rows(&manifest),
        [("parts".into(), 2), ("parts_1".into(), 2)]
    );
    drilled(&case, id(&manifest)).expect_code(0);
}

/// `psql` reads it, into an empty database and over what it made before.
#[test]
fn text_is_read_by_psql_and_restored_as_it_was() {
    let Some(case) = Case::postgres("kind_plain") else {
        return;
    };
    if !chinook(&case) {
        return;
    }
    let grants = "GRANT SELECT ON track TO pg_monitor;";
    case.query(grants);
    let owned = taken(&case, &["--format", "plain", "--fingerprint"]);
    assert!(text(&owned, "/dump/file").ends_with("_plain.sql.zst"));
    let script = unpacked(&case, &owned);
    assert!(script.contains("OWNER TO") && script.contains("GRANT SELECT"));
    drilled(&case, id(&owned)).expect_code(0);
    let (url, other) = elsewhere(&case, "plain");
    restored_into(&case, id(&owned), &url);
    let ask = "SELECT count(*), sum(milliseconds) FROM track;";
    assert_eq!(other.query(ask), case.query(ask));

    let clean = [
        "--format",
        "plain",
        "--clean",
        "--no-owner",
        "--no-privileges",
    ];
    let manifest = taken(&case, &clean);
    let script = unpacked(&case, &manifest);
    assert!(!script.contains("OWNER TO") && !script.contains("GRANT "));
    other.query("DELETE FROM playlist_track; DELETE FROM invoice_line; DELETE FROM track;");
    let live = other.server.as_ref().expect("a server");
    feed(live.psql_command(), &script);
    assert_eq!(other.query(ask), case.query(ask));
    drilled(&case, id(&manifest)).expect_code(0);
}

/// Text that `pg_dump` did not write to its end is no backup, whatever its exit code says.
#[test]
fn text_that_ends_early_is_no_backup() {
    let Some(case) = Case::postgres("kind_cut") else {
        return;
    };
    case.query("CREATE TABLE t (id int); INSERT INTO t SELECT generate_series(1, 1000);");
    let cluster = case.server.as_ref().expect("a server").cluster();
    let real = cluster.bin().join("pg_dump");
    let body = format!(
        "case \"$*\" in *--format=plain*) '{0}' \"$@\" | head -c 2000; exit 0 ;; esac\nexec '{0}' \"$@\"",
        real.display()
    );
    let bin = crate::pg_bin::PgBin::logging(cluster).script(cluster, "pg_dump", &body);
    let mut command = case.project.command(["db", "backup", "--format", "plain"]);
    let output = crate::exec::run(command.env("PG_BIN", bin.path()), None);
    refused(output, 1, &["does not come to its end"]);
    assert_eq!(case.project.vault_files(), [""; 0]);
}

/// Of a role that may read no password, and without any.
#[test]
fn globals_are_beside_it_without_passwords() {
    let Some((case, admin)) = Case::owner("kind_globals") else {
        return;
    };
    let role = format!("{}_reader", admin.name());
    create_role(&admin, &role);
    admin.psql(&format!("ALTER ROLE {role} SET work_mem = '7MB';"));
    let document = case.project.json(["db", "backup", "--globals"]);
    let shown = &document["backup"]["globals"];
    assert!(text(shown, "/tool").starts_with("pg_dumpall"), "{shown}");
    assert_eq!(shown["sql"], serde_json::Value::Null);
    let id = text(&document, "/backup/id");
    let file = std::fs::read_to_string(case.manifest(id)).expect("read the manifest");
    let manifest: serde_json::Value = serde_json::from_str(&file).expect("JSON");
    let sql = text(&manifest, "/globals/sql");
    assert!(sql.contains(&format!("CREATE ROLE {role};")), "{sql}");
    assert!(sql.contains("work_mem"), "{sql}");
    for secret in ["PASSWORD", "SCRAM-SHA-256", "md5"] {
        assert!(!sql.contains(secret), "{sql}");
    }
    // It stays a full one.
    assert_eq!(text(&case.project.json(["db", "status"]), "/latest/id"), id);
}

/// Their settings can hold a secret, and the manifest is read without a key.
#[test]
fn globals_are_refused_beside_an_encrypted_dump() {
    let Some(case) = Case::postgres("kind_globals_sealed") else {
        return;
    };
    let sealed = ["db", "backup", "--recipient", &Pair::new().public];
    let output = case.project.run([&sealed[..], &["--globals"]].concat());
    refused(output, 3, &["not encrypted; nothing was changed"]);
    assert_eq!(case.project.vault_files(), [""; 0]);
    // Also where nobody is named, and those before were encrypted.
    case.project.run(sealed).expect_code(0);
    let files = case.project.vault_files();
    let output = case.project.run(["db", "backup", "--globals"]);
    refused(output, 3, &["not encrypted; nothing was changed"]);
    assert_eq!(case.project.vault_files(), files);
}
