//! What somebody waits for after `git clone`, beside the smallest program on the same libraries.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::process::{self, Cost};
use crate::report::{Report, Target, mebibytes};
use crate::sqlite::empty;
use crate::stage::{self, Stage, workspace};
use crate::turns::{self, Candidate};

const HELLO: &str = "hello-world with sqlx and clap";

pub fn build(stage: &Stage, report: &mut Report) -> Result<()> {
    let hello = hello_world(stage)?;
    let target = stage.folder("clean-build-target")?;
    let candidates = vec![
        Candidate::new("this package", || {
            clean_build(
                workspace(),
                &["--package", "xtask-db", "--bin", "xtask"],
                &target,
            )
        }),
        Candidate::new(HELLO, || clean_build(&hello, &[], &target)),
    ];
    let measured = turns::take_cold(stage.settings.build_rounds, candidates)?;
    report.compare("build", &measured, &[(HELLO, Target::Within(1.4))]);

    let release = ["--release", "--package", "xtask-db", "--bin", "xtask"];
    run_cargo(workspace(), &release, &target)?;
    let size = fs::metadata(target.join("release/xtask"))?.len();
    let size = format!("release binary: {}", mebibytes(size));
    println!("{size}");
    report.line("build", size, "", None);
    empty(&target)?;
    Ok(())
}

/// The same versions, features and profile: the lines are those of the workspace.
fn hello_world(stage: &Stage) -> Result<PathBuf> {
    let folder = stage.folder("hello-world")?;
    let manifest = fs::read_to_string(workspace().join("xtask/Cargo.toml"))?;
    let line = |name: &str| {
        let start = format!("{name} = ");
        let found = manifest.lines().find(|line| line.starts_with(&start));
        found.with_context(|| format!("`{name}` is not in the manifest"))
    };
    let root = fs::read_to_string(workspace().join("Cargo.toml"))?;
    let profile = root.find("[profile").map_or("", |at| &root[at..]);
    let text = format!(
        "[package]\nname = \"hello-world\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n\
         [dependencies]\n{}\n{}\n\n[workspace]\n\n{profile}",
        line("clap")?,
        line("sqlx")?
    );
    fs::write(folder.join("Cargo.toml"), text)?;
    fs::copy(workspace().join("Cargo.lock"), folder.join("Cargo.lock"))?;
    fs::create_dir(folder.join("src"))?;
    let main = "#[derive(clap::Parser)]\nstruct Hello {\n    name: String,\n}\n\n\
                fn main() {\n    let hello = <Hello as clap::Parser>::parse();\n    \
                println!(\"hello, {}\", hello.name);\n}\n";
    fs::write(folder.join("src/main.rs"), main)?;
    Ok(folder)
}

fn clean_build(folder: &Path, arguments: &[&str], target: &Path) -> Result<Cost> {
    empty(target)?;
    let cost = run_cargo(folder, arguments, target)?;
    let size_bytes = Some(empty(target)?);
    Ok(Cost { size_bytes, ..cost })
}

/// Offline: what is not in the registry's cache must not be part of the time.
fn run_cargo(folder: &Path, arguments: &[&str], target: &Path) -> Result<Cost> {
    let mut command = stage::cargo(folder);
    command
        .args(["build", "--offline"])
        .args(arguments)
        .env("CARGO_TARGET_DIR", target);
    let cost = process::run(&mut command)?;
    // Cargo's own, and nobody asked for it.
    let peak_bytes = None;
    Ok(Cost { peak_bytes, ..cost })
}
