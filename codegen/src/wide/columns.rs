//! Columns of matrices whose rows lie side by side in memory.
//!
//! What a strip loads some stride apart is a column of such a matrix. Four neighbouring columns cost what hardly more
//! than one of them costs if each lane loads four elements side by side, and registers are transposed: [`join`] finds
//! them in lane code. Only elements are touched that are loaded anyway.
//!
//! A copy that transposes has one column in its strip, and the next one in the next iteration of a loop around it:
//! [`Writer::columns`] has the strip run several iterations of such a loop.

use std::collections::{BTreeMap, HashMap, HashSet};

use brolga_ir::index::{Atom, Index, Var};
use brolga_ir::program::{Access, Expr, Kernel, Stmt};

use super::lanes::{Define, Inst, Lane, Lanes, Place, Unary};
use super::nest::{Start, Word, Writer};

/// Columns that are loaded together.
pub(super) const TOGETHER: usize = 4;
/// Iterations of a loop over columns that a strip runs.
const ROUND: usize = 8;
/// The most iterations of such a loop that a strip runs all of.
const WHOLE: usize = 9;
/// Statements of a strip that are written that many times, at most.
const STATEMENTS: usize = 8;

/// Joins loads of neighbouring columns.
///
/// Loads move up to the first of them in their block. A parameter that is only read holds what it did before the kernel,
/// but for elements that the same iteration stores, behind all of its loads.
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
        } else {
            join_block(lanes, block, words, kernel);
        }
    }
}

fn join_block(lanes: &mut Lanes, block: &[Inst], words: &[Word], kernel: &Kernel) {
    let is_fixed = |place: &Place| match words[place.word].start {
        Start::Pointer(param, _) => kernel.params[param].access == Access::Read,
        _ => false,
    };
    // The columns of each matrix by their offsets, with the loads of each.
    let mut matrices: BTreeMap<(usize, i32), BTreeMap<i32, Vec<usize>>> = BTreeMap::new();
    for (at, inst) in block.iter().enumerate() {
        if let Inst::Define(_, Define::Load(place, None)) = inst
            && place.is_strided()
            && is_fixed(place)
        {
            let columns = matrices.entry((place.word, place.stride)).or_default();
            columns.entry(place.offset).or_default().push(at);
        }
    }
    // What comes in front of an instruction, and which are left out.
    let mut joined: HashMap<usize, Vec<Inst>> = HashMap::new();
    let mut gone: HashSet<usize> = HashSet::new();
    for columns in matrices.into_values() {
        let columns: Vec<(i32, Vec<usize>)> = columns.into_iter().collect();
        for run in columns.chunk_by(|a, b| b.0 - a.0 == 4) {
            let mut done = 0;
            // Two or three that are left are loaded with columns before them.
            while run.len() >= TOGETHER && run.len() - done >= 2 {
                let first = done.min(run.len() - TOGETHER);
                let four = &run[first..first + TOGETHER];
                let loads = || four[done - first..].iter().flat_map(|column| &column.1);
                let at = *loads().min().expect("columns have loads");
                let Inst::Define(_, Define::Load(place, _)) = block[four[0].1[0]] else {
                    unreachable!("a load")
                };
                let insts = joined.entry(at).or_default();
                let to: [Lane; TOGETHER] = std::array::from_fn(|_| lanes.fresh());
                insts.push(Inst::Columns { place, to });
                // They are in registers for no longer than this, so that there are registers for them.
                for (i, (_, loads)) in four.iter().enumerate() {
                    let copy = Define::Unary(Unary::Copy, to[i]);
                    if i < done - first {
                        insts.push(Inst::Define(lanes.fresh(), copy));
                    } else {
                        insts.extend(loads.iter().map(|&at| match block[at] {
                            Inst::Define(lane, _) => Inst::Define(lane, copy),
                            _ => unreachable!("a load"),
                        }));
                    }
                }
                gone.extend(loads());
                done = first + TOGETHER;
            }
        }
    }
    for (at, &inst) in block.iter().enumerate() {
        lanes.insts.extend(joined.remove(&at).into_iter().flatten());
        if !gone.contains(&at) {
            lanes.insts.push(inst);
        }
    }
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
        let (rounds, rest) = if extent <= WHOLE { (0, extent) } else { (extent / ROUND, extent % ROUND) };
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
    for stmt in body {
        match stmt {
            Stmt::Let { expr: Expr::Load { param, index, guard }, .. } => {
                let param = &kernel.params[*param];
                if param.access != Access::Read {
                    return false;
                }
                let linear = !index.is_nonlinear_in(var) && !index.is_nonlinear_in(strip);
                found |= linear
                    && guard.is_none()
                    && param.dtype.size() == 4
                    && index.coefficient(var).abs() == 1
                    && index.coefficient(strip).abs() > 1;
            }
            Stmt::Let { .. } => {}
            Stmt::Store { param, index, .. } => {
                let once = kernel.params[*param].access == Access::Write && !stored.contains(param);
                if !once || !is_injective(index, &loops) {
                    return false;
                }
                stored.push(*param);
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
