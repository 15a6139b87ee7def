//! The folder of the vault itself: read-only, on another disk, somebody else's, a link, with any
//! name. What cannot be written to is still read; what is refused is refused before anything else.

use std::ffi::{OsStr, OsString};
use std::fs::{self, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cluster;
use crate::exec::{self, Output};
use crate::setup::{Case, database_digests, says, text};

const LOOKS: [&[&str]; 5] = [
    &["list"],
    &["status"],
    &["verify"],
    &["verify", "--all"],
    &["prune", "--dry-run"],
];
const WRITES: [&[&str]; 5] = [
    &["backup"],
    &["migrate-safe", "--yes"],
    &["restore", "latest", "--yes"],
    &["prune", "--yes"],
    &["pin", "latest"],
];

/// Two rows in the backup, three in the database, and a migration that is pending.
fn started() -> Case {
    let case = Case::sqlite();
    case.query("CREATE TABLE t (id INTEGER); INSERT INTO t VALUES (1), (2);");
    case.backup();
    case.query("INSERT INTO t VALUES (3);");
    case.project
        .write("migrations/1_more.sql", "CREATE TABLE more (id INTEGER);");
    case
}

fn run(case: &Case, verb: &[&str]) -> Output {
    exec::run(&mut case.project.command([&["db"], verb].concat()), None)
}

/// Every look works, every write is refused with the words, and nothing has changed anywhere.
#[track_caller]
fn can_only_be_looked_at(case: &Case, words: &str, run: impl Fn(&[&str]) -> Output) {
    let (database, files) = (case.project.sqlite_path(), case.project.vault_files());
    let before = database_digests(&database);
    for verb in LOOKS {
        run(verb).expect_code(0);
    }
    for verb in WRITES {
        let refused = run(verb).expect_code(3);
        says(&refused, &[words, "\nhint: "]);
    }
    assert_eq!(case.project.vault_files(), files);
    assert_eq!(database_digests(&database), before);
}

/// Everything works with the vault there.
#[track_caller]
fn works(case: &Case, vault: &OsStr) {
    let run = |verb: &[&str]| {
        let mut command = case.project.command(["db"]);
        command.arg("--backups").arg(vault).args(verb);
        exec::run(&mut command, None)
    };
    run(&["backup"]).expect_code(0);
    run(&["migrate-safe", "--yes"]).expect_code(0);
    assert_eq!(case.query("SELECT count(*) FROM more;"), ["0"]);
    for verb in LOOKS {
        run(verb).expect_code(0);
    }
    run(&["restore", "latest", "--yes"]).expect_code(0);
    assert_eq!(
        case.query("SELECT count(*) FROM sqlite_schema WHERE name = 'more';"),
        ["0"]
    );
    let listed = run(&["list", "--json"]).expect_code(0).json();
    assert_eq!(
        listed["backups"].as_array().map(Vec::len),
        Some(3),
        "{listed:#}"
    );
    assert_eq!(listed["problems"], serde_json::json!([]));
    assert!(!case.project.vault().exists(), "the default vault was made");
    for backup in listed["backups"].as_array().expect("a list") {
        let id = text(backup, "/manifest/id");
        run(&["verify", id]).expect_code(0);
    }
}

fn empty() -> Case {
    let case = Case::sqlite();
    case.query("CREATE TABLE t (id INTEGER); INSERT INTO t VALUES (1), (2);");
    case.project
        .write("migrations/1_more.sql", "CREATE TABLE more (id INTEGER);");
    case
}

/// Somebody who is not root runs the tool in the project, which is theirs; the vault need not be.
struct Somebody {
    ids: Option<(u32, u32)>,
    tool: PathBuf,
}

impl Somebody {
    fn of(case: &Case) -> Self {
        let ids = cluster::unprivileged_user();
        let tool = case.project.tmp().join("xtask");
        // Where root builds, nobody else may look.
        fs::copy(env!("CARGO_BIN_EXE_xtask"), &tool).expect("copy the tool");
        if let Some((user, group)) = ids {
            let root = case.project.tmp().parent().expect("a parent").to_owned();
            give_away(&root, user, group);
        }
        Self { ids, tool }
    }

    fn run(&self, case: &Case, verb: &[&str]) -> Output {
        let as_root = case.project.command([&["db"], verb].concat());
        let mut command = Command::new(&self.tool);
        command
            .args(as_root.get_args())
            .current_dir(case.project.path());
        for (name, value) in as_root.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        if let Some((user, group)) = self.ids {
            command.uid(user).gid(group);
        }
        exec::run(&mut command, None)
    }
}

fn give_away(path: &Path, user: u32, group: u32) {
    chown(path, Some(user), Some(group)).expect("give a file away");
    if path.is_dir() && !path.is_symlink() {
        for entry in fs::read_dir(path).expect("list a folder") {
            give_away(&entry.expect("list a folder").path(), user, group);
        }
    }
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("set a mode");
}

#[test]
fn a_vault_that_may_only_be_read_can_be_looked_at() {
    let case = started();
    let somebody = Somebody::of(&case);
    set_mode(&case.project.vault(), 0o500);
    can_only_be_looked_at(&case, "cannot be written to: Permission denied", |verb| {
        somebody.run(&case, verb)
    });
    set_mode(&case.project.vault(), 0o700);
    somebody
        .run(&case, &["restore", "latest", "--yes"])
        .expect_code(0);
    assert_eq!(case.query("SELECT count(*) FROM t;"), ["2"]);
}

/// As one that is mounted from a backup of the machine.
#[test]
fn a_vault_on_a_read_only_file_system_can_be_looked_at() {
    let case = started();
    let mounted = |verb: &[&str]| on_read_only_file_system(&case, verb).expect("it was mounted");
    if on_read_only_file_system(&case, &["list"]).is_some() {
        can_only_be_looked_at(
            &case,
            "cannot be written to: Read-only file system",
            mounted,
        );
    }
}

/// Runs a verb on the vault, mounted read-only; nothing, after a visible line, where nobody may mount.
pub fn on_read_only_file_system(case: &Case, verb: &[&str]) -> Option<Output> {
    let vault = case.project.vault();
    let tool = case.project.command([&["db"], verb].concat());
    let mut command = Command::new("unshare");
    command.args(["--mount", "--map-root-user", "/bin/sh", "-c"]);
    command.arg(
        "mount --bind \"$0\" \"$0\" && mount -o remount,bind,ro \"$0\" || exit 99\n\
         exec \"$@\"",
    );
    command
        .arg(&vault)
        .arg(tool.get_program())
        .args(tool.get_args());
    command.current_dir(case.project.path());
    for (name, value) in tool.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let ran = exec::run(&mut command, None);
    if ran.code == 99 || ran.stderr.contains("unshare") {
        exec::say(&format!(
            "SKIPPED: nobody may mount here: {}",
            ran.stderr.trim()
        ));
        return None;
    }
    Some(ran)
}

/// A manifest that may not be read may be the newest: named, and `latest` does not step over it.
#[test]
fn a_manifest_that_may_not_be_read_is_named() {
    let case = started();
    let newest = case.backup();
    let somebody = Somebody::of(&case);
    set_mode(&case.manifest(&newest), 0o000);
    let listed = somebody.run(&case, &["list"]).expect_code(0);
    says(&listed, &[&newest, "Permission denied"]);
    for verb in [
        &["verify"][..],
        &["verify", "--all"],
        &["restore", "latest", "--yes"],
    ] {
        says(&somebody.run(&case, verb).expect_code(4), &["\nhint: "]);
    }
    set_mode(&case.manifest(&newest), 0o600);
    set_mode(&case.dump(&newest), 0o000);
    for verb in [&["verify"][..], &["restore", &newest, "--yes"]] {
        let refused = somebody.run(&case, verb).expect_code(4);
        says(
            &refused,
            &["cannot be opened: Permission denied", "\nhint: "],
        );
    }
    assert_eq!(case.query("SELECT count(*) FROM t;"), ["3"]);
}

/// Its owner could read and change what is put there, whatever the mode says.
#[test]
fn a_vault_of_somebody_else_is_refused() {
    let case = started();
    let somebody = Somebody::of(&case);
    if somebody.ids.is_none() {
        exec::say("SKIPPED: only root can make a folder of somebody else's");
        return;
    }
    let vault = case.project.vault();
    chown(&vault, Some(0), Some(0)).expect("take the vault");
    set_mode(&vault, 0o777);
    can_only_be_looked_at(&case, "belongs to somebody else", |verb| {
        somebody.run(&case, verb)
    });
    assert_eq!(
        vault.metadata().expect("the vault").permissions().mode() & 0o777,
        0o777
    );
}

#[test]
fn a_vault_on_another_file_system_works() {
    let case = empty();
    let shm = Path::new("/dev/shm");
    let there = tempfile::Builder::new()
        .prefix("xtask-db-it-")
        .tempdir_in(shm);
    let Ok(there) = there else {
        return exec::say("SKIPPED: there is no /dev/shm to write to");
    };
    let device = |path: &Path| path.metadata().expect("a folder").dev();
    if device(there.path()) == device(&case.project.path()) {
        exec::say("SKIPPED: /dev/shm is the file system of the project");
        return;
    }
    works(&case, there.path().join("vault").as_os_str());
}

#[test]
fn a_link_to_a_folder_is_a_vault() {
    let case = empty();
    let elsewhere = case.project.tmp().join("elsewhere");
    fs::create_dir(&elsewhere).expect("create a folder");
    let link = case.project.path().join("link");
    symlink(&elsewhere, &link).expect("link to a folder");
    works(&case, OsStr::new("link"));
    assert!(link.is_symlink(), "the link is still one");
    assert_eq!(
        elsewhere.metadata().expect("a folder").permissions().mode() & 0o777,
        0o700
    );
}

#[test]
fn what_is_no_folder_is_no_vault() {
    let case = started();
    let path = |name: &str| case.project.path().join(name);
    fs::write(path("file"), "somebody's").expect("write a file");
    symlink(path("file"), path("to a file")).expect("link to a file");
    symlink(path("nowhere"), path("to nowhere")).expect("link to nowhere");
    symlink(path("loop"), path("loop")).expect("link to itself");
    let before = database_digests(&case.project.sqlite_path());
    for vault in ["file", "to a file", "to nowhere", "loop", "file/below"] {
        for verb in WRITES {
            let refused = run(&case, &[&["--backups", vault], verb].concat());
            assert!(matches!(refused.code, 1 | 3 | 4), "{vault}: {refused}");
            assert!(refused.stderr.contains(vault), "{vault}: {refused}");
        }
        for verb in LOOKS {
            let looked = run(&case, &[&["--backups", vault], verb].concat());
            assert!(!looked.stderr.contains("panicked"), "{vault}: {looked}");
        }
    }
    assert_eq!(fs::read(path("file")).expect("read it"), b"somebody's");
    assert!(!path("nowhere").exists());
    assert_eq!(database_digests(&case.project.sqlite_path()), before);
}

#[test]
fn a_vault_may_have_any_name() {
    let names: [&[u8]; 8] = [
        b"with spaces and 'quotes' \"twice\"",
        b"-a --leading dash",
        b"new\nline",
        // None that turns the direction of a line: what is shown of it is not what it is.
        "b\u{fc}cher \u{1f4be}".as_bytes(),
        b"not \xff\xfe utf-8",
        b"$(touch injected) `touch injected` ; &",
        b"%41%2f?mode=ro#fragment",
        b".hidden",
    ];
    let mut started = Vec::new();
    for name in names {
        started.push(std::thread::spawn(move || {
            let case = empty();
            let path = case.project.path().join(OsStr::from_bytes(name));
            works(&case, path.as_os_str());
            assert!(!case.project.path().join("injected").exists());
            // What follows a line break is shown apart, so that it forges no line.
            if !name.contains(&b'\n') {
                follow_hint(&case, &path);
            }
        }));
    }
    for story in started {
        story.join().expect("a vault with any name");
    }
}

/// The command in a hint means the same vault when a shell reads it.
#[track_caller]
fn follow_hint(case: &Case, vault: &Path) {
    let mut command = case.project.command(["db"]);
    command
        .arg("--backups")
        .arg(vault)
        .args(["restore", "latest"]);
    let refused = exec::run(&mut command, None).expect_code(3);
    if vault.to_str().is_none() {
        // What is not UTF-8 cannot be shown, and the command leads to nothing rather than elsewhere.
        return;
    }
    let (_, hint) = refused.stderr.split_once("\nhint: ").expect("a hint");
    let line = hint.replace("cargo xtask", "\"$0\"");
    let tool = case.project.command([""; 0]);
    let mut shell = Command::new("/bin/sh");
    let program: OsString = tool.get_program().into();
    shell
        .arg("-c")
        .arg(line)
        .arg(program)
        .current_dir(case.project.path());
    for (name, value) in tool.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    exec::run(&mut shell, None).expect_code(0);
}
