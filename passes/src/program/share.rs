//! Which calls are parallel: threads share the points of their grids. Part of `parallelise`, and exact: points do not depend on each
//! other.
//!
//! A call is parallel if it has enough to do, in a program whose run has enough of such calls: below that, waking threads costs
//! more than they save. What prepares a program runs with the threads that its schedule wakes.

use brolga_ir::program::{Program, Step};

use crate::facts::cost::cycles;
use crate::facts::cost::threads::{CALL, LEAST_PART, RUN};

/// Says of every call whether it is parallel, where a part is at least so much work; whether anything changed.
pub(super) fn share(program: &mut Program, least: u64) -> bool {
    let [call, run] = [CALL, RUN].map(|cycles| cycles.saturating_mul(least) / LEAST_PART);
    // Of each kernel, the cycles of a call that pays.
    let paying = program.kernels.iter().map(|kernel| {
        let cycles = if kernel.parts() > 1 { cycles(kernel) } else { 0 };
        if cycles < call { 0 } else { cycles }
    });
    let mut paying: Vec<u64> = paying.collect();
    if total(&program.schedule, &paying) < run {
        paying.fill(0);
    }
    let prepare = mark(&mut program.prepare, &paying);
    mark(&mut program.schedule, &paying) || prepare
}

/// Cycles of all calls that pay, at most: of conditions on the longer side, of loops to their limit. How early one with a guard
/// ends is known to nobody here; a run that it ends early may wake threads for less than that is worth.
fn total(steps: &[Step], paying: &[u64]) -> u64 {
    let of = |step: &Step| match step {
        Step::Call(call) => paying[call.kernel.0 as usize],
        Step::Loop { extent, body } => total(body, paying).saturating_mul(*extent as u64),
        Step::Break { .. } => 0,
        Step::If { then, otherwise, .. } => total(then, paying).max(total(otherwise, paying)),
    };
    steps.iter().map(of).fold(0, u64::saturating_add)
}

fn mark(steps: &mut [Step], paying: &[u64]) -> bool {
    let mut changed = false;
    for step in steps {
        if let Step::Call(call) = step {
            let parallel = paying[call.kernel.0 as usize] > 0;
            changed |= std::mem::replace(&mut call.parallel, parallel) != parallel;
        }
        for body in step.bodies_mut() {
            changed |= mark(body, paying);
        }
    }
    changed
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The steps of a schedule with calls of three kernels: of 19,968 cycles, of 20,480 in eight parts, and of as many in one.
    fn parallel(steps: &str) -> (Program, bool) {
        let kernel = |name: &str, parts: usize, extent: usize| {
            format!(
                "kernel @{name}(p0: write f32[{}]) grid [{parts}] {{\n  strip i1 in 0..{extent} {{\n\
                 v0 = constant 1.0 : f32\n store p0[{extent}*i0 + i1] = v0\n  }}\n}}\n",
                parts * extent
            )
        };
        let text = format!(
            "program @f\n%0 output \"y\" f32[40960]\n%1 input \"on\" bool[1]\n{}{}{}schedule {{ {steps} }}\n",
            kernel("small", 8, 4992),
            kernel("large", 8, 5120),
            kernel("whole", 1, 40960),
        );
        let mut program = Program::parse(&text).unwrap_or_else(|e| panic!("{e} in:\n{text}"));
        let changed = share(&mut program, LEAST_PART);
        (program, changed)
    }

    /// The number of calls that are parallel.
    fn count(steps: &str) -> usize {
        let (mut program, changed) = parallel(steps);
        let found = program.to_string().matches(") parallel").count();
        assert_eq!((changed, program.is_parallel()), (found > 0, found > 0), "{steps}");
        assert!(!share(&mut program, LEAST_PART), "it is said");
        found
    }

    #[test]
    fn calls_and_runs_with_enough_to_do_are_parallel() {
        let [small, large, whole] =
            ["call @small#0(%0)\n", "call @large#1(%0)\n", "call @whole#2(%0)\n"].map(str::to_owned);
        assert_eq!(count(&small.repeat(9)), 0, "calls of little work");
        assert_eq!(count(&whole.repeat(9)), 0, "calls of one part");
        assert_eq!(count(&large.repeat(4)), 0, "a run of little work");
        assert_eq!(count(&large.repeat(5)), 5);
        assert_eq!(count(&format!("loop 5 {{ {large}{small} }}")), 1);
        assert_eq!(count(&format!("loop 4 {{ {large} break unless %1 }}")), 0);
        let branches = |extent| format!("loop {extent} {{ if %1 {{ {large} }} else {{ {large} }} }}");
        assert_eq!((count(&branches(4)), count(&branches(5))), (0, 2), "one of the two runs");
    }

    #[test]
    fn smaller_parts_make_more_calls_parallel() {
        let (mut program, _) = parallel("call @small#0(%0)");
        assert!(!program.is_parallel() && share(&mut program, 16) && program.is_parallel());
        assert!(share(&mut program, LEAST_PART) && !program.is_parallel());
    }
}
