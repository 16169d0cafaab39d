//! A kernel that works on a buffer, made to work on a region of another one.

use brolga_ir::index::{Atom, Index, Range, Var};
use brolga_ir::program::walk::{extents, map_indices, walk};
use brolga_ir::program::{AccId, Arg, Expr, Kernel, Panel, Stmt, Tile, TileLoop};
use rustc_hash::FxHashMap;

/// Loops over whole buffers are cut into runs of so many elements at least.
pub const SHORTEST: i64 = 16;

/// Where the elements of a buffer lie in another one: element `e` at `first + e / block * stride + e % block`.
///
/// An index is taken apart into a part that is a multiple of `block`, term by term, and a rest that provably stays in
/// one block; only the first is scaled. Loops that run through several blocks are cut where these end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Embedding {
    pub first: i64,
    pub block: i64,
    pub stride: i64,
}

impl Embedding {
    /// Rewrites a parameter of a kernel and its argument (but for the buffer); nothing if that is not possible. `statements`
    /// are the positions of those that access it, `next` a variable that no loop has, and behind it none.
    pub fn apply(
        &self,
        kernel: &mut Kernel,
        statements: &[usize],
        next: &mut Var,
        param: usize,
        arg: &mut Arg,
    ) -> Option<()> {
        let Some((shift, len)) = self.argument(kernel.params[param].len, arg)? else { return Some(()) };
        kernel.params[param].len = len;
        let mut rewriter = Rewriter::new(self, kernel, param, shift, *next);
        for &statement in statements {
            rewriter.statement(&mut kernel.body[statement])?;
        }
        *next = rewriter.next;
        Some(())
    }

    /// Whether a parameter of a kernel can be rewritten, which only those statements access.
    pub fn applies<'s>(
        &self,
        kernel: &Kernel,
        statements: impl Iterator<Item = &'s Stmt>,
        param: usize,
        arg: &Arg,
    ) -> bool {
        let Some(argument) = self.argument(kernel.params[param].len, &mut arg.clone()) else { return false };
        let Some((shift, _)) = argument else { return true };
        let mut body: Vec<Stmt> = statements.cloned().collect();
        let mut rewriter = Rewriter::new(self, kernel, param, shift, free_variable(kernel, &body));
        rewriter.block(&mut body).is_some()
    }

    /// Moves an argument of so many elements. Where the kernel has to be rewritten, gives where in its block the argument
    /// begins, and how many elements it spans then.
    fn argument(&self, len: usize, arg: &mut Arg) -> Option<Option<(i64, usize)>> {
        let offset = arg.offset as i64;
        if self.is_whole() {
            arg.offset = usize::try_from(self.first + offset).ok()?;
            return Some(None);
        }
        for stride in &mut arg.strides {
            *stride = self.scaled(*stride)?;
        }
        let (run, shift) = (offset / self.block, offset % self.block);
        arg.offset = usize::try_from(self.first + run * self.stride + shift).ok()?;
        let len = len as i64;
        if shift + len <= self.block {
            return Some(None);
        }
        let last = shift + len - 1;
        let len = (last / self.block * self.stride + last % self.block - shift + 1) as usize;
        Some(Some((shift, len)))
    }

    /// Whether all elements lie one behind the other.
    pub fn is_whole(&self) -> bool {
        self.block == self.stride
    }

    /// Where an element lies.
    fn at(&self, element: i64) -> i64 {
        self.first + element / self.block * self.stride + element % self.block
    }

    /// Where elements that lie in one run begin.
    pub fn run(&self, first: i64, count: i64) -> Option<i64> {
        (self.is_whole() || first % self.block + count <= self.block).then(|| self.at(first))
    }

    /// Where elements lie if the buffer that they lie in lies in another one, if that can be said so.
    pub fn inside(&self, outer: &Embedding) -> Option<Embedding> {
        if outer.is_whole() {
            return Some(Embedding { first: outer.first + self.first, ..*self });
        }
        let first = outer.at(self.first);
        if self.is_whole() {
            return (self.first % outer.block == 0).then_some(Embedding { first, ..*outer });
        }
        let fits = self.stride == outer.block && self.first % self.stride + self.block <= self.stride;
        fits.then_some(Embedding { first, block: self.block, stride: outer.stride })
    }

    /// A multiple of the block as a distance in the other buffer.
    pub fn scaled(&self, distance: i64) -> Option<i64> {
        if self.is_whole() {
            return Some(distance);
        }
        (distance % self.block == 0).then(|| distance / self.block * self.stride)
    }

    /// The length of the pieces that a loop is cut into, if its steps of `step` leave the block.
    fn cut(&self, step: i64, extent: usize) -> Option<Option<usize>> {
        if step % self.block == 0 || step.abs() * (extent as i64 - 1) < self.block {
            return Some(None);
        }
        let fits = step > 0 && self.block % step == 0 && self.block >= SHORTEST;
        let part = if fits { (self.block / step) as usize } else { return None };
        extent.is_multiple_of(part).then_some(Some(part))
    }
}

struct Rewriter<'e> {
    embedding: &'e Embedding,
    param: usize,
    /// Where in its block the argument begins.
    shift: i64,
    extents: FxHashMap<Var, usize>,
    /// A variable that no loop has.
    next: Var,
}

/// A variable above all of a kernel's grid and of a block.
pub fn free_variable(kernel: &Kernel, block: &[Stmt]) -> Var {
    extents(block).into_keys().max().map_or(kernel.grid.len() as Var, |last| last + 1)
}

impl<'e> Rewriter<'e> {
    fn new(embedding: &'e Embedding, kernel: &Kernel, param: usize, shift: i64, next: Var) -> Rewriter<'e> {
        let extents = (0..).zip(kernel.grid.iter().copied()).collect();
        Rewriter { embedding, param, shift, extents, next }
    }

    fn block(&mut self, block: &mut [Stmt]) -> Option<()> {
        block.iter_mut().try_for_each(|statement| self.statement(statement))
    }

    fn statement(&mut self, statement: &mut Stmt) -> Option<()> {
        match statement {
            Stmt::For { var, extent, body } | Stmt::Strip { var, extent, body } => {
                let (var, whole) = (*var, *extent);
                if !walk(body).flat_map(Stmt::accesses).any(|access| access.0 == self.param) {
                    return Some(());
                }
                let part = self.part(var, whole, body)?;
                self.extents.insert(var, part.unwrap_or(whole));
                let Some(part) = part else { return self.block(body) };
                let outer = self.next;
                self.next += 1;
                self.extents.insert(outer, whole / part);
                let to = Index::var(outer).scale(part as i64).add(&Index::var(var));
                map_indices(body, &mut |index| {
                    let replace = |atom: &Atom| (*atom == Atom::Var(var)).then(|| to.clone());
                    index.substitute(&replace, &|atom| self.range(atom))
                });
                self.block(body)?;
                *extent = part;
                let inner =
                    std::mem::replace(statement, Stmt::For { var: outer, extent: 0, body: Vec::new() });
                *statement = Stmt::For { var: outer, extent: whole / part, body: vec![inner] };
                // Lanes of sums are counted by the variable of the strip.
                let Stmt::For { body, .. } = statement else { unreachable!("put there above") };
                let lanes = matches!(&body[0], Stmt::Strip { body, .. } if adds_outside(body));
                (!lanes || part.is_multiple_of(32)).then_some(())
            }
            Stmt::If { .. } => statement.blocks_mut().into_iter().try_for_each(|block| self.block(block)),
            Stmt::Let { expr: Expr::Load { param, index, .. }, .. } | Stmt::Store { param, index, .. } => {
                if *param == self.param {
                    *index = self.index(index, &[])?;
                }
                Some(())
            }
            Stmt::Tile(tile) => self.tile(tile),
            _ => Some(()),
        }
    }

    fn range(&self, atom: &Atom) -> Option<Range> {
        match atom {
            Atom::Var(var) => self.extents.get(var).map(|&extent| (0, extent.max(1) as i64 - 1)),
            _ => None,
        }
    }

    /// The pieces that a loop has to be cut into, the same for all its accesses.
    fn part(&self, var: Var, extent: usize, body: &[Stmt]) -> Option<Option<usize>> {
        let mut part = None;
        for step in self.steps(var, body) {
            match (part, self.embedding.cut(step, extent)?) {
                (Some(a), Some(b)) if a != b => return None,
                (known, found) => part = known.or(found),
            }
        }
        Some(part)
    }

    /// By how much the indices of a block move with a variable.
    fn steps(&self, var: Var, block: &[Stmt]) -> impl Iterator<Item = i64> {
        let accesses = walk(block).flat_map(Stmt::accesses);
        accesses.filter(|access| access.0 == self.param).map(move |(_, index)| index.coefficient(var))
    }

    /// An index to which multiples of `spans` (a distance, and how many there are) are added.
    fn index(&self, index: &Index, spans: &[(i64, usize)]) -> Option<Index> {
        let Embedding { block, stride, .. } = *self.embedding;
        let (runs, rest): (Vec<_>, Vec<_>) =
            index.terms().iter().cloned().partition(|(_, coefficient)| coefficient % block == 0);
        let rest = Index::from_terms(index.offset() + self.shift, rest);
        let (mut low, mut high) = rest.range(&|atom| self.range(atom))?;
        for &(distance, count) in spans.iter().filter(|(distance, _)| distance % block != 0) {
            let reach = distance * (count.max(1) as i64 - 1);
            low += reach.min(0);
            high += reach.max(0);
        }
        let run = low.div_euclid(block);
        let runs = runs.into_iter().map(|(atom, coefficient)| (atom, coefficient / block * stride));
        let rest = rest.plus(run * (stride - block) - self.shift);
        (high.div_euclid(block) == run).then(|| rest.add(&Index::from_terms(0, runs)))
    }

    fn tile(&self, tile: &mut Tile) -> Option<()> {
        let (a, b) = (tile.a.param == self.param, tile.b.param == self.param);
        let mut reduce = Vec::with_capacity(tile.reduce.len());
        for l in &tile.reduce {
            let steps = [(a, l.a), (b, l.b)].into_iter().filter(|(is, _)| *is);
            let parts =
                steps.map(|(_, step)| self.embedding.cut(step, l.extent)).collect::<Option<Vec<_>>>()?;
            match parts.iter().flatten().next() {
                None => reduce.push(*l),
                Some(&part) => {
                    let inner = part as i64;
                    reduce.push(TileLoop { extent: l.extent / part, a: l.a * inner, b: l.b * inner });
                    reduce.push(TileLoop { extent: part, ..*l });
                }
            }
        }
        let scaled =
            |is: bool, step: i64| if is { self.embedding.scaled(step).unwrap_or(step) } else { step };
        let along = |of: fn(&TileLoop) -> i64| reduce.iter().map(move |l| (of(l), l.extent));
        let columns = (1, tile.n);
        let spans: Vec<_> = std::iter::once((tile.a.row, tile.m)).chain(along(|l| l.a)).collect();
        self.panel(&mut tile.a, &spans)?;
        let spans: Vec<_> = std::iter::once(columns).chain(along(|l| l.b)).collect();
        self.panel(&mut tile.b, &spans)?;
        let row = (tile.c.row, tile.m);
        self.panel(&mut tile.c, &[row, columns])?;
        let of = |l: &TileLoop| TileLoop { a: scaled(a, l.a), b: scaled(b, l.b), ..*l };
        tile.reduce = reduce.iter().map(of).collect();
        Some(())
    }

    /// The place of a matrix; what lies between its elements, other than rows, is the tile's own.
    fn panel(&self, panel: &mut Panel, spans: &[(i64, usize)]) -> Option<()> {
        if panel.param == self.param {
            panel.index = self.index(&panel.index, spans)?;
            panel.row = self.embedding.scaled(panel.row).unwrap_or(panel.row);
        }
        Some(())
    }
}

/// Whether a block adds to an accumulator from outside.
fn adds_outside(block: &[Stmt]) -> bool {
    let mut declared: Vec<AccId> = Vec::new();
    walk(block).any(|statement| match statement {
        Stmt::Declare { acc, .. } => {
            declared.push(*acc);
            false
        }
        Stmt::Accumulate { acc, .. } => !declared.contains(acc),
        _ => false,
    })
}
