//! The same when the connection, the URL, a program or a migration is wrong.

use super::{PASSWORD, Watch, assert_silent, database, files_that_tell, leak_in, project, told_by};
use crate::cluster::{Cluster, SUPERUSER};
use crate::exec::Output;
use crate::pg_bin::PgBin;
use crate::project::Project;

const VERBS: [&[&str]; 5] = [
    &["backup"],
    &["status"],
    &["verify"],
    &["migrate-safe", "--yes"],
    &["restore", "latest", "--yes"],
];

/// Each verb must fail, for a person and for a script, and tell nothing.
#[track_caller]
fn all_fail(project: &Project) -> Vec<Output> {
    let mut outputs = Vec::new();
    for verb in VERBS {
        for flags in [&["--verbose"][..], &["--json"]] {
            let output = project.run([&["db"], verb, flags].concat());
            assert_ne!(output.code, 0, "{verb:?} was to fail\n{output}");
            assert_silent(&format!("{verb:?} {flags:?}"), &output);
            outputs.push(output);
        }
    }
    let folder = project.path();
    let told = files_that_tell(folder.parent().expect("a parent"));
    assert!(told.is_empty(), "files with the password: {told:?}");
    outputs
}

fn encoded() -> String {
    percent_encoding::utf8_percent_encode(PASSWORD, percent_encoding::NON_ALPHANUMERIC).to_string()
}

#[test]
fn a_connection_that_fails() {
    let Some(cluster) = Cluster::get_or_skip() else {
        return;
    };
    let watch = Watch::begin();
    let wrong_password = cluster.database("postgres").as_role(SUPERUSER, PASSWORD);
    let outputs = all_fail(&project().database_url(&wrong_password.url()));
    assert!(
        outputs[0].stderr.contains("password authentication failed"),
        "{}",
        outputs[0]
    );

    let url = database(cluster, "connection").url();
    let (server, _) = url.rsplit_once('/').expect("a URL with a name");
    let missing = format!("{server}/no_such_database");
    // A missing database is a finding for `status`, not a failure.
    let output = project()
        .database_url(&missing)
        .run(["db", "backup", "--verbose"]);
    assert!(output.stderr.contains("does not exist"), "{output}");
    assert_silent("a missing database", &output.expect_code(1));

    let password = encoded();
    for host in [
        "127.0.0.1:1",
        "%2Fno%2Fsuch%2Ffolder",
        "no-such-host.invalid",
    ] {
        all_fail(&project().database_url(&format!("postgres://ada:{password}@{host}/db")));
    }
    all_fail(&project().database_url(&format!(
        "postgres://127.0.0.1:1/db?user=a&password={password}"
    )));
    watch.assert_nothing_seen();
}

/// As people write them: the password neither quoted nor encoded, and something missing.
#[test]
fn a_url_that_cannot_be_read() {
    let encoded = encoded();
    let mut leaks = Vec::new();
    for url in [
        format!("postgres://ada:{PASSWORD}@127.0.0.1:1/db"),
        format!("postgres://ada:{encoded}@127.0.0.1:port/db"),
        format!("postgres://ada:{encoded}@127.0.0.1:99999/db"),
        format!("postgres://ada:{encoded}@[::1/db"),
        format!("postgres://ada:{encoded}%ff@127.0.0.1:1/db"),
        format!("postgres:/ada:{encoded}@127.0.0.1:1/db"),
        format!("postgres//ada:{encoded}@127.0.0.1:1/db"),
        format!("mysql://ada:{encoded}@127.0.0.1:1/db"),
        format!("ada:{encoded}@127.0.0.1:1/db"),
        format!("postgres://127.0.0.1:1/db?user=ada&password={PASSWORD}"),
        format!("postgres://127.0.0.1:1/db?user=ada&passwort={encoded}&sslmode=never"),
        format!("postgres://127.0.0.1:1/db?sslpassword={encoded}"),
        format!("postgres://127.0.0.1:1/db?{encoded}"),
        format!("postgres://127.0.0.1:1/db?password={encoded}%0A"),
        format!("host=127.0.0.1 user=ada password={PASSWORD}"),
        // As it is, and as what stands before the `:` of a URL without a scheme.
        PASSWORD.to_owned(),
        // An encrypted SQLite database has its key in the URL.
        format!("sqlite://database/app.db?key={encoded}"),
    ] {
        for flags in [&["--verbose"][..], &["--json"]] {
            let output = project()
                .database_url(&url)
                .run([&["db", "status"], flags].concat());
            assert_ne!(output.code, 0, "`{url}` was to fail\n{output}");
            leaks.extend(told_by(&output).map(|leak| format!("{url}: …{leak}…")));
        }
    }
    assert!(leaks.is_empty(), "{}", leaks.join("\n"));
}

/// A `/` that was not encoded ends the host, and what follows is then no database's name.
#[test]
fn a_slash_in_a_password_does_not_make_it_a_name() {
    for url in [
        "postgres://ada:4711/Zw1ebel@127.0.0.1:1/db",
        "postgres://ada:/Zw1ebel@127.0.0.1:1/db",
    ] {
        let output = project()
            .database_url(url)
            .run(["db", "status", "--verbose"]);
        assert_silent(url, &output.expect_code(2));
    }
}

#[test]
fn a_dotenv_that_cannot_be_read() {
    for line in [
        format!("DATABASE_URL=postgres://ada:{PASSWORD}@127.0.0.1:1/db"),
        format!("DATABASE_URL='postgres://ada:{PASSWORD}@127.0.0.1:1/db"),
        format!("postgres://ada:{}@127.0.0.1:1/db", encoded()),
        format!("DATABASE_URL=\"postgres://ada:\\{PASSWORD}@127.0.0.1:1/db\""),
    ] {
        let project = project();
        project.write(".env", format!("OTHER=1\n{line}\n"));
        for flags in [&["--verbose"][..], &["--json"]] {
            let output = project
                .run([&["db", "status"], flags].concat())
                .expect_code(2);
            assert_silent(&line, &output);
        }
    }
}

#[test]
fn a_program_that_fails() {
    let Some(cluster) = Cluster::get_or_skip() else {
        return;
    };
    let watch = Watch::begin();
    let database = database(cluster, "program");
    let tells =
        "echo \"pg_dump: error: connection to '$*' was lost\" >&2; env | grep '^PG' >&2; exit 1";
    let broken =
        PgBin::empty()
            .script(cluster, "pg_dump", tells)
            .script(cluster, "pg_restore", tells);
    let project = project().database_url(&database.url());
    project.run(["db", "backup"]).expect_code(0);

    let project = project.env("PG_BIN", broken.path());
    for verb in [
        &["backup"][..],
        &["migrate-safe", "--yes"],
        &["restore", "latest", "--force"],
    ] {
        for flags in [&["--verbose"][..], &["--json"]] {
            let output = project.run([&["db"], verb, flags].concat()).expect_code(1);
            assert_silent(&format!("{verb:?}"), &output);
            assert!(output.stderr.contains("was lost"), "{output}");
        }
    }
    watch.assert_nothing_seen();
    assert_eq!(leak_in(broken.log().as_bytes()), None);
    let told = files_that_tell(project.path().parent().expect("a parent"));
    assert!(told.is_empty(), "files with the password: {told:?}");
}

#[test]
fn a_migration_that_fails() {
    let Some(cluster) = Cluster::get_or_skip() else {
        return;
    };
    let database = database(cluster, "migration");
    let project = project()
        .migration("2_broken.sql", "ALTER TABLE nowhere ADD COLUMN x int;")
        .database_url(&database.url());
    let arguments = ["db", "migrate-safe", "--yes", "--verbose"];
    let output = project.run(arguments).expect_code(3);
    assert_silent("a failed rehearsal", &output);
    let project = project.unrehearsed();
    let output = project.run(arguments).expect_code(5);
    assert_silent("a failed migration", &output);
    let told = files_that_tell(project.path().parent().expect("a parent"));
    assert!(told.is_empty(), "files with the password: {told:?}");
}

/// The URL where no URL belongs: it comes from `$DATABASE_URL`, and the terminal from CI.
#[test]
fn a_wrong_command_line() {
    let url = format!("postgres://ada:{}@127.0.0.1:1/db", encoded());
    let mut leaks = Vec::new();
    for arguments in [
        &["db", "status", "--datbase-url", &url][..],
        &["db", "status", &format!("--datbase-url={url}")],
        &["db", "--database-url", &url],
        &["db", "--database-url", &url, "migrate"],
        &[
            "db",
            "migrate-safe",
            "--database-url",
            &url,
            "--target-version",
            "x",
        ],
        &[
            "db",
            "status",
            "--database-url",
            &url,
            "--database-url",
            &url,
        ],
        &["db", "verify", "--all", &url],
        &["db", "status", &url],
        &["db", &url],
        &["db", "backup", &url],
        &["db", "restore", &url],
        &["db", "verify", &url],
    ] {
        let output = project().run(arguments).expect_code(2);
        leaks.extend(told_by(&output).map(|leak| format!("{arguments:?}: …{leak}…")));
    }
    assert!(leaks.is_empty(), "{}", leaks.join("\n"));
}

/// Only what is known to be none is repeated of a URL's parameters.
#[test]
fn a_parameter_that_may_be_a_secret_is_not_in_a_hint() {
    for hidden in [
        "PASSWORD=S3cr3t",
        "pass=S3cr3t",
        "options=-c%20my.key=S3cr3t",
        "options[my.key]=S3cr3t",
    ] {
        let url = format!("postgres://localhost:1/db?user=u&{hidden}");
        let list = project()
            .run(["db", "list", "--database-url", &url])
            .expect_code(0);
        let all = format!("{}{}", list.stdout, list.stderr);
        assert!(!all.contains("S3cr3t"), "{hidden}\n{list}");
        assert!(all.contains("--database-url \"$DATABASE_URL\""), "{list}");
    }
    let url = "postgres://localhost:1/db?user=u&sslmode=disable&connect_timeout=1";
    let list = project()
        .run(["db", "list", "--database-url", url])
        .expect_code(0);
    assert!(
        format!("{}{}", list.stdout, list.stderr).contains(url),
        "{list}"
    );
}
