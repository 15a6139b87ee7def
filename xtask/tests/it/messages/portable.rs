//! `db export` and `db import`.

use std::fs;

use super::{said, steady};
use crate::project::Project;

#[test]
fn of_db_export() {
    let _steady = steady();
    insta::assert_snapshot!(said(&Project::new(), ["db", "export", "--help"]), @"
    exit code 0
    --- stdout
    Write rows into a file that can be read, edited and imported

    Usage: cargo xtask db export [OPTIONS] --output <FILE>

    Options:
      -o, --output <FILE>    The file to write, or `-` for stdout; of CSV, the folder
          --format <FORMAT>  `ndjson`: one JSON object a line; `json`: one document; `csv`: a folder
                             with a file for each table [default: by the name of FILE, else ndjson]
          --table <TABLE>    Only this table; can be given several times [default: all but sqlx's own]
          --force            Take the place of a file that is there
      -h, --help             Print help

    Options of every verb:
          --database-url <URL>  The database [env: DATABASE_URL, also in `.env`] [default:
                                sqlite://database/app.db]
          --profile <NAME>      Its platform: supabase, neon, vercel, rds, none [default: by host]
          --source <DIR>        The migrations folder [default: `migrations` in the project]
          --backups <DIR>       The vault of backups [default: `database/backups` in the project]
          --offsite-url <URL>   A place off-site for copies of backups, such as `s3://bucket/prefix`;
                                may be given more than once [env: OFFSITE_URL]
          --project <DIR>       The project [default: the nearest folder upwards with `migrations/` or
                                `database/`]
          --json                One JSON document on stdout, nothing else there
      -q, --quiet               Say nothing but errors and questions
      -v, --verbose             Say more

    Encryption:
          --recipient <KEY>               Encrypt backups for this public key (`age1…`, `ssh-ed25519 …`,
                                          `ssh-rsa …`); may be repeated. Unnamed: for those of the
                                          backup before; `none`: for nobody, unencrypted [env:
                                          XTASK_DB_RECIPIENTS, separated by commas]
          --recipients-file <FILE>        The same for every line of this file; may be repeated [env:
                                          XTASK_DB_RECIPIENTS_FILE]
          --identity <FILE>               A file with a secret key (age's, or an SSH key) that opens
                                          backups; may be repeated [env: XTASK_DB_IDENTITY]
          --passphrase-file <FILE>        The passphrase of backups, where there are no recipients, or
                                          of an SSH key: the line in this file [env:
                                          XTASK_DB_PASSPHRASE_FILE]
          --passphrase-command <COMMAND>  The same: what this command of a shell prints; other programs
                                          of this machine can see the command, so it must not hold the
                                          passphrase itself [env: XTASK_DB_PASSPHRASE_COMMAND]
          --unencrypted-in-public         Take, fetch, export unencrypted also in GitHub Actions of a
                                          public repository [env: XTASK_DB_UNENCRYPTED_IN_PUBLIC=true]
    ");
}

#[test]
fn of_db_import() {
    let _steady = steady();
    insta::assert_snapshot!(said(&Project::new(), ["db", "import", "--help"]), @"
    exit code 0
    --- stdout
    Put the rows of such a file into the database, or change nothing

    Usage: cargo xtask db import [OPTIONS] <FILE>

    Arguments:
      <FILE>  What `db export` wrote: a file, or a folder of CSV files

    Options:
          --table <TABLE>  Only this table of the file; can be given several times [default: all but
                           sqlx's own]
          --replace        Delete the rows that are in these tables first, in the same transaction
          --append         Keep the rows that are in these tables, and add those of the file
          --edited         The file was edited since it was exported: do not ask for its rows to be
                           those
      -y, --yes            Answer the question with `yes`
      -h, --help           Print help

    Options of every verb:
          --database-url <URL>  The database [env: DATABASE_URL, also in `.env`] [default:
                                sqlite://database/app.db]
          --profile <NAME>      Its platform: supabase, neon, vercel, rds, none [default: by host]
          --source <DIR>        The migrations folder [default: `migrations` in the project]
          --backups <DIR>       The vault of backups [default: `database/backups` in the project]
          --offsite-url <URL>   A place off-site for copies of backups, such as `s3://bucket/prefix`;
                                may be given more than once [env: OFFSITE_URL]
          --project <DIR>       The project [default: the nearest folder upwards with `migrations/` or
                                `database/`]
          --json                One JSON document on stdout, nothing else there
      -q, --quiet               Say nothing but errors and questions
      -v, --verbose             Say more

    Encryption:
          --recipient <KEY>               Encrypt backups for this public key (`age1…`, `ssh-ed25519 …`,
                                          `ssh-rsa …`); may be repeated. Unnamed: for those of the
                                          backup before; `none`: for nobody, unencrypted [env:
                                          XTASK_DB_RECIPIENTS, separated by commas]
          --recipients-file <FILE>        The same for every line of this file; may be repeated [env:
                                          XTASK_DB_RECIPIENTS_FILE]
          --identity <FILE>               A file with a secret key (age's, or an SSH key) that opens
                                          backups; may be repeated [env: XTASK_DB_IDENTITY]
          --passphrase-file <FILE>        The passphrase of backups, where there are no recipients, or
                                          of an SSH key: the line in this file [env:
                                          XTASK_DB_PASSPHRASE_FILE]
          --passphrase-command <COMMAND>  The same: what this command of a shell prints; other programs
                                          of this machine can see the command, so it must not hold the
                                          passphrase itself [env: XTASK_DB_PASSPHRASE_COMMAND]
          --unencrypted-in-public         Take, fetch, export unencrypted also in GitHub Actions of a
                                          public repository [env: XTASK_DB_UNENCRYPTED_IN_PUBLIC=true]
    ");
}

fn books() -> Project {
    let project = Project::new();
    project.sqlite(
        "CREATE TABLE books (id INTEGER PRIMARY KEY, title TEXT, cover BLOB);
         INSERT INTO books VALUES (1, 'Faust', x'00ff'), (9007199254740993, NULL, NULL);",
    );
    project
}

#[test]
fn an_export_and_its_lines() {
    let _steady = steady();
    let project = books();
    insta::assert_snapshot!(said(&project, ["db", "export", "-o", "books.ndjson"]), @"
    exit code 0
    --- stderr
    exported 1 table, 2 rows, of one moment, into `books.ndjson`
    ");
    let lines = fs::read_to_string(project.path().join("books.ndjson")).expect("read it");
    let lines = lines.replace(rusqlite::version(), "[VERSION]");
    insta::assert_snapshot!(lines, @r#"
    {"export": {"format":1,"engine":"sqlite","engine_version":"[VERSION]","database":"app.db","taken_at":"[TIME]","migrations":[],"tables":[{"schema":"main","name":"books","rows":2,"columns":[{"name":"id","type":"INTEGER","kind":"any"},{"name":"title","type":"TEXT","kind":"text"},{"name":"cover","type":"BLOB","kind":"any"}]}]}}
    {"table": {"schema":"main","name":"books"}}
    {"row": {"id": 1, "title": "Faust", "cover": {"bytes": "00ff"}}, "check": "4822dd51"}
    {"row": {"id": {"integer": "9007199254740993"}, "title": null, "cover": null}, "check": "9b55d2d6"}
    {"end_of_table": {"schema":"main","name":"books","rows":2,"digest":"e378b0283a92e895bd31597fb6cb3d9f"}}
    {"end": {"tables":1,"rows":2,"head":"[DIGEST]"}}
    "#);
}

#[test]
fn an_import_over_rows_and_one_of_an_edited_file() {
    let _steady = steady();
    let project = books();
    said(&project, ["db", "export", "-o", "books.ndjson"]);
    insta::assert_snapshot!(said(&project, ["db", "import", "books.ndjson"]), @"
    exit code 3
    --- stderr
    exported  [TIME] of the SQLite database `app.db`
    goes into SQLite database `[DIR]/project/database/app.db`
     table  rows now  rows to come
     books         2             2
    error: the table `books` is not empty: it has 2 rows

    hint: to delete them first: cargo xtask db import books.ndjson --replace; to add to them: cargo xtask db import books.ndjson --append
    ");
    let path = project.path().join("books.ndjson");
    let lines = fs::read_to_string(&path).expect("read it");
    fs::write(&path, lines.replace("Faust", "Emma")).expect("edit it");
    let replace = ["db", "import", "books.ndjson", "--replace", "--yes"];
    insta::assert_snapshot!(said(&project, replace), @"
    exit code 4
    --- stderr
    error: `books.ndjson` cannot be imported
    caused by: the file is not as it was exported: it was damaged, or edited
    caused by: line 3: the row is another one than was exported

    hint: if you have edited it, add `--edited`; if not, export again
    ");
    let edited = [&replace[..], &["--edited"]].concat();
    insta::assert_snapshot!(said(&project, edited), @"
    exit code 0
    --- stderr
    exported  [TIME] of the SQLite database `app.db`
    goes into SQLite database `[DIR]/project/database/app.db`
     table  rows now  rows to come
     books         2             2
    note: `books` was edited since it was exported: 1 row changed or added; exported 2, the file has 2
    backed up as backup_[TIME]_pre-import: 1 table, 2 rows, [SIZE]; read back and matched
    imported 1 table, 2 rows, into the SQLite database `[DIR]/project/database/app.db`; read back and matched with the file
    to undo: cargo xtask db restore backup_[TIME]_pre-import
    ");
    assert_eq!(
        project.sqlite("SELECT title FROM books WHERE id = 1"),
        ["Emma"]
    );
}
