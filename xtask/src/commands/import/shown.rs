//! What an import would do, before anybody is asked.

use crate::ui::{self, Table};
use crate::values::database::{AppliedMigration, DatabaseFacts};
use crate::values::portable::fit::{Landed, Landing};
use crate::values::portable::head::Head;
use crate::values::portable::intake::Inventory;
use crate::values::words::on_one_line;

/// `history`: the migrations that are applied now.
pub fn plan(
    inventory: &Inventory,
    landing: &Landing,
    now: &DatabaseFacts,
    history: &[AppliedMigration],
) -> Vec<String> {
    let head = &inventory.head;
    let database = on_one_line(&head.database);
    let mut lines = vec![
        format!(
            "exported  {} of the {} database `{database}`",
            ui::time(head.taken_at),
            head.engine
        ),
        format!("goes into {now}"),
    ];
    let mut table = Table::new(&["table", "rows now", "rows to come"])
        .right(1)
        .right(2);
    for landed in landing.wanted() {
        table.row(&[&landed.title, &landed.rows_now, &landed.rows_to_come]);
    }
    lines.push(table.to_string().trim_end().to_owned());
    lines.extend(left_alone(head, landing));
    lines.extend(edited(inventory));
    lines.extend(hardly_compared(landing));
    if head.migrations != history {
        lines.push("note: other migrations were applied when it was exported than are now".into());
    }
    lines
}

/// What the file has and the tables do not get, and the other way round.
fn left_alone(head: &Head, landing: &Landing) -> Vec<String> {
    let mut lines = Vec::new();
    for landed in landing
        .wanted()
        .filter(|landed| !landed.defaults.is_empty())
    {
        let columns = landed.defaults.join("`, `");
        lines.push(format!(
            "note: `{}`: the file has no `{columns}`, which get their defaults",
            landed.title
        ));
    }
    let tables = head.tables.iter().zip(&landing.tables);
    for (table, _) in tables.filter(|(_, landed)| landed.is_none()) {
        let title = table.title();
        lines.push(format!("note: `{title}` of the file is not imported"));
    }
    lines
}

/// Rows that were removed are nowhere else to be seen.
fn edited(inventory: &Inventory) -> Vec<String> {
    let tables = inventory.tables.iter().zip(&inventory.head.tables);
    let edited = tables.filter(|(found, _)| found.is_edited);
    let line = edited.map(|(found, table)| {
        format!(
            "note: `{}` was edited since it was exported: {} changed or added; exported {}, the file has {}",
            table.title(),
            ui::count(found.edited, "row"),
            table.rows,
            found.tally.rows
        )
    });
    line.collect()
}

/// At the end, of the same columns.
pub fn but_for(landing: &Landing) -> String {
    let of_table = |landed: &Landed| {
        let title = landed.title.clone();
        let columns = landed.hardly_compared();
        let named =
            columns.map(move |column| format!("`{}` of `{title}`", on_one_line(&column.name)));
        named.collect::<Vec<String>>()
    };
    let columns: Vec<String> = landing.wanted().flat_map(of_table).collect();
    match columns.is_empty() {
        true => String::new(),
        false => format!(
            ", but for {}: there it was only compared whether there is a value",
            columns.join(", ")
        ),
    }
}

fn hardly_compared(landing: &Landing) -> Vec<String> {
    let mut lines = Vec::new();
    for landed in landing.wanted() {
        for column in landed.hardly_compared() {
            lines.push(format!(
                "note: `{}`: the column `{}` is only compared by whether there is a value: `{}` has a way of its \
                 own to write one",
                landed.title,
                on_one_line(&column.name),
                on_one_line(&column.data_type)
            ));
        }
    }
    lines
}
