//! Loop nests against the interpreter: random ones, and some by hand.

use brolga_ir::generate::kernels::nests;
use brolga_ir::program::Program;

use crate::common::{self, Rng, Values, check_program, check_seeds, many};

#[test]
fn random_nests() {
    check_seeds(0..200, nests);
}

/// The cases above are only worth something if most of them are leaves with loops around strips.
#[test]
#[cfg(target_arch = "x86_64")]
fn many_nests_are_leaves() {
    let leaf = (0..100).filter(|&seed| {
        let program = common::program(&nests(seed));
        leaves(&program).iter().any(|name| name.contains("nest"))
    });
    let leaf = leaf.count();
    assert!(leaf > 60, "{leaf} of 100");
}

/// `BROLGA_CASES` of them; for long runs by hand.
#[test]
#[ignore = "takes as long as asked for"]
fn many_random_nests() {
    check_seeds(many(), nests);
}

/// A kernel in text form, whose parameters are state.
fn parsed(text: &str, params: &[(&str, usize)]) -> Program {
    let mut program = String::from("program @test\n");
    for (i, (dtype, len)) in params.iter().enumerate() {
        program += &format!("  %{i} state \"p{i}\" {dtype}[{len}] updated\n");
    }
    let args: Vec<String> = (0..params.len()).map(|i| format!("%{i}")).collect();
    program += text;
    program += &format!("schedule {{\n  call @k#0({})\n}}\n", args.join(", "));
    Program::parse(&program).unwrap_or_else(|e| panic!("{e}\n{program}"))
}

fn check_text(text: &str, params: &[(&str, usize)]) -> Program {
    let program = parsed(text, params);
    let mut random = Rng(3);
    let state: Vec<_> = program.buffers.iter().map(|b| random.tensor(b.ty.dtype, b.ty.elements())).collect();
    check_program(&program, &[], &state);
    program
}

/// Names of the leaves.
#[cfg(target_arch = "x86_64")]
fn leaves(program: &Program) -> Vec<String> {
    let options = brolga_codegen::Options::from(brolga_codegen::TargetCpu::X86_64V3);
    let list = brolga_codegen::listing(program, &options).unwrap();
    list.into_iter().filter(|function| function.name.contains("_leaf")).map(|f| f.name).collect()
}

/// Bias and rectifier over the rows of an image with its channels last: one leaf.
#[test]
fn an_epilogue_is_one_leaf() {
    let program = check_text(
        "kernel @k(p0: readwrite f32[20000], p1: read f32[64]) grid [] {
  v9 = constant 0.0 : f32
  for i0 in 0..12 {
    for i1 in 0..13 {
      strip i2 in 0..64 {
        v0 = load p0[1600*i0 + 100*i1 + i2] : f32
        v1 = load p1[i2] : f32
        v2 = add v0, v1 : f32
        v3 = max v2, v9 : f32
        store p0[1600*i0 + 100*i1 + i2] = v3
      }
    }
  }
}
",
        &[("f32", 20000), ("f32", 64)],
    );
    #[cfg(target_arch = "x86_64")]
    assert_eq!(leaves(&program), ["test_leaf0_nest_12_13_64"]);
    let _ = program;
}

/// Softmax of rows: reductions, values from them, further strips, all in one leaf.
#[test]
fn rows_of_softmax_are_one_leaf() {
    for n in [1, 5, 8, 10, 33, 64, 100, 300] {
        let len = 7 * n;
        let text = format!(
            "kernel @k(p0: read f32[{len}], p1: write f32[{len}], p2: write f32[7]) grid [] {{
  for i0 in 0..7 {{
    a0 = accumulator max 32 : f32
    strip i1 in 0..{n} {{
      v0 = load p0[{n}*i0 + i1] : f32
      accumulate a0, v0
    }}
    v3 = finish a0
    a1 = accumulator add 32 : f32
    strip i2 in 0..{n} {{
      v4 = load p0[{n}*i0 + i2] : f32
      v7 = sub v4, v3 : f32
      v8 = exp v7 : f32
      accumulate a1, v8
    }}
    v13 = finish a1
    store p2[i0] = v13
    strip i3 in 0..{n} {{
      v14 = load p0[{n}*i0 + i3] : f32
      v15 = sub v14, v3 : f32
      v16 = exp v15 : f32
      v17 = div v16, v13 : f32
      store p1[{n}*i0 + i3] = v17
    }}
  }}
}}
"
        );
        let program = check_text(&text, &[("f32", len), ("f32", len), ("f32", 7)]);
        #[cfg(target_arch = "x86_64")]
        assert_eq!(leaves(&program).len(), 1);
        let _ = program;
    }
}

/// A product in blocks, each followed by what becomes of its rows: tiles and strips in one leaf, a value across tiles.
#[test]
fn tiles_with_epilogues_are_one_leaf() {
    let program = check_text(
        "kernel @k(p0: read f32[480], p1: read f32[800], p2: readwrite f32[960], p3: read f32[40]) grid [] {
  for i0 in 0..4 {
    v5 = load p3[3*i0 + 1] : f32
    for i1 in 0..2 {
      tile [6, 20] p2[240*i0 + 20*i1; 40] = p0[120*i0; 20] * p1[20*i1] over (20; 1, 40) : f32
      for i2 in 0..6 {
        strip i3 in 0..20 {
          v0 = load p2[240*i0 + 20*i1 + 40*i2 + i3] : f32
          v1 = load p3[20*i1 + i3] : f32
          v2 = add v0, v1 : f32
          v3 = tanh v2 : f32
          v4 = mul v3, v5 : f32
          store p2[240*i0 + 20*i1 + 40*i2 + i3] = v4
        }
      }
    }
  }
}
",
        &[("f32", 480), ("f32", 800), ("f32", 960), ("f32", 40)],
    );
    #[cfg(target_arch = "x86_64")]
    assert_eq!(leaves(&program).len(), 1);
    let _ = program;
}

/// Distances beyond what instructions hold, in loops of one iteration and in dead ones.
#[test]
fn huge_strides() {
    for (a, b) in [(1i64 << 28, 1), (1 << 29, 3), (1 << 31, 7), (1 << 33, 2), (-(1 << 30), 5), (1 << 39, 1)] {
        let text = format!(
            "kernel @k(p0: read f32[600], p1: write f32[600]) grid [] {{
  for i0 in 0..3 {{
    for i1 in 0..1 {{
      strip i2 in 0..19 {{
        v0 = load p0[20*i0 + {b}*i2 + {a}*i1] : f32
        store p1[20*i0 + i2 + {a}*i1] = v0
      }}
    }}
    for i3 in 0..0 {{
      strip i4 in 0..9 {{
        v1 = load p0[{a}*i3 + i4] : f32
        store p1[{a}*i3 + i4] = v1
      }}
    }}
    strip i5 in 0..1 {{
      v2 = load p0[i0 + {a}*i5] : f32
      store p1[60*i0 + {a}*i5 + 80] = v2
    }}
  }}
}}
"
        );
        check_text(&text.replace("+ -", "- "), &[("f32", 600), ("f32", 600)]);
    }
}

/// The image that a padded convolution reads: short strips around longer ones, of all lengths.
#[test]
fn strips_of_all_lengths() {
    for n in 1..=40 {
        let row = n + 5;
        let len = 6 * row;
        for dtype in ["f32", "i32", "u8", "bool"] {
            let zero = if dtype == "f32" {
                "0.0"
            } else if dtype == "bool" {
                "false"
            } else {
                "0"
            };
            let text = format!(
                "kernel @k(p0: read {dtype}[{len}], p1: write {dtype}[{len}]) grid [] {{
  v9 = constant {zero} : {dtype}
  for i0 in 0..6 {{
    strip i1 in 0..2 {{
      store p1[{row}*i0 + i1] = v9
    }}
    strip i2 in 0..{n} {{
      v0 = load p0[{row}*i0 + i2 + 1] : {dtype}
      store p1[{row}*i0 + i2 + 2] = v0
    }}
    strip i3 in 0..3 {{
      store p1[{row}*i0 - i3 + {}] = v9
    }}
  }}
}}
",
                row - 1
            );
            check_text(&text, &[(dtype, len), (dtype, len)]);
        }
    }
}
