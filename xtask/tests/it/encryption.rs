//! Encrypted backups: who can open them, who cannot, and what is said of it.

mod as_before;
mod canary;
mod damage;
mod drilled;
mod hints;
mod keys;
mod lean;
mod passphrase;
mod public;
mod rekey;

use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use age::secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::exec::{self, Output, is_missing};
use crate::project::Project;
use crate::setup::{Case, says, text};

/// One person's keys.
pub struct Pair {
    pub public: String,
    secret: age::x25519::Identity,
}

impl Pair {
    pub fn new() -> Self {
        let secret = age::x25519::Identity::generate();
        Self {
            public: secret.to_public().to_string(),
            secret,
        }
    }

    /// The secret key as `age-keygen` writes it, in the project; the file's path.
    pub fn file(&self, project: &Project, name: &str) -> PathBuf {
        let secret = self.secret.to_string();
        let text = format!(
            "# public key: {}\n{}\n",
            self.public,
            secret.expose_secret()
        );
        project.write(name, text);
        let path = project.path().join(name);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("make a key private");
        path
    }

    /// What is in a dump, by the crate alone and none of the tool's code.
    #[track_caller]
    pub fn decrypt(&self, dump: &Path) -> Vec<u8> {
        let frame = self.frame(dump);
        let mut raw = Vec::new();
        let mut decoder = zstd::Decoder::new(frame.as_slice()).expect("a decoder");
        decoder.read_to_end(&mut raw).expect("decompress the dump");
        raw
    }

    /// What `age --decrypt` would give.
    #[track_caller]
    pub fn frame(&self, dump: &Path) -> Vec<u8> {
        let bytes = fs::read(dump).expect("read the dump");
        age::decrypt(&self.secret, &bytes).expect("decrypt the dump")
    }

    /// Whether this is one of those for whom a dump is.
    pub fn opens(&self, dump: &Path) -> bool {
        age::decrypt(&self.secret, &fs::read(dump).expect("read the dump")).is_ok()
    }
}

/// From now on backups of this project are for the pair, and its key is at hand.
pub fn adopt(project: Project, pair: &Pair) -> Project {
    let key = pair.file(&project, "key.txt");
    project
        .env("XTASK_DB_RECIPIENTS", &pair.public)
        .env("XTASK_DB_IDENTITY", key)
}

/// A database with some rows, encrypted backups and the key for them.
fn cases(name: &str) -> Vec<(Case, Pair)> {
    let encrypted = |mut case: Case| {
        let pair = Pair::new();
        case.project = adopt(case.project, &pair);
        case.query("CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT);");
        case.query("INSERT INTO t VALUES (1, 'Ada'), (2, 'Grace');");
        (case, pair)
    };
    Case::each(name).into_iter().map(encrypted).collect()
}

fn dump_of(taken: &Value) -> PathBuf {
    text(taken, "/path").into()
}

#[test]
fn a_backup_is_for_its_recipients_and_says_so() {
    for (case, pair) in cases("for_recipients") {
        let taken = case.project.json(["db", "backup"]);
        let dump = dump_of(&taken);
        let name = dump.display().to_string();
        assert!(name.ends_with(".zst.age"), "{name}");
        let encryption = &taken["backup"]["dump"]["encryption"];
        assert_eq!(
            *encryption,
            json!({"method": "age", "recipients": [pair.public], "decrypted": true})
        );
        let stored = fs::read(&dump).expect("read the dump");
        assert!(stored.starts_with(b"age-encryption.org/v1\n"));
        let raw = pair.decrypt(&dump);
        assert_eq!(taken["backup"]["dump"]["raw_size_bytes"], raw.len());
        assert!(!Pair::new().opens(&dump));

        let short = &pair.public[..12];
        let listed = case.project.run(["db", "list"]).expect_code(0);
        assert!(listed.stdout.contains("encrypted for"), "{listed}");
        assert!(listed.stdout.contains(short), "{listed}");
        let status = case.project.run(["db", "status"]).expect_code(0);
        let line = format!("encrypted   for {short}…; decrypted when it was read back");
        assert!(status.stdout.contains(&line), "{status}");
        let status = case.project.json(["db", "status"]);
        assert_eq!(status["latest"]["encryption"], *encryption);
        let list = case.project.json(["db", "list"]);
        assert_eq!(
            list["backups"][0]["manifest"]["dump"]["encryption"],
            *encryption
        );
    }
}

/// A plain backup beside it is told apart, and shown with a dash.
#[test]
fn plain_and_encrypted_backups_live_in_one_vault() {
    let case = Case::sqlite();
    case.query("CREATE TABLE t (id INTEGER); INSERT INTO t VALUES (1);");
    let plain = case.backup();
    let listed = case.project.run(["db", "list"]).expect_code(0);
    assert!(!listed.stdout.contains("encrypted"), "{listed}");
    let pair = Pair::new();
    let recipient = ["db", "backup", "sealed", "--recipient", &pair.public];
    let sealed = case.project.json(recipient);
    let listed = case.project.run(["db", "list"]).expect_code(0).stdout;
    let lines: Vec<&str> = listed.lines().collect();
    assert!(lines[1].contains(text(&sealed, "/backup/id")), "{listed}");
    assert!(
        lines[1].ends_with(&format!("{}…", &pair.public[..12])),
        "{listed}"
    );
    assert!(
        lines[2].contains(&plain) && lines[2].ends_with('-'),
        "{listed}"
    );
    let verified = case.project.json(["db", "verify", "--all"]);
    assert_eq!(verified["verified"].as_array().map(Vec::len), Some(2));
}

#[test]
fn every_verb_goes_on_with_encrypted_backups() {
    for (case, _) in cases("every_verb") {
        let project = &case.project;
        project.write("migrations/1_more.sql", "CREATE TABLE more (id INTEGER);");
        let migrated = case.migrate();
        assert_eq!(migrated["outcome"], "migrated");
        assert_eq!(migrated["backup"]["dump"]["encryption"]["decrypted"], true);
        assert!(migrated["rehearsal"]["restore_ms"].is_u64(), "{migrated:#}");
        let first = text(&migrated, "/backup/id").to_owned();
        case.query("UPDATE t SET name = 'Emmy' WHERE id = 2;");
        case.query("INSERT INTO t VALUES (3, 'Alan');");
        let diff = project.json(["db", "diff", &first, "--rows", "t"]);
        let counts = [
            &diff["rows"]["removed"],
            &diff["rows"]["added"],
            &diff["rows"]["changed"],
        ];
        assert_eq!(counts, [&json!(0), &json!(1), &json!(1)], "{diff:#}");
        let drilled = project.json(["db", "drill", "--all"]);
        assert_eq!(drilled["drilled"][0]["restored"], true, "{drilled:#}");

        let restored = case.restore(&first);
        assert_eq!(
            case.query("SELECT name FROM t ORDER BY id;"),
            ["Ada", "Grace"]
        );
        let safety = text(&restored, "/safety_backup").to_owned();
        let list = project.json(["db", "list"]);
        let backups = list["backups"].as_array().expect("a list");
        let safety = backups
            .iter()
            .find(|b| b["manifest"]["id"] == json!(safety));
        let safety = safety.expect("the safety backup");
        assert_eq!(safety["manifest"]["dump"]["encryption"]["decrypted"], true);
        project.json(["db", "restore", "--undo", "--yes"]);
        assert_eq!(
            case.query("SELECT name FROM t ORDER BY id;"),
            ["Ada", "Emmy", "Alan"]
        );
        let log = project.run(["db", "log"]).expect_code(0);
        let proven = "all of it was decrypted and decompressed when it was read back";
        assert!(log.stdout.contains(proven), "{log}");
    }
}

#[test]
fn another_database_comes_of_an_encrypted_backup() {
    for (case, _) in cases("into_another") {
        let id = case.backup();
        let (url, _keep) = match &case.server {
            None => (
                format!("sqlite://{}", case.project.path().join("copy.db").display()),
                None,
            ),
            Some(database) => {
                let empty = database.cluster().create_database("into_copy");
                (empty.url(), Some(empty))
            }
        };
        let done = case
            .project
            .json(["db", "restore", &id, "--into", &url, "--yes"]);
        assert_eq!(done["restored"], json!(id));
    }
}

/// What a team has agreed on is in the repository: for whom, and never a secret.
#[test]
fn the_policy_file_says_for_whom() {
    let case = Case::sqlite();
    case.query("CREATE TABLE t (id INTEGER); INSERT INTO t VALUES (1);");
    let (ada, grace) = (Pair::new(), Pair::new());
    ada.file(&case.project, "database/ada.txt");
    case.project
        .write("team.txt", format!("# the team\n{}\n", grace.public));
    let policy = format!(
        "[encryption]\nrecipients = [\"{}\"]\nrecipients_file = \"team.txt\"\n\
         identity = \"database/ada.txt\"\n",
        ada.public
    );
    case.project.write("database/db.toml", policy);
    let taken = case.project.json(["db", "backup"]);
    let encryption = &taken["backup"]["dump"]["encryption"];
    assert_eq!(encryption["recipients"], json!([ada.public, grace.public]));
    assert_eq!(encryption["decrypted"], true);
    assert!(grace.opens(&dump_of(&taken)));
    case.project.run(["db", "drill"]).expect_code(0);
    let config = case.project.run(["db", "config"]).expect_code(0);
    assert!(config.stdout.contains("encryption.recipients"), "{config}");

    let secret = fs::read_to_string(case.project.path().join("database/ada.txt"));
    let secret = secret.expect("read a key");
    let secret = secret.lines().last().expect("a key");
    let policy = format!("[encryption]\nrecipients = [\"{secret}\"]\n");
    case.project.write("database/db.toml", policy);
    let refused = case.project.run(["db", "backup"]).expect_code(2);
    assert!(!refused.stderr.contains(secret), "{refused}");
    says(&refused, &["line 2", "it holds a secret"]);
}

/// What several sessions dump lies in a folder for a while, which is said.
#[test]
fn several_sessions_dump_and_restore() {
    let Some(cluster) = Cluster::get_or_skip() else {
        return;
    };
    let pair = Pair::new();
    let mut case = Case::of(cluster.create_database("sealed_jobs"));
    case.project = adopt(case.project, &pair);
    case.query("CREATE TABLE t (id INT); INSERT INTO t SELECT generate_series(1, 1000);");
    let mut several = case
        .project
        .command(["db", "backup", "--jobs", "2", "--json"]);
    let output = exec::run(&mut several, None).expect_code(0);
    says(
        &output,
        &["it lay unencrypted until it was packed; it is removed"],
    );
    let dump = dump_of(&output.json());
    assert!(
        dump.display().to_string().ends_with(".tar.zst.age"),
        "{dump:?}"
    );
    case.query("DELETE FROM t;");
    let output = case
        .project
        .run(["db", "restore", "latest", "--yes"])
        .expect_code(0);
    says(
        &output,
        &["lies unencrypted in a private folder of the vault until it is restored"],
    );
    assert_eq!(case.query("SELECT count(*) FROM t;"), ["1000"]);
    assert_eq!(pair.decrypt(&dump)[..7], *b"toc.dat");
}

fn shell(project: &Project, line: &str) -> Output {
    let mut shell = std::process::Command::new("/bin/sh");
    shell
        .args(["-c", line])
        .current_dir(project.path())
        .env("LC_ALL", "C");
    exec::run(&mut shell, None)
}

/// The line of the README, with age's own program.
#[test]
fn a_backup_comes_back_with_age_and_zstd_alone() {
    if is_missing("age") || is_missing("zstd") {
        return;
    }
    let readme = fs::read_to_string(crate::project::workspace_root().join("README.md"));
    assert!(
        readme
            .expect("read the README")
            .contains("age --decrypt --identity key.txt"),
        "the README has another line"
    );
    for (case, _) in cases("age_alone") {
        let taken = case.project.json(["db", "backup"]);
        let dump = dump_of(&taken);
        let open = format!(
            "age --decrypt --identity key.txt '{}' | zstd -dc",
            dump.display()
        );
        let Some(database) = &case.server else {
            shell(&case.project, &format!("{open} > alone.db")).expect_code(0);
            let alone = rusqlite::Connection::open(case.project.path().join("alone.db"));
            let rows = "SELECT name FROM t ORDER BY id";
            let rows = crate::project::sqlite_rows(&alone.expect("open it"), rows);
            assert_eq!(rows.expect("read it"), ["Ada", "Grace"]);
            continue;
        };
        let empty = database.cluster().create_database("age_alone_empty");
        let (bin, name) = (empty.cluster().bin().display(), empty.name());
        let line = format!("{open} | '{bin}/pg_restore' --dbname='{name}' --exit-on-error");
        let mut command = std::process::Command::new("/bin/sh");
        command.args(["-c", &line]).current_dir(case.project.path());
        for (variable, value) in empty.client("pg_restore").get_envs() {
            command.env(variable, value.expect("only set, never removed"));
        }
        exec::run(&mut command, None).expect_code(0);
        assert_eq!(empty.psql("SELECT name FROM t ORDER BY id;"), "Ada\nGrace");
    }
}
