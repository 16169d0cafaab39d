//! Putting things in order.

use std::cmp::Ordering;

/// The places of so many things in their order; equal ones stay as they are. `compare` is told the places of two.
///
/// The library's sorts are compiled for each type anew, to 4 to 9 KB each time, which every executable of a model has. So what is
/// sorted in all of them is sorted by this one.
pub(crate) fn order(count: usize, compare: &mut dyn FnMut(usize, usize) -> Ordering) -> Vec<usize> {
    let mut order: Vec<usize> = (0..count).collect();
    order.sort_by(|&a, &b| compare(a, b));
    order
}

/// Things in their order; equal ones stay as they are. In place of the library's sorts where every executable has to sort.
pub fn sorted<T>(things: Vec<T>, compare: impl Fn(&T, &T) -> Ordering) -> Vec<T> {
    let order = order(things.len(), &mut |a, b| compare(&things[a], &things[b]));
    let mut things: Vec<Option<T>> = things.into_iter().map(Some).collect();
    order.into_iter().filter_map(|at| things[at].take()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_things_stay_as_they_are() {
        for count in [0, 1, 2, 19, 20, 21, 300] {
            let things: Vec<(usize, usize)> = (0..count).map(|at| (at * 7919 % 13, at)).collect();
            let mut expected = things.clone();
            expected.sort();
            assert_eq!(sorted(things, |a, b| a.0.cmp(&b.0)), expected);
        }
    }
}
