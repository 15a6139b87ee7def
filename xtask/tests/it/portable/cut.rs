//! An import that is stopped in the middle leaves everything as it was; so does an export.

use std::path::PathBuf;
use std::time::Duration;

use rustix::process::Signal;

use super::{export, fingerprints, import};
use crate::exec;
use crate::setup::Case;

/// Enough for an import to be in the middle of it for a while.
const ROWS: u32 = 60_000;

fn full(name: &str) -> Vec<Case> {
    let cases = Case::each(name);
    for case in &cases {
        case.query(&format!(
            "CREATE TABLE t (id BIGINT PRIMARY KEY, name TEXT); INSERT INTO t
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {ROWS})
             SELECT i, 'a name that takes some room ' || i FROM n;"
        ));
    }
    cases
}

#[test]
fn an_import_that_is_stopped_leaves_all_as_it_was() {
    for case in full("portable_cut") {
        let path = export(&case, "ndjson");
        case.query("DELETE FROM t WHERE id > 10; UPDATE t SET name = 'mine';");
        let before = fingerprints(&case);
        let shown = path.to_str().expect("a UTF-8 path");
        let arguments = ["db", "import", shown, "--replace", "--yes"];
        for (signal, code) in [(Signal::INT, 130), (Signal::KILL, 137), (Signal::TERM, 130)] {
            for wait in [0, 60, 250] {
                let running = exec::start(&mut case.project.command(arguments), None);
                running.wait_for_line("backed up as ");
                std::thread::sleep(Duration::from_millis(wait));
                running.signal(signal);
                let output = running.finish();
                if output.code == 0 {
                    // It was done before.
                    assert!(output.stderr.contains("read back and matched"), "{output}");
                    case.query("DELETE FROM t WHERE id > 10; UPDATE t SET name = 'mine';");
                    continue;
                }
                assert_eq!(output.code, code, "{output}");
                assert_eq!(
                    fingerprints(&case),
                    before,
                    "{signal:?} after {wait} ms: {output}"
                );
                if code == 130 {
                    assert!(
                        output
                            .stderr
                            .contains("interrupted: the database is as it was"),
                        "{output}"
                    );
                }
            }
        }
        import(&case, &path, &["--replace"]).expect_code(0);
        assert_eq!(case.query("SELECT count(*) FROM t;"), [ROWS.to_string()]);
    }
}

#[test]
fn an_export_that_is_stopped_leaves_nothing_that_has_its_name() {
    for case in full("portable_cut_export") {
        for (signal, format) in [
            (Signal::INT, "ndjson"),
            (Signal::KILL, "json"),
            (Signal::INT, "csv"),
        ] {
            let path = super::place(&case, format);
            let shown = path.to_str().expect("a UTF-8 path").to_owned();
            let arguments = ["db", "export", "--format", format, "-o", &shown];
            let running = exec::start(&mut case.project.command(arguments), None);
            // It has begun to write.
            while partials(&case).is_empty() {
                std::thread::sleep(Duration::from_millis(1));
            }
            running.signal(signal);
            let output = running.finish();
            assert!(output.code != 0 || path.exists(), "{output}");
            assert!(output.code == 0 || !path.exists(), "{output}");
            let left = partials(&case);
            if signal == Signal::KILL {
                assert_eq!(output.code, 137, "{output}");
                assert_eq!(left.len(), 1, "a kill leaves a file beside: {left:?}");
            }
            for partial in left {
                assert_eq!(signal, Signal::KILL, "{partial:?}: {output}");
                std::fs::remove_file(partial).expect("what a kill leaves is a file beside");
            }
        }
    }
}

fn partials(case: &Case) -> Vec<PathBuf> {
    let left = std::fs::read_dir(case.project.path()).expect("list it");
    let paths = left.map(|entry| entry.expect("an entry").path());
    paths
        .filter(|path| path.to_string_lossy().ends_with(".partial"))
        .collect()
}
