//! Azure Blob Storage, as Microsoft's own emulator speaks it: signatures, conditions, parts, lists.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use super::clouds;
use crate::exec::{self, Output};
use crate::setup::{Case, says};

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
    if let Some(azurite) = Azurite::get_or_skip() {
        clouds::go_and_come_back(&azurite.case(), no_key);
    }
}

#[test]
fn copies_in_azure_are_never_overwritten() {
    if let Some(azurite) = Azurite::get_or_skip() {
        clouds::never_overwritten(&azurite.case(), no_key);
    }
}

#[test]
fn copies_in_azure_are_pruned() {
    if let Some(azurite) = Azurite::get_or_skip() {
        clouds::pruned(&azurite.case(), &azurite.url("shop"));
    }
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
