//! Azure Blob Storage, as Microsoft's own emulator speaks it: signatures, conditions, parts, lists.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use super::{bytes, fill, outcomes};
use crate::exec::{self, Output};
use crate::setup::{Case, says, text};

/// The emulator's `main.js`; `.ci/run` fetches it.
const PROGRAM: &str = "XTASK_DB_AZURITE";
const ACCOUNT: &str = "devstoreaccount1";
/// The one that every emulator has.
const KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// Makes a container, which is nothing that a backup tool does.
const MAKE_CONTAINER: &str = r"
const crypto = require('crypto'), http = require('http');
const [port, account, key] = process.argv.slice(1);
const date = new Date().toUTCString(), version = '2021-08-06';
const text = 'PUT' + '\n'.repeat(12) + `x-ms-date:${date}\nx-ms-version:${version}\n`
    + `/${account}/${account}/copies\nrestype:container`;
const hmac = crypto.createHmac('sha256', Buffer.from(key, 'base64')).update(text, 'utf8');
const headers = { 'x-ms-date': date, 'x-ms-version': version, 'content-length': 0,
    authorization: `SharedKey ${account}:${hmac.digest('base64')}` };
const path = `/${account}/copies?restype=container`;
http.request({ port, method: 'PUT', path, headers }, (answer) => {
    answer.resume();
    process.exitCode = answer.statusCode === 201 ? 0 : 1;
}).end();
";

struct Azurite {
    child: Child,
    port: u16,
    _folder: tempfile::TempDir,
}

impl Azurite {
    /// Nothing, after a visible line, where it is not said where it is.
    fn get_or_skip() -> Option<Self> {
        let Some(program) = std::env::var_os(PROGRAM).map(PathBuf::from) else {
            exec::say(&format!("SKIPPED: `{PROGRAM}` names no emulator of Azure"));
            return None;
        };
        let folder = tempfile::tempdir().expect("a folder");
        let free = TcpListener::bind("127.0.0.1:0").expect("find a port");
        let port = free.local_addr().expect("an address").port();
        drop(free);
        let mut child = Command::new("node")
            .arg(program)
            .args(["--blobHost", "127.0.0.1", "--blobPort", &port.to_string()])
            .args(["--silent", "--skipApiVersionCheck", "--disableTelemetry"])
            .arg("--location")
            .arg(folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("start the emulator");
        let stdout = BufReader::new(child.stdout.take().expect("stdout is piped"));
        let mut lines = stdout.lines().map_while(Result::ok);
        assert!(
            lines.any(|line| line.contains("successfully listens")),
            "the emulator does not start"
        );
        // What it says later goes nowhere, and must not hold it up.
        std::thread::spawn(move || lines.for_each(drop));
        let azurite = Self {
            child,
            port,
            _folder: folder,
        };
        let port = port.to_string();
        let made = Command::new("node")
            .args(["-e", MAKE_CONTAINER, &port, ACCOUNT, KEY])
            .status();
        assert!(made.expect("run node").success(), "no container");
        Some(azurite)
    }

    /// Below this prefix.
    fn url(&self, prefix: &str) -> String {
        let port = self.port;
        format!("az://copies/{prefix}?endpoint=http://127.0.0.1:{port}/{ACCOUNT}&allow_http=true")
    }

    fn case(&self) -> Case {
        let mut case = Case::sqlite();
        case.project = (case.project)
            .env("OFFSITE_URL", self.url("shop"))
            .env("AZURE_STORAGE_ACCOUNT_NAME", ACCOUNT)
            .env("AZURE_STORAGE_ACCOUNT_KEY", KEY);
        case.query("CREATE TABLE t (id INTEGER); INSERT INTO t VALUES (1), (2), (3);");
        case
    }
}

impl Drop for Azurite {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[track_caller]
fn no_key(output: &Output) {
    for said in [&output.stdout, &output.stderr] {
        assert!(!said.contains(&KEY[..20]), "the key is told\n{output}");
    }
}

#[test]
fn copies_go_to_azure_and_come_back() {
    let Some(azurite) = Azurite::get_or_skip() else {
        return;
    };
    let case = azurite.case();
    let small = case.backup();
    fill(&case, 20);
    let taken = case.project.json(["db", "backup", "in-parts"]);
    assert_eq!(outcomes(&taken), ["copied"]);
    let large = text(&taken, "/backup/id").to_owned();
    let verified = case.project.run(["db", "verify", "--offsite", "--all"]);
    no_key(&verified.expect_code(0));
    let again = case.project.json(["db", "push", "--all"]);
    assert_eq!(outcomes(&again), ["already-there"; 2]);
    let status = case.project.json(["db", "status", "--offsite"]);
    assert_eq!(status["copies"]["three_two_one"], true);

    let before = [bytes(case.dump(&large)), bytes(case.manifest(&large))];
    fs::remove_dir_all(case.project.vault()).expect("lose the vault");
    fs::remove_file(case.project.sqlite_path()).expect("lose the database");
    let restored = case.project.run(["db", "restore", "latest", "--yes"]);
    says(&restored.expect_code(0), &["looking off-site", "restored"]);
    let after = [bytes(case.dump(&large)), bytes(case.manifest(&large))];
    assert!(before == after, "it was changed on the way");
    assert_eq!(case.query("SELECT count(*) FROM big"), ["20"]);
    case.project.run(["db", "pull", &small]).expect_code(0);
}

#[test]
fn copies_in_azure_are_never_overwritten() {
    let Some(azurite) = Azurite::get_or_skip() else {
        return;
    };
    let case = azurite.case();
    let id = case.backup();
    // The same id, and another manifest.
    let mut other: serde_json::Value =
        serde_json::from_slice(&bytes(case.manifest(&id))).expect("JSON");
    other["tool"]["version"] = "9.9.9".into();
    fs::write(case.manifest(&id), crate::setup::sealed(other)).expect("write another one");
    let refused = case.project.run(["db", "push", &id]).expect_code(6);
    says(&refused, &["with other content, which is not overwritten"]);
    no_key(&refused);
}

#[test]
fn copies_in_azure_are_pruned() {
    let Some(azurite) = Azurite::get_or_skip() else {
        return;
    };
    let case = azurite.case();
    let id = case.backup();
    std::thread::sleep(std::time::Duration::from_millis(1100));
    let newer = case.backup();
    let url = azurite.url("shop");
    let toml = format!("[[offsite]]\nname = \"cloud\"\nurl = \"{url}\"\nkeep_last = 1\n");
    case.project.write("database/db.toml", toml);
    let pruned = case.project.json(["db", "prune", "--offsite", "--yes"]);
    assert_eq!(text(&pruned, "/places/0/removed/0"), id);
    let listed = case.project.json(["db", "list", "--offsite"]);
    let there = &listed["places"][0];
    assert_eq!(there["backups"].as_array().map(Vec::len), Some(1));
    assert_eq!(text(there, "/backups/0/id"), newer);
    assert_eq!(there["orphans"].as_array().map(Vec::len), Some(0));
}

#[test]
fn azure_refuses_a_wrong_key_and_it_is_said_without_it() {
    let Some(azurite) = Azurite::get_or_skip() else {
        return;
    };
    let mut case = azurite.case();
    let wrong = KEY.replace("Eby8", "Fby8");
    case.project = (case.project)
        .env("AZURE_STORAGE_ACCOUNT_KEY", &wrong)
        .env("AZURE_MAX_RETRIES", "0");
    let failed = case.project.run(["db", "backup"]).expect_code(6);
    says(
        &failed,
        &["look at the credentials", "`AZURE_STORAGE_ACCOUNT_KEY`"],
    );
    assert!(!failed.stderr.contains(&wrong[..20]), "{failed}");
}
