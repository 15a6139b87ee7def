//! Whatever the policy and whatever there is: what must not go stays.

use proptest::prelude::*;
use xtask_db::parsers::Reason;
use xtask_db::parsers::retention::{self, Candidate, Guard, HowLong, Policy, Why};

use super::at;
use crate::parsers::holds;

/// Seconds around `now`; many of them in the same second, hour or day.
fn times() -> impl Strategy<Value = Vec<(i64, u8, bool, u8)>> {
    let second = prop_oneof![
        0_i64..5,
        0_i64..200_000,
        0_i64..200_000_000,
        -200_000_i64..0
    ];
    proptest::collection::vec((second, 0_u8..3, any::<bool>(), 0_u8..8), 0..60)
}

fn policies() -> impl Strategy<Value = Policy> {
    let count = || prop_oneof![Just(0_u32), 0_u32..4, any::<u32>()];
    let long = || {
        let texts = ["0d", "1h", "1d", "30d", "1m", "5y", "1000y", "forever"];
        proptest::sample::select(texts.to_vec())
            .prop_map(|text| text.parse::<HowLong>().expect("a time"))
    };
    let counts = (count(), count(), count(), count(), count(), count());
    (counts, (long(), long(), long(), long())).prop_map(|(counts, spans)| Policy {
        last: counts.0,
        hourly: counts.1,
        daily: counts.2,
        weekly: counts.3,
        monthly: counts.4,
        yearly: counts.5,
        within: spans.0,
        manual: spans.1,
        pre_migrate: spans.2,
        pre_restore: spans.3,
    })
}

/// Newest first, as a vault lists them.
fn candidates(times: Vec<(i64, u8, bool, u8)>) -> Vec<Candidate> {
    let now = at("2026-11-21 12:00:00");
    let mut backups: Vec<Candidate> = times
        .into_iter()
        .enumerate()
        .map(|(number, (age, reason, is_bad, guard))| Candidate {
            id: format!("{number:03}"),
            at: now - chrono::TimeDelta::seconds(age),
            reason: [Reason::Manual, Reason::PreMigrate, Reason::PreRestore][usize::from(reason)],
            part: (guard == 7).then(|| "schema-only".into()),
            is_bad: is_bad && guard % 2 == 0,
            is_closed: age % 3 == 0,
            guards: match guard {
                0 => vec![Guard::Pinned],
                1 => vec![Guard::WayBack],
                2 => vec![Guard::Undo, Guard::Unfinished],
                _ => Vec::new(),
            },
        })
        .collect();
    backups.sort_by(|a, b| (b.at, &b.id).cmp(&(a.at, &a.id)));
    backups
}

#[test]
fn whatever_the_policy_the_guards_hold() {
    holds((policies(), times()), |(policy, times)| {
        let now = at("2026-11-21 12:00:00");
        let mut backups = candidates(times);
        retention::guard(&mut backups, |then| then > now);
        let whys = policy.apply(&backups, now);
        prop_assert_eq!(whys.len(), backups.len());
        let stays = |at: usize| !whys[at].is_empty();
        for (at, backup) in backups.iter().enumerate() {
            for guard in &backup.guards {
                prop_assert!(whys[at].contains(&Why::Guard(*guard)));
            }
            if backup.at > now {
                prop_assert!(stays(at), "one of the future goes");
            }
        }
        let past = |backup: &&Candidate| backup.at <= now;
        let first = |is_meant: &dyn Fn(&Candidate) -> bool| {
            backups
                .iter()
                .position(|backup| past(&backup) && is_meant(backup))
        };
        let is_latest = |backup: &Candidate| backup.reason != Reason::PreRestore;
        for newest in [
            first(&|_| true),
            first(&is_latest),
            first(&|backup| is_latest(backup) && backup.part.is_none()),
            first(&|backup| is_latest(backup) && backup.part.is_some()),
            first(&Candidate::is_way_to_go_back),
            first(&|backup| backup.is_way_to_go_back() && !backup.is_closed),
        ] {
            prop_assert!(newest.is_none_or(stays), "the newest goes");
        }
        Ok(())
    });
}

#[test]
fn a_larger_policy_keeps_no_less() {
    holds(
        (policies(), times(), 0_usize..6),
        |(policy, times, rule)| {
            let now = at("2026-11-21 12:00:00");
            let mut backups = candidates(times);
            retention::guard(&mut backups, |then| then > now);
            let mut larger = policy.clone();
            let counts = [
                &mut larger.last,
                &mut larger.hourly,
                &mut larger.daily,
                &mut larger.weekly,
                &mut larger.monthly,
                &mut larger.yearly,
            ];
            for (at, count) in counts.into_iter().enumerate() {
                if at == rule {
                    *count = count.saturating_add(1);
                }
            }
            let (less, more) = (policy.apply(&backups, now), larger.apply(&backups, now));
            for (less, more) in less.iter().zip(&more) {
                prop_assert!(less.is_empty() || !more.is_empty());
            }
            Ok(())
        },
    );
}

/// What was pruned once is not pruned further by the same policy in the same moment.
#[test]
fn pruning_twice_removes_no_more() {
    holds((policies(), times()), |(policy, times)| {
        let now = at("2026-11-21 12:00:00");
        let mut backups = candidates(times);
        retention::guard(&mut backups, |then| then > now);
        let whys = policy.apply(&backups, now);
        let left: Vec<Candidate> = backups
            .iter()
            .zip(&whys)
            .filter(|(_, why)| !why.is_empty())
            .map(|(backup, _)| backup.clone())
            .collect();
        let again = policy.apply(&left, now);
        prop_assert!(again.iter().all(|why| !why.is_empty()));
        Ok(())
    });
}

#[test]
fn an_empty_policy_is_known_as_one() {
    assert!(Policy::default().is_empty());
    holds(policies(), |policy| {
        let one = [Candidate {
            id: "1".into(),
            at: at("2026-11-21 12:00:00"),
            reason: Reason::Manual,
            part: None,
            is_bad: false,
            is_closed: false,
            guards: Vec::new(),
        }];
        // An empty one keeps nothing by itself, even of this moment.
        let kept = policy.apply(&one, at("2026-11-21 12:00:00"));
        prop_assert!(!policy.is_empty() || kept[0].is_empty());
        Ok(())
    });
}
