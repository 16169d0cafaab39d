//! Cuts the axes of a region into pieces in which no index is divided and no bound is tested.
//!
//! Windows with padding, their gradients, dilated and repeated images: an element of such a result tests whether its
//! taps lie inside, and divides positions to find them. Along one axis the answers repeat with a period, but for the
//! borders. A [`Piece`] is a run of periods with the same answers: one loop iteration writes all positions of a
//! period, with the taps written out, and what remains are affine addresses. Taps outside are left out of a chain,
//! which changes no bit: they would combine the identity. Where a cut would make too much code, the loops stay whole
//! and test.

use std::collections::{BTreeMap, HashMap};

use brolga_ir::DType;
use brolga_ir::index::{Atom, Index, Var};
use brolga_ir::program::walk::walk;
use brolga_ir::program::{Expr, Stmt};
use brolga_ir::scalar::ScalarOp;

use super::compose::Composer;

/// Positions that one iteration writes, at most.
const MOST_PHASES: usize = 16;
/// Statements of one iteration, at most, and of all that is written.
const MOST_IN_ITERATION: usize = 384;
const MOST_STATEMENTS: usize = 2048;
/// Answers that are compared along an axis, at most.
const MOST_ANSWERS: usize = 1 << 20;

/// The positions `start .. start + count · period` of an axis, `period` of them in each iteration.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Piece {
    start: usize,
    count: usize,
    period: usize,
}

/// A guard: indices that must all be below their extents.
type Guard = Vec<(Index, usize)>;

/// What the elements of a nest ask: bounds that are tested, and indices that are divided.
struct Questions {
    tests: Vec<Guard>,
    divided: Vec<(Index, i64)>,
    /// Extents of the loops inside, over taps.
    taps: HashMap<Var, usize>,
    /// Statements, those of loops over taps once for every tap.
    statements: usize,
}

/// What a nest does at some points.
type Body<'b, 'a> = &'b dyn Fn(&mut Composer<'a>, &[Vec<Index>]);

impl<'a> Composer<'a> {
    /// Loops over `dims`, cut into pieces where that helps.
    pub fn nest(&mut self, dims: &[usize], body: Body<'_, 'a>) {
        match self.pieces(dims, body) {
            Some(pieces) => {
                self.written_out = true;
                self.cut_loops(&pieces, false, &[Vec::new()], body);
                self.written_out = false;
            }
            None => self.loops(dims, &mut |c, at| body(c, &[at.to_vec()])),
        }
    }

    /// Loops over pieces of axes; `points` are those of one iteration, as far as outer axes make them. The outermost
    /// axis of several pieces becomes one loop with conditions, which can be shared among threads; `inside`: there is
    /// a loop around.
    fn cut_loops(&mut self, pieces: &[Vec<Piece>], inside: bool, points: &[Vec<Index>], body: Body<'_, 'a>) {
        let Some((axis, rest)) = pieces.split_first() else { return body(self, points) };
        let total: usize = axis.iter().map(|piece| piece.count).sum();
        let shared = (!inside && axis.len() > 1).then(|| self.k.open_for(total));
        let mut first = 0;
        for piece in axis {
            let step = match shared {
                Some(var) => {
                    self.k.open_part(var, first, piece.count);
                    Index::var(var).plus(-(first as i64))
                }
                None => Index::var(self.k.open_for(piece.count)),
            };
            let base = step.scale(piece.period as i64).plus(piece.start as i64);
            let phases = |point: &Vec<Index>| {
                (0..piece.period as i64)
                    .map(|phase| point.iter().cloned().chain([base.plus(phase)]).collect())
                    .collect::<Vec<Vec<Index>>>()
            };
            let points: Vec<Vec<Index>> = points.iter().flat_map(phases).collect();
            self.cut_loops(rest, inside || total > 1, &points, body);
            match shared {
                Some(_) => self.k.close_part(),
                None => self.k.close(),
            }
            first += piece.count;
        }
        if shared.is_some() {
            self.k.close();
        }
    }

    /// The pieces of each axis of a nest; `None` where there is nothing to cut.
    fn pieces(&self, dims: &[usize], body: Body<'_, 'a>) -> Option<Vec<Vec<Piece>>> {
        if dims.contains(&0) || !self.k.extents().is_empty() {
            return None;
        }
        let questions = self.questions(dims, body);
        let whole = |&extent: &usize| vec![Piece { start: 0, count: extent, period: 1 }];
        let mut pieces: Vec<Vec<Piece>> = dims.iter().map(whole).collect();
        let innermost = (0..dims.len()).rev().find(|&axis| dims[axis] > 1)?;
        for (axis, &extent) in dims.iter().enumerate() {
            let Some((period, tests)) = questions.along(axis as Var) else { continue };
            // Along the contiguous axis it costs as much to store with a stride as to load with one.
            if (period > 1 && axis != innermost) || !tests.is_empty() {
                pieces[axis] = questions.cut(extent, period, &tests)?;
            }
        }
        let written = |axis: &Vec<Piece>| axis.iter().map(|piece| piece.period).sum::<usize>();
        let copies = pieces.iter().map(written).fold(1, usize::saturating_mul);
        let phases = |axis: &Vec<Piece>| axis.iter().map(|piece| piece.period).max().unwrap_or(1);
        let most: usize = pieces.iter().map(phases).product();
        let cut = pieces.iter().any(|axis| axis.len() > 1 || axis[0].period > 1);
        let fits = most <= MOST_PHASES
            && most.saturating_mul(questions.statements) <= MOST_IN_ITERATION
            && copies.saturating_mul(questions.statements) <= MOST_STATEMENTS;
        (cut && fits).then_some(pieces)
    }

    /// Composes the nest as it is, to see what it asks.
    fn questions(&self, dims: &[usize], body: Body<'_, 'a>) -> Questions {
        let mut trial = self.trial();
        let at: Vec<Index> = dims.iter().map(|&extent| Index::var(trial.k.open_for(extent))).collect();
        body(&mut trial, &[at]);
        dims.iter().for_each(|_| trial.k.close_whole());
        let mut divided = Vec::new();
        let indices = walk(trial.k.statements()).flat_map(Stmt::indices);
        indices.for_each(|index| gather_divided(index, &mut divided));
        let tests = trial.k.take_tests();
        tests.iter().flatten().for_each(|(index, _)| gather_divided(index, &mut divided));
        let taps = trial.k.extents().iter().enumerate().skip(dims.len());
        let taps: HashMap<Var, usize> = taps.map(|(var, &extent)| (var as Var, extent)).collect();
        let statements = count(trial.k.statements(), &taps);
        Questions { tests, divided, taps, statements }
    }
}

/// Statements of a block, those of loops over taps once for every tap; without what tests and finds indices.
fn count(block: &[Stmt], taps: &HashMap<Var, usize>) -> usize {
    let of = |statement: &Stmt| match statement {
        Stmt::For { var, body, .. } => count(body, taps).saturating_mul(taps.get(var).copied().unwrap_or(1)),
        Stmt::Let { expr: Expr::Index(_) | Expr::Constant(_) | Expr::Op(ScalarOp::Select, _), .. } => 0,
        Stmt::Let { dtype: DType::Bool, .. } => 0,
        _ => 1,
    };
    block.iter().map(of).fold(0, usize::saturating_add)
}

/// Quotients and remainders in an index: what is divided, by what.
fn gather_divided(index: &Index, divided: &mut Vec<(Index, i64)>) {
    for (atom, _) in index.terms() {
        if let Atom::Div(inner, d) | Atom::Rem(inner, d) = atom {
            let entry = ((**inner).clone(), *d);
            if !divided.contains(&entry) {
                divided.push(entry);
            }
            gather_divided(inner, divided);
        }
    }
}

impl Questions {
    /// Whether an index depends on `var` and beside it on taps only.
    fn is_about(&self, index: &Index, var: Var) -> bool {
        let mut only = true;
        index.visit(&mut |atom| {
            only &= match atom {
                Atom::Var(other) => *other == var || self.taps.contains_key(other),
                Atom::Value(_) => false,
                Atom::Div(..) | Atom::Rem(..) => true,
            }
        });
        only && index.mentions(var)
    }

    /// The period of what is asked along an axis, and what is tested; `None` if nothing is asked there.
    fn along(&self, var: Var) -> Option<(usize, Vec<Guard>)> {
        let mut period = 1;
        for (inner, d) in &self.divided {
            if self.is_about(inner, var) && !inner.is_nonlinear_in(var) {
                let own = d / gcd(inner.coefficient(var).abs(), *d);
                period = period / gcd(period, own) * own;
                if period > MOST_PHASES as i64 {
                    return None;
                }
            }
        }
        let about = |guard: &Guard| -> Guard {
            guard.iter().filter(|(index, _)| self.is_about(index, var)).cloned().collect()
        };
        let mut tests: Vec<Guard> = self.tests.iter().map(about).filter(|guard| !guard.is_empty()).collect();
        tests.dedup();
        (period > 1 || !tests.is_empty()).then_some((period as usize, tests))
    }

    /// The pieces of an axis: equal answers of all guards, for every tap, in every period of a piece.
    fn cut(&self, extent: usize, period: usize, tests: &[Guard]) -> Option<Vec<Piece>> {
        let mut asked = Vec::new();
        for guard in tests {
            let mut vars = BTreeMap::new();
            for (index, _) in guard {
                index.visit(&mut |atom| {
                    if let Atom::Var(var) = atom {
                        vars.insert(*var, self.taps.get(var).copied());
                    }
                });
            }
            let combinations = vars.values().flatten().fold(1, |all: usize, &taps| all.saturating_mul(taps));
            if combinations.checked_mul(extent)? > MOST_ANSWERS {
                return None;
            }
            asked.push((guard, vars, combinations));
        }
        let answers = |position: usize| -> Vec<bool> {
            let mut all = Vec::new();
            for (guard, vars, combinations) in &asked {
                for combination in 0..*combinations {
                    let mut rest = combination;
                    let values: HashMap<Var, i64> = vars
                        .iter()
                        .map(|(&var, tap)| {
                            let value = tap.map_or(position, |extent| rest % extent);
                            rest /= tap.unwrap_or(1);
                            (var, value as i64)
                        })
                        .collect();
                    let lookup = |atom: &Atom| match atom {
                        Atom::Var(var) => values[var],
                        _ => 0,
                    };
                    let inside = |(index, extent): &(Index, usize)| {
                        (0..*extent as i64).contains(&index.evaluate(&lookup))
                    };
                    all.push(guard.iter().all(inside));
                }
            }
            all
        };
        let of_period = |start: usize| (start..start + period).flat_map(answers).collect::<Vec<bool>>();
        let mut pieces = Vec::new();
        let mut start = 0;
        while start + period <= extent {
            let first = of_period(start);
            let mut count = 1;
            while start + (count + 1) * period <= extent && of_period(start + count * period) == first {
                count += 1;
            }
            pieces.push(Piece { start, count, period });
            start += count * period;
        }
        if start < extent {
            pieces.push(Piece { start, count: 1, period: extent - start });
        }
        Some(pieces)
    }
}

fn gcd(a: i64, b: i64) -> i64 {
    if b == 0 { a.max(1) } else { gcd(b, a % b) }
}
