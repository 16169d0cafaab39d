//! Registers for lane code: a linear scan over live intervals (Poletto & Sarkar 1999).
//!
//! A value has one home for its whole life: a register, or a place on the stack, or, for constants, in the code.
//! A value that is used in a loop but defined before it lives to the end of the loop.

use super::lanes::{Define, Inst, Lane, Lanes};

/// Registers that values may live in; the others serve the assembler.
pub(crate) const ALLOCATABLE: usize = 12;

/// Where a value lives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Home {
    Register(usize),
    /// On the stack, by number.
    Spilled(usize),
    /// Behind the code.
    Constant,
    /// Never used.
    Nowhere,
}

/// The homes of all values, and how many places on the stack they take.
pub(crate) struct Homes {
    pub homes: Vec<Home>,
    pub spills: usize,
}

/// Calls `f` with every operand of an instruction.
fn operands(inst: &Inst, f: &mut impl FnMut(Lane)) {
    match *inst {
        Inst::Define(_, define) => match define {
            Define::Unary(_, a) => f(a),
            Define::Binary(_, a, b) => {
                f(a);
                f(b);
            }
            Define::Fma(a, b, c) | Define::Select(a, b, c) => {
                f(a);
                f(b);
                f(c);
            }
            Define::Load(place, guard) => place.index.into_iter().chain(guard).for_each(f),
            _ => {}
        },
        // The old value is an operand too: it must not share its home before.
        Inst::Assign(to, from) => {
            f(to);
            f(from);
        }
        Inst::Store(_, value) | Inst::StoreSums(_, value) => f(value),
        Inst::Loop(_) | Inst::End => {}
    }
}

/// Gives every value a home. `invariant` is the number of leading instructions that run before the strip's own
/// loop, whose values live through all of it.
pub(crate) fn allocate(lanes: &Lanes, invariant: usize) -> Homes {
    let count = lanes.count as usize;
    let n = lanes.insts.len();
    let mut start = vec![usize::MAX; count];
    let mut end = vec![0; count];
    let mut homes = vec![Home::Nowhere; count];
    for (at, inst) in lanes.insts.iter().enumerate() {
        if let Inst::Define(lane, define) = inst {
            start[lane.0 as usize] = at;
            if matches!(define, Define::Constant(_) | Define::Steps(_)) {
                homes[lane.0 as usize] = Home::Constant;
            }
        }
        operands(inst, &mut |lane| end[lane.0 as usize] = at);
    }
    // Loops, inner ones before the loops around them; the strip's own last.
    let mut open = Vec::new();
    let mut loops = Vec::new();
    for (at, inst) in lanes.insts.iter().enumerate() {
        match inst {
            Inst::Loop(_) => open.push(at),
            Inst::End => loops.push((open.pop().expect("loops are nested"), at)),
            _ => {}
        }
    }
    loops.push((invariant, n));
    for (from, to) in loops {
        for lane in 0..count {
            if start[lane] < from && end[lane] >= from && end[lane] < to {
                end[lane] = to;
            }
        }
    }

    let mut order: Vec<usize> =
        (0..count).filter(|&l| homes[l] != Home::Constant && end[l] > start[l]).collect();
    order.sort_by_key(|&l| start[l]);
    let mut free: Vec<usize> = (0..ALLOCATABLE).rev().collect();
    let mut active: Vec<usize> = Vec::new();
    let mut spills = 0;
    for lane in order {
        // A value whose last use is this instruction gives its register to the result.
        active.retain(|&other| {
            let alive = end[other] > start[lane];
            if let (false, Home::Register(register)) = (alive, homes[other]) {
                free.push(register);
            }
            alive
        });
        if let Some(register) = free.pop() {
            homes[lane] = Home::Register(register);
            active.push(lane);
            continue;
        }
        // The one that lives longest goes to the stack.
        let last = (0..active.len()).max_by_key(|&i| end[active[i]]).expect("all registers are taken");
        let other = active[last];
        if end[other] > end[lane] {
            homes[lane] = homes[other];
            homes[other] = Home::Spilled(spills);
            active[last] = lane;
        } else {
            homes[lane] = Home::Spilled(spills);
        }
        spills += 1;
    }
    Homes { homes, spills }
}
