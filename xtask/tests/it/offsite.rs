//! Copies off-site, on a real S3 server that checks signatures, and in a folder.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::exec::Output;
use crate::s3::{KEY_ID, S3, SECRET};
use crate::setup::{Case, says, sha256, text};

mod azure;
mod clouds;
mod cut;
mod damage;
mod google;
mod known;
mod large;
mod migrating;
mod one_place;
mod one_prefix;
mod places;
mod prune;
mod race;
mod refused;
mod rekeyed;
mod several;
mod stale;

/// A database with rows whose backups are copied to the server.
fn copied_to(server: &S3) -> Case {
    let mut case = Case::sqlite();
    case.project = server.of(case.project);
    case.query("CREATE TABLE t (id INTEGER); INSERT INTO t VALUES (1), (2), (3);");
    case
}

/// So many bytes that nothing makes smaller.
fn fill(case: &Case, mib: u64) {
    case.query(&format!(
        "CREATE TABLE big (b BLOB);
         WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {mib})
         INSERT INTO big SELECT randomblob(1048576) FROM n;"
    ));
}

fn bytes(path: impl AsRef<Path>) -> Vec<u8> {
    let path = path.as_ref();
    fs::read(path).unwrap_or_else(|error| panic!("read {path:?}: {error}"))
}

/// Both files of a backup are at the server as they are in the vault.
#[track_caller]
fn has_arrived(server: &S3, case: &Case, id: &str) {
    for file in [case.dump(id), case.manifest(id)] {
        let name = file.file_name().expect("a name").to_string_lossy();
        let there = bytes(server.object(&format!("shop/{name}")));
        assert!(there == bytes(&file), "{name} is another one there");
    }
}

#[track_caller]
fn outcomes(document: &Value) -> Vec<String> {
    let copies = document["copies"].as_array().expect("copies");
    let outcome = |copy: &Value| copy["outcome"].as_str().unwrap_or("missing").to_owned();
    copies.iter().map(outcome).collect()
}

fn journal(case: &Case) -> Vec<Value> {
    let log = case.project.json(["db", "log"]);
    log["entries"].as_array().expect("entries").clone()
}

/// What was done off-site: deed, ending, place.
fn deeds(case: &Case) -> Vec<String> {
    let entries = journal(case);
    let offsite = entries.iter().filter(|entry| entry["place"].is_string());
    let deed = |entry: &Value| format!("{} {}", text(entry, "/deed"), text(entry, "/ending"));
    offsite.map(deed).collect()
}

#[track_caller]
fn no_secret(output: &Output) {
    for said in [&output.stdout, &output.stderr] {
        for secret in [SECRET, "Qx7/secret", "secret+of", "server>%41"] {
            assert!(!said.contains(secret), "a secret is told\n{output}");
        }
    }
}

#[test]
fn a_backup_is_copied_read_back_and_matched() {
    let server = S3::start();
    let case = copied_to(&server);
    let output = case.project.run(["db", "backup", "first"]).expect_code(0);
    says(&output, &["copied backup_", "read back and matched"]);
    no_secret(&output);
    let listed = case.project.json(["db", "list"]);
    let id = text(&listed, "/backups/0/manifest/id");
    has_arrived(&server, &case, id);
    assert_eq!(server.objects().len(), 2);
    assert!(server.metadata().contains(&sha256(&bytes(case.dump(id)))));
    assert_eq!(deeds(&case), ["copy begun", "copy done"]);

    let there = case.project.json(["db", "list", "--offsite"]);
    assert_eq!(text(&there, "/places/0/backups/0/id"), id);
    let verified = case.project.json(["db", "verify", "--offsite"]);
    assert_eq!(verified["verified"][0]["trusted"], true);
    let status = case.project.json(["db", "status"]);
    assert_eq!(status["copies"]["three_two_one"], true);
    assert_eq!(text(&status, "/copies/backups/0/id"), id);
    assert!(status["copies"]["backups"][0]["places"][0]["matched_at"].is_string());
    // A copy that is matched says nothing of the backup in the vault.
    assert_eq!(status["latest"]["ladder"]["verified_at"], Value::Null);
    let asked = case.project.json(["db", "status", "--offsite"]);
    assert_eq!(asked["copies"]["three_two_one"], true);
    let said = case.project.run(["db", "status"]).expect_code(0);
    assert!(said.stdout.contains("3-2-1       holds"), "{said}");
}

/// The database and its machine are gone; there is the URL of each, and nothing else.
#[test]
fn a_new_machine_needs_the_database_and_the_bucket_only() {
    for mut case in Case::each("disaster") {
        let server = S3::start();
        case.project = server.of(case.project);
        case.query("CREATE TABLE t (id INTEGER); INSERT INTO t VALUES (1), (2), (3);");
        let id = case.backup();
        let before = case.contents();
        fs::remove_dir_all(case.project.vault()).expect("lose the vault");
        match &case.server {
            None => fs::remove_file(case.project.sqlite_path()).expect("lose the database"),
            Some(_) => drop(case.query("DROP TABLE t;")),
        }
        let said = case.project.run(["db", "restore", "latest"]);
        assert_eq!(said.code, 3, "not without a yes\n{said}");
        let fetched = case.project.vault_files();
        assert!(fetched.contains(&format!("{id}.json")), "{fetched:?}");

        fs::remove_dir_all(case.project.vault()).expect("lose the vault");
        let restored = case.project.run(["db", "restore", "latest", "--yes"]);
        says(
            &restored.expect_code(0),
            &[
                "has no backup of the",
                "looking off-site",
                "fetching",
                "restored",
            ],
        );
        assert_eq!(case.contents(), before);
        assert_eq!(deeds(&case), ["pull done"]);
    }
}

#[test]
fn a_part_of_an_id_finds_a_copy_and_into_does_too() {
    let server = S3::start();
    let case = copied_to(&server);
    case.project.run(["db", "backup", "wanted"]).expect_code(0);
    fs::remove_dir_all(case.project.vault()).expect("lose the vault");
    let into = format!(
        "sqlite://{}",
        case.project.tmp().join("beside.db").display()
    );
    let arguments = ["db", "restore", "wanted", "--into", &into, "--yes"];
    case.project.run(arguments).expect_code(0);
    let beside = rusqlite::Connection::open(case.project.tmp().join("beside.db")).expect("open");
    let rows = crate::project::sqlite_rows(&beside, "SELECT count(*) FROM t");
    assert_eq!(rows.expect("count"), ["3"]);
    let missing = case.project.run(["db", "restore", "nobody", "--yes"]);
    says(
        &missing.expect_code(4),
        &["looking off-site", "no backup has `nobody`"],
    );
}

#[test]
fn what_is_missing_is_sent_by_the_next_backup_or_push() {
    let mut server = S3::start();
    let mut case = copied_to(&server);
    case.project = case.project.env("AWS_MAX_RETRIES", "0");
    server.kill();
    let failed = case
        .project
        .run(["db", "backup", "one", "--json"])
        .expect_code(6);
    says(&failed, &["off-site is missing", "cargo xtask db push"]);
    no_secret(&failed);
    let document = failed.json();
    assert_eq!(outcomes(&document), ["missing"]);
    let one = text(&document, "/backup/id").to_owned();
    case.project.run(["db", "verify", &one]).expect_code(0);
    let status = case.project.json(["db", "status"]);
    assert_eq!(status["copies"]["three_two_one"], false);

    server.revive();
    let two = case.project.json(["db", "backup", "two"]);
    assert_eq!(outcomes(&two), ["copied", "copied"]);
    has_arrived(&server, &case, &one);
    has_arrived(&server, &case, text(&two, "/backup/id"));
    assert_eq!(outcomes(&case.project.json(["db", "push"])), [""; 0]);
    // What is asked for by name is read there once more.
    let again = case.project.json(["db", "push", &one]);
    assert_eq!(outcomes(&again), ["already-there"]);
    fs::remove_file(server.object(&format!("shop/{one}.json"))).expect("lose a manifest");
    assert_eq!(outcomes(&case.project.json(["db", "push"])), ["copied"]);
    has_arrived(&server, &case, &one);
}

#[test]
fn a_backup_is_pulled_in_the_publish_order_and_nothing_is_overwritten() {
    let server = S3::start();
    let case = copied_to(&server);
    let id = case.backup();
    let (dump, manifest) = (bytes(case.dump(&id)), bytes(case.manifest(&id)));
    let refused = case.project.run(["db", "pull", &id]).expect_code(3);
    says(&refused, &["not overwritten"]);
    fs::remove_file(case.manifest(&id)).expect("remove the manifest");
    let refused = case.project.run(["db", "pull", &id]).expect_code(3);
    says(&refused, &["not overwritten"]);
    fs::remove_file(case.dump(&id)).expect("remove the dump");
    let pulled = case.project.json(["db", "pull", "latest"]);
    assert_eq!(text(&pulled, "/backup/id"), id);
    assert_eq!(bytes(case.dump(&id)), dump);
    assert_eq!(bytes(case.manifest(&id)), manifest);
    use std::os::unix::fs::PermissionsExt;
    let mode = |path: PathBuf| fs::metadata(path).expect("look").permissions().mode() & 0o777;
    assert_eq!([mode(case.dump(&id)), mode(case.manifest(&id))], [0o600; 2]);
    case.project.run(["db", "verify", "--all"]).expect_code(0);
    case.project.run(["db", "drill"]).expect_code(0);
}

#[test]
fn the_key_is_in_no_file() {
    let server = S3::start();
    let case = copied_to(&server);
    case.backup();
    case.project.run(["db", "push", "--all"]).expect_code(0);
    let journal = bytes(case.project.vault().join("journal.jsonl"));
    let journal = String::from_utf8(journal).expect("UTF-8");
    for secret in [SECRET, KEY_ID, "Qx7"] {
        assert!(!journal.contains(secret), "{journal}");
    }
}

/// A new machine may need one table only.
#[test]
fn single_tables_are_fetched_as_well() {
    let server = S3::start();
    let case = copied_to(&server);
    let id = case.backup();
    fs::remove_dir_all(case.project.vault()).expect("lose the vault");
    let into = ["--only", "t", "--into", "sqlite:rescued.db", "--yes"];
    let brought = case
        .project
        .run([&["db", "restore", &id][..], &into].concat())
        .expect_code(0);
    says(&brought, &["looking off-site", "brought `t`"]);
    has_arrived(&server, &case, &id);
}
