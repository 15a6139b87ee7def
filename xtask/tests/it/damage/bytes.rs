//! Every byte and every length of a backup: none that was changed is taken for the one that was
//! written.
//!
//! `XTASK_DB_SEED` decides which bits are flipped, `XTASK_DB_ROUNDS` how often each byte is.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{Scene, read};
use crate::exec;
use crate::setup::{Case, says};

/// How many attacks lie between two that all verbs are tried after.
const SAMPLE: usize = 211;

/// A number of the environment, said on stderr so that a failure can be repeated.
pub fn number(name: &str, default: u64) -> u64 {
    let given = std::env::var(name).ok();
    let number = given.map_or(default, |text| text.parse().expect("a number"));
    exec::say(&format!("{name}={number}"));
    number
}

/// One of 255 changes of a byte, none of them no change.
fn mask(seed: u64, round: u64, at: usize) -> u8 {
    let mixed = (seed ^ (round << 32) ^ at as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((mixed >> 40) % 255) as u8 + 1
}

/// Calls `attack` with every number below what `count` says, on as many scenes as there are cores.
fn for_each(count: impl Fn(&Scene) -> usize + Sync, attack: impl Fn(&Scene, usize) + Sync) {
    let next = AtomicUsize::new(0);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                let scene = Scene::sqlite();
                let count = count(&scene);
                assert!(count > 100, "only {count} attacks");
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    if at >= count {
                        break;
                    }
                    attack(&scene, at);
                }
            });
        }
    });
}

impl Scene {
    /// Writes other bytes into a file of the newest backup, has them refused, and puts the old back.
    fn refuses_bytes(&self, file: &Path, bytes: &[u8], at: usize, what: &str) {
        let whole = read(file);
        assert_ne!(whole, bytes, "{what} {at}: nothing was changed");
        fs::write(file, bytes).expect("damage a file");
        let refused = self.run(&["verify", &self.newest]);
        assert_eq!(refused.code, 4, "{what} {at}: {refused}");
        assert!(
            !refused.stderr.contains("panicked"),
            "{what} {at}: {refused}"
        );
        says(&refused, &["\nhint: ", &self.good]);
        if at.is_multiple_of(SAMPLE) {
            for verb in ["list", "status"] {
                self.run(&[verb]).expect_code(0);
            }
            self.refuses_newest();
        }
        fs::write(file, whole).expect("repair a file");
    }

    fn flip(&self, file: &Path, at: usize, mask: u8, what: &str) {
        let mut bytes = read(file);
        bytes[at] ^= mask;
        self.refuses_bytes(file, &bytes, at, &format!("{what} ^ {mask:#04x} at"));
    }
}

fn length(path: PathBuf) -> usize {
    read(&path).len()
}

#[test]
fn every_flipped_byte_of_a_dump_is_refused() {
    let (seed, rounds) = (number("XTASK_DB_SEED", 1), number("XTASK_DB_ROUNDS", 1));
    for round in 0..rounds {
        for_each(
            |scene| length(scene.dump()),
            |scene, at| scene.flip(&scene.dump(), at, mask(seed, round, at), "dump"),
        );
    }
}

/// Also one in a time, a path, a label or between two fields: what it says then would be read and
/// believed.
#[test]
fn every_flipped_byte_of_a_manifest_is_refused() {
    let (seed, rounds) = (number("XTASK_DB_SEED", 1), number("XTASK_DB_ROUNDS", 1));
    for round in 0..rounds {
        for_each(
            |scene| length(scene.manifest()),
            |scene, at| scene.flip(&scene.manifest(), at, mask(seed, round, at), "manifest"),
        );
    }
}

#[test]
fn a_dump_cut_at_any_length_is_refused() {
    for_each(
        |scene| length(scene.dump()),
        |scene, at| {
            let whole = read(&scene.dump());
            scene.refuses_bytes(&scene.dump(), &whole[..at], at, "dump cut to");
        },
    );
}

/// At every third one; the seed says where to begin.
#[test]
fn a_manifest_cut_at_any_length_is_refused() {
    const STEP: usize = 3;
    let first = number("XTASK_DB_SEED", 1) as usize % STEP;
    for_each(
        |scene| (length(scene.manifest()) - first).div_ceil(STEP),
        |scene, at| {
            let at = first + at * STEP;
            let whole = read(&scene.manifest());
            scene.refuses_bytes(&scene.manifest(), &whole[..at], at, "manifest cut to");
        },
    );
}

/// The length is right and the end was never written: what a power cut makes of a file.
#[test]
fn an_end_of_zeros_is_refused() {
    let scene = Scene::sqlite();
    for file in [scene.dump(), scene.manifest()] {
        let whole = read(&file);
        for at in (0..whole.len()).rev().step_by(16) {
            let mut bytes = whole.clone();
            bytes[at..].fill(0);
            if bytes != whole {
                scene.refuses_bytes(&file, &bytes, at, "zeros from");
            }
        }
    }
}

/// A second frame, a second document: what decoders go on reading.
#[test]
fn appended_bytes_are_refused() {
    let scene = Scene::sqlite();
    for file in [scene.dump(), scene.manifest()] {
        let whole = read(&file);
        let good = [
            read(&scene.case.dump(&scene.good)),
            read(&scene.case.manifest(&scene.good)),
        ];
        for more in [
            b"\0",
            b"\n",
            b" ",
            &[0; 4096][..],
            &whole,
            &good[0],
            &good[1],
        ] {
            let bytes = [&whole[..], more].concat();
            scene.refuses_bytes(&file, &bytes, more.len(), "appended");
        }
    }
}

#[test]
fn flipped_and_cut_backups_of_a_server_are_refused() {
    let Some(case) = Case::postgres("bytes") else {
        return;
    };
    let seed = number("XTASK_DB_SEED", 1);
    let scene = Scene::new(case);
    for (file, step) in [(scene.dump(), 97), (scene.manifest(), 101)] {
        let whole = read(&file);
        let first = usize::try_from(seed).expect("a small seed") % step;
        for at in (first..whole.len()).step_by(step) {
            scene.flip(&file, at, mask(seed, 0, at), "flipped");
            scene.refuses_bytes(&file, &whole[..at], at, "cut to");
        }
    }
}
