//! A backup is worth something without this tool: with `zstd`, `pg_restore`, `sqlite3` and
//! `sha256sum` alone. The lines are those of the README.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cluster::Cluster;
use crate::exec::{self, Output, is_missing};
use crate::project::{Project, sqlite_rows};

/// All manifests against all dumps, run in the vault. One line for each manifest, also for one
/// that is empty or cut off, so that `--strict` counts it as wrong.
const CHECK_ALL: &str = r#"for m in *.json; do awk -F'"' '$2 == "file" {f = $4} $2 == "sha256" {s = $4} END {print s "  " f}' "$m"; done | sha256sum --check --strict"#;

/// All manifests against themselves: a line for each one that is not as it was written.
const CHECK_MANIFESTS: &str = r#"for m in *.json; do [ "$(sed '/^  "manifest_sha256"/,$d' "$m" | sha256sum | cut -c1-64)" = "$(awk -F'"' '$2 == "manifest_sha256" {s = $4} END {print s}' "$m")" ] || echo "$m was changed"; done"#;

const REVENUE: &str = "SELECT sum(revenue_cents) FROM customer_revenue;";

/// A line of a shell, in a folder.
fn shell(folder: &Path, line: &str) -> Command {
    let mut shell = Command::new("/bin/sh");
    shell
        .args(["-c", line])
        .current_dir(folder)
        .env("LC_ALL", "C");
    shell
}

/// The dump of the newest backup.
fn newest_dump(project: &Project) -> String {
    let list = project.json(["db", "list"]);
    let path = list["backups"][0]["path"].as_str().expect("a backup");
    path.to_owned()
}

#[test]
fn sqlite_comes_back_with_zstd_alone() {
    if is_missing("zstd") {
        return;
    }
    let project = Project::new().example_migrations();
    project.run(["db", "migrate-safe", "--yes"]).expect_code(0);
    project.run(["db", "backup"]).expect_code(0);
    let dump = newest_dump(&project);
    assert!(dump.ends_with(".db.zst"), "{dump}");
    fs::remove_file(project.sqlite_path()).expect("lose the database");

    let line = format!("zstd -dc '{dump}' > database/app.db");
    exec::run(&mut shell(&project.path(), &line), None).expect_code(0);
    let connection = rusqlite::Connection::open(project.sqlite_path()).expect("open it");
    let ask = |sql| sqlite_rows(&connection, sql).expect("read it");
    assert_eq!(ask("PRAGMA integrity_check"), ["ok"]);
    assert_eq!(ask(REVENUE), ["14900"]);
    assert_eq!(ask("SELECT count(*) FROM _sqlx_migrations"), ["7"]);
    if !is_missing("sqlite3") {
        let line = format!("sqlite3 database/app.db '{REVENUE}'");
        let output = exec::run(&mut shell(&project.path(), &line), None).expect_code(0);
        assert_eq!(output.stdout, "14900\n");
    }
    // And the tool goes on from there.
    let status = project.json(["db", "status"]);
    assert_eq!(status["pending"], serde_json::json!([]));
    assert_eq!(status["problem"], serde_json::Value::Null);
}

#[test]
fn postgresql_comes_back_with_zstd_and_pg_restore_alone() {
    let Some(cluster) = Cluster::get_or_skip() else {
        return;
    };
    if is_missing("zstd") {
        return;
    }
    let database = cluster.create_database("alone");
    let project = Project::new()
        .example_migrations()
        .database_url(&database.url());
    project.run(["db", "migrate-safe", "--yes"]).expect_code(0);
    project.run(["db", "backup"]).expect_code(0);
    let dump = newest_dump(&project);
    assert!(dump.ends_with(".dump.zst"), "{dump}");

    let empty = cluster.create_database("empty");
    let bin = cluster.bin().display();
    let name = empty.name();
    let line = format!("zstd -dc '{dump}' | '{bin}/pg_restore' --dbname='{name}'");
    let mut command = shell(&project.path(), &line);
    for (variable, value) in empty.client("pg_restore").get_envs() {
        command.env(variable, value.expect("only set, never removed"));
    }
    exec::run(&mut command, None).expect_code(0);
    for question in [REVENUE, "SELECT count(*) FROM _sqlx_migrations;"] {
        assert_eq!(empty.psql(question), database.psql(question));
    }
    assert_eq!(empty.psql(REVENUE), "14900");
}

/// A backup that was taken with `--jobs`: a tar, of a folder that several sessions restore at once.
#[test]
fn a_folder_comes_back_with_zstd_tar_and_pg_restore_alone() {
    let Some(cluster) = Cluster::get_or_skip() else {
        return;
    };
    if is_missing("zstd") || is_missing("tar") {
        return;
    }
    let readme = fs::read_to_string(crate::project::workspace_root().join("README.md"));
    let readme = readme.expect("read the README");
    assert!(
        readme.contains("| tar -xC folder\n"),
        "the README has another line"
    );
    let database = cluster.create_database("folder_alone");
    let project = Project::new()
        .example_migrations()
        .database_url(&database.url());
    project.run(["db", "migrate-safe", "--yes"]).expect_code(0);
    database.psql("SELECT lo_from_bytea(4711, 'a large object');");
    let several = ["db", "backup", "--jobs", "2"];
    project.run(several).expect_code(0);
    let dump = newest_dump(&project);
    assert!(dump.ends_with(".tar.zst"), "{dump}");

    let empty = cluster.create_database("folder_empty");
    let (bin, name) = (cluster.bin().display(), empty.name());
    let line = format!(
        "mkdir folder && zstd -dc '{dump}' | tar -xC folder
         '{bin}/pg_restore' --jobs=2 --dbname='{name}' --exit-on-error folder"
    );
    let mut command = shell(&project.path(), &line);
    for (variable, value) in empty.client("pg_restore").get_envs() {
        command.env(variable, value.expect("only set, never removed"));
    }
    let output = exec::run(&mut command, None).expect_code(0);
    assert_eq!(output.stderr, "", "nobody complains of anything");
    for question in [REVENUE, "SELECT count(*) FROM _sqlx_migrations;"] {
        assert_eq!(empty.psql(question), database.psql(question));
    }
    let object = "SELECT convert_from(lo_get(4711), 'UTF8');";
    assert_eq!(empty.psql(object), "a large object");
}

/// Three backups, the newest with other rows than the others, so that all dumps differ.
fn filled_vault() -> (Project, Vec<PathBuf>) {
    let project = Project::new();
    for (label, rows) in [("one", 10), ("two", 2000), ("three", 1)] {
        project.sqlite(&format!(
            "CREATE TABLE {label} AS WITH RECURSIVE n(i) AS
             (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows}) SELECT i FROM n"
        ));
        project.run(["db", "backup", label]).expect_code(0);
    }
    let files = project.vault_files();
    let dumps = files.iter().filter(|name| name.ends_with(".zst"));
    let dumps: Vec<_> = dumps.map(|name| project.vault().join(name)).collect();
    assert_eq!(dumps.len(), 3, "{files:?}");
    (project, dumps)
}

fn check_all(project: &Project) -> Output {
    exec::run(&mut shell(&project.vault(), CHECK_ALL), None)
}

fn manifest_of(dump: &Path) -> PathBuf {
    PathBuf::from(dump.display().to_string().replace(".db.zst", ".json"))
}

#[test]
fn one_line_checks_a_good_vault() {
    if is_missing("sha256sum") {
        return;
    }
    let (project, dumps) = filled_vault();
    let output = check_all(&project).expect_code(0);
    let names = dumps
        .iter()
        .map(|dump| dump.file_name().expect("a name").display());
    let expected: String = names.map(|name| format!("{name}: OK\n")).collect();
    assert_eq!(output.stdout, expected);
    assert_eq!(output.stderr, "");
}

/// Damages the vault in `how`, and expects that the line says so and that it blames nothing else.
#[track_caller]
fn assert_found(good: usize, how: impl FnOnce(&[PathBuf])) {
    let (project, dumps) = filled_vault();
    how(&dumps);
    let output = check_all(&project);
    assert_ne!(output.code, 0, "{output}");
    assert_eq!(output.stdout.matches(": OK\n").count(), good, "{output}");
}

fn edit(path: &Path, how: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).expect("read a file of the vault");
    how(&mut bytes);
    fs::write(path, bytes).expect("write a file of the vault");
}

#[test]
fn the_same_line_finds_every_damage() {
    if is_missing("sha256sum") {
        return;
    }
    assert_found(2, |dumps| edit(&dumps[1], |bytes| bytes[40] ^= 1));
    assert_found(2, |dumps| edit(&dumps[1], |bytes| bytes.truncate(100)));
    assert_found(2, |dumps| edit(&dumps[1], |bytes| bytes.push(0)));
    assert_found(2, |dumps| fs::remove_file(&dumps[0]).expect("lose a dump"));
    assert_found(1, |dumps| {
        let other = fs::read(&dumps[0]).expect("read a dump");
        fs::copy(&dumps[1], &dumps[0]).expect("swap the dumps");
        fs::write(&dumps[1], other).expect("swap the dumps");
    });
    assert_found(2, |dumps| {
        edit(&manifest_of(&dumps[2]), |bytes| {
            let text = String::from_utf8_lossy(bytes);
            let at = text.find("\"sha256\": \"").expect("a digest") + "\"sha256\": \"".len();
            bytes[at] = if bytes[at] == b'0' { b'1' } else { b'0' };
        });
    });
    assert_found(2, |dumps| {
        edit(&manifest_of(&dumps[0]), |bytes| bytes.truncate(60))
    });
    assert_found(2, |dumps| edit(&manifest_of(&dumps[1]), Vec::clear));
}

#[test]
fn another_line_finds_a_changed_manifest() {
    if is_missing("sha256sum") {
        return;
    }
    let readme = fs::read_to_string(crate::project::workspace_root().join("README.md"));
    let readme = readme.expect("read the README");
    for line in [CHECK_ALL, CHECK_MANIFESTS] {
        assert!(readme.contains(line), "the README has another line: {line}");
    }
    let (project, dumps) = filled_vault();
    let check = || exec::run(&mut shell(&project.vault(), CHECK_MANIFESTS), None).stdout;
    assert_eq!(check(), "");
    let manifest = manifest_of(&dumps[1]);
    edit(&manifest, |bytes| {
        let text = String::from_utf8_lossy(bytes).replace("\"rows\": 10", "\"rows\": 11");
        *bytes = text.into_bytes();
    });
    let name = manifest.file_name().expect("a name").display().to_string();
    assert_eq!(check(), format!("{name} was changed\n"));
}

#[test]
fn the_same_line_does_not_call_an_empty_vault_good() {
    if is_missing("sha256sum") {
        return;
    }
    let project = Project::new();
    fs::create_dir(project.vault()).expect("create a vault");
    assert_ne!(check_all(&project).code, 0);
}
