//! Wrong keys, wrong clocks, wrong URLs: said without a secret.

use std::time::Duration;

use super::{copied_to, no_secret};
use crate::s3::{KEY_ID, S3};
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
