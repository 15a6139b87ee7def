//! Statements, and looking at the tokens of one.

use std::borrow::Cow;

use super::{Kind, Token, folded, tokens};
use crate::values::database::EngineKind;
use crate::values::words::on_one_line;

/// Tokens in a row, without comments: a statement, or what is left of it.
#[derive(Clone, Copy)]
pub struct Piece<'a> {
    pub text: &'a str,
    pub engine: EngineKind,
    tokens: &'a [Token],
    /// Whether it came to its own end, and every string and every parenthesis in it too.
    pub is_whole: bool,
}

/// So far one goes from each word that may begin a statement, where many may: a file of nothing else
/// is still read in a time that grows with its length.
const NEAR_TOKENS: usize = 1_000;

/// A name that is longer is cut when it is shown.
const SHOWN_CHARS: usize = 60;

impl<'a> Piece<'a> {
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// What follows the first `count` tokens.
    pub fn after(self, count: usize) -> Piece<'a> {
        let tokens = self.tokens.get(count..).unwrap_or_default();
        Piece { tokens, ..self }
    }

    pub fn kind(&self, i: usize) -> Option<Kind> {
        self.tokens.get(i).map(|token| token.kind)
    }

    /// Where the token stands in the text.
    pub fn at(&self, i: usize) -> usize {
        self.tokens.get(i).map_or(self.text.len(), |token| token.at)
    }

    /// The token as it was written.
    pub fn raw(&self, i: usize) -> &'a str {
        self.tokens.get(i).map_or("", |token| token.of(self.text))
    }

    /// A word without quotes, as it was written; empty when there is none.
    pub fn word(&self, i: usize) -> &'a str {
        match self.kind(i) {
            Some(Kind::Word) => self.raw(i),
            _ => "",
        }
    }

    pub fn is(&self, i: usize, word: &str) -> bool {
        let token = self.tokens.get(i);
        token.is_some_and(|token| is_word(*token, self.text, word))
    }

    pub fn is_any(&self, i: usize, words: &[&str]) -> bool {
        words.iter().any(|word| self.is(i, word))
    }

    /// How many of these words follow from `i` on, when all of them do; else none.
    pub fn skip(&self, i: usize, words: &[&str]) -> usize {
        let mut all = words.iter().enumerate();
        if all.all(|(n, word)| self.is(i + n, word)) {
            words.len()
        } else {
            0
        }
    }

    pub fn is_sign(&self, i: usize, sign: char) -> bool {
        let is_it = |token: &Token| token.kind == Kind::Sign && char::from(token.first) == sign;
        self.tokens.get(i).is_some_and(is_it)
    }

    /// A name as the database compares it. SQLite takes a string where it expects a table.
    pub fn name(&self, i: usize) -> Option<Cow<'a, str>> {
        let is_name = match self.kind(i)? {
            Kind::Word | Kind::Name => true,
            Kind::Text => self.engine == EngineKind::Sqlite,
            _ => false,
        };
        is_name.then(|| folded(self.raw(i), self.engine))
    }

    /// The parts of a name with dots from `i` on, and where it ends.
    pub fn path(&self, mut i: usize) -> Option<(Vec<Cow<'a, str>>, usize)> {
        let mut parts = vec![self.name(i)?];
        while self.is_sign(i + 1, '.') {
            let Some(part) = self.name(i + 2) else { break };
            parts.push(part);
            i += 2;
        }
        Some((parts, i + 1))
    }

    /// What follows the first `count` tokens, and not far.
    pub fn near(self, count: usize) -> Piece<'a> {
        let rest = self.after(count);
        let tokens = &rest.tokens[..rest.len().min(NEAR_TOKENS)];
        Piece { tokens, ..rest }
    }

    /// The first of these words outside of all parentheses, from `i` on.
    pub fn find(&self, i: usize, words: &[&str]) -> Option<usize> {
        let mut depth = 0_usize;
        for n in i..self.len() {
            if self.is_sign(n, '(') {
                depth += 1;
            } else if self.is_sign(n, ')') {
                depth = depth.saturating_sub(1);
            } else if depth == 0 && self.is_any(n, words) {
                return Some(n);
            }
        }
        None
    }

    /// For a person: the first tokens, keywords in capitals, strings left out because they may be secrets.
    pub fn phrase(&self, keywords: usize, count: usize) -> String {
        let mut phrase = String::new();
        for i in 0..count.min(self.len()) {
            let raw = self.raw(i);
            let is_glued = [".", ",", ")"].contains(&raw)
                || (i > 0 && (self.is_sign(i - 1, '.') || self.is_sign(i - 1, '(')));
            if i > 0 && !is_glued {
                phrase.push(' ');
            }
            match self.kind(i) {
                Some(Kind::Word) if i < keywords => phrase += &raw.to_ascii_uppercase(),
                Some(Kind::Word | Kind::Name) if raw.chars().nth(SHOWN_CHARS).is_some() => {
                    phrase.extend(raw.chars().take(SHOWN_CHARS));
                    phrase.push('…');
                }
                Some(Kind::Word | Kind::Name | Kind::Sign) => phrase += raw,
                _ => phrase.push('…'),
            }
        }
        on_one_line(&phrase).into_owned()
    }
}

/// Hands over statement by statement, so that only one of them is in memory as tokens.
pub fn for_each_statement(text: &str, engine: EngineKind, mut each: impl FnMut(Piece)) {
    let mut held: Vec<Token> = Vec::new();
    let mut nesting = Nesting::default();
    for token in tokens(text, engine) {
        if token.kind == Kind::Comment {
            continue;
        }
        if token.kind == Kind::Sign && token.first == b';' && nesting.ends_here(&held, text) {
            hand_over(text, engine, &held, nesting.is_whole, &mut each);
            held.clear();
            nesting = Nesting::default();
            continue;
        }
        held.push(token);
        nesting.meet(&held, text, engine);
    }
    let is_whole = nesting.is_whole && nesting.may_end(&held, text);
    hand_over(text, engine, &held, is_whole, &mut each);
}

fn hand_over(
    text: &str,
    engine: EngineKind,
    tokens: &[Token],
    is_whole: bool,
    each: &mut impl FnMut(Piece),
) {
    if !tokens.is_empty() {
        each(Piece {
            text,
            engine,
            tokens,
            is_whole,
        });
    }
}

/// Where a semicolon does not end a statement: in parentheses (`CREATE RULE`), between
/// `BEGIN ATOMIC` and its `END`, and in a trigger of SQLite up to `; END`.
struct Nesting {
    parentheses: usize,
    /// The block itself, and each CASE in it.
    atomic: usize,
    is_trigger: bool,
    is_whole: bool,
}

impl Default for Nesting {
    fn default() -> Nesting {
        Nesting {
            parentheses: 0,
            atomic: 0,
            is_trigger: false,
            is_whole: true,
        }
    }
}

impl Nesting {
    fn ends_here(&self, held: &[Token], text: &str) -> bool {
        if self.is_trigger {
            return self.may_end(held, text);
        }
        self.parentheses == 0 && self.atomic == 0
    }

    fn may_end(&self, held: &[Token], text: &str) -> bool {
        if !self.is_trigger {
            return self.parentheses == 0 && self.atomic == 0;
        }
        let [.., semicolon, end] = held else {
            return false;
        };
        semicolon.of(text) == ";" && is_word(*end, text, "end")
    }

    /// The last of `held` has just come.
    fn meet(&mut self, held: &[Token], text: &str, engine: EngineKind) {
        let Some((token, before)) = held.split_last() else {
            return;
        };
        match token.kind {
            Kind::Broken => self.is_whole = false,
            Kind::Sign if engine == EngineKind::Postgresql => match token.first {
                b'(' => self.parentheses += 1,
                b')' if self.parentheses == 0 => self.is_whole = false,
                b')' => self.parentheses -= 1,
                _ => {}
            },
            Kind::Word if engine == EngineKind::Postgresql => self.meet_word(*token, before, text),
            Kind::Word if before.len() < 6 && is_word(*token, text, "trigger") => {
                // Behind any other word it is a name.
                let makes = |token: &Token| {
                    let words = ["create", "temp", "temporary"];
                    words.iter().any(|word| is_word(*token, text, word))
                };
                self.is_trigger |= before.last().is_some_and(makes);
            }
            _ => {}
        }
    }

    fn meet_word(&mut self, token: Token, before: &[Token], text: &str) {
        let Some(last) = before.last() else { return };
        if self.atomic == 0 {
            let is_block = self.parentheses == 0
                && is_word(token, text, "atomic")
                && is_word(*last, text, "begin");
            let is = |token: &&Token, words: [&str; 2]| {
                words.iter().any(|word| is_word(**token, text, word))
            };
            let routine = || {
                before
                    .iter()
                    .take(4)
                    .find(|t| is(t, ["function", "procedure"]))
            };
            if is_block && is_word(before[0], text, "create") && routine().is_some() {
                self.atomic = 1;
            }
        // Behind a dot or AS, a keyword is a name.
        } else if last.of(text) != "." && !is_word(*last, text, "as") {
            if is_word(token, text, "case") {
                self.atomic += 1;
            } else if is_word(token, text, "end") {
                self.atomic -= 1;
            }
        }
    }
}

fn is_word(token: Token, text: &str, word: &str) -> bool {
    token.kind == Kind::Word
        && token.len as usize == word.len()
        && token.first.eq_ignore_ascii_case(&word.as_bytes()[0])
        && token.of(text).eq_ignore_ascii_case(word)
}
