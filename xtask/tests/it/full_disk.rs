//! No space left, wherever it runs out: nothing is published, the database is as it was, the error
//! says so, and with some space the same command is fine.
//!
//! Two ways to run out: a file system of a few MiB in a mount namespace of the test's own, where the
//! kernel lets this user have one (for a server: where it lets root); and everywhere a limit on the size of files, which fails a write
//! in the middle of a file as a full or broken disk does.

mod io_error;
mod limited;
mod mounted;
mod server;
mod server_disk;
mod small;

use crate::exec::Output;
use crate::setup::{Case, database_digests};

/// All that a failed backup must leave alone.
struct Before {
    files: Vec<String>,
    digests: Vec<(String, String)>,
    contents: serde_json::Value,
}

impl Before {
    fn of(case: &Case) -> Self {
        Self {
            files: case.project.vault_files(),
            digests: database_digests(&case.project.sqlite_path()),
            contents: case.contents(),
        }
    }

    #[track_caller]
    fn is_still_there(&self, case: &Case, output: &Output) {
        assert_eq!(case.project.vault_files(), self.files, "{output}");
        let digests = database_digests(&case.project.sqlite_path());
        assert_eq!(digests, self.digests, "{output}");
        assert_eq!(case.contents(), self.contents, "{output}");
    }
}

/// A table that no compression makes smaller.
fn fill_sqlite(case: &Case, rows: u32) {
    case.query(&format!(
        "CREATE TABLE IF NOT EXISTS t (id INTEGER PRIMARY KEY, bytes BLOB);
         WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < {rows})
         INSERT OR REPLACE INTO t SELECT x, randomblob(1000) FROM n;"
    ));
}
