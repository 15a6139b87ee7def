//! `db restore --only TABLE[,…]`: tables of a backup come beside what is there,
//! to fetch what somebody deleted. Nothing that is there is merged with.

use anyhow::{Context, Result};
use serde::Serialize;

use super::offsite::bring;
use super::restore::Force;
use super::{Scene, choose, into, journal, kinds, restore};
use crate::cli::Restore;
use crate::engine::{Brought, Engine, ScratchOrder, TablesOrder};
use crate::ui;
use crate::values::chosen::{self, NotChosen};
use crate::values::database::{DatabaseFacts, EngineKind, TableRows};
use crate::values::failure::Failure;
use crate::values::journal::Deed;
use crate::values::schema::RelationKind;
use crate::values::words::{on_one_line, shell_quoted};
use crate::vault::Backup;

#[derive(Serialize)]
struct Document<'a> {
    restored: &'a str,
    into: &'a DatabaseFacts,
    tables: Vec<Table<'a>>,
    safety_backup: Option<String>,
    /// What is otherwise than in the backup, or did not come.
    notes: &'a [String],
}

#[derive(Serialize)]
struct Table<'a> {
    schema: &'a str,
    name: &'a str,
    rows: u64,
    /// The schema that it has come into.
    into_schema: &'a str,
}

/// What goes where.
struct Order<'a> {
    chosen: &'a Backup,
    tables: Vec<TableRows>,
    /// Schema and name that each will have.
    destinations: Vec<(String, String)>,
    facts: &'a DatabaseFacts,
    schema: Option<&'a str>,
    /// The same again, behind `cargo xtask db`.
    verb: String,
}

pub fn run(scene: &Scene, arguments: &Restore, names: &str) -> Result<()> {
    super::refuse_url(names)?;
    if let Some(schema) = &arguments.into_schema {
        super::refuse_url(schema)?;
        if schema.is_empty() {
            return Err(where_to(arguments, names).into());
        }
    }
    let mut live = scene.engine()?;
    let now = live.facts()?;
    let mut listing = scene.vault.list()?;
    if bring::missing(scene, arguments, &listing, &now)? {
        listing = scene.vault.list()?;
    }
    let is_ours = choose::ours(&listing, &now);
    let (mut there, place) = match (&arguments.into, &arguments.into_schema) {
        (Some(url), _) => {
            let (there, url) = into::open(scene, url)?;
            (there, format!("--into {url}"))
        }
        (None, Some(schema)) => (live, format!("--into-schema {}", shell_quoted(schema))),
        (None, None) => return Err(where_to(arguments, names).into()),
    };
    let chosen = restore::choose_backup(scene, arguments, &listing, &is_ours, &now)?;
    let facts = there.facts()?;
    refuse_without_rows(chosen)?;
    let tables = choose_tables(chosen, names)?;
    let (id, only) = (chosen.id(), shell_quoted(names));
    let verb = format!("restore {id} --only {only} {place}");
    let schema = arguments.into_schema.as_deref();
    match schema {
        Some(schema) => refuse_schema(chosen, &facts, schema, &only, &tables)?,
        None => {
            into::refuse_engine(chosen, &facts)?;
            let hint = format!(
                "to bring them beside what is there: cargo xtask db restore {id} --only {only} --into-schema …"
            );
            into::refuse_live(scene, &mut *there, &now, hint)?;
        }
    }
    let destination = |table: &TableRows| {
        let schema = schema.unwrap_or(&table.schema);
        (schema.to_owned(), table.name.clone())
    };
    let order = Order {
        chosen,
        destinations: tables.iter().map(destination).collect(),
        tables,
        facts: &facts,
        schema,
        verb,
    };
    carry_out(scene, arguments, &mut *there, &order)
}

fn carry_out(
    scene: &Scene,
    arguments: &Restore,
    there: &mut dyn Engine,
    order: &Order,
) -> Result<()> {
    scene.prepare_vault()?;
    let _lock = scene.vault.lock("restore", &scene.who)?;
    if order.schema.is_some() {
        scene.say_unfinished();
        scene.end_left_exclusive(there)?;
    }
    let progress = scene.ui.progress();
    let mut dump = scene.verify(order.chosen)?;
    let verb = format!("{}{}", order.verb, arguments.forced());
    scene.unlock(&mut dump, &verb)?;
    let exists = there.exists()?;
    if exists {
        there.lock()?;
    }
    let taken = refuse_taken(there, arguments, order)?;
    if !taken.is_empty() {
        scene.settle_seal(there, order.facts)?;
    }
    let asks = !(arguments.yes || arguments.force);
    show(scene, order, exists, &taken, asks);
    if asks {
        let what = "nothing that is there is changed";
        restore::confirm(scene, what, &order.command())?;
    }
    // Somebody may have been there while the question was.
    restore::exists_by_now(there, exists)?;
    let taken = refuse_taken(there, arguments, order)?;
    let safety = match taken.is_empty() {
        true => None,
        false => {
            // Also another value in as many rows is seen before they are dropped.
            there.take_fingerprints();
            restore::take_safety_backup(scene, there, Force::Nothing)?
        }
    };
    let replace = order.replaced(&taken, safety.as_ref())?;
    let staging = scene.vault.staging("restore")?;
    let tables = TablesOrder {
        scratch: ScratchOrder {
            dump: &dump,
            is_fresh: false,
            elsewhere: scene.settings.scratch_url.as_ref(),
            staging: staging.path(),
            otherwise: "",
            reaches: None,
        },
        tables: &order.tables,
        schema: order.schema,
        replace: &replace,
    };
    let brought = scene.recorded_with(
        Deed::Bring,
        order.facts,
        || there.bring(&tables, &progress),
        |done, entry| {
            entry.backup = Some(order.chosen.id().clone());
            entry.safety = journal::safety_of(done, safety.as_ref());
            entry.note = Some(format!("only {}", order.names()));
        },
    );
    report(scene, order, safety.as_ref(), &brought?)
}

impl Order<'_> {
    fn command(&self) -> String {
        format!("cargo xtask db {}", self.verb)
    }

    /// What is dropped for them: tables that were just backed up, and nothing else.
    fn replaced(
        &self,
        taken: &[String],
        safety: Option<&Backup>,
    ) -> Result<Vec<TableRows>, Failure> {
        let is_postgres = self.facts.engine == EngineKind::Postgresql;
        let is_meant = |table: &&TableRows| {
            let mut names = self.destinations.iter();
            matches!(table.kind, RelationKind::Table | RelationKind::Partition)
                && names.any(|(schema, name)| match is_postgres {
                    true => (schema.as_str(), name.as_str()) == table.key(),
                    false => name.eq_ignore_ascii_case(&table.name),
                })
        };
        let tables = safety.iter().flat_map(|safety| &safety.manifest.tables);
        let tables: Vec<TableRows> = tables.filter(is_meant).cloned().collect();
        if tables.len() >= taken.len() {
            return Ok(tables);
        }
        let names = taken.iter().map(|name| format!("`{}`", on_one_line(name)));
        let names = names.collect::<Vec<_>>().join(", ");
        Err(Failure::refused(format!(
            "what the {} has as {names} is not only tables, and nothing else is replaced",
            self.facts
        ))
        .hint("name another database; or take it out of the way by hand"))
    }

    /// As they stand in the backup, and where they go.
    fn names(&self) -> String {
        let names = self.tables.iter().map(|table| format!("`{table}`"));
        let names = names.collect::<Vec<_>>().join(", ");
        match self.schema {
            Some(schema) => format!("{names} into the schema `{}`", on_one_line(schema)),
            None => names,
        }
    }
}

fn where_to(arguments: &Restore, names: &str) -> Failure {
    let id = arguments.backup.as_deref().unwrap_or("latest");
    let (id, names) = (shell_quoted(id), shell_quoted(names));
    Failure::usage("where are the tables to come to?").hint(format!(
        "cargo xtask db restore {id} --only {names} --into-schema rescued; \
         or, into another database: --into URL"
    ))
}

fn refuse_without_rows(chosen: &Backup) -> Result<(), Failure> {
    kinds::refuse_alone(chosen)?;
    if chosen.manifest.kind.has_rows() {
        return Ok(());
    }
    let id = chosen.id();
    Err(
        Failure::refused(format!("the backup `{id}` holds definitions and no rows"))
            .hint("name one that holds rows: cargo xtask db list"),
    )
}

fn choose_tables(chosen: &Backup, names: &str) -> Result<Vec<TableRows>, Failure> {
    let manifest = &chosen.manifest;
    let contents = manifest.contents();
    let tables = chosen::choose(names, &contents, manifest.database.engine);
    tables.map_err(|error| {
        let id = chosen.id();
        let hint = match &error {
            NotChosen::NoName(_) => {
                "quote the names for SQL, and all of it for the shell: --only 'books,\"Order Lines\"'".into()
            }
            NotChosen::Unknown {
                nearest: Some(nearest),
                ..
            } => format!("did you mean `--only {}`?", shell_quoted(nearest)),
            NotChosen::Unknown { .. } => {
                format!("what the backup holds: cargo xtask db diff {id} live")
            }
            NotChosen::NoTable { .. } => format!(
                "name the tables that it reads; or restore all of it: cargo xtask db restore {id} --into URL"
            ),
        };
        match error {
            NotChosen::NoName(_) => Failure::usage(format!("`--only`: {error}")),
            _ => Failure::refused(on_one_line(&error.to_string())),
        }
        .hint(hint)
    })
}

/// What `--into-schema` cannot do. In SQLite a schema is a file that is attached: then it is one.
fn refuse_schema(
    chosen: &Backup,
    now: &DatabaseFacts,
    schema: &str,
    only: &str,
    tables: &[TableRows],
) -> Result<(), Failure> {
    restore::refuse_engine(chosen, now)?;
    if now.engine == EngineKind::Sqlite {
        // A name that is one in SQL, in a URL and in a shell.
        let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let schema = match schema.chars().all(is_plain) {
            true => schema,
            false => "rescued",
        };
        return Err(Failure::refused(
            "SQLite has no schemas beside `main`: what it calls so is another file, attached",
        )
        .hint(format!(
            "cargo xtask db restore {} --only {only} --into sqlite:{schema}.db; then, in the live database: \
             ATTACH '{schema}.db' AS {schema};",
            chosen.id()
        )));
    }
    if schema.starts_with("pg_") || schema == "information_schema" {
        // Names are looked up there first, and no backup holds what is in it.
        return Err(
            Failure::usage(format!("the schema `{schema}` is the server's own"))
                .hint("name one that is not: --into-schema rescued"),
        );
    }
    let mut names: Vec<&str> = tables.iter().map(|table| table.name.as_str()).collect();
    names.sort_unstable();
    let twice = names.windows(2).find(|pair| pair[0] == pair[1]);
    match twice {
        Some(pair) => Err(Failure::refused(format!(
            "two of these tables are called `{}`, and one schema can hold only one of them",
            on_one_line(pair[0])
        ))
        .hint("bring them one at a time, each into a schema of its own")),
        None => Ok(()),
    }
}

/// What will be replaced, which somebody must have asked for; never in the live database.
fn refuse_taken(there: &mut dyn Engine, arguments: &Restore, order: &Order) -> Result<Vec<String>> {
    let taken = there.taken(&order.destinations)?;
    if taken.is_empty() || (arguments.force && order.schema.is_none()) {
        return Ok(taken);
    }
    let names = taken.iter().map(|name| format!("`{}`", on_one_line(name)));
    let names = names.collect::<Vec<_>>().join(", ");
    let facts = order.facts;
    let hint = match order.schema {
        Some(_) => {
            "name another schema: what is in the live database is never replaced by this".into()
        }
        None => format!(
            "name another database; or, to replace them: {} --force",
            order.command()
        ),
    };
    Err(Failure::refused(format!("the {facts} has {names} already"))
        .hint(hint)
        .into())
}

fn show(scene: &Scene, order: &Order, exists: bool, taken: &[String], asks: bool) {
    let manifest = &order.chosen.manifest;
    let there = if exists {
        ""
    } else {
        ", which does not exist yet"
    };
    let mut lines = restore::heading(manifest, format!("{}{there}", order.facts));
    let destinations = order.tables.iter().zip(&order.destinations);
    for (i, (table, (schema, name))) in destinations.enumerate() {
        let word = if i == 0 { "table" } else { "" };
        let rows = ui::count(table.rows, "row");
        let to = match order.schema {
            Some(_) => format!(" as {}", on_one_line(&format!("{schema}.{name}"))),
            None => String::new(),
        };
        lines.push(format!("{word:<10}{table}, {rows}{to}"));
    }
    lines.extend(kinds::lines(manifest));
    for name in taken {
        let name = on_one_line(name);
        lines.push(format!("warning: `{name}` is there and will be replaced"));
    }
    restore::say_all(scene, lines, asks);
}

fn report(scene: &Scene, order: &Order, safety: Option<&Backup>, brought: &Brought) -> Result<()> {
    let id = order.chosen.id();
    let rows: u64 = order.tables.iter().map(|table| table.rows).sum();
    scene.ui.say(format!(
        "brought {} of `{id}` into the {}: {}, {}, counted there",
        order.names(),
        order.facts,
        ui::count(order.tables.len() as u64, "table"),
        ui::count(rows, "row")
    ));
    for note in &brought.notes {
        scene.ui.insist(format!("note: {}", on_one_line(note)));
    }
    if let Some(safety) = safety {
        let id = safety.id();
        scene
            .ui
            .say(format!("what was there before is in the backup `{id}`"));
    }
    let tables = order.tables.iter().zip(&order.destinations);
    let tables = tables.map(|(table, (schema, _))| Table {
        schema: &table.schema,
        name: &table.name,
        rows: table.rows,
        into_schema: schema,
    });
    let emitted = scene.ui.emit(&Document {
        restored: id.as_str(),
        into: &order.facts.for_show(),
        tables: tables.collect(),
        safety_backup: safety.map(|safety| safety.id().to_string()),
        notes: &brought.notes,
    });
    emitted.context("cannot report what was done")
}
