//! The tool beside what a user would otherwise run: same data, same machine, in turns.
//!
//! `cargo bench --bench side_by_side` runs every part but `build`; words after `--` choose parts
//! by a piece of their names (`-- sqlite list`). The variables of [`settings`] change the sizes.
//!
//! It measures the binary of the dev profile, because that is what `cargo xtask` runs. All that it
//! creates goes away with it, however it ends; it never reads what an earlier run left.

use std::process::ExitCode;

use anyhow::{Result, bail};

// The tests' server: started, secured and ended in one place. Not all of it is needed here.
#[path = "../../tests/it/cluster.rs"]
#[allow(dead_code, unused_imports)]
mod cluster;
#[path = "../../tests/it/exec.rs"]
#[allow(dead_code)]
mod exec;
#[path = "../../tests/it/servers.rs"]
#[allow(dead_code)]
mod servers;

mod clean_build;
mod everyday;
mod load;
mod memory;
mod postgres;
mod postgres_jobs;
mod process;
mod proof;
mod report;
mod rows;
mod settings;
mod sqlite;
mod stage;
mod turns;

use report::Report;
use settings::Settings;
use stage::Stage;

type Part = fn(&Stage, &mut Report) -> Result<()>;

/// In the order in which they run; `build` takes minutes and runs only when it is named.
const PARTS: &[(&str, Part)] = &[
    ("sqlite-backup", sqlite::backup),
    ("sqlite-restore", sqlite::restore),
    ("postgres-backup", postgres::backup),
    ("postgres-restore", postgres::restore),
    ("postgres-jobs", postgres_jobs::both),
    ("list", everyday::list),
    ("status", everyday::status),
    ("nothing-pending", everyday::nothing_pending),
    ("small-migration", everyday::small_migration),
    ("proof", proof::price),
    ("memory", memory::peak),
    ("build", clean_build::build),
];
const ONLY_BY_NAME: &[&str] = &["build"];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // Cargo says `--bench` when it means it. `cargo test --all-targets` starts this program too.
    if !arguments.iter().any(|argument| argument == "--bench") {
        println!("side_by_side measures only under `cargo bench`");
        return ExitCode::SUCCESS;
    }
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<()> {
    let words = arguments.iter().filter(|word| !word.starts_with("--"));
    let parts = chosen(&words.map(String::as_str).collect::<Vec<_>>())?;
    let settings = Settings::from_environment()?;
    println!("{settings}");
    let stage = Stage::new(settings)?;
    let mut report = Report::default();
    for (name, part) in parts {
        println!("\n## {name}");
        part(&stage, &mut report)?;
    }
    println!("\n{report}");
    Ok(())
}

fn chosen(words: &[&str]) -> Result<Vec<&'static (&'static str, Part)>> {
    let names: Vec<&str> = PARTS.iter().map(|(name, _)| *name).collect();
    if let Some(word) = words
        .iter()
        .find(|word| !names.iter().any(|name| name.contains(**word)))
    {
        bail!("no part has `{word}` in its name; there are: {names:?}");
    }
    let is_chosen = |name: &str| {
        if words.is_empty() {
            !ONLY_BY_NAME.contains(&name)
        } else {
            words.iter().any(|word| name.contains(word))
        }
    };
    Ok(PARTS.iter().filter(|(name, _)| is_chosen(name)).collect())
}
