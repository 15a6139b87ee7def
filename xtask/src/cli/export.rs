//! The flags of `db export`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

#[derive(Debug, Args)]
pub struct Export {
    /// The file to write, or `-` for stdout; of CSV, the folder
    #[arg(long, short, value_name = "FILE")]
    pub output: PathBuf,
    /// `ndjson`: one JSON object a line; `json`: one document; `csv`: a folder with a file for each
    /// table [default: by the name of FILE, else ndjson]
    #[arg(long, value_name = "FORMAT", value_enum, hide_possible_values = true)]
    pub format: Option<ExportFormat>,
    /// Only this table; can be given several times [default: all but sqlx's own]
    #[arg(long = "table", value_name = "TABLE")]
    pub tables: Vec<String>,
    /// Take the place of a file that is there
    #[arg(long)]
    pub force: bool,
}

/// How rows stand in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ExportFormat {
    Json,
    Ndjson,
    Csv,
}
