//! The same while several sessions dump or restore.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::{
    SIGNALS, UNTOUCHED, assert_vault, blocking, filled, interrupt, is_running, scratch_databases,
    start,
};
use crate::cluster::Cluster;
use crate::exec;
use crate::project::Project;

/// Begins the folder, and never ends it.
const PART: &str = "for a in \"$@\"; do case \"$a\" in --file=*) f=${a#--file=} ;; esac; done
     mkdir \"$f\"; echo half >\"$f/toc.dat\"";

#[test]
fn while_pg_dump_writes_a_folder() {
    let Some(cluster) = Cluster::get_or_skip() else {
        return;
    };
    let (database, project) = filled(cluster, "folder_interrupted");
    let vault = project.vault_files();
    let verbs: [&[&str]; 3] = [
        &["db", "backup", "--jobs", "2"],
        &["db", "migrate-safe", "--yes", "--jobs", "2"],
        &["db", "restore", "good", "--yes", "--jobs", "2"],
    ];
    for (verb, signal) in verbs.iter().zip(SIGNALS.into_iter().cycle()) {
        let bin = blocking(cluster, "pg_dump", "--format=directory", PART);
        let running = start(&project, verb, &bin);
        assert!(is_running(&bin));
        interrupt(running, signal, UNTOUCHED);
        assert!(!is_running(&bin), "{verb:?}");
        assert_vault(&project, &vault);
        assert_eq!(database.psql("SELECT count(*) FROM first;"), "2");
    }
    // While it is packed and checked.
    let bin = blocking(cluster, "pg_restore", "--file=/dev/null", "");
    let running = start(&project, verbs[0], &bin);
    assert!(is_running(&bin));
    interrupt(running, Signal::TERM, UNTOUCHED);
    assert!(!is_running(&bin));
    assert_vault(&project, &vault);
}

/// The files of the folder that is being dumped into.
fn staged(project: &Project) -> Vec<PathBuf> {
    let files = |folder: PathBuf| fs::read_dir(folder).into_iter().flatten().flatten();
    files(project.vault())
        .flat_map(|staging| files(staging.path().join("work/dump")))
        .map(|file| file.path())
        .collect()
}

/// The real program, with its real workers.
#[test]
fn while_the_workers_of_pg_dump_write() {
    let Some(cluster) = Cluster::get_or_skip() else {
        return;
    };
    let (database, project) = filled(cluster, "workers_interrupted");
    database.psql(
        "CREATE TABLE one AS SELECT n, repeat(md5(n::text), 8) FROM generate_series(1, 150000) n;
         CREATE TABLE two AS SELECT * FROM one;",
    );
    let vault = project.vault_files();
    let mut command = project.command(["db", "backup", "--jobs", "2"]);
    let running = exec::start(&mut command, None);
    let deadline = Instant::now() + exec::LIMIT;
    let is_large = |path: &PathBuf| path.metadata().is_ok_and(|file| file.len() > 1 << 16);
    while !staged(&project).iter().any(is_large) {
        assert!(Instant::now() < deadline, "no worker writes");
        std::thread::sleep(Duration::from_millis(1));
    }
    interrupt(running, Signal::INT, UNTOUCHED);
    assert_vault(&project, &vault);
    let folder = project.vault().display().to_string();
    for process in fs::read_dir("/proc").expect("list the processes").flatten() {
        let command = fs::read(process.path().join("cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command).into_owned();
        assert!(!command.contains(&folder), "still there: {command}");
    }
    let taken = project.json(["db", "backup", "--jobs", "2"]);
    assert_eq!(taken["backup"]["dump"]["format"], "directory");
}

#[test]
fn while_pg_restore_reads_a_folder() {
    let Some(cluster) = Cluster::get_or_skip() else {
        return;
    };
    let (database, project) = filled(cluster, "folder_restore_interrupted");
    let many = ["db", "backup", "many", "--jobs", "2"];
    project.run(many).expect_code(0);
    database.psql("INSERT INTO first VALUES (3)");
    for signal in SIGNALS {
        let bin = blocking(cluster, "pg_restore", "--dbname=", "");
        let verb = ["db", "restore", "many", "--yes"];
        let running = start(&project, &verb, &bin);
        assert!(is_running(&bin));
        interrupt(running, signal, UNTOUCHED);
        assert!(!is_running(&bin));
        assert_eq!(scratch_databases(&database), "");
        assert_eq!(database.psql("SELECT count(*) FROM first;"), "3");
        let files = project.vault_files();
        assert!(!files.iter().any(|name| name.starts_with('.')), "{files:?}");
    }
    project
        .run(["db", "restore", "many", "--yes"])
        .expect_code(0);
    assert_eq!(database.psql("SELECT count(*) FROM first;"), "2");
}
