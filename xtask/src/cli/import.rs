//! The flags of `db import`.

use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Args)]
pub struct Import {
    /// What `db export` wrote: a file, or a folder of CSV files
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Only this table of the file; can be given several times [default: all but sqlx's own]
    #[arg(long = "table", value_name = "TABLE")]
    pub tables: Vec<String>,
    /// Delete the rows that are in these tables first, in the same transaction
    #[arg(long, conflicts_with = "append")]
    pub replace: bool,
    /// Keep the rows that are in these tables, and add those of the file
    #[arg(long)]
    pub append: bool,
    /// The file was edited since it was exported: do not ask for its rows to be those
    #[arg(long)]
    pub edited: bool,
    /// Answer the question with `yes`
    #[arg(long, short)]
    pub yes: bool,
}
