//! What may be done with a backup that is no full one.

use crate::values::failure::Failure;
use crate::values::kind::Kind;
use crate::values::manifest::{DumpFormat, Manifest};
use crate::values::words::shell_quoted;
use crate::vault::Backup;

/// `schema-only, plain`, of one that is no full one.
pub fn name(manifest: &Manifest) -> Option<String> {
    manifest.kind.name()
}

/// In place of a database it would take away what it does not hold.
pub fn refuse_in_place(chosen: &Backup) -> Result<(), Failure> {
    let Manifest { id, kind, .. } = &chosen.manifest;
    if chosen.manifest.is_full() {
        return Ok(());
    }
    Err(Failure::refused(format!(
        "the backup `{id}` is no full one and never takes the place of a database: {}",
        kind.lacks()
    ))
    .hint(match kind.has_definitions() {
        true => format!(
            "into a database that does not exist yet: cargo xtask db restore {id} --into URL"
        ),
        false => rows_by_hand(chosen),
    }))
}

/// Whether it can be restored into a database that holds nothing.
pub fn refuse_alone(chosen: &Backup) -> Result<(), Failure> {
    let Manifest { id, kind, .. } = &chosen.manifest;
    if !kind.has_definitions() {
        return Err(Failure::refused(format!(
            "the backup `{id}` holds rows and no definitions: there is no table that they could go into"
        ))
        .hint(rows_by_hand(chosen)));
    }
    let mut needs = kind.needs.clone();
    if kind.plain || chosen.manifest.dump.format == DumpFormat::Plain {
        // Text is read as a whole: what it refers to cannot be left out.
        let keys = kind.foreign_keys_left_out.iter();
        needs.extend(keys.map(|key| format!("table {} with its rows", key.refers_to)));
        needs.sort();
        needs.dedup();
    }
    if needs.is_empty() {
        return Ok(());
    }
    Err(Failure::refused(format!(
        "the backup `{id}` cannot be restored alone: it needs {}",
        needs.join(", ")
    ))
    .hint(match is_sqlite(chosen) {
        true => format!(
            "take one that holds these tables too, or a full one: cargo xtask db backup; or read it \
             by hand: {} | {SQLITE3}",
            unpacked(chosen)
        ),
        false => "a backup with `--schema` holds what belongs together; a full one holds all".into(),
    }))
}

fn is_sqlite(chosen: &Backup) -> bool {
    chosen.manifest.database.path.is_some()
}

/// By itself, a newer program (3.52, say) writes neither a virtual table's parts nor its place in the schema.
const SQLITE3: &str = "sqlite3 -bail -cmd '.dbconfig defensive off' FILE";

/// The command that gives what the engine wrote.
fn unpacked(chosen: &Backup) -> String {
    let dump = shell_quoted(&chosen.dump_path.display().to_string());
    match &chosen.manifest.dump.encryption {
        None => format!("zstd -dc {dump}"),
        Some(encryption) if encryption.passphrase => format!("age --decrypt {dump} | zstd -dc"),
        Some(_) => format!("age --decrypt --identity KEY {dump} | zstd -dc"),
    }
}

/// Into tables that are there: as whoever knows them decides.
fn rows_by_hand(chosen: &Backup) -> String {
    let unpacked = unpacked(chosen);
    let into = "into empty tables that are there already, whose triggers fire";
    let format = chosen.manifest.dump.format;
    let command = match (is_sqlite(chosen), format) {
        (true, _) => return format!("{into}: {unpacked} | {SQLITE3}"),
        (false, DumpFormat::Directory) => format!(
            "mkdir rows && {unpacked} | tar -xC rows && pg_restore --data-only \
             --single-transaction --exit-on-error --dbname=URL rows"
        ),
        (false, DumpFormat::Plain) => {
            format!("{unpacked} | psql --set=ON_ERROR_STOP=1 --single-transaction --dbname=URL")
        }
        (false, _) => format!(
            "{unpacked} | pg_restore --data-only --single-transaction --exit-on-error --dbname=URL"
        ),
    };
    format!(
        "{into}: {command}\nwhere foreign keys lead in a circle, as a superuser with {}",
        Kind::without_keys(format == DumpFormat::Plain)
    )
}

/// For the one who is asked.
pub fn lines(manifest: &Manifest) -> Vec<String> {
    let Kind {
        foreign_keys_left_out,
        ..
    } = &manifest.kind;
    let mut lines = Vec::new();
    if let Some(name) = name(manifest) {
        lines.push(format!("kind      {name}: {}", manifest.kind.lacks()));
    }
    lines.extend(foreign_keys_left_out.iter().map(|key| {
        format!(
            "warning: the foreign key `{}` of `{}.{}` does not come back: `{}` or its rows are not in the backup",
            key.name, key.schema, key.table, key.refers_to
        )
    }));
    lines
}
