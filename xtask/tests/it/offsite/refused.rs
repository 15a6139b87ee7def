//! Wrong keys, wrong clocks, wrong URLs: said without a secret.

use std::time::Duration;

use super::{copied_to, no_secret};
use crate::s3::{KEY_ID, S3, SECRET};
use crate::setup::{Case, says};

#[test]
fn a_wrong_key_is_refused_by_the_server() {
    let server = S3::start();
    let mut case = copied_to(&server);
    case.project = case
        .project
        .env("AWS_SECRET_ACCESS_KEY", "Wr0ng/secret+key");
    let failed = case.project.run(["db", "backup"]).expect_code(6);
    says(
        &failed,
        &[
            "SignatureDoesNotMatch",
            "look at the credentials",
            "`AWS_ACCESS_KEY_ID`",
        ],
    );
    for said in [&failed.stdout, &failed.stderr] {
        assert!(
            !said.contains("Wr0ng") && !said.contains(KEY_ID),
            "{failed}"
        );
    }
    assert_eq!(server.objects(), [""; 0]);
    case.project = case.project.env("AWS_ACCESS_KEY_ID", "AKIDNOBODY");
    let failed = case.project.run(["db", "push"]).expect_code(6);
    says(&failed, &["look at the credentials"]);
    assert!(!failed.stderr.contains("Wr0ng"), "{failed}");
}

#[test]
fn a_clock_that_is_wrong_is_said() {
    let server = S3::punctual(1);
    let case = copied_to(&server);
    server.wire().delay(Duration::from_millis(3500));
    let failed = case.project.run(["db", "backup"]).expect_code(6);
    says(
        &failed,
        &["RequestTimeTooSkewed", "set the clock of this machine"],
    );
    no_secret(&failed);
}

#[test]
fn a_bucket_that_is_not_there_is_said() {
    let server = S3::start();
    let mut case = copied_to(&server);
    let url = server.url("shop").replace("copies", "nowhere");
    case.project = case.project.env("OFFSITE_URL", url);
    let failed = case.project.run(["db", "backup"]).expect_code(6);
    says(&failed, &["NoSuchBucket", "make the bucket"]);
}

#[test]
fn a_url_with_a_secret_is_refused_and_not_repeated() {
    let case = Case::sqlite();
    case.query("CREATE TABLE t (id INTEGER);");
    for url in [
        "s3://AKIDX:S3cretWord@bucket/prefix",
        "s3://bucket/prefix?secret_access_key=S3cretWord",
        "s3://bucket/prefix?aws_access_key_id=S3cretWord",
        "az://container/prefix?sig=S3cretWord&sv=2024",
        "https://bucket.s3.amazonaws.com/x?X-Amz-Security-Token=S3cretWord",
        "gs://bucket?google_service_account_key=S3cretWord",
        "ftp://S3cretWord.example.com/x",
        "s3://bucket/prefix?proxy_url=http://me:S3cretWord@proxy",
        "s3://bucket/prefix?proxy_url=http%3A%2F%2Fme%3AS3cretWord%40proxy",
        "s3://bucket/prefix?proxy_url=me:S3cretWord@proxy:3128",
        "s3://bucket/prefix?endpoint=https://S3cretWord@host",
        "s3://bucket/prefix?AWSAccessKeyId=S3cretWord",
        "s3://bucket/prefix?Signature=S3cretWord",
        "S3cretWord",
    ] {
        for output in [
            case.project.run(["db", "push", "--offsite-url", url]),
            case.project
                .run(["db", "push", &format!("--offsite-url={url}")]),
        ] {
            let output = output.expect_code(2);
            says(&output, &["`--offsite-url` cannot be used"]);
            assert!(!output.stderr.contains("S3cretWord"), "{output}");
        }
    }
    let unknown = case
        .project
        .run(["db", "push", "--offsite-url", "s3://bucket?regoin=x"]);
    says(&unknown.expect_code(2), &["has no option `regoin`"]);
}

#[test]
fn a_variable_that_is_set_and_empty_is_refused() {
    let mut case = Case::sqlite();
    case.project = case.project.env("OFFSITE_URL", "");
    says(
        &case.project.run(["db", "backup"]).expect_code(2),
        &["`OFFSITE_URL` is set, and empty"],
    );
}

/// Each word of it is one of a secret as well.
#[test]
fn options_that_only_look_like_secrets_are_options() {
    let server = S3::start();
    let mut case = copied_to(&server);
    let url = format!(
        "{}&unsigned_payload=true&skip_signature=false",
        server.url("shop")
    );
    case.project = case.project.env("OFFSITE_URL", url);
    case.project.run(["db", "backup"]).expect_code(0);
    let toml = "[[offsite]]\nname = \"x\"\nurl = \"s3://b/p\"\n\
                options = [\"proxy_url=http://me:S3cretWord@proxy\"]\n";
    case.project.write("database/db.toml", toml);
    let refused = case.project.run(["db", "config"]).expect_code(2);
    says(&refused, &["db.toml` line 4"]);
    assert!(!refused.stderr.contains("S3cretWord"), "{refused}");
}

/// What the server says is told, and so it could be the key.
#[test]
fn a_server_that_says_the_key_is_not_quoted() {
    let server = S3::start();
    let mut case = copied_to(&server);
    let said = "Your account is not signed up";
    let secret = &SECRET[..said.len()];
    case.project = case
        .project
        .env("AWS_ACCESS_KEY_ID", "AKIDNOBODY")
        .env("AWS_SECRET_ACCESS_KEY", secret);
    server.wire().change(said.as_bytes(), secret.as_bytes());
    let failed = case.project.run(["db", "backup"]).expect_code(6);
    says(&failed, &["the server says NotSignedUp: …"]);
    no_secret(&failed);
    let mut files = vec![case.project.vault().join("journal.jsonl")];
    let names = case.project.vault_files().into_iter();
    files.extend(names.map(|name| case.project.vault().join(name)));
    for file in files {
        let bytes = std::fs::read(&file).expect("read it");
        let has = |secret: &[u8]| bytes.windows(secret.len()).any(|window| window == secret);
        assert!(!has(b"Qx7/secret"), "{file:?}");
    }
}

/// Places that a slip makes one, or whose keys it would mix up.
#[test]
fn places_that_cannot_be_told_apart_are_refused() {
    let mut case = Case::sqlite();
    let place =
        |name: &str, url: &str| format!("[[offsite]]\nname = \"{name}\"\nurl = \"{url}\"\n");
    for (a, b, said) in [
        (
            ("r2", "s3://a/p"),
            ("r2", "s3://b/p"),
            "both begin with `OFFSITE_R2_`",
        ),
        (
            ("r2", "s3://a/p"),
            ("R2", "s3://b/p"),
            "both begin with `OFFSITE_R2_`",
        ),
        (
            ("a-b", "s3://a/p"),
            ("a_b", "s3://b/p"),
            "both begin with `OFFSITE_A_B_`",
        ),
        (("a", "s3://a/p"), ("b", "s3://a/p"), "one and the same"),
        (("a b", "s3://a/p"), ("b", "s3://b/p"), "letters, digits"),
    ] {
        let toml = place(a.0, a.1) + &place(b.0, b.1);
        case.project.write("database/db.toml", toml);
        says(&case.project.run(["db", "push"]).expect_code(2), &[said]);
    }
    case.project.write("database/db.toml", "");
    let urls = "s3://b/p?endpoint=https://a s3://b/p?endpoint=https://b";
    case.project = case.project.env("OFFSITE_URL", urls);
    let refused = case.project.run(["db", "push"]).expect_code(2);
    says(&refused, &["both called `s3://b/p`", "name them in"]);
}
