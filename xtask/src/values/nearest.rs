//! Which of some names is meant by one that is none of them.

/// Of ten letters, four may be wrong.
const ALIKE: f64 = 0.6;

/// The name that was most probably meant, whatever its case; `None` when all are far from it.
pub fn nearest<'a>(wanted: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let wanted = wanted.to_lowercase();
    let likeness =
        |name: &str| strsim::normalized_damerau_levenshtein(&wanted, &name.to_lowercase());
    let mut names = names.into_iter();
    let first = names.next()?;
    let best = names.fold(first, |best, name| match likeness(name) > likeness(best) {
        true => name,
        false => best,
    });
    (likeness(best) >= ALIKE).then_some(best)
}
