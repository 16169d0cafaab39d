//! Whether two kernels can be one, and that one.

use brolga_ir::index::{Atom, Index, Var};
use brolga_ir::program::walk::{extents, walk_mut};
use brolga_ir::program::{Access, Expr, Kernel, Param, Stmt};
use rustc_hash::FxHashMap;

use super::nest::{Nest, Numbers, is_plain, points, size};
use crate::facts::cost::threads::{EVEN, MOST_PARTS};
use crate::facts::independence::{Site, independent_in, rest_range, sites, slices};
use crate::program::parallelise::{parts_of, renumber};

/// Bytes of memory between two kernels that may become local.
const MOST_LOCAL: usize = 1 << 16;
/// Statements of two kernels that become one, at most: they are written anew whenever another one joins.
const MOST_STATEMENTS: usize = 1024;
/// Letters of a joined kernel's name, at most.
const LONGEST_NAME: usize = 40;

/// How two calls are joined: of each argument of the second, which one of the first is the same; of each of the first,
/// whether nobody else touches it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Seam {
    pub same: Vec<Option<usize>>,
    pub alone: Vec<bool>,
}

/// Two kernels as one, and which of the arguments of either it takes.
pub(super) struct Joined<K> {
    pub kernel: K,
    pub kept: Vec<bool>,
    pub added: Vec<bool>,
}

/// Two kernels as one, if iterations of the second need nothing but what those of the first with the same numbers write.
pub(super) fn joined(first: &Kernel, second: &Kernel, seam: &Seam, least: u64) -> Option<Joined<Kernel>> {
    if size(first) + size(second) > MOST_STATEMENTS || ![first, second].into_iter().all(is_plain) {
        return None;
    }
    let count = iterations(first, second, seam, least)?;
    let mut nests = [Nest::of(first, count)?, Nest::of(second, count)?];
    let (taken, var) = (Numbers::of(&nests[0]), nests[0].var);
    nests[1].renumber(&taken, var);
    let (params, places) = parameters(first, second, seam);
    let place = |stmt: &mut Stmt| stmt.params_mut().for_each(|param| *param = places[*param]);
    walk_mut(&mut nests[1].body, &mut { place });

    let shared: Vec<usize> = seam.same.iter().copied().flatten().collect();
    if !nests.iter().all(|nest| stays(nest, count, |param| !shared.contains(&param))) {
        return None;
    }
    let [one, other] = nests;
    let body = [one.body, other.body].concat();
    let (inner, touched) = (extents(&body), touched(&body)?);
    let in_slices = |&param: &usize| {
        params[param].access == Access::Read
            || touched.get(&param).is_some_and(|sites| slices(var, count, sites, &inner))
    };
    if !shared.iter().all(in_slices) {
        return None;
    }
    let body = [one.values, other.values, body].concat();
    let mut kernel = Kernel { name: name_of(first, second), params, grid: vec![count], body };
    let mut local: Vec<bool> = kernel.params.iter().map(|param| param.access == Access::Local).collect();
    for &param in shared.iter().filter(|&&param| is_between(first, second, seam, param)) {
        local[param] = becomes_local(&mut kernel, param, var, &touched[&param], &inner);
    }
    let kept = local[..first.arguments().len()].iter().map(|local| !local).collect();
    let added = seam.same.iter().map(Option::is_none).collect();
    locals_last(&mut kernel, &local);
    renumber(&mut kernel, &[var]);
    Some(Joined { kernel, kept, added })
}

/// The points of the grid of both, if the second goes on with what the first writes, and threads lose nothing by it.
fn iterations(first: &Kernel, second: &Kernel, seam: &Seam, least: u64) -> Option<usize> {
    let goes_on = seam.same.iter().zip(&second.params).any(|(same, param)| {
        same.is_some_and(|at| first.params[at].access != Access::Read && param.access != Access::Write)
    });
    let [one, other] = [points(first)?, points(second)?];
    let (fewer, more) = (one.min(other), one.max(other));
    // Several iterations of each in turn, where there are many: one row waits for its sum while others are added.
    let count = (1..=fewer.min(MOST_PARTS)).rev().find(|parts| fewer.is_multiple_of(*parts))?;
    let count = if count < EVEN { fewer } else { count };
    if !goes_on || !more.is_multiple_of(fewer) {
        return None;
    }
    let shared = || [first, second].map(|kernel| parts_of(kernel, least)).into_iter().max().unwrap_or(1);
    // As many points as threads share evenly, unless the two would have fewer.
    (count >= EVEN || count >= shared()).then_some(count)
}

/// The parameters of the second behind those of the first, but for those that are the same; and where those of the second are.
fn parameters(first: &Kernel, second: &Kernel, seam: &Seam) -> (Vec<Param>, Vec<usize>) {
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
    (params, places)
}

/// Whether nobody but the first kernel writes what a parameter of both stands for, and nobody but the second reads it.
fn is_between(first: &Kernel, second: &Kernel, seam: &Seam, param: usize) -> bool {
    let at = seam.same.iter().position(|same| *same == Some(param)).expect("a parameter of the second");
    let between = first.params[param].access == Access::Write && second.params[at].access == Access::Read;
    seam.alone[param] && between
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
