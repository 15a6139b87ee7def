//! The flags of `db prune`, `db pin` and `db unpin`.

use clap::Args;

#[derive(Debug, Args)]
pub struct Prune {
    #[command(flatten)]
    pub keep: Keep,
    /// Instead of backups, the databases that restores of this one replaced and kept
    #[arg(long, conflicts_with = "Keep")]
    pub kept: bool,
    /// Of those, only the ones that were replaced at least this many days ago
    #[arg(
        long,
        value_name = "DAYS",
        requires = "kept",
        conflicts_with = "offsite"
    )]
    pub older_than: Option<u32>,
    /// Instead of backups in the vault, their copies, by the policy of each place in `database/db.toml`
    #[arg(long, conflicts_with_all = ["Keep", "kept"])]
    pub offsite: bool,
    /// Show what would be removed; remove nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Answer the question with `yes`
    #[arg(long, short)]
    pub yes: bool,
}

/// What stays; what is not said counts as `database/db.toml` or the default says.
#[derive(Debug, Args)]
pub struct Keep {
    /// Keep the newest N, however old they are [default: 3]
    #[arg(long, value_name = "N")]
    pub keep_last: Option<u32>,
    /// Keep the last backup of each of N hours (UTC) that have one [default: 0]
    #[arg(long, value_name = "N")]
    pub keep_hourly: Option<u32>,
    /// The same for days [default: 30]
    #[arg(long, value_name = "N")]
    pub keep_daily: Option<u32>,
    /// The same for ISO weeks [default: 12]
    #[arg(long, value_name = "N")]
    pub keep_weekly: Option<u32>,
    /// The same for months [default: 12]
    #[arg(long, value_name = "N")]
    pub keep_monthly: Option<u32>,
    /// The same for years [default: 0]
    #[arg(long, value_name = "N")]
    pub keep_yearly: Option<u32>,
    /// Keep all that are no older than TIME: `36h`, `30d`, `12w`, `6m`, `1y`, `forever` [default: 0d]
    #[arg(long, value_name = "TIME")]
    pub keep_within: Option<String>,
    /// Keep all that a person asked for, so long [default: 0d]
    #[arg(long, value_name = "TIME")]
    pub keep_manual: Option<String>,
    /// Keep all that were taken before a migration, so long [default: 90d]
    #[arg(long, value_name = "TIME")]
    pub keep_pre_migrate: Option<String>,
    /// Keep all that a restore took first, so long; no other rule keeps those [default: 90d]
    #[arg(long, value_name = "TIME")]
    pub keep_pre_restore: Option<String>,
}

impl Keep {
    /// By the names that `database/db.toml` has for them.
    pub fn given(&self) -> Vec<(&'static str, String)> {
        let count = |count: &Option<u32>| count.map(|count| count.to_string());
        super::given([
            ("retention.keep_last", count(&self.keep_last)),
            ("retention.keep_hourly", count(&self.keep_hourly)),
            ("retention.keep_daily", count(&self.keep_daily)),
            ("retention.keep_weekly", count(&self.keep_weekly)),
            ("retention.keep_monthly", count(&self.keep_monthly)),
            ("retention.keep_yearly", count(&self.keep_yearly)),
            ("retention.keep_within", self.keep_within.clone()),
            ("retention.keep_manual", self.keep_manual.clone()),
            ("retention.keep_pre_migrate", self.keep_pre_migrate.clone()),
            ("retention.keep_pre_restore", self.keep_pre_restore.clone()),
        ])
    }
}

#[derive(Debug, Args)]
pub struct Pin {
    /// `latest`, an id, or a part that only one id has
    #[arg(value_name = "latest|ID")]
    pub backup: String,
    /// What for, on one line; it stands in the vault beside the backup
    #[arg(long, value_name = "TEXT")]
    pub note: Option<String>,
}

#[derive(Debug, Args)]
pub struct Unpin {
    /// `latest`, an id, or a part that only one id has
    #[arg(value_name = "latest|ID")]
    pub backup: String,
}
