//! `-- expect-loss: books, users.phone`: what the author of a migration knows will be lost.

use super::sql::{Kind, tokens};
use crate::values::database::EngineKind;
use crate::values::failure::Failure;
use crate::values::loss::LossName;
use crate::values::plan::Migration;

const DIRECTIVE: &str = "expect-loss";

/// The names in all such comments of the file, in their order. Only a comment of the file itself counts: in a
/// string, or in the body of a function, the same text says nothing.
pub fn expected_losses(
    migration: &Migration,
    engine: EngineKind,
) -> Result<Vec<LossName>, Failure> {
    let text = migration.sql.as_str();
    let mut names = Vec::new();
    for token in tokens(text, engine).filter(|token| token.kind == Kind::Comment) {
        let Some(comment) = token.of(text).strip_prefix("--") else {
            continue;
        };
        let Some(rest) = comment.trim().strip_prefix(DIRECTIVE) else {
            continue;
        };
        // Another word that only begins with this one.
        if rest.starts_with(|c: char| c.is_alphanumeric() || "-_".contains(c)) {
            continue;
        }
        let refuse = |why: String| {
            let line = text[..token.at].matches('\n').count() + 1;
            let version = migration.version;
            Failure::usage(format!("migration {version} line {line}: {why}"))
                .hint("write it as `-- expect-loss: books, users.phone`")
        };
        let Some(list) = rest.trim_start().strip_prefix(':') else {
            return Err(refuse(format!("`{DIRECTIVE}` without a colon behind it")));
        };
        names.extend(LossName::parse_list(list).map_err(|bad| refuse(bad.to_string()))?);
    }
    Ok(names)
}
