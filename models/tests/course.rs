//! The map of the course.

use std::collections::BTreeSet;

use brolga_models::course::{CHAPTERS, GROUPS, ids, rows};
use brolga_models::rows::ROWS;

#[test]
fn every_row_is_in_a_group_once_and_in_some_chapter() {
    let all: Vec<&str> = ids().collect();
    let distinct: BTreeSet<&str> = all.iter().copied().collect();
    assert_eq!((all.len(), distinct.len()), (258, 258));
    let covered: BTreeSet<&str> = CHAPTERS.iter().flat_map(|(_, words)| rows(words)).collect();
    assert_eq!(covered, distinct);
}

/// Every word of a chapter stands for something.
#[test]
fn chapters_name_what_there_is() {
    let mut chapters = BTreeSet::new();
    for (name, words) in CHAPTERS {
        assert!(chapters.insert(name), "{name} is there twice");
        for word in *words {
            assert!(!rows(&[*word]).is_empty(), "{name}: {word}");
        }
    }
    let letters: BTreeSet<&str> = GROUPS.iter().map(|(name, ..)| &name[..1]).collect();
    assert_eq!(letters.into_iter().collect::<String>(), "ABCDEFGHI");
    // The recurrent networks have a letter of their own, the activations a beginning.
    assert_eq!(rows(&["D"]).len(), 13);
    assert!(rows(&["act-"]).contains(&"act-relu"));
}

#[test]
fn rows_that_can_be_run_are_in_the_course_and_in_its_order() {
    let all: Vec<&str> = ids().collect();
    let places: Vec<usize> = ROWS
        .iter()
        .map(|(id, _)| all.iter().position(|known| known == id).unwrap_or_else(|| panic!("{id}")))
        .collect();
    assert!(places.is_sorted(), "{places:?}");
    let distinct: BTreeSet<usize> = places.iter().copied().collect();
    assert_eq!(distinct.len(), places.len());
}
