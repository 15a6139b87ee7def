//! How much is measured, and how often; each by a variable.

use std::env;
use std::fmt;
use std::str::FromStr;

use anyhow::{Context, Result, ensure};

pub struct Settings {
    /// `XTASK_DB_BENCH_MB`: the size of each database, in MB.
    pub megabytes: u64,
    /// `XTASK_DB_BENCH_ROUNDS`: how often each candidate has its turn.
    pub rounds: usize,
    /// `XTASK_DB_BENCH_BACKUPS`: how many backups a full vault has.
    pub backups: usize,
    /// `XTASK_DB_BENCH_MEMORY_MB`: the databases whose backup's memory is looked at. 4000 takes
    /// a quarter of an hour, and is not among them unless asked for.
    pub memory_megabytes: Vec<u64>,
    /// `XTASK_DB_BENCH_BUILD_ROUNDS`: how often all is built from nothing.
    pub build_rounds: usize,
    /// `XTASK_DB_SEED`: what the generated rows begin from.
    pub seed: u64,
}

impl Settings {
    pub fn from_environment() -> Result<Settings> {
        let settings = Settings {
            megabytes: number("XTASK_DB_BENCH_MB", 1000)?,
            rounds: number("XTASK_DB_BENCH_ROUNDS", 5)?,
            backups: number("XTASK_DB_BENCH_BACKUPS", 10_000)?,
            memory_megabytes: variable("XTASK_DB_BENCH_MEMORY_MB", "10,1000")
                .split(',')
                .map(|size| parse("XTASK_DB_BENCH_MEMORY_MB", size))
                .collect::<Result<_>>()?,
            build_rounds: number("XTASK_DB_BENCH_BUILD_ROUNDS", 2)?,
            seed: number("XTASK_DB_SEED", 20_260_123)?,
        };
        ensure!(
            settings.rounds > 0 && settings.build_rounds > 0 && settings.backups > 0,
            "nothing can be measured in no rounds"
        );
        Ok(settings)
    }
}

impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} MB in each database, {} rounds, {} backups in a full vault, seed {}",
            self.megabytes, self.rounds, self.backups, self.seed
        )
    }
}

fn variable(name: &str, default: &str) -> String {
    env::var(name).unwrap_or_else(|_| default.to_owned())
}

fn number<T: FromStr + ToString>(name: &str, default: T) -> Result<T>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    parse(name, &variable(name, &default.to_string()))
}

fn parse<T: FromStr>(name: &str, text: &str) -> Result<T>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    text.trim()
        .parse()
        .with_context(|| format!("`{name}` is `{text}`"))
}
