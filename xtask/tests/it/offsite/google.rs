//! Google Cloud Storage: its tokens, its conditions, its parts and lists.

use std::path::PathBuf;

use super::clouds;
use crate::exec::{self, Output, is_missing};
use crate::s3::google::EMAIL;
use crate::s3::{BUCKET, S3};
use crate::setup::{Case, says};

/// The server, and a project with the key of an account that it knows.
struct Google {
    server: S3,
    case: Case,
}

impl Google {
    fn get_or_skip() -> Option<Self> {
        Self::with_key_in("GOOGLE_SERVICE_ACCOUNT")
    }

    /// `variable`: says where the file of the account is.
    fn with_key_in(variable: &str) -> Option<Self> {
        if is_missing("ssh-keygen") {
            return None;
        }
        let mut case = Case::sqlite();
        let key = key(&case, "account");
        let server = S3::google(&key);
        let account = account(&case, &key).display().to_string();
        case.project = (case.project)
            .env("OFFSITE_URL", url(&server))
            .env(variable, account);
        case.query("CREATE TABLE t (id INTEGER); INSERT INTO t VALUES (1), (2), (3);");
        Some(Self { server, case })
    }
}

fn url(server: &S3) -> String {
    let port = server.wire().port();
    format!("gs://{BUCKET}/shop?base_url=http://127.0.0.1:{port}&allow_http=true")
}

fn key(case: &Case, name: &str) -> PathBuf {
    let path = case.project.tmp().join(name);
    let mut keygen = std::process::Command::new("ssh-keygen");
    keygen
        .args([
            "-q", "-t", "rsa", "-b", "2048", "-m", "PKCS8", "-N", "", "-f",
        ])
        .arg(&path);
    exec::run(&mut keygen, None).expect_code(0);
    path
}

/// The file that Google gives out for a service account.
fn account(case: &Case, key: &std::path::Path) -> PathBuf {
    let path = case.project.tmp().join("account.json");
    let private_key = std::fs::read_to_string(key).expect("read the key");
    let account = serde_json::json!({
        "type": "service_account",
        "private_key": private_key,
        "private_key_id": "0123456789abcdef",
        "client_email": EMAIL,
    });
    std::fs::write(&path, account.to_string()).expect("write the account");
    path
}

#[track_caller]
fn no_key(output: &Output) {
    for said in [&output.stdout, &output.stderr] {
        let has = ["PRIVATE", "MII", "Bearer", "eyJ"]
            .iter()
            .any(|word| said.contains(word));
        assert!(!has, "the key or a token is told\n{output}");
    }
}

#[test]
fn copies_go_to_google_and_come_back() {
    if let Some(google) = Google::get_or_skip() {
        clouds::go_and_come_back(&google.case, no_key);
        // The condition and the metadata came under Google's names.
        assert!(google.server.metadata().contains("sha256"));
        assert_eq!(google.server.parts_left(), [""; 0]);
    }
}

#[test]
fn copies_at_google_are_never_overwritten() {
    if let Some(google) = Google::get_or_skip() {
        clouds::never_overwritten(&google.case, no_key);
    }
}

#[test]
fn copies_at_google_are_pruned() {
    if let Some(google) = Google::get_or_skip() {
        clouds::pruned(&google.case, &url(&google.server));
    }
}

/// The key may also be where Google's own programs look for it.
#[test]
fn google_refuses_a_wrong_key_and_it_is_said_without_it() {
    let Some(google) = Google::with_key_in("GOOGLE_APPLICATION_CREDENTIALS") else {
        return;
    };
    google.case.project.run(["db", "backup"]).expect_code(0);
    // The file has the key of somebody else now.
    account(&google.case, &key(&google.case, "another"));
    let failed = google.case.project.run(["db", "backup"]).expect_code(6);
    says(
        &failed,
        &[
            "look at the credentials",
            "`GOOGLE_APPLICATION_CREDENTIALS`",
        ],
    );
    no_key(&failed);
}

/// A file that was put into JSON once more is no account, and a library repeats what it cannot read.
#[test]
fn an_account_that_cannot_be_read_is_not_repeated() {
    let mut case = Case::sqlite();
    case.query("CREATE TABLE t (id INTEGER);");
    let key = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0\n-----END PRIVATE KEY-----\n";
    let account = serde_json::json!({"private_key": key, "client_email": EMAIL}).to_string();
    let twice = serde_json::Value::from(account).to_string();
    let file = case.project.tmp().join("account.json");
    std::fs::write(&file, &twice).expect("write the account");
    let file = file.display().to_string();
    case.project = case
        .project
        .env("OFFSITE_URL", format!("gs://{BUCKET}/shop"));
    for (variable, value) in [
        ("GOOGLE_SERVICE_ACCOUNT_KEY", &twice),
        ("GOOGLE_SERVICE_ACCOUNT", &file),
        ("GOOGLE_APPLICATION_CREDENTIALS", &file),
    ] {
        let mut command = case.project.command(["db", "backup"]);
        let failed = exec::run(command.env(variable, value), None).expect_code(6);
        let fit = "its credentials or options do not fit";
        says(&failed, &[fit, "`GOOGLE_APPLICATION_CREDENTIALS`"]);
        no_key(&failed);
    }
    let journal = super::bytes(case.project.vault().join("journal.jsonl"));
    let journal = String::from_utf8(journal).expect("UTF-8");
    assert!(!journal.contains("PRIVATE"), "{journal}");
}
