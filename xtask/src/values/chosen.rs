//! Tables of a backup that somebody asks for by name.

use super::database::{Contents, EngineKind, TableRows};
use super::loss::{LossName, NoLossName};
use super::schema::{RelationKind, display_name};

/// Below this, a name is too unlike the one that was asked for to be meant.
const LIKENESS: f64 = 0.7;

#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum NotChosen {
    #[error(
        "`{0}` is no name of a table; such are `books`, `shop.books`, `\"Books\"`, with commas between them"
    )]
    NoName(String),
    #[error("the backup has no table `{name}`")]
    Unknown {
        name: String,
        /// As it would be asked for.
        nearest: Option<String>,
    },
    #[error("`{name}` is a {kind}, which has no rows of its own in a backup")]
    NoTable { name: String, kind: RelationKind },
}

/// Each of them once, in the order in which they were asked for.
pub fn choose(
    text: &str,
    contents: &Contents,
    engine: EngineKind,
) -> Result<Vec<TableRows>, NotChosen> {
    let names = LossName::parse_list(text);
    let names = names.map_err(|NoLossName(name)| NotChosen::NoName(name))?;
    let mut chosen: Vec<TableRows> = Vec::new();
    for name in names {
        let table = find(&name, contents, engine)?;
        if !chosen.contains(&table) {
            chosen.push(table);
        }
    }
    Ok(chosen)
}

fn find(name: &LossName, contents: &Contents, engine: EngineKind) -> Result<TableRows, NotChosen> {
    let is_meant = |schema: &str, table: &str| name.matches_table(engine, schema, table);
    let mut relations = contents.relations.iter();
    let relation = relations.find(|relation| is_meant(&relation.schema, &relation.name));
    let mut tables = contents.tables.iter();
    let table = tables.find(|table| is_meant(&table.schema, &table.name));
    let kind = match (relation, table) {
        (Some(relation), _) => relation.kind,
        (None, Some(table)) => table.kind,
        (None, None) => {
            return Err(NotChosen::Unknown {
                name: name.to_string(),
                nearest: nearest(name, contents),
            });
        }
    };
    match (kind, table) {
        (RelationKind::Table | RelationKind::Partition, Some(table)) => Ok(table.clone()),
        _ => Err(NotChosen::NoTable {
            name: name.to_string(),
            kind,
        }),
    }
}

fn nearest(name: &LossName, contents: &Contents) -> Option<String> {
    let asked = name.to_string().to_lowercase();
    let tables = contents
        .tables
        .iter()
        .filter(|table| matches!(table.kind, RelationKind::Table | RelationKind::Partition));
    let names = tables.map(|table| in_sql(&table.schema, &table.name));
    let likeness = |name: String| {
        let plain = name.to_lowercase();
        let last = plain.rsplit('.').next().unwrap_or_default().to_owned();
        let of =
            |name: &str| strsim::normalized_damerau_levenshtein(&asked, name.trim_matches('"'));
        // A table in another schema than the usual one is asked for without it.
        (of(&plain).max(of(&last)), of(&plain), name)
    };
    let order =
        |a: &(f64, f64, _), b: &(f64, f64, _)| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1));
    let (likeness, _, name) = names.map(likeness).max_by(order)?;
    (likeness >= LIKENESS).then_some(name)
}

/// As [`choose`] reads it: without the schema that everything is in.
pub fn in_sql(schema: &str, name: &str) -> String {
    match display_name(schema, "").is_empty() {
        true => LossName::of(&[name]).to_string(),
        false => LossName::of(&[schema, name]).to_string(),
    }
}
