//! An error chain as a person reads it: every cause once, in its own words.

use std::error::Error;

/// The chain, outermost first. What a driver wraps around the database's own
/// words is left out, and so is a cause that a neighbour already says.
pub fn lines(error: &anyhow::Error) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for cause in error.chain() {
        let (line, is_last) = words(cause);
        match lines.last_mut() {
            Some(last) if last.contains(&line) => {}
            Some(last) if line.starts_with(last.as_str()) => *last = line,
            _ => lines.push(line),
        }
        if is_last {
            break;
        }
    }
    lines
}

/// The words of one cause, and whether all below it only says the same again.
fn words(cause: &(dyn Error + 'static)) -> (String, bool) {
    if let Some(error) = cause.downcast_ref::<sqlx::Error>() {
        match error {
            sqlx::Error::Database(error) => return (database_words(&**error), true),
            sqlx::Error::Io(error) => return (error.to_string(), true),
            sqlx::Error::Tls(error) => return (error.to_string(), true),
            _ => {}
        }
    }
    if let Some(rusqlite::Error::SqliteFailure(_, Some(message))) = cause.downcast_ref() {
        return (message.clone(), true);
    }
    (cause.to_string(), false)
}

/// PostgreSQL's errors also carry a line: that of the server's own source
/// code, which sqlx appends and a reader would look for in the migration.
fn database_words(error: &(dyn sqlx::error::DatabaseError + 'static)) -> String {
    let mut words = error.message().to_owned();
    let postgres = error.try_downcast_ref::<sqlx::postgres::PgDatabaseError>();
    if let Some(detail) = postgres.and_then(|error| error.detail()) {
        words = format!("{words} ({detail})");
    }
    words
}
