//! Loads, and stores, of neighbouring columns of a matrix, joined in finished lane code.
//!
//! What a strip loads or stores some stride apart is a column of a matrix whose rows lie side by side in memory. Four
//! neighbouring columns cost hardly more than one of them if each lane loads or stores four elements side by side, and
//! registers are transposed. No other elements are touched.

use std::collections::BTreeMap;

use brolga_ir::program::{Access, Kernel};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::wide::types::lane_code::{Define, Elements, Inst, Lane, Lanes, TOGETHER};
use crate::wide::types::operations::Unary;
use crate::wide::types::words::{Start, Word};

/// Joins loads, and stores, of neighbouring columns inside strips.
pub(crate) fn join(lanes: &mut Lanes, words: &[Word], kernel: &Kernel) {
    let insts = std::mem::take(&mut lanes.insts);
    // Whether what is open is a strip or inside of one.
    let mut open = vec![false];
    for stretch in insts.chunk_by(|a, b| !a.is_border() && !b.is_border()) {
        match stretch[0] {
            Inst::Loop(_) => open.push(open[open.len() - 1]),
            Inst::Strip(_) => open.push(true),
            Inst::End => {
                open.pop();
            }
            _ => {}
        }
        if stretch[0].is_border() || !open[open.len() - 1] {
            lanes.insts.extend(stretch);
            continue;
        }
        let mut joined = Joined::default();
        let stretch = Stretch { insts: stretch, words, kernel };
        stretch.join_loads(lanes, &mut joined);
        stretch.join_stores(&mut joined);
        for (at, &inst) in stretch.insts.iter().enumerate() {
            lanes.insts.extend(joined.before.remove(&at).into_iter().flatten());
            if !joined.gone.contains(&at) {
                lanes.insts.push(inst);
            }
        }
    }
}

/// Instructions between borders: none of them begins or ends a loop.
struct Stretch<'a> {
    insts: &'a [Inst],
    words: &'a [Word],
    kernel: &'a Kernel,
}

/// What changes in a stretch: what comes in front of instructions, by position, and which are left out.
#[derive(Default)]
struct Joined {
    before: FxHashMap<usize, Vec<Inst>>,
    gone: FxHashSet<usize>,
}

impl Stretch<'_> {
    /// The parameter that a place is in, if the address is not computed in the leaf.
    fn param(&self, place: &Elements) -> Option<usize> {
        match self.words[place.word].start {
            Start::Pointer(param, _) => Some(param),
            _ => None,
        }
    }

    /// Four loads or more move up to the first of them. A parameter that is only read holds what it did before the kernel,
    /// but for elements that the same iteration stores, behind all of its loads.
    fn join_loads(&self, lanes: &mut Lanes, joined: &mut Joined) {
        let access = |place: &Elements| self.param(place).map(|param| self.kernel.params[param].access);
        let loads = self.insts.iter().enumerate().filter_map(|(at, inst)| match inst {
            Inst::Define(lane, Define::Load(place, None)) if access(place) == Some(Access::Read) => {
                Some((at, *place, *lane))
            }
            _ => None,
        });
        for run in neighbours(loads) {
            let mut done = 0;
            // Two or three that are left are loaded with columns before them.
            while run.len() >= TOGETHER && run.len() - done >= 2 {
                let first = done.min(run.len() - TOGETHER);
                let four = &run[first..first + TOGETHER];
                let loads = || four[done - first..].iter().flat_map(|column| &column.1);
                let at = loads().map(|load| load.0).min().expect("columns have loads");
                let insts = joined.before.entry(at).or_default();
                let to: [Lane; TOGETHER] = std::array::from_fn(|_| lanes.fresh());
                insts.push(Inst::LoadColumns { place: four[0].0, to });
                // They live no longer than this, so that there are registers for them.
                for (i, (_, loads)) in four.iter().enumerate() {
                    let copy = Define::Unary(Unary::Copy, to[i]);
                    if i < done - first {
                        insts.push(Inst::Define(lanes.fresh(), copy));
                    } else {
                        insts.extend(loads.iter().map(|load| Inst::Define(load.1, copy)));
                    }
                }
                joined.gone.extend(loads().map(|load| load.0));
                done = first + TOGETHER;
            }
        }
    }

    /// Four stores move down to the last of them: nothing else in the stretch touches the parameter, and no two of them
    /// the same element.
    fn join_stores(&self, joined: &mut Joined) {
        let mut touched: FxHashMap<usize, FxHashSet<(usize, i32, bool)>> = FxHashMap::default();
        for inst in self.insts {
            let (place, store) = match inst {
                Inst::Define(_, Define::Load(place, _)) | Inst::LoadColumns { place, .. } => (place, false),
                Inst::Store(place, _) => (place, true),
                _ => continue,
            };
            let Some(param) = self.param(place) else { return };
            touched.entry(param).or_default().insert((place.word, place.stride, store));
        }
        let alone = |place: &Elements| {
            let param = self.param(place).expect("every place is in a parameter");
            touched[&param].len() == 1 && place.stride.unsigned_abs() as usize >= TOGETHER
        };
        let stores = self.insts.iter().enumerate().filter_map(|(at, inst)| match inst {
            Inst::Store(place, value) if alone(place) => Some((at, *place, *value)),
            _ => None,
        });
        for run in neighbours(stores) {
            let disjoint = run.len() <= run[0].0.stride.unsigned_abs() as usize;
            if !disjoint || run.iter().any(|column| column.1.len() > 1) {
                continue;
            }
            for four in run.chunks_exact(TOGETHER) {
                let stores: [(usize, Lane); TOGETHER] = std::array::from_fn(|i| four[i].1[0]);
                let at = stores.iter().map(|store| store.0).max().expect("there are four");
                let store = Inst::StoreColumns { place: four[0].0, from: stores.map(|store| store.1) };
                joined.before.entry(at).or_default().push(store);
                joined.gone.extend(stores.map(|store| store.0));
            }
        }
    }
}

/// A column: the place of its elements, and who touches them, by position with the value.
type Column = (Elements, Vec<(usize, Lane)>);

/// Neighbouring columns, in the order in which they lie.
fn neighbours(accesses: impl Iterator<Item = (usize, Elements, Lane)>) -> Vec<Vec<Column>> {
    // The columns of each matrix by their offsets.
    let mut matrices: BTreeMap<(usize, i32), BTreeMap<i32, Column>> = BTreeMap::new();
    for (at, place, lane) in accesses.filter(|access| access.1.is_strided()) {
        let columns = matrices.entry((place.word, place.stride)).or_default();
        columns.entry(place.offset).or_insert((place, Vec::new())).1.push((at, lane));
    }
    let mut runs = Vec::new();
    for columns in matrices.into_values() {
        let columns: Vec<Column> = columns.into_values().collect();
        runs.extend(columns.chunk_by(|a, b| b.0.offset - a.0.offset == 4).map(<[Column]>::to_vec));
    }
    runs
}
