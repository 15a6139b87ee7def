//! Every flag that is a setting reaches it, and every setting that has a flag has it somewhere.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;

use super::history::History;
use crate::encryption::Pair;
use crate::project::workspace_root;

/// Each rule alone, all others off, on a backup of now and one that is older by so many hours.
pub const RULES: [(&str, &str, i64, &str); 10] = [
    ("--keep-last", "2", 9000, "last 2 of 2"),
    ("--keep-hourly", "2", 9000, "hour 2 of 2"),
    ("--keep-daily", "2", 9000, "day 2 of 2"),
    ("--keep-weekly", "2", 9000, "week 2 of 2"),
    ("--keep-monthly", "2", 9000, "month 2 of 2"),
    ("--keep-yearly", "2", 9000, "year 2 of 2"),
    ("--keep-within", "30h", 29, "all for 30h"),
    ("--keep-manual", "30h", 29, "manual for 30h"),
    ("--keep-pre-migrate", "30h", 29, "pre-migrate for 30h"),
    ("--keep-pre-restore", "30h", 29, "pre-restore for 30h"),
];

/// Of the backups that such a rule is about.
pub fn reason_of(why: &str) -> &str {
    match why.split_once(" for ") {
        Some((reason, _)) if reason.starts_with("pre-") => reason,
        _ => "manual",
    }
}

#[test]
fn each_rule_keeps_by_its_flag() {
    for (flag, value, hours, why) in RULES {
        let history = History::sqlite();
        // A newer one of its reason, which a guard may keep, leaves it to the rule.
        for hours in [1, hours] {
            history.add(hours, "old", |manifest| {
                manifest["reason"] = reason_of(why).into();
            });
        }
        let off = RULES.iter().filter(|(other, ..)| *other != flag);
        let off = off.map(|(other, value, ..)| match value.ends_with('h') {
            true => format!("{other}=0d"),
            false => format!("{other}=0"),
        });
        let mut arguments: Vec<String> = off.collect();
        arguments.push(format!("{flag}={value}"));
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let (_, kept) = history.plan(&arguments);
        let has = kept.iter().any(|(_, words)| words.contains(why));
        assert!(has, "{flag}: {kept:?}");
    }
}

#[test]
fn every_flag_is_one_of_a_verb_and_is_taken() {
    let history = History::sqlite();
    let project = history.project();
    project.write("migrations/1_m.sql", "CREATE TABLE m (id INTEGER);");
    let url = "sqlite://database/app.db";
    let vault = project.vault().display().to_string();
    let global = [
        "--database-url",
        url,
        "--source",
        "migrations",
        "--backups",
        &vault,
        "--profile",
        "none",
    ];
    let jobs = ["--jobs", "2"];
    let migrate = [
        "--dry-run",
        "--fingerprint",
        "--exclusive",
        "--on-failure",
        "keep",
    ];
    let runs = [
        ("list", &global[..]),
        ("backup", &["--fingerprint"]),
        ("backup", &jobs),
        ("drill", &jobs),
        ("restore", &["latest", "--yes", "--jobs", "2"]),
        ("migrate-safe", &jobs),
        ("migrate-safe", &migrate),
        ("prune", &["--kept", "--older-than", "3", "--dry-run"]),
        (
            "backup",
            &["--recipient", "none", "--unencrypted-in-public"],
        ),
        (
            "backup",
            &["--recipients-file", "whom.txt", "--identity", "key.txt"],
        ),
        ("backup", &["--passphrase-file", "words.txt"]),
        ("backup", &["--passphrase-command", "cat words.txt"]),
    ];
    let pair = Pair::new();
    pair.file(project, "key.txt");
    project.write("whom.txt", &pair.public);
    project.write("words.txt", "words that nobody would guess");
    let private = std::fs::Permissions::from_mode(0o600);
    let words = project.path().join("words.txt");
    std::fs::set_permissions(words, private).expect("make them private");
    let mut given: BTreeSet<&str> = RULES.iter().map(|(flag, ..)| *flag).collect();
    for (verb, flags) in runs {
        let yes = (verb == "migrate-safe" && flags == jobs).then_some("--yes");
        let arguments = ["db", verb]
            .into_iter()
            .chain(flags.iter().copied())
            .chain(yes);
        project.run(arguments).expect_code(0);
        given.extend(flags.iter().filter(|flag| flag.starts_with("--")));
    }
    // As the table of settings has them.
    let keys = workspace_root().join("xtask/src/config/keys.rs");
    let keys = std::fs::read_to_string(keys).expect("read the table of settings");
    let flags = keys.split(".flag(\"").skip(1);
    let flags: BTreeSet<&str> = flags.filter_map(|rest| rest.split('"').next()).collect();
    assert!(flags.len() > 15, "{flags:?}");
    assert_eq!(flags.difference(&given).collect::<Vec<_>>(), [&""; 0]);
}
