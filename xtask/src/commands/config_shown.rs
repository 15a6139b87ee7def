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
    let resolved = &scene.settings.resolved;
    let of_place = |place: &Vec<Setting>| place.iter().map(Setting::for_show).collect();
    let document = Document {
        project: scene.settings.project.display().to_string(),
        settings: resolved.for_show(),
        offsite: resolved.places.iter().map(of_place).collect(),
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
