//! `DATABASE_URL` in every form that sqlx and libpq take, through both clients:
//! `db status` connects with sqlx, `db backup` with libpq as well.

use std::fs;

use crate::cluster::{Cluster, Database, PASSWORD, SUPERUSER};
use crate::project::Project;

/// Both clients reach this database by this URL.
fn reaches(url: &str, database: &Database) {
    let project = Project::new().database_url(url);
    let status = project.json(["db", "status"]);
    assert_eq!(status["database"]["name"], database.name(), "{url}");
    let backup = project.json(["db", "backup"]);
    assert_eq!(backup["backup"]["tables"][0]["name"], "known", "{url}");
}

fn database() -> Option<Database> {
    let database = Cluster::get_or_skip()?.create_database("urls");
    database.psql("CREATE TABLE known (id int); INSERT INTO known VALUES (1)");
    Some(database)
}

/// Everything but letters and digits, percent-encoded.
fn encoded(text: &str) -> String {
    let keep = percent_encoding::NON_ALPHANUMERIC;
    percent_encoding::utf8_percent_encode(text, keep).to_string()
}

#[test]
fn a_socket_folder_in_every_place() {
    let Some(database) = database() else { return };
    let (_, port) = tcp(&database);
    let (password, name) = (encoded(PASSWORD), encoded(database.name()));
    let folder = database.cluster().socket().display().to_string();
    let user = format!("{SUPERUSER}:{password}");
    let socket = encoded(&folder);
    for url in [
        format!("postgres://{user}@{socket}:{port}/{name}"),
        format!("postgresql://{user}@{socket}:{port}/{name}"),
        format!("postgresql://{user}@:{port}/{name}?host={folder}"),
        format!(
            "postgres:///{name}?host={socket}&port={port}&user={SUPERUSER}&password={password}"
        ),
        format!("postgresql://{user}@/?host={folder}&port={port}&dbname={name}"),
    ] {
        reaches(&url, &database);
    }
}

#[test]
fn tcp_with_parameters_of_either_client() {
    let Some(database) = database() else { return };
    let (host, port) = tcp(&database);
    let base = format!("postgres://{SUPERUSER}:{}@{host}:{port}", encoded(PASSWORD));
    let name = encoded(database.name());
    for parameters in [
        "sslmode=disable",
        "sslmode=prefer&application_name=deploy",
        "ssl-mode=disable&statement-cache-capacity=10",
        "connect_timeout=5&keepalives=1&channel_binding=prefer",
        "options=-c%20search_path%3Dpublic",
        "options=-c+search_path%3Dpublic",
        "options[search_path]=public&options[statement_timeout]=60000",
        "pgbouncer=true&schema=public&connection_limit=5",
        "target_session_attrs=any",
    ] {
        reaches(&format!("{base}/{name}?{parameters}"), &database);
    }
    reaches(&format!("{base}/?dbname={name}"), &database);
}

#[test]
fn the_first_host_that_answers_is_taken() {
    let Some(database) = database() else { return };
    let (host, port) = tcp(&database);
    let (user, name) = (
        format!("{SUPERUSER}:{}", encoded(PASSWORD)),
        encoded(database.name()),
    );
    reaches(
        &format!("postgres://{user}@{host}:1,{host}:{port}/{name}"),
        &database,
    );
    reaches(
        &format!("postgres://{user}@/{name}?host={host},{host}&port=1,{port}"),
        &database,
    );
}

#[test]
fn names_with_every_kind_of_character() {
    let Some(cluster) = Cluster::get_or_skip() else {
        return;
    };
    for name in [
        "a b",
        "o'neil",
        "quo\"te",
        "back\\slash",
        "naïve 🐘",
        "50%=?&#:@/",
        "-rf",
        "$(id)",
    ] {
        let database = cluster.create_database(name);
        database.psql("CREATE TABLE known (id int)");
        reaches(&database.url(), &database);
        reaches(&database.url_tcp(), &database);
        reaches(&database.url_parameters(), &database);
    }
}

#[test]
fn the_environment_fills_what_the_url_leaves_out() {
    let Some(database) = database() else { return };
    let (host, port) = tcp(&database);
    let project = Project::new()
        .database_url("postgres://")
        .env("PGHOST", &host)
        .env("PGPORT", &port)
        .env("PGUSER", SUPERUSER)
        .env("PGPASSWORD", PASSWORD)
        .env("PGDATABASE", database.name());
    assert_eq!(
        project.json(["db", "backup"])["backup"]["tables"][0]["name"],
        "known"
    );
}

#[test]
fn a_passfile_holds_the_password() {
    let Some(database) = database() else { return };
    let (host, port) = tcp(&database);
    let name = encoded(database.name());
    let project =
        Project::new().database_url(&format!("postgres://{SUPERUSER}@{host}:{port}/{name}"));
    let passfile = project.tmp().join("passfile");
    let escaped = PASSWORD.replace('\\', "\\\\").replace(':', "\\:");
    fs::write(
        &passfile,
        format!("{host}:{port}:*:{SUPERUSER}:{escaped}\n"),
    )
    .expect("write it");
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(&passfile, fs::Permissions::from_mode(0o600)).expect("make it private");
    let project = project.env("PGPASSFILE", &passfile);
    assert_eq!(
        project.json(["db", "backup"])["backup"]["tables"][0]["name"],
        "known"
    );
}

#[test]
fn sqlite_paths_in_every_form() {
    let project = Project::new();
    fs::create_dir(project.path().join("data")).expect("create a folder");
    let absolute = project.path().join("data/absolute.db");
    let absolute = absolute.display();
    for (url, file) in [
        ("sqlite://data/one.db?mode=rwc".to_owned(), "one.db"),
        ("sqlite:data/two.db?mode=rwc".to_owned(), "two.db"),
        (format!("sqlite://{absolute}?mode=rwc"), "absolute.db"),
        (format!("sqlite:{absolute}?mode=rw"), "absolute.db"),
        (
            "sqlite://data/a%20b%3F.db?mode=rwc&cache=private".to_owned(),
            "a b?.db",
        ),
    ] {
        let url = url.as_str();
        let backup = project.json(["db", "backup", "--database-url", url]);
        assert_eq!(backup["backup"]["database"]["name"], file, "{url}");
        assert!(project.path().join("data").join(file).exists(), "{url}");
    }
}

#[test]
fn what_cannot_be_read_is_wrong_usage() {
    for url in [
        "mysql://localhost/shop",
        "shop.db",
        "sqlite://",
        "sqlite::memory:",
        "sqlite://x.db?mode=memory",
        "sqlite://x.db?mode=wild",
        "postgres:shop",
        "postgres://host:99999/shop",
        "postgres://[::1/shop",
        "postgres://host/shop?sslmode=sometimes",
        "postgres://host/shop?service=live",
        "postgres://host/shop?sslmod=require",
        "postgres://one,two/shop?target_session_attrs=read-write",
    ] {
        let output = Project::new().run(["db", "status", "--database-url", url]);
        assert_eq!(output.code, 2, "{url}\n{output}");
        let says_what_to_do = output.stderr.contains("\nhint: ");
        assert!(
            output.stderr.starts_with("error: ") && says_what_to_do,
            "{url}\n{output}"
        );
    }
}

/// What a missing secret looks like in CI. The default would be another database.
#[test]
fn an_empty_variable_is_wrong_usage() {
    for empty in ["", "  "] {
        let project = Project::new().database_url(empty);
        let output = project.run(["db", "migrate-safe", "--yes"]);
        assert_eq!(output.code, 2, "{output}");
        assert!(
            output.stderr.contains("`DATABASE_URL` is set, and empty"),
            "{output}"
        );
        assert!(!project.sqlite_path().exists() && project.vault_files().is_empty());
    }
}

fn tcp(database: &Database) -> (String, String) {
    let url = database.url_tcp();
    let (_, address) = url.rsplit_once('@').expect("a URL with a user");
    let (address, _) = address.split_once('/').expect("a URL with a name");
    let (host, port) = address.rsplit_once(':').expect("a URL with a port");
    (host.to_owned(), port.to_owned())
}
