//! `db push`: copies of backups to the places off-site.

use anyhow::Result;
use serde::Serialize;

use super::offsite::{send, usable};
use super::{Scene, choose};
use crate::cli::Push;

#[derive(Serialize)]
struct Document<'a> {
    copies: &'a [send::Copy],
}

pub fn run(scene: &Scene, arguments: &Push) -> Result<()> {
    // A place that cannot be used as it is written is wrong usage, before anything is sent.
    usable(scene)?;
    scene.prepare_vault()?;
    let lock = scene.lock_beside_backups("push")?;
    let listing = scene.vault.list()?;
    // A long upload is in nobody's way.
    drop(lock);
    let copies = if arguments.all {
        send::send(
            scene,
            &send::Wanted::These(listing.backups.iter().collect()),
        )
    } else if let Some(wanted) = arguments.backup.as_deref() {
        let now = choose::who_is_it(scene)?;
        let is_ours = choose::ours_or_alike(scene, &listing, now.as_ref());
        let backup = choose::by_name(scene, &listing, wanted, &*is_ours)?;
        send::send(scene, &send::Wanted::These(vec![backup]))
    } else {
        let now = scene.engine()?.facts()?;
        send::send(scene, &send::Wanted::MissingOf(&now, None))
    };
    if copies.is_empty() {
        scene.ui.say("nothing is missing off-site");
    }
    scene.ui.emit(&Document { copies: &copies })?;
    scene.interrupt.check()?;
    send::refuse_missing(&copies, "the vault is as it was")
}
