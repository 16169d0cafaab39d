//! Registers for lane code: a linear scan over live intervals (Poletto & Sarkar 1999).
//!
//! A value has one home for its whole life: a register, or a place on the stack, or, for constants, in the code.
//! Registers that are left go to the constants that loops use most.
//! A value that is used in a loop but defined before it lives to the end of the loop. One that lives across a tile,
//! which takes all registers, is on the stack.

use rustc_hash::FxHashMap;

use crate::wide::types::lane_code::{Define, Inst, Lane, Lanes};

/// Where a value lives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Home {
    /// A register, by number among those for values.
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
fn operands(lanes: &Lanes, inst: &Inst, f: &mut impl FnMut(Lane)) {
    // A value that stands for four is all of them.
    let mut f = |lane: Lane| match lanes.sums.get(&lane) {
        Some(parts) => parts.iter().for_each(|&part| f(part)),
        None => f(lane),
    };
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
            Define::Constant(_)
            | Define::Ramp(_)
            | Define::Uniform(_)
            | Define::First
            | Define::LoadSums(..) => {}
        },
        // The old value is an operand too: it must not share its home before.
        Inst::Assign(to, from) => {
            f(to);
            f(from);
        }
        Inst::Store(place, value) => place.index.into_iter().chain([value]).for_each(f),
        Inst::StoreColumns { from, .. } => from.into_iter().for_each(f),
        Inst::StoreSums(_, _, value) => f(value),
        Inst::Point { by, .. } => f(by),
        Inst::LoadColumns { .. } | Inst::Loop(_) | Inst::Strip(_) | Inst::End | Inst::Tile(_) => {}
    }
}

/// The instructions between which each value lives: where it is defined, and its last use.
fn intervals(lanes: &Lanes) -> Vec<(usize, usize)> {
    let mut intervals = vec![(usize::MAX, 0); lanes.count as usize];
    // Loops, inner ones before the loops around them.
    let (mut open, mut loops) = (Vec::new(), Vec::new());
    for (at, inst) in lanes.insts.iter().enumerate() {
        match inst {
            Inst::Define(lane, _) => intervals[lane.0 as usize].0 = at,
            Inst::LoadColumns { to, .. } => to.iter().for_each(|lane| intervals[lane.0 as usize].0 = at),
            Inst::Loop(_) | Inst::Strip(_) => open.push(at),
            Inst::End => loops.push((open.pop().expect("loops are nested"), at)),
            _ => {}
        }
        operands(lanes, inst, &mut |lane| intervals[lane.0 as usize].1 = at);
    }
    for (from, to) in loops {
        for (start, end) in &mut intervals {
            if *start < from && *end >= from && *end < to {
                *end = to;
            }
        }
    }
    intervals
}

/// Gives every value a home.
pub(crate) fn allocate(lanes: &Lanes) -> Homes {
    let intervals = intervals(lanes);
    let mut homes = vec![Home::Nowhere; intervals.len()];
    let mut tiles = Vec::new();
    for (at, inst) in lanes.insts.iter().enumerate() {
        match inst {
            Inst::Define(lane, Define::Constant(_) | Define::Ramp(_)) => {
                homes[lane.0 as usize] = Home::Constant;
            }
            Inst::Tile(_) => tiles.push(at),
            _ => {}
        }
    }
    let mut order: Vec<usize> = (0..intervals.len())
        .filter(|&lane| homes[lane] != Home::Constant && intervals[lane].1 > intervals[lane].0)
        .collect();
    order.sort_by_key(|&lane| intervals[lane].0);
    scan(lanes.machine.values(), &intervals, &order, &tiles, &mut homes);
    if tiles.is_empty() {
        keep_constants(lanes, &mut homes);
    }
    let spills = places_on_stack(&intervals, &order, &mut homes);
    Homes { homes, spills }
}

/// The linear scan: values in the order in which they are defined get a register each, or `Spilled(0)`. `tiles` are where tiles
/// stand, which take all registers.
fn scan(
    registers: usize,
    intervals: &[(usize, usize)],
    order: &[usize],
    tiles: &[usize],
    homes: &mut [Home],
) {
    let mut free: Vec<usize> = (0..registers).rev().collect();
    let mut active: Vec<usize> = Vec::new();
    for &lane in order {
        let (start, end) = intervals[lane];
        // A value whose last use is this instruction gives its register to the result.
        active.retain(|&other| {
            let alive = intervals[other].1 > start;
            if let (false, Home::Register(register)) = (alive, homes[other]) {
                free.push(register);
            }
            alive
        });
        let first_tile = tiles.partition_point(|&tile| tile < start);
        if tiles.get(first_tile).is_some_and(|&tile| tile < end) {
            homes[lane] = Home::Spilled(0);
            continue;
        }
        if let Some(register) = free.pop() {
            homes[lane] = Home::Register(register);
            active.push(lane);
            continue;
        }
        // The one that lives longest goes to the stack.
        let last =
            (0..active.len()).max_by_key(|&i| intervals[active[i]].1).expect("all registers are taken");
        let other = active[last];
        if intervals[other].1 > end {
            homes[lane] = homes[other];
            homes[other] = Home::Spilled(0);
            active[last] = lane;
        } else {
            homes[lane] = Home::Spilled(0);
        }
    }
}

/// Gives spilled values places on the stack, which are used again, too; their number.
fn places_on_stack(intervals: &[(usize, usize)], order: &[usize], homes: &mut [Home]) -> usize {
    let mut ends: Vec<usize> = Vec::new();
    for &lane in order {
        if homes[lane] != Home::Spilled(0) {
            continue;
        }
        let (start, end) = intervals[lane];
        let slot = ends.iter().position(|&end| end <= start).unwrap_or_else(|| {
            ends.push(0);
            ends.len() - 1
        });
        ends[slot] = end;
        homes[lane] = Home::Spilled(slot);
    }
    ends.len()
}

/// Gives registers that no value needs to constants in loops: instructions read them from memory otherwise, and loads are
/// what most loops wait for.
fn keep_constants(lanes: &Lanes, homes: &mut [Home]) {
    let mut free: Vec<usize> =
        (0..lanes.machine.values()).filter(|&number| !homes.contains(&Home::Register(number))).collect();
    // Equal ones share a register.
    let mut constants: Vec<(Define, Vec<usize>, usize)> = Vec::new();
    let (mut known, mut depth) = (FxHashMap::default(), 0);
    for inst in &lanes.insts {
        match *inst {
            Inst::Define(lane, define @ (Define::Constant(_) | Define::Ramp(_))) => {
                let same = constants.iter().position(|constant| constant.0 == define);
                let number = same.unwrap_or(constants.len());
                if same.is_none() {
                    constants.push((define, Vec::new(), 0));
                }
                constants[number].1.push(lane.0 as usize);
                known.insert(lane, number);
            }
            Inst::Loop(_) | Inst::Strip(_) => depth += 1,
            Inst::End => depth -= 1,
            _ if depth > 0 => operands(lanes, inst, &mut |lane| {
                if let Some(&number) = known.get(&lane) {
                    constants[number].2 += 1;
                }
            }),
            _ => {}
        }
    }
    constants.retain(|constant| constant.2 > 0);
    constants.sort_by_key(|constant| std::cmp::Reverse(constant.2));
    free.reverse();
    for ((_, all, _), register) in constants.into_iter().zip(std::iter::from_fn(|| free.pop())) {
        all.into_iter().for_each(|lane| homes[lane] = Home::Register(register));
    }
}
