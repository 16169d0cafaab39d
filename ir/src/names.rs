//! Names that were meant, and names that mean something.

/// The candidate that `name` is most likely a misspelling of, if any is near: a slip for every three letters may be
/// between them (one in shorter names, none in a single letter); exchanged neighbours count as one, capitals as none. If
/// none is near, the shortest that `name` begins, from three letters on.
pub fn nearest<'n>(name: &str, candidates: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    // Names longer than this are not slips of one another; the bound keeps hostile input cheap.
    const LONGEST: usize = 64;
    let length = name.chars().count();
    let most = (length / 3).max(1).min(length.saturating_sub(1));
    let candidates: Vec<&str> =
        candidates.into_iter().filter(|other| name.len().max(other.len()) <= LONGEST).collect();
    let begins = |other: &&&str| other.to_lowercase().starts_with(&name.to_lowercase());
    let distance = |other: &str| strsim::osa_distance(&name.to_lowercase(), &other.to_lowercase());
    candidates
        .iter()
        .map(|&other| (distance(other), other))
        .filter(|&(distance, _)| distance <= most)
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, other)| other)
        .or_else(|| {
            candidates.iter().filter(|_| length >= 3).filter(begins).min_by_key(|other| other.len()).copied()
        })
}

/// Whether state of this name is what an entry keeps for itself from call to call: how often it was called, `optim.<entry>.calls`, and where
/// its loops ended, `kept.<entry>.…`. To write it is no training.
pub fn is_of_calls(state: &str) -> bool {
    state.starts_with("kept.") || state.starts_with("optim.") && state.ends_with(".calls")
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn slips_of_the_pen() {
        let names = ["Conv2d", "Conv1d", "Linear", "LayerNorm"];
        assert_eq!(nearest("conv2d", names), Some("Conv2d"));
        assert_eq!(nearest("Liner", names), Some("Linear"));
        assert_eq!(nearest("Lienar", names), Some("Linear"));
        assert_eq!(nearest("Dropout", names), None);
        assert_eq!(nearest("Conv", names), Some("Conv2d"));
        assert_eq!(nearest("Co", names), None);
        assert_eq!(nearest("trian", ["train", "infer"]), Some("train"));
        assert_eq!(nearest("y", ["x"]), None);
        assert_eq!(nearest(&"a".repeat(65), ["a"]), None);
    }
}
