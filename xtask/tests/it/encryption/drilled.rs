//! Without the right key a drill can try nothing, which says nothing of the backups.

use std::fs;

use super::cases;
use crate::exec::{self, Output};
use crate::setup::{Case, says};

fn without_key(case: &Case, arguments: &[&str]) -> Output {
    let mut command = case.project.command(arguments);
    for name in ["XTASK_DB_IDENTITY", "XTASK_DB_RECIPIENTS"] {
        command.env_remove(name);
    }
    exec::run(&mut command, None)
}

#[test]
fn a_backup_that_stays_closed_is_not_called_a_bad_one() {
    for (case, _) in cases("drilled") {
        let ids = [case.backup(), case.backup()];
        without_key(&case, &["db", "drill"]).expect_code(4);
        let all = without_key(&case, &["db", "drill", "--all"]).expect_code(4);
        says(
            &all,
            &[
                "2 of 2 backups could not be tried: no key at hand opens them",
                "cargo xtask db drill --all --identity FILE",
            ],
        );
        for id in &ids {
            assert!(all.stdout.contains(&format!("not tried     {id}")), "{all}");
        }
        assert!(!all.stdout.contains("NOT RESTORED"), "{all}");
        for verb in ["list", "status"] {
            let shown = case.project.run(["db", verb]).expect_code(0);
            assert!(!shown.stdout.contains("FAILED"), "{shown}");
        }
        let log = case.project.run(["db", "log"]).expect_code(0);
        assert!(!log.stdout.contains("drill"), "{log}");
        // The one that is damaged is one, whoever has the key.
        let mut bytes = fs::read(case.dump(&ids[0]).with_extension("zst.age")).expect("read it");
        bytes[20] ^= 1;
        fs::write(case.dump(&ids[0]).with_extension("zst.age"), bytes).expect("damage it");
        let all = without_key(&case, &["db", "drill", "--all"]).expect_code(4);
        says(
            &all,
            &["1 of 2 backups do not come back as they were taken"],
        );
        let list = case.project.run(["db", "list"]).expect_code(0);
        assert!(list.stdout.contains("FAILED"), "{list}");
    }
}
