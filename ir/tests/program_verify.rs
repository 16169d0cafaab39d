//! The verifier of kernel programs: what it accepts, and each rule broken once.

use brolga_ir::program::verify::{proven, verify, verify_kernel};
use brolga_ir::program::{Kernel, Program};

/// The message about a kernel of three parameters with that body, or "".
fn kernel(body: &str) -> String {
    let params =
        "p0: read f32[64], p1: readwrite f32[64], p2: write f32[64], p3: read i32[8], p4: read bool[8]";
    kernel_of(params, "[8]", body)
}

fn kernel_of(params: &str, grid: &str, body: &str) -> String {
    let text = format!("kernel @k({params}) grid {grid} {{\n{body}\n}}");
    let kernel = Kernel::parse(&text).unwrap_or_else(|e| panic!("{e} in:\n{text}"));
    verify_kernel(&kernel).err().map_or(String::new(), |e| e.to_string())
}

#[test]
fn kernels_that_are_right_are_accepted() {
    for body in [
        "strip i1 in 0..8 {
           a1 = accumulator add 1 : f32
           for i2 in 0..8 { v0 = load p0[8*i1 + i2] : f32  accumulate a1, v0 }
           v1 = finish a1
           store p2[8*i0 + i1] = v1
         }",
        "a0 = accumulator max 32 : f32
         strip i1 in 0..64 { v0 = load p0[i1] : f32  accumulate a0, v0 }
         v1 = finish a0
         store p1[i0] = v1
         accumulate a0, v1",
        // The same variable in loops beside each other, and values of closed blocks under new names.
        "for i1 in 0..64 { v0 = load p0[i1] : f32 } for i1 in 0..8 { v1 = load p0[i1] : f32 }",
        // Outside the parameter, but guarded, conditional, never run, or not provable.
        "v0 = load p4[i0] : bool
         v1 = load p0[i0 + 60] if v0 : f32
         if v0 { v2 = load p0[i0 + 60] : f32 }
         for i1 in 0..0 { v3 = load p0[99] : f32 }
         v4 = load p3[i0] : i32
         v5 = load p0[v4 + 60] : f32
         for i2 in 0..100 { v6 = load p0[40*(i2 / 99) + (i2 % 33)] : f32 }",
        // A clamped index is proven to stay inside.
        "v0 = load p3[i0] : i32  v1 = constant 0 : i32  v2 = constant 55 : i32
         v3 = max v0, v1 : i32  v4 = min v3, v2 : i32  v5 = load p0[v4 + 8] : f32",
        // A store to the same element under a condition, or to a computed one.
        "v0 = constant 1.0 : f32  v1 = load p4[i0] : bool  v2 = load p3[i0] : i32
         if v1 { store p1[0] = v0 } store p2[v2] = v0",
    ] {
        assert_eq!(kernel(body), "", "{body}");
    }
    assert_eq!(
        kernel_of(
            "p0: read f32[128], p1: read f32[512], p2: readwrite f32[256]",
            "[2]",
            "tile [8, 16] p2[128*i0; 16] = p0[64*i0; 8] * p1[0] over (8; 1, 16) : f32
             tile [8, 16] p2[128*i0; 16] += p0[64*i0; 8] * p1[256] over (2; 4, 64), (4; 1, 16) : f32
             tile [0, 16] p2[999; 16] = p0[999] * p1[0] over (8; 1, 16) : f32"
        ),
        ""
    );
}

/// Statements, and what is wrong with them.
const BROKEN_KERNELS: &[(&str, &str)] = &[
    ("v0 = add v1, v1 : f32", "`v0 = add v1, v1 : f32`: v1 is not assigned before this"),
    (
        "for i1 in 0..2 { v0 = constant 1.0 : f32 } store p2[i0] = v0",
        "`store p2[i0] = v0`: v0 is assigned in a block that does not enclose this",
    ),
    ("v0 = constant 1 : i32 v0 = constant 2 : i32", "`v0 = constant 2 : i32`: v0 is assigned twice"),
    (
        "v0 = constant 1.0 : f32 v1 = constant 2 : i32 v2 = add v0, v1 : f32",
        "`v2 = add v0, v1 : f32`: operands of add differ in type: [F32, I32]",
    ),
    ("v0 = constant 1.0 : f32 v1 = lt v0, v0 : f32", "`v1 = lt v0, v0 : f32`: lt gives bool, not f32"),
    ("v0 = constant 1 : i32 v1 = sqrt v0 : i32", "`v1 = sqrt v0 : i32`: sqrt is not defined for i32"),
    ("v0 = constant 1.0 : f32 v1 = add v0 : f32", "`v1 = add v0 : f32`: add takes 2 operands, not 1"),
    ("v0 = index i0 : f32", "`v0 = index i0 : f32`: an index is an integer, not f32"),
    ("v0 = index i7 : i32", "`v0 = index i7 : i32`: i7 is bound by no loop around this"),
    (
        "v0 = load p0[i0] : f32 v1 = load p0[v0] : f32",
        "`v1 = load p0[v0] : f32`: v0 in an index is f32, not an integer",
    ),
    ("v0 = load p0[i0] : i32", "`v0 = load p0[i0] : i32`: p0 holds f32, not i32"),
    ("v0 = load p9[i0] : f32", "`v0 = load p9[i0] : f32`: p9 is not among the 5 parameters"),
    ("v0 = load p2[i0] : f32", "`v0 = load p2[i0] : f32`: p2 is only written, but loaded from"),
    ("v0 = constant 1.0 : f32 store p0[i0] = v0", "`store p0[i0] = v0`: p0 is only read, but stored to"),
    ("v0 = constant 1 : i32 store p2[i0] = v0", "`store p2[i0] = v0`: p2 holds f32, but v0 is i32"),
    (
        "v0 = load p0[8*i0 + 1] : f32",
        "", // 8 * 7 + 1 = 57
    ),
    (
        "for i1 in 0..9 { v0 = load p0[8*i0 + i1] : f32 }",
        "`v0 = load p0[8*i0 + i1] : f32`: reaches p0[0..=64], but p0 has 64 elements",
    ),
    (
        "v0 = load p0[i0 - 1] : f32",
        "`v0 = load p0[i0 - 1] : f32`: reaches p0[-1..=6], but p0 has 64 elements",
    ),
    (
        "v0 = load p3[i0] : i32 v1 = constant 64 : i32 v2 = max v0, v1 : i32 v3 = load p0[v2] : f32",
        "`v3 = load p0[v2] : f32`: reaches p0[64..=2147483647], but p0 has 64 elements",
    ),
    (
        "v0 = load p0[i0] : f32 v1 = load p0[i0] if v0 : f32",
        "`v1 = load p0[i0] if v0 : f32`: a guard is bool, but v0 is f32",
    ),
    ("v0 = load p0[i0] : f32 if v0 { }", "`if v0 {`: a condition is bool, but v0 is f32"),
    ("for i0 in 0..2 { }", "`for i0 in 0..2 {`: i0 is already bound by the grid or a loop around"),
    (
        "strip i1 in 0..2 { for i2 in 0..2 { strip i3 in 0..2 { } } }",
        "`strip i3 in 0..2 {`: a strip holds values, stores, accumulators and serial loops only",
    ),
    (
        "strip i1 in 0..8 { v0 = load p4[i1] : bool if v0 { } }",
        "`if v0 {`: a strip holds values, stores, accumulators and serial loops only",
    ),
    (
        "strip i1 in 0..8 { tile [1, 1] p2[0] = p0[0] * p0[0] over () : f32 }",
        "`tile [1, 1] p2[0] = p0[0] * p0[0] over () : f32`: \
         a strip holds values, stores, accumulators and serial loops only",
    ),
    (
        "v0 = constant 1.0 : f32 store p2[0] = v0",
        "`store p2[0] = v0`: every iteration of i0 stores the same element of p2",
    ),
    (
        "v0 = constant 1.0 : f32 strip i1 in 0..8 { store p2[i0] = v0 }",
        "`store p2[i0] = v0`: every iteration of i1 stores the same element of p2",
    ),
    (
        "a0 = accumulator add 4 : f32",
        "`a0 = accumulator add 4 : f32`: an accumulator has 1 or 32 lanes, not 4",
    ),
    ("a0 = accumulator add 1 : bool", "`a0 = accumulator add 1 : bool`: add is not defined for bool"),
    ("a0 = accumulator and 1 : f32", "`a0 = accumulator and 1 : f32`: and is not defined for f32"),
    (
        "a0 = accumulator add 1 : f32 for i1 in 0..2 { a0 = accumulator add 1 : f32 }",
        "`a0 = accumulator add 1 : f32`: a0 is declared twice",
    ),
    (
        "strip i1 in 0..8 { a0 = accumulator add 32 : f32 }",
        "`a0 = accumulator add 32 : f32`: an accumulator that belongs to one iteration of a strip has 1 lane",
    ),
    ("v0 = finish a0", "`v0 = finish a0`: a0 is not declared before this"),
    (
        "for i1 in 0..2 { a0 = accumulator add 1 : f32 } v0 = finish a0",
        "`v0 = finish a0`: a0 is declared in a block that does not enclose this",
    ),
    (
        "a0 = accumulator add 32 : f32 strip i1 in 0..8 { v0 = finish a0 }",
        "`v0 = finish a0`: a0 is declared outside the strip, so it is finished outside",
    ),
    (
        "a0 = accumulator add 1 : i32 v0 = constant 1.0 : f32 accumulate a0, v0",
        "`accumulate a0, v0`: accumulator a0 takes i32, but v0 is f32",
    ),
    (
        "tile [8, 8] p1[8*i0] = p0[0] * p0[0] over (8; 1, 8) : f32",
        "`tile [8, 8] p1[8*i0] = p0[0] * p0[0] over (8; 1, 8) : f32`: \
         rows of C, 0 elements apart, overlap: each has 8",
    ),
    (
        "tile [1, 8] p2[8*i0] += p0[0] * p0[0] over (8; 1, 8) : f32",
        "`tile [1, 8] p2[8*i0] += p0[0] * p0[0] over (8; 1, 8) : f32`: p2 is only written, but loaded from",
    ),
    (
        "tile [1, 8] p1[8*i0] = p1[0] * p0[0] over (8; 1, 8) : f32",
        "`tile [1, 8] p1[8*i0] = p1[0] * p0[0] over (8; 1, 8) : f32`: C is p1, which A or B is as well",
    ),
    (
        "tile [1, 8] p1[8*i0] = p0[0] * p0[0; 8] over (8; 1, 8) : f32",
        "`tile [1, 8] p1[8*i0] = p0[0] * p0[0; 8] over (8; 1, 8) : f32`: \
         rows of B follow from the reduction loops, but its row stride is 8",
    ),
    (
        "tile [1, 8] p1[8*i0] = p0[0] * p0[0] over (9; 1, 8) : f32",
        "`tile [1, 8] p1[8*i0] = p0[0] * p0[0] over (9; 1, 8) : f32`: \
         reaches p0[0..=71], but p0 has 64 elements",
    ),
    (
        "tile [1, 8] p1[0] = p0[0] * p0[0] over (8; 1, 8) : f32",
        "`tile [1, 8] p1[0] = p0[0] * p0[0] over (8; 1, 8) : f32`: \
         every iteration of i0 stores the same element of p1",
    ),
    (
        "tile [1, 8] p1[8*i0] = p0[0] * p0[0] over (8; 1, 8) : f64",
        "`tile [1, 8] p1[8*i0] = p0[0] * p0[0] over (8; 1, 8) : f64`: p0 holds f32, not f64",
    ),
    (
        "tile [1, 8] p1[8*i0] = p0[0] * p0[0] over (8; 1, 8) : i32",
        "`tile [1, 8] p1[8*i0] = p0[0] * p0[0] over (8; 1, 8) : i32`: a tile is of f32 or f64, not i32",
    ),
];

#[test]
fn broken_kernels_are_told_apart() {
    for &(body, expected) in BROKEN_KERNELS {
        let expected = if expected.is_empty() { String::new() } else { format!("kernel @k: {expected}") };
        assert_eq!(kernel(body), expected, "{body}");
    }
    assert_eq!(
        kernel_of("", "[1000000000, 1000000000]", ""),
        "kernel @k: the grid [1000000000, 1000000000] has more than 2^40 points"
    );
}

#[test]
fn local_parameters_come_last_and_are_stored_to_first() {
    let store = "v0 = constant 1.0 : f32 store p1[0] = v0 v1 = load p1[0] : f32 store p0[i0] = v1";
    // No point of the grid sees the element that another one stores.
    assert_eq!(kernel_of("p0: write f32[8], p1: local f32[4]", "[8]", store), "");
    let strip = "v0 = constant 1.0 : f32 strip i1 in 0..4 { store p1[0] = v0 }";
    let huge = 1usize << 38;
    let cases = [
        (
            "p0: write f32[8], p1: local f32[4], p2: read f32[8]".to_owned(),
            store,
            "p2 stands behind p1, which is local: local ones come last".to_owned(),
        ),
        (
            "p0: write f32[8], p1: local f32[4]".into(),
            "v0 = load p1[0] : f32 store p1[0] = v0 store p0[i0] = v0",
            "reads the local p1 before it stores to it".into(),
        ),
        (
            "p0: write f32[8], p1: local f32[64], p2: read f32[64]".replace("p2: read", "p2: local"),
            "tile [1, 8] p1[0] = p2[0] * p2[0] over (8; 1, 8) : f32",
            "reads the local p2 before it stores to it".into(),
        ),
        (
            "p0: write f32[8], p1: local f32[4]".into(),
            strip,
            "`store p1[0] = v0`: every iteration of i1 stores the same element of p1".into(),
        ),
        (
            "p0: write f32[8], p1: local f32[4]".into(),
            "v0 = constant 1.0 : f32 store p1[4] = v0",
            "`store p1[4] = v0`: reaches p1[4..=4], but p1 has 4 elements".into(),
        ),
        (
            format!("p0: local f32[{huge}], p1: local f32[4]"),
            "",
            "the local parameters take more than 2^40 bytes together".into(),
        ),
    ];
    for (params, body, expected) in cases {
        assert_eq!(kernel_of(&params, "[8]", body), format!("kernel @k: {expected}"), "{params} {body}");
    }
}

/// Two kernels over the buffers of a small program: copies 16 elements; adds to 16 elements.
const KERNELS: &str = "
kernel @copy(p0: read f32[16], p1: write f32[16]) grid [] {
  strip i0 in 0..16 { v0 = load p0[i0] : f32  store p1[i0] = v0 }
}
kernel @add(p0: read f32[16], p1: readwrite f32[16]) grid [] {
  strip i0 in 0..16 {
    v0 = load p0[i0] : f32  v1 = load p1[i0] : f32  v2 = add v0, v1 : f32  store p1[i0] = v2
  }
}
kernel @flag(p0: read f32[16], p1: write bool[1]) grid [] {
  v0 = load p0[0] : f32  v1 = constant 0.0 : f32  v2 = gt v0, v1 : bool  store p1[0] = v2
}
kernel @columns(p0: read f32[12], p1: write f32[12]) grid [] {
  for i0 in 0..2 { for i1 in 0..4 { v0 = load p0[8*i0 + i1] : f32  store p1[8*i0 + i1] = v0 } }
}
kernel @product(p0: read f32[16], p1: read f32[16], p2: write f32[16]) grid [] {
  tile [4, 4] p2[0; 4] = p0[0; 4] * p1[0] over (4; 1, 4) : f32
}
kernel @turn(p0: read f32[16], p1: write f32[16], p2: local f32[16]) grid [] {
  strip i0 in 0..16 { v0 = load p0[i0] : f32  store p2[i0] = v0 }
  strip i0 in 0..16 { v1 = load p2[-1*i0 + 15] : f32  store p1[i0] = v1 }
}
";

fn program(head: &str, buffers: &str, steps: &str) -> String {
    let text = format!("program @p\n{head}\n{buffers}\n{KERNELS}\n{steps}");
    let program = Program::parse(&text).unwrap_or_else(|e| panic!("{e} in:\n{text}"));
    verify(&program).err().map_or(String::new(), |e| e.to_string())
}

/// A program with two inputs, state, scratch and an output, and that schedule.
fn schedule(steps: &str) -> String {
    let buffers = r#"
      %0 input "x" f32[16]
      %1 input "ids" i32[16] range 0..=9
      %2 state "w" f32[16] updated
      %3 state "frozen" f32[16]
      %4 constant "c" f32[16] splat 1.0
      %5 prepared "packed" f32[16] at 0
      %6 arena "a" f32[16] at 0
      %7 arena "b" f32[32] at 64
      %8 arena "c" f32[16] at 128
      %9 output "y" f32[3, 16]
      %10 input "go" bool[2]
      %11 arena "flag" bool[] at 192
    "#;
    program("arena 256 bytes prepared 64 bytes", buffers, steps)
}

#[test]
fn schedules_that_are_right_are_accepted() {
    for steps in [
        "schedule { call @copy#0(%0, %6) call @copy#0(%6, %9) }",
        // In place: the same buffer, or two at the same bytes.
        "schedule { call @copy#0(%0, %6) call @add#1(%0, %6) call @copy#0(%6, %6) call @copy#0(%6, %2) }",
        "schedule { call @copy#0(%0, %7 + 16) call @copy#0(%7 + 16, %8) call @copy#0(%8, %9 + 32) }",
        "prepare { call @copy#0(%3, %6) call @copy#0(%6, %5) } schedule { call @copy#0(%5, %9) }",
        "schedule { loop 3 { call @copy#0(%0, %9 by [16]) } }",
        // A recurrence reads one row and writes the next.
        "schedule { call @copy#0(%0, %9) loop 2 { call @copy#0(%9 by [16], %9 + 16 by [16]) } }",
        // Conditions: given, moving, computed in each iteration of the loop that they end, nested.
        "schedule { if %10 { call @copy#0(%0, %9) } else { call @copy#0(%2, %9) } call @copy#0(%9, %2) }",
        "schedule { loop 2 { if %10 + 1 by [-1] { call @copy#0(%0, %2) } } }",
        "schedule { loop 9 { call @flag#2(%2, %11) break unless %11 if %10 { break unless %11 } } }",
        // Written before the loop is left, and in both branches.
        "schedule { loop 9 { call @copy#0(%0, %6) break unless %10 call @add#1(%0, %6) } call @copy#0(%6, %9) }",
        // Nothing is passed for what is local.
        "schedule { call @turn#5(%0, %6) call @turn#5(%6, %9) }",
        // Two halves of the rows of one buffer, interleaved.
        "schedule { call @columns#3(%0 + 4, %6 + 4) call @columns#3(%6 + 4, %6) }",
    ] {
        assert_eq!(schedule(steps), "", "{steps}");
    }
}

/// Steps, and what is wrong with them.
const BROKEN_SCHEDULES: &[(&str, &str)] = &[
    ("schedule { call @copy#0(%0) }", "call 0 of @copy#0: expected 2 arguments, found 1"),
    ("schedule { call @copy#0(%0, %42) }", "call 0 of @copy#0: p1 is given %42, but there are 12 buffers"),
    (
        "schedule { call @copy#0(%0, %6) parallel }",
        "call 0 of @copy#0: to be parallel it needs several grid points, and it has 1",
    ),
    ("schedule { call @\"\"#9() }", "call 0 of @\"\"#9: no kernel has this number: there are 6"),
    (
        "schedule { call @turn#5(%0, %6, %8) }",
        "call 0 of @turn#5: expected 2 arguments (none for the 1 local parameters), found 3",
    ),
    ("schedule { call @copy#0(%1, %6) }", "call 0 of @copy#0: p0 is of f32, but %1 is i32[16]"),
    (
        "schedule { call @copy#0(%0 + 1, %6)   // fc1/backward\n }",
        "call 0 of @copy#0 (fc1/backward): p0 takes elements 1..17 of %0, which is f32[16]",
    ),
    (
        "schedule { loop 4 { call @copy#0(%0, %9 by [16]) } }",
        "call 0.0 of @copy#0: p1 takes elements 0..64 of %9, which is f32[3, 16]",
    ),
    (
        "schedule { loop 2 { call @copy#0(%0, %9 by [-16]) } }",
        "call 0.0 of @copy#0: p1 takes elements -16..16 of %9, which is f32[3, 16]",
    ),
    (
        "schedule { call @copy#0(%0, %9 by [16]) }",
        "call 0 of @copy#0: p1 is given 1 strides, but 0 loops are around it",
    ),
    ("schedule { call @copy#0(%2, %0) }", "call 0 of @copy#0: p1 writes %0 \"x\", an input"),
    ("schedule { call @copy#0(%2, %4) }", "call 0 of @copy#0: p1 writes %4 \"c\", a constant"),
    (
        "schedule { call @copy#0(%2, %3) }",
        "call 0 of @copy#0: p1 writes %3 \"frozen\", state that is not said to be updated",
    ),
    (
        "schedule { call @copy#0(%2, %5) }",
        "call 0 of @copy#0: p1 writes %5 \"packed\", which only prepare writes",
    ),
    (
        "prepare { call @copy#0(%0, %5) } schedule { }",
        "call 0 of @copy#0: p0 reads %0 \"x\", but prepare touches neither inputs nor outputs",
    ),
    (
        "prepare { call @copy#0(%3, %2) } schedule { }",
        "call 0 of @copy#0: p1 writes %2 \"w\", but prepare does not change state",
    ),
    (
        "schedule { call @copy#0(%7, %7 + 8) }",
        "call 0 of @copy#0: p0 (%7) and p1 (%7 + 8) overlap and are no update in place \
         (same first byte, one only read, by no tile)",
    ),
    (
        "schedule { call @copy#0(%7 + 8, %8) }",
        "call 0 of @copy#0: p0 (%7 + 8) and p1 (%8) overlap and are no update in place \
         (same first byte, one only read, by no tile)",
    ),
    (
        "schedule { loop 2 { call @copy#0(%7, %7 + 16 by [-8]) } }",
        "call 0.0 of @copy#0: p0 (%7) and p1 (%7 + 16 by [-8]) overlap and are no update in place \
         (same first byte, one only read, by no tile)",
    ),
    (
        "schedule { call @columns#3(%7, %7 + 2) }",
        "call 0 of @columns#3: p0 (%7) and p1 (%7 + 2) overlap and are no update in place \
         (same first byte, one only read, by no tile)",
    ),
    (
        "schedule { call @product#4(%2, %3, %2) }",
        "call 0 of @product#4: p0 (%2) and p2 (%2) overlap and are no update in place \
         (same first byte, one only read, by no tile)",
    ),
    ("schedule { call @copy#0(%6, %9) }", "call 0 of @copy#0: p0 reads %6 \"a\", which nothing has written"),
    (
        "schedule { call @copy#0(%5, %9) }",
        "call 0 of @copy#0: p0 reads %5 \"packed\", which nothing has written",
    ),
    ("schedule { call @add#1(%0, %9) }", "call 0 of @add#1: p1 reads %9 \"y\", which nothing has written"),
    (
        "schedule { call @copy#0(%0, %7 + 16) call @copy#0(%0, %8) call @copy#0(%7 + 16, %9) }",
        "call 2 of @copy#0: p0 reads %7 \"b\", but %8 \"c\" has been written to the same bytes",
    ),
    ("schedule { if %0 { } }", "if 0: the condition is of bool, but %0 is f32[16]"),
    ("schedule { if %10 + 2 { } }", "if 0: the condition takes elements 2..3 of %10, which is bool[2]"),
    ("schedule { if %11 { } }", "if 0: the condition reads %11 \"flag\", which nothing has written"),
    ("schedule { if %10 { break unless %10 } }", "break 0.0.0: is in no loop"),
    (
        "schedule { loop 2 { break unless %11 call @flag#2(%0, %11) } }",
        "break 0.0: the condition reads %11 \"flag\", which nothing has written",
    ),
    (
        "prepare { if %10 { } } schedule { }",
        "if 0: the condition reads %10 \"go\", but prepare touches neither inputs nor outputs",
    ),
    (
        "schedule { if %10 { call @copy#0(%0, %6) } call @copy#0(%6, %9) }",
        "call 1 of @copy#0: p0 reads %6 \"a\", which nothing has written",
    ),
    (
        "schedule { loop 9 { break unless %10 call @copy#0(%0, %6) } call @copy#0(%6, %9) }",
        "call 1 of @copy#0: p0 reads %6 \"a\", which nothing has written",
    ),
    (
        "schedule { call @copy#0(%0, %7) if %10 { } else { call @copy#0(%0, %8) } call @copy#0(%7, %9) }",
        "call 2 of @copy#0: p0 reads %7 \"b\", but %8 \"c\" has been written to the same bytes",
    ),
    (
        "schedule { call @copy#0(%0, %7) loop 2 { call @copy#0(%7, %9) call @copy#0(%0, %8) } }",
        "call 1.0 of @copy#0: p0 reads %7 \"b\", but %8 \"c\" has been written to the same bytes",
    ),
];

#[test]
fn broken_schedules_are_told_apart() {
    for &(steps, expected) in BROKEN_SCHEDULES {
        let section = if steps.starts_with("prepare") { "prepare" } else { "schedule" };
        assert_eq!(schedule(steps), format!("{section}, {expected}"), "{steps}");
    }
}

#[test]
fn broken_buffers_are_told_apart() {
    let cases = [
        (
            "",
            "%0 input \"x\" f32[1] %1 input \"x\" f32[1]",
            "%1 \"x\": another buffer in the same place has this name",
        ),
        ("", "%0 input \"x\" f32[1] range 0..=1", "%0 \"x\": bounds are for integers, but elements are f32"),
        ("", "%0 input \"x\" i32[1] range 1..=0", "%0 \"x\": the bounds 1..=0 hold no integer"),
        ("arena 64 bytes", "%0 arena \"a\" f32[1]", "%0 \"a\": has no offset, but 64 bytes are planned"),
        ("arena 64 bytes", "%0 arena \"a\" f32[1] at 4", "%0 \"a\": offset 4 is not a multiple of 64"),
        (
            "arena 64 bytes",
            "%0 arena \"a\" f32[1] at 64",
            "%0 \"a\": 4 bytes at 64 do not lie in the 64 planned bytes",
        ),
        (
            "prepared 64 bytes",
            "%0 prepared \"a\" f32[17] at 0",
            "%0 \"a\": 68 bytes at 0 do not lie in the 64 planned bytes",
        ),
        (
            "",
            "%0 input \"a\" f32[8] panels [1, 1, 2, 4] of 2 x 4",
            "%0 \"a\": what is given or constant lies row-major, and has no panels",
        ),
        (
            "",
            "%0 arena \"a\" f32[8] panels [1, 1, 2, 4] of 2 x 0",
            "%0 \"a\": blocks of panels need terms and columns, found panels [1, 1, 2, 4] of 2 x 0",
        ),
        (
            "",
            "%0 prepared \"a\" bf16[2, 4] panels [1, 1, 2, 4] of 2 x 4",
            "%0 \"a\": expected bf16[8], which these panels take, found bf16[2, 4]",
        ),
        (
            "",
            "%0 arena \"a\" f32[192] panels [1, 3, 8, 8] of 8 x 8 by lines of 16",
            "%0 \"a\": expected f32[240], which these panels take, found f32[192]",
        ),
        (
            "",
            "%0 arena \"a\" f32[0] panels [1099511627776, 1099511627776, 1099511627776, 3] of 1 x 1",
            "%0 \"a\": expected f32[18446744073709551615], which these panels take, found f32[0]",
        ),
    ];
    for (head, buffers, expected) in cases {
        assert_eq!(program(head, buffers, "schedule { }"), format!("buffer {expected}"));
    }
    assert_eq!(program("", "%0 input \"x\" f32[1] %1 output \"x\" f32[1]", "schedule { }"), "");
}

#[test]
fn hostile_nesting_is_an_error() {
    use brolga_ir::program::{Step, Stmt};
    let mut body = Vec::new();
    for var in 0..200 {
        body = vec![Stmt::For { var, extent: 2, body }];
    }
    let kernel = Kernel { name: "k".into(), params: vec![], grid: vec![], body };
    let error = verify_kernel(&kernel).unwrap_err();
    assert_eq!(error.message, "statements nest deeper than 64");

    let mut schedule = Vec::new();
    for _ in 0..200 {
        schedule = vec![Step::Loop { extent: 2, body: schedule }];
    }
    let error = verify(&Program { schedule, ..Program::default() }).unwrap_err();
    assert_eq!(error.to_string(), "schedule: loops and conditions nest deeper than 64");
}

/// Whether a kernel is proven that is called with its parameters on buffers of their own, or all on one.
fn is_proven(params: &str, grid: &str, body: &str, buffers: &str, args: &str) -> bool {
    let text = format!(
        "program @f\n{buffers}\nkernel @k({params}) grid {grid} {{\n{body}\n}}\nschedule {{\n  call @k#0({args})\n}}\n"
    );
    let program = Program::parse(&text).unwrap_or_else(|e| panic!("{e} in:\n{text}"));
    proven(&program).unwrap_or_else(|e| panic!("{e} in:\n{text}"))[0]
}

#[test]
fn what_stays_inside_in_any_order_is_proven() {
    let alone = |grid: &str, body: &str| {
        is_proven(
            "p0: read f32[64], p1: readwrite f32[64], p2: read i32[8], p3: read bool[8]",
            grid,
            body,
            "%0 input \"x\" f32[64]\n%1 state \"y\" f32[64] updated\n%2 input \"i\" i32[8]\n%3 input \"m\" bool[8]",
            "%0, %1, %2, %3",
        )
    };
    for (grid, body) in [
        ("[8]", "strip i1 in 0..8 { v0 = load p0[8*i0 + i1] : f32 store p1[8*i0 + i1] = v0 }"),
        // Rows the other way round.
        ("[8]", "strip i1 in 0..8 { v0 = load p0[i1] : f32 store p1[i1 - 8*i0 + 56] = v0 }"),
        (
            "[2, 4]",
            "for i2 in 0..8 { v0 = load p1[32*i0 + 8*i1 + i2] : f32 store p1[32*i0 + 8*i1 + i2] = v0 }",
        ),
        // A copy that transposes, each strip one of eight columns …
        ("[8]", "strip i1 in 0..8 { v0 = load p0[i0 + 8*i1] : f32 store p1[8*i0 + i1] = v0 }"),
        // Quotients and remainders of variables have bounds.
        ("[]", "strip i0 in 0..64 { v0 = load p0[8*(i0 / 8) + (i0 % 8)] : f32 store p1[i0] = v0 }"),
        // Not reached at all.
        ("[0]", "v0 = load p0[i0 + 99] : f32"),
        ("[4]", "tile [2, 8] p1[16*i0; 8] += p0[16*i0; 4] * p0[0] over (4; 1, 8) : f32"),
    ] {
        assert!(alone(grid, body), "{body}");
    }
    for (grid, body) in [
        // Outside, were it not for a guard or a condition; an index that was computed, if only from a constant.
        ("[8]", "v0 = load p3[i0] : bool v1 = load p0[i0 + 60] if v0 : f32 store p1[i0] = v1"),
        ("[8]", "v0 = load p3[i0] : bool if v0 { v1 = load p0[i0 + 60] : f32 }"),
        ("[8]", "v0 = load p2[i0] : i32 v1 = load p0[v0] : f32"),
        ("[8]", "v0 = constant 3 : i32 v1 = load p0[v0] : f32"),
        ("[8]", "v0 = constant 1.0 : f32 v1 = load p2[i0] : i32 store p1[v1] = v0"),
        // Two points, or iterations, for one element.
        ("[8]", "v0 = constant 1.0 : f32 store p1[(i0 / 2)] = v0"),
        ("[8]", "strip i1 in 0..8 { v0 = constant 1.0 : f32 store p1[i0 + i1] = v0 }"),
        ("[8]", "for i1 in 0..9 { v0 = constant 1.0 : f32 store p1[7*i0 + i1] = v0 }"),
        ("[]", "strip i0 in 0..8 { for i1 in 0..3 { v0 = constant 1.0 : f32 store p1[2*i0 + i1] = v0 } }"),
        // … and all of them in one strip: iterations are independent, but do not keep to a slice each.
        (
            "[]",
            "strip i1 in 0..8 { for i0 in 0..8 { v0 = load p0[i0 + 8*i1] : f32 store p1[8*i0 + i1] = v0 } }",
        ),
        ("[8]", "v0 = load p1[7 - i0] : f32 store p1[i0] = v0"),
        ("[]", "strip i0 in 0..8 { v0 = load p1[i0 + 1] : f32 store p1[i0] = v0 }"),
        ("[4]", "tile [2, 8] p1[8*i0; 8] += p0[16*i0; 4] * p0[0] over (4; 1, 8) : f32"),
    ] {
        assert!(!alone(grid, body), "{body}");
    }
    let in_place = |body: &str| {
        let buffers = "%0 state \"y\" f32[64] updated";
        is_proven("p0: read f32[64], p1: write f32[64]", "[]", body, buffers, "%0, %0")
    };
    assert!(in_place("strip i0 in 0..64 { v0 = load p0[i0] : f32 store p1[i0] = v0 }"));
    assert!(!in_place("strip i0 in 0..64 { v0 = load p0[63 - i0] : f32 store p1[i0] = v0 }"));
    let local = "v0 = load p0[i0] : f32 store p2[0] = v0 v1 = load p2[0] : f32 store p1[i0] = v1";
    let buffers = "%0 input \"x\" f32[64]\n%1 output \"y\" f32[64]";
    let params = "p0: read f32[64], p1: write f32[64], p2: local f32[4]";
    assert!(!is_proven(params, "[64]", local, buffers, "%0, %1"));
}
