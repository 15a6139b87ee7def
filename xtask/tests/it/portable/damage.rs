//! Files that were cut, flipped or edited.

use std::fs;
use std::io::{BufRead, Cursor, Read};
use std::path::{Path, PathBuf};

use xtask_db::parsers::portable::csv_folder::{self, Folder};
use xtask_db::parsers::portable::intake::Intake;
use xtask_db::parsers::portable::{Nowhere, read_file};
use xtask_db::parsers::{Failure, Interrupt};

use super::{export, import};
use crate::exec::Output;
use crate::setup::{Case, database_digests, says};

fn small() -> Case {
    let case = Case::sqlite();
    case.query(
        "CREATE TABLE a (id INTEGER PRIMARY KEY, t TEXT, x BLOB);
         INSERT INTO a VALUES (1, 'one', x'00'), (2, NULL, NULL), (3, '', x'');
         CREATE TABLE b (r REAL); INSERT INTO b VALUES (0.5), (-1.0);",
    );
    case
}

/// What is not whole changes nothing, and is not even asked about.
#[track_caller]
fn refused(case: &Case, path: &Path) -> Output {
    let before = database_digests(&case.project.sqlite_path());
    let output = import(case, path, &["--replace"]).expect_code(4);
    assert_eq!(database_digests(&case.project.sqlite_path()), before);
    assert_eq!(case.project.vault_files(), [""; 0]);
    output
}

#[test]
fn each_line_that_is_cut_gone_or_there_twice_is_found() {
    let case = small();
    for format in ["ndjson", "json"] {
        let path = export(&case, format);
        let whole = fs::read_to_string(&path).expect("read it");
        let lines: Vec<&str> = whole.lines().collect();
        assert!(lines.len() >= 11, "{whole}");
        for (i, line) in lines.iter().enumerate() {
            // A document ends with what nobody needs.
            if format == "json" && i + 1 == lines.len() {
                continue;
            }
            let cut: usize = lines[..i].iter().map(|line| line.len() + 1).sum();
            fs::write(&path, &whole[..cut + line.len() / 2]).expect("cut it");
            let output = refused(&case, &path);
            let near = [i, i + 1].map(|number| format!("line {}: ", number.max(1)));
            assert!(
                near.iter()
                    .any(|near| output.stderr.contains(near.as_str())),
                "line {}: {output}",
                i + 1
            );
            let mut without = lines.clone();
            without.remove(i);
            fs::write(&path, without.join("\n") + "\n").expect("leave one out");
            refused(&case, &path);
            let mut twice = lines.clone();
            twice.insert(i, line);
            fs::write(&path, twice.join("\n") + "\n").expect("one twice");
            refused(&case, &path);
        }
    }
}

/// What is said of these bytes, without a database.
fn verdict(bytes: Vec<u8>) -> String {
    let mut nowhere = Nowhere;
    let mut intake = Intake::new(&mut nowhere, false, Interrupt::unconnected());
    let mut open = || Ok(Box::new(Cursor::new(bytes.clone())) as Box<dyn BufRead>);
    let read = read_file(&mut open, &mut intake).and_then(|()| intake.finish());
    read.map_or_else(|error| format!("{error:#}"), |_| "whole".into())
}

/// A bit of any letter, and any end; a few of them through the whole program.
#[test]
fn each_flipped_byte_and_each_end_is_found_with_its_line() {
    let case = small();
    for format in ["ndjson", "json"] {
        let path = export(&case, format);
        let whole = fs::read(&path).expect("read it");
        assert_eq!(verdict(whole.clone()), "whole");
        let (mut line, lines) = (1, whole.iter().filter(|byte| **byte == b'\n').count());
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x02;
            let said = verdict(bytes.clone());
            let here = line;
            line += usize::from(whole[at] == b'\n');
            // What the head says is only found to be wrong further down, and a line that does not end
            // leads into the next one.
            let is_head = here <= 2 && said.contains("line ") || said.contains("the head");
            let near = [here, here + 1]
                .iter()
                .any(|line| said.contains(&format!("line {line}: ")));
            // A blank for a line break, or the other way round, is the same to JSON.
            let is_same = said == "whole" && matches!(whole[at], b'\n' | b' ');
            assert!(
                near || is_head || is_same,
                "{format} byte {at} of line {here}: {said}"
            );
            let cut = verdict(whole[..at].to_vec());
            let near = [here, here.max(2) - 1]
                .iter()
                .any(|line| cut.contains(&format!("line {line}: ")));
            assert!(
                near || here == lines,
                "{format} cut at {at} in line {here}: {cut}"
            );
            if at % 211 == 5 && said != "whole" {
                fs::write(&path, &bytes).expect("flip it");
                refused(&case, &path);
            }
        }
    }
}

#[test]
fn damage_in_a_folder_is_found_with_its_file_and_line() {
    let case = small();
    let path = export(&case, "csv");
    let table = path.join("a.csv");
    let whole = fs::read_to_string(&table).expect("read it");
    assert_eq!(whole, "id,t,x\n1,one,\\x:00\n2,\\N,\\N\n3,,\\x:\n");
    let damages = [
        (whole.replace("one", "two"), "`a.csv` line 2: "),
        (whole.replace("2,\\N,\\N", "2,,\\N"), "`a.csv` line 3: "),
        (
            whole.replace("2,\\N", "2,\\Q"),
            "`a.csv` line 3: column `t`: behind a backslash",
        ),
        (whole.replace("2,\\N,\\N\n", ""), "`a.csv` line 3: "),
        (
            whole.replace("3,,\\x:\n", ""),
            "`a` has 2 rows, and 3 were exported",
        ),
        (
            whole.replace("3,,", "3,"),
            "`a.csv` line 4: there are 2 fields, and 3 columns",
        ),
        (
            whole.replace("id,t", "id,tt"),
            "`a.csv` line 1: there is no column `tt`",
        ),
        (
            String::new(),
            "`a.csv` line 1: the names of the columns are missing",
        ),
    ];
    for (text, says_so) in damages {
        fs::write(&table, &text).expect("damage it");
        says(&refused(&case, &path), &[says_so, "\nhint: "]);
    }
    fs::write(&table, &whole).expect("mend it");
    fs::remove_file(path.join("b.csv")).expect("take one away");
    says(&refused(&case, &path), &["b.csv` cannot be read"]);
    // A head that leads out of the folder is not followed.
    let head = path.join("export.json");
    let said = fs::read_to_string(&head).expect("read it");
    fs::write(&head, said.replace("b.csv", "../b.csv")).expect("write it");
    says(
        &refused(&case, &path),
        &["`../b.csv` is no file of this folder"],
    );
}

/// Each file of the folder: what says what the others are, and the checks, as well as the rows.
#[test]
fn each_flipped_byte_of_a_folder_is_found() {
    struct Here(PathBuf);
    impl Folder for Here {
        fn open(&self, name: &str) -> anyhow::Result<Box<dyn Read>> {
            let file = fs::File::open(self.0.join(name));
            let missing = |_| Failure::untrusted(format!("`{name}` cannot be read"));
            Ok(Box::new(file.map_err(missing)?))
        }
    }
    let read = |path: &Path, is_edited| {
        let mut nowhere = Nowhere;
        let mut intake = Intake::new(&mut nowhere, is_edited, Interrupt::unconnected());
        csv_folder::read(&Here(path.to_owned()), &mut intake).and_then(|()| intake.finish())
    };
    let verdict = |path: &Path| read(path, false);
    let case = small();
    let path = export(&case, "csv");
    let exported = verdict(&path).expect("it is whole");
    // A line break that nobody needs, and a number that is written shorter: the same rows.
    let is_found = || verdict(&path).is_ok_and(|read| read == exported) || verdict(&path).is_err();
    let mut same = 0;
    for name in ["export.json", "a.csv", "a.check", "b.csv", "b.check"] {
        let file = path.join(name);
        let whole = fs::read(&file).expect("read it");
        for at in 0..whole.len() {
            // The second one makes it no UTF-8.
            for flip in [0x02, 0x80] {
                let mut bytes = whole.clone();
                bytes[at] ^= flip;
                fs::write(&file, &bytes).expect("flip it");
                let error = verdict(&path).expect_err("it is damaged");
                let place = format!("byte {at} of `{name}`: {error:#}");
                assert!(is_untrusted(&error), "{place}");
                // A name of a file that is none is said as such.
                let is_placed = place.contains(" line ") || place.ends_with("cannot be read");
                assert!(is_placed, "{place}");
                let is_check = name.ends_with(".check");
                assert!(!is_check || read(&path, true).is_ok(), "{place}");
            }
            fs::write(&file, &whole[..at]).expect("cut it");
            assert!(is_found(), "`{name}` cut at {at}");
            same += u32::from(verdict(&path).is_ok());
        }
        fs::write(&file, &whole).expect("mend it");
    }
    assert!(same <= 6, "{same} cuts were of no account");
    assert!(verdict(&path).is_ok());
}

/// Whether the tool would end with code 4.
fn is_untrusted(error: &anyhow::Error) -> bool {
    let failure = error.downcast_ref::<Failure>();
    failure.is_some_and(|failure| failure.outcome.exit_code() == 4)
}

#[test]
fn what_somebody_edited_is_imported_when_they_say_so() {
    for case in Case::each("portable_edited") {
        case.query("CREATE TABLE t (id BIGINT PRIMARY KEY, name TEXT); INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, 'c');");
        let path = export(&case, "ndjson");
        let text = fs::read_to_string(&path).expect("read it");
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        assert!(lines[3].contains("\"b\""), "{text}");
        lines[2] = "{\"row\": {\"name\": \"new\", \"id\": 7}}".into();
        lines[3] = lines[3].replace("\"b\"", "\"B\"");
        fs::write(&path, lines.join("\r\n")).expect("edit it");
        let output = import(&case, &path, &["--replace"]).expect_code(4);
        says(
            &output,
            &["line 3: ", "if you have edited it, add `--edited`"],
        );
        let output = import(&case, &path, &["--replace", "--edited"]).expect_code(0);
        says(
            &output,
            &[
                "`t` was edited since it was exported: 2 rows changed or added; exported 3, the file has 3",
            ],
        );
        assert_eq!(
            case.query("SELECT id, name FROM t ORDER BY 1;"),
            ["2|B", "3|c", "7|new"]
        );
        // What was cut is not what was edited.
        fs::write(&path, lines[..4].join("\n")).expect("cut it");
        let output = import(&case, &path, &["--replace", "--edited"]).expect_code(4);
        let cut = "the file ends here, without its `end`";
        says(&output, &[cut, "hint: nothing was changed; export again"]);
        // Nor is a head that says something else.
        let head = text.replace("\"rows\":3", "\"rows\":4");
        assert_ne!(head, text);
        fs::write(&path, head.replace("\"b\"", "\"B\"")).expect("edit it");
        let output = import(&case, &path, &["--replace", "--edited"]).expect_code(4);
        says(&output, &["rows may be edited, and the head may not"]);
        // Rows that are gone are nowhere else to be seen.
        fs::write(
            &path,
            text.replace(&format!("{}\n", text.lines().nth(4).expect("a row")), ""),
        )
        .expect("take one out");
        let output = import(&case, &path, &["--replace", "--edited"]).expect_code(0);
        says(
            &output,
            &["0 rows changed or added; exported 3, the file has 2"],
        );
        fs::write(&path, &text).expect("as it was");
        import(&case, &path, &["--replace"]).expect_code(0);
        let wrong = [
            "{\"row\": {\"id\": 7}}",
            "{\"row\": {\"id\": 7, \"name\": \"a\", \"nane\": 1}}",
            "{\"row\": {\"id\": 7, \"name\": [1]}}",
            "{\"row\": 5}",
            "hello",
            "{\"row\": {\"id\": 99999999999999999999, \"name\": null}}",
        ];
        for line in wrong {
            let mut lines = lines.clone();
            lines[2] = line.into();
            fs::write(&path, lines.join("\n")).expect("edit it");
            says(
                &import(&case, &path, &["--replace", "--edited"]).expect_code(4),
                &["line 3: "],
            );
        }
        assert_eq!(case.query("SELECT count(*) FROM t;"), ["3"]);
    }
}

/// By a formatter, or into one line: the same rows.
#[test]
fn a_document_may_stand_otherwise() {
    let case = small();
    let path = export(&case, "json");
    let text = fs::read_to_string(&path).expect("read it");
    // Order of fields and digits of numbers are kept by both.
    let document: &serde_json::value::RawValue = serde_json::from_str(&text).expect("JSON");
    let one_line = document.get().replace('\n', "");
    let spread = text
        .replace("{\"row\": ", "{\n  \"row\":\n    ")
        .replace("\"tables\": [\n", "\"tables\":\n[");
    for other in [one_line, spread] {
        fs::write(&path, other).expect("write it");
        import(&case, &path, &["--replace"]).expect_code(0);
        assert_eq!(case.query("SELECT count(*) FROM a;"), ["3"]);
    }
}

#[test]
fn what_is_no_export_is_refused() {
    let case = small();
    let path = case.project.path().join("other");
    for bytes in [
        &b""[..],
        b"\n",
        b"{}",
        b"[]",
        b"hello",
        b"\xff\xfe",
        b"{\"export\": 1}",
        b"{\n}",
        b"{\n\"export\": {}",
    ] {
        fs::write(&path, bytes).expect("write it");
        says(&refused(&case, &path), &["line "]);
    }
    let output = import(&case, &case.project.path().join("nowhere"), &[]).expect_code(2);
    says(&output, &["cannot be read"]);
    let output = case.project.run(["db", "import", "/dev/stdin", "--yes"]);
    assert_eq!(output.code, 2, "{output}");
    let output = case
        .project
        .run(["db", "import", "postgres://a:secret@b/c"])
        .expect_code(2);
    assert!(!output.stderr.contains("secret"), "{output}");
}
