//! Tunings of products and convolutions: what may be chosen by measuring, because it never changes a bit.
//!
//! A sum's order, the algorithm and the number of parts of a sum belong to the numeric plan and are not here. What is
//! here only says in which pieces the work is done, and in which order independent pieces follow each other. A
//! [`Tuning`] without choices is the compiler's own; [`Tunings`] has those of some products, by their
//! [keys](Tunings::get); lowering asks for the one of the product at hand.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// How a product is computed: which loops of lowering its [`Tuning`] is for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ProductKind {
    /// A dense product by Strassen's algorithm.
    Strassen,
    /// Direct sums over packed weights: convolutions, their gradients with respect to the input, dense products.
    Direct,
    /// A strided matrix product where its operands lie.
    Strided,
    /// A convolution of every channel by itself.
    Depthwise,
    /// Winograd's algorithm.
    Winograd,
    /// Direct sums of a gradient with respect to convolution weights.
    Weights,
    /// The same by Winograd's algorithm.
    WinogradWeights,
}

/// The loop that is outermost.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Outer {
    /// Boxes of positions: a box stays in the cache, and all panels of weights pass by. By Winograd's algorithm, each
    /// grid point transforms boxes of its own.
    Positions,
    /// Panels of weights: a panel stays, and the image passes by. By Winograd's algorithm, everything is transformed
    /// first.
    Columns,
}

/// The choices for one product; `None` leaves one to the compiler.
///
/// None of them touches a sum's order: an element of the result is a chain of its own, which runs through all its
/// terms in the order that the numeric plan says.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Tuning {
    /// About how many rows of the result are computed together, from 1 to 65,536: positions of a box (112 of a direct
    /// convolution, 56 or two rows of a depthwise one), rows of a half (112, Strassen), tiles of a box (48, Winograd), rows of a
    /// block (96, strided), input channels of a block (64, weights by Winograd's algorithm). Rows are different elements.
    pub rows: Option<usize>,
    /// Columns of a panel, from 1 to 256: 16, or 32 where many rows meet it, of a strided product about 96. Columns are
    /// different elements. The number of parts of a gradient's sum is that of 16 columns, whatever is chosen here.
    pub columns: Option<usize>,
    /// About how many terms are added before the sums go to memory and come back, from 1 to 65,536: input channels
    /// (256, direct where the kernel has one position, and Winograd), terms (256, strided; 512, Strassen), positions
    /// (224, weights, where they are summed in row-major order), tiles (96, weights by Winograd's algorithm). Memory
    /// holds a sum exactly, and the chain goes on from there.
    pub depth: Option<usize>,
    /// Which loop is outermost: by default, the one that reads less again. Grid points are independent.
    pub outer: Option<Outer>,
}

/// The largest choices; larger ones count as these.
const MOST: usize = 1 << 16;
const MOST_COLUMNS: usize = 256;

impl Tuning {
    /// The rows, or those of the kind.
    pub(crate) fn rows(&self, default: usize) -> usize {
        self.rows.unwrap_or(default).clamp(1, MOST)
    }

    /// The terms of a block of sums, or those of the kind.
    pub(crate) fn depth(&self, default: usize) -> usize {
        self.depth.unwrap_or(default).clamp(1, MOST)
    }

    /// The columns of a panel, if they are chosen.
    pub(crate) fn columns(&self) -> Option<usize> {
        self.columns.map(|columns| columns.clamp(1, MOST_COLUMNS))
    }

    /// Whether everything that is chosen is in its range. What is not would be taken for the nearest that is.
    ///
    /// # Errors
    /// The choice that is not, and its range.
    pub fn check(&self) -> Result<(), String> {
        let choices =
            [("rows", self.rows, MOST), ("columns", self.columns, MOST_COLUMNS), ("depth", self.depth, MOST)];
        for (name, choice, most) in choices {
            if let Some(number) = choice.filter(|number| !(1..=most).contains(number)) {
                return Err(format!("expected {name} from 1 to {most}, found {number}"));
            }
        }
        Ok(())
    }
}

impl ProductKind {
    /// Every kind.
    pub const ALL: [ProductKind; 7] = [
        ProductKind::Strassen,
        ProductKind::Direct,
        ProductKind::Strided,
        ProductKind::Depthwise,
        ProductKind::Winograd,
        ProductKind::Weights,
        ProductKind::WinogradWeights,
    ];

    /// How keys begin.
    pub fn name(self) -> &'static str {
        match self {
            ProductKind::Strassen => "strassen",
            ProductKind::Direct => "direct",
            ProductKind::Strided => "strided",
            ProductKind::Depthwise => "depthwise",
            ProductKind::Winograd => "winograd",
            ProductKind::Weights => "weights",
            ProductKind::WinogradWeights => "winograd-weights",
        }
    }

    /// The kind of product that a key is for.
    pub fn of(key: &str) -> Option<ProductKind> {
        let name = key.split(' ').next()?;
        ProductKind::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// What is worth trying, one choice after the other; each list has alternatives for one choice.
    pub fn candidates(self) -> Vec<Vec<Tuning>> {
        let rows =
            |all: &[usize]| all.iter().map(|&n| Tuning { rows: Some(n), ..Tuning::default() }).collect();
        let columns =
            |all: &[usize]| all.iter().map(|&n| Tuning { columns: Some(n), ..Tuning::default() }).collect();
        let depth =
            |all: &[usize]| all.iter().map(|&n| Tuning { depth: Some(n), ..Tuning::default() }).collect();
        let outer = || {
            let all = [Outer::Positions, Outer::Columns];
            all.map(|outer| Tuning { outer: Some(outer), ..Tuning::default() }).to_vec()
        };
        match self {
            ProductKind::Direct => {
                vec![columns(&[16, 24, 32, 48]), rows(&[28, 56, 224, 448]), depth(&[128, 512]), outer()]
            }
            ProductKind::Strassen => {
                vec![columns(&[16, 24, 32]), rows(&[28, 56, 224]), depth(&[128, 256]), outer()]
            }
            ProductKind::Strided => {
                vec![columns(&[16, 32, 64, 192]), rows(&[24, 48, 192]), depth(&[128, 512])]
            }
            ProductKind::Depthwise => vec![rows(&[14, 28, 112, 224])],
            ProductKind::Winograd => {
                vec![columns(&[16, 24, 32, 48]), rows(&[16, 24, 32, 72, 96]), depth(&[64, 128]), outer()]
            }
            ProductKind::Weights => vec![columns(&[16, 24, 32, 48]), depth(&[112, 448, 896])],
            ProductKind::WinogradWeights => {
                vec![columns(&[16, 24, 32, 48]), rows(&[32, 48, 96]), depth(&[48, 192])]
            }
        }
    }
}

/// The tunings of products, by their keys.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Tunings {
    chosen: BTreeMap<String, Tuning>,
    labels: bool,
}

impl Tunings {
    /// Tunings in which every call of a product has its key for an origin, in the place of its layer, so that a
    /// measurement can tell which time belongs to which product.
    pub fn labelled(mut self) -> Tunings {
        self.labels = true;
        self
    }

    /// Whether calls bear keys.
    pub fn labels(&self) -> bool {
        self.labels
    }

    /// The tuning of the product with that key, which says everything that a tuning may depend on: the kind,
    /// the operator with its attributes, and the types of its operands as they are stored, such as
    /// `direct conv {stride: [1, 1], channels_last: true} f32[1, 56, 56, 64], f32[64, 64, 1, 1]`.
    pub fn get(&self, key: &str) -> Tuning {
        self.chosen.get(key).copied().unwrap_or_default()
    }

    /// Whether anything is known about a product.
    pub fn contains(&self, key: &str) -> bool {
        self.chosen.contains_key(key)
    }

    /// Chooses the tuning of a product.
    pub fn set(&mut self, key: &str, tuning: Tuning) {
        self.chosen.insert(key.to_owned(), tuning);
    }

    /// All that are chosen, in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Tuning)> {
        self.chosen.iter().map(|(key, tuning)| (key.as_str(), tuning))
    }

    /// Whether nothing is chosen, and nothing asked for.
    pub(crate) fn is_empty(&self) -> bool {
        self.chosen.is_empty() && !self.labels
    }
}

impl fmt::Display for Tuning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers = [("rows", self.rows), ("columns", self.columns), ("depth", self.depth)];
        let numbers = numbers.iter().filter_map(|(name, value)| value.map(|value| format!("{name} {value}")));
        let outer = self.outer.map(|outer| match outer {
            Outer::Positions => "positions outermost".to_owned(),
            Outer::Columns => "columns outermost".to_owned(),
        });
        let all: Vec<String> = numbers.chain(outer).collect();
        if all.is_empty() { f.write_str("default") } else { f.write_str(&all.join(", ")) }
    }
}

/// What a tuning is printed as. Whether its numbers are in range is asked of [`Tuning::check`].
impl FromStr for Tuning {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Tuning, &'static str> {
        let mut tuning = Tuning::default();
        if text == "default" {
            return Ok(tuning);
        }
        for choice in text.split(", ") {
            let Some((first, second)) = choice.split_once(' ') else { return Err(EXPECTED) };
            match (first, second) {
                ("positions", "outermost") => tuning.outer = Some(Outer::Positions),
                ("columns", "outermost") => tuning.outer = Some(Outer::Columns),
                (name, number) => {
                    let number: usize = number.parse().map_err(|_| EXPECTED)?;
                    let choice = match name {
                        "rows" => &mut tuning.rows,
                        "columns" => &mut tuning.columns,
                        "depth" => &mut tuning.depth,
                        _ => return Err(EXPECTED),
                    };
                    *choice = Some(number);
                }
            }
        }
        Ok(tuning)
    }
}

/// What a tuning looks like.
const EXPECTED: &str = "expected `default`, or such as `rows 56, columns 16, depth 256, positions outermost`";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_kinds_tell_them() {
        for kind in ProductKind::ALL {
            assert_eq!(ProductKind::of(&format!("{} dot f32[1]", kind.name())), Some(kind));
        }
        assert_eq!(ProductKind::of("conv1"), None);
        assert_eq!(ProductKind::of(""), None);
    }

    #[test]
    fn candidates_are_legal_and_differ() {
        for kind in ProductKind::ALL {
            for choice in kind.candidates() {
                for (number, candidate) in choice.iter().enumerate() {
                    assert_eq!(candidate.check(), Ok(()));
                    assert_ne!(*candidate, Tuning::default());
                    assert!(!choice[..number].contains(candidate));
                }
            }
        }
    }

    #[test]
    fn what_is_printed_is_read_again() {
        let all = ProductKind::ALL.map(ProductKind::candidates).concat().concat();
        let most =
            Tuning { rows: Some(7), columns: Some(0), depth: Some(1 << 40), outer: Some(Outer::Columns) };
        for tuning in all.into_iter().chain([Tuning::default(), most]) {
            assert_eq!(tuning.to_string().parse(), Ok(tuning));
        }
        for wrong in
            ["", "rows", "rows -1", "rows 5,columns 3", "rewards 5", "default, rows 5", "rows outermost"]
        {
            assert_eq!(wrong.parse::<Tuning>(), Err(EXPECTED), "{wrong}");
        }
    }

    #[test]
    fn what_is_out_of_range_is_named_and_taken_for_the_nearest() {
        let tuning = Tuning { rows: Some(0), columns: Some(usize::MAX), ..Tuning::default() };
        assert_eq!(tuning.check().unwrap_err(), "expected rows from 1 to 65536, found 0");
        assert_eq!((tuning.rows(112), tuning.columns(), tuning.depth(7)), (1, Some(256), 7));
        let tuning = Tuning { rows: None, ..tuning };
        assert!(tuning.check().unwrap_err().contains("columns from 1 to 256"));
        assert_eq!(tuning.rows(112), 112);
    }
}
