//! Loops of a kernel that stand one behind the other, as kernels of their own: each can be shared among threads then.

use brolga_ir::program::{Access, Call, Expr, Kernel, KernelId, Program, Step, Stmt};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::facts::cost::vector_operations;
use crate::rewrite::kernels::{keep_used, prune};

/// The kernels that one becomes, and which of its arguments each takes.
pub(crate) type Pieces = Vec<(KernelId, Vec<usize>)>;

/// Separates the loops of kernels of much work, in which `least` is that of a part worth having; whether any changed.
pub(crate) fn separate(program: &mut Program, least: u64) -> bool {
    let mut separated: FxHashMap<KernelId, Pieces> = FxHashMap::default();
    for position in 0..program.kernels.len() {
        let kernel = &program.kernels[position];
        let Some(groups) = groups(kernel, least) else { continue };
        let pieces: Vec<(Kernel, Vec<usize>)> = groups.iter().map(|group| piece(kernel, group)).collect();
        let mut ids = Vec::new();
        for (number, (kernel, args)) in pieces.into_iter().enumerate() {
            // The first one takes the place of the whole.
            let at = if number == 0 { position } else { program.kernels.len() };
            if number == 0 {
                program.kernels[at] = kernel;
            } else {
                program.kernels.push(kernel);
            }
            ids.push((KernelId(at as u32), args));
        }
        separated.insert(KernelId(position as u32), ids);
    }
    if separated.is_empty() {
        return false;
    }
    call_pieces(&mut program.schedule, &separated);
    call_pieces(&mut program.prepare, &separated);
    true
}

/// The statements that stay together: every loop of much work alone, others with their neighbours. `None` where there is
/// nothing to gain, or where statements need more of each other than memory and values that are the same anywhere.
fn groups(kernel: &Kernel, least: u64) -> Option<Vec<Vec<usize>>> {
    // What is local passes between statements, and would be gone between kernels.
    let local = kernel.local_bytes() > 0;
    if local || !kernel.grid.is_empty() || vector_operations(&kernel.body) < 2 * least {
        return None;
    }
    let mut groups: Vec<(Vec<usize>, bool)> = Vec::new();
    for (at, statement) in kernel.body.iter().enumerate() {
        match statement {
            Stmt::Let { expr: Expr::Load { param, .. }, .. }
                if kernel.params[*param].access != Access::Read =>
            {
                return None;
            }
            Stmt::Let { .. } => {}
            Stmt::For { .. } | Stmt::Strip { .. } | Stmt::Tile(_) | Stmt::If { .. } => {
                let shared = matches!(statement, Stmt::For { .. } | Stmt::Strip { .. });
                let large = shared && vector_operations(std::slice::from_ref(statement)) >= 2 * least;
                match groups.last_mut().filter(|(_, before)| !large && !before) {
                    Some((group, _)) => group.push(at),
                    None => groups.push((vec![at], large)),
                }
            }
            _ => return None,
        }
    }
    let gain = groups.len() > 1 && groups.iter().any(|(_, large)| *large);
    gain.then(|| groups.into_iter().map(|(group, _)| group).collect())
}

/// A kernel of some of the statements, and the arguments that are left to it.
fn piece(kernel: &Kernel, statements: &[usize]) -> (Kernel, Vec<usize>) {
    let kept =
        |&(at, statement): &(usize, &Stmt)| matches!(statement, Stmt::Let { .. }) || statements.contains(&at);
    let mut body: Vec<Stmt> =
        kernel.body.iter().enumerate().filter(kept).map(|(_, stmt)| stmt.clone()).collect();
    prune(&mut body, &mut FxHashSet::default());
    let mut piece = Kernel { body, ..kernel.clone() };
    let args = keep_used(&mut piece);
    (piece, args)
}

/// Calls the pieces of kernels in the place of each call of the whole.
pub(crate) fn call_pieces(steps: &mut Vec<Step>, pieces: &FxHashMap<KernelId, Pieces>) {
    let mut all = Vec::with_capacity(steps.len());
    for mut step in std::mem::take(steps) {
        step.bodies_mut().into_iter().for_each(|body| call_pieces(body, pieces));
        match &step {
            Step::Call(call) if pieces.contains_key(&call.kernel) => {
                all.extend(pieces[&call.kernel].iter().map(|(kernel, args)| {
                    // Local parameters have none.
                    let args = args.iter().filter_map(|&arg| call.args.get(arg).cloned()).collect();
                    Step::Call(Call { kernel: *kernel, args, parallel: false, origin: call.origin.clone() })
                }));
            }
            _ => all.push(step),
        }
    }
    *steps = all;
}
