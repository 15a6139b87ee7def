//! Which places off-site count, and that these are the ones that are shown.

use serde_json::{Value, json};

use super::{project, setting};

const POLICY: &str = "[[offsite]]
name = \"nas\"
url = \"file:///mnt/nas\"
[[offsite]]
name = \"r2\"
url = \"s3://acme/shop\"
";
const OTHER: &str = "s3://other/shop?region=eu";

/// Those of the file.
fn names(document: &Value) -> Vec<&str> {
    let places = document["offsite"].as_array().expect("places").iter();
    let names = places.map(|place| place[0]["value"].as_str());
    names.map(|name| name.expect("a name")).collect()
}

#[test]
fn what_a_flag_or_a_variable_says_is_shown_instead_of_the_file() {
    let file = project(POLICY).json(["db", "config"]);
    assert_eq!(names(&file), ["nas", "r2"]);
    let project = project(POLICY).env("OFFSITE_URL", format!("{OTHER} file:///mnt/nas"));
    let document = project.json(["db", "config"]);
    let shown = setting(&document, "offsite.url");
    assert_eq!(shown["value"], json!([OTHER, "file:///mnt/nas"]));
    assert_eq!(
        (&shown["from"], &shown["variable"]),
        (&json!("environment"), &json!("OFFSITE_URL"))
    );
    assert_eq!(names(&document), ["nas"], "the file knows more of it");
    let document = project.json(["db", "config", "--offsite-url", OTHER]);
    let shown = setting(&document, "offsite.url");
    assert_eq!(shown["value"], json!([OTHER]));
    assert_eq!(
        (&shown["from"], &shown["flag"]),
        (&json!("flag"), &json!("--offsite-url"))
    );
    assert_eq!(names(&document), [""; 0]);
    let said = project.run(["db", "config"]).expect_code(0);
    assert!(said.stdout.contains("environment: OFFSITE_URL"), "{said}");
}
