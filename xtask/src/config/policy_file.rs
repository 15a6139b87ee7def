//! `database/db.toml`: what a team has agreed on, in the repository.
//!
//! Nothing in it is passed over: what is not in the table of keys is refused,
//! with its line and the nearest name that is.

use std::fmt;
use std::fs::OpenOptions;
use std::io::{ErrorKind, Read};
use std::ops::Range;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use toml::Spanned;

use super::keys::{self, Row};
use super::kinds::{Given, holds_a_secret};
use crate::values::failure::Failure;
use crate::values::nearest;

const PATH: &str = "database/db.toml";

/// The section that may stand there several times, once for each place.
const PLACES: &str = "offsite";

/// What the library says of a table that has no place of its own, which `a.b = 1` makes: of what
/// is in it, it could not be said where it stands.
const NO_PLACE: &str = "expected a borrowed string";

/// More than any policy has.
const MAX_BYTES: u64 = 1 << 20;

#[derive(Debug, Default)]
pub struct PolicyFile {
    pub values: Vec<FileValue>,
    pub places: Vec<Vec<FileValue>>,
}

/// A key that stands in the file.
#[derive(Debug)]
pub struct FileValue {
    /// Section and name.
    pub path: String,
    pub given: Given,
    pub line: usize,
}

impl PolicyFile {
    /// An empty one when the project has none.
    pub fn read(project: &Path) -> Result<PolicyFile, Failure> {
        let path = project.join(PATH);
        let cannot = |error: &dyn fmt::Display| {
            Failure::usage(format!("`{}` cannot be read: {error}", path.display()))
        };
        let mut text = String::new();
        // A pipe would keep it waiting, also past a signal.
        let at_once = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
        let opened = OpenOptions::new()
            .read(true)
            .custom_flags(at_once)
            .open(&path);
        let file = match opened {
            // A link that leads nowhere was meant to lead somewhere.
            Err(error) if error.kind() == ErrorKind::NotFound && !path.is_symlink() => {
                return Ok(PolicyFile::default());
            }
            opened => opened.map_err(|error| cannot(&error))?,
        };
        if !file.metadata().is_ok_and(|metadata| metadata.is_file()) {
            return Err(cannot(&"it is not a regular file"));
        }
        let read = file.take(MAX_BYTES + 1).read_to_string(&mut text);
        let bytes = read.map_err(|error| cannot(&error))?;
        if bytes as u64 > MAX_BYTES {
            return Err(cannot(&format!("it is larger than {MAX_BYTES} bytes")));
        }
        let reader = Reader {
            shown: path.display().to_string(),
            text: &text,
        };
        reader.file()
    }
}

/// A TOML value, with where it stands.
enum Node {
    Given(Given),
    List(Vec<Spanned<Node>>),
    Table(Pairs),
    /// A date, a fraction: no setting is one.
    Other,
}

struct Reader<'a> {
    shown: String,
    text: &'a str,
}

/// Where a name stands is where its value does.
type Pairs = Vec<(String, Spanned<Node>)>;

impl Reader<'_> {
    fn file(&self) -> Result<PolicyFile, Failure> {
        let top: Top = toml::from_str(self.text).map_err(|error| {
            let at = error.span().unwrap_or_default();
            // Without the line itself, which the library would repeat.
            let what = error.message().replace('\n', ", ");
            match what.contains(NO_PLACE) {
                true => self
                    .refuse(&at, "a name with a dot in it stands before the `=`")
                    .hint("write the section above its keys, such as `[retention]`"),
                false => self.refuse(&at, what),
            }
        })?;
        let mut file = PolicyFile::default();
        for (name, node) in top.0 {
            let (span, section) = (node.span(), name);
            if !keys::sections().contains(&section.as_str()) {
                return Err(self.no_section(&span, &section, node.get_ref()));
            }
            match (section.as_str(), node.into_inner()) {
                (PLACES, Node::List(places)) => {
                    for place in places {
                        let Node::Table(pairs) = place.into_inner() else {
                            return Err(self.refuse(&span, "write `[[offsite]]` above its keys"));
                        };
                        file.places.push(self.keys(PLACES, keys::PLACE, pairs)?);
                    }
                }
                (PLACES, _) => {
                    return Err(self.refuse(&span, "there may be several: write `[[offsite]]`"));
                }
                (section, Node::Table(pairs)) => {
                    file.values.extend(self.keys(section, keys::ALL, pairs)?);
                }
                (section, _) => {
                    let what = format!("`{section}` is a section: write `[{section}]`");
                    return Err(self.refuse(&span, what));
                }
            }
        }
        Ok(file)
    }

    fn keys(&self, section: &str, table: &[Row], pairs: Pairs) -> Result<Vec<FileValue>, Failure> {
        let mut values = Vec::new();
        for (name, node) in pairs {
            let span = node.span();
            let path = format!("{section}.{name}");
            let Some(row) = table.iter().find(|row| row.path == path) else {
                return Err(self.no_key(&span, section, &name, table));
            };
            let line = self.line(&span);
            let given = self.given(row, node)?;
            values.push(FileValue { path, given, line });
        }
        Ok(values)
    }

    fn given(&self, row: &Row, node: Spanned<Node>) -> Result<Given, Failure> {
        let span = node.span();
        let wrong = |why: &str| self.refuse(&span, format!("`{}`: {why}", row.path));
        let given = match node.into_inner() {
            Node::Given(given) => Some(given),
            Node::List(list) => texts(list).map(Given::List),
            Node::Table(_) | Node::Other => None,
        };
        let Some(given) = given.filter(|given| row.shape.is_of(given)) else {
            return Err(wrong(&format!("{} is expected", row.shape.expected())));
        };
        let texts = match &given {
            Given::Text(text) => std::slice::from_ref(text),
            Given::List(list) => list.as_slice(),
            Given::Flag(_) | Given::Number(_) => &[],
        };
        if texts.iter().any(|text| holds_a_secret(text)) {
            let what = "it holds a secret, and this file is for the repository";
            let variable = match row.section() {
                PLACES => "a variable".into(),
                _ => format!("`{}`", row.variable_name()),
            };
            return Err(wrong(what).hint(format!(
                "take it out of the file and change it, for it may have been committed; \
                 put it into {variable}, which may be in `.env`"
            )));
        }
        if texts.iter().any(|text| text.trim().is_empty()) {
            return Err(wrong("it is empty").hint("leave the line out"));
        }
        (row.check)(&given).map_err(|why| wrong(&why))?;
        Ok(given)
    }

    fn no_section(&self, span: &Range<usize>, name: &str, node: &Node) -> Failure {
        if !matches!(node, Node::Table(_) | Node::List(_)) {
            let row = keys::ALL.iter().find(|row| row.name() == name);
            let failure = self.refuse(span, format!("`{name}` stands outside of a section"));
            let section = row.map_or("a section", |row| row.section());
            return failure.hint(format!("put it below `[{section}]`"));
        }
        let all = keys::sections();
        let nearest = nearest(name, all.iter().copied());
        let all: Vec<String> = all.iter().map(|name| format!("`[{name}]`")).collect();
        let nearest = nearest.map(|name| format!("`[{name}]`"));
        self.refuse(span, format!("there is no section `{name}`"))
            .hint(meant(nearest, &all.join(", ")))
    }

    fn no_key(&self, span: &Range<usize>, section: &str, name: &str, table: &[Row]) -> Failure {
        let failure = self.refuse(span, format!("`[{section}]` has no key `{name}`"));
        if let Some(row) = keys::ALL.iter().find(|row| row.name() == name) {
            return failure.hint(format!("it belongs below `[{}]`", row.section()));
        }
        let names = table.iter().filter(|row| row.section() == section);
        let names: Vec<&str> = names.map(Row::name).collect();
        let nearest = nearest(name, names.iter().copied());
        let all: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
        failure.hint(meant(
            nearest.map(|name| format!("`{name}`")),
            &all.join(", "),
        ))
    }

    fn line(&self, span: &Range<usize>) -> usize {
        let before = self.text.as_bytes().get(..span.start).unwrap_or_default();
        1 + before.iter().filter(|byte| **byte == b'\n').count()
    }

    fn refuse(&self, span: &Range<usize>, what: impl fmt::Display) -> Failure {
        let line = self.line(span);
        Failure::usage(format!("`{}` line {line}: {what}", self.shown))
    }
}

fn texts(list: Vec<Spanned<Node>>) -> Option<Vec<String>> {
    let text = |node: Spanned<Node>| match node.into_inner() {
        Node::Given(Given::Text(text)) => Some(text),
        _ => None,
    };
    list.into_iter().map(text).collect()
}

fn meant(nearest: Option<String>, all: &str) -> String {
    match nearest {
        Some(nearest) => format!("is {nearest} meant?"),
        None => format!("there are {all}"),
    }
}

/// The name that was most probably meant.
pub fn nearest<'a>(wanted: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    nearest::nearest(&wanted.replace('-', "_"), names)
}

/// The whole file: sections in their order.
struct Top(Pairs);

impl<'de> Deserialize<'de> for Top {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Top, D::Error> {
        match Node::deserialize(deserializer)? {
            Node::Table(pairs) => Ok(Top(pairs)),
            _ => Err(de::Error::custom("a file of sections is expected")),
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Node, D::Error> {
        deserializer.deserialize_any(Nodes)
    }
}

struct Nodes;

impl<'de> Visitor<'de> for Nodes {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a setting")
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Node, E> {
        Ok(Node::Given(Given::Flag(flag)))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Node, E> {
        Ok(Node::Given(Given::Number(number)))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Node, E> {
        Ok(Node::Other)
    }

    fn visit_str<E>(self, text: &str) -> Result<Node, E> {
        Ok(Node::Given(Given::Text(text.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Node, A::Error> {
        let mut nodes = Vec::new();
        while let Some(node) = list.next_element()? {
            nodes.push(node);
        }
        Ok(Node::List(nodes))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut table: A) -> Result<Node, A::Error> {
        let mut pairs = Vec::new();
        while let Some(pair) = table.next_entry()? {
            pairs.push(pair);
        }
        Ok(Node::Table(pairs))
    }
}
