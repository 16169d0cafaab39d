//! `parallelise`: moves outer loops whose iterations touch different memory into the kernel's grid.
//!
//! Then it says which calls hand the points of their grids out to threads (`share.rs`): that is `parallel` in the program, and code
//! generation obeys.
//!
//! A kernel of little work stays serial: entering another thread costs more than it saves. Loops of much work that stand
//! behind each other become kernels of their own first (`separate.rs`). A single long strip is cut into
//! parts; what is left over becomes a kernel and a call of its own. Exact.

use brolga_ir::GraphError;
use brolga_ir::index::{Atom, Index, Var};
use brolga_ir::program::walk::{extents, map_indices, walk_mut};
use brolga_ir::program::{Kernel, KernelId, Program, Stmt};
use rustc_hash::FxHashMap;

use crate::facts::blocking::strips::{LONGER, PART};
use crate::facts::cost::threads::MOST_PARTS;
use crate::facts::cost::vector_operations;
use crate::facts::independence::independent;
use crate::options::Options;
use crate::program::separate::{Pieces, call_pieces, separate};
use crate::program::share::share;

/// Fills the grids, and says which calls are parallel; whether anything changed.
pub fn parallelise(program: &mut Program, options: &Options) -> Result<bool, GraphError> {
    let least = options.least_part.max(1);
    let mut pieces: FxHashMap<KernelId, Pieces> = FxHashMap::default();
    let mut changed = separate(program, least);
    for position in 0..program.kernels.len() {
        let kernel = &mut program.kernels[position];
        // A grid that was lowered: dimensions that are known to be independent.
        let known = kernel.grid.len();
        let before = (known > 0).then(|| kernel.clone());
        unlift(kernel);
        let work = vector_operations(&kernel.body);
        if work < 2 * least {
            changed |= known > 0;
            continue;
        }
        lift(kernel, work, least, known);
        if kernel.grid.is_empty()
            && let Some(rest) = cut(kernel, work, least)
        {
            let args: Vec<usize> = (0..rest.params.len()).collect();
            let [whole, other] = [position, program.kernels.len()].map(|at| KernelId(at as u32));
            pieces.insert(whole, vec![(whole, args.clone()), (other, args)]);
            program.kernels.push(rest);
        }
        let kernel = &program.kernels[position];
        changed |= before.map_or(!kernel.grid.is_empty(), |before| *kernel != before);
    }
    if !pieces.is_empty() {
        call_pieces(&mut program.schedule, &pieces);
        call_pieces(&mut program.prepare, &pieces);
    }
    Ok(share(program, least) || changed)
}

/// Makes loops of a grid.
pub(crate) fn unlift(kernel: &mut Kernel) {
    for (var, extent) in std::mem::take(&mut kernel.grid).into_iter().enumerate().rev() {
        let body = std::mem::take(&mut kernel.body);
        kernel.body = vec![Stmt::For { var: var as Var, extent, body }];
    }
}

/// How many points a kernel's grid will have.
pub(crate) fn parts_of(kernel: &Kernel, least: u64) -> usize {
    let mut kernel = kernel.clone();
    let known = kernel.grid.len();
    unlift(&mut kernel);
    let work = vector_operations(&kernel.body);
    if work >= 2 * least {
        lift(&mut kernel, work, least, known);
    }
    kernel.parts()
}

/// Lifts outermost loops while parts stay large enough; `known` of them are independent.
fn lift(kernel: &mut Kernel, work: u64, least: u64, known: usize) {
    let mut vars: Vec<Var> = Vec::new();
    let mut parts: usize = 1;
    // Progress: a loop that is lifted is gone from the kernel's body.
    while let Some((Stmt::For { var, extent, body }, prefix)) = kernel.body.split_last() {
        let (var, extent) = (*var, *extent);
        let small = work / (parts * extent).max(1) as u64 * 2 < least && parts > 1;
        let movable = prefix.iter().all(|s| matches!(s, Stmt::Let { .. }));
        let free = || vars.len() < known || independent(var, extent, body, &extents(&kernel.body));
        if parts >= MOST_PARTS || small || !movable || !free() {
            break;
        }
        // Of a long loop of little work, as many iterations as make enough parts; the others stay inside.
        let tiny = work / ((parts * extent) as u64) < least;
        // Among few numbers of parts, so that long loops take no longer to compile.
        let counts = MOST_PARTS.div_ceil(parts)..=(extent / 2).min(MOST_PARTS * MOST_PARTS);
        if let Some(count) = counts.into_iter().find(|&count| extent.is_multiple_of(count)).filter(|_| tiny) {
            let inner = 1 + extents(&kernel.body).into_keys().chain(vars.iter().copied()).max().unwrap_or(0);
            in_blocks(kernel, inner, extent / count);
            vars.push(var);
            kernel.grid.push(count);
            break;
        }
        parts *= extent;
        vars.push(var);
        kernel.grid.push(extent);
        let Some(Stmt::For { body, .. }) = kernel.body.pop() else { unreachable!("matched above") };
        kernel.body.extend(body);
    }
    if !vars.is_empty() {
        renumber(kernel, &vars);
    }
}

/// Puts a loop of `chunk` iterations over `inner` in the place of the last statement, a loop; the variable of that then
/// counts blocks.
pub(crate) fn in_blocks(kernel: &mut Kernel, inner: Var, chunk: usize) {
    if let Some(Stmt::For { var, extent, body }) = kernel.body.last_mut() {
        let to = Index::var(*var).scale(chunk as i64).add(&Index::var(inner));
        move_variable(body, *var, &to);
        (*var, *extent) = (inner, chunk);
    }
}

/// Numbers the grid's variables first, in order, then all others in order of occurrence.
pub(crate) fn renumber(kernel: &mut Kernel, grid: &[Var]) {
    let mut names: FxHashMap<Var, Var> = grid.iter().copied().zip(0..).collect();
    walk_mut(&mut kernel.body, &mut |statement| {
        if let Stmt::For { var, .. } | Stmt::Strip { var, .. } = statement {
            let next = names.len() as Var;
            *var = *names.entry(*var).or_insert(next);
        }
    });
    map_indices(&mut kernel.body, &mut |index| {
        let replace = |atom: &Atom| match atom {
            Atom::Var(v) => names.get(v).map(|&n| Index::var(n)),
            _ => None,
        };
        index.substitute(&replace, &|_| None)
    });
}

/// Cuts a kernel that is one long strip into parts; the kernel for the rest, if there is one.
fn cut(kernel: &mut Kernel, work: u64, least: u64) -> Option<Kernel> {
    let (Stmt::Strip { var, extent, body }, prefix) = kernel.body.split_last()? else { return None };
    let (var, extent) = (*var, *extent);
    let movable = prefix.iter().all(|s| matches!(s, Stmt::Let { .. }));
    if !movable || !independent(var, extent, body, &extents(&kernel.body)) {
        return None;
    }
    let parts = (work / least).clamp(2, MOST_PARTS as u64) as usize;
    let shortest = extent.div_ceil(parts).next_multiple_of(PART);
    // Nothing is left over if the parts are longer, within bounds: a call less.
    let even = (2..=parts).rev().filter(|count| extent.is_multiple_of(*count)).map(|count| extent / count);
    let even =
        even.into_iter().find(|chunk| chunk % PART == 0 && (shortest..=LONGER * shortest).contains(chunk));
    let chunk = even.unwrap_or(shortest);
    let whole = extent / chunk;
    if whole < 2 {
        return None;
    }
    let rest = (extent % chunk > 0).then(|| {
        let mut rest = kernel.clone();
        if let Some(Stmt::Strip { extent, .. }) = rest.body.last_mut() {
            *extent %= chunk;
        }
        let start = Index::constant((whole * chunk) as i64);
        move_variable(&mut rest.body, var, &Index::var(var).add(&start));
        rest
    });
    kernel.grid = vec![whole];
    if let Some(Stmt::Strip { extent, .. }) = kernel.body.last_mut() {
        *extent = chunk;
    }
    // A variable that no loop inside the strip has.
    let outer = extents(&kernel.body).into_keys().max().map_or(0, |last| last + 1);
    move_variable(&mut kernel.body, var, &Index::var(outer).scale(chunk as i64).add(&Index::var(var)));
    renumber(kernel, &[outer]);
    rest
}

fn move_variable(block: &mut [Stmt], var: Var, to: &Index) {
    map_indices(block, &mut |index| {
        index.substitute(&|atom| (*atom == Atom::Var(var)).then(|| to.clone()), &|_| None)
    });
}
