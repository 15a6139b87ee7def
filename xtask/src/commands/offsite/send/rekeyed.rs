//! Backups of which a place has another dump, from before or after a rekey.

use super::{Copy, Sending};
use crate::ui;
use crate::values::manifest::manifest_file_name;
use crate::vault::Backup;

impl Sending<'_> {
    /// Nothing of them is read for it, and beside another backup it is no failure: it would be one
    /// for ever.
    pub(super) fn not_replaced(&mut self, rekeyed: &[(&Backup, &str)], is_beside: bool) {
        let Some((first, dump)) = rekeyed.first() else {
            return;
        };
        let more = match rekeyed.len() - 1 {
            0 => String::new(),
            more => format!(" and {}", ui::count(more as u64, "other")),
        };
        let (id, place) = (first.id(), self.place);
        let problem = format!(
            "at {place} there is another dump of `{id}`{more}, from before or after a rekey, which is \
             not overwritten"
        );
        let name = manifest_file_name(id);
        let hint = format!("if it is to be replaced, remove `{name}` and `{dump}` there");
        if is_beside {
            let ui = self.scene.ui;
            return ui.insist(format!("warning: {problem}; {hint}"));
        }
        self.scene.ui.insist(format!("not copied: {problem}"));
        self.copies.extend(rekeyed.iter().map(|(backup, _)| Copy {
            backup: Some(backup.id().clone()),
            place: place.name.clone(),
            outcome: None,
            problem: Some(problem.clone()),
            hint: Some(hint.clone()),
        }));
    }
}
