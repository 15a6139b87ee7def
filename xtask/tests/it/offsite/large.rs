//! Dumps of many parts: cut in the middle, sent again, and through a small memory.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::{Duration, Instant};

use xtask_db::parsers::part_bytes;

use super::{fill, outcomes};
use crate::exec::{self, Output};
use crate::s3::S3;
use crate::setup::{Case, says, text};

const MIB: u64 = 1 << 20;

#[test]
fn no_dump_has_more_parts_than_a_store_takes() {
    for (bytes, part_mib, parts) in [
        (1, 8, 1),
        (8 * MIB, 8, 1),
        (8 * MIB + 1, 8, 2),
        (10_000 * 8 * MIB, 8, 10_000),
        (10_000 * 8 * MIB + 1, 9, 8_889),
        (100_000 * MIB, 10, 10_000),
        (1_000_000 * MIB, 100, 10_000),
        (1_000_000 * MIB + 1, 101, 9_901),
        // The largest object of S3, 5 TiB; a part of it may have 5 GiB.
        (5 * MIB * MIB, 525, 9_987),
    ] {
        let part = part_bytes(bytes);
        assert_eq!(
            (part, bytes.div_ceil(part)),
            (part_mib * MIB, parts),
            "{bytes}"
        );
    }
}

/// Without holding them.
#[track_caller]
fn is_same_file(one: &Path, other: &Path) {
    let mut files = [one, other].map(|path| File::open(path).expect("open it"));
    loop {
        let [one, other] = files.each_mut().map(|file| {
            let mut chunk = Vec::new();
            let read = file.take(MIB).read_to_end(&mut chunk);
            read.expect("read it");
            chunk
        });
        assert!(one == other, "they differ");
        if one.is_empty() {
            return;
        }
    }
}

/// The server dies when half of it has arrived.
#[test]
fn a_large_upload_that_is_cut_in_the_middle_is_sent_again_through_a_small_memory() {
    let big = std::env::var_os("XTASK_DB_BIG").is_some();
    let mib = if big { 5000 } else { 160 };
    let began = Instant::now();
    let told = |what: &str| {
        if big {
            exec::say(&format!("{what} after {:?}", began.elapsed()));
        }
    };
    let mut server = S3::start();
    let mut case = Case::sqlite();
    fill(&case, mib);
    told("filled");
    let start =
        |case: &Case, arguments: &[&str]| exec::start(&mut case.project.command(arguments), None);
    let (taken, _) = start(&case, &["db", "backup", "--json"]).finish_with_peak();
    let id = text(&taken.expect_code(0).json(), "/backup/id").to_owned();
    told("backed up");
    // Room for what the server makes of it.
    std::fs::remove_file(case.project.sqlite_path()).expect("remove the database");
    case.query("CREATE TABLE t (id INTEGER);");
    case.project = (server.of(case.project))
        .env("AWS_MAX_RETRIES", "0")
        .env("AWS_TIMEOUT", "30 minutes");

    let push = ["db", "push", "--json"];
    let mut running = start(&case, &push);
    while server.wire().uploaded() < mib * MIB / 2 {
        assert!(!running.has_ended(), "it ended before it was cut");
        std::thread::sleep(Duration::from_millis(10));
    }
    server.kill();
    let (failed, peak_cut) = running.finish_with_peak();
    assert!(server.wire().uploaded() < mib * MIB, "that is all of it");
    says(&failed.expect_code(6), &["not copied:", "is missing"]);
    server.revive();
    assert_eq!(server.objects(), [""; 0]);
    assert_ne!(server.parts_left(), [""; 0]);
    told("cut");

    let (sent, peak) = start(&case, &push).finish_with_peak();
    let sent = sent.expect_code(0);
    assert_eq!(outcomes(&sent.json()), ["copied"]);
    says(&sent, &["removed what a run that was cut short had sent"]);
    assert_eq!(server.parts_left(), [""; 0]);
    told("sent");
    for file in [case.dump(&id), case.manifest(&id)] {
        let name = file.file_name().expect("a name").to_string_lossy();
        is_same_file(&file, &server.object(&format!("shop/{name}")));
    }
    let verify = ["db", "verify", "--offsite", &id];
    let (verified, peak_read) = start(&case, &verify).finish_with_peak();
    says_trusted(&verified.expect_code(0));
    told("verified");
    let peaks = [peak_cut, peak, peak_read];
    told(&format!("peaks of memory {peaks:?} KiB;"));
    assert!(
        peaks.iter().all(|peak| *peak < 128 << 10),
        "{peaks:?} KiB for {mib} MiB"
    );
}

#[track_caller]
fn says_trusted(output: &Output) {
    assert!(output.stdout.contains("trusted"), "{output}");
    assert!(!output.stdout.contains("NOT TRUSTED"), "{output}");
}
