//! Patterns of names as `pg_dump` reads them, for what it is not there for: `*` is anything, `?` is
//! one character, what stands in double quotes is itself.

/// A parsed pattern; upper and lower case are one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    pieces: Vec<Piece>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Piece {
    Is(char),
    One,
    Any,
}

impl Pattern {
    /// Of a table in the schema `only`, which may stand before it; `None` for another schema.
    pub fn in_schema(text: &str, only: &str) -> Option<Pattern> {
        let (mut schema, mut pieces) = (None, Vec::new());
        let mut is_quoted = false;
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            match c {
                '"' if is_quoted && chars.peek() == Some(&'"') => {
                    chars.next();
                    pieces.push(Piece::Is('"'));
                }
                '"' => is_quoted = !is_quoted,
                '.' if !is_quoted && schema.is_none() => {
                    schema = Some(Pattern {
                        pieces: std::mem::take(&mut pieces),
                    });
                }
                '*' if !is_quoted => pieces.push(Piece::Any),
                '?' if !is_quoted => pieces.push(Piece::One),
                c => pieces.extend(c.to_lowercase().map(Piece::Is)),
            }
        }
        let is_here = schema.is_none_or(|schema| schema.matches(only));
        is_here.then_some(Pattern { pieces })
    }

    /// Without going back more than once for each `*`.
    pub fn matches(&self, name: &str) -> bool {
        let name: Vec<char> = name.chars().flat_map(char::to_lowercase).collect();
        let (mut at, mut piece) = (0, 0);
        // The last `*`, and how much of the name it stands for.
        let mut any: Option<(usize, usize)> = None;
        while at < name.len() {
            match self.pieces.get(piece) {
                Some(Piece::Any) => {
                    any = Some((piece, at));
                    piece += 1;
                }
                Some(Piece::One) => (at, piece) = (at + 1, piece + 1),
                Some(Piece::Is(c)) if *c == name[at] => (at, piece) = (at + 1, piece + 1),
                _ => match &mut any {
                    None => return false,
                    Some((star, until)) => {
                        *until += 1;
                        (at, piece) = (*until, *star + 1);
                    }
                },
            }
        }
        let rest = self.pieces[piece..].iter();
        rest.into_iter().all(|piece| *piece == Piece::Any)
    }
}
