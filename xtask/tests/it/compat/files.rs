//! Names and contents of migration files, and what `sqlx.toml` changes about them.

use super::{FILES, folder, history, sqlx, sqlx_with, write};
use crate::project::Project;
use crate::setup::{Case, says, versions};

/// Down-migrations are there for `sqlx migrate revert`; the tool never runs one.
#[test]
fn reversible_migrations() {
    let files = [
        (
            "1_one.up.sql",
            "CREATE TABLE one (id BIGINT NOT NULL PRIMARY KEY);",
        ),
        ("1_one.down.sql", "DROP TABLE one;"),
        ("2_two.up.sql", "INSERT INTO one VALUES (2);"),
        ("2_two.down.sql", "DELETE FROM one WHERE id = 2;"),
    ];
    for case in Case::each("reversible") {
        write(&case, &files);
        let planned = case.project.json(["db", "migrate-safe", "--dry-run"]);
        assert_eq!(versions(&planned["pending"]), [1, 2]);
        assert_eq!(versions(&case.migrate()["applied"]), [1, 2]);
        sqlx_with(&case, Some(1), |_| ()).expect("sqlx reverts");
        assert_eq!(case.query("SELECT count(*) FROM one;"), ["0"]);
        assert_eq!(versions(&case.migrate()["applied"]), [2]);
        sqlx(&case);
        assert_eq!(case.query("SELECT id FROM one;"), ["2"]);
    }
}

/// Numbers, not texts: 2 before 10, with or without zeros in front.
#[test]
fn versions_are_numbers() {
    let insert = |n: u32| format!("INSERT INTO log (version) SELECT {n};");
    for case in Case::each("numbers") {
        let id = match case.server {
            None => "INTEGER PRIMARY KEY AUTOINCREMENT",
            Some(_) => "BIGSERIAL PRIMARY KEY",
        };
        let create = format!("CREATE TABLE log (n {id}, version BIGINT); {}", insert(1));
        write(&case, &[("0001_one.sql", &create)]);
        let later = [
            ("20260101000000_long.sql", 20),
            ("10_ten.sql", 10),
            ("2_two.sql", 2),
            ("003_three.sql", 3),
        ];
        for (file, n) in later {
            write(&case, &[(file, &insert(n))]);
        }
        let done = case.migrate();
        let expected = [1, 2, 3, 10, 20_260_101_000_000];
        assert_eq!(versions(&done["applied"]), expected);
        let ran = case.query("SELECT version FROM log ORDER BY n;");
        assert_eq!(ran, ["1", "2", "3", "10", "20"]);
        sqlx(&case);
    }
}

/// sqlx runs a migration that came late, with a version before others that are applied.
#[test]
fn a_late_migration_runs_as_in_sqlx() {
    for case in Case::each("late") {
        write(&case, &[FILES[0], FILES[2]]);
        case.migrate();
        write(&case, FILES);
        let planned = case.project.run(["db", "migrate-safe", "--dry-run"]);
        says(
            &planned.expect_code(0),
            &["older than what is already applied"],
        );
        assert_eq!(versions(&case.migrate()["applied"]), [2]);
        sqlx(&case);
        assert_eq!(history(&case).len(), 3);
    }
}

#[test]
fn what_sqlx_passes_over_is_passed_over() {
    for case in Case::each("ignored") {
        write(&case, FILES);
        write(
            &case,
            &[
                ("README.md", "Not a migration."),
                ("11_notes.txt", "Not one either."),
                ("schema.sql", "SELECT nothing FROM nowhere;"),
                (".keep", ""),
            ],
        );
        std::fs::create_dir(folder(&case).join("12_folder.sql")).expect("create a folder");
        assert_eq!(versions(&case.migrate()["applied"]), [1, 2, 10]);
        sqlx(&case);
    }
}

/// The names of another tool's files are a mistake, not something to pass over in silence.
#[test]
fn what_sqlx_refuses_is_refused_by_name() {
    let case = Case::sqlite();
    write(&case, FILES);
    for file in ["V1__init.sql", "one_two.sql"] {
        write(&case, &[(file, "SELECT 1;")]);
        sqlx_with(&case, None, |_| ()).expect_err("sqlx refuses it");
        for arguments in [
            &["migrate-safe", "--yes"][..],
            &["migrate-safe", "--dry-run"],
        ] {
            let refused = case.project.run([&["db"][..], arguments].concat());
            says(&refused.expect_code(3), &[file, "hint: "]);
        }
        std::fs::remove_file(folder(&case).join(file)).expect("remove the file");
    }
    assert!(!case.project.sqlite_path().exists());
    assert_eq!(case.project.vault_files(), [""; 0]);
}

/// A file that does its own transactions says so in its first line.
#[test]
fn own_transactions_in_a_migration_without_one() {
    let own = "-- no-transaction\n\
               BEGIN;\n\
               INSERT INTO authors VALUES (20, 'kept');\n\
               COMMIT;\n\
               BEGIN;\n\
               INSERT INTO authors VALUES (21, 'not kept');\n\
               ROLLBACK;\n\
               INSERT INTO authors VALUES (22, 'kept too');\n";
    for case in Case::each("own") {
        write(&case, FILES);
        write(&case, &[("11_own.sql", own)]);
        assert_eq!(versions(&case.migrate()["applied"]), [1, 2, 10, 11]);
        let ids = case.query("SELECT id FROM authors ORDER BY id;");
        assert_eq!(ids, ["1", "20", "22"]);
        sqlx(&case);
        assert!(history(&case).iter().all(|line| line.contains("|ok|")));
    }
}

/// What PostgreSQL refuses inside of a transaction.
#[test]
fn an_index_is_built_concurrently() {
    let Some(case) = Case::postgres("concurrently") else {
        return;
    };
    let index = "-- no-transaction\nCREATE INDEX CONCURRENTLY by_name ON authors (name);";
    write(&case, FILES);
    write(&case, &[("11_index.sql", index)]);
    assert_eq!(versions(&case.migrate()["applied"]), [1, 2, 10, 11]);
    let valid = "SELECT indisvalid FROM pg_index WHERE indexrelid = 'by_name'::regclass;";
    assert_eq!(case.query(valid), ["t"]);
}

/// Semicolons where a naive splitter would cut.
#[test]
fn bodies_with_semicolons() {
    let sqlite = "CREATE TRIGGER twice AFTER INSERT ON authors BEGIN
                      UPDATE authors SET name = name || ';' WHERE id = new.id;
                      INSERT INTO books (id) VALUES (new.id + 100);
                  END; INSERT INTO authors VALUES (30, 'x');";
    let postgres = "CREATE FUNCTION twice() RETURNS trigger LANGUAGE plpgsql AS $f$
                    BEGIN
                        new.name := new.name || ';';
                        INSERT INTO books (id) VALUES (new.id + 100);
                        RETURN new;
                    END $f$;
                    CREATE TRIGGER twice BEFORE INSERT ON authors
                        FOR EACH ROW EXECUTE FUNCTION twice();
                    INSERT INTO authors VALUES (30, 'x');";
    for case in Case::each("bodies") {
        let body = if case.server.is_some() {
            postgres
        } else {
            sqlite
        };
        write(&case, FILES);
        write(&case, &[("11_body.sql", body)]);
        case.migrate();
        assert_eq!(
            case.query("SELECT name FROM authors WHERE id = 30;"),
            ["x;"]
        );
        assert_eq!(
            case.query("SELECT count(*) FROM books WHERE id = 130;"),
            ["1"]
        );
    }
}

/// The table has the name that `sqlx.toml` gives it, in status and restore as well.
#[test]
fn the_table_name_of_sqlx_toml() {
    for case in Case::each("table_name") {
        let (table, schemas) = match case.server {
            None => ("own_history", "[]"),
            Some(_) => ("ops.history", "['ops']"),
        };
        case.project.write(
            "sqlx.toml",
            format!("[migrate]\ntable-name = '{table}'\ncreate-schemas = {schemas}\n"),
        );
        write(&case, &FILES[..1]);
        case.migrate();
        let count = format!("SELECT count(*) FROM {table};");
        assert_eq!(case.query(&count), ["1"]);
        write(&case, FILES);
        let set = |migrator: &mut sqlx::migrate::Migrator| {
            migrator.dangerous_set_table_name(table);
        };
        sqlx_with(&case, None, set).expect("sqlx goes on in the same table");
        assert_eq!(case.query(&count), ["3"]);
        assert_eq!(
            versions(&case.project.json(["db", "status"])["applied"]),
            [1, 2, 10]
        );
        case.backup();
        case.query(&format!("DELETE FROM {table};"));
        case.restore("latest");
        assert_eq!(
            versions(&case.project.json(["db", "status"])["applied"]),
            [1, 2, 10]
        );
    }
}

#[test]
fn the_folder_and_the_variable_of_sqlx_toml() {
    let project = Project::new().env("SHOP_DATABASE_URL", "sqlite://shop.db?mode=rwc");
    project.write(
        "sqlx.toml",
        "[common]\ndatabase-url-var = 'SHOP_DATABASE_URL'\n[migrate]\nmigrations-dir = 'db/steps'\n",
    );
    std::fs::create_dir_all(project.path().join("db/steps")).expect("create the folder");
    project.write("db/steps/1_one.sql", FILES[0].1);
    let done = project.json(["db", "migrate-safe", "--yes"]);
    assert_eq!(versions(&done["applied"]), [1]);
    assert!(project.path().join("shop.db").exists());
    assert!(!project.sqlite_path().exists());
    let named = ["db", "status", "--source", "migrations"];
    assert_eq!(versions(&project.json(named)["pending"]), [0; 0]);
}

/// A checkout with other line ends is the same history.
#[test]
fn the_ignored_characters_of_sqlx_toml() {
    for case in Case::each("ignored_chars") {
        write(
            &case,
            &[("1_one.sql", "CREATE TABLE one (id BIGINT);\n-- end\n")],
        );
        case.migrate();
        let windows = "CREATE TABLE one (id BIGINT);\r\n-- end\r\n";
        write(&case, &[("1_one.sql", windows)]);
        let refused = case.project.run(["db", "migrate-safe", "--yes"]);
        says(&refused.expect_code(3), &["was changed"]);
        let setting = "[migrate]\nignored-chars = [\"\\r\"]\n";
        case.project.write("sqlx.toml", setting);
        let done = case.project.json(["db", "migrate-safe", "--yes"]);
        assert_eq!(done["outcome"], "nothing-pending");
    }
}

#[test]
fn a_broken_sqlx_toml_is_wrong_usage() {
    let project = Project::new().migration("1_one.sql", FILES[0].1);
    project.write("sqlx.toml", "[migrate\n");
    let refused = project.run(["db", "migrate-safe", "--yes"]).expect_code(2);
    says(&refused, &["sqlx.toml"]);
    assert!(!project.sqlite_path().exists());
}
