//! Two databases whose backups go to one prefix and have one id, as those of one second have.

use std::fs;

use chrono::NaiveDateTime;

use super::places::other_disk;
use super::{bytes, deeds};
use crate::encryption::{Pair, adopt};
use crate::exec::Output;
use crate::retention::history::History;
use crate::setup::{Case, says, text};

/// What is there is somebody's only copy.
#[track_caller]
fn says_whose_it_is(output: &Output) {
    let whose = "give each database and each vault a prefix of its own";
    says(output, &["is a backup of the", whose]);
    for word in ["remove", "move it away", "move what is wrong", "rekey"] {
        assert!(!output.stderr.contains(word), "`{word}` in\n{output}");
    }
}

/// A backup of a database, and at the place one of another database with the same id.
fn twins(mut crm: Case) -> (Case, tempfile::TempDir) {
    crm.query("CREATE TABLE c (id INTEGER); INSERT INTO c VALUES (1);");
    let taken = crm.project.json(["db", "backup", "night"]);
    let id = text(&taken, "/backup/id");
    let shop = History::sqlite();
    let second = id.split('_').skip(1).take(2).collect::<Vec<_>>().join("_");
    let at = NaiveDateTime::parse_from_str(&second, "%Y-%m-%d_%H%M%S").expect("a time");
    assert_eq!(shop.add_at(at.and_utc(), "night", |_| {}), id);
    let folder = other_disk();
    for file in [shop.case.dump(id), shop.case.manifest(id)] {
        let name = file.file_name().expect("a name");
        fs::copy(&file, folder.path().join(name)).expect("copy it");
    }
    let url = format!("file://{}", folder.path().display());
    crm.project = crm.project.env("OFFSITE_URL", url);
    (crm, folder)
}

#[test]
fn a_backup_of_another_database_with_the_same_id_is_left_in_peace() {
    let encrypted = {
        let mut case = Case::sqlite();
        case.project = adopt(case.project, &Pair::new());
        case
    };
    for (crm, what) in [(Case::sqlite(), "plain"), (encrypted, "encrypted")] {
        let (crm, folder) = twins(crm);
        let there = || {
            let mut files: Vec<_> = fs::read_dir(folder.path())
                .expect("a folder")
                .map(|entry| entry.expect("an entry").path())
                .filter(|path| path.display().to_string().contains("_night."))
                .map(|path| (bytes(&path), path))
                .collect();
            files.sort();
            files
        };
        let before = there();
        says_whose_it_is(&crm.project.run(["db", "push"]).expect_code(6));
        says_whose_it_is(&crm.project.run(["db", "push", "night"]).expect_code(6));
        let verified = crm.project.run(["db", "verify", "--offsite", "night"]);
        let verified = verified.expect_code(4);
        let hint = "give each database and each vault a prefix of its own";
        says(&verified, &[hint]);
        assert!(!verified.stderr.contains("away"), "{what}: {verified}");
        // Nothing was found bad that ever was a copy of ours.
        let deeds = deeds(&crm);
        assert!(!deeds.contains(&"verify failed".into()), "{deeds:?}");
        // Beside one that arrives it is no failure: it would be one for ever.
        for _ in 0..2 {
            let taken = crm.project.run(["db", "backup"]).expect_code(0);
            says(&taken, &["warning: at ", "copied backup_"]);
            says_whose_it_is(&taken);
        }
        assert!(there() == before, "{what}: it was touched");
    }
}
