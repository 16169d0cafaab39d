//! `views`: computes the parts of a concatenation where they end up.
//!
//! Lowering copies the operands of a concatenation into its result. Where a call copies a whole scratch buffer A into a
//! region of another buffer B, runs of `block` elements that begin `stride` apart, this pass gives A up: whoever
//! writes A writes that region of B, whoever reads A reads it there, and the copy is gone. Nested concatenations
//! follow one another, and parts of an earlier result that lie side by side again in a later one count as one.
//!
//! The copy stays where
//! - A or B is touched by a condition or by `prepare`, or by anything outside of the loop body or branch that the copy
//!   is in; where A is no scratch buffer, or B neither scratch nor an output;
//! - A is written behind the copy, or something else touches the region of B before it, or writes it later (unless A
//!   is not read any more then);
//! - some access to A cannot be written in terms of B: see `views/embed.rs`; or a call would overlap with itself.
//!
//! Loops over all elements of A become loops over runs, which no pass merges again; below `embed::SHORTEST` elements
//! that would cost more than the copy. Exact: every value is computed as before, elsewhere. Kernels are rewritten once, in
//! the end; what is in a buffer that moves moves with it. The cost is linear in the kernels and in the depth of nesting. Where
//! a dense block's layers list all parts they join, n layers have n²/2 copies, and moving them takes ten times as long for twice
//! the layers: `simplify` bounds the parts of what is joined again.

mod embed;
mod leaves;
mod pieces;

use std::cell::Cell;
use std::collections::{HashMap, HashSet};

use brolga_ir::program::footprint::{Footprint, footprints_of};
use brolga_ir::program::verify::verify_arguments;
use brolga_ir::program::walk::walk;
use brolga_ir::program::{Access, Arg, BufferId, Call, Kernel, Place, Program, Stmt};

use crate::facts::liveness::is_arena;
use crate::rewrite::kernels::{Kernels, drop_unused_kernels, keep_used};
use embed::{Embedding, free_variable};
use leaves::{Leaf, Walk, put_back};
use pieces::{Piece, Runs, copied};

/// Removes copies into concatenations; whether any went.
pub fn views(program: &mut Program) -> bool {
    // What a call does inside one buffer is known not to overlap, wherever that goes, and is shown again in the end only. Should
    // that fail, it is shown for every move, and those go on that can be shown.
    for thorough in [false, true] {
        let mut views = Views::new(program, thorough);
        if !views.place_all() {
            return false;
        }
        if views.finish().is_some() {
            return true;
        }
    }
    false
}

/// How often statements are looked at where `program` goes through the pass: what its time grows with.
#[doc(hidden)]
pub fn statements_looked_at(program: &mut Program) -> usize {
    let mut views = Views::new(program, false);
    views.place_all();
    views.looked.get()
}

struct Views<'p> {
    program: &'p mut Program,
    leaves: Vec<Leaf>,
    /// For each buffer, the leaves that touch it as the program was.
    direct: Vec<Vec<usize>>,
    /// For each buffer, those that touch it or what lies in it.
    touched: Vec<Vec<usize>>,
    /// Where a buffer lies that was given up.
    home: Vec<Option<(BufferId, Embedding)>>,
    /// For each buffer, those that lie in it.
    members: Vec<Vec<BufferId>>,
    /// For each buffer, the regions in which others lie.
    regions: Vec<Vec<Footprint>>,
    /// Buffers that stay as they are.
    fixed: HashSet<BufferId>,
    /// To find equal ones.
    kernels: Kernels,
    /// For each kernel and parameter, the statements that access it, or have some inside that do.
    uses: Vec<Vec<Vec<usize>>>,
    /// Whether to show for every move that calls do not overlap.
    thorough: bool,
    /// How often a statement was looked at: a measure of the work.
    looked: Cell<usize>,
}

/// For each parameter of a kernel, the positions of the statements that access it, or have some inside that do.
fn uses(kernel: &Kernel) -> Vec<Vec<usize>> {
    let mut uses = vec![Vec::new(); kernel.params.len()];
    for (position, statement) in kernel.body.iter().enumerate() {
        let inside = walk(std::slice::from_ref(statement));
        inside.flat_map(Stmt::accesses).for_each(|(param, _)| note(&mut uses[param], position));
    }
    uses
}

/// Copies of one call that are looked at, at most: each is compared with all that its call does.
const MOST_PIECES: usize = 256;

impl<'p> Views<'p> {
    fn new(program: &'p mut Program, thorough: bool) -> Views<'p> {
        let mut walk =
            Walk { leaves: Vec::new(), fixed: HashSet::new(), path: Vec::new(), loops: Vec::new() };
        walk.steps(&program.prepare);
        walk.fixed.extend(
            walk.leaves
                .drain(..)
                .filter_map(|leaf| leaf.call)
                .flat_map(|call| call.args)
                .map(|arg| arg.buffer),
        );
        walk.steps(&program.schedule);
        let Walk { leaves, fixed, .. } = walk;
        let mut touched = vec![Vec::new(); program.buffers.len()];
        for (number, leaf) in leaves.iter().enumerate() {
            for arg in leaf.call.iter().flat_map(|call| &call.args) {
                note(&mut touched[arg.buffer.0 as usize], number);
            }
        }
        let count = program.buffers.len();
        Views {
            leaves,
            direct: touched.clone(),
            touched,
            home: vec![None; count],
            members: vec![Vec::new(); count],
            regions: vec![Vec::new(); count],
            fixed,
            kernels: Kernels::new(&program.kernels),
            uses: program.kernels.iter().map(uses).collect(),
            thorough,
            looked: Cell::new(0),
            program,
        }
    }

    /// Lets all pieces lie where they are copied to that may; whether there were any.
    fn place_all(&mut self) -> bool {
        let mut changed = false;
        for number in 0..self.leaves.len() {
            // Again where a piece was placed, which may let others follow. Progress: it is a statement less.
            while self.place_pieces(number) {
                changed = true;
            }
        }
        changed
    }

    /// What a call only copies.
    fn pieces(&self, number: usize) -> Vec<Piece> {
        let Some(call) = &self.leaves[number].call else { return Vec::new() };
        let kernel = &self.program.kernels[call.kernel.0 as usize];
        if !kernel.grid.is_empty() || kernel.body.len() > MOST_PIECES {
            return Vec::new();
        }
        let mut pieces: Vec<Piece> = Vec::new();
        // The piece that ends at a place of what is filled.
        let mut ends: HashMap<(BufferId, i64), usize> = HashMap::new();
        let removed = &self.leaves[number].removed;
        for (statement, stmt) in kernel.body.iter().enumerate().filter(|(at, _)| !removed.contains(at)) {
            let piece = copied(stmt, &call.args, statement).and_then(|piece| self.where_it_lies(piece));
            let Some(piece) = piece else { continue };
            // What goes on where another piece ends, on both sides.
            let before = ends.remove(&(piece.to.buffer, piece.to.first)).filter(|&before| {
                let other: &Piece = &pieces[before];
                let follows = |a: &Runs, b: &Runs| {
                    a.buffer == b.buffer && a.stride == b.stride && a.first + other.columns as i64 == b.first
                };
                other.rows == piece.rows && follows(&other.from, &piece.from) && follows(&other.to, &piece.to)
            });
            let end = (piece.to.buffer, piece.to.first + piece.columns as i64);
            match before {
                Some(before) => {
                    pieces[before].columns += piece.columns;
                    pieces[before].statements.push(statement);
                    ends.insert(end, before);
                }
                None => {
                    ends.insert(end, pieces.len());
                    pieces.push(piece);
                }
            }
        }
        pieces
    }

    /// Lets the sources of a call's pieces lie where they are copied to; whether there was one that may.
    fn place_pieces(&mut self, number: usize) -> bool {
        let mut placed = false;
        for piece in self.pieces(number) {
            // What was moved since the pieces were found is another piece now.
            let moved = [piece.from.buffer, piece.to.buffer].map(|id| self.home[id.0 as usize].is_some());
            placed |= moved == [false, false] && self.place(number, &piece);
        }
        placed
    }

    /// The buffer that a buffer lies in now, and where.
    fn view(&self, buffer: BufferId) -> (BufferId, Option<Embedding>) {
        match self.home[buffer.0 as usize] {
            Some((outer, embedding)) => (outer, Some(embedding)),
            None => (buffer, None),
        }
    }

    /// A piece with its source where that lies now.
    fn where_it_lies(&self, piece: Piece) -> Option<Piece> {
        if self.home[piece.to.buffer.0 as usize].is_some() {
            return None;
        }
        let (buffer, view) = self.view(piece.from.buffer);
        let from = match view {
            None => piece.from,
            Some(view) => {
                let stride = if piece.rows == 1 { 0 } else { view.scaled(piece.from.stride)? };
                let first = view.run(piece.from.first, piece.columns as i64)?;
                Runs { buffer, first, stride }
            }
        };
        Some(Piece { from, ..piece })
    }

    /// Lets the source of a piece lie where it is copied to; whether it may.
    fn place(&mut self, number: usize, piece: &Piece) -> bool {
        let Some(embedding) = self.fits(number, piece) else { return false };
        let (from, to) = (piece.from.buffer.0 as usize, piece.to.buffer.0 as usize);
        let mut members = std::mem::take(&mut self.members[from]);
        for member in &members {
            let (_, view) = self.home[member.0 as usize].expect("a member lies somewhere");
            let view = view.inside(&embedding).expect("asked for before");
            self.home[member.0 as usize] = Some((piece.to.buffer, view));
        }
        members.push(piece.from.buffer);
        self.members[to].append(&mut members);
        self.home[from] = Some((piece.to.buffer, embedding));
        self.regions[to].push(piece.region());
        self.leaves[number].removed.extend(&piece.statements);
        let mut moved = std::mem::take(&mut self.touched[from]);
        for &leaf in &moved {
            let lying = &mut self.leaves[leaf].lying;
            let args = lying.remove(&piece.from.buffer).unwrap_or_default();
            lying.entry(piece.to.buffer).or_default().extend(args);
        }
        moved.append(&mut self.touched[to]);
        moved.sort_unstable();
        moved.dedup();
        self.touched[to] = moved;
        true
    }

    /// Where the source of a piece would lie, if all that touch it can go on with that.
    fn fits(&self, number: usize, piece: &Piece) -> Option<Embedding> {
        let (a, b) = (piece.from.buffer, piece.to.buffer);
        let buffers = &self.program.buffers;
        let (source, target) = (&buffers[a.0 as usize], &buffers[b.0 as usize]);
        let whole = piece.from.first == 0
            && (piece.rows == 1 || piece.from.stride == piece.columns as i64)
            && piece.rows * piece.columns == source.ty.elements();
        let places =
            is_arena(self.program, a) && (is_arena(self.program, b) || target.place == Place::Output);
        if !whole || !places || a == b || self.fixed.contains(&a) || self.fixed.contains(&b) {
            return None;
        }
        let embedding = Embedding {
            first: piece.to.first,
            block: piece.columns as i64,
            stride: if piece.rows == 1 { piece.columns as i64 } else { piece.to.stride },
        };
        // What was cut into the same runs before is moved with them.
        for member in &self.members[a.0 as usize] {
            self.view(*member).1?.inside(&embedding)?;
        }
        // The cheapest first: many pieces fail.
        self.can_be_written(number, piece, &embedding)?;
        self.in_order(number, piece)?;
        self.do_not_overlap(number, piece, &embedding)?;
        Some(embedding)
    }

    /// The leaves that touch the source of a piece and go on doing so, and what of them goes with the piece.
    fn left_over<'v>(
        &'v self,
        number: usize,
        piece: &'v Piece,
    ) -> impl Iterator<Item = (usize, &'v [usize])> {
        let with_gone = move |&leaf: &usize| {
            let gone: &'v [usize] = if leaf == number { &piece.statements } else { &[] };
            (leaf, gone)
        };
        let remain = move |(leaf, gone): &(usize, &'v [usize])| {
            let Leaf { call, removed, .. } = &self.leaves[*leaf];
            call.as_ref().is_none_or(|call| {
                removed.len() + gone.len() < self.program.kernels[call.kernel.0 as usize].body.len()
            })
        };
        self.touched[piece.from.buffer.0 as usize].iter().map(with_gone).filter(remain)
    }

    /// Whether all accesses to the source of a piece can be written in terms of what it is copied to.
    fn can_be_written(&self, number: usize, piece: &Piece, embedding: &Embedding) -> Option<()> {
        for (leaf, gone) in self.left_over(number, piece) {
            let call = self.leaves[leaf].call.as_ref()?;
            let kernel = &self.program.kernels[call.kernel.0 as usize];
            for &param in self.lying(leaf, piece.from.buffer) {
                let arg = &call.args[param];
                let view = self.view(arg.buffer).1;
                let known = view.is_some_and(|view| !view.is_whole() || embedding.is_whole());
                let view = view.map_or(Some(*embedding), |view| view.inside(embedding))?;
                if !known && !view.applies(kernel, self.statements(leaf, param, gone), param, arg) {
                    return None;
                }
            }
        }
        Some(())
    }

    /// Whether no call overlaps with itself when the source of a piece lies where it is copied to.
    fn do_not_overlap(&self, number: usize, piece: &Piece, embedding: &Embedding) -> Option<()> {
        let (a, b) = (piece.from.buffer, piece.to.buffer);
        for (leaf, gone) in self.left_over(number, piece) {
            let (inside, beside) = (self.lying(leaf, a).len(), self.lying(leaf, b).len());
            if inside + beside > 1 && (beside > 0 || self.thorough) {
                let (kernel, args) = self.call(leaf, gone, Some((a, b, *embedding)))?;
                verify_arguments(self.program, &kernel, &args, &self.leaves[leaf].loops).ok()?;
            }
        }
        Some(())
    }

    /// The arguments of a call that lie in a buffer now.
    fn lying(&self, leaf: usize, buffer: BufferId) -> &[usize] {
        self.leaves[leaf].lying.get(&buffer).map(Vec::as_slice).unwrap_or_default()
    }

    /// The statements of a call's kernel that access a parameter, without what is not needed any more, and some others.
    fn statements<'v>(
        &'v self,
        leaf: usize,
        param: usize,
        gone: &'v [usize],
    ) -> impl Iterator<Item = &'v Stmt> {
        let Leaf { call, removed, .. } = &self.leaves[leaf];
        let id = call.as_ref().expect("a call").kernel.0 as usize;
        let kernel = &self.program.kernels[id];
        let left = move |position: &&usize| !removed.contains(*position) && !gone.contains(*position);
        self.uses[id][param].iter().filter(left).map(move |&position| {
            self.looked.set(self.looked.get() + 1);
            &kernel.body[position]
        })
    }

    /// The kernel of a call without what is not needed any more, and without some other statements.
    fn left(&self, leaf: usize, gone: &[usize]) -> Kernel {
        let Leaf { call, removed, .. } = &self.leaves[leaf];
        let Kernel { name, params, grid, body } =
            &self.program.kernels[call.as_ref().expect("a call").kernel.0 as usize];
        let left = |(position, _): &(usize, &Stmt)| !removed.contains(position) && !gone.contains(position);
        let body: Vec<Stmt> = body.iter().enumerate().filter(left).map(|(_, stmt)| stmt.clone()).collect();
        self.looked.set(self.looked.get() + body.len());
        Kernel { name: name.clone(), params: params.clone(), grid: grid.clone(), body }
    }

    /// A call as it is with all buffers where they lie, one more of them moved.
    fn call(
        &self,
        leaf: usize,
        gone: &[usize],
        moved: Option<(BufferId, BufferId, Embedding)>,
    ) -> Option<(Kernel, Vec<Arg>)> {
        let mut kernel = self.left(leaf, gone);
        let mut args = self.leaves[leaf].call.as_ref()?.args.clone();
        if !gone.is_empty() || !self.leaves[leaf].removed.is_empty() {
            drop_parameters(&mut kernel, &mut args);
        }
        let (uses, mut next) = (uses(&kernel), free_variable(&kernel, &kernel.body));
        for (param, arg) in args.iter_mut().enumerate() {
            let (mut root, mut view) = self.view(arg.buffer);
            if let Some((a, b, embedding)) = moved
                && root == a
            {
                view = Some(view.map_or(Some(embedding), |view| view.inside(&embedding))?);
                root = b;
            }
            if let Some(view) = view {
                view.apply(&mut kernel, &uses[param], &mut next, param, arg)?;
                arg.buffer = root;
            }
        }
        Some((kernel, args))
    }

    /// Whether the region that a piece is copied to holds nothing else while its source is needed.
    fn in_order(&self, number: usize, piece: &Piece) -> Option<()> {
        let copy = &self.leaves[number];
        let depth = copy.path.len() - 1;
        let at = copy.path[depth];
        let mut last = at;
        for &leaf in &self.touched[piece.from.buffer.0 as usize] {
            let position = self.position(leaf, copy)?;
            if position >= at {
                let kernel = self.leaves[leaf].call.as_ref()?.kernel.0 as usize;
                let params = self.program.kernels[kernel].arguments();
                let written = |&param: &usize| params[param].access != Access::Read;
                if self.lying(leaf, piece.from.buffer).iter().any(written) {
                    return None;
                }
            }
            last = last.max(position);
        }
        // In a loop, what is read before the copy may be from the iteration before.
        let done = last == at && copy.loops.is_empty();
        let region = piece.region();
        let to = piece.to.buffer;
        if !self.regions[to.0 as usize].iter().all(|other| region.is_apart(other, 0)) {
            return None;
        }
        for &leaf in &self.direct[to.0 as usize] {
            let position = self.position(leaf, copy)?;
            for (param, access) in self.accesses(leaf, |buffer| buffer == to) {
                if position > at && (done || access == Access::Read) {
                    continue;
                }
                let gone: &[usize] = if leaf == number { &piece.statements } else { &[] };
                let call = self.leaves[leaf].call.as_ref()?;
                let (kernel, arg) = (&self.program.kernels[call.kernel.0 as usize], &call.args[param]);
                let apart = |touched: &Footprint| region.is_apart(touched, arg.offset as i128);
                let touched = footprints_of(&kernel.grid, self.statements(leaf, param, gone), param, 1)?;
                if !arg.strides.is_empty() || !touched.iter().all(apart) {
                    return None;
                }
            }
        }
        Some(())
    }

    /// Puts the calls as they are now into the program; nothing is changed if one of them cannot be made.
    fn finish(mut self) -> Option<()> {
        let mut calls: Vec<Option<Call>> = Vec::with_capacity(self.leaves.len());
        let mut made: Vec<(usize, Kernel, Vec<Arg>)> = Vec::new();
        for (number, leaf) in self.leaves.iter().enumerate() {
            let moved = |call: &Call| call.args.iter().any(|arg| self.home[arg.buffer.0 as usize].is_some());
            if leaf.call.as_ref().is_some_and(|call| moved(call) || !leaf.removed.is_empty()) {
                let (kernel, args) = self.call(number, &[], None)?;
                verify_arguments(self.program, &kernel, &args, &leaf.loops).ok()?;
                made.push((number, kernel, args));
            }
        }
        calls.extend(self.leaves.iter_mut().map(|leaf| leaf.call.take()));
        for (number, kernel, args) in made {
            let call = calls[number].as_mut().expect("a call");
            if kernel.body.is_empty() {
                calls[number] = None;
            } else {
                (call.kernel, call.args) = (self.kernels.number(&mut self.program.kernels, kernel), args);
            }
        }
        put_back(&mut self.program.schedule, &mut calls.into_iter());
        drop_unused_kernels(self.program);
        Some(())
    }

    /// The position of a leaf, or of what it is in, beside a copy; nothing if it is not in the same steps.
    fn position(&self, leaf: usize, copy: &Leaf) -> Option<usize> {
        let depth = copy.path.len() - 1;
        let path = &self.leaves[leaf].path;
        path.starts_with(&copy.path[..depth]).then(|| path[depth])
    }

    /// The parameters of a call that are given some buffers.
    fn accesses(
        &self,
        leaf: usize,
        some: impl Fn(BufferId) -> bool,
    ) -> impl Iterator<Item = (usize, Access)> {
        let call = self.leaves[leaf].call.as_ref();
        let params = call.map(|call| self.program.kernels[call.kernel.0 as usize].arguments());
        let args = call.into_iter().flat_map(|call| &call.args).zip(params.into_iter().flatten()).enumerate();
        args.filter(move |(_, (arg, _))| some(arg.buffer)).map(|(i, (_, param))| (i, param.access))
    }
}

fn note(list: &mut Vec<usize>, number: usize) {
    if list.last() != Some(&number) {
        list.push(number);
    }
}

/// Drops parameters that nothing uses.
fn drop_parameters(kernel: &mut Kernel, args: &mut Vec<Arg>) {
    *args = keep_used(kernel).into_iter().filter_map(|arg| args.get(arg).cloned()).collect();
}
