//! What a dump holds, counted in its own snapshot while it is written.

use anyhow::{Context, Result};
use sqlx::{AssertSqlSafe, Executor, PgConnection};

use super::{Snapshot, members};
use crate::engine::postgres::select::Held;
use crate::engine::postgres::{Postgres, circle, connect, describe, inspect, owners, platform};
use crate::values::database::Contents;
use crate::values::kind::Kind;
use crate::values::platform::Platform;

/// What was counted in the moment of the snapshot, and what was found about its kind.
pub struct Counted {
    pub contents: Contents,
    pub kind: Kind,
    pub platform: Option<Platform>,
    pub has_history: bool,
    pub warnings: Vec<String>,
}

pub async fn count(
    postgres: &Postgres,
    snapshot: &Snapshot,
    held: Option<&Held>,
) -> Result<Counted> {
    let (left_out, moment) = (&snapshot.platform, snapshot.name.as_str());
    let mut session = connect::connect(&postgres.url).await?.session;
    session
        .execute(AssertSqlSafe(inspect::begin_in(Some(moment))))
        .await
        .context("cannot use the snapshot")?;
    let tables = inspect::tables(&mut session, left_out).await?;
    let large_objects = match held.is_none_or(|held| held.has_large_objects) {
        true => inspect::large_objects(&mut session).await?,
        false => 0,
    };
    let history_table = inspect::find_history(&mut session, &postgres.bookkeeping.table).await?;
    let applied = inspect::read_history(&mut session, history_table.as_deref()).await?;
    let history = inspect::oid_of(&mut session, history_table.as_deref()).await?;
    let circle = match held {
        Some(held) => circle::warning(&mut session, held, &postgres.selection.kind).await?,
        None => None,
    };
    session
        .execute("COMMIT")
        .await
        .context("cannot end reading")?;
    let relations = describe::relations(&mut session, Some(moment), left_out).await?;
    let fingerprints = postgres.takes_fingerprints;
    let (tables, empty) = match held {
        Some(held) => held.sort(tables),
        None => (tables, Vec::new()),
    };
    let mut tables = inspect::count_rows(&mut session, &tables, fingerprints, Some(moment)).await?;
    tables.extend(empty.iter().map(|table| table.without_rows(fingerprints)));
    tables.sort();
    let mut counted = Counted {
        contents: Contents {
            tables,
            large_objects: Some(large_objects),
            applied,
            history_table,
            relations,
        },
        kind: postgres.selection.kind.clone(),
        platform: None,
        has_history: held.is_none_or(|held| history.is_none() || held.has_rows_of(history)),
        warnings: circle.into_iter().collect(),
    };
    if !counted.kind.is_partial() {
        let grants = owners::grants_by_others(&mut session, left_out).await?;
        counted.warnings.extend(grants);
    }
    if counted.kind.is_full() {
        let is_in_place = !left_out.is_empty();
        let lost = members::not_brought_back(&mut session, moment, left_out, is_in_place);
        counted.warnings.extend(lost.await?);
    }
    if let Some(held) = held {
        if !left_out.is_empty() {
            let read = platform::read(&mut session, moment, postgres.profile, left_out, held);
            let (platform, warning) = read.await?;
            counted.platform = Some(platform);
            counted.warnings.extend(warning);
        }
        counted.narrow(held, &mut session, moment).await?;
    }
    Ok(counted)
}

impl Counted {
    /// To what is in a dump of this kind.
    async fn narrow(
        &mut self,
        held: &Held,
        session: &mut PgConnection,
        snapshot: &str,
    ) -> Result<()> {
        let relations = std::mem::take(&mut self.contents.relations);
        self.contents.relations = held.narrow(session, relations).await?;
        if self.kind.is_partial() && self.kind.has_definitions() {
            let stay = self
                .platform
                .as_ref()
                .map(|platform| &platform.foreign_keys[..]);
            let (kind, contents) = (&mut self.kind, &mut self.contents);
            let gaps = held.note_gaps(session, snapshot, kind, contents, stay.unwrap_or_default());
            self.warnings.extend(gaps.await?);
        }
        Ok(())
    }
}
