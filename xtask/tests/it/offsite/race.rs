//! Somebody else writes the same name at the very moment; and what is said to the server.

use std::fs;
use std::path::Path;

use super::{bytes, copied_to, fill, has_arrived};
use crate::exec::Output;
use crate::s3::S3;
use crate::setup::{Case, says};

/// A push while which, before the server hears `words`, a file is made there by somebody else.
fn pushed_beside(server: &S3, case: &Case, words: &str, file: &Path) -> Output {
    let (folder, file) = (server.object("shop"), file.to_owned());
    server.wire().before(words, move || {
        fs::create_dir_all(folder).expect("a prefix");
        fs::write(file, b"somebody's").expect("write another one");
    });
    let output = case.project.run(["db", "push"]);
    assert!(
        server.wire().has_heard(),
        "`{words}` was not said\n{output}"
    );
    output
}

#[test]
fn what_comes_meanwhile_is_never_overwritten() {
    for (mib, ending, words) in [
        (0, "db.zst", "PUT /copies/shop/backup_"),
        (0, "json", ".json"),
        (20, "db.zst", "partNumber=3&"),
    ] {
        let server = S3::start();
        let mut case = Case::sqlite();
        case.query("CREATE TABLE t (id INTEGER);");
        fill(&case, mib);
        let id = case.backup();
        case.project = server.of(case.project);
        let words = match ending {
            "json" => format!("PUT /copies/shop/{id}.json"),
            _ => words.to_owned(),
        };
        let theirs = server.object(&format!("shop/{id}.{ending}"));
        let output = pushed_beside(&server, &case, &words, &theirs).expect_code(6);
        says(&output, &["with other content, which is not overwritten"]);
        assert_eq!(bytes(&theirs), b"somebody's", "{output}");
        assert_eq!(server.parts_left(), [""; 0]);
        fs::remove_file(&theirs).expect("move it away");
        case.project.run(["db", "push"]).expect_code(0);
        has_arrived(&server, &case, &id);
    }
}

/// Options for the bucket's own guards are the library's, and reach the server.
#[test]
fn encryption_and_checksums_of_the_server_are_asked_for() {
    for (option, words) in [
        (
            "aws_server_side_encryption=aws:kms",
            "x-amz-server-side-encryption: aws:kms",
        ),
        (
            "aws_server_side_encryption=aws:kms&aws_sse_kms_key_id=key-7",
            "key-id: key-7",
        ),
        // Object lock wants one with each upload.
        ("checksum_algorithm=sha256", "x-amz-checksum-sha256: "),
    ] {
        let server = S3::start();
        let mut case = copied_to(&server);
        let url = format!("{}&{option}", server.url("shop"));
        case.project = case.project.env("OFFSITE_URL", url);
        server.wire().before(words, || ());
        let id = case.backup();
        assert!(server.wire().has_heard(), "`{words}` was not said");
        has_arrived(&server, &case, &id);
    }
}
