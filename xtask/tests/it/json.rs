//! For scripts: one JSON document on stdout and nothing else there; the manifest; file modes.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::exec::{self, Output};
use crate::project::Project;
use crate::setup::Case;

mod manifest;

/// The names of the fields, sorted.
#[track_caller]
fn fields(value: &Value) -> Vec<&str> {
    let object = value
        .as_object()
        .unwrap_or_else(|| panic!("no object: {value}"));
    let mut names: Vec<&str> = object.keys().map(String::as_str).collect();
    names.sort_unstable();
    names
}

/// That all of these are there; more may come in later versions.
#[track_caller]
fn assert_fields(value: &Value, wanted: &[&str]) {
    let found = fields(value);
    for name in wanted {
        assert!(found.contains(name), "`{name}` is not in {value:#}");
    }
}

fn project() -> Project {
    Project::new()
        .migration("1_first.sql", "CREATE TABLE first (id INTEGER);")
        .migration(
            "2_second.sql",
            "CREATE TABLE second (id INTEGER);\n\
             UPDATE _sqlx_migrations SET description = 'first' WHERE version = 1;",
        )
}

/// The story of a day, every document of it looked at.
#[track_caller]
fn every_verb(project: &Project, dump_ending: &str) {
    let first = project.json(["db", "migrate-safe", "--yes", "--target-version", "1"]);
    assert_fields(&first, &["outcome", "pending", "applied", "backup"]);
    assert_eq!(first["outcome"], "migrated");
    assert_eq!(first["applied"][0]["version"], 1);
    assert_fields(
        &first["applied"][0],
        &["version", "description", "duration_ms"],
    );
    assert_eq!(first["backup"]["reason"], "pre-migrate");

    let taken = project.json(["db", "backup", "mine"]);
    assert_eq!(taken["backup"]["label"], "mine");
    assert_eq!(taken["backup"]["reason"], "manual");
    let path = taken["path"].as_str().expect("a path");
    assert!(
        path.ends_with(dump_ending) && Path::new(path).is_file(),
        "{path}"
    );
    let manifest_path = taken["manifest_path"].as_str().expect("a path");
    let manifest = fs::read_to_string(manifest_path).expect("read the manifest");
    let mut stored: Value = serde_json::from_str(&manifest).expect("JSON");
    // It is the digest of the file, and what is shown is not the file.
    let fields = stored.as_object_mut().expect("an object");
    assert!(fields.remove("manifest_sha256").is_some());
    // Settings of a database may be secrets: a restore needs them, a log does not.
    let database = stored["database"].as_object_mut().expect("an object");
    assert_eq!(
        database.remove("properties").is_some(),
        dump_ending == ".dump.zst"
    );
    assert_eq!(stored, taken["backup"]);

    let list = project.json(["db", "list"]);
    assert_eq!(list["vault"].as_str(), project.vault().to_str());
    assert_eq!(list["problems"], json!([]));
    // Its checksum was matched when it was taken; nobody has looked at it since.
    let ladder = json!({
        "verified_at": null, "verify_failed_at": null,
        "drilled_at": null, "drill_failed_at": null, "rehearsed_at": null,
    });
    assert_eq!(
        list["backups"][0],
        json!({"manifest": taken["backup"], "path": path, "ladder": ladder})
    );
    assert_eq!(list["backups"].as_array().map(Vec::len), Some(2));

    looking(project, &taken);
    putting_back(project, &taken);
}

fn looking(project: &Project, taken: &Value) {
    let status = project.json(["db", "status"]);
    let wanted = [
        "database", "tables", "applied", "pending", "problem", "latest", "backups", "vault",
    ];
    assert_fields(&status, &wanted);
    assert_eq!(
        status["database"]["engine"],
        taken["backup"]["database"]["engine"]
    );
    assert_eq!(
        status["pending"],
        json!([{"version": 2, "description": "second"}])
    );
    assert_eq!(status["applied"][0]["version"], 1);
    assert_eq!(
        (&status["problem"], &status["backups"]),
        (&Value::Null, &json!(2))
    );
    assert_eq!(status["latest"]["id"], taken["backup"]["id"]);
    let age_hours = status["latest"]["age_hours"].as_f64().expect("a number");
    assert!((0.0..0.5).contains(&age_hours), "{age_hours}");

    let verified = project.json(["db", "verify", "--all"]);
    let mine = json!({"id": taken["backup"]["id"], "trusted": true, "problem": null});
    assert_eq!(verified["verified"][0], mine);
    assert_eq!(project.json(["db", "verify"]), json!({"verified": [mine]}));

    let planned = project.json(["db", "migrate-safe", "--dry-run"]);
    assert_eq!(planned["outcome"], "planned");
    assert_eq!(
        planned["pending"],
        json!([{"version": 2, "description": "second"}])
    );
    assert_eq!(
        (&planned["applied"], &planned["backup"]),
        (&json!([]), &Value::Null)
    );
    let what = "UPDATE _sqlx_migrations";
    let reach = json!({
        "version": 2, "line": 2, "what": what, "kind": "bookkeeping", "within": "statement"
    });
    assert_eq!(planned["reaches"], json!([reach]));
}

fn putting_back(project: &Project, taken: &Value) {
    let restored = project.json(["db", "restore", "latest", "--yes"]);
    assert_fields(
        &restored,
        &["restored", "safety_backup", "kept_database", "database"],
    );
    assert_eq!(restored["restored"], taken["backup"]["id"]);
    let safety = project.json(["db", "list"])["backups"][0]["manifest"].clone();
    assert_eq!(restored["safety_backup"], safety["id"]);
    assert_eq!(safety["reason"], "pre-restore");

    project.json(["db", "migrate-safe", "--yes"]);
    let nothing = project.json(["db", "migrate-safe"]);
    assert_eq!(nothing["outcome"], "nothing-pending");
    assert_eq!(nothing["backup"], Value::Null);
}

#[test]
fn every_verb_on_sqlite() {
    let project = project();
    every_verb(&project, ".db.zst");
    let restored = project.json(["db", "restore", "mine", "--force"]);
    assert_eq!(restored["kept_database"], Value::Null);
}

#[test]
fn every_verb_on_postgresql() {
    let Some(cluster) = Cluster::get_or_skip() else {
        return;
    };
    let database = cluster.create_database("json");
    let project = project().database_url(&database.url());
    every_verb(&project, ".dump.zst");
    let restored = project.json(["db", "restore", "mine", "--force"]);
    let kept = restored["kept_database"].as_str().expect("a name");
    let there = format!("SELECT count(*) FROM pg_database WHERE datname = '{kept}';");
    assert_eq!(cluster.database("postgres").psql(&there), "1");
}

/// The one document of a failure: its own code in it, and the words of stderr.
#[track_caller]
fn assert_error(output: &Output, code: i32) {
    assert_eq!(output.code, code, "{output}");
    let document = output.json();
    let more = |name: &&str| !["backup", "rehearsal"].contains(name);
    let fields: Vec<&str> = fields(&document).into_iter().filter(more).collect();
    assert_eq!(fields, ["error"], "{output}");
    let error = &document["error"];
    assert_fields(error, &["message", "causes", "hint", "exit_code"]);
    assert_eq!(error["exit_code"], code);
    let message = error["message"].as_str().expect("a message");
    assert!(
        output.stderr.contains(&format!("error: {message}\n")),
        "{output}"
    );
    for cause in error["causes"].as_array().expect("a list") {
        let cause = format!("caused by: {}\n", cause.as_str().expect("a cause"));
        assert!(output.stderr.contains(&cause), "{output}");
    }
    if let Some(hint) = error["hint"].as_str() {
        assert!(
            output.stderr.contains(&format!("hint: {hint}\n")),
            "{output}"
        );
    }
}

#[test]
fn a_failure_is_one_document_too() {
    let project = project();
    let run = |arguments: &[&str]| project.run([&["db", "--json"], arguments].concat());
    assert_error(&run(&["backup", "no label"]), 2);
    assert_error(&run(&["status", "--database-url", "mysql://h/d"]), 2);
    assert_error(
        &run(&["status", "--database-url", "postgres://127.0.0.1:1/d"]),
        1,
    );
    assert_error(&run(&["restore", "nothing"]), 4);
    assert_error(&run(&["restore"]), 2);
    assert_error(&run(&["verify"]), 4);
    assert_error(&run(&["migrate-safe"]), 3);
    assert_error(&run(&["migrate-safe", "--source", "nowhere"]), 3);
    assert_error(&run(&["migrate-safe", "--target-version", "9"]), 3);

    project.write("migrations/3_broken.sql", "SELECT broken(");
    assert_error(&run(&["migrate-safe", "--yes"]), 3);
    assert_error(&run(&["migrate-safe", "--yes", "--no-rehearse"]), 5);
    project.write(
        "migrations/1_first.sql",
        "CREATE TABLE changed (id INTEGER);",
    );
    assert_error(&run(&["migrate-safe", "--yes"]), 3);
    assert_error(&run(&["restore", "latest"]), 3);
}

/// Locks are PostgreSQL's; there is no list of them to be had elsewhere.
fn rehearsed(case: &Case, document: &Value) {
    let rehearsal = &document["rehearsal"];
    let wanted = ["restore_ms", "duration_ms", "migrations", "effect"];
    assert_fields(rehearsal, &wanted);
    assert_fields(
        &rehearsal["effect"],
        &["tables", "losses", "invalid_indexes"],
    );
    let ran = &rehearsal["migrations"][0];
    let wanted = [
        "version",
        "description",
        "duration_ms",
        "locks",
        "rewritten",
    ];
    assert_fields(ran, &wanted);
    let locks = ran["locks"].as_array().expect("a list");
    assert_eq!(locks.is_empty(), case.server.is_none(), "{rehearsal:#}");
}

#[test]
fn what_was_found_before_a_failure_is_beside_it() {
    for mut case in Case::each("json_found") {
        case.project = case.project.migration(
            "1_first.sql",
            "CREATE TABLE t (id INTEGER, note TEXT); INSERT INTO t VALUES (1, 'a');",
        );
        case.migrate();
        let file = "migrations/2_less.sql";
        (case.project).write(file, "ALTER TABLE t DROP COLUMN note;");
        let arguments = ["db", "migrate-safe", "--yes", "--json"];
        let document = case.project.run(arguments).expect_code(3).json();
        assert_eq!(document["error"]["exit_code"], 3);
        rehearsed(&case, &document);
        assert_eq!(document["backup"]["reason"], "pre-migrate");
        let losses = &document["rehearsal"]["effect"]["losses"];
        assert_eq!(losses[0]["column"], "note", "{document:#}");

        // A rehearsal that fails says how far it got.
        case.project.write("migrations/3_broken.sql", "broken;");
        let refused = case.project.run(arguments);
        assert_error(&refused, 3);
        let rehearsal = refused.json()["rehearsal"].clone();
        assert_eq!(rehearsal["migrations"][0]["version"], 2);
        assert_eq!(rehearsal["migrations"][1], Value::Null);
        assert!(rehearsal["restore_ms"].is_u64() && rehearsal["effect"].is_null());

        fs::remove_file(case.project.path().join("migrations/3_broken.sql")).expect("remove it");
        let accepted = ["db", "migrate-safe", "--yes", "--accept-loss", "t.note"];
        let document = case.project.json(accepted);
        rehearsed(&case, &document);
        assert_eq!(document["rehearsal"]["accepted_losses"], json!(["t.note"]));
    }
}

#[test]
fn what_cannot_be_trusted_is_a_result_and_no_error() {
    let project = project();
    project.sqlite("CREATE TABLE t (i)");
    let taken = project.json(["db", "backup"]);
    let dump = taken["path"].as_str().expect("a path");
    fs::write(dump, "short").expect("damage the dump");
    for arguments in [
        &["db", "verify", "--json"][..],
        &["db", "verify", "--all", "--json"],
    ] {
        let document = project.run(arguments).expect_code(4).json();
        assert_eq!(fields(&document), ["verified"]);
        let verified = &document["verified"][0];
        assert_eq!(verified["id"], taken["backup"]["id"]);
        assert_eq!(verified["trusted"], false);
        assert!(verified["problem"].is_string(), "{verified}");
    }
    fs::write(dump.replace(".db.zst", ".json"), "{}").expect("damage the manifest");
    let list = project.json(["db", "list"]);
    assert_eq!(list["backups"], json!([]));
    assert_fields(&list["problems"][0], &["file", "problem"]);
    let document = project
        .run(["db", "verify", "--all", "--json"])
        .expect_code(4)
        .json();
    assert_eq!(document["verified"][0]["trusted"], false);
}

/// Without `--json`, data goes to stdout and everything for people to stderr.
#[test]
fn stdout_has_data_only() {
    let project = project();
    for (arguments, has_data) in [
        (&["db", "migrate-safe", "--yes"][..], false),
        (&["db", "backup", "--verbose"], false),
        (&["db", "list"], true),
        (&["db", "status"], true),
        (&["db", "verify"], true),
        (&["db", "restore", "latest", "--yes"], false),
        (&["db", "restore", "nothing"], false),
    ] {
        let output = project.run(arguments);
        assert_eq!(
            !output.stdout.is_empty(),
            has_data,
            "{arguments:?}\n{output}"
        );
    }
    let quiet = project.run(["db", "backup", "--quiet"]).expect_code(0);
    assert_eq!((quiet.stdout.as_str(), quiet.stderr.as_str()), ("", ""));
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("look at it").permissions().mode() & 0o7777
}

/// Whatever the umask lets through, and whatever the folder was before.
#[test]
fn backups_are_private() {
    for existing in [None, Some(0o755), Some(0o777)] {
        let project = project();
        if let Some(mode) = existing {
            fs::create_dir(project.vault()).expect("create a vault");
            let mode = fs::Permissions::from_mode(mode);
            fs::set_permissions(project.vault(), mode).expect("open the vault");
        }
        for arguments in ["migrate-safe --yes", "backup", "restore latest --yes"] {
            let tool = project.command([""; 0]);
            let mut shell = Command::new("/bin/sh");
            let line = format!("umask 000; exec \"$0\" db {arguments}");
            shell
                .args(["-c", &line])
                .arg(tool.get_program())
                .current_dir(project.path());
            exec::run(&mut shell, None).expect_code(0);
        }
        assert_eq!(mode(&project.vault()), 0o700, "{existing:?}");
        let entries = fs::read_dir(project.vault()).expect("list the vault");
        let entries: Vec<_> = entries
            .map(|entry| entry.expect("an entry").path())
            .collect();
        assert_eq!(entries.len(), 9, "{entries:?}");
        for path in entries {
            assert_eq!(mode(&path), 0o600, "{path:?}");
        }
    }
}
