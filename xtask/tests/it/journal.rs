//! Everything that was done has a line, and no line can be changed or taken out unnoticed.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::exec;
use crate::setup::{Case, says, sha256, text};

fn path(case: &Case) -> PathBuf {
    case.project.vault().join("journal.jsonl")
}

fn end_path(case: &Case) -> PathBuf {
    case.project.vault().join(".journal-end")
}

fn lines(case: &Case) -> Vec<String> {
    let journal = fs::read_to_string(path(case)).expect("read the journal");
    journal.lines().map(str::to_owned).collect()
}

fn write(case: &Case, lines: &[String]) {
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    fs::write(path(case), text).expect("write the journal");
}

/// Four lines: a backup, its verification, a drill, another backup.
fn with_four() -> Case {
    let case = Case::sqlite();
    case.query("CREATE TABLE t (id INTEGER);");
    case.backup();
    case.project.run(["db", "verify"]).expect_code(0);
    case.project.run(["db", "drill"]).expect_code(0);
    case.backup();
    case
}

#[test]
fn everything_that_is_done_has_a_line_that_holds_the_one_before() {
    for mut case in Case::each("journal") {
        case.project = case
            .project
            .migration("1_first.sql", "CREATE TABLE t (id INTEGER);");
        let migrated = case.migrate();
        let id = text(&migrated, "/backup/id").to_owned();
        case.project.run(["db", "verify", &id]).expect_code(0);
        case.restore(&id);
        case.project.write(
            "migrations/1_first.sql",
            "CREATE TABLE t (id INTEGER); SELECT broken();",
        );
        case.project
            .run(["db", "migrate-safe", "--yes"])
            .expect_code(3);

        let entries: Vec<Value> = lines(&case)
            .iter()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect();
        let deeds: Vec<String> = entries
            .iter()
            .map(|entry| format!("{} {}", text(entry, "/deed"), text(entry, "/ending")))
            .collect();
        let expected = [
            "backup done",
            "rehearse done",
            "migrate begun",
            "migrate done",
            "verify done",
            "backup done",
            "restore done",
            "backup done",
            "rehearse refused",
        ];
        assert_eq!(deeds, expected);
        let mut before = sha256(b"");
        for (i, (line, entry)) in lines(&case).iter().zip(&entries).enumerate() {
            assert_eq!(entry["number"], i + 1);
            assert_eq!(text(entry, "/previous"), before);
            let who = &entry["ran_on"];
            assert!(
                who["host"].is_string() && who["user"].is_string() && entry["at"].is_string(),
                "{line}"
            );
            let has_ended = text(entry, "/ending") != "begun";
            assert_eq!(entry["duration_ms"].is_u64(), has_ended, "{line}");
            assert!(text(entry, "/database").contains(" database `"), "{line}");
            before = sha256(line.as_bytes());
        }
        assert_eq!(text(&entries[3], "/backup"), id);
        let restored = &entries[6];
        assert_eq!(text(restored, "/backup"), id);
        assert_eq!(restored["safety"], entries[5]["backup"]);
        assert_eq!(restored["kept"].is_string(), case.server.is_some());
        assert_eq!(entries[3]["versions"], serde_json::json!([1]));
        assert!(
            text(&entries[8], "/note").contains("broken"),
            "{:#}",
            entries[8]
        );
        case.project.run(["db", "log"]).expect_code(0);
    }
}

#[test]
fn a_line_that_was_changed_or_taken_out_is_found() {
    for (change, said) in [
        (0, "line 2: the line before it was changed"),
        (2, "line 4: the line before it was changed"),
    ] {
        let case = with_four();
        let mut found = lines(&case);
        found[change] = found[change].replace("\"ending\":\"done\"", "\"ending\":\"failed\"");
        write(&case, &found);
        says(&case.project.run(["db", "log"]).expect_code(4), &[said]);
    }
    let case = with_four();
    let whole = lines(&case);
    let without = |out: &[usize]| -> Vec<String> {
        let kept = whole.iter().enumerate().filter(|(i, _)| !out.contains(i));
        kept.map(|(_, line)| line.clone()).collect()
    };
    for (lines, said) in [
        (without(&[1]), "line 2: a line is missing before it"),
        (without(&[0, 1]), "line 1: 2 lines are missing before it"),
        (
            vec![whole[0].clone(), "{}".into(), whole[2].clone()],
            "line 2: it is no entry",
        ),
        (
            vec![whole[0].clone(), whole[0].clone()],
            "line 2: it is not where it was written",
        ),
    ] {
        write(&case, &lines);
        says(&case.project.run(["db", "log"]).expect_code(4), &[said]);
        // What is done next is still written down.
        let before = lines.len();
        case.project.run(["db", "verify"]).expect_code(0);
        assert_eq!(self::lines(&case).len(), before + 1);
    }
}

/// No line follows that could say so; and what is written next does not hide it.
#[test]
fn what_was_done_to_the_end_of_it_is_found() {
    let case = with_four();
    let whole = lines(&case);
    let changed = whole[3].replace("\"ending\":\"done\"", "\"ending\":\"failed\"");
    let with_other = [&whole[..3], &[changed]].concat();
    let end = end_path(&case);
    let of_four = fs::read(&end).expect("read it");
    for (lines, now, later) in [
        (
            with_other,
            "line 4: it was changed",
            "line 5: the line before it was changed",
        ),
        (
            whole[..3].to_vec(),
            "line 4: a line is missing at the end",
            "line 4: a line is missing before it",
        ),
        (
            whole[..1].to_vec(),
            "line 2: 3 lines are missing at the end",
            "line 2: 3 lines are missing before it",
        ),
        (
            Vec::new(),
            "line 1: 4 lines are missing at the end",
            "line 1: 4 lines are missing before it",
        ),
    ] {
        write(&case, &lines);
        fs::write(&end, &of_four).expect("put it back");
        says(&case.project.run(["db", "log"]).expect_code(4), &[now]);
        case.backup();
        says(&case.project.run(["db", "log"]).expect_code(4), &[later]);
        case.backup();
        says(&case.project.run(["db", "log"]).expect_code(4), &[later]);
    }
    fs::remove_file(path(&case)).expect("remove the journal");
    fs::write(&end, &of_four).expect("put it back");
    let said = case.project.run(["db", "log"]).expect_code(4);
    says(&said, &["line 1: 4 lines are missing at the end"]);
}

/// A `kill -9` comes between a line and what is known of it, a power cut before several of those;
/// an older program has written none; and what is damaged in it says nothing.
#[test]
fn what_is_known_of_the_end_may_be_behind() {
    let case = with_four();
    let end = end_path(&case);
    let whole = fs::read(&end).expect("read it");
    case.backup();
    case.backup();
    let flipped = |at: usize| {
        let mut bytes = whole.clone();
        bytes[at] ^= 1;
        bytes
    };
    for behind in [
        whole.clone(),
        Vec::new(),
        flipped(30),
        flipped(whole.len() - 2),
        whole[..whole.len() - 1].to_vec(),
    ] {
        fs::write(&end, behind).expect("put it back");
        case.project.run(["db", "log"]).expect_code(0);
    }
    fs::remove_file(&end).expect("remove it");
    case.project.run(["db", "log"]).expect_code(0);
    case.backup();
    case.project.run(["db", "log"]).expect_code(0);
    // It is known again.
    let found = lines(&case);
    assert_eq!(found.len(), 7);
    write(&case, &found[..6]);
    case.project.run(["db", "log"]).expect_code(4);
}

/// A power cut may leave any beginning of the last line; it is known when it is whole.
#[test]
fn a_torn_line_is_recognised_and_does_no_harm() {
    let case = with_four();
    let whole = fs::read(path(&case)).expect("read it");
    fs::remove_file(end_path(&case)).expect("remove it");
    let third: usize = lines(&case)[..3].iter().map(|line| line.len() + 1).sum();
    for cut in [third + 1, third + 40, whole.len() - 2, whole.len() - 1] {
        fs::write(path(&case), &whole[..cut]).expect("cut it");
        let said = case.project.run(["db", "log"]).expect_code(0);
        says(&said, &["line 4: it was torn"]);
        case.backup();
        let said = case.project.run(["db", "log"]).expect_code(0);
        // Where only the line break was missing, the line is whole now.
        let is_torn = said.stderr.contains("line 4: it was torn");
        assert_eq!(is_torn, cut < whole.len() - 1, "{said}");
        let last: Value = serde_json::from_str(lines(&case).last().expect("a line")).expect("JSON");
        assert_eq!(last["number"], 5);
        fs::write(path(&case), &whole).expect("put it back");
        fs::remove_file(end_path(&case)).expect("remove it");
    }
    fs::write(path(&case), &whole[..third]).expect("cut it");
    case.project.run(["db", "log"]).expect_code(0);
}

#[test]
fn runs_at_once_write_one_chain() {
    let case = Case::sqlite();
    case.query("CREATE TABLE t (id INTEGER);");
    let running: Vec<_> = (0..8)
        .map(|_| exec::start(&mut case.project.command(["db", "backup"]), None))
        .collect();
    for one in running {
        one.finish().expect_code(0);
    }
    assert_eq!(lines(&case).len(), 8);
    case.project.run(["db", "log"]).expect_code(0);
}

#[test]
fn nothing_is_written_through_a_link() {
    let case = Case::sqlite();
    case.query("CREATE TABLE t (id INTEGER);");
    case.backup();
    let outside = case.project.tmp().join("outside");
    fs::write(&outside, "mine").expect("write a file");
    fs::remove_file(path(&case)).expect("remove the journal");
    std::os::unix::fs::symlink(&outside, path(&case)).expect("link");
    let output = case.project.run(["db", "backup"]).expect_code(0);
    says(&output, &["warning: cannot write the journal"]);
    assert_eq!(fs::read(&outside).expect("read it"), b"mine");
    // Without a journal a migration would leave no trace.
    case.project
        .write("migrations/1_first.sql", "CREATE TABLE first (id INTEGER);");
    let refused = case
        .project
        .run(["db", "migrate-safe", "--yes"])
        .expect_code(1);
    says(&refused, &["no migration was begun"]);
    assert_eq!(
        case.query("SELECT name FROM sqlite_schema WHERE name = 'first';"),
        [""; 0]
    );
    assert!(!case.project.vault().join(".unfinished").exists());
}

/// `kill -9` in a migration: whoever comes next is told, until the way back or a migration has ended.
#[test]
fn what_was_cut_short_is_said_by_the_next_run() {
    let mut case = Case::sqlite();
    case.project = case.project.unrehearsed().migration(
        "1_slow.sql",
        "CREATE TABLE slow (id INTEGER);
         INSERT INTO slow WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)
         SELECT max(i) FROM n;",
    );
    let arguments = ["db", "migrate-safe", "--yes"];
    let running = exec::start(&mut case.project.command(arguments), None);
    let marker = case.project.vault().join(".unfinished");
    while !marker.exists() {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let status = case.project.json(["db", "status"]);
    assert_eq!(status["unfinished"], Value::Null, "it is under way");
    running.signal(rustix::process::Signal::KILL);
    running.finish();

    let status = case.project.json(["db", "status"]);
    let id = text(&status, "/unfinished/backup").to_owned();
    assert_eq!(text(&status, "/unfinished/deed"), "migrate");
    let said = case.project.run(["db", "status"]).expect_code(0);
    let way_back = format!("cargo xtask db restore {id}");
    says(
        &said,
        &[
            "a migration (1) of the SQLite database",
            "did not end",
            &way_back,
        ],
    );
    let restored = case
        .project
        .run(["db", "restore", &id, "--yes"])
        .expect_code(0);
    says(&restored, &["did not end"]);
    let status = case.project.json(["db", "status"]);
    assert_eq!(status["unfinished"], Value::Null);
}
