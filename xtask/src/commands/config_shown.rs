//! `db config`: every setting, and where it comes from; no secret.

use anyhow::Result;
use serde::Serialize;

use super::Scene;
use crate::config::Setting;
use crate::ui::Table;
use crate::values::words::on_one_line;

#[derive(Serialize)]
struct Document {
    project: String,
    settings: Vec<Setting>,
    /// The settings of each place off-site.
    offsite: Vec<Vec<Setting>>,
}

pub fn run(scene: &Scene) -> Result<()> {
    let shown = |settings: &[Setting]| settings.iter().map(Setting::for_show).collect();
    let resolved = &scene.settings.resolved;
    let document = Document {
        project: scene.settings.project.display().to_string(),
        settings: shown(&resolved.settings),
        offsite: resolved.places.iter().map(|place| shown(place)).collect(),
    };
    let mut table = Table::new(&["setting", "value", "from", "variable"]);
    let all = document
        .settings
        .iter()
        .chain(document.offsite.iter().flatten());
    for setting in all {
        let value = setting.value.as_ref();
        let value = value.map_or_else(|| "–".into(), ToString::to_string);
        table.row(&[
            &setting.path,
            &on_one_line(&value),
            &setting.origin,
            &setting.variable,
        ]);
    }
    scene.ui.show(table.to_string())?;
    scene.ui.emit(&document)
}
