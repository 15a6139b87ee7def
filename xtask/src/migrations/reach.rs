//! What of a migration reaches further than the database that it runs on.

mod mentions;
mod postgres;
mod sqlite;

use mentions::Table;

use super::sql::{Kind, Piece, content, for_each_statement};
use crate::values::database::EngineKind;
use crate::values::plan::Migration;
use crate::values::reach::ReachKind::{self, Outside, OwnTransaction, Unknown};
use crate::values::reach::{Reach, Within};

/// Strings of code in strings of code: nobody writes more than two, and each is read once more.
const MOST_NESTED: usize = 4;

/// What the first words of a statement say.
pub(super) enum Verdict {
    Inside,
    Reach(ReachKind, String),
    Unknown,
}

impl Verdict {
    fn reach(kind: ReachKind, what: String) -> Verdict {
        Verdict::Reach(kind, what)
    }
}

/// Everything of `migration` that shows by its words, in the order of the file.
///
/// It reads tokens, never raw text: what stands in a string, a comment or a quoted name is none, and
/// the code of `DO` and of functions is read as code. What it cannot see: functions and triggers that were
/// defined before, writes to foreign tables, and code that is put together at run time (which is
/// [`Unknown`]). It warns, and is no wall: a wall is a role that may not.
pub fn reaches(migration: &Migration, engine: EngineKind, bookkeeping: &str) -> Vec<Reach> {
    let mut reaches = Vec::new();
    for_each_statement(bookkeeping, engine, |name| {
        if let Some(table) = Table::new(name) {
            let text = migration.sql.as_str();
            let mut finder = Finder {
                migration,
                table,
                found: Vec::new(),
            };
            finder.code(text, engine, Place::of_file());
            reaches = finder.found;
        }
    });
    reaches.sort_by_key(|reach| reach.line);
    reaches
}

#[derive(Clone, Copy)]
struct Place {
    within: Within,
    reads: Reads,
    /// Of the text's beginning, counted from 0.
    line: usize,
    nested: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Reads {
    /// Statement after statement.
    File,
    /// A string that is executed, perhaps only the beginning of what is.
    Executed,
    /// The body of a function: statements among other things.
    Body,
}

impl Place {
    fn of_file() -> Place {
        Place {
            within: Within::Statement,
            reads: Reads::File,
            line: 0,
            nested: 0,
        }
    }
}

/// Lines of tokens, which are asked for more or less in order.
struct Lines<'a> {
    text: &'a str,
    at: usize,
    line: usize,
}

impl Lines<'_> {
    fn of(&mut self, at: usize) -> usize {
        let breaks = |part: &str| part.matches('\n').count();
        if at >= self.at {
            self.line += breaks(&self.text[self.at..at]);
        } else {
            self.line -= breaks(&self.text[at..self.at]);
        }
        self.at = at;
        self.line
    }
}

struct Finder<'a> {
    migration: &'a Migration,
    table: Table<'a>,
    found: Vec<Reach>,
}

impl Finder<'_> {
    fn code(&mut self, text: &str, engine: EngineKind, place: Place) {
        let mut lines = Lines {
            text,
            at: 0,
            line: place.line,
        };
        for_each_statement(text, engine, |s| match place.reads {
            Reads::Body => self.part_of_body(s, place, &mut lines),
            _ => self.statement(s, place, &mut lines),
        });
    }

    fn find(&mut self, line: usize, place: Place, kind: ReachKind, what: String) {
        // Of a transaction that is not there, or that only a caller would have.
        let is_moot = self.migration.no_tx && !what.starts_with("PREPARE");
        if kind == OwnTransaction && (is_moot || place.within == Within::Definition) {
            return;
        }
        self.found.push(Reach {
            version: self.migration.version,
            line: line + 1,
            what,
            kind,
            within: place.within,
        });
    }

    fn statement(&mut self, s: Piece, place: Place, lines: &mut Lines) {
        let line = lines.of(s.at(0));
        let is_postgres = s.engine == EngineKind::Postgresql;
        if is_postgres && s.is(0, "do") {
            return self.block(s, place, lines);
        }
        let verdict = if is_postgres {
            postgres::head(s)
        } else {
            sqlite::head(s)
        };
        let is_broken = !s.is_whole && place.reads == Reads::File;
        if is_broken || matches!(verdict, Verdict::Unknown) {
            self.find(line, place, Unknown, first_words(s));
        }
        if let Verdict::Reach(kind, what) = verdict {
            self.find(line, place, kind, what);
        }
        if let Some((kind, what)) = mentions::attached(s, &self.table) {
            self.find(line, place, kind, what);
        }
        let defined = Place {
            within: Within::Definition,
            ..place
        };
        match definition(s) {
            None => self.mentions(s, place, lines),
            Some("function" | "procedure") if is_postgres => self.routine(s, defined, lines),
            Some(_) => {
                self.rules(s, defined, lines);
                self.mentions(s, defined, lines);
            }
        }
    }

    /// The statements in `CREATE RULE … DO (…; …)`.
    fn rules(&mut self, s: Piece, place: Place, lines: &mut Lines) {
        let may_begin = |i: usize| {
            s.is_any(i, &["do", "also", "instead"]) || s.is_sign(i, '(') || s.is_sign(i, ';')
        };
        for i in 1..s.len() {
            if s.is(i, "notify") && may_begin(i - 1) {
                let what = s.after(i).phrase(1, 2);
                self.find(lines.of(s.at(i)), place, Outside, what);
            }
        }
    }

    fn mentions(&mut self, s: Piece, place: Place, lines: &mut Lines) {
        let calls = !mentions::only_names_functions(s);
        let is_named = |i: &usize| matches!(s.kind(*i), Some(Kind::Word | Kind::Name));
        for i in (0..s.len()).filter(is_named) {
            let call = if calls { mentions::call(s, i) } else { None };
            let found = call.or_else(|| mentions::written(s, i, &self.table));
            if let Some((kind, what)) = found {
                self.find(lines.of(s.at(i)), place, kind, what);
            }
        }
    }

    /// `DO`, which runs here and now.
    fn block(&mut self, s: Piece, place: Place, lines: &mut Lines) {
        let place = Place {
            within: match place.within {
                Within::Statement => Within::Block,
                other => other,
            },
            ..place
        };
        let code = if s.is(1, "language") { 3 } else { 1 };
        match Some(code).filter(|i| s.kind(*i) == Some(Kind::Text)) {
            Some(i) => self.body(s, i, language(s, "plpgsql"), place, lines),
            None => self.find(lines.of(s.at(0)), place, Unknown, "DO".to_owned()),
        }
    }

    /// `CREATE FUNCTION`, `CREATE PROCEDURE`: defines, and runs nothing.
    fn routine(&mut self, s: Piece, place: Place, lines: &mut Lines) {
        let text = s.find(1, &["as"]).map(|i| i + 1);
        match text.filter(|i| s.kind(*i) == Some(Kind::Text)) {
            Some(i) => self.body(s, i, language(s, "sql"), place, lines),
            None => self.mentions(s, place, lines),
        }
    }

    /// The string at `i`, as code of this language.
    fn body(&mut self, s: Piece, i: usize, language: String, place: Place, lines: &mut Lines) {
        if matches!(language.as_str(), "sql" | "plpgsql") {
            return self.nested(s, i, place, Reads::Body, lines);
        }
        let kind = if postgres::is_untrusted(&language) {
            Outside
        } else {
            Unknown
        };
        let head = if s.is(0, "do") {
            "DO".to_owned()
        } else {
            first_words(s)
        };
        let what = format!("{head} LANGUAGE {language}");
        self.find(lines.of(s.at(0)), place, kind, what);
    }

    fn nested(&mut self, s: Piece, i: usize, place: Place, reads: Reads, lines: &mut Lines) {
        let line = lines.of(s.at(i));
        if place.nested == MOST_NESTED {
            return self.find(line, place, Unknown, "code in code in code".to_owned());
        }
        let place = Place {
            reads,
            line,
            nested: place.nested + 1,
            ..place
        };
        self.code(&content(s.raw(i)), EngineKind::Postgresql, place);
    }

    /// Up to a semicolon of PL/pgSQL: a statement may begin at the start and behind some words.
    fn part_of_body(&mut self, s: Piece, place: Place, lines: &mut Lines) {
        const BEFORE: &[&str] = &["begin", "then", "else", "loop"];
        for i in 0..s.len() {
            if i > 0 && !s.is_any(i - 1, BEFORE) && !(s.is_sign(i - 1, '>') && s.is_sign(0, '<')) {
                continue;
            }
            let rest = s.near(i);
            // Here these are the limits of blocks.
            let is_limit = rest.is_any(0, &["abort", "begin", "end", "start"]);
            if !is_limit && let Verdict::Reach(kind, what) = postgres::head(rest) {
                self.find(lines.of(rest.at(0)), place, kind, what);
            }
            if rest.is(0, "do") {
                self.block(rest, place, lines);
            }
        }
        self.mentions(s, place, lines);
        for i in (0..s.len()).filter(|i| s.is(*i, "execute")) {
            // A privilege, or a trigger's function.
            let is_other = s.is_any(i + 1, &["on", "function", "procedure"])
                || s.is_sign(i + 1, ',')
                || (i > 0 && s.is_any(i - 1, &["grant", "revoke"]));
            if !is_other {
                self.executed(s, i, place, lines);
            }
        }
    }

    /// The strings of `EXECUTE`: the first is where the statement begins.
    fn executed(&mut self, s: Piece, execute: usize, place: Place, lines: &mut Lines) {
        let from = execute + 1;
        let end = s.find(from, &["into", "using", "loop", "execute"]);
        let end = end.unwrap_or(s.len());
        let mut strings = (from..end).filter(|i| s.kind(*i) == Some(Kind::Text));
        match strings.next() {
            // Whatever a function or a variable has in front of it, it is not the beginning.
            Some(first) if (from..first).all(|i| is_before_format(s, i)) => {
                self.nested(s, first, place, Reads::Executed, lines);
            }
            first => {
                let what = s.after(execute).phrase(1, end.min(from + 1) - execute);
                self.find(lines.of(s.at(execute)), place, Unknown, what);
                if let Some(first) = first {
                    self.nested(s, first, place, Reads::Body, lines);
                }
            }
        }
        for i in strings {
            self.nested(s, i, place, Reads::Body, lines);
        }
    }
}

fn is_before_format(s: Piece, i: usize) -> bool {
    s.is_sign(i, '(') || s.is_any(i, &["format", "pg_catalog", "concat"]) || s.is_sign(i, '.')
}

/// What a statement defines without running it.
fn definition(s: Piece) -> Option<&'static str> {
    if !s.is(0, "create") {
        return None;
    }
    // A materialized view is none of them: it is filled when it is made.
    let words = ["function", "procedure", "view", "rule", "trigger", "policy"];
    let modifiers = [
        "or",
        "replace",
        "temp",
        "temporary",
        "recursive",
        "constraint",
    ];
    // The first word that is no modifier: a table may be called `policy`.
    let object = (1..s.len()).find(|i| !s.is_any(*i, &modifiers))?;
    words.into_iter().find(|word| s.is(object, word))
}

/// What `LANGUAGE` says; it may stand before and behind the code.
fn language(s: Piece, default: &str) -> String {
    let at = s.find(1, &["language"]);
    let name = at.and_then(|i| match s.kind(i + 1) {
        Some(Kind::Text) => Some(content(s.raw(i + 1)).to_ascii_lowercase()),
        _ => Some(s.name(i + 1)?.into_owned()),
    });
    name.unwrap_or_else(|| default.to_owned())
}

/// Enough to find it; never a string.
fn first_words(s: Piece) -> String {
    let is_plain = |i: &usize| matches!(s.kind(*i), Some(Kind::Word | Kind::Name));
    match (0..s.len().min(4)).take_while(is_plain).count() {
        0 => "a statement that begins with no word".to_owned(),
        words => s.phrase(1, words),
    }
}
