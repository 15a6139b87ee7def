//! Several places, folders among them, and what else lies in them.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::{bytes, copied_to, fill, has_arrived, outcomes};
use crate::s3::{BUCKET, KEY_ID, S3, SECRET};
use crate::setup::{Case, hinted_command, says, text};

/// A folder on another file system than the vault's.
pub fn other_disk() -> tempfile::TempDir {
    tempfile::Builder::new()
        .prefix("xtask-db-mounted-")
        .tempdir_in("/dev/shm")
        .expect("a folder in memory")
}

pub fn in_folder(folder: &std::path::Path) -> Case {
    let mut case = Case::sqlite();
    let url = format!("file://{}", folder.display());
    case.project = case.project.env("OFFSITE_URL", url);
    case.query("CREATE TABLE t (id INTEGER); INSERT INTO t VALUES (1), (2), (3);");
    case
}

#[test]
fn a_mounted_folder_is_a_place() {
    let folder = other_disk();
    let case = in_folder(folder.path());
    fill(&case, 20);
    let id = case.backup();
    for file in [case.dump(&id), case.manifest(&id)] {
        let there = folder.path().join(file.file_name().expect("a name"));
        assert!(bytes(&there) == bytes(&file));
        let mode = fs::metadata(&there).expect("look").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{there:?}");
    }
    let status = case.project.json(["db", "status", "--offsite"]);
    assert_eq!(status["copies"]["three_two_one"], true);
    fs::remove_dir_all(case.project.vault()).expect("lose the vault");
    fs::remove_file(case.project.sqlite_path()).expect("lose the database");
    case.project
        .run(["db", "restore", "latest", "--yes"])
        .expect_code(0);
    assert_eq!(case.query("SELECT count(*) FROM t"), ["3"]);
}

#[test]
fn a_folder_that_is_not_there_is_not_made() {
    let folder = other_disk();
    let missing = folder.path().join("unmounted");
    let case = in_folder(&missing);
    let failed = case.project.run(["db", "backup"]).expect_code(6);
    says(&failed, &["mount it, or make the folder"]);
    assert!(!missing.exists());
}

#[test]
fn a_folder_on_the_disk_of_the_vault_is_no_other_hardware() {
    let folder = tempfile::tempdir().expect("a folder");
    let case = in_folder(folder.path());
    let copied = case.project.run(["db", "backup"]).expect_code(0);
    says(&copied, &["is on the disk of the vault"]);
    let status = case.project.json(["db", "status"]);
    assert_eq!(status["copies"]["three_two_one"], false);
    assert!(text(&status, "/copies/lacks").contains("on the disk of the vault"));
}

#[test]
fn several_places_each_get_a_copy_and_one_that_fails_is_said() {
    let mut server = S3::start();
    let folder = other_disk();
    let mut case = copied_to(&server);
    let urls = format!("{} file://{}", server.url("shop"), folder.path().display());
    case.project = case
        .project
        .env("OFFSITE_URL", urls)
        .env("AWS_MAX_RETRIES", "0");
    let first = case.project.json(["db", "backup"]);
    assert_eq!(outcomes(&first), ["copied", "copied"]);
    server.kill();
    let second = case
        .project
        .run(["db", "backup", "two", "--json"])
        .expect_code(6);
    let second = second.json();
    assert_eq!(outcomes(&second), ["missing", "copied"]);
    fs::remove_dir_all(case.project.vault()).expect("lose the vault");
    // The one that is down may have a newer one.
    let refused = case.project.run(["db", "restore", "latest", "--yes"]);
    let refused = refused.expect_code(3);
    says(&refused, &["is left out:", "while a place does not answer"]);
    let mut command = hinted_command(&refused);
    assert_eq!(command[2], text(&second, "/backup/id"));
    command.push("--yes".into());
    let restored = case.project.run(command).expect_code(0);
    says(&restored, &["is left out:", "fetching"]);
}

#[test]
fn what_a_killed_copy_has_left_in_a_folder_is_removed_by_the_next_one() {
    let folder = other_disk();
    let mut case = Case::sqlite();
    case.query("CREATE TABLE t (id INTEGER);");
    let id = case.backup();
    let staged = [
        format!("{id}.db.zst#1"),
        format!("{id}.db.zst#2"),
        format!("{id}.json#1"),
    ];
    let others = [
        format!("{id}-more.db.zst#1"),
        "notes#1".into(),
        format!("{id}.txt#1"),
    ];
    for name in staged.iter().chain(&others) {
        fs::write(folder.path().join(name), "half").expect("leave a file");
    }
    let url = format!("file://{}", folder.path().display());
    case.project = case.project.env("OFFSITE_URL", url);
    let said = case.project.run(["db", "push"]).expect_code(0);
    says(&said, &["which a run that was cut short had left"]);
    let is_there = |name: &String| folder.path().join(name).exists();
    assert!(!staged.iter().any(is_there) && others.iter().all(is_there));
}

#[test]
fn what_others_keep_there_is_left_alone_and_named() {
    let server = S3::start();
    let case = copied_to(&server);
    case.backup();
    let theirs = [
        "notes.txt",
        "backup_of_mine.tar",
        "x.json",
        "other/backup_2020-01-01_000000.json",
    ];
    fs::create_dir(server.object("shop/other")).expect("another project's prefix");
    for name in theirs {
        fs::write(server.object(&format!("shop/{name}")), name).expect("write it");
    }
    let listed = case.project.run(["db", "list", "--offsite"]).expect_code(0);
    says(&listed, &["3 files of others left alone", "`notes.txt`"]);
    assert!(!listed.stderr.contains("2020-01-01"), "{listed}");
    case.backup();
    for name in theirs {
        assert_eq!(
            bytes(server.object(&format!("shop/{name}"))),
            name.as_bytes()
        );
    }
}

#[test]
fn two_databases_in_one_prefix_are_told_apart() {
    let server = S3::start();
    let (one, two) = (copied_to(&server), copied_to(&server));
    let first = one.backup();
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let second = two.backup();
    assert_ne!(first, second);
    two.query("INSERT INTO t VALUES (4);");
    fs::remove_dir_all(one.project.vault()).expect("lose the vault");
    let pulled = one.project.json(["db", "pull", "latest"]);
    assert_eq!(text(&pulled, "/backup/id"), first);
    let refused = one
        .project
        .run(["db", "restore", &second, "--yes"])
        .expect_code(3);
    says(&refused, &["is of another database"]);
    // It was not even fetched.
    assert!(!one.manifest(&second).exists());
    has_arrived(&server, &two, &second);
}

/// Two servers, each with its own key, as a team writes them down.
#[test]
fn places_of_the_policy_file_have_names_and_keys_of_their_own() {
    let server = S3::start();
    let folder = other_disk();
    let mut case = Case::sqlite();
    case.query("CREATE TABLE t (id INTEGER);");
    let options = format!(
        "options = [\"endpoint=http://127.0.0.1:{}\", \"allow_http=true\", \"region=us-east-1\"]\n",
        server.wire().port()
    );
    // The variables of the second one begin like those of the first one.
    let toml = format!(
        "[[offsite]]\nname = \"minio\"\nurl = \"s3://{BUCKET}/shop\"\n{options}\
         [[offsite]]\nname = \"minio-2\"\nurl = \"s3://{BUCKET}/shop2\"\n{options}\
         [[offsite]]\nname = \"nas\"\nurl = \"file://{}\"\n",
        folder.path().display()
    );
    case.project.write("database/db.toml", toml);
    case.project = case
        .project
        .env("AWS_ACCESS_KEY_ID", "somebody")
        .env("AWS_SECRET_ACCESS_KEY", "else, whose key this is")
        .env("OFFSITE_MINIO_AWS_ACCESS_KEY_ID", KEY_ID)
        .env("OFFSITE_MINIO_AWS_SECRET_ACCESS_KEY", SECRET)
        .env("OFFSITE_MINIO_2_AWS_ACCESS_KEY_ID", KEY_ID)
        .env("OFFSITE_MINIO_2_AWS_SECRET_ACCESS_KEY", SECRET);
    let taken = case.project.json(["db", "backup"]);
    assert_eq!(outcomes(&taken), ["copied", "copied", "copied"]);
    assert_eq!(text(&taken, "/copies/0/place"), "minio");
    has_arrived(&server, &case, text(&taken, "/backup/id"));
    let said = case.project.run(["db", "status"]).expect_code(0);
    assert!(said.stdout.contains("minio (matched"), "{said}");
    let shown = case.project.run(["db", "config"]).expect_code(0);
    super::no_secret(&shown);
    for (line, refused) in [
        ("options = [\"secret_access_key=x\"]", "which is a secret"),
        ("urll = \"s3://x\"", "has no key `urll`"),
        ("options = [\"regoin=x\"]", "has no option `regoin`"),
    ] {
        let toml = format!("[[offsite]]\nname = \"x\"\nurl = \"s3://{BUCKET}/shop\"\n{line}\n");
        case.project.write("database/db.toml", toml);
        says(&case.project.run(["db", "push"]).expect_code(2), &[refused]);
    }
}
