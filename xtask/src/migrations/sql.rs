//! SQL as tokens, the way PostgreSQL and SQLite cut it.
//!
//! `squawk-lexer` is PostgreSQL's own lexer in Rust, kept by those who lint migrations with it: 0.15 s of a
//! clean build. Its parser (1.9 s) and syntax tree (10.9 s), `sqlparser` (12.9 s, 116 s when optimized) and
//! `sqlite3-parser` (5.2 s) know either too little of PostgreSQL, or nothing of SQLite, or drop comments;
//! none reads a PL/pgSQL block. What reaches out of a database shows at the heads of statements,
//! and tokens are enough for those. Where SQLite cuts otherwise, [`cut_sqlite`] does.

mod pieces;

use std::borrow::Cow;

use squawk_lexer::{LiteralKind, TokenKind, tokenize};

use crate::values::database::EngineKind;

pub use pieces::{Piece, for_each_statement};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A keyword, or a name without quotes.
    Word,
    /// A name in quotes.
    Name,
    /// A string, with its quotes.
    Text,
    /// One character of punctuation.
    Sign,
    /// Numbers, bits, parameters.
    Value,
    Comment,
    /// What has no end, or is in no SQL.
    Broken,
}

#[derive(Debug, Clone, Copy)]
pub struct Token {
    pub at: usize,
    pub len: u32,
    pub kind: Kind,
    /// The first byte, which mostly tells two tokens apart.
    pub first: u8,
}

impl Token {
    pub fn of(self, text: &str) -> &str {
        &text[self.at..self.at + self.len as usize]
    }
}

/// All tokens but white space.
pub fn tokens(text: &str, engine: EngineKind) -> impl Iterator<Item = Token> {
    let mut at = 0;
    let mut escaped = Escaped::No;
    let mut postgres = tokenize(text);
    std::iter::from_fn(move || {
        loop {
            let rest = &text[at..];
            let (kind, len) = match engine {
                EngineKind::Sqlite => cut_sqlite(rest)?,
                EngineKind::Postgresql => kind_of(postgres.next()?),
            };
            let raw = &rest[..len as usize];
            let start = at;
            at += raw.len();
            let Some(kind) = kind else {
                escaped.pass(raw);
                continue;
            };
            let kind = match engine {
                EngineKind::Postgresql => escaped.meet(kind, raw),
                EngineKind::Sqlite => kind,
            };
            return Some(Token {
                at: start,
                len,
                kind,
                first: raw.as_bytes()[0],
            });
        }
    })
}

/// `E'one'` on one line and `'two\''` on the next are one string to PostgreSQL, with the escapes of the
/// first. The lexer does not see that; rather than mistake where the second ends, it is called broken.
enum Escaped {
    No,
    Ended,
    Continues,
}

impl Escaped {
    fn pass(&mut self, white: &str) {
        if matches!(self, Escaped::Ended) && white.contains(['\n', '\r']) {
            *self = Escaped::Continues;
        }
    }

    fn meet(&mut self, kind: Kind, text: &str) -> Kind {
        let continues = matches!(self, Escaped::Continues) && text.starts_with('\'');
        if kind == Kind::Comment {
            return kind;
        }
        let is_escaped = kind == Kind::Text && (continues || text.starts_with(['e', 'E']));
        *self = if is_escaped {
            Escaped::Ended
        } else {
            Escaped::No
        };
        if continues && text.contains('\\') {
            return Kind::Broken;
        }
        kind
    }
}

/// A token of PostgreSQL with its length; no kind: white space.
fn kind_of(token: squawk_lexer::Token) -> (Option<Kind>, u32) {
    let ended = |terminated, kind| if terminated { kind } else { Kind::Broken };
    let kind = match token.kind {
        TokenKind::Whitespace | TokenKind::Eof => return (None, token.len),
        TokenKind::Ident => Kind::Word,
        TokenKind::QuotedIdent { terminated, .. } => ended(terminated, Kind::Name),
        TokenKind::LineComment => Kind::Comment,
        TokenKind::BlockComment { terminated } => ended(terminated, Kind::Comment),
        TokenKind::Unknown => Kind::Broken,
        TokenKind::PositionalParam { .. } => Kind::Value,
        TokenKind::Literal { kind } => match kind {
            LiteralKind::Int { .. } | LiteralKind::Numeric { .. } => Kind::Value,
            LiteralKind::ByteStr { terminated } | LiteralKind::BitStr { terminated } => {
                ended(terminated, Kind::Value)
            }
            LiteralKind::Str { terminated }
            | LiteralKind::NationalStr { terminated }
            | LiteralKind::DollarQuotedString { terminated }
            | LiteralKind::UnicodeEscStr { terminated }
            | LiteralKind::EscStr { terminated } => ended(terminated, Kind::Text),
        },
        _ => Kind::Sign,
    };
    (Some(kind), token.len)
}

/// As `tokenize.c` of SQLite cuts it: names also in `[]` and backticks, comments that do not nest,
/// no dollar quotes, no prefixes of strings but `x`.
fn cut_sqlite(rest: &str) -> Option<(Option<Kind>, u32)> {
    let bytes = rest.as_bytes();
    let (kind, len) = match (*bytes.first()?, bytes.get(1)) {
        (b'-', Some(b'-')) => (Kind::Comment, rest.find('\n').unwrap_or(rest.len())),
        // Without an end it goes on to the end of the file, and is no mistake.
        (b'/', Some(b'*')) => {
            let end = rest[2..].find("*/").map_or(rest.len(), |end| end + 4);
            (Kind::Comment, end)
        }
        (b'[', _) => match rest.find(']') {
            Some(end) => (Kind::Name, end + 1),
            None => (Kind::Broken, rest.len()),
        },
        (b'`', _) => match end_of_backticks(rest) {
            Some(end) => (Kind::Name, end),
            None => (Kind::Broken, rest.len()),
        },
        (b'$' | b'@' | b'#' | b':', _) => {
            let is_name = |c: char| c.is_ascii_alphanumeric() || "_$".contains(c) || !c.is_ascii();
            let end = rest[1..].find(|c| !is_name(c));
            (Kind::Value, end.map_or(rest.len(), |end| end + 1))
        }
        (b'e' | b'E' | b'n' | b'N' | b'b' | b'B', Some(b'\'')) => (Kind::Word, 1),
        (b'u' | b'U', Some(b'&')) => (Kind::Word, 1),
        _ => return tokenize(rest).next().map(kind_of),
    };
    Some((Some(kind), len as u32))
}

fn end_of_backticks(rest: &str) -> Option<usize> {
    let mut at = 1;
    loop {
        at += rest[at..].find('`')? + 1;
        if !rest[at..].starts_with('`') {
            return Some(at);
        }
        at += 1;
    }
}

/// A name as the database compares it: PostgreSQL folds what has no quotes, SQLite folds all.
pub fn folded(name: &str, engine: EngineKind) -> Cow<'_, str> {
    let lower = |name: Cow<'_, str>| name.to_ascii_lowercase();
    let inner = |name: &str| name[1..name.len() - 1].to_owned();
    let name = match name.as_bytes() {
        [b'"', ..] => inner(name).replace("\"\"", "\"").into(),
        [b'`', ..] => inner(name).replace("``", "`").into(),
        [b'\'', ..] => inner(name).replace("''", "'").into(),
        [b'[', ..] => inner(name).into(),
        [b'u' | b'U', b'&', b'"', ..] => {
            unescaped(&inner(&name[2..]).replace("\"\"", "\""), 4, 16).into()
        }
        _ => return lower(name.into()).into(),
    };
    match engine {
        EngineKind::Sqlite => lower(name).into(),
        EngineKind::Postgresql => name,
    }
}

/// What a string of PostgreSQL holds. Borrowed when it stands in the file as it is.
pub fn content(string: &str) -> Cow<'_, str> {
    let plain = |string: &str| string[1..string.len() - 1].replace("''", "'");
    match string.as_bytes() {
        [b'$', ..] => {
            let tag = string[1..].find('$').map_or(0, |end| end + 2);
            string[tag..string.len() - tag].into()
        }
        [b'e' | b'E', ..] => unescaped(&plain(&string[1..]), 3, 8).into(),
        [b'u' | b'U', ..] => unescaped(&plain(&string[2..]), 4, 16).into(),
        [b'n' | b'N', ..] => plain(&string[1..]).into(),
        _ if string[1..string.len() - 1].contains('\'') => plain(string).into(),
        _ => string[1..string.len() - 1].into(),
    }
}

/// Backslashes of `E''` and `U&''`: line ends and characters by number, which has so many digits of
/// that radix when nothing is in front of it; any other character is itself.
fn unescaped(text: &str, most_digits: usize, radix: u32) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out += &rest[..at];
        rest = &rest[at + 1..];
        let digits = |skip: usize, most: usize, radix: u32| {
            let digits = rest.get(skip..)?;
            let end = digits.find(|c: char| !c.is_digit(radix));
            let end = end.unwrap_or(digits.len()).min(most);
            let number = u32::from_str_radix(&digits[..end], radix).ok()?;
            Some((char::from_u32(number)?, skip + end))
        };
        let numbered = match rest.as_bytes().first() {
            Some(b'x') => digits(1, 2, 16),
            Some(b'u') => digits(1, 4, 16),
            Some(b'U') => digits(1, 8, 16),
            Some(b'+') => digits(1, 6, 16),
            _ => digits(0, most_digits, radix),
        };
        let (c, len) = match numbered {
            Some(numbered) => numbered,
            None => match rest.chars().next() {
                Some('n' | 'r') => ('\n', 1),
                Some('t' | 'b' | 'f') => (' ', 1),
                Some(c) => (c, c.len_utf8()),
                None => break,
            },
        };
        out.push(c);
        rest = &rest[len..];
    }
    out + rest
}
