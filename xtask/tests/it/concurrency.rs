//! Many at once: runs of the tool against each other, writers that never stop, and a pool that
//! comes back the moment it is cut. What is there afterwards is one whole state, and no mixture.

mod at_once;
mod live_file;
mod pool;
mod writers;

use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::exec;
use crate::setup::Case;

/// Money moves between and inside of two tables and never appears or disappears: a copy from two
/// moments, or with half of a transaction, has another sum.
const ACCOUNTS: i64 = 40;
const TOTAL: i64 = 2 * ACCOUNTS * 1000;
const SUM: &str = "SELECT CAST((SELECT sum(balance) FROM first) + (SELECT sum(balance) FROM second)
                   AS BIGINT);";

fn create_accounts(case: &Case) {
    for table in ["first", "second"] {
        let rows: Vec<String> = (0..ACCOUNTS).map(|id| format!("({id}, 1000)")).collect();
        case.query(&format!(
            "CREATE TABLE {table} (id BIGINT NOT NULL PRIMARY KEY, balance BIGINT NOT NULL);
             INSERT INTO {table} VALUES {};",
            rows.join(", ")
        ));
    }
}

/// The dump, unpacked with nothing of the tool.
fn unpacked(case: &Case, id: &str) -> PathBuf {
    let to = case.project.tmp().join(format!("{id}.unpacked"));
    let mut zstd = Command::new("zstd");
    zstd.args(["--decompress", "--quiet", "-o"])
        .arg(&to)
        .arg(case.dump(id))
        .stdin(Stdio::null());
    exec::run(&mut zstd, None).expect_code(0);
    to
}
