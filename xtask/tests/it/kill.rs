//! `kill -9` at any moment of a backup, a migration and a restore: of the tool, of the programs that
//! it runs, of its sessions and of the whole server. The database is as it was or as it was asked
//! for, every backup that is listed can be trusted, and the next command just runs.
//!
//! The moments are random. A failed round prints the seed; `XTASK_DB_SEED` brings it back, and
//! `XTASK_DB_KILL_ROUNDS` says how many rounds each test makes.

mod postgres;
mod sqlite;

use std::fs;
use std::time::{Duration, Instant, SystemTime};

use serde_json::Value;

use crate::exec::{self, Output, Running};
use crate::setup::{Case, text};

const SEED: &str = "XTASK_DB_SEED";
const ROUNDS: &str = "XTASK_DB_KILL_ROUNDS";

/// What a table holds before the migrations; enough for a run to take a while.
const BASE: &str = "CREATE TABLE t (id BIGINT NOT NULL PRIMARY KEY, name TEXT);";
const MIGRATIONS: [(&str, &str); 3] = [
    ("1_base.sql", BASE),
    (
        "2_rename.sql",
        "UPDATE t SET name = 'renamed ' || name; CREATE INDEX by_name ON t (name);",
    ),
    (
        "3_more.sql",
        "CREATE TABLE more (id BIGINT NOT NULL PRIMARY KEY, name TEXT);
         -- expect-loss: t
         INSERT INTO more SELECT id, name FROM t WHERE id % 2 = 0; DELETE FROM t WHERE id % 3 = 0;",
    ),
];

/// Numbers that a seed brings back (SplitMix64).
pub struct Dice(u64);

impl Dice {
    /// Says the seed, which libtest shows when the test fails.
    pub fn new() -> Self {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let seed = number_of(SEED).unwrap_or_else(|| now.expect("a clock").subsec_nanos().into());
        println!("{SEED}={seed}");
        Self(seed)
    }

    pub fn of(seed: u64) -> Self {
        Self(seed)
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }

    pub fn one_of<T: Copy>(&mut self, some: &[T]) -> T {
        some[usize::try_from(self.below(some.len() as u64)).expect("an index")]
    }

    /// Spread over a run, a third of them over the last part of it, where names and journals turn.
    fn moment(&mut self, whole: Duration) -> Duration {
        let whole = whole.as_micros() as u64;
        let at = match self.below(3) {
            0 => whole * 7 / 10 + self.below(whole * 4 / 10),
            _ => self.below(whole * 21 / 20),
        };
        Duration::from_micros(at)
    }
}

pub fn number_of(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}={text}")))
}

fn rounds(default: u64) -> u64 {
    number_of(ROUNDS).unwrap_or(default)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Verb {
    Backup,
    Migrate,
    Restore,
}

const VERBS: [Verb; 3] = [Verb::Backup, Verb::Migrate, Verb::Restore];

/// A database whose every state is known, and how long each verb takes on it.
struct Arena {
    case: Case,
    /// The backup that every round goes back to.
    base: String,
    /// With one, two and three migrations applied.
    states: [Vec<String>; 3],
    took: [Duration; 3],
}

impl Arena {
    /// `fill` puts rows into the table; `state` reads all that is to be compared.
    fn new(case: Case, fill: &str, state: impl Fn(&Case) -> Vec<String>) -> Self {
        for (file, sql) in MIGRATIONS {
            case.project.write(format!("migrations/{file}"), sql);
        }
        let migrate_to = |version: &str| {
            let arguments = ["db", "migrate-safe", "--yes", "--target-version", version];
            case.project.run(arguments).expect_code(0);
            state(&case)
        };
        migrate_to("1");
        case.query(fill);
        let base = case.backup();
        let states = [state(&case), migrate_to("2"), migrate_to("3")];
        assert!(states[0] != states[1] && states[1] != states[2]);
        let mut arena = Self {
            case,
            base,
            states,
            took: [Duration::ZERO; 3],
        };
        for verb in [Verb::Restore, Verb::Backup, Verb::Migrate] {
            let began = Instant::now();
            arena.start(verb).finish().expect_code(0);
            arena.took[verb as usize] = began.elapsed();
        }
        arena.case.restore(&arena.base);
        assert_eq!(state(&arena.case), arena.states[0]);
        arena
    }

    fn start(&self, verb: Verb) -> Running {
        let arguments = match verb {
            Verb::Backup => vec!["db", "backup"],
            Verb::Migrate => vec!["db", "migrate-safe", "--yes"],
            Verb::Restore => vec!["db", "restore", &self.base, "--yes"],
        };
        exec::start(&mut self.case.project.command(arguments), None)
    }

    /// One run that something happens to. What it may leave are the states that come back, as it
    /// was first.
    fn run(
        &mut self,
        dice: &mut Dice,
        verb: Verb,
        early: bool,
        state: impl Fn(&Case) -> Vec<String>,
        happens: impl FnOnce(&mut Running, &mut Dice),
    ) -> (Output, Vec<Vec<String>>) {
        let mut allowed = self.states.to_vec();
        match verb {
            Verb::Backup => allowed.truncate(1),
            Verb::Migrate => {}
            Verb::Restore => {
                let change = format!(
                    "UPDATE t SET name = 'round {}' WHERE id % 5 = 0; DELETE FROM t WHERE id % 7 = 0; CREATE TABLE late (id BIGINT);",
                    dice.below(1000)
                );
                self.case.query(&change);
                allowed = vec![state(&self.case), self.states[0].clone()];
            }
        }
        let mut running = self.start(verb);
        let moment = dice.moment(self.took[verb as usize]);
        std::thread::sleep(if early { moment / 2 } else { moment });
        happens(&mut running, dice);
        let output = running.finish();
        // The machine is not as busy as when it was measured: too late is too often for nothing.
        let took = &mut self.took[verb as usize];
        *took =
            *took * if output.code == 0 { 9 } else { 21 } / if output.code == 0 { 10 } else { 20 };
        (output, allowed)
    }

    /// The next command just runs; what is there is what may be there; all backups are good.
    #[track_caller]
    fn is_sound(
        &self,
        round: &str,
        output: &Output,
        allowed: &[Vec<String>],
        state: impl Fn(&Case) -> Vec<String>,
    ) -> &'static str {
        let next = self.case.project.run(["db", "backup", "next"]);
        assert_eq!(next.code, 0, "{round}: the next command\n{next}\n{output}");
        let now = state(&self.case);
        let found = allowed.iter().position(|state| *state == now);
        assert!(
            found.is_some(),
            "{round}: {now:#?}\nnot in {allowed:#?}\n{output}"
        );
        // The word of a run that was not killed is kept.
        match output.code {
            0 => assert_eq!(found, Some(allowed.len() - 1), "{round}\n{output}"),
            1 | 3 | 4 => assert_eq!(found, Some(0), "{round}\n{output}"),
            5 | 137 => {}
            code => panic!("{round}: exit code {code}\n{output}"),
        }
        let verified = self.case.project.run(["db", "verify", "--all", "--json"]);
        let document = verified.json();
        let list = document["verified"].as_array().expect("a list");
        let is_trusted = |one: &Value| one["trusted"] == true;
        assert!(
            list.iter().all(is_trusted),
            "{round}: {document:#}\n{output}"
        );
        let listed = self.case.project.json(["db", "list"]);
        let backups = listed["backups"].as_array().expect("a list");
        assert_eq!(backups.len(), list.len(), "{round}: {listed:#}");
        let files = self.case.project.vault_files();
        assert!(
            // What was killed on the live database is marked until a restore or a migration ends.
            !files
                .iter()
                .any(|file| file.starts_with('.') && file != ".unfinished"),
            "{round}: {files:?}"
        );

        self.case.restore(&self.base);
        assert_eq!(
            state(&self.case),
            self.states[0],
            "{round}: the way back\n{output}"
        );
        self.keep_only_base();
        match found {
            Some(0) => "as it was",
            _ => "as asked",
        }
    }

    fn keep_only_base(&self) {
        for file in self.case.project.vault_files() {
            if !file.starts_with(&format!("{}.", self.base)) {
                fs::remove_file(self.case.project.vault().join(file)).expect("remove a backup");
            }
        }
        let listed = self.case.project.json(["db", "list"]);
        assert_eq!(text(&listed, "/backups/0/manifest/id"), self.base);
    }
}
