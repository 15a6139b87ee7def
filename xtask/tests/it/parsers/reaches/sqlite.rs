//! Statements of SQLite that reach out.

use xtask_db::parsers::EngineKind::Sqlite;

use super::finds;

const CASES: &str = r#"
ATTACH 'other.db' AS other => Outside ATTACH … AS other
attach database :file as [x y] => Outside ATTACH DATABASE … as [x y]
DETACH DATABASE other => Outside DETACH DATABASE other
VACUUM INTO 'copy.db' => Outside VACUUM INTO a file
VACUUM main INTO ?1 => Outside VACUUM INTO a file
SELECT load_extension('x') => Outside load_extension()
SELECT writefile('x', a) FROM t => Outside writefile()
INSERT INTO t VALUES (readfile('x')) => Outside readfile()
PRAGMA temp_store_directory = '/tmp' => Outside PRAGMA temp_store_directory
CREATE VIRTUAL TABLE c USING csv(filename='x') => Outside CREATE VIRTUAL TABLE c USING csv
BEGIN IMMEDIATE => OwnTransaction BEGIN IMMEDIATE
COMMIT => OwnTransaction COMMIT
END TRANSACTION => OwnTransaction END TRANSACTION
ROLLBACK => OwnTransaction ROLLBACK
DELETE FROM `_SQLX_Migrations` => Bookkeeping DELETE FROM `_SQLX_Migrations`
DELETE FROM '_sqlx_migrations' => Bookkeeping DELETE FROM …
INSERT OR IGNORE INTO main.[_sqlx_migrations] VALUES (1) => Bookkeeping INSERT OR IGNORE INTO main.[_sqlx_migrations]
REPLACE INTO _sqlx_migrations VALUES (1) => Bookkeeping REPLACE INTO _sqlx_migrations
UPDATE OR FAIL _sqlx_migrations SET success = 1 => Bookkeeping UPDATE OR FAIL _sqlx_migrations
DROP TABLE IF EXISTS _sqlx_migrations => Bookkeeping DROP TABLE IF EXISTS _sqlx_migrations
.read other.sql => Unknown a statement that begins with no word
GRANT a TO b => Unknown GRANT a TO b
CREATE ROLE r => Unknown CREATE ROLE r
SELECT 'never ends; COMMIT => Unknown SELECT
CREATE TRIGGER t AFTER INSERT ON a BEGIN DELETE FROM b => Unknown CREATE TRIGGER t AFTER
"#;

#[test]
fn each_is_named() {
    for case in CASES.trim().lines() {
        let (sql, expected) = case
            .split_once(" => ")
            .expect("a statement and what is found");
        finds(Sqlite, sql, &[&format!("1 {expected}")]);
        let before = "CREATE TRIGGER t AFTER INSERT ON a BEGIN SELECT 1; END;\n/* '/* */ SELECT [']\n;-- \r'\n";
        finds(
            Sqlite,
            &format!("{before}{sql}"),
            &[&format!("4 {expected}")],
        );
    }
}

#[test]
fn a_trigger_waits() {
    let sql = "CREATE TEMPORARY TRIGGER t AFTER INSERT ON a BEGIN\n\
               DELETE FROM _sqlx_migrations;\nSELECT load_extension('x'); END;\nEND;";
    let expected = [
        "2 Bookkeeping- DELETE FROM _sqlx_migrations",
        "3 Outside- load_extension()",
        "4 OwnTransaction END",
    ];
    finds(Sqlite, sql, &expected);
    let sql = "CREATE TRIGGER t AFTER INSERT ON _sqlx_migrations BEGIN SELECT 1; END";
    finds(
        Sqlite,
        sql,
        &["1 Bookkeeping CREATE TRIGGER ON _sqlx_migrations"],
    );
}
