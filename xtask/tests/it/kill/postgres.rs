//! Everything that works on a restore of PostgreSQL is killed: the tool, its programs, its sessions,
//! the server. On a server of its own: a session that is killed takes all others with it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::{Arena, Dice, VERBS, Verb, rounds};
use crate::cluster::{self, Cluster, Database, PASSWORD};
use crate::compat;
use crate::exec::Running;
use crate::setup::{Case, create_role};

const FILL: &str = "INSERT INTO t SELECT x, 'row ' || x || ' ' || md5(x::text)
                    FROM generate_series(1, 6000) x;";

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Victim {
    Tool,
    Group,
    Program,
    /// As an administrator ends a session.
    Session,
    /// As the kernel does when memory runs out: the server ends all others, too.
    Backend,
    Server,
    /// The immediate shutdown.
    Shutdown,
}

const VICTIMS: [Victim; 7] = [
    Victim::Tool,
    Victim::Group,
    Victim::Program,
    Victim::Session,
    Victim::Backend,
    Victim::Server,
    Victim::Shutdown,
];

/// The relations, the rows of every table, and the history without its clock.
fn state(case: &Case) -> Vec<String> {
    case.query(
        "SELECT c.relname, c.relkind, c.relowner::regrole FROM pg_class c
           JOIN pg_namespace n ON n.oid = c.relnamespace WHERE nspname = 'public' ORDER BY 1;
         SELECT version, description, success, checksum FROM _sqlx_migrations ORDER BY 1;
         SELECT format('SELECT %L, count(*), md5(string_agg(t::text, E''\\n'' ORDER BY t::text)) FROM %I t',
                       c.relname, c.relname)
         FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE nspname = 'public' AND relkind = 'r' AND relname <> '_sqlx_migrations' ORDER BY 1 \\gexec",
    )
}

/// The tool's sessions and those of its programs, seen through one that is open all the time: what
/// begins and ends within milliseconds would be over before another one is there.
struct Watch {
    runtime: tokio::runtime::Runtime,
    session: sqlx::PgConnection,
}

const ANY: &str = "true";
/// A rebuild turns the names; a restore in place ends its transaction.
const AT_THE_END: &str = "(query LIKE 'COMMENT ON DATABASE%' AND query NOT LIKE '%being restored%')
    OR query LIKE 'ALTER DATABASE%RENAME%' OR (query LIKE 'COMMIT%' AND application_name = 'psql')";

impl Watch {
    fn new(cluster: &'static Cluster) -> Self {
        let runtime = compat::runtime();
        let session = runtime.block_on(compat::connect(&cluster.database("postgres")));
        Self { runtime, session }
    }

    /// Nothing once the server is gone.
    fn sessions(&mut self, which: &str) -> Vec<i32> {
        let question = format!(
            "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend'
               AND pid <> pg_backend_pid() AND ({which}) ORDER BY pid"
        );
        let asked = sqlx::query_scalar(sqlx::AssertSqlSafe(question)).fetch_all(&mut self.session);
        self.runtime.block_on(asked).unwrap_or_default()
    }

    /// Waits for sessions that may never come, for as long as the tool runs.
    fn wait_for(&mut self, running: &mut Running, which: &str) -> Vec<i32> {
        while_running(running, || self.sessions(which))
    }
}

/// What works on a dump or a restore, and not what only says its version.
fn programs(tool: Pid) -> Vec<Pid> {
    let works = |pid: &Pid| {
        let line = std::fs::read(format!("/proc/{}/cmdline", pid.as_raw_nonzero()));
        let line = String::from_utf8_lossy(&line.unwrap_or_default()).into_owned();
        line.contains("--dbname=") || line.contains("--file=")
    };
    let mut all = cluster::children(tool);
    all.retain(works);
    all
}

/// Looks until it sees something, for as long as the tool runs.
fn while_running<T>(running: &mut Running, mut look: impl FnMut() -> Vec<T>) -> Vec<T> {
    loop {
        let ended = running.has_ended();
        let found = look();
        if !found.is_empty() || ended {
            return found;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn kill(running: &mut Running, dice: &mut Dice, victim: Victim, watch: &mut Watch) {
    let tool = running.pid();
    let pids = match victim {
        Victim::Program => while_running(running, || programs(tool)),
        Victim::Session | Victim::Backend => {
            let found = watch.wait_for(running, ANY);
            found.into_iter().filter_map(Pid::from_raw).collect()
        }
        _ => vec![tool],
    };
    if pids.is_empty() {
        return;
    }
    let signal = match victim {
        Victim::Session => Signal::TERM,
        _ => Signal::KILL,
    };
    match victim {
        Victim::Group => running.signal_group(signal),
        // It may have ended meanwhile.
        _ => drop(kill_process(dice.one_of(&pids), signal).is_ok()),
    }
}

/// At a random moment; of a restore, every third time, when it turns old into new.
fn strike(running: &mut Running, dice: &mut Dice, victim: Victim, on: (&'static Cluster, Verb)) {
    let (cluster, verb) = on;
    let mut watch = Watch::new(cluster);
    if verb == Verb::Restore && dice.below(3) == 0 {
        watch.wait_for(running, AT_THE_END);
        std::thread::sleep(Duration::from_micros(dice.below(8000)));
    }
    match victim {
        Victim::Server | Victim::Shutdown => {
            cluster.kill(match victim {
                Victim::Server => Signal::KILL,
                _ => Signal::QUIT,
            });
            cluster.start_again();
        }
        _ => kill(running, dice, victim, &mut watch),
    }
}

/// After a crash the server is not there for a moment.
fn wait_for_quiet(postgres: &Database) {
    let deadline = Instant::now() + Duration::from_secs(30);
    let quiet = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'
                   AND pid <> pg_backend_pid();";
    loop {
        let mut psql = postgres.psql_command();
        let output = crate::exec::run(&mut psql, Some(quiet));
        if output.code == 0 && output.stdout.trim() == "0" {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "sessions outlive the tool\n{output}"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Databases beside the live one, with their comments.
fn others(database: &Database) -> Vec<String> {
    let postgres = database.cluster().database("postgres");
    let found = postgres.psql(&format!(
        "SELECT datname, shobj_description(oid, 'pg_database') FROM pg_database
         WHERE NOT datistemplate AND datname NOT IN ('postgres', '{}') ORDER BY 1;",
        database.name()
    ));
    found.lines().map(str::to_owned).collect()
}

fn survives(cluster: &'static Cluster, case: Case, default_rounds: u64) {
    let mut dice = Dice::new();
    let database = case.server.clone().expect("a server");
    let postgres = cluster.database("postgres");
    let mut arena = Arena::new(case, FILL, state);
    let mut ends = BTreeMap::<_, u64>::new();
    let mut struck = 0;
    for round in 0..rounds(default_rounds) {
        // Three verbs and seven victims: 21 rounds have every pair.
        let turn = usize::try_from(round).expect("an index");
        let (verb, victim) = (VERBS[turn % VERBS.len()], VICTIMS[turn % VICTIMS.len()]);
        let began = Instant::now();
        // Programs come early and sessions come and go; both are waited for.
        let early = [Victim::Program, Victim::Session, Victim::Backend].contains(&victim);
        let (output, allowed) = arena.run(&mut dice, verb, early, state, |running, dice| {
            strike(running, dice, victim, (cluster, verb));
        });
        let took = began.elapsed();
        let round = format!("round {round}, {verb:?}, {victim:?}, {took:?}");
        assert!(took < Duration::from_secs(60), "{round}\n{output}");
        wait_for_quiet(&postgres);
        let is_known = |name: &String| {
            let is_ours = name.contains("_restore_20") || name.contains("_scratch_20");
            let is_marked = is_ours && name.contains("|xtask-db: being restored");
            let is_new = is_ours && name.ends_with('|');
            name.contains("_before_20") || is_marked || is_new
        };
        let found = others(&database);
        assert!(found.iter().all(is_known), "{round}: {found:?}\n{output}");

        let end = arena.is_sound(&round, &output, &allowed, state);
        *ends.entry((victim, verb, output.code, end)).or_default() += 1;
        struck += u64::from(output.code != 0);
        for name in others(&database) {
            let name = name.split('|').next().unwrap_or_default();
            assert!(
                name.contains("_before_20"),
                "{round}: `{name}` is left\n{output}"
            );
            postgres.psql(&format!("DROP DATABASE \"{name}\";"));
        }
    }
    for (end, times) in ends {
        println!("{end:?}: {times}");
    }
    assert!(
        struck * 3 >= rounds(default_rounds),
        "only {struck} runs were struck before their end"
    );
}

/// A new database is built beside and swapped in.
#[test]
fn everything_of_a_rebuild_on_postgresql() {
    if let Some(cluster) = Cluster::own_or_skip("") {
        survives(cluster, Case::of(cluster.create_database("killed")), 21);
    }
}

/// For a role that may create no databases, one transaction does it.
#[test]
fn everything_of_a_restore_in_place() {
    let Some(cluster) = Cluster::own_or_skip("") else {
        return;
    };
    let admin = cluster.create_database("in_place");
    create_role(&admin, "owner");
    admin.psql(&format!(
        "ALTER DATABASE {} OWNER TO owner; ALTER SCHEMA public OWNER TO owner;",
        admin.name()
    ));
    let mut case = Case::of(admin.as_role("owner", PASSWORD));
    case.project = case.project.unrehearsed();
    survives(cluster, case, 7);
}
