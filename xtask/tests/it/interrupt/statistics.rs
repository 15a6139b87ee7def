//! The same while a restored database is compared and its statistics are gathered.

use std::time::{Duration, Instant};

use super::{SIGNALS, UNTOUCHED, filled, interrupt, scratch_databases};
use crate::cluster::Cluster;
use crate::exec;

/// An index that takes for ever to look into for the sessions of the tool, and for nobody else.
const SLOW: &str = "
    CREATE FUNCTION slow(n INT) RETURNS INT IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN
        IF current_setting('application_name') LIKE 'xtask-db %' THEN PERFORM pg_sleep(1000); END IF;
        RETURN n; END $$;
    CREATE INDEX ON first (slow(id));";

#[test]
fn while_statistics_are_gathered() {
    let Some(cluster) = Cluster::get_or_skip() else {
        return;
    };
    let (database, project) = filled(cluster, "statistics_interrupted");
    database.psql(SLOW);
    project.run(["db", "backup", "slow"]).expect_code(0);
    database.psql("INSERT INTO first VALUES (3)");
    for signal in SIGNALS {
        let mut command = project.command(["db", "restore", "slow", "--yes"]);
        let running = exec::start(&mut command, None);
        let gathering = format!(
            "SELECT count(*) FROM pg_stat_activity WHERE query = 'ANALYZE'
               AND wait_event = 'PgSleep' AND datname LIKE '{}_restore_%';",
            database.name()
        );
        let deadline = Instant::now() + exec::LIMIT;
        while database.psql(&gathering) != "1" {
            assert!(Instant::now() < deadline, "no statistics are gathered");
            std::thread::sleep(Duration::from_millis(5));
        }
        interrupt(running, signal, UNTOUCHED);
        assert_eq!(scratch_databases(&database), "");
        assert_eq!(database.psql("SELECT count(*) FROM first;"), "3");
    }
}
