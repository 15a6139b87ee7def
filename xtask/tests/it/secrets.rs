//! A password is in no output, no file, no argument list, whatever goes well or wrong.
//!
//! The one place where it may be: a passfile, `0600`, while a PostgreSQL program runs.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::cluster::{Cluster, Database};
use crate::exec::{self, Output};
use crate::pg_bin::PgBin;
use crate::project::Project;

mod mistakes;
mod passphrase;

/// Another one than the cluster's, which other tests put where they like.
const PASSWORD: &str = r"Zw1ebel:9@kr/one?x#Kno%41&bl\auch'u+v w";

/// What is left of it in any encoding: percent, passfile, conninfo, SQL, JSON, Debug; and of its
/// halves, where something takes it for the end of a URL's part.
const PIECES: [&str; 8] = [
    "Zw1ebel", "kr/one", "kr%2Fone", "kr%2fone", "x#Kno", "Kno%41", "KnoA&", "auch'u",
];

/// What leaked, with some text around it.
fn leak_in(bytes: &[u8]) -> Option<String> {
    PIECES.iter().find_map(|piece| {
        let at = (bytes.windows(piece.len())).position(|window| window == piece.as_bytes())?;
        let around = &bytes[at.saturating_sub(60)..bytes.len().min(at + 60)];
        Some(String::from_utf8_lossy(around).into_owned())
    })
}

/// What a run told, in the words that it used.
fn told_by(output: &Output) -> Option<String> {
    leak_in(output.stdout.as_bytes()).or_else(|| leak_in(output.stderr.as_bytes()))
}

#[track_caller]
fn assert_silent(what: &str, output: &Output) {
    if let Some(leak) = told_by(output) {
        panic!("the output of {what} has the password: …{leak}…");
    }
}

/// Every file below `folder` that holds the password, also inside of what is compressed.
fn files_that_tell(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    // A folder or a file that goes away meanwhile tells nothing any more.
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files_that_tell(&path));
            continue;
        }
        let bytes = fs::read(&path).unwrap_or_default();
        let mut unpacked = Vec::new();
        if path.extension().is_some_and(|ending| ending == "zst") {
            let mut decoder = zstd::Decoder::new(bytes.as_slice()).expect("a decoder");
            decoder.read_to_end(&mut unpacked).expect("unpack a dump");
        }
        let name = path.file_name().unwrap_or_default().as_encoded_bytes();
        if [name, &bytes, &unpacked]
            .into_iter()
            .any(|bytes| leak_in(bytes).is_some())
        {
            found.push(path);
        }
    }
    found
}

/// The arguments of every process that has the password in them: those that a person typed for
/// the tool, which are theirs to judge, and all others. The tool of another checkout, whose tests
/// type the same password at the same time, is neither.
fn arguments_that_tell() -> (Vec<String>, Vec<String>) {
    let ours = env!("CARGO_BIN_EXE_xtask");
    let is_elsewhere = |arguments: &String| {
        let program = arguments.split('\0').next().unwrap_or_default();
        program.ends_with("/debug/xtask") && program != ours
    };
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes
        .filter_map(|entry| fs::read(entry.path().join("cmdline")).ok())
        .filter(|arguments| leak_in(arguments).is_some())
        .map(|arguments| String::from_utf8_lossy(&arguments).into_owned())
        .filter(|arguments| !is_elsewhere(arguments))
        .map(|arguments| arguments.replace('\0', " "))
        .partition(|arguments| arguments.starts_with(ours))
}

/// Looks at all processes again and again, until it is asked what it saw.
struct Watch {
    ended: Arc<AtomicBool>,
    thread: JoinHandle<BTreeMap<String, u32>>,
}

impl Watch {
    fn begin() -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        let end = Arc::clone(&ended);
        let thread = std::thread::spawn(move || {
            let mut seen = BTreeMap::new();
            while !end.load(Ordering::Relaxed) {
                for arguments in arguments_that_tell().1 {
                    *seen.entry(arguments).or_insert(0) += 1;
                }
                std::thread::sleep(Duration::from_millis(15));
            }
            seen
        });
        Self { ended, thread }
    }

    #[track_caller]
    fn assert_nothing_seen(self) {
        self.ended.store(true, Ordering::Relaxed);
        let seen = self.thread.join().expect("the watch does not panic");
        assert!(seen.is_empty(), "arguments with the password: {seen:?}");
    }
}

/// A database with some rows, owned by a role that has the password.
fn database(cluster: &'static Cluster, name: &str) -> Database {
    let database = cluster.create_database(name);
    let role = format!("role of {}", database.name());
    let quoted = PASSWORD.replace('\'', "''");
    database.psql(&format!(
        "CREATE ROLE \"{role}\" LOGIN SUPERUSER PASSWORD '{quoted}';
         CREATE TABLE t (id int); INSERT INTO t VALUES (1), (2);"
    ));
    database.as_role(&role, PASSWORD)
}

fn project() -> Project {
    Project::new().migration("1_more.sql", "CREATE TABLE more (id INTEGER);")
}

/// The URL without the password, for those who have it elsewhere.
fn without_password(url: &str) -> String {
    let (start, host) = url.rsplit_once('@').expect("a URL with a password");
    let (user, _) = start.rsplit_once(':').expect("a URL with a password");
    format!("{user}@{host}")
}

/// Runs all verbs, one after the other, each of which must succeed.
#[track_caller]
fn run_all_verbs(project: &Project, flags: &[&str]) {
    let verbs: [&[&str]; 7] = [
        &["status"],
        &["backup", "first"],
        &["list"],
        &["verify", "--all"],
        &["migrate-safe", "--dry-run"],
        &["migrate-safe", "--yes"],
        &["restore", "first", "--yes"],
    ];
    for verb in verbs {
        let arguments = [&["db"], verb, flags].concat();
        let output = project.run(&arguments).expect_code(0);
        assert_silent(&format!("{verb:?} {flags:?}"), &output);
    }
    assert_eq!(
        files_that_tell(project.path().parent().expect("a parent")),
        [""; 0].map(PathBuf::from)
    );
}

#[test]
fn every_verb_with_the_password_in_the_url() {
    let Some(cluster) = Cluster::get_or_skip() else {
        return;
    };
    let watch = Watch::begin();
    let bin = PgBin::logging(cluster);
    let database = database(cluster, "in_the_url");
    let socket = project().env("PG_BIN", bin.path());
    run_all_verbs(&socket.database_url(&database.url()), &["--verbose"]);
    let database = self::database(cluster, "with_json");
    let tcp = project().env("PG_BIN", bin.path());
    run_all_verbs(
        &tcp.database_url(&database.url_tcp()),
        &["--json", "--verbose"],
    );
    watch.assert_nothing_seen();

    let log = bin.log();
    assert_eq!(leak_in(log.as_bytes()), None);
    assert!(
        log.contains("pg_dump\n") && log.contains("pg_restore\n"),
        "{log}"
    );
    assert!(
        !log.replace("PGPASSWORD=unset", "").contains("PGPASSWORD"),
        "{log}"
    );
}

#[test]
fn every_verb_with_the_password_elsewhere() {
    let Some(cluster) = Cluster::get_or_skip() else {
        return;
    };
    let watch = Watch::begin();
    let parameter = database(cluster, "as_a_parameter").url_parameters();
    run_all_verbs(&project().database_url(&parameter), &["--verbose"]);

    let variable = without_password(&database(cluster, "in_pgpassword").url());
    let project_with_variable = project()
        .database_url(&variable)
        .env("PGPASSWORD", PASSWORD);
    run_all_verbs(&project_with_variable, &["--verbose"]);

    let passfile = tempfile::NamedTempFile::new().expect("create a passfile");
    let escaped = PASSWORD.replace('\\', r"\\").replace(':', r"\:");
    fs::write(passfile.path(), format!("*:*:*:*:{escaped}\n")).expect("write a passfile");
    let url = without_password(&database(cluster, "in_a_passfile").url());
    let project_with_passfile = project()
        .database_url(&url)
        .env("PGPASSFILE", passfile.path());
    run_all_verbs(&project_with_passfile, &["--verbose"]);
    watch.assert_nothing_seen();
}

#[test]
fn the_password_in_dotenv_stays_in_dotenv() {
    let Some(cluster) = Cluster::get_or_skip() else {
        return;
    };
    let watch = Watch::begin();
    let project = project();
    let url = database(cluster, "in_dotenv").url();
    project.write(".env", format!("DATABASE_URL='{url}'\n"));
    for verb in [
        &["backup"][..],
        &["migrate-safe", "--yes"],
        &["restore", "latest", "--yes"],
    ] {
        let output = project.run([&["db", "--verbose"], verb].concat());
        assert_silent(&format!("{verb:?}"), &output.expect_code(0));
    }
    watch.assert_nothing_seen();
    assert_eq!(
        files_that_tell(&project.path()),
        [project.path().join(".env")]
    );
}

#[test]
fn while_a_program_runs_only_its_passfile_has_the_password() {
    let Some(cluster) = Cluster::get_or_skip() else {
        return;
    };
    let bin = PgBin::empty().gated(cluster, "pg_dump", "--dbname=").gated(
        cluster,
        "pg_restore",
        "--dbname=",
    );
    let database = database(cluster, "while_running");
    let project = project().env("PG_BIN", bin.path());
    let folder = project.path().parent().expect("a parent").to_owned();
    let url = database.url();

    for (program, verb) in [
        ("pg_dump", &["backup"][..]),
        ("pg_restore", &["restore", "latest", "--force"]),
    ] {
        let arguments = [&["db", "--database-url", &url, "--verbose"], verb].concat();
        let running = exec::start(&mut project.command(arguments), None);
        bin.wait_for(&format!("{program}.waits"));
        let files = files_that_tell(&folder);
        let (typed, ours) = arguments_that_tell();
        assert_eq!(ours, [""; 0], "while {program} runs");
        assert!(!typed.is_empty(), "the search finds nothing at all");
        // That there is one shows that the search finds what is there.
        let [passfile] = files.as_slice() else {
            panic!("while {program} runs: {files:?}");
        };
        assert!(passfile.ends_with("passfile"), "{passfile:?}");
        let mode = |path: &Path| fs::metadata(path).expect("look at it").permissions().mode();
        assert_eq!(mode(passfile) & 0o777, 0o600);
        assert_eq!(mode(passfile.parent().expect("a parent")) & 0o777, 0o700);
        bin.open(program);
        assert_silent(program, &running.finish().expect_code(0));
        assert_eq!(files_that_tell(&folder), [""; 0].map(PathBuf::from));
    }
}
