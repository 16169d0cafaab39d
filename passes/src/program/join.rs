//! `join`: kernels of which one goes on with what the other has just written, point by point, become one.
//!
//! The mean of a row, its variance, the normalised row, and what the next product wants of it are kernels of their own,
//! because each starts with what the one before ends with. All of them are loops over the same rows, and iteration `i` of
//! one needs nothing of the others but what their iterations `i` write. Run as one loop they are one call, which threads
//! share once, and what is between them stays in a cache: memory that nobody else touches becomes local.
//!
//! Where one loop has a multiple of the iterations of the other, several of its iterations go with one. What has tiles is
//! left alone: a product writes all rows before the columns of any are complete. Exact, and linear in the
//! schedule but for few repetitions.

use brolga_ir::index::{Atom, Index, Var};
use brolga_ir::program::walk::{extents, map_indices, walk, walk_mut};
use brolga_ir::program::{Access, Arg, BufferId, Call, Expr, Kernel, KernelId, Param, Program, Step, Stmt};
use rustc_hash::FxHashMap;

use crate::facts::accesses::leaves;
use crate::facts::independence::{Site, independent_in, rest_range, sites, slices};
use crate::facts::liveness::is_arena;
use crate::options::Options;
use crate::program::parallelise::{MOST_PARTS, in_blocks, parts_of, renumber, unlift};
use crate::rewrite::kernels::drop_unused_kernels;

/// Grid points that a joined kernel has at least, unless the two would have fewer.
const FEWEST_POINTS: usize = 16;
/// Bytes of memory between two kernels that may become local.
const MOST_LOCAL: usize = 1 << 16;
/// Statements of two kernels that become one, at most: they are written anew whenever another one joins. So many divisions in
/// the indices of a statement count as another one.
const MOST_STATEMENTS: usize = 1024;
const DIVISIONS: usize = 8;
/// Letters of a joined kernel's name, at most.
const LONGEST_NAME: usize = 40;

/// Joins calls that follow each other; whether there were any.
pub fn join(program: &mut Program, options: &Options) -> bool {
    let mut uses = vec![0; program.buffers.len()];
    for (_, step) in leaves(&program.prepare).into_iter().chain(leaves(&program.schedule)) {
        buffers(step.args()).iter().for_each(|buffer| uses[buffer.0 as usize] += 1);
    }
    let mut schedule = std::mem::take(&mut program.schedule);
    let mut joiner = Joiner { program, least: options.least_part.max(1), uses, known: FxHashMap::default() };
    let mut changed = false;
    // Progress: every round but the last makes one call of two.
    while joiner.steps(&mut schedule) {
        changed = true;
    }
    program.schedule = schedule;
    if changed {
        drop_unused_kernels(program);
    }
    changed
}

/// The buffers of arguments, each once.
fn buffers(args: &[Arg]) -> Vec<BufferId> {
    let mut buffers: Vec<BufferId> = args.iter().map(|arg| arg.buffer).collect();
    buffers.sort_unstable();
    buffers.dedup();
    buffers
}

/// How two calls are joined: of each argument of the second, which one of the first is the same; of each of the first,
/// whether nobody else touches it.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Seam {
    same: Vec<Option<usize>>,
    alone: Vec<bool>,
}

struct Joiner<'p> {
    program: &'p mut Program,
    /// The work of a part worth having.
    least: u64,
    /// How many calls and conditions touch each buffer.
    uses: Vec<usize>,
    /// What two kernels become.
    known: FxHashMap<(KernelId, KernelId, Seam), Option<Joined<KernelId>>>,
}

/// Two kernels as one, and which of the arguments of either it takes.
struct Joined<K> {
    kernel: K,
    kept: Vec<bool>,
    added: Vec<bool>,
}

impl Joiner<'_> {
    /// Joins each call with the one before it, if that can be.
    fn steps(&mut self, steps: &mut Vec<Step>) -> bool {
        let mut changed = false;
        let mut all: Vec<Step> = Vec::with_capacity(steps.len());
        for mut step in std::mem::take(steps) {
            for body in step.bodies_mut() {
                changed |= self.steps(body);
            }
            if let (Some(Step::Call(first)), Step::Call(second)) = (all.last(), &step)
                && let Some(call) = self.call(first, second)
            {
                all.pop();
                step = Step::Call(call);
                changed = true;
            }
            all.push(step);
        }
        *steps = all;
        changed
    }

    fn call(&mut self, first: &Call, second: &Call) -> Option<Call> {
        let shared: Vec<BufferId> = buffers(&second.args)
            .into_iter()
            .filter(|&buffer| first.args.iter().any(|arg| arg.buffer == buffer))
            .collect();
        let once =
            |args: &[Arg], buffer: BufferId| args.iter().filter(|arg| arg.buffer == buffer).count() == 1;
        let each_once = |&buffer: &BufferId| once(&first.args, buffer) && once(&second.args, buffer);
        if shared.is_empty() || !shared.iter().all(each_once) {
            return None;
        }
        let mut same = Vec::with_capacity(second.args.len());
        for arg in &second.args {
            let at = first.args.iter().position(|known| known.buffer == arg.buffer);
            if at.is_some_and(|at| first.args[at] != *arg) {
                return None;
            }
            same.push(at);
        }
        let alone = |arg: &Arg| {
            let whole = arg.offset == 0 && arg.strides.is_empty() && is_arena(self.program, arg.buffer);
            whole && shared.contains(&arg.buffer) && self.uses[arg.buffer.0 as usize] == 2
        };
        let seam = Seam { same, alone: first.args.iter().map(alone).collect() };
        let key = (first.kernel, second.kernel, seam);
        if !self.known.contains_key(&key) {
            let [one, other] = [first, second].map(|call| &self.program.kernels[call.kernel.0 as usize]);
            let joined = joined(one, other, &key.2, self.least).map(|Joined { kernel, kept, added }| {
                self.program.kernels.push(kernel);
                Joined { kernel: KernelId(self.program.kernels.len() as u32 - 1), kept, added }
            });
            self.known.insert(key.clone(), joined);
        }
        let Joined { kernel, kept, added } = self.known[&key].as_ref()?;
        shared.iter().for_each(|buffer| self.uses[buffer.0 as usize] -= 1);
        let of = |args: &[Arg], kept: &[bool]| -> Vec<Arg> {
            args.iter().zip(kept).filter(|(_, kept)| **kept).map(|(arg, _)| arg.clone()).collect()
        };
        let args = [of(&first.args, kept), of(&second.args, added)].concat();
        Some(Call { kernel: *kernel, args, origin: first.origin.clone() })
    }
}

/// One loop that stands for a kernel, behind values that are the same in every iteration.
struct Nest {
    values: Vec<Stmt>,
    var: Var,
    body: Vec<Stmt>,
    /// Whether iterations are known to be independent.
    known: bool,
}

impl Nest {
    /// A kernel as a loop of so many iterations.
    fn of(kernel: &Kernel, points: usize) -> Option<Nest> {
        let mut kernel = kernel.clone();
        let known = !kernel.grid.is_empty();
        unlift(&mut kernel);
        let Stmt::For { var, extent, .. } = *kernel.body.last()? else { return None };
        let each = extent / points;
        if each > 1 {
            let inner = 1 + extents(&kernel.body).into_keys().max()?;
            in_blocks(&mut kernel, inner, each);
        }
        let last = kernel.body.pop()?;
        let body = match last {
            Stmt::For { body, .. } if each == 1 => body,
            inner => vec![inner],
        };
        Some(Nest { values: kernel.body, var, body, known })
    }

    /// Gives everything numbers behind those that are taken, and the loop the variable of the other one.
    fn renumber(&mut self, taken: &Numbers, var: Var) {
        let [vars, values, accs] = [taken.vars, taken.values, taken.accs];
        let own = self.var;
        let name = |known: Var| if known == own { var } else { known + vars };
        for block in [&mut self.values, &mut self.body] {
            let replace = |atom: &Atom| match atom {
                Atom::Var(known) => Some(Index::var(name(*known))),
                Atom::Value(value) => Some(Index::value(value + values)),
                _ => None,
            };
            map_indices(block, &mut |index| index.substitute(&replace, &|_| None));
            walk_mut(block, &mut |statement| match statement {
                Stmt::For { var, .. } | Stmt::Strip { var, .. } => *var = name(*var),
                Stmt::If { condition, .. } => condition.0 += values,
                Stmt::Let { id, expr, .. } => {
                    id.0 += values;
                    match expr {
                        Expr::Op(_, operands) => operands.iter_mut().for_each(|value| value.0 += values),
                        Expr::Load { guard, .. } => guard.iter_mut().for_each(|value| value.0 += values),
                        Expr::Constant(_) | Expr::Index(_) => {}
                    }
                }
                Stmt::Store { value, .. } => value.0 += values,
                Stmt::Declare { acc, .. } => acc.0 += accs,
                Stmt::Accumulate { acc, value } => (acc.0, value.0) = (acc.0 + accs, value.0 + values),
                Stmt::Finish { id, acc } => (id.0, acc.0) = (id.0 + values, acc.0 + accs),
                Stmt::Tile(_) => {}
            });
        }
        self.var = var;
    }
}

/// The first numbers that statements leave free.
#[derive(Default)]
struct Numbers {
    vars: Var,
    values: u32,
    accs: u32,
}

impl Numbers {
    fn of(nest: &Nest) -> Numbers {
        let mut free = Numbers { vars: nest.var + 1, ..Numbers::default() };
        for statement in walk(&nest.values).chain(walk(&nest.body)) {
            match statement {
                Stmt::For { var, .. } | Stmt::Strip { var, .. } => free.vars = free.vars.max(var + 1),
                Stmt::Let { id, .. } | Stmt::Finish { id, .. } => free.values = free.values.max(id.0 + 1),
                Stmt::Declare { acc, .. } => free.accs = free.accs.max(acc.0 + 1),
                _ => {}
            }
        }
        free
    }
}

/// The extent of the loop that a kernel is.
fn points(kernel: &Kernel) -> Option<usize> {
    match kernel.body.last() {
        _ if !kernel.grid.is_empty() => kernel.grid.first().copied(),
        Some(Stmt::For { extent, .. }) => Some(*extent),
        _ => None,
    }
}

/// Whether a kernel is a loop behind values, without products.
fn is_plain(kernel: &Kernel) -> bool {
    let values = match kernel.body.split_last() {
        Some((_, values)) if kernel.grid.is_empty() => values,
        _ => &[],
    };
    let constant = |statement: &Stmt| match statement {
        Stmt::Let { expr, .. } => !matches!(expr, Expr::Load { .. }),
        _ => false,
    };
    values.iter().all(constant) && !walk(&kernel.body).any(|statement| matches!(statement, Stmt::Tile(_)))
}

/// How much there is to copy of a kernel, in statements.
fn size(kernel: &Kernel) -> usize {
    let of = |statement: &Stmt| {
        let mut divisions = 0;
        let mut count = |atom: &Atom| divisions += usize::from(matches!(atom, Atom::Div(..) | Atom::Rem(..)));
        statement.indices().for_each(|index| index.visit(&mut count));
        1 + divisions / DIVISIONS
    };
    walk(&kernel.body).map(of).sum()
}

/// Two kernels as one, if iterations of the second need nothing but what those of the first with the same numbers write.
fn joined(first: &Kernel, second: &Kernel, seam: &Seam, least: u64) -> Option<Joined<Kernel>> {
    if size(first) + size(second) > MOST_STATEMENTS || ![first, second].into_iter().all(is_plain) {
        return None;
    }
    let goes_on = seam.same.iter().zip(&second.params).any(|(same, param)| {
        same.is_some_and(|at| first.params[at].access != Access::Read && param.access != Access::Write)
    });
    let [one, other] = [points(first)?, points(second)?];
    let (fewer, more) = (one.min(other), one.max(other));
    // Several iterations of each in turn, where there are many: one row waits for its sum while others are added.
    let count = (1..=fewer.min(MOST_PARTS)).rev().find(|parts| fewer.is_multiple_of(*parts))?;
    let count = if count < FEWEST_POINTS { fewer } else { count };
    if !goes_on || !more.is_multiple_of(fewer) {
        return None;
    }
    let shared = || [first, second].map(|kernel| parts_of(kernel, least)).into_iter().max().unwrap_or(1);
    if count < FEWEST_POINTS && count < shared() {
        return None;
    }
    let mut nests = [Nest::of(first, count)?, Nest::of(second, count)?];
    let (taken, var) = (Numbers::of(&nests[0]), nests[0].var);
    nests[1].renumber(&taken, var);

    // The parameters of the second behind those of the first, but for those that are the same.
    let mut params = first.params.clone();
    let mut places = Vec::with_capacity(second.params.len());
    let own = seam.same.iter().copied().chain(std::iter::repeat(None));
    for (param, same) in second.params.iter().zip(own) {
        match same {
            Some(at) => {
                if params[at].access != param.access {
                    params[at].access = Access::ReadWrite;
                }
                params[at].len = params[at].len.max(param.len);
                places.push(at);
            }
            None => {
                places.push(params.len());
                params.push(param.clone());
            }
        }
    }
    let place = |stmt: &mut Stmt| stmt.params_mut().for_each(|param| *param = places[*param]);
    walk_mut(&mut nests[1].body, &mut { place });
    let [one, other] = &nests;
    let body = [one.body.clone(), other.body.clone()].concat();
    let shared: Vec<usize> = seam.same.iter().copied().flatten().collect();
    if !stays(one, count, |param| !shared.contains(&param))
        || !stays(other, count, |param| !shared.contains(&param))
    {
        return None;
    }
    let inner = extents(&body);
    let touched = touched(&body)?;
    for &param in &shared {
        let written = params[param].access != Access::Read;
        if written && !slices(var, count, touched.get(&param)?, &inner) {
            return None;
        }
    }
    let mut kernel = Kernel {
        name: name_of(first, second),
        params,
        grid: vec![count],
        body: [one.values.clone(), other.values.clone(), body].concat(),
    };
    let mut local: Vec<bool> = kernel.params.iter().map(|param| param.access == Access::Local).collect();
    for &param in &shared {
        let at = seam.same.iter().position(|same| *same == Some(param)).expect("a parameter of the second");
        let between = first.params[param].access == Access::Write && second.params[at].access == Access::Read;
        if seam.alone[param] && between {
            local[param] = becomes_local(&mut kernel, param, var, &touched[&param], &inner);
        }
    }
    let kept = local[..first.arguments().len()].iter().map(|local| !local).collect();
    let added = seam.same.iter().map(Option::is_none).collect();
    locals_last(&mut kernel, &local);
    renumber(&mut kernel, &[var]);
    Some(Joined { kernel, kept, added })
}

/// The names of both, if they are short.
fn name_of(first: &Kernel, second: &Kernel) -> String {
    let name = format!("{}_{}", first.name, second.name);
    let end = name.char_indices().nth(LONGEST_NAME).map(|(end, _)| name[..end].rfind('_').unwrap_or(end));
    name[..end.unwrap_or(name.len())].to_owned()
}

/// Everything that statements touch, by parameter.
fn touched(body: &[Stmt]) -> Option<FxHashMap<usize, Vec<Site>>> {
    let (mut all, mut read) = (FxHashMap::default(), FxHashMap::default());
    if !sites(body, &mut all, &mut read) {
        return None;
    }
    for (param, mut found) in read {
        all.entry(param).or_insert_with(Vec::new).append(&mut found);
    }
    Some(all)
}

/// Whether iterations write nothing of what others touch, among those parameters.
fn stays(nest: &Nest, count: usize, of: impl Fn(usize) -> bool) -> bool {
    nest.known || independent_in(nest.var, count, &nest.body, &extents(&nest.body), &of)
}

/// Makes memory of a point's own of a parameter, if that is little.
fn becomes_local(
    kernel: &mut Kernel,
    param: usize,
    var: Var,
    sites: &[Site],
    extents: &FxHashMap<Var, usize>,
) -> bool {
    let ranges: Option<Vec<(i64, i64)>> = sites.iter().map(|site| rest_range(var, site, extents)).collect();
    let Some(ranges) = ranges else { return false };
    let low = ranges.iter().map(|range| range.0).min().unwrap_or(0);
    let len = ranges.iter().map(|range| range.1 - low + 1).max().unwrap_or(0) as usize;
    if len.saturating_mul(kernel.params[param].dtype.size()) > MOST_LOCAL {
        return false;
    }
    let own = |index: &mut Index| {
        *index =
            index.substitute(&|atom| (*atom == Atom::Var(var)).then(Index::default), &|_| None).plus(-low);
    };
    walk_mut(&mut kernel.body, &mut |statement| match statement {
        Stmt::Let { expr: Expr::Load { param: at, index, .. }, .. }
        | Stmt::Store { param: at, index, .. }
            if *at == param =>
        {
            own(index);
        }
        _ => {}
    });
    kernel.params[param] = Param { dtype: kernel.params[param].dtype, len, access: Access::Local };
    true
}

/// Puts local parameters behind the others.
fn locals_last(kernel: &mut Kernel, local: &[bool]) {
    let (mut order, locals): (Vec<usize>, Vec<usize>) = (0..local.len()).partition(|&param| !local[param]);
    order.extend(locals);
    let place = |param: usize| order.iter().position(|&known| known == param).expect("every parameter");
    walk_mut(&mut kernel.body, &mut |stmt| stmt.params_mut().for_each(|param| *param = place(*param)));
    kernel.params = order.iter().map(|&param| kernel.params[param].clone()).collect();
}
