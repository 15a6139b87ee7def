//! A line of each backup, soon also where there are thousands.

use anyhow::Result;

use super::find::{NamedDump, NamedManifest};
use super::index::{self, Line, Moment};
use super::proofs::Ladders;
use super::{Problem, Vault};
use crate::cores;
use crate::values::summary::Summary;

/// Fewer manifests are read as soon as an index of them is.
const WORTH_AN_INDEX: usize = 256;

/// How many manifests are read anew each time before the index is written anew.
const WORTH_WRITING: usize = 32;

#[derive(Debug, Default)]
pub struct Overview {
    /// Newest first.
    pub backups: Vec<Summary>,
    pub problems: Vec<Problem>,
    /// The ids that have a pin, also such as have no backup.
    pub pins: Vec<String>,
}

impl Vault {
    /// What [`Vault::list`] finds, for showing: a manifest that an earlier
    /// overview has read, and that nobody has touched since, is not read again.
    pub fn overview(&self) -> Result<Overview> {
        self.look(true)
    }

    /// The same without what was shown of them; nothing is written.
    pub fn in_order(&self) -> Result<Overview> {
        self.look(false)
    }

    fn look(&self, remembers: bool) -> Result<Overview> {
        let (mut names, index, ladders) = std::thread::scope(|scope| {
            let index = scope.spawn(|| self.read_index());
            let ladders = scope.spawn(|| match remembers {
                true => self.ladders(),
                false => Ok(Vec::new()),
            });
            let names = self.names();
            let ladders = ladders.join().unwrap_or_else(|_| Ok(Vec::new()));
            Ok::<_, anyhow::Error>((names?, index.join().unwrap_or_default(), ladders))
        })?;
        std::thread::scope(|scope| {
            scope.spawn(|| names.dumps.sort_unstable_by(|a, b| b.stem.cmp(&a.stem)));
            names.manifests.sort_unstable_by(|a, b| b.stem.cmp(&a.stem));
        });
        let is_large = names.manifests.len() >= WORTH_AN_INDEX;
        let mut lines = recall(&names.manifests, if is_large { index } else { Vec::new() });
        let mut problems = self.read_missing(&names.manifests, &mut lines, is_large && remembers);

        // A list without what was shown of them is better than none.
        let ladders = ladders.unwrap_or_else(|error| {
            problems.push(Problem::of_journal(&error));
            Vec::new()
        });
        problems.extend(orphans(&names.dumps, &names.manifests, &lines));
        problems.sort_by(|a, b| a.file.cmp(&b.file));
        let summaries = lines.into_iter().flatten().map(|line| line.summary);
        let mut backups: Vec<Summary> = with_ladders(summaries, ladders).collect();
        backups.sort_by(|a, b| (b.created_at, &b.id).cmp(&(a.created_at, &a.id)));
        Ok(Overview {
            backups,
            problems,
            pins: names.pins,
        })
    }

    /// Reads the manifests that have no line yet; remembers them for the next time when they are many.
    fn read_missing(
        &self,
        manifests: &[NamedManifest],
        lines: &mut [Option<Line>],
        remembers: bool,
    ) -> Vec<Problem> {
        let missing: Vec<usize> = (0..lines.len()).filter(|at| lines[*at].is_none()).collect();
        let is_worth_it = remembers && missing.len() >= WORTH_WRITING;
        let draft = is_worth_it.then(|| self.draft_index()).flatten();
        let since = draft.as_ref().map(|draft| draft.since);
        let read = cores::on_all(&missing, |share| {
            let lines = share
                .iter()
                .map(|at| self.read_line(&manifests[*at], since));
            lines.collect::<Vec<_>>()
        });
        let mut problems = Vec::new();
        for (at, line) in missing.into_iter().zip(read.into_iter().flatten()) {
            match line {
                Ok(line) => lines[at] = Some(line),
                Err(problem) => problems.push(Problem {
                    file: format!("{}.json", manifests[at].stem),
                    problem,
                }),
            }
        }
        if let Some(draft) = draft {
            // Where it cannot be written, all is read again the next time.
            let _ = self.write_index(draft, lines.iter().flatten());
        }
        problems
    }

    fn read_line(&self, manifest: &NamedManifest, since: Option<Moment>) -> Result<Line, String> {
        // Before it is read: one that changes meanwhile is another one the next time.
        let metadata = since.and_then(|since| Some((since, manifest.entry.metadata().ok()?)));
        let stamp = metadata.and_then(|(since, metadata)| since.stamp(&metadata));
        let backup = self.read(&manifest.stem)?;
        let summary = Summary::from(&backup.manifest);
        Ok(Line { stamp, summary })
    }
}

/// The lines of those manifests that are as they were. Both sides are in the order of names.
fn recall(manifests: &[NamedManifest], index: Vec<Line>) -> Vec<Option<Line>> {
    if index.is_empty() {
        return manifests.iter().map(|_| None).collect();
    }
    let stamps = cores::on_all(manifests, |share| {
        let stamps = share.iter().map(|manifest| {
            let metadata = manifest.entry.metadata();
            metadata.ok().map(|metadata| index::stamp(&metadata))
        });
        stamps.collect::<Vec<_>>()
    });
    let mut index = index.into_iter().peekable();
    let manifests = manifests.iter().zip(stamps.into_iter().flatten());
    let recalled = manifests.map(|(manifest, stamp)| {
        while index
            .next_if(|line| line.summary.id > manifest.stem)
            .is_some()
        {}
        let line = index.next_if(|line| line.summary.id == manifest.stem)?;
        (stamp.is_some() && line.stamp == stamp).then_some(line)
    });
    recalled.collect()
}

/// Both sides are in the order of ids.
fn with_ladders(
    summaries: impl Iterator<Item = Summary>,
    ladders: Ladders,
) -> impl Iterator<Item = Summary> {
    let mut ladders = ladders.into_iter().peekable();
    summaries.map(move |mut summary| {
        while ladders.next_if(|(id, _)| *id > summary.id).is_some() {}
        if let Some((_, ladder)) = ladders.next_if(|(id, _)| *id == summary.id) {
            summary.ladder = ladder;
        }
        summary
    })
}

/// Dumps that no manifest names. Beside a manifest that cannot be read one is no orphan.
fn orphans(
    dumps: &[NamedDump],
    manifests: &[NamedManifest],
    lines: &[Option<Line>],
) -> Vec<Problem> {
    let mut manifests = manifests.iter().zip(lines).peekable();
    let problem_with = |dump: &NamedDump| {
        while manifests
            .next_if(|(manifest, _)| manifest.stem > dump.stem)
            .is_some()
        {}
        let Some((_, line)) = manifests
            .peek()
            .filter(|(manifest, _)| manifest.stem == dump.stem)
        else {
            return Some(Problem::orphan(dump));
        };
        let is_named = line
            .as_ref()
            .is_none_or(|Line { summary, .. }| summary.dump_ending == dump.ending);
        (!is_named).then(|| Problem::older(dump))
    };
    dumps.iter().filter_map(problem_with).collect()
}
