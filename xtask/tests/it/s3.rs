//! An S3 server of the tests' own: `s3s` checks signatures and clocks, `s3s-fs` keeps objects as
//! files. It is a process, so that it can be killed, and a wire leads to it that can be cut.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::exec;
use crate::project::Project;

pub mod google;
pub mod wire;

use google::Door;
use wire::Wire;

pub const KEY_ID: &str = "AKIDOFFSITETESTS0001";
/// With characters that percent-encoding and XML change.
pub const SECRET: &str = "Qx7/secret+of&the<server>%41Kno";

pub const BUCKET: &str = "copies";

/// For the child process: the folder of the objects.
const ROOT: &str = "XTASK_DB_SERVE_S3";
/// For the child process: how many seconds clocks may differ.
const SKEW: &str = "XTASK_DB_SERVE_S3_SKEW";
/// For the child process: the key of the account that it lets in, by Google's door.
const ACCOUNT: &str = "XTASK_DB_SERVE_S3_ACCOUNT";

pub struct S3 {
    root: tempfile::TempDir,
    child: Option<Child>,
    port: u16,
    limit_kib: Option<u64>,
    skew_seconds: u32,
    account: Option<PathBuf>,
    wire: Wire,
}

impl S3 {
    pub fn start() -> Self {
        Self::with(None, 900, None)
    }

    /// One whose files may not be larger than that: its disk is full soon.
    pub fn small(kib: u64) -> Self {
        Self::with(Some(kib), 900, None)
    }

    /// One that takes no request signed by a clock that differs more than that.
    pub fn punctual(seconds: u32) -> Self {
        Self::with(None, seconds, None)
    }

    /// One that is entered as Google's is, with the key of an account.
    pub fn google(key: &Path) -> Self {
        Self::with(None, 900, Some(key.to_owned()))
    }

    fn with(limit_kib: Option<u64>, skew_seconds: u32, account: Option<PathBuf>) -> Self {
        let root = tempfile::Builder::new()
            .prefix("xtask-db-s3-")
            .tempdir()
            .expect("create the server's folder");
        fs::create_dir(root.path().join(BUCKET)).expect("create a bucket");
        let mut server = Self {
            root,
            child: None,
            port: 0,
            limit_kib,
            skew_seconds,
            account,
            wire: Wire::start(),
        };
        server.revive();
        server
    }

    /// Starts the server, after it was killed as well; the port of the wire stays.
    pub fn revive(&mut self) {
        let ready = self.root.path().join("port");
        // One that was there would be taken for that of the new one.
        let _ = fs::remove_file(&ready);
        let this = std::env::current_exe().expect("path of this binary");
        let mut command = Command::new("sh");
        let limit = self.limit_kib.map_or(String::new(), |kib| {
            format!("trap '' XFSZ; ulimit -S -f {}; ", kib * 2)
        });
        command
            .args(["-c", &format!("{limit}exec \"$@\""), "sh"])
            .arg(this)
            .args(["--exact", "s3::serve", "--nocapture"])
            .env(ROOT, self.root.path())
            .env(SKEW, self.skew_seconds.to_string())
            .envs(self.account.iter().map(|key| (ACCOUNT, key)))
            // Its end is the end of this process, however that ends.
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        self.child = Some(command.spawn().expect("start the S3 server"));
        let deadline = Instant::now() + exec::LIMIT;
        self.port = loop {
            let port = fs::read_to_string(&ready).unwrap_or_default();
            if let Some(port) = port.strip_suffix('\n') {
                break port.parse().expect("a port");
            }
            assert!(Instant::now() < deadline, "the S3 server does not start");
            std::thread::sleep(Duration::from_millis(10));
        };
        self.wire.leads_to(self.port);
    }

    /// As `kill -9` does.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("kill the S3 server");
            child.wait().expect("wait for the S3 server");
        }
    }

    pub fn wire(&self) -> &Wire {
        &self.wire
    }

    pub fn url(&self, prefix: &str) -> String {
        let port = self.wire.port();
        format!(
            "s3://{BUCKET}/{prefix}?endpoint=http://127.0.0.1:{port}&allow_http=true&region=us-east-1"
        )
    }

    /// A project that copies to this server, in its prefix `shop`.
    pub fn of(&self, project: Project) -> Project {
        project
            .env("OFFSITE_URL", self.url("shop"))
            .env("AWS_ACCESS_KEY_ID", KEY_ID)
            .env("AWS_SECRET_ACCESS_KEY", SECRET)
    }

    /// Where an object is as a file.
    pub fn object(&self, key: &str) -> PathBuf {
        self.root.path().join(BUCKET).join(key)
    }

    /// The names of all objects in the prefix `shop`, sorted.
    pub fn objects(&self) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(self.object("shop"))
            .into_iter()
            .flatten()
            .map(|entry| entry.expect("list the objects").file_name())
            .map(|name| name.into_string().expect("a UTF-8 name"))
            .collect();
        names.sort();
        names
    }

    /// What uploads in parts have left that were neither completed nor given up.
    pub fn parts_left(&self) -> Vec<String> {
        let entries = fs::read_dir(self.root.path()).expect("list the server's folder");
        let names = entries.map(|entry| entry.expect("list it").file_name());
        names
            .map(|name| name.to_string_lossy().into_owned())
            .filter(|name| name.starts_with(".upload"))
            .collect()
    }

    /// What the server keeps beside the objects: their metadata.
    pub fn metadata(&self) -> String {
        let entries = fs::read_dir(self.root.path()).expect("list the server's folder");
        let paths = entries.map(|entry| entry.expect("list it").path());
        let texts = paths
            .filter(|path| path.to_string_lossy().ends_with(".metadata.json"))
            .map(|path| fs::read_to_string(path).expect("read metadata"));
        texts.collect::<Vec<_>>().join("\n")
    }
}

impl Drop for S3 {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The server itself, in a process of its own; as a test it only checks that none is asked for.
#[test]
fn serve() {
    let Some(root) = std::env::var_os(ROOT) else {
        return;
    };
    std::thread::spawn(|| {
        // Whoever started it has ended.
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        std::process::exit(0);
    });
    let skew = std::env::var(SKEW)
        .expect("the skew")
        .parse()
        .expect("seconds");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(answer(Path::new(&root), skew));
}

async fn answer(root: &Path, skew: u32) {
    use hyper::body::Incoming;
    use hyper_util::rt::{TokioExecutor, TokioIo};
    use s3s::config::{S3Config, StaticConfigProvider};

    let files = s3s_fs::FileSystem::new(root).expect("the server's folder");
    let mut service = s3s::service::S3ServiceBuilder::new(files);
    let door = std::env::var_os(ACCOUNT).map(|key| Arc::new(Door::of(Path::new(&key))));
    if door.is_none() {
        service.set_auth(s3s::auth::SimpleAuth::from_single(KEY_ID, SECRET));
    }
    let mut config = S3Config::default();
    config.presigned_url_max_skew_time_secs = skew;
    service.set_config(Arc::new(StaticConfigProvider::new(Arc::new(config))));
    let service = service.build();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("listen");
    let port = listener.local_addr().expect("an address").port();
    let staged = root.join("port.new");
    let mut file = fs::File::create(&staged).expect("write the port");
    writeln!(file, "{port}").expect("write the port");
    fs::rename(staged, root.join("port")).expect("name the port");
    let http = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
    loop {
        let Ok((socket, _)) = listener.accept().await else {
            continue;
        };
        let (service, door) = (service.clone(), door.clone());
        let answer = hyper::service::service_fn(move |request: hyper::Request<Incoming>| {
            let (service, door) = (service.clone(), door.clone());
            let request = request.map(s3s::Body::from);
            async move {
                match &door {
                    Some(door) => door.call(&service, request).await,
                    None => service.call(request).await,
                }
            }
        });
        let connection = http.serve_connection(TokioIo::new(socket), answer);
        let connection = connection.into_owned();
        tokio::spawn(async move {
            // A connection that was cut is nobody's loss.
            let _ = connection.await;
        });
    }
}
