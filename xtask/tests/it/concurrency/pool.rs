//! An application whose pool reconnects in a loop while its database is restored.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use sqlx::{Connection, PgConnection};

use super::{SUM, TOTAL, create_accounts};
use crate::compat;
use crate::exec;
use crate::setup::Case;

const CLIENTS: u32 = 4;

/// What the change leaves is another sum, and never half of it.
const CHANGE: &str =
    "BEGIN; UPDATE first SET balance = balance + 1; UPDATE second SET balance = balance + 1;
                      CREATE TABLE late (id BIGINT); COMMIT;";
/// What a client saw that was let into a database without its tables.
const NO_TABLE: i64 = -1;
const CHANGED: i64 = TOTAL + 2 * super::ACCOUNTS;

/// Asks again and again, in a new session each time, until it is told to stop; returns all that it
/// saw, without repetitions.
fn client(url: String, stop: Arc<AtomicBool>, answers: Arc<AtomicU64>) -> JoinHandle<Vec<i64>> {
    std::thread::spawn(move || {
        let runtime = compat::runtime();
        let mut seen = Vec::new();
        while !stop.load(Ordering::SeqCst) {
            let asked = runtime.block_on(async {
                let mut session = PgConnection::connect(&url).await?;
                let sum = sqlx::query_scalar::<_, i64>(SUM);
                let sum = sum.fetch_one(&mut session).await?;
                // Some stay for a while, and are cut.
                tokio::time::sleep(Duration::from_millis(5)).await;
                Ok::<_, sqlx::Error>(sum)
            });
            let is_missing = |error: &dyn sqlx::error::DatabaseError| {
                error.code().is_some_and(|code| code == "42P01")
            };
            let sum = match asked {
                Ok(sum) => sum,
                Err(error) if error.as_database_error().is_some_and(is_missing) => NO_TABLE,
                // Cut, or not let in for a moment: it comes back.
                Err(_) => continue,
            };
            answers.fetch_add(1, Ordering::SeqCst);
            seen.push(sum);
            seen.dedup();
        }
        seen
    })
}

#[track_caller]
fn wait_for(answers: &AtomicU64, more: u64) {
    let wanted = answers.load(Ordering::SeqCst) + more;
    let deadline = Instant::now() + exec::LIMIT;
    while answers.load(Ordering::SeqCst) < wanted {
        assert!(Instant::now() < deadline, "the pool gets no answers");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn sees_old_or_new(case: &Case) {
    create_accounts(case);
    case.backup();
    case.query(CHANGE);
    let (stop, answers) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
    let url = case.server.as_ref().expect("a server").url_tcp();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| client(url.clone(), Arc::clone(&stop), Arc::clone(&answers)))
        .collect();
    wait_for(&answers, 20);
    let began = Instant::now();
    case.restore("latest");
    let took = began.elapsed();
    wait_for(&answers, 20);
    stop.store(true, Ordering::SeqCst);
    for client in clients {
        let seen = client.join().expect("a client of the pool");
        assert_eq!(seen, [CHANGED, TOTAL], "old, then new, and nothing else");
    }
    assert!(took < Duration::from_secs(60), "the restore took {took:?}");
}

#[test]
fn a_pool_sees_the_old_or_the_new_database_and_nothing_between() {
    if let Some(case) = Case::postgres("old_or_new") {
        sees_old_or_new(&case);
    }
}

#[test]
fn a_pool_sees_no_half_of_a_restore_in_place() {
    if let Some((case, _)) = Case::owner("old_or_new_in_place") {
        sees_old_or_new(&case);
    }
}
