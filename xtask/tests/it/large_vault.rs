//! A vault of many backups: what is read in part and on several threads says what all of it says.

use std::fs;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use crate::exec;
use crate::setup::{Case, sealed, text};

mod index;
mod proofs;

/// How many random vaults are made; the seed and the number of rounds may be given.
const ROUNDS: &str = "XTASK_DB_ROUNDS";
const SEED: &str = "XTASK_DB_SEED";

struct Vault {
    case: Case,
    dump: Vec<u8>,
    manifest: Value,
}

impl Vault {
    /// One of a real backup, which is then removed: only its copies are there.
    fn empty() -> Self {
        let case = Case::sqlite();
        case.query("CREATE TABLE notes (id INTEGER)");
        let id = case.backup();
        let read = |path| fs::read(path).expect("read a file of the vault");
        let (dump, manifest) = (read(case.dump(&id)), read(case.manifest(&id)));
        let manifest = serde_json::from_slice(&manifest).expect("a manifest");
        let vault = Self {
            case,
            dump,
            manifest,
        };
        vault.clear();
        vault
    }

    fn clear(&self) {
        for name in self.case.project.vault_files() {
            fs::remove_file(self.case.project.vault().join(name)).expect("empty the vault");
        }
    }

    /// A copy under an id of this second; `change` makes its manifest another one.
    fn add(&self, at: DateTime<Utc>, change: impl FnOnce(&mut Value)) -> String {
        let id = format!("backup_{}", at.format("%Y-%m-%d_%H%M%S"));
        let mut manifest = self.manifest.clone();
        manifest["id"] = json!(id);
        manifest["created_at"] = json!(at);
        manifest["dump"]["file"] = json!(format!("{id}.db.zst"));
        change(&mut manifest);
        fs::write(self.case.manifest(&id), sealed(manifest)).expect("write a manifest");
        fs::write(self.case.dump(&id), &self.dump).expect("write a dump");
        id
    }
}

impl Vault {
    /// What `status` calls the latest, after a comparison with `verify`: `status` reads the newest
    /// manifests only, `verify latest` reads all of them, as `restore` does.
    #[track_caller]
    fn latest(&self) -> Option<String> {
        let status = self.case.project.json(["db", "status"]);
        let latest = status.pointer("/latest/id").and_then(Value::as_str);
        let verified = self.case.project.run(["db", "verify", "latest", "--json"]);
        match latest {
            Some(id) => assert_eq!(text(&verified.expect_code(0).json(), "/verified/0/id"), id),
            None => assert_eq!(verified.code, 4, "{verified}"),
        }
        latest.map(str::to_owned)
    }
}

#[test]
fn status_and_restore_never_differ_about_the_latest() {
    let number = |name: &str, default: u64| {
        let given = std::env::var(name).ok();
        given.map_or(default, |text| text.parse().expect("a number"))
    };
    let seed = number(SEED, u64::from(std::process::id()));
    exec::say(&format!("{SEED}={seed}"));
    let mut random = Random(seed);
    let vault = Vault::empty();
    let mut found = 0;
    for round in 0..number(ROUNDS, 12) {
        vault.clear();
        fill_at_random(&vault, &mut random, round);
        found += u32::from(vault.latest().is_some());
    }
    assert!(found > 0, "no round had a backup of this database");
}

/// Its id is hours older than those of backups that were taken before it.
#[test]
fn a_backup_that_waited_for_its_snapshot_is_the_latest() {
    let vault = Vault::empty();
    let newest = Utc::now() - TimeDelta::hours(1);
    let waited = vault.add(newest - TimeDelta::hours(10), |manifest| {
        manifest["created_at"] = json!(newest + TimeDelta::minutes(1));
    });
    for number in 0..40 {
        vault.add(newest - TimeDelta::minutes(number), |_| {});
    }
    assert_eq!(vault.latest(), Some(waited));
}

/// Backups of a file that is gone count where there are none of this very file; here there is one,
/// far down.
#[test]
fn an_old_backup_of_this_file_is_the_latest_among_those_of_a_file_that_is_gone() {
    let vault = Vault::empty();
    let newest = Utc::now() - TimeDelta::hours(1);
    let ours = vault.add(newest - TimeDelta::days(9), |_| {});
    let of_gone = |manifest: &mut Value| manifest["database"]["path"] = json!("/gone/app.db");
    let others: Vec<String> = (0..100)
        .map(|number| vault.add(newest - TimeDelta::hours(number), of_gone))
        .collect();
    assert_eq!(vault.latest(), Some(ours.clone()));
    fs::remove_file(vault.case.manifest(&ours)).expect("remove a manifest");
    assert_eq!(vault.latest().as_ref(), others.first());
}

/// Ours, another file's, those of a file that is gone; some wait for hours before their snapshot.
fn fill_at_random(vault: &Vault, random: &mut Random, round: u64) {
    let elsewhere = vault.case.project.tmp().join("app.db");
    fs::write(&elsewhere, "").expect("write another database");
    let newest = Utc::now() - TimeDelta::days(2);
    // In a third of the rounds ours are rare, in another third there are none.
    let ours = if round.is_multiple_of(3) { 300 } else { 4 };
    let here = round % 3 != 1;
    let mut at = newest;
    for _ in 0..1 + random.below(200) {
        let (path, waited) = (random.below(ours), random.below(20 * 3600));
        let (waits, is_safety) = (random.below(3) == 0, random.below(3) == 0);
        vault.add(at, |manifest| {
            match path {
                0 if here => {}
                1 => manifest["database"]["path"] = json!("/gone/app.db"),
                _ => manifest["database"]["path"] = json!(elsewhere),
            }
            if waits {
                let waited = TimeDelta::seconds(waited.cast_signed());
                manifest["created_at"] = json!(at + waited);
            }
            if is_safety {
                manifest["reason"] = json!("pre-restore");
            }
        });
        at -= TimeDelta::seconds(1 + random.below(1200).cast_signed());
    }
}

/// Threads share the reading: none may lose its share, and the order is that of time.
#[test]
fn a_large_vault_is_listed_whole_and_newest_first() {
    let vault = Vault::empty();
    let newest = Utc::now() - TimeDelta::days(1);
    let ids: Vec<String> = (0..300)
        .map(|number| vault.add(newest - TimeDelta::minutes(number), |_| {}))
        .collect();
    let (cut, lost) = (&ids[7], &ids[250]);
    fs::write(vault.case.manifest(cut), "{").expect("cut a manifest");
    fs::remove_file(vault.case.manifest(lost)).expect("lose a manifest");

    let listed = vault.case.project.json(["db", "list"]);
    let backups = listed["backups"].as_array().expect("a list");
    let found: Vec<&str> = backups.iter().map(|b| text(b, "/manifest/id")).collect();
    let wanted = ids.iter().filter(|id| *id != cut && *id != lost);
    assert_eq!(found, wanted.map(String::as_str).collect::<Vec<_>>());
    let problems = listed["problems"].as_array().expect("a list");
    let problems: Vec<&str> = problems.iter().map(|p| text(p, "/file")).collect();
    // By name, and the id of the lost one is the older.
    assert_eq!(problems, [format!("{lost}.db.zst"), format!("{cut}.json")]);
    let shown = vault.case.project.run(["db", "list"]).expect_code(0);
    assert_eq!(shown.stdout.lines().count(), 1 + found.len());
}

/// As JSON it is written while it is read: a vault of any size goes through a small memory.
#[test]
fn the_memory_of_a_list_does_not_grow_with_the_vault() {
    let vault = Vault::empty();
    let newest = Utc::now() - TimeDelta::days(1);
    let tables: Vec<Value> = (0..500)
        .map(
            |number| json!({"schema": "main", "name": format!("a_table_{number}"), "rows": number}),
        )
        .collect();
    for number in 0..500 {
        vault.add(newest - TimeDelta::minutes(number), |manifest| {
            manifest["tables"] = json!(tables);
        });
    }
    let mut command = vault.case.project.command(["db", "list", "--json"]);
    let (output, peak) = exec::start(&mut command, None).finish_with_peak();
    let listed = output.expect_code(0).json();
    assert_eq!(listed["backups"].as_array().map(Vec::len), Some(500));
    assert_eq!(listed["backups"][499]["manifest"]["tables"], json!(tables));
    assert!(peak < 64 << 10, "{peak} KiB");
}

/// splitmix64.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }
}
