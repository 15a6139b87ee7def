//! In which order tables are written, so that what a row refers to is there before it.

/// `parents[i]`: the tables that the table `i` refers to. All tables, each after its parents where
/// that can be; where tables refer to each other in a circle, in the order that they came in.
pub fn parents_first(parents: &[Vec<usize>]) -> Vec<usize> {
    let mut order = Vec::with_capacity(parents.len());
    let mut placed = vec![false; parents.len()];
    while order.len() < parents.len() {
        let before = order.len();
        for table in 0..parents.len() {
            let is_ready = |parent: &usize| *parent == table || placed[*parent];
            if !placed[table] && parents[table].iter().all(is_ready) {
                placed[table] = true;
                order.push(table);
            }
        }
        // A circle: somebody must be the first.
        if order.len() == before
            && let Some(first) = placed.iter().position(|placed| !placed)
        {
            placed[first] = true;
            order.push(first);
        }
    }
    order
}
