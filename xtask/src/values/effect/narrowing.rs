//! Casts that may not keep every value.

/// Whether a value may not survive the cast from one type of PostgreSQL to
/// another as it was. Only casts that are known to keep every value are not
/// said to.
pub fn narrows(from: &str, to: &str) -> bool {
    if from == to || matches!(to, "text" | "character varying") {
        return false;
    }
    let (from, to) = (Type::of(from), Type::of(to));
    const WHOLE: [&str; 4] = ["smallint", "integer", "bigint", "numeric"];
    const FLOATING: [&str; 2] = ["real", "double precision"];
    const TIMES: [&str; 2] = ["date", "timestamp without time zone"];
    for ladder in [&WHOLE[..], &FLOATING[..], &TIMES[..]] {
        let step = |name: &str| ladder.iter().position(|known| *known == name);
        if let (Some(a), Some(b)) = (step(from.name), step(to.name))
            && a < b
            && to.limits.is_empty()
        {
            return false;
        }
    }
    let is_text = |name: &str| matches!(name, "character varying" | "character");
    let is_same_kind = from.name == to.name || (is_text(from.name) && is_text(to.name));
    !(is_same_kind && to.holds(&from))
}

/// `numeric(10,2)` in its pieces.
struct Type<'a> {
    name: &'a str,
    limits: Vec<u32>,
}

impl<'a> Type<'a> {
    fn of(text: &'a str) -> Type<'a> {
        let (name, rest) = text.split_once('(').unwrap_or((text, ""));
        let limits = rest.trim_end_matches(')').split(',');
        Type {
            name,
            limits: limits
                .filter_map(|limit| limit.trim().parse().ok())
                .collect(),
        }
    }

    /// No limit is the widest; of a `numeric`, both sides of the point count.
    fn holds(&self, other: &Type) -> bool {
        match (self.limits.as_slice(), other.limits.as_slice()) {
            ([], _) => true,
            (_, []) => false,
            ([p, s], [q, t]) => s >= t && p.saturating_sub(*s) >= q.saturating_sub(*t),
            (mine, theirs) => mine.iter().zip(theirs).all(|(a, b)| a >= b),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::narrows;

    #[test]
    fn a_cast_that_keeps_every_value_is_no_loss() {
        for (from, to) in [
            ("integer", "bigint"),
            ("smallint", "numeric"),
            ("real", "double precision"),
            ("character varying(10)", "character varying(20)"),
            ("character varying(10)", "text"),
            ("numeric(10,2)", "numeric(12,3)"),
            ("numeric(10,2)", "numeric"),
            ("date", "timestamp without time zone"),
            ("uuid", "text"),
        ] {
            assert!(!narrows(from, to), "{from} → {to}");
        }
    }

    #[test]
    fn a_cast_that_may_cut_or_round_is_one() {
        for (from, to) in [
            ("bigint", "integer"),
            ("double precision", "real"),
            ("text", "character varying(20)"),
            ("character varying(20)", "character varying(10)"),
            ("numeric(10,2)", "numeric(10,3)"),
            ("numeric(10,2)", "numeric(12,1)"),
            ("numeric", "numeric(12,1)"),
            ("timestamp with time zone", "date"),
            ("integer", "numeric(4,0)"),
            ("text", "integer"),
        ] {
            assert!(narrows(from, to), "{from} → {to}");
        }
    }
}
