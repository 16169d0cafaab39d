//! Whether iterations that run together provably touch different elements.
//!
//! Of a parameter that is stored to, every access must be `c * i + rest` in the parallel variable `i`, with one `c` for all
//! accesses, and `rest` must take values from a range that is shorter than `|c|`. With several variables (a grid), each
//! coefficient must be larger than all that the smaller ones and the rest cover together. `[8*i0 + i1]` with `i1` below 8
//! is such an index; `[i0 / 2]` is not, and neither is one that was computed.

use crate::index::{Atom, Index, Range, Var};
use crate::program::walk::walk;
use crate::program::{Expr, Kernel, Stmt};
use rustc_hash::FxHashMap;

/// Whether the points of the grid, and the iterations of every strip, are proven to be independent.
pub fn verify(kernel: &Kernel) -> bool {
    let mut walk = Walk {
        vars: kernel.grid.iter().enumerate().map(|(var, &extent)| (var as Var, extent)).collect(),
        accesses: Vec::new(),
        strips: true,
    };
    walk.block(&kernel.body);
    let grid: Vec<(Var, usize)> =
        (0..kernel.grid.len() as Var).map(|var| (var, kernel.grid[var as usize])).collect();
    let stored = stored(&kernel.body);
    walk.strips && stored.into_iter().all(|param| apart(&grid, walk.of(param, 0), &FxHashMap::default()))
}

/// The parameters that a block stores to.
fn stored(block: &[Stmt]) -> Vec<usize> {
    let target = |statement: &Stmt| match statement {
        Stmt::Store { param, .. } => Some(*param),
        Stmt::Tile(tile) => Some(tile.c.param),
        Stmt::For { .. }
        | Stmt::Strip { .. }
        | Stmt::If { .. }
        | Stmt::Let { .. }
        | Stmt::Declare { .. }
        | Stmt::Accumulate { .. }
        | Stmt::Finish { .. } => None,
    };
    let mut found: Vec<usize> = walk(block).filter_map(target).collect();
    found.sort_unstable();
    found.dedup();
    found
}

/// An access: the index, how far it reaches below and above, and the extents of the variables around.
struct Access {
    param: usize,
    index: Index,
    reach: (i128, i128),
    vars: FxHashMap<Var, usize>,
}

impl Access {
    fn range(&self, atom: &Atom) -> Option<Range> {
        match atom {
            Atom::Var(var) => self.vars.get(var).map(|&extent| (0, extent.max(1) as i64 - 1)),
            _ => None,
        }
    }
}

struct Walk {
    /// Extents of the variables in scope.
    vars: FxHashMap<Var, usize>,
    accesses: Vec<Access>,
    /// Whether the strips so far are independent.
    strips: bool,
}

impl Walk {
    /// The accesses of a parameter from a position in the list on.
    fn of(&self, param: usize, from: usize) -> impl Iterator<Item = &Access> + Clone {
        self.accesses[from..].iter().filter(move |access| access.param == param)
    }

    fn block(&mut self, statements: &[Stmt]) {
        for statement in statements {
            match statement {
                Stmt::For { var, extent, body } => self.enter(*var, *extent, body),
                Stmt::Strip { var, extent, body } => {
                    let first = self.accesses.len();
                    self.enter(*var, *extent, body);
                    let strip = [(*var, *extent)];
                    let apart = |param| apart(&strip, self.of(param, first), &self.vars);
                    self.strips = self.strips && stored(body).into_iter().all(apart);
                }
                Stmt::If { then, otherwise, .. } => {
                    self.block(then);
                    self.block(otherwise);
                }
                Stmt::Let { expr: Expr::Load { param, index, .. }, .. }
                | Stmt::Store { param, index, .. } => self.access(*param, index, &[]),
                Stmt::Tile(tile) => {
                    let of = |stride: fn(&crate::program::TileLoop) -> i64| {
                        tile.reduce.iter().map(move |l| (l.extent, stride(l)))
                    };
                    let a: Vec<_> = std::iter::once((tile.m, tile.a.row)).chain(of(|l| l.a)).collect();
                    let b: Vec<_> = std::iter::once((tile.n, 1)).chain(of(|l| l.b)).collect();
                    self.access(tile.a.param, &tile.a.index, &a);
                    self.access(tile.b.param, &tile.b.index, &b);
                    self.access(tile.c.param, &tile.c.index, &[(tile.m, tile.c.row), (tile.n, 1)]);
                }
                Stmt::Let { .. } | Stmt::Declare { .. } | Stmt::Accumulate { .. } | Stmt::Finish { .. } => {}
            }
        }
    }

    fn enter(&mut self, var: Var, extent: usize, body: &[Stmt]) {
        self.vars.insert(var, extent);
        self.block(body);
        self.vars.remove(&var);
    }

    fn access(&mut self, param: usize, index: &Index, loops: &[(usize, i64)]) {
        let spans = loops.iter().map(|&(extent, stride)| (extent as i128 - 1).max(0) * stride as i128);
        let reach = spans.fold((0, 0), |(low, high), span| (low + span.min(0), high + span.max(0)));
        self.accesses.push(Access { param, index: index.clone(), reach, vars: self.vars.clone() });
    }
}

/// Whether accesses with different values of the parallel variables are to different elements. The variables `around` them
/// all have one value, and so does what the indices have in common of these.
fn apart<'a>(
    parallel: &[(Var, usize)],
    accesses: impl Iterator<Item = &'a Access> + Clone,
    around: &FxHashMap<Var, usize>,
) -> bool {
    let Some(first) = accesses.clone().next() else { return true };
    let parallel: Vec<Var> =
        parallel.iter().filter(|&&(_, extent)| extent > 1).map(|&(var, _)| var).collect();
    if parallel.is_empty() {
        return true;
    }
    let everywhere = |term: &&(Atom, i64)| {
        let fixed = matches!(&term.0, Atom::Var(var) if around.contains_key(var));
        fixed && accesses.clone().all(|access| access.index.terms().contains(term))
    };
    let common = Index::from_terms(0, first.index.terms().iter().filter(everywhere).cloned());
    let (mut low, mut high) = (i128::MAX, i128::MIN);
    for access in accesses.clone() {
        let mut rest = access.index.sub(&common);
        for &var in &parallel {
            let coefficient = access.index.coefficient(var);
            if coefficient != first.index.coefficient(var) || access.index.is_nonlinear_in(var) {
                return false;
            }
            rest = rest.sub(&Index::var(var).scale(coefficient));
        }
        // None where something was computed, or overflows.
        let Some((l, h)) = rest.range(&|atom| access.range(atom)) else { return false };
        low = low.min(l as i128 + access.reach.0);
        high = high.max(h as i128 + access.reach.1);
    }
    let step = |var: &Var| ((first.index.coefficient(*var) as i128).abs(), first.vars[var] as i128 - 1);
    let mut steps: Vec<(i128, i128)> = parallel.iter().map(step).collect();
    steps.sort_unstable();
    let mut covered = high - low;
    steps.into_iter().all(|(step, times)| {
        let apart = step > covered;
        covered += step * times;
        apart
    })
}
