//! `db pull`: a backup from off-site into the vault.

use anyhow::Result;
use serde::Serialize;

use super::offsite::{bring, places};
use super::{Scene, choose, refuse_url};
use crate::cli::Pull;
use crate::values::manifest::Manifest;

#[derive(Serialize)]
struct Document<'a> {
    backup: &'a Manifest,
    path: String,
    manifest_path: String,
}

pub fn run(scene: &Scene, arguments: &Pull) -> Result<()> {
    refuse_url(&arguments.backup)?;
    places(scene)?;
    scene.prepare_vault()?;
    let _lock = scene.lock_beside_backups("pull")?;
    let now = choose::who_is_it(scene)?;
    let backup = bring::bring(scene, &arguments.backup, now.as_ref(), "pull", &|_, _| {
        Ok(())
    })?;
    scene.ui.say(format!(
        "{} is in the vault, read back and matched",
        backup.id()
    ));
    scene.ui.emit(&Document {
        backup: &backup.manifest.for_show(),
        path: backup.dump_path.display().to_string(),
        manifest_path: backup.manifest_path.display().to_string(),
    })
}
