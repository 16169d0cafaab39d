//! Columns of matrices whose rows lie side by side in memory.
//!
//! What a strip loads or stores some stride apart is a column of such a matrix. Four neighbouring columns cost hardly
//! more than one of them if each lane loads or stores four elements side by side, and registers are transposed: [`join`]
//! finds them in lane code. No other elements are touched.
//!
//! A copy that transposes has one column in its strip, and the next one in the next iteration of a loop around it:
//! [`Writer::columns`] has the strip run several iterations of such a loop.

use std::collections::BTreeMap;

use brolga_ir::index::{Atom, Index, Var};
use brolga_ir::program::{Access, Expr, Kernel, Param, Stmt};
use rustc_hash::{FxHashMap, FxHashSet};

use super::lanes::{Define, Inst, Lane, Lanes, Place, Unary};
use super::nest::{Start, Word, Writer};

/// Columns that are loaded or stored together.
pub(super) const TOGETHER: usize = 4;
/// Iterations of a loop over columns that a strip runs: a cache line of each row.
const ROUND: usize = 16;
/// Statements of a strip that are written that many times, at most.
const STATEMENTS: usize = 8;

/// Joins loads, and stores, of neighbouring columns inside strips.
pub(super) fn join(lanes: &mut Lanes, words: &[Word], kernel: &Kernel) {
    let insts = std::mem::take(&mut lanes.insts);
    // Whether what is open is a strip or inside of one.
    let mut open = vec![false];
    for block in insts.chunk_by(|a, b| !a.is_border() && !b.is_border()) {
        match block[0] {
            Inst::Loop(_) => open.push(open[open.len() - 1]),
            Inst::Strip(_) => open.push(true),
            Inst::End => {
                open.pop();
            }
            _ => {}
        }
        if block[0].is_border() || !open[open.len() - 1] {
            lanes.insts.extend(block);
            continue;
        }
        let mut joined = Joined::default();
        let block = Block { insts: block, words, kernel };
        block.join_loads(lanes, &mut joined);
        block.join_stores(&mut joined);
        for (at, &inst) in block.insts.iter().enumerate() {
            lanes.insts.extend(joined.before.remove(&at).into_iter().flatten());
            if !joined.gone.contains(&at) {
                lanes.insts.push(inst);
            }
        }
    }
}

/// Instructions between borders.
struct Block<'a> {
    insts: &'a [Inst],
    words: &'a [Word],
    kernel: &'a Kernel,
}

/// What changes in a block: what comes in front of instructions, by position, and which are left out.
#[derive(Default)]
struct Joined {
    before: FxHashMap<usize, Vec<Inst>>,
    gone: FxHashSet<usize>,
}

impl Block<'_> {
    /// The parameter that a place is in, if the address is not computed in the leaf.
    fn param(&self, place: &Place) -> Option<usize> {
        match self.words[place.word].start {
            Start::Pointer(param, _) => Some(param),
            _ => None,
        }
    }

    /// Four loads or more move up to the first of them. A parameter that is only read holds what it did before the kernel,
    /// but for elements that the same iteration stores, behind all of its loads.
    fn join_loads(&self, lanes: &mut Lanes, joined: &mut Joined) {
        let access = |place: &Place| self.param(place).map(|param| self.kernel.params[param].access);
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

    /// Four stores move down to the last of them: nothing else in the block touches the parameter, and no two of them
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
        let alone = |place: &Place| {
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
type Column = (Place, Vec<(usize, Lane)>);

/// Neighbouring columns, in the order in which they lie.
fn neighbours(accesses: impl Iterator<Item = (usize, Place, Lane)>) -> Vec<Vec<Column>> {
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

/// Iterations of a loop that strips inside of it run: what its variable is in the first of them, and how many.
pub(super) struct Columns {
    pub var: Var,
    pub first: Index,
    pub count: usize,
}

impl Writer<'_, '_> {
    /// A loop over columns, whose strips run several iterations at a time.
    pub fn columns(&mut self, var: Var, extent: usize, body: &[Stmt]) -> Option<()> {
        let (rounds, rest) = (extent / ROUND, extent % ROUND);
        if rounds > 0 {
            // No loop of the kernel has it.
            let round = Var::MAX - self.lanes.loops.len() as Var;
            self.extents.insert(round, rounds);
            let first = Index::var(round).scale(ROUND as i64);
            self.counted(round, rounds, |writer| {
                writer.columns = Some(Columns { var, first, count: ROUND });
                writer.block(body)
            })?;
        }
        if rest > 0 {
            let first = Index::constant((rounds * ROUND) as i64);
            self.columns = Some(Columns { var, first, count: rest });
            self.block(body)?;
        }
        self.columns = None;
        Some(())
    }
}

/// Whether the iterations of a loop around one strip are columns of what the strip loads, and may run in any order with
/// those of the strip and of loops between them: what is stored is not loaded, and each element is stored once.
pub(super) fn are_columns(kernel: &Kernel, var: Var, extent: usize, mut body: &[Stmt]) -> bool {
    let mut loops = vec![(var, extent)];
    let (strip, body) = loop {
        match body {
            [Stmt::For { var, extent, body: inside }] => {
                loops.push((*var, *extent));
                body = inside;
            }
            [Stmt::Strip { var, extent, body }] => {
                loops.push((*var, *extent));
                break (*var, body);
            }
            _ => return false,
        }
    };
    if extent < TOGETHER || body.len() > STATEMENTS {
        return false;
    }
    let (mut found, mut stored) = (false, Vec::new());
    let is_column = |param: &Param, index: &Index| {
        param.dtype.size() == 4
            && !index.is_nonlinear_in(var)
            && !index.is_nonlinear_in(strip)
            && index.coefficient(var).abs() == 1
            && index.coefficient(strip).abs() > 1
    };
    for stmt in body {
        match stmt {
            Stmt::Let { expr: Expr::Load { param, index, guard }, .. } => {
                let param = &kernel.params[*param];
                if param.access != Access::Read {
                    return false;
                }
                found |= guard.is_none() && is_column(param, index);
            }
            Stmt::Let { .. } => {}
            Stmt::Store { param: number, index, .. } => {
                let param = &kernel.params[*number];
                let once = param.access == Access::Write && !stored.contains(number);
                if !once || !is_injective(index, &loops) {
                    return false;
                }
                stored.push(*number);
                found |= is_column(param, index);
            }
            _ => return false,
        }
    }
    found
}

/// Whether no two iterations of the loops give an index the same value: as digits of a number do, each variable moves it
/// further than all that move it less.
fn is_injective(index: &Index, loops: &[(Var, usize)]) -> bool {
    let mut linear = true;
    index.visit(&mut |atom| linear &= matches!(atom, Atom::Var(_)));
    let mut digits: Vec<(u64, usize)> =
        loops.iter().map(|&(var, extent)| (index.coefficient(var).unsigned_abs(), extent)).collect();
    digits.sort_unstable();
    let mut reach = 0u64;
    linear
        && digits.into_iter().filter(|digit| digit.1 > 1).all(|(step, extent)| {
            let further = step > reach;
            reach = reach.saturating_add(step.saturating_mul(extent as u64 - 1));
            further
        })
}
