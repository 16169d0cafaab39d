//! Cuts the axes of a region into pieces in which no index is divided and no bound is tested.
//!
//! Windows with padding, their gradients, dilated and repeated images: an element of such a result tests whether its
//! taps lie inside, and divides positions to find them. Along one axis the answers repeat with a period, but for the
//! borders. A [`Piece`] is a run of periods with the same answers: one loop iteration writes all positions of a
//! period, with the taps written out, and what remains are affine addresses. Taps outside are left out of a chain,
//! which changes no bit: they would combine the identity. Where a cut would make too much code, the loops stay whole
//! and test.

use std::collections::BTreeMap;

use brolga_ir::DType;
use brolga_ir::index::{Atom, Index, Var};
use brolga_ir::program::walk::walk;
use brolga_ir::program::{Expr, Stmt};
use brolga_ir::scalar::ScalarOp;
use rustc_hash::FxHashMap;

use super::compose::Composer;
use crate::facts::blocking::code;

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
    taps: FxHashMap<Var, usize>,
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
        // Large windows are not written out, wherever their answers change.
        if questions.statements > code::IN_ITERATION {
            return None;
        }
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
        let fits = most <= code::PHASES
            && most.saturating_mul(questions.statements) <= code::IN_ITERATION
            && copies.saturating_mul(questions.statements) <= code::STATEMENTS;
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
        let taps: FxHashMap<Var, usize> = taps.map(|(var, &extent)| (var as Var, extent)).collect();
        let statements = count(trial.k.statements(), &taps);
        Questions { tests, divided, taps, statements }
    }
}

/// Statements of a block, those of loops over taps once for every tap; without what tests and finds indices.
fn count(block: &[Stmt], taps: &FxHashMap<Var, usize>) -> usize {
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
                if period > code::PHASES as i64 {
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

    /// What a guard asks.
    fn asked<'g>(&self, guard: &'g Guard) -> Asked<'g> {
        let mut vars = BTreeMap::new();
        for (index, _) in guard {
            index.visit(&mut |atom| {
                if let Atom::Var(var) = atom {
                    vars.insert(*var, self.taps.get(var).copied());
                }
            });
        }
        let combinations = vars.values().flatten().fold(1, |all: usize, &taps| all.saturating_mul(taps));
        Asked { guard, vars, combinations }
    }

    /// The pieces of an axis: equal answers of all guards, for every tap, in every period of a piece.
    fn cut(&self, extent: usize, period: usize, tests: &[Guard]) -> Option<Vec<Piece>> {
        let asked: Vec<Asked<'_>> = tests.iter().map(|guard| self.asked(guard)).collect();
        let turns = turns(&asked, extent, period)?;
        let periods = extent / period;
        let answers = |number: usize| -> Vec<bool> {
            let positions = number * period..(number + 1) * period;
            positions
                .flat_map(|position| asked.iter().flat_map(move |asked| asked.answers(position)))
                .collect()
        };
        let mut pieces: Vec<Piece> = Vec::new();
        let mut before = None;
        for (at, &turn) in turns.iter().enumerate() {
            let count = turns.get(at + 1).copied().unwrap_or(periods) - turn;
            let now = answers(turn);
            match pieces.last_mut().filter(|_| before.as_ref() == Some(&now)) {
                Some(last) => last.count += count,
                None => pieces.push(Piece { start: turn * period, count, period }),
            }
            before = Some(now);
        }
        let start = periods * period;
        if start < extent {
            pieces.push(Piece { start, count: 1, period: extent - start });
        }
        Some(pieces)
    }
}

/// The periods at which answers may change; `None` where too many would have to be looked at. Where answers are known to
/// change at few places, only these are looked at.
fn turns(asked: &[Asked<'_>], extent: usize, period: usize) -> Option<Vec<usize>> {
    let combinations = asked.iter().fold(0, |all: usize, asked| all.saturating_add(asked.combinations));
    let periods = extent / period;
    let moves = |asked: &Asked<'_>| asked.guard.iter().all(|(index, _)| asked.moves_evenly(index, period));
    if asked.iter().all(moves) && combinations.saturating_mul(period) <= code::ANSWERS {
        let mut turns: Vec<usize> = asked.iter().flat_map(|asked| asked.turns(period, periods)).collect();
        turns.push(0);
        turns.sort_unstable();
        turns.dedup();
        turns.retain(|&turn| turn < periods);
        return Some(turns);
    }
    (combinations.checked_mul(extent)? <= code::ANSWERS).then(|| (0..periods).collect())
}

/// A guard about one axis: its variables, with the extents of taps, and how many combinations these have.
struct Asked<'g> {
    guard: &'g Guard,
    vars: BTreeMap<Var, Option<usize>>,
    combinations: usize,
}

impl Asked<'_> {
    /// An index of the guard at a position of the axis, for taps by number.
    fn value(&self, index: &Index, position: usize, combination: usize) -> i64 {
        let mut rest = combination;
        let values: FxHashMap<Var, i64> = self
            .vars
            .iter()
            .map(|(&var, tap)| {
                let value = tap.map_or(position, |extent| rest % extent);
                rest /= tap.unwrap_or(1);
                (var, value as i64)
            })
            .collect();
        index.evaluate(&|atom: &Atom| match atom {
            Atom::Var(var) => values[var],
            _ => 0,
        })
    }

    /// Whether the guard holds, for every combination of taps.
    fn answers(&self, position: usize) -> Vec<bool> {
        let holds = |combination: usize| {
            let inside = |(index, extent): &(Index, usize)| {
                (0..*extent as i64).contains(&self.value(index, position, combination))
            };
            self.guard.iter().all(inside)
        };
        (0..self.combinations).map(holds).collect()
    }

    /// Whether an index moves by the same number from any period of the axis to the next: what is divided moves by a
    /// multiple of the divisor.
    fn moves_evenly(&self, index: &Index, period: usize) -> bool {
        let own = |var: &Var| self.vars.get(var) == Some(&None);
        index.terms().iter().all(|(atom, _)| match atom {
            Atom::Div(inner, d) | Atom::Rem(inner, d) => {
                inner.terms().iter().all(|(atom, step)| match atom {
                    Atom::Var(var) => !own(var) || (step * period as i64) % d == 0,
                    Atom::Value(_) => true,
                    nested => !self.vars.keys().filter(|var| own(var)).any(|&var| mentions(nested, var)),
                })
            }
            _ => true,
        })
    }

    /// The periods, of so many, at which the answers of a guard whose indices move evenly may change.
    fn turns(&self, period: usize, periods: usize) -> Vec<usize> {
        let mut turns = Vec::new();
        for (index, extent) in self.guard {
            for combination in 0..self.combinations {
                for phase in 0..period {
                    let first = self.value(index, phase, combination);
                    let step = self.value(index, phase + period, combination) - first;
                    // first + t step reaches 0, or the extent, going up; passes below them, going down.
                    for bound in [0, *extent as i64] {
                        let way = bound - first;
                        let turn = match step {
                            0 => continue,
                            1.. => way.div_euclid(step) + i64::from(way.rem_euclid(step) > 0),
                            _ => (-way).div_euclid(-step) + 1,
                        };
                        turns.extend(usize::try_from(turn).ok().filter(|&turn| turn < periods));
                    }
                }
            }
        }
        turns
    }
}

/// Whether a variable occurs in an atom.
fn mentions(atom: &Atom, var: Var) -> bool {
    match atom {
        Atom::Var(other) => *other == var,
        Atom::Value(_) => false,
        Atom::Div(inner, _) | Atom::Rem(inner, _) => inner.mentions(var),
    }
}

fn gcd(a: i64, b: i64) -> i64 {
    if b == 0 { a.max(1) } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pieces as they are where every position is looked at.
    fn walked(questions: &Questions, extent: usize, period: usize, tests: &[Guard]) -> Vec<Piece> {
        let position = |tap: i64, at: usize, index: &Index| {
            index.evaluate(&|atom: &Atom| match atom {
                Atom::Var(0) => at as i64,
                _ => tap,
            })
        };
        let answers = |at: usize| -> Vec<bool> {
            let taps = 0..questions.taps[&1] as i64;
            let holds = |tap: i64| {
                let inside = |guard: &Guard| {
                    guard.iter().all(|(index, n)| (0..*n as i64).contains(&position(tap, at, index)))
                };
                tests.iter().map(inside).collect::<Vec<_>>()
            };
            taps.flat_map(holds).collect()
        };
        let of_period = |start: usize| (start..start + period).map(answers).collect::<Vec<_>>();
        let mut pieces: Vec<Piece> = Vec::new();
        for start in (0..extent / period * period).step_by(period) {
            match pieces.last_mut().filter(|last| of_period(last.start) == of_period(start)) {
                Some(last) => last.count += 1,
                None => pieces.push(Piece { start, count: 1, period }),
            }
        }
        if !extent.is_multiple_of(period) {
            pieces.push(Piece { start: extent / period * period, count: 1, period: extent % period });
        }
        pieces
    }

    #[test]
    fn pieces_end_where_answers_change() {
        for (stride, step, low, divisor, input, extent) in [
            (1, 1, 1, 1, 20, 20),
            (2, 1, 3, 1, 9, 7),
            (1, 2, 2, 3, 5, 17),
            (3, 1, 0, 2, 4, 11),
            (-2, 1, -15, 1, 12, 9),
        ] {
            let point = Index::var(0).scale(stride).add(&Index::var(1).scale(step)).plus(-low);
            let none = |_: &Atom| None;
            let guard = vec![(point.rem(divisor, &none), 1), (point.div(divisor, &none), input)];
            let taps = FxHashMap::from_iter([(1, 3)]);
            let questions = Questions { tests: Vec::new(), divided: Vec::new(), taps, statements: 1 };
            let period = (divisor / gcd(stride.abs(), divisor)) as usize;
            let tests = [guard];
            let found = questions.cut(extent, period, &tests).unwrap();
            assert_eq!(found, walked(&questions, extent, period, &tests), "{stride} {step} {low} {divisor}");
        }
        // A long axis takes no longer.
        let guard = vec![(Index::var(0).add(&Index::var(1)).plus(-1), 1 << 40)];
        let taps = FxHashMap::from_iter([(1, 3)]);
        let questions = Questions { tests: Vec::new(), divided: Vec::new(), taps, statements: 1 };
        assert_eq!(questions.cut(1 << 40, 1, &[guard]).unwrap().len(), 3);
    }
}
