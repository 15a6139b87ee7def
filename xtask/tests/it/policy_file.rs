//! `database/db.toml`: what it may say, what comes before it, and that nothing in it is passed over.

mod places;

use std::fs;

use serde_json::Value;

use crate::exec;
use crate::project::{Project, workspace_root};
use crate::setup::says;

fn project(policy: &str) -> Project {
    let project = Project::new();
    project.write("database/db.toml", policy);
    project
}

/// The setting of this name, as `db config --json` has it.
#[track_caller]
fn setting(document: &Value, name: &str) -> Value {
    let settings = document["settings"].as_array().expect("a list of settings");
    let found = settings.iter().find(|setting| setting["setting"] == name);
    found
        .unwrap_or_else(|| panic!("no {name} in {document:#}"))
        .clone()
}

#[test]
fn flag_then_environment_then_dotenv_then_file_then_default() {
    let daily = |project: &Project| {
        let document = project.json(["db", "config"]);
        let setting = setting(&document, "retention.keep_daily");
        (setting["value"].clone(), setting["from"].clone())
    };
    let case = |value: u32, from: &str| (Value::from(value), Value::from(from));
    let empty = Project::new();
    assert_eq!(daily(&empty), case(30, "default"));
    let policy = project("[retention]\n\nkeep_daily = 7\n");
    assert_eq!(daily(&policy), case(7, "file"));
    let document = policy.json(["db", "config"]);
    assert_eq!(setting(&document, "retention.keep_daily")["line"], 3);
    policy.write(".env", "XTASK_DB_KEEP_DAILY=8\n");
    assert_eq!(daily(&policy), case(8, "dot_env"));
    let policy = policy.env("XTASK_DB_KEEP_DAILY", "9");
    assert_eq!(daily(&policy), case(9, "environment"));
    // A flag of a verb that has it, seen by what the run does.
    let url = "sqlite://database/flag.db?mode=rwc";
    let document = policy.json(["db", "config", "--database-url", url]);
    let url_setting = setting(&document, "database.url");
    assert_eq!(url_setting["from"], "flag");
    assert_eq!(url_setting["value"], "sqlite://database/flag.db");
}

#[test]
fn the_example_documents_every_key_with_its_default() {
    let path = workspace_root().join("database/db.toml.example");
    let example = fs::read_to_string(path).expect("read the example");
    // As it is, it says nothing.
    let document = project(&example).json(["db", "config"]);
    let settings = document["settings"].as_array().expect("settings").clone();
    assert!(settings.len() > 15, "{document:#}");
    for setting in &settings {
        assert_eq!(setting["from"], "default", "{setting}");
    }
    // With all of it said, nothing is refused, nothing is missing, and each default is the default.
    let is_key = |line: &str| {
        line.strip_prefix('#')
            .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase() || c == '['))
    };
    let lines = example.lines().map(|line| match is_key(line) {
        true => &line[1..],
        false => line,
    });
    let said = lines.collect::<Vec<_>>().join("\n");
    let all = project(&said).json(["db", "config"]);
    for before in &settings {
        let name = before["setting"].as_str().expect("a name");
        let after = setting(&all, name);
        assert_eq!(after["from"], "file", "{name} is not in the example");
        if !before["value"].is_null() {
            assert_eq!(after["value"], before["value"], "{name}");
        }
    }
    // Of a place there are examples: only what it removes has a default.
    let place = all["offsite"][0].as_array().expect("a place");
    assert!(place.len() > 10, "{all:#}");
    for line in place {
        assert_eq!(line["from"], "file", "{line} is not in the example");
    }
    let removes = place.last().expect("a line");
    assert_eq!(removes["setting"], "offsite.remove_last_copies");
    assert_eq!(removes["value"], false);
}

#[test]
fn a_fresh_clone_says_nothing_and_the_policy_can_be_committed() {
    let root = workspace_root();
    assert!(!root.join("database/db.toml").exists());
    let ignored = |file: &str| {
        let mut git = std::process::Command::new("git");
        git.args(["check-ignore", "--no-index", "--quiet", file]);
        exec::run(git.current_dir(root), None).code == 0
    };
    if root.join(".git").exists() {
        assert!(!ignored("database/db.toml") && !ignored("database/db.toml.example"));
        assert!(ignored("database/app.db") && ignored("database/backups/x.json"));
    }
}

/// A file, and what must be said of it.
const REFUSED: &[(&str, &[&str])] = &[
    (
        "[retention]\nkeep_daily = 3\nkeep_dayly = 3\n",
        &["line 3", "no key `keep_dayly`", "is `keep_daily` meant?"],
    ),
    (
        "\n\n[retension]\n",
        &[
            "line 3",
            "no section `retension`",
            "is `[retention]` meant?",
        ],
    ),
    (
        "[retention]\nvault = \"x\"\n",
        &["line 2", "it belongs below `[backup]`"],
    ),
    (
        "keep_daily = 3\n",
        &["line 1", "outside of a section", "`[retention]`"],
    ),
    (
        "[xyz]\n",
        &["line 1", "no section `xyz`", "hint: there are `[database]`"],
    ),
    (
        "[retention]\nkeep_daily = \"3\"\n",
        &["line 2", "a whole number is expected"],
    ),
    (
        "[retention]\nkeep_daily = 3.5\n",
        &["line 2", "a whole number is expected"],
    ),
    (
        "[retention]\nkeep_daily = -3\n",
        &["line 2", "a whole number from 0"],
    ),
    (
        "[retention]\nkeep_daily = 99999999999\n",
        &["line 2", "a whole number from 0"],
    ),
    (
        "[retention]\nkeep_within = 30\n",
        &["line 2", "a text in quotes"],
    ),
    (
        "[retention]\nkeep_within = \"30 days\"\n",
        &["line 2", "`36h`, `30d`"],
    ),
    (
        "[retention]\nkeep_within = \"\"\n",
        &["line 2", "it is empty"],
    ),
    ("[retention]\nkeep_daily = 1979-05-27\n", &["line 2"]),
    (
        "[retention]\nkeep_daily = [3]\n",
        &["line 2", "a whole number"],
    ),
    (
        "[retention]\nprune_after_backup = \"yes\"\n",
        &["line 2", "`true` or `false`"],
    ),
    (
        "[backup]\nvault = \"~/x\"\n",
        &["line 2", "`~` means nothing here"],
    ),
    ("[backup]\njobs = 65\n", &["line 2", "from 1 to 64"]),
    (
        "[migrate]\non_failure = \"hope\"\n",
        &["line 2", "`ask`, `restore` or `keep`"],
    ),
    (
        "[retention]\nkeep_daily = 3\nkeep_daily = 4\n",
        &["line 3", "duplicate key"],
    ),
    ("[retention\n", &["line 1"]),
    ("retention = 3\n", &["line 1"]),
    (
        "[[retention]]\nkeep_daily = 3\n",
        &["line 1", "write `[retention]`"],
    ),
    (
        "[database]\nurl = \"mysql://x/y\"\n",
        &["line 2", "its scheme is none of"],
    ),
];

#[test]
fn what_is_not_known_is_refused_with_line_and_nearest_name() {
    for &(policy, parts) in REFUSED {
        let project = project(policy);
        let refused = project.run(["db", "list"]).expect_code(2);
        says(&refused, parts);
        says(&refused, &["database/db.toml"]);
        assert!(!project.vault().exists(), "{policy}");
    }
}

#[test]
fn every_way_to_write_toml_is_read_and_what_is_no_file_is_refused() {
    for policy in [
        "retention = { keep_daily = 7 }\n",
        "\u{feff}[retention]\r\nkeep_daily = 7\r\n",
        "[\"retention\"]\n'keep_daily' = +7",
    ] {
        let document = project(policy).json(["db", "config"]);
        assert_eq!(
            setting(&document, "retention.keep_daily")["value"],
            7,
            "{policy}"
        );
    }
    let dotted = project("\nretention.keep_daily = 7\n").run(["db", "config"]);
    let parts = ["line ", "a name with a dot", "such as `[retention]`"];
    says(&dotted.expect_code(2), &parts);

    let path = |project: &Project| project.path().join("database/db.toml");
    let nowhere = Project::new();
    std::os::unix::fs::symlink("/nowhere", path(&nowhere)).expect("make a link");
    let folder = Project::new();
    fs::create_dir(path(&folder)).expect("make a folder");
    let bytes = Project::new();
    fs::write(path(&bytes), [0xff, 0xfe]).expect("write a file");
    for project in [nowhere, folder, bytes] {
        let refused = project.run(["db", "list"]).expect_code(2);
        says(&refused, &["database/db.toml` cannot be read"]);
    }
}

#[test]
fn what_is_larger_than_any_policy_is_refused() {
    let padding = format!("# {}\n", "x".repeat(1 << 20));
    let large = project(&format!(
        "[retention]\nkeep_last = 9\n{padding}keep_daily = 9\n"
    ));
    let refused = large.run(["db", "config"]).expect_code(2);
    says(
        &refused,
        &["database/db.toml` cannot be read", "larger than"],
    );
}

#[test]
fn a_pipe_in_its_place_is_refused_and_not_waited_for() {
    let project = project("");
    let path = project.path().join("database/db.toml");
    fs::remove_file(&path).expect("remove the file");
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mkfifoat(rustix::fs::CWD, &path, mode).expect("make a pipe");
    let refused = project.run(["db", "config"]).expect_code(2);
    says(&refused, &["it is not a regular file"]);
}

#[test]
fn a_secret_in_the_file_is_refused_and_not_repeated() {
    for line in [
        "url = \"postgres://ada:geheim@db/shop\"",
        "url = \"postgres://db/shop?password=geheim\"",
        "scratch_url = \"postgresql://ada:geheim@[::1]:5433/\"",
        "url = \"postgres://ada:geheim@db/shop?no-such-parameter=1\"",
    ] {
        let project = project(&format!("[database]\n{line}\n"));
        let refused = project.run(["db", "config"]).expect_code(2);
        says(&refused, &["line 2", "holds a secret"]);
        assert!(!refused.stderr.contains("geheim"), "{refused}");
    }
    // A line that TOML cannot read is not repeated either.
    let broken = project("[database]\nurl = \"postgres://ada:geheim@db/shop\n");
    let refused = broken.run(["db", "config"]).expect_code(2);
    says(&refused, &["line 2"]);
    assert!(!refused.stderr.contains("geheim"), "{refused}");
}

#[test]
fn no_password_is_shown() {
    let project = Project::new()
        .database_url("postgres://ada:geheim@db.example/shop")
        .env("SCRATCH_DATABASE_URL", "postgres://eve:geheim@localhost/");
    for arguments in [&["db", "config"][..], &["db", "config", "--json"]] {
        let shown = project.run(arguments).expect_code(0);
        assert!(!format!("{shown}").contains("geheim"), "{shown}");
        assert!(shown.stdout.contains("db.example"), "{shown}");
    }
}

#[test]
fn variables_that_are_empty_wrong_or_misspelt_are_refused() {
    for (name, value, parts) in [
        (
            "XTASK_DB_KEEP_DAILY",
            "",
            &["`XTASK_DB_KEEP_DAILY` is set, and empty"][..],
        ),
        (
            "XTASK_DB_KEEP_DAILY",
            "many",
            &["`XTASK_DB_KEEP_DAILY` cannot be used", "a whole number"],
        ),
        (
            "XTASK_DB_KEEP_DAYLY",
            "3",
            &["`XTASK_DB_KEEP_DAYLY`", "is `XTASK_DB_KEEP_DAILY` meant?"],
        ),
        (
            "XTASK_DB_RETENTION_KEEP_DAILY",
            "5",
            &["is `XTASK_DB_KEEP_DAILY` meant?"],
        ),
        (
            "XTASK_DB_PRUNE",
            "1",
            &["`XTASK_DB_PRUNE` is set, and there is no such setting"],
        ),
        (
            "XTASK_DB_OFFSITE_NAS_KEEP_LAST",
            "1",
            &["there is no such setting", "unset XTASK_DB_OFFSITE_NAS"],
        ),
        ("XTASK_DB_PRUNE_AFTER_BACKUP", "yes", &["`true` or `false`"]),
        ("DATABASE_URL", " ", &["`DATABASE_URL` is set, and empty"]),
    ] {
        let refused = Project::new()
            .env(name, value)
            .run(["db", "config"])
            .expect_code(2);
        says(&refused, parts);
    }
    // What these tests are told is no setting.
    let project = Project::new()
        .env("XTASK_DB_SEED", "1")
        .env("XTASK_DB_KILL_ROUNDS", "1");
    project.run(["db", "config"]).expect_code(0);
}

#[test]
fn what_the_file_says_is_done() {
    let project = project(
        "[database]\nurl = \"sqlite://data/shop.db?mode=rwc\"\n\
         [backup]\nvault = \"kept\"\nfingerprint = true\n[migrate]\nsource = \"steps\"\n",
    );
    for folder in ["data", "steps"] {
        fs::create_dir(project.path().join(folder)).expect("make a folder");
    }
    project.write("steps/1_t.sql", "CREATE TABLE t (id INTEGER PRIMARY KEY);");
    // From another folder of the project as well: relative to the project.
    let mut command = project.command(["db", "migrate-safe", "--yes", "--json"]);
    let done = exec::run(command.current_dir(project.path().join("data")), None);
    let done = done.expect_code(0).json();
    assert_eq!(done["applied"][0]["version"], 1);
    assert!(project.path().join("data/shop.db").is_file());
    let kept = fs::read_dir(project.path().join("kept"))
        .expect("the vault")
        .count();
    assert!(kept >= 2, "{kept}");
    let backup = project.json(["db", "backup"]);
    assert!(
        backup["backup"]["tables"][0]["fingerprint"].is_string(),
        "{backup:#}"
    );
    let project = project.env("XTASK_DB_FINGERPRINT", "false");
    let backup = project.json(["db", "backup"]);
    assert!(
        backup["backup"]["tables"][0]["fingerprint"].is_null(),
        "{backup:#}"
    );
}

#[test]
fn a_backup_that_nobody_restores_is_warned_of() {
    let project = project("[backup]\ndrill_within = \"30d\"\n");
    project.sqlite("CREATE TABLE t (id INTEGER);");
    project.run(["db", "backup"]).expect_code(0);
    let status = project.run(["db", "status"]).expect_code(0);
    says(
        &status,
        &[
            "warning: no backup was restored for 30d",
            "cargo xtask db drill",
        ],
    );
    project.run(["db", "drill"]).expect_code(0);
    let status = project.run(["db", "status"]).expect_code(0);
    assert!(!status.stderr.contains("warning"), "{status}");
}
