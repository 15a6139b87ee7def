//! What restores replaced and kept beside the database, as a person is told.

use anyhow::Result;
use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use super::Scene;
use crate::config::keys;
use crate::engine::{Engine, KeptDatabase};
use crate::ui;
use crate::values::words::on_one_line;

#[derive(Serialize)]
pub struct KeptThere {
    pub name: String,
    pub since: DateTime<Utc>,
    age_hours: f64,
    size_bytes: Option<u64>,
}

pub fn of(engine: &mut dyn Engine, now: DateTime<Utc>) -> Result<Vec<KeptThere>> {
    let kept = match engine.aside() {
        Some(aside) => aside.list()?,
        None => Vec::new(),
    };
    Ok(kept.iter().map(|kept| there(kept, now)).collect())
}

pub fn there(kept: &KeptDatabase, now: DateTime<Utc>) -> KeptThere {
    KeptThere {
        name: kept.name.clone(),
        since: kept.since,
        age_hours: (now - kept.since).num_seconds() as f64 / 3600.0,
        size_bytes: kept.size_bytes,
    }
}

/// `shop_before_20260123143052`, 7.5 MiB, replaced 3 h ago.
pub fn line(kept: &KeptThere, now: DateTime<Utc>) -> String {
    let name = on_one_line(&kept.name);
    let size = kept.size_bytes.map_or("size unknown".into(), ui::size);
    match ui::age(kept.since, now) {
        age if age.ends_with("future") => format!("`{name}`, {size}, replaced {age}"),
        age => format!("`{name}`, {size}, replaced {age} ago"),
    }
}

/// For `status`.
pub fn show(scene: &Scene, all: &[KeptThere]) -> Result<()> {
    let now = Utc::now();
    for kept in all {
        let line = line(kept, now);
        scene.ui.show(format!("kept        {line}\n"))?;
    }
    // After these days whoever wanted to go back has done so.
    let days = scene.settings.get(keys::KEPT_DAYS).unwrap_or(0);
    let is_old = |kept: &&KeptThere| now - kept.since >= TimeDelta::days(days.into());
    let old = all.iter().filter(is_old).count();
    if old > 0 {
        let old = ui::count(old as u64, "kept database");
        scene.ui.show(scene.ui.with_flags(&format!(
            "            {old} can be removed: cargo xtask db prune --kept --older-than {days}\n"
        )))?;
    }
    Ok(())
}
