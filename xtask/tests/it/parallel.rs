//! Databases that are large enough to be restored by several sessions at once.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::exec;
use crate::pg_bin::PgBin;
use crate::setup::{Case, text};

/// Two tables with indexes and a reference, some 45 MB as a dump.
const LARGE: &str = "
    CREATE TABLE maker (id INT PRIMARY KEY, name TEXT NOT NULL);
    INSERT INTO maker SELECT n, 'maker ' || n FROM generate_series(1, 1000) n;
    CREATE TABLE thing (id INT PRIMARY KEY, maker INT NOT NULL REFERENCES maker, name TEXT NOT NULL);
    INSERT INTO thing SELECT n, n % 1000 + 1, repeat(md5(n::text), 3) FROM generate_series(1, 400000) n;
    CREATE INDEX thing_name ON thing (name);
";
const DIGEST: &str = "SELECT count(*), sum(hashtext(t::text)) FROM thing t;
    SELECT count(*), sum(hashtext(m::text)) FROM maker m;
    SELECT count(*) FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid
    WHERE c.relname IN ('thing', 'maker') AND i.indisvalid;
    SELECT conname, convalidated FROM pg_constraint WHERE contype = 'f';";

/// A large case, its backup, and its answers to [`DIGEST`] then; changed since.
fn large(name: &str, bin: &PgBin) -> Option<(Case, String, Vec<String>)> {
    let mut case = Case::postgres(name)?;
    case.project = case.project.env("PG_BIN", bin.path());
    case.query(LARGE);
    let before = case.query(DIGEST);
    let id = case.backup();
    case.query("DELETE FROM thing WHERE id % 7 = 0; DROP INDEX thing_name;");
    Some((case, id, before))
}

#[test]
fn a_large_dump_is_restored_by_several_sessions() {
    let Some(cluster) = crate::cluster::Cluster::get_or_skip() else {
        return;
    };
    let bin = PgBin::logging(cluster);
    let Some((case, id, before)) = large("parallel", &bin) else {
        return;
    };
    let changed = case.query(DIGEST);
    let restored = case.restore(&id);
    assert!(bin.log().contains("--jobs="), "one stream:\n{}", bin.log());
    assert_eq!(case.query(DIGEST), before);
    case.restore(text(&restored, "/safety_backup"));
    assert_eq!(case.query(DIGEST), changed);
    let left: Vec<_> = case.project.vault_files();
    assert!(left.iter().all(|name| !name.starts_with('.')), "{left:?}");
}

/// `pg_restore` reads a file then, and does not end with the tool. What it builds is nobody's.
#[test]
fn a_pg_restore_that_outlives_its_killed_tool_is_in_nobodys_way() {
    let Some(cluster) = crate::cluster::Cluster::get_or_skip() else {
        return;
    };
    // Inside the new database, and with a session there that would go on for a minute.
    let slow = format!(
        "case \"$*\" in *--jobs=*)
           for word; do case \"$word\" in --dbname=*) dbname=${{word#--dbname=}} ;; esac; done
           touch \"$(dirname \"$0\")/inside\"
           '{}' --no-psqlrc --dbname=\"$dbname\" --command='SELECT pg_sleep(60)' ;; esac",
        cluster.bin().join("psql").display()
    );
    let bin = PgBin::logging(cluster).real(cluster, "pg_restore", &slow);
    let Some((case, id, before)) = large("outlived", &bin) else {
        return;
    };
    let changed = case.query(DIGEST);
    let mut command = case.project.command(["db", "restore", &id, "--yes"]);
    let running = exec::start(&mut command, None);
    bin.wait_for("inside");
    let database = case.server.as_ref().expect("a server");
    let beside = format!(
        "SELECT datname, (SELECT count(*) FROM pg_stat_activity a WHERE a.datid = d.oid
           AND query LIKE '%pg_sleep%') FROM pg_database d WHERE datname LIKE '{}_restore_%';",
        database.name()
    );
    let deadline = Instant::now() + Duration::from_secs(30);
    while !case.query(&beside).iter().any(|line| line.ends_with("|1")) {
        assert!(
            Instant::now() < deadline,
            "it never slept: {:?}",
            case.query(&beside)
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    running.signal(Signal::KILL);
    running.finish();
    assert_eq!(case.query(DIGEST), changed, "the live database");
    assert_eq!(case.query(&beside).len(), 1, "what is left is there");

    let case = Case {
        project: case.project.env("PG_BIN", cluster.bin()),
        ..case
    };
    case.restore(&id);
    assert_eq!(case.query(DIGEST), before);
    assert_eq!(
        case.query(&beside),
        [""; 0],
        "and gone after the next restore"
    );
}

/// Several sessions fill the largest tables first: the constraint then sees rows that come later in
/// the dump, and that its own do not fit any more. In the dump's order it holds as it did.
#[test]
fn a_check_that_depends_on_the_order_of_the_dump_stays_valid() {
    let Some(case) = Case::postgres("order_of_the_dump") else {
        return;
    };
    case.query(
        "CREATE TABLE z_limit (most INT, filling TEXT);
         CREATE FUNCTION fits(amount INT) RETURNS BOOLEAN LANGUAGE sql AS
           'SELECT coalesce(amount <= (SELECT min(most) FROM public.z_limit), true)';
         CREATE TABLE booking (amount INT CONSTRAINT fitting CHECK (fits(amount)));
         INSERT INTO booking VALUES (7);
         INSERT INTO z_limit SELECT 5, repeat('x', 500) FROM generate_series(1, 5000);
         CREATE TABLE zz_large AS SELECT n, repeat(md5(n::text), 20) AS text FROM generate_series(1, 60000) n;",
    );
    let valid = "SELECT convalidated FROM pg_constraint WHERE conname = 'fitting';";
    assert_eq!(case.query(valid), ["t"]);
    let id = case.backup();
    let restored = case
        .project
        .json(["db", "restore", &id, "--yes", "--jobs", "2"]);
    assert_eq!(restored["warnings"], serde_json::json!([]));
    assert_eq!(case.query(valid), ["t"]);
    assert_eq!(case.query("SELECT * FROM booking;"), ["7"]);
}
