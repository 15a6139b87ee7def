//! `db prune` from its plan to its end, `db pin`, and pruning after a backup.

use std::fs;

use serde_json::json;

use super::history::History;
use crate::exec;
use crate::pty::{ENTER, Terminal};
use crate::setup::{says, text};

/// Keeps two, whatever day they are of.
const TWO: [&str; 8] = [
    "--keep-last",
    "2",
    "--keep-daily",
    "0",
    "--keep-weekly",
    "0",
    "--keep-monthly",
    "0",
];

fn on_terminal(history: &History) -> Terminal {
    let mut command = history.project().command(["db", "prune"]);
    command.args(TWO);
    Terminal::start(command)
}

#[test]
fn it_shows_asks_and_removes_what_nothing_keeps() {
    for history in History::each("prune") {
        let younger = history.add(2, "younger", |_| {});
        let older = history.add(24 * 400, "older", |_| {});
        let oldest = history.add(24 * 500, "oldest", |_| {});
        let (removed, kept) = history.plan(&TWO);
        assert_eq!(removed, [older.clone(), oldest.clone()]);
        let why = |at: usize| (kept[at].0.as_str(), kept[at].1.as_str());
        assert_eq!(why(0), (history.newest.as_str(), "newest, last 1 of 2"));
        assert_eq!(why(1), (younger.as_str(), "last 2 of 2"));
        assert_eq!(history.files(&oldest), [true; 2], "a dry run");

        let refused = history.prune(&TWO).expect_code(3);
        let again = "db prune --keep-last 2 --keep-daily 0";
        says(&refused, &["there is no terminal", again, "--yes"]);
        let mut terminal = on_terminal(&history);
        terminal.wait_for("nothing keeps it");
        terminal.wait_for("cannot be brought back");
        terminal.wait_for("anything else stops").send("y");
        terminal.send(ENTER);
        assert_eq!(terminal.exit_code(), 3);
        assert_eq!(history.files(&older), [true; 2], "anything but `yes`");

        let mut terminal = on_terminal(&history);
        terminal.wait_for("anything else stops").send("yes");
        terminal.send(ENTER).wait_for("removed 2 backups");
        assert_eq!(terminal.exit_code(), 0, "{}", terminal.screen());
        for (id, is_there) in [
            (&history.newest, true),
            (&younger, true),
            (&older, false),
            (&oldest, false),
        ] {
            assert_eq!(history.files(id), [is_there; 2], "{id}");
        }
        let log = history.project().run(["db", "log", "--last", "2"]);
        assert!(
            log.stdout.contains("remove") && log.stdout.contains(&older),
            "{log}"
        );
        history.project().json(["db", "verify", "--all"]);
        history.case.restore("latest");
        history.prune(&TWO).expect_code(0);
    }
}

/// A question that is left open is in nobody's way, and what was agreed to is what goes.
#[test]
fn an_open_question_holds_no_lock_and_another_plan_is_refused() {
    let history = History::sqlite();
    let [younger, older] = [2, 9000].map(|hours| history.add(hours, "old", |_| {}));
    let mut terminal = on_terminal(&history);
    terminal.wait_for("anything else stops");
    history.project().run(["db", "backup"]).expect_code(0);
    terminal.send("yes").send(ENTER);
    assert_eq!(terminal.exit_code(), 3, "{}", terminal.screen());
    let screen = terminal.screen();
    assert!(screen.contains("the vault has changed since"), "{screen}");
    assert!(screen.contains("db prune --keep-last 2"), "{screen}");
    assert_eq!(history.files(&younger), [true; 2]);
    assert_eq!(history.files(&older), [true; 2]);
    let mut terminal = on_terminal(&history);
    terminal.wait_for("anything else stops").send("yes");
    terminal.send(ENTER).wait_for("removed 2 backups");
    assert_eq!(terminal.exit_code(), 0, "{}", terminal.screen());
}

/// What a pin waits for may have removed the backup; what is pinned may be gone by hand.
#[test]
fn a_backup_that_is_gone_is_not_pinned_and_can_be_unpinned() {
    let history = History::sqlite();
    let old = history.add(1000, "old", |_| {});
    let lock = history.project().vault().join(".lock");
    let held = fs::File::options().read(true).write(true).open(&lock);
    let held = held.expect("open the lock");
    held.lock().expect("as a prune holds it");
    let mut pin = history.project().command(["db", "pin", &old]);
    let pinning = exec::start(&mut pin, None);
    pinning.wait_for_line("waiting for ");
    let remove = |id: &str| {
        for file in [history.case.manifest(id), history.case.dump(id)] {
            fs::remove_file(file).expect("remove it");
        }
    };
    remove(&old);
    drop(held);
    says(&pinning.finish().expect_code(4), &["no backup has"]);
    let pin = history.project().vault().join(format!("{old}.pin"));
    assert!(!pin.exists());

    let old = history.add(1001, "old", |_| {});
    let pin = history.project().vault().join(format!("{old}.pin"));
    history.project().run(["db", "pin", &old]).expect_code(0);
    remove(&old);
    // Only by its whole id.
    history
        .project()
        .run(["db", "unpin", "_old"])
        .expect_code(4);
    assert!(pin.exists());
    let off = history.project().json(["db", "unpin", &old]);
    assert_eq!(off["id"], json!(old));
    assert!(!pin.exists());
    let log = history.project().json(["db", "log", "--last", "1"]);
    assert_eq!(text(&log, "/entries/0/deed"), "unpin");
    assert!(
        text(&log, "/entries/0/database").contains("app.db"),
        "{log}"
    );
    let listed = history.project().json(["db", "list"]);
    assert_eq!(listed["pins"], json!([]));
}

#[test]
fn the_default_policy_is_what_the_readme_says() {
    let history = History::sqlite();
    let mut ids = Vec::new();
    for day in 1..=60 {
        ids.push(history.add(24 * day, "daily", |_| {}));
        history.add(24 * day + 3, "second", |manifest| {
            manifest["reason"] = json!("pre-migrate")
        });
    }
    for month in 3..=20 {
        ids.push(history.add(24 * 31 * month, "monthly", |_| {}));
    }
    let document = history.project().json(["db", "prune", "--dry-run"]);
    let kept = document["keep"].as_array().expect("a list");
    let count = |word: &str| {
        let has = |why: &serde_json::Value| why.as_str().is_some_and(|why| why.starts_with(word));
        let lines = kept
            .iter()
            .filter(|line| line["why"].as_array().expect("why").iter().any(has));
        lines.count()
    };
    assert_eq!(count("last "), 3);
    assert_eq!(count("day "), 30);
    assert_eq!(count("week "), 12);
    assert_eq!(count("month "), 12);
    assert_eq!(count("pre-migrate for 90d"), 60);
    let removed = document["remove"].as_array().expect("a list").len();
    assert_eq!(kept.len() + removed, 1 + 120 + 18);
    let sizes = ["size_before_bytes", "size_after_bytes"].map(|name| document[name].as_u64());
    assert!(sizes[1] < sizes[0], "{sizes:?}");
}

#[test]
fn a_pin_keeps_a_backup_until_it_is_taken_off() {
    let history = History::sqlite();
    let old = history.add(24 * 900, "old", |_| {});
    let keep = [
        "--keep-last",
        "1",
        "--keep-daily",
        "0",
        "--keep-weekly",
        "0",
        "--keep-monthly",
        "0",
    ];
    assert_eq!(history.plan(&keep).0, std::slice::from_ref(&old));
    let pinned = history
        .project()
        .json(["db", "pin", "_old", "--note", "before the big import"]);
    assert_eq!(pinned["id"], json!(old));
    let pin = history.project().vault().join(format!("{old}.pin"));
    let written = fs::read_to_string(&pin).expect("the pin");
    assert!(written.contains("before the big import"), "{written}");
    assert_eq!(history.plan(&keep).0, [""; 0]);
    assert_eq!(
        history.plan(&keep).1[1],
        (old.clone(), "pinned: before the big import".into())
    );
    history
        .prune(&[&keep[..], &["--yes"]].concat())
        .expect_code(0);
    let listed = history.project().run(["db", "list"]).expect_code(0);
    let line = format!("pinned: {old}: before the big import");
    says(&listed, &[&line]);
    let listed = history.project().json(["db", "list"]);
    assert_eq!(text(&listed, "/pins/0/id"), old);
    // Whatever has become of what is in it.
    fs::write(&pin, "").expect("tear the pin");
    assert_eq!(history.plan(&keep).0, [""; 0]);
    history
        .project()
        .run(["db", "verify", "--all"])
        .expect_code(0);

    for (note, part) in [
        ("two\nlines", "more than one line"),
        ("", "empty"),
        ("postgres://ada:geheim@db/shop", "a secret"),
    ] {
        let refused = history
            .project()
            .run(["db", "pin", &old, "--note", note])
            .expect_code(2);
        says(&refused, &[part]);
        assert!(!refused.stderr.contains("geheim"), "{refused}");
    }
    history
        .project()
        .run(["db", "pin", "no-such"])
        .expect_code(4);
    let off = history.project().json(["db", "unpin", &old]);
    assert_eq!(off["pinned"], json!(false));
    assert!(!pin.exists());
    says(
        &history.project().run(["db", "unpin", &old]).expect_code(0),
        &["was not pinned"],
    );
    history
        .prune(&[&keep[..], &["--yes"]].concat())
        .expect_code(0);
    assert_eq!(history.files(&old), [false; 2]);
}

#[test]
fn after_a_backup_only_when_the_policy_says_so() {
    for history in History::each("prune_after") {
        let old = history.add(24 * 900, "old", |_| {});
        let policy =
            "[retention]\nkeep_last = 2\nkeep_daily = 0\nkeep_weekly = 0\nkeep_monthly = 0\n";
        history.project().write("database/db.toml", policy);
        history.project().run(["db", "backup"]).expect_code(0);
        assert_eq!(history.files(&old), [true; 2], "nobody has said so");
        history.project().write(
            "database/db.toml",
            format!("{policy}prune_after_backup = true\n"),
        );
        let done = history.project().json(["db", "backup", "--quiet"]);
        assert_eq!(history.files(text(&done, "/backup/id")), [true; 2]);
        assert_eq!(history.files(&old), [false; 2]);
        assert_eq!(history.files(&history.newest), [false; 2], "the third one");

        let old = history.add(24 * 900, "old", |_| {});
        history
            .project()
            .write("migrations/1_m.sql", "CREATE TABLE m (id INTEGER);");
        history.project().json(["db", "migrate-safe", "--yes"]);
        assert_eq!(history.files(&old), [false; 2], "after a migration");

        // One that fails removes nothing.
        let old = history.add(24 * 900, "old", |_| {});
        history.project().write("migrations/2_bad.sql", "NO SQL;");
        history
            .project()
            .run(["db", "migrate-safe", "--yes"])
            .expect_code(3);
        assert_eq!(history.files(&old), [true; 2]);
    }
}

#[test]
fn an_empty_policy_is_refused() {
    let history = History::sqlite();
    let zero = "[retention]\nkeep_last = 0\nkeep_daily = 0\nkeep_weekly = 0\nkeep_monthly = 0\n\
                keep_pre_migrate = \"0d\"\nkeep_pre_restore = \"0d\"\n";
    history.project().write("database/db.toml", zero);
    let old = history.add(24 * 900, "old", |_| {});
    for arguments in [&["--yes"][..], &["--dry-run"]] {
        let refused = history.prune(arguments).expect_code(3);
        says(&refused, &["the policy keeps nothing", "--keep-daily 30"]);
    }
    history.project().write(
        "database/db.toml",
        format!("{zero}prune_after_backup = true\n"),
    );
    let refused = history.project().run(["db", "backup"]).expect_code(3);
    says(&refused, &["the policy keeps nothing"]);
    assert_eq!(history.files(&old), [true; 2]);
    history.prune(&["--keep-last", "1", "--yes"]).expect_code(0);
    assert_eq!(history.files(&old), [false; 2]);
}

#[test]
fn ten_thousand_are_planned_in_a_moment() {
    let history = History::sqlite();
    for number in 1..10_000 {
        history.add(number, "many", |_| {});
    }
    let began = std::time::Instant::now();
    let plan = history.project().json(["db", "prune", "--dry-run"]);
    let took = began.elapsed();
    exec::say(&format!("planned 10,000 in {took:?}"));
    let lines = |name: &str| plan[name].as_array().expect("a list").len();
    assert_eq!(lines("keep") + lines("remove"), 10_000);
    assert!(lines("keep") < 60, "{}", lines("keep"));
    assert!(took.as_secs() < 20, "{took:?}");
}

#[test]
fn the_index_of_a_large_vault_stays_true() {
    let history = History::sqlite();
    for number in 1..300 {
        history.add(number, "many", |_| {});
    }
    let listed = || {
        let table = history.project().run(["db", "list"]).expect_code(0).stdout;
        let ids = table
            .lines()
            .skip(1)
            .filter_map(|line| line.split_whitespace().next());
        ids.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(listed().len(), 300);
    let done = history
        .project()
        .json([&["db", "prune", "--yes"][..], &TWO].concat());
    assert_eq!(done["removed"].as_array().map(Vec::len), Some(298));
    let kept = done["keep"].as_array().expect("a list").iter();
    let kept: Vec<_> = kept.map(|line| text(line, "/id").to_owned()).collect();
    assert_eq!(listed(), kept);
    let json = history.project().json(["db", "list"]);
    assert_eq!(json["backups"].as_array().map(Vec::len), Some(2));
    assert_eq!(json["problems"], json!([]));
}
