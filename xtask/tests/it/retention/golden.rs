//! What each rule keeps, as tables: over year ends, leap years, gaps, within one second.
//!
//! Days of 23 and 25 hours are the machine's: the tests run with `TZ=JST-9`, and what counts is UTC.

use xtask_db::parsers::Reason;
use xtask_db::parsers::retention::{HowLong, Policy};

use super::{at, candidates, whys, words};

/// Applies a policy to backups that were taken by a person at these times, newest first, and
/// compares each line: the time, and why it stays, or `-`.
#[track_caller]
fn table(policy: &Policy, now: &str, expected: &[(&str, &str)]) {
    let times: Vec<_> = expected.iter().map(|(time, _)| *time).collect();
    let found = whys(policy, &times, now);
    let found: Vec<(&str, &str)> = times
        .iter()
        .copied()
        .zip(found.iter().map(String::as_str))
        .collect();
    assert_eq!(found, expected);
}

fn long(text: &str) -> HowLong {
    text.parse().expect("a time")
}

#[test]
fn the_last_of_each_day_and_days_without_one_do_not_count() {
    let policy = Policy {
        daily: 3,
        ..Policy::default()
    };
    table(
        &policy,
        "2026-03-10 12:00:00",
        &[
            ("2026-03-10 11:00:00", "day 1 of 3"),
            ("2026-03-10 00:00:00", "-"),
            ("2026-03-09 23:59:59", "day 2 of 3"),
            ("2026-03-09 00:00:01", "-"),
            // A gap of a month.
            ("2026-02-08 08:00:00", "day 3 of 3"),
            ("2026-02-07 08:00:00", "-"),
        ],
    );
}

#[test]
fn iso_weeks_over_the_ends_of_years() {
    let policy = Policy {
        weekly: 9,
        ..Policy::default()
    };
    table(
        &policy,
        "2027-01-05 00:00:00",
        &[
            // The week 2026-W53 ends on Sunday, 3 January 2027.
            ("2027-01-04 00:00:00", "week 1 of 9"),
            ("2027-01-03 23:59:59", "week 2 of 9"),
            ("2027-01-01 00:00:00", "-"),
            ("2026-12-28 00:00:00", "-"),
            ("2026-12-27 23:59:59", "week 3 of 9"),
            // 2025-W01 begins on 30 December 2024; 2024-12-29 is in 2024-W52.
            ("2025-01-05 12:00:00", "week 4 of 9"),
            ("2024-12-30 00:00:00", "-"),
            ("2024-12-29 23:59:59", "week 5 of 9"),
            // 2021-01-03 is in 2020-W53, and 2020-01-01 in 2020-W01: one number, a year apart.
            ("2021-01-03 12:00:00", "week 6 of 9"),
            ("2020-12-28 12:00:00", "-"),
            ("2020-01-05 12:00:00", "week 7 of 9"),
            ("2019-12-30 12:00:00", "-"),
            // The same week's number in another ISO year.
            ("2019-01-06 12:00:00", "week 8 of 9"),
        ],
    );
}

#[test]
fn months_and_years() {
    let policy = Policy {
        monthly: 4,
        yearly: 3,
        ..Policy::default()
    };
    table(
        &policy,
        "2026-03-01 00:00:01",
        &[
            ("2026-03-01 00:00:00", "month 1 of 4, year 1 of 3"),
            ("2026-02-28 23:59:59", "month 2 of 4"),
            ("2026-02-01 00:00:00", "-"),
            ("2026-01-01 00:00:00", "month 3 of 4"),
            ("2025-12-31 23:59:59", "month 4 of 4, year 2 of 3"),
            ("2025-01-31 00:00:00", "-"),
            // The same month of another year, and a leap day.
            ("2024-02-29 12:00:00", "year 3 of 3"),
            ("2023-03-01 00:00:00", "-"),
        ],
    );
}

#[test]
fn hours_while_clocks_change_elsewhere() {
    // Germany: 02:00 is 03:00 on 29 March 2026, and 03:00 is 02:00 on 25 October 2026. Twenty-four
    // hours of UTC are twenty-four buckets, none of them twice.
    let policy = Policy {
        hourly: 30,
        ..Policy::default()
    };
    for day in ["2026-03-29", "2026-10-25"] {
        let times: Vec<String> = (0..24)
            .rev()
            .flat_map(|hour| {
                [
                    format!("{day} {hour:02}:30:00"),
                    format!("{day} {hour:02}:10:00"),
                ]
            })
            .collect();
        let times: Vec<&str> = times.iter().map(String::as_str).collect();
        let found = whys(&policy, &times, "2026-12-01 00:00:00");
        for (at, why) in found.iter().enumerate() {
            let expected = match at % 2 {
                0 => format!("hour {} of 30", at / 2 + 1),
                _ => "-".to_owned(),
            };
            assert_eq!(*why, expected, "{}", times[at]);
        }
    }
}

#[test]
fn several_of_one_second() {
    let policy = Policy {
        last: 2,
        daily: 1,
        ..Policy::default()
    };
    table(
        &policy,
        "2026-03-10 12:00:00",
        &[
            ("2026-03-10 11:00:00", "last 1 of 2, day 1 of 1"),
            ("2026-03-10 11:00:00", "last 2 of 2"),
            ("2026-03-10 11:00:00", "-"),
        ],
    );
}

/// A dump of the definitions at noon takes no day from the full one of the night.
#[test]
fn each_kind_of_dump_is_counted_by_itself() {
    let policy = Policy {
        daily: 2,
        ..Policy::default()
    };
    let times = [
        "2026-03-10 12:00:00",
        "2026-03-10 02:00:00",
        "2026-03-09 12:00:00",
        "2026-03-09 02:00:00",
        "2026-03-08 12:00:00",
    ];
    let mut backups = candidates(&times);
    for noon in [0, 2, 4] {
        backups[noon].part = Some("schema-only".into());
    }
    let expected = ["day 1 of 2", "day 1 of 2", "day 2 of 2", "day 2 of 2", "-"];
    assert_eq!(words(&policy, &backups, "2026-03-10 13:00:00"), expected);
}

/// What is known not to match, and what a restore took first, take no place of any rule.
#[test]
fn a_bad_one_and_a_safety_copy_take_nobodys_day() {
    let policy = Policy {
        last: 2,
        daily: 2,
        ..Policy::default()
    };
    let times = [
        "2026-03-10 12:00:00",
        "2026-03-10 11:00:00",
        "2026-03-10 10:00:00",
        "2026-03-09 12:00:00",
        "2026-03-08 12:00:00",
    ];
    let mut backups = candidates(&times);
    backups[0].is_bad = true;
    backups[1].reason = Reason::PreRestore;
    let expected = [
        "-",
        "-",
        "last 1 of 2, day 1 of 2",
        "last 2 of 2, day 2 of 2",
        "-",
    ];
    assert_eq!(words(&policy, &backups, "2026-03-10 13:00:00"), expected);
}

#[test]
fn by_reason_each_for_its_time() {
    let policy = Policy {
        manual: long("2d"),
        pre_migrate: long("4d"),
        pre_restore: long("1d"),
        ..Policy::default()
    };
    let times = [
        "2026-03-10 00:00:00",
        "2026-03-08 12:00:00",
        "2026-03-07 00:00:00",
    ];
    for (reason, expected) in [
        (Reason::Manual, ["manual for 2d", "-", "-"]),
        (Reason::PreMigrate, ["pre-migrate for 4d"; 3]),
        // The way back from an import is kept as long as that from a migration.
        (Reason::PreImport, ["pre-import for 4d"; 3]),
        (Reason::PreRestore, ["pre-restore for 1d", "-", "-"]),
    ] {
        let mut backups = candidates(&times);
        for backup in &mut backups {
            backup.reason = reason;
        }
        let found = words(&policy, &backups, "2026-03-10 13:00:00");
        assert_eq!(found, expected, "{reason}");
    }
    // All of an age, but for safety copies.
    let within = Policy {
        within: long("forever"),
        ..Policy::default()
    };
    let mut backups = candidates(&times);
    backups[1].reason = Reason::PreRestore;
    let found = words(&within, &backups, "2026-03-10 13:00:00");
    assert_eq!(found, ["all for forever", "-", "all for forever"]);
}

#[test]
fn by_age_over_months_of_all_lengths() {
    let policy = Policy {
        within: long("1m"),
        ..Policy::default()
    };
    for (now, kept, gone) in [
        (
            "2026-03-31 10:00:00",
            "2026-02-28 10:00:00",
            "2026-02-28 09:59:59",
        ),
        (
            "2024-03-30 10:00:00",
            "2024-02-29 10:00:00",
            "2024-02-29 09:59:59",
        ),
        (
            "2026-01-15 00:00:00",
            "2025-12-15 00:00:00",
            "2025-12-14 23:59:59",
        ),
    ] {
        table(&policy, now, &[(kept, "all for 1m"), (gone, "-")]);
    }
    let policy = Policy {
        within: long("1y"),
        ..Policy::default()
    };
    table(
        &policy,
        "2024-02-29 12:00:00",
        &[
            ("2023-02-28 12:00:00", "all for 1y"),
            ("2023-02-28 11:59:59", "-"),
        ],
    );
    for (text, kept, gone) in [
        ("36h", "2026-03-29 00:00:00", "2026-03-28 23:59:59"),
        ("2w", "2026-03-16 12:00:00", "2026-03-16 11:59:59"),
        ("1y6m", "2024-09-30 12:00:00", "2024-09-30 11:59:59"),
        ("1m1d1h", "2026-02-27 11:00:00", "2026-02-27 10:59:59"),
    ] {
        let within = Policy {
            within: long(text),
            ..Policy::default()
        };
        let found = whys(&within, &[kept, gone], "2026-03-30 12:00:00");
        assert!(
            found[0].starts_with("all for") && found[1] == "-",
            "{text}: {found:?}"
        );
    }
}

#[test]
fn times_are_read_and_written() {
    for (text, shown) in [
        ("30d", "30d"),
        ("12w", "84d"),
        ("18m", "1y6m"),
        ("1y6m", "1y6m"),
        ("1h2d", "2d1h"),
        ("0d", "0d"),
        ("0h0m", "0d"),
        ("forever", "forever"),
    ] {
        assert_eq!(long(text).to_string(), shown);
        assert_eq!(long(&long(text).to_string()), long(text));
    }
    for bad in [
        "",
        "30",
        "d",
        "30 d",
        "-1d",
        "1.5d",
        "30D",
        "1x",
        "1d2",
        "99999999999d",
        "999999y",
        "Forever",
        "٣d",
    ] {
        assert!(bad.parse::<HowLong>().is_err(), "{bad}");
    }
    assert!(!long("0d").holds(at("2026-01-01 00:00:00"), at("2026-01-01 00:00:00")));
}
