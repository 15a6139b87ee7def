//! What stands in the way and is foreseen: refused before anything changes, or said before the
//! question, and never stumbled over half-way.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};

use crate::cluster::{Cluster, Database};
use crate::setup::{Case, create_role, says, text};

const CREATE: &str = "CREATE TABLE t (id BIGINT NOT NULL PRIMARY KEY, name TEXT);
                      INSERT INTO t VALUES (1, 'one'), (2, 'two');";

fn postgres(case: &Case) -> Database {
    let server = case.server.as_ref().expect("a server");
    server.cluster().database("postgres")
}

/// The databases whose name begins as this one's, but itself.
fn beside(case: &Case) -> Vec<String> {
    let name = case.server.as_ref().expect("a server").name();
    let question = format!(
        "SELECT datname FROM pg_database WHERE datname LIKE '{name}\\_%' ORDER BY datname;"
    );
    let found = postgres(case).psql(&question);
    found.lines().map(str::to_owned).collect()
}

/// `kill -9` between the creation of a database and its mark leaves an empty one without a mark.
/// One with the same name and something in it is somebody's.
#[test]
fn a_database_that_was_never_marked_is_dropped_only_while_it_is_empty() {
    let Some(case) = Case::postgres("unmarked") else {
        return;
    };
    case.query(CREATE);
    case.backup();
    let server = case.server.clone().expect("a server");
    let named = |ending: &str| format!("{}_restore_{ending}", server.name());
    let (empty, full, odd) = (
        named("20260101000000"),
        named("20260101000001"),
        named("2026"),
    );
    let commented = named("20260101000002");
    for name in [&empty, &full, &odd, &commented] {
        postgres(&case).psql(&format!("CREATE DATABASE {name};"));
    }
    let somebodys = server.cluster().database(&full);
    somebodys.psql("CREATE TABLE kept AS SELECT 1 AS id;");
    let comment = format!("COMMENT ON DATABASE {commented} IS 'of somebody';");
    postgres(&case).psql(&comment);
    let restored = case.restore("latest");
    let kept = text(&restored, "/kept_database").to_owned();
    let mut expected = vec![full, odd, commented, kept];
    expected.sort();
    assert_eq!(beside(&case), expected);
    assert_eq!(somebodys.psql("SELECT id FROM kept;"), "1");
}

/// What the server lacks is named, with the command that makes it; nothing is left of the attempt.
#[track_caller]
fn lacks(case: &Case, missing: &str) {
    let before = case.contents();
    let refused = case.project.run(["db", "restore", "latest", "--yes"]);
    let parts = ["the server lacks a ", missing, "hint: create it first: "];
    says(&refused, &parts);
    assert_eq!(refused.code, 3, "{refused}");
    assert_eq!(case.contents(), before, "{refused}");
    assert_eq!(beside(case), [""; 0], "{refused}");
}

#[test]
fn a_role_that_the_server_lacks_is_named() {
    let Some(case) = Case::postgres("lacks_role") else {
        return;
    };
    let server = case.server.clone().expect("a server");
    let role = format!("{}_gone", server.name());
    let (name, me) = (server.name(), crate::cluster::SUPERUSER);
    for (give, take_back) in [
        (
            format!("ALTER TABLE t OWNER TO {role};"),
            format!("ALTER TABLE t OWNER TO {me};"),
        ),
        (
            format!("GRANT SELECT ON t TO {role};"),
            format!("REVOKE ALL ON t FROM {role};"),
        ),
        (
            format!("ALTER DATABASE {name} OWNER TO {role};"),
            format!("ALTER DATABASE {name} OWNER TO {me};"),
        ),
    ] {
        create_role(&server, &role);
        case.query("DROP TABLE IF EXISTS t;");
        case.query(CREATE);
        case.query(&give);
        case.backup();
        case.query(&format!("{take_back} DROP ROLE {role};"));
        lacks(&case, &format!("role \"{role}\" does not exist"));
        create_role(&server, &role);
        let restored = case.restore("latest");
        let kept = text(&restored, "/kept_database");
        postgres(&case).psql(&format!("DROP DATABASE {kept};"));
        case.query(&format!("{take_back} DROP ROLE {role};"));
    }
}

#[test]
fn a_tablespace_that_the_server_lacks_is_named() {
    let Some(cluster) = Cluster::get_or_skip() else {
        return;
    };
    let folder = cluster.socket().join("space");
    fs::create_dir(&folder).expect("create the tablespace's folder");
    let owner = fs::metadata(cluster.socket()).expect("look at the server's folder");
    chown(&folder, Some(owner.uid()), Some(owner.gid())).expect("give the folder away");
    let create = format!("CREATE TABLESPACE gone LOCATION '{}';", folder.display());
    let postgres = cluster.database("postgres");
    postgres.psql(&create);
    let case = Case::of(cluster.create_database_with("lacks_space", "TABLESPACE gone"));
    let name = case.server.as_ref().expect("a server").name();
    case.query(CREATE);
    case.backup();
    let elsewhere = format!("ALTER DATABASE {name} SET TABLESPACE pg_default;");
    postgres.psql(&format!("{elsewhere} DROP TABLESPACE gone;"));
    lacks(&case, "tablespace \"gone\" does not exist");
    postgres.psql(&create);
    let restored = case.restore("latest");
    let place = "SELECT spcname FROM pg_tablespace s JOIN pg_database d ON d.dattablespace = s.oid
                 WHERE d.datname = current_database();";
    assert_eq!(case.query(place), ["gone"]);
    assert!(restored["kept_database"].is_string(), "{restored:#}");
}

/// It belongs to the database that is kept aside, and holds back the log of the whole server.
#[test]
fn a_replication_slot_is_named_before_the_question() {
    let Some(cluster) = Cluster::own_or_skip("-c wal_level=logical") else {
        return;
    };
    let case = Case::of(cluster.create_database("slot"));
    case.query(CREATE);
    case.backup();
    let warning = "warning: the replication slot `to_the_warehouse` stays with the kept database";
    let calm = case.project.run(["db", "restore", "latest"]);
    assert!(!calm.expect_code(3).stderr.contains("replication slot"));
    case.query("SELECT pg_create_logical_replication_slot('to_the_warehouse', 'pgoutput');");
    let asked = case.project.run(["db", "restore", "latest"]).expect_code(3);
    says(&asked, &[warning]);
    let done = case.project.run(["db", "restore", "latest", "--yes"]);
    says(&done.expect_code(0), &[warning]);
}

/// `--backups .` by mistake must not lock everybody else out of a folder, or fill it with dumps.
#[test]
fn a_folder_that_is_no_vault_is_refused() {
    let case = Case::sqlite();
    case.query("CREATE TABLE t (id INTEGER);");
    let folder = case.project.path().join("photos");
    fs::create_dir(&folder).expect("create a folder");
    fs::write(folder.join("cat.jpg"), "meow").expect("write a file");
    let mode = |bits: u32| fs::set_permissions(&folder, Permissions::from_mode(bits));
    mode(0o755).expect("open the folder");
    let arguments = ["db", "--backups", "photos", "backup"];
    let refused = case.project.run(arguments);
    says(&refused, &["may be read by others", "`cat.jpg`", "hint: "]);
    assert_eq!(refused.code, 3, "{refused}");
    let entries = fs::read_dir(&folder).expect("list the folder").count();
    let bits = folder.metadata().expect("look at it").mode() & 0o777;
    assert_eq!((entries, bits), (1, 0o755), "{refused}");

    // Private already, or empty, or with backups in it: nobody is locked out.
    mode(0o700).expect("close the folder");
    case.project.run(arguments).expect_code(0);
    mode(0o755).expect("open the folder");
    case.project.run(arguments).expect_code(0);
    let bits = folder.metadata().expect("look at it").mode() & 0o777;
    assert_eq!(bits, 0o700, "dumps are nobody else's");
    let file = ["db", "--backups", "photos/cat.jpg", "backup"];
    let refused = case.project.run(file);
    says(&refused, &["is not a folder"]);
    assert_eq!(refused.code, 3, "{refused}");
}

/// The file has a hole, so that it is larger than the disk and takes no room.
#[test]
fn a_backup_that_would_not_fit_is_refused_before_it_begins() {
    let case = Case::sqlite();
    case.query("CREATE TABLE t (id INTEGER); INSERT INTO t VALUES (1);");
    case.project
        .write("migrations/1_more.sql", "CREATE TABLE more (id INTEGER);");
    let path = case.project.sqlite_path();
    let length = path.metadata().expect("look at the database").len();
    let disk = rustix::fs::statvfs(case.project.path()).expect("ask for free space");
    let file = File::options().write(true).open(&path);
    let file = file.expect("open the database");
    let hole = disk.f_bavail * disk.f_frsize / 3 * 4;
    file.set_len(length + hole).expect("make a hole");
    let verbs: [&[&str]; 2] = [&["backup"], &["migrate-safe", "--yes"]];
    for verb in verbs {
        let refused = case.project.run([&["db"][..], verb].concat());
        says(
            &refused,
            &[
                "no backup was taken",
                "MiB free",
                "may need",
                "hint: free some",
            ],
        );
        assert_eq!(refused.code, 3, "{refused}");
        assert_eq!(case.project.vault_files(), [""; 0], "{refused}");
    }
    file.set_len(length).expect("close the hole");
    case.migrate();
}
