//! Where nobody is named: what was encrypted stays so, in each backup that comes after it.

use std::fs;
use std::process::Command;

use super::{Pair, cases, dump_of};
use crate::cluster::Cluster;
use crate::exec;
use crate::project::Project;
use crate::setup::{Case, hinted_command, says, text};

/// A run by somebody who can open backups and has not said for whom they are.
fn unnamed(case: &Case, arguments: &[&str]) -> exec::Output {
    let mut command: Command = case.project.command([&["db"], arguments].concat());
    command.env_remove("XTASK_DB_RECIPIENTS");
    exec::run(&mut command, None)
}

/// All dumps of the vault, each of which must be for the pair; how many.
#[track_caller]
fn assert_all_for(pair: &Pair, project: &Project) -> usize {
    let files = project.vault_files();
    let dumps: Vec<_> = files.iter().filter(|name| name.contains(".zst")).collect();
    for name in &dumps {
        assert!(name.ends_with(".age"), "{files:?}");
        assert!(pair.opens(&project.vault().join(name)), "{name}");
    }
    dumps.len()
}

#[test]
fn what_is_replaced_is_not_kept_in_clear() {
    for (case, pair) in cases("as_before") {
        let id = case.backup();
        case.query("INSERT INTO t VALUES (3, 'Alan');");
        let restored = unnamed(&case, &["restore", &id, "--yes"]).expect_code(0);
        says(&restored, &["they are encrypted as before, for age1"]);
        assert_eq!(assert_all_for(&pair, &case.project), 2);
        unnamed(&case, &["restore", "--undo", "--yes"]).expect_code(0);
        assert_eq!(case.query("SELECT count(*) FROM t;"), ["3"]);
        assert_all_for(&pair, &case.project);

        unnamed(&case, &["export", "-o", "rows.ndjson"]).expect_code(0);
        let import = ["import", "rows.ndjson", "--replace", "--yes"];
        let before = assert_all_for(&pair, &case.project);
        unnamed(&case, &import).expect_code(0);
        assert_eq!(assert_all_for(&pair, &case.project), before + 1);

        let migrations = case.project.path().join("migrations/1_more.sql");
        fs::write(migrations, "CREATE TABLE more (id INTEGER);").expect("write a migration");
        let refused = {
            let mut command = case.project.command(["db", "migrate-safe", "--yes"]);
            command.env_remove("XTASK_DB_RECIPIENTS");
            exec::run(command.env_remove("XTASK_DB_IDENTITY"), None)
        };
        says(
            &refused.expect_code(3),
            &["could not restore the one that it takes"],
        );
        unnamed(&case, &["migrate-safe", "--yes"]).expect_code(0);
        unnamed(&case, &["backup"]).expect_code(0);
        assert_eq!(assert_all_for(&pair, &case.project), before + 3);
    }
}

/// A database of another name has no backups that would say for whom: those of the opened one do.
#[test]
fn another_database_that_is_replaced_is_not_kept_in_clear() {
    for (case, pair) in cases("as_before_into") {
        let id = case.backup();
        let (url, _keep) = match &case.server {
            None => ("sqlite:other.db".to_owned(), None),
            Some(database) => {
                let other = database.cluster().create_database("as_before_other");
                (other.url(), Some(other))
            }
        };
        let into = ["restore", &id, "--into", &url, "--yes"];
        unnamed(&case, &into).expect_code(0);
        assert_eq!(assert_all_for(&pair, &case.project), 1);
        unnamed(&case, &[&into[..], &["--force"]].concat()).expect_code(0);
        assert_eq!(assert_all_for(&pair, &case.project), 2);
        let only = [&into[..], &["--only", "t", "--force"]].concat();
        unnamed(&case, &only).expect_code(0);
        assert_eq!(assert_all_for(&pair, &case.project), 3);
    }
}

/// Nothing in the vault is of the very database that is there after a disaster.
#[test]
fn on_a_new_server_what_comes_next_is_not_in_clear() {
    let (mut all, other) = (cases("as_before_elsewhere"), Cluster::own_or_skip(""));
    let (Some(other), Some((mut case, pair))) = (other, all.pop()) else {
        return;
    };
    let Some(database) = &case.server else {
        return;
    };
    let id = case.backup();
    let new = other.database(database.name());
    case.project = case.project.database_url(&new.url());
    // The database is missing, so there is nothing to back up first.
    unnamed(&case, &["restore", &id, "--force"]).expect_code(0);
    assert_eq!(assert_all_for(&pair, &case.project), 1);
    let taken = unnamed(&case, &["backup"]).expect_code(0);
    says(&taken, &["they are encrypted as before, for age1"]);
    assert_eq!(assert_all_for(&pair, &case.project), 2);
    // It has backups of its own now, and those count.
    unnamed(&case, &["backup", "--recipient", "none"]).expect_code(0);
    let plain = unnamed(&case, &["backup"]).expect_code(0);
    assert!(!plain.stderr.contains("encrypted"), "{plain}");
}

#[test]
fn who_wants_it_unencrypted_says_so() {
    let (case, pair) = cases("declined").remove(0);
    case.backup();
    let plain = unnamed(&case, &["backup", "--recipient", "none"]).expect_code(0);
    says(
        &plain,
        &["warning: the backup before this one is encrypted, and this one will not be"],
    );
    let files = case.project.vault_files();
    assert_eq!(
        files.iter().filter(|name| name.ends_with(".zst")).count(),
        1
    );
    // From then on that is how it is.
    let again = unnamed(&case, &["backup"]).expect_code(0);
    assert!(!again.stderr.contains("encrypted"), "{again}");
    // It is a word of its own, and nobody's name beside others.
    let mixed = ["backup", "--recipient", "none", "--recipient", &pair.public];
    unnamed(&case, &mixed).expect_code(2);
}

#[test]
fn a_passphrase_cannot_be_known_from_before() {
    let case = Case::sqlite();
    case.query("CREATE TABLE t (id INTEGER); INSERT INTO t VALUES (1);");
    case.project
        .write("words.txt", "correct horse battery staple");
    let with = ["db", "backup", "--passphrase-file", "words.txt"];
    let taken = case.project.json(with);
    assert!(dump_of(&taken).exists(), "{}", text(&taken, "/path"));
    let files = case.project.vault_files();
    let refused = case.project.run(["db", "backup"]).expect_code(3);
    says(
        &refused,
        &["are encrypted for a passphrase", "nothing was changed"],
    );
    let hint = hinted_command(&refused).join(" ");
    assert_eq!(hint, "db backup --passphrase-file FILE");
    assert_eq!(case.project.vault_files(), files);
}
