//! A throw-away PostgreSQL server that all tests of this binary share.
//!
//! It never touches a server that was there before: own data folder, own socket folder, own port.
//! It ends with the test process, whichever way that ends (see [`WATCHDOG`]).

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock};

use crate::{exec, servers};

// Said outright, because the benches take this file for a module of their own.
#[path = "cluster/own.rs"]
mod own;

pub use own::children;

pub const SUPERUSER: &str = "tester";

/// Distinctive, so that a search for it finds every leak, and full of what URLs, passfiles and
/// shells give a meaning to.
pub const PASSWORD: &str = "hOrse:7@sta/ple%50\\b'q";

/// Statics are not dropped, so a child waits for the end of its stdin instead: the kernel closes
/// the pipe however the test process ends. It is started before the server, so that there is no
/// moment in which nobody would stop it.
const WATCHDOG: &str = r#"
    cat >/dev/null
    "$1/pg_ctl" stop --silent --mode=immediate --pgdata="$2/data"
    rm -rf "$2"
"#;

pub struct Cluster {
    bin: PathBuf,
    folder: PathBuf,
    port: u16,
    owner: Option<(u32, u32)>,
    settings: &'static str,
    next_database: AtomicU32,
    _watchdog: ChildStdin,
}

impl Cluster {
    /// The shared server, started by the first caller, or [a skip](exec::skip) where no PostgreSQL
    /// is installed.
    pub fn get_or_skip() -> Option<&'static Self> {
        static SHARED: OnceLock<Option<Cluster>> = OnceLock::new();
        let shared = SHARED.get_or_init(|| servers::programs().map(|bin| Self::start(bin, "")));
        if shared.is_none() {
            exec::skip("no PostgreSQL server programs found");
        }
        shared.as_ref()
    }

    /// A shared server of this version, whatever the others are.
    pub fn of_major_or_skip(major: u32) -> Option<&'static Self> {
        static SHARED: Mutex<BTreeMap<u32, Option<&'static Cluster>>> = Mutex::new(BTreeMap::new());
        let mut shared = SHARED.lock().expect("no server fails to start");
        let start = || {
            let cluster = Self::start(servers::programs_of(major)?, "");
            Some(&*Box::leak(Box::new(cluster)))
        };
        let cluster = *shared.entry(major).or_insert_with(start);
        drop(shared);
        if cluster.is_none() {
            exec::skip(&format!("no server programs of PostgreSQL {major} found"));
        }
        cluster
    }

    /// A second server, for tests that look at what a restore leaves: every restore clears away
    /// what cut ones have left anywhere on its server.
    pub fn quiet_or_skip() -> Option<&'static Self> {
        static QUIET: OnceLock<Option<Cluster>> = OnceLock::new();
        Self::get_or_skip()?;
        QUIET
            .get_or_init(|| servers::programs().map(|bin| Self::start(bin, "")))
            .as_ref()
    }

    /// The folder of `initdb`, `pg_dump`, `psql` and the others, all of the server's version.
    pub fn bin(&self) -> &Path {
        &self.bin
    }

    /// The folder of the server's socket.
    pub fn socket(&self) -> &Path {
        &self.folder
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// A new empty database with `name` and a number, so that no two tests share one.
    pub fn create_database(&'static self, name: &str) -> Database {
        self.create_database_with(name, "")
    }

    /// The same with the options of `CREATE DATABASE`, such as `ENCODING 'SQL_ASCII'`.
    pub fn create_database_with(&'static self, name: &str, options: &str) -> Database {
        let number = self.next_database.fetch_add(1, Ordering::Relaxed);
        let name = format!("{name}_{number}");
        let quoted = name.replace('"', "\"\"");
        self.database("postgres").psql(&format!(
            "CREATE DATABASE \"{quoted}\" TEMPLATE template0 {options};"
        ));
        self.database(&name)
    }

    /// A database that exists already, `postgres` for one.
    pub fn database(&'static self, name: &str) -> Database {
        Database {
            cluster: self,
            name: name.to_owned(),
            user: SUPERUSER.to_owned(),
            password: PASSWORD.to_owned(),
        }
    }

    fn start(bin: PathBuf, settings: &'static str) -> Self {
        // A socket's path has room for some 100 bytes, and TMPDIR may be long or private.
        let folder = tempfile::Builder::new()
            .prefix("xtask-db-pg-")
            .tempdir_in("/tmp")
            .expect("create the cluster's folder in /tmp")
            .keep();
        let owner = unprivileged_user();
        if let Some((user, group)) = owner {
            chown(&folder, Some(user), Some(group)).expect("give the cluster's folder away");
        }
        let open = fs::Permissions::from_mode(0o755);
        fs::set_permissions(&folder, open).expect("open the cluster's folder");

        let watchdog = start_watchdog(&bin, &folder, owner);
        let launcher = Launcher { bin, folder, owner };
        launcher.initdb();
        let port = launcher.start_server(settings);
        Self {
            bin: launcher.bin,
            folder: launcher.folder,
            port,
            owner,
            settings,
            next_database: AtomicU32::new(1),
            _watchdog: watchdog,
        }
    }
}

/// One database of the shared server, and who connects to it.
#[derive(Clone)]
pub struct Database {
    cluster: &'static Cluster,
    name: String,
    user: String,
    password: String,
}

impl Database {
    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn cluster(&self) -> &'static Cluster {
        self.cluster
    }

    /// The same database for somebody other than the superuser.
    pub fn as_role(&self, user: &str, password: &str) -> Self {
        Self {
            user: user.to_owned(),
            password: password.to_owned(),
            ..self.clone()
        }
    }

    /// Through the socket, its folder percent-encoded as the host.
    pub fn url(&self) -> String {
        self.url_at(&encode(
            self.cluster.socket().to_str().expect("a UTF-8 path"),
        ))
    }

    /// Through TCP.
    pub fn url_tcp(&self) -> String {
        self.url_at("127.0.0.1")
    }

    /// Through the socket, everything but the name given as parameters.
    pub fn url_parameters(&self) -> String {
        format!(
            "postgresql:///{}?host={}&port={}&user={}&password={}",
            encode(&self.name),
            self.cluster.socket().display(),
            self.cluster.port,
            encode(&self.user),
            encode(&self.password)
        )
    }

    /// Through whatever listens there and leads to the server.
    pub fn url_through(&self, port: u16) -> String {
        self.url_with("127.0.0.1", port)
    }

    fn url_at(&self, host: &str) -> String {
        self.url_with(host, self.cluster.port)
    }

    fn url_with(&self, host: &str, port: u16) -> String {
        format!(
            "postgres://{}:{}@{host}:{port}/{}",
            encode(&self.user),
            encode(&self.password),
            encode(&self.name)
        )
    }

    /// A client program of the server's version, connected to this database.
    pub fn client(&self, program: &str) -> Command {
        let mut command = Command::new(self.cluster.bin.join(program));
        command
            .env("PGHOST", self.cluster.socket())
            .env("PGPORT", self.cluster.port.to_string())
            .env("PGDATABASE", &self.name)
            .env("PGUSER", &self.user)
            .env("PGPASSWORD", &self.password);
        command
    }

    /// `psql` that is ready for a script on stdin: rows as `a|b`, the first error ends it.
    pub fn psql_command(&self) -> Command {
        let mut command = self.client("psql");
        command
            .args(["--no-psqlrc", "--quiet", "--no-align", "--tuples-only"])
            .args(["--set=ON_ERROR_STOP=1", "--file=-"]);
        command
    }

    /// Runs a psql script and returns its rows; panics at the first error.
    #[track_caller]
    pub fn psql(&self, script: &str) -> String {
        let output = exec::run(&mut self.psql_command(), Some(script));
        assert_eq!(output.code, 0, "psql says: {}", output.stderr);
        output.stdout.trim_end_matches('\n').to_owned()
    }
}

fn encode(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

/// What `initdb` and the server are started with.
struct Launcher {
    bin: PathBuf,
    folder: PathBuf,
    owner: Option<(u32, u32)>,
}

impl Launcher {
    fn command(&self, program: &str) -> Command {
        let mut command = unprivileged(&self.bin.join(program), &self.folder, self.owner);
        command.arg(format!("--pgdata={}/data", self.folder.display()));
        command
    }

    fn initdb(&self) {
        let passfile = self.folder.join("password");
        fs::write(&passfile, format!("{PASSWORD}\n")).expect("write the password for initdb");
        let initdb = |locale: &str| {
            let mut command = self.command("initdb");
            command
                .args(["--auth=scram-sha-256", "--encoding=UTF8", "--no-sync"])
                .arg(format!("--username={SUPERUSER}"))
                .arg(format!("--pwfile={}", passfile.display()))
                .arg(format!("--locale={locale}"));
            exec::run(&mut command, None)
        };
        if initdb("C.UTF-8").code != 0 {
            initdb("C").expect_code(0);
        }
        fs::remove_file(&passfile).expect("remove the password of initdb");
    }

    /// Starts the server and returns its port.
    fn start_server(&self, settings: &str) -> u16 {
        // Another process can take the free port before the server does; then there is the next.
        const ATTEMPTS: u32 = 5;
        let mut last = None;
        for _ in 0..ATTEMPTS {
            let port = free_port();
            let output = self.start_server_at(port, settings);
            if output.code == 0 {
                return port;
            }
            last = Some(output);
        }
        let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        panic!("the PostgreSQL server does not start: {last:?}\n{log}");
    }

    fn start_server_at(&self, port: u16, settings: &str) -> exec::Output {
        let mut command = self.command("pg_ctl");
        exec::run(command.args(self.start_arguments(port, settings)), None)
    }

    fn start_arguments(&self, port: u16, settings: &str) -> Vec<String> {
        let folder = self.folder.display();
        let options = format!(
            "-c port={port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} \
             -c fsync=off -c max_connections=100 -c max_prepared_transactions=5 {settings}"
        );
        vec![
            "start".to_owned(),
            "--wait".to_owned(),
            "--silent".to_owned(),
            format!("--log={folder}/log"),
            format!("--options={options}"),
        ]
    }
}

// Waiting for it is what it does for this process.
#[expect(clippy::zombie_processes)]
fn start_watchdog(bin: &Path, folder: &Path, owner: Option<(u32, u32)>) -> ChildStdin {
    let mut watchdog = unprivileged(Path::new("/bin/sh"), Path::new("/"), owner)
        .args(["-c", WATCHDOG, "watchdog"])
        .args([bin, folder])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        // Out of reach of the terminal's Ctrl-C, which ends the test process itself.
        .process_group(0)
        .spawn()
        .expect("start the cluster's watchdog");
    watchdog.stdin.take().expect("stdin is piped")
}

/// A command that runs as `owner`, from a folder that it may enter.
fn unprivileged(program: &Path, folder: &Path, owner: Option<(u32, u32)>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(folder);
    if let Some((user, group)) = owner {
        command.uid(user).gid(group);
    }
    for (name, _) in std::env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"PG") {
            command.env_remove(name);
        }
    }
    command
}

/// PostgreSQL refuses to run as root; somebody else must be found then.
pub fn unprivileged_user() -> Option<(u32, u32)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let passwd = fs::read_to_string("/etc/passwd").expect("read /etc/passwd");
    let ids = |wanted: &str| {
        let mut fields = passwd
            .lines()
            .map(|line| line.split(':'))
            .find(|fields| fields.clone().next() == Some(wanted))?
            .skip(2);
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    let found = ids("postgres").or_else(|| ids("nobody"));
    assert!(found.is_some(), "no user `postgres` or `nobody` to run as");
    found
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("find a free port");
    listener.local_addr().expect("the listener's port").port()
}
