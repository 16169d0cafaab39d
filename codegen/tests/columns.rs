//! Columns of matrices: what strips load and store some stride apart, alone and next to each other, and the copies that
//! transpose. Every input ends where memory ends, or begins where it begins.

#![cfg(all(unix, target_arch = "x86_64"))]

use std::sync::Arc;

use crate::common::{
    Rng, Values, check_program, compile, compile_emulated, encodings, from_runtime, targets, to_runtime,
};
use brolga_codegen::emulate::leaves;
use brolga_codegen::{Compiled, Options, TargetCpu, listing};
use brolga_ir::program::{Program, interpret};
use brolga_ir::{DType, Tensor};
use brolga_runtime as rt;

/// Memory between pages that cannot be touched.
struct Guarded {
    start: *mut u8,
    page: usize,
    inside: usize,
}

impl Guarded {
    fn new(bytes: usize) -> Guarded {
        // SAFETY: asks the system for a number, and for memory of its choice that nothing else has.
        unsafe {
            let page = libc::sysconf(libc::_SC_PAGESIZE) as usize;
            let inside = bytes.next_multiple_of(page);
            let (all, kind) = (inside + 2 * page, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
            let start = libc::mmap(std::ptr::null_mut(), all, libc::PROT_NONE, kind, -1, 0);
            assert_ne!(start, libc::MAP_FAILED);
            let start = start.cast::<u8>();
            let done = libc::mprotect(start.add(page).cast(), inside, libc::PROT_READ | libc::PROT_WRITE);
            assert_eq!(done, 0);
            Guarded { start, page, inside }
        }
    }

    /// The bytes, at the end of the memory or at its beginning.
    fn hold(&mut self, bytes: &[u8], at_end: bool) -> &[u8] {
        let skip = if at_end { self.inside - bytes.len() } else { 0 };
        // SAFETY: between the guards, mapped for as long as this lives, and borrowed from it alone.
        let held = unsafe { std::slice::from_raw_parts_mut(self.start.add(self.page + skip), bytes.len()) };
        held.copy_from_slice(bytes);
        held
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        // SAFETY: what `new` mapped; nobody has it any more.
        unsafe { libc::munmap(self.start.cast(), self.inside + 2 * self.page) };
    }
}

/// One kernel, from an input to a state of the same type.
struct Case {
    program: Program,
    input: Tensor,
    state: Tensor,
}

impl Case {
    fn new(dtype: DType, (from, to): (usize, usize), body: &str) -> Case {
        let text = format!(
            "program @test
  %0 input \"x\" {dtype}[{from}]
  %1 state \"y\" {dtype}[{to}] updated
kernel @k#0(p0: read {dtype}[{from}], p1: write {dtype}[{to}]) grid [] {{
{body}}}
schedule {{
  call @k#0(%0, %1)
}}
"
        );
        let text = text.replace("+ -", "- ");
        let program = Program::parse(&text).unwrap_or_else(|e| panic!("{e}\n{text}"));
        let mut random = Rng(from as u64);
        Case { program, input: random.tensor(dtype, from), state: random.tensor(dtype, to) }
    }

    /// Compares all targets with the interpreter, with guards around the input.
    fn check(&self) {
        let mut expected = vec![self.state.clone()];
        interpret::run(&self.program, std::slice::from_ref(&self.input), &mut expected)
            .unwrap_or_else(|e| panic!("not a valid program: {e}\n{}", self.program));
        for target_cpu in [TargetCpu::X86_64V3, TargetCpu::X86_64V4] {
            leaves(&self.program, &Options::from(target_cpu))
                .unwrap()
                .iter()
                .for_each(|leaf| encodings::check(leaf));
        }
        let input = to_runtime(&self.input);
        let mut guarded = Guarded::new(input.bytes().len());
        for at_end in [true, false] {
            let input = guarded.hold(input.bytes(), at_end);
            let native = targets().into_iter().map(|cpu| compile(&self.program, &Options::from(cpu)));
            let emulated = compile_emulated(&self.program, &Options::from(TargetCpu::X86_64V4));
            for compiled in native.chain([emulated]) {
                let after = self.run(compiled.unwrap(), input);
                for i in 0..after.elements() {
                    let (got, want) = (after.get(i), expected[0].get(i));
                    assert!(got.same(want), "{i}: {got:?}, not {want:?}, in\n{}", self.program);
                }
            }
        }
    }

    fn run(&self, compiled: Compiled, input: &[u8]) -> Tensor {
        let executable = Arc::new(compiled.executable);
        let mut state = rt::State::new();
        state.insert("y", rt::SlotKind::Buffer, to_runtime(&self.state)).unwrap();
        let threads = rt::Threads::new(1).unwrap();
        let mut instance = rt::Instance::bind(executable, &state, &threads).unwrap();
        let dims = [self.input.elements()];
        let dtype = to_runtime(&self.input).dtype();
        let input = rt::TensorRef::new(dtype, &dims, input).unwrap();
        instance.run(&mut state, &[input], &mut []).unwrap();
        from_runtime(state.get("y").unwrap())
    }

    /// How often instructions occur in the kernel's leaf.
    fn count<const N: usize>(&self, mnemonics: [&str; N]) -> [usize; N] {
        let list = listing(&self.program, &Options::from(TargetCpu::X86_64V3)).unwrap();
        let leaves: Vec<_> = list.iter().filter(|function| function.name.contains("_leaf")).collect();
        assert_eq!(leaves.len(), 1, "{}", self.program);
        mnemonics.map(|mnemonic| {
            leaves[0].assembly.lines().filter(|line| line.split_whitespace().nth(1) == Some(mnemonic)).count()
        })
    }
}

/// Strips that are written out, with and without a last step of few iterations, and strips that are loops.
fn lengths() -> impl Iterator<Item = usize> {
    (1..=40).chain([71, 100, 300])
}

#[test]
fn loads_of_all_strides_and_lengths() {
    for n in lengths() {
        let len = 20 * (n - 1) + 3;
        let mut body = String::new();
        for (at, stride) in (1..=20i64).flat_map(|stride| [stride, -stride]).enumerate() {
            // The first ones begin, or end, where the input does; the others end, or begin, there.
            let reach = stride.unsigned_abs() as usize * (n - 1);
            let first = if stride % 3 == 0 { 0 } else { len - 1 - reach };
            let first = if stride < 0 { first + reach } else { first };
            let (var, to) = (at + 1, at * n);
            body += &format!(
                "  strip i{var} in 0..{n} {{
    v{at} = load p0[{stride}*i{var} + {first}] : f32
    store p1[i{var} + {to}] = v{at}
  }}
"
            );
        }
        let dtype = if n % 2 == 0 { DType::F32 } else { DType::I32 };
        Case::new(dtype, (len, 40 * n), &body.replace("f32", dtype.name())).check();
    }
}

/// The numbers below `n` in some order.
fn shuffled(n: usize, random: &mut Rng) -> Vec<usize> {
    let mut left: Vec<usize> = (0..n).collect();
    (0..n).map(|_| left.remove(random.below(left.len()))).collect()
}

/// Columns in any order, from a matrix or to one, each with a place of its own on the other side.
#[test]
fn neighbouring_columns_of_all_numbers() {
    let mut random = Rng(5);
    for columns in 1..=13 {
        for n in [1, 2, 3, 4, 5, 7, 8, 9, 12, 13, 16, 17, 24, 31, 40, 100] {
            let stride = columns + n % 3;
            let len = stride * (n - 1) + columns;
            let [mut load, mut store, mut gather, mut scatter] = [const { String::new() }; 4];
            for (i, column) in shuffled(columns, &mut random).into_iter().enumerate() {
                load += &format!("    v{i} = load p0[{stride}*i0 + {column}] : f32\n");
                store += &format!("    store p1[i0 + {}] = v{i}\n", n * i);
                gather += &format!("    v{i} = load p0[i0 + {}] : f32\n", n * i);
                scatter += &format!("    store p1[{stride}*i0 + {column}] = v{i}\n");
            }
            for (body, lens) in [(load + &store, (len, columns * n)), (gather + &scatter, (columns * n, len))]
            {
                let case = Case::new(DType::F32, lens, &format!("  strip i0 in 0..{n} {{\n{body}  }}\n"));
                assert_eq!(case.count(["vgatherdps"]), [0]);
                case.check();
            }
        }
    }
}

/// Loops over columns around strips, with a loop between them and with columns that go backwards.
#[test]
fn copies_that_transpose() {
    for (rows, columns) in (1..=24).flat_map(|n| [(n, 7 * n % 29 + 1), (7 * n % 29 + 1, n), (16, n)]) {
        let len = rows * columns;
        let copy = |from: &str, to: &str| {
            format!(
                "  for i0 in 0..{columns} {{
    strip i1 in 0..{rows} {{
      v0 = load p0[{from}] : f32
      store p1[{to}] = v0
    }}
  }}
"
            )
        };
        let (matrix, transposed) = (format!("i0 + {columns}*i1"), format!("{rows}*i0 + i1"));
        let reversed = format!("{columns}*i1 - i0 + {}", columns - 1);
        for (from, to) in [(&matrix, &transposed), (&reversed, &transposed), (&transposed, &matrix)] {
            let case = Case::new(DType::F32, (len, len), &copy(from, to));
            assert_eq!(case.count(["vgatherdps"]), [0]);
            case.check();
        }
        let between = format!(
            "  for i0 in 0..{columns} {{
    for i1 in 0..3 {{
      strip i2 in 0..{rows} {{
        v0 = load p0[i0 + {columns}*i1 + {}*i2] : f32
        store p1[{rows}*i0 + {len}*i1 + i2] = v0
      }}
    }}
  }}
",
            3 * columns
        );
        Case::new(DType::F32, (3 * len, 3 * len), &between).check();
    }
}

/// Loops over columns that store to some elements several times: the last iteration is the one that counts, so they must not
/// run together.
#[test]
fn iterations_that_store_the_same_elements_keep_their_order() {
    for rows in [7, 24, 40, 100] {
        // Each column is stored one element further than the one before.
        let diagonal = format!(
            "  for i0 in 0..16 {{
    strip i1 in 0..{rows} {{
      v0 = load p0[i0 + 16*i1] : f32
      store p1[i0 + i1] = v0
    }}
  }}
"
        );
        // The loop over columns, and one inside of it, lead to the same places.
        let between = format!(
            "  for i0 in 0..16 {{
    for i1 in 0..3 {{
      strip i2 in 0..{rows} {{
        v0 = load p0[i0 + 16*i1 + 48*i2] : f32
        store p1[{rows}*i0 + {rows}*i1 + i2] = v0
      }}
    }}
  }}
"
        );
        for (body, lens) in [(diagonal, (16 * rows, rows + 15)), (between, (48 * rows, 18 * rows))] {
            let case = Case::new(DType::F32, lens, &body);
            assert_eq!(case.count(["vunpcklps", "vunpckhps"]), [0, 0]);
            case.check();
        }
    }
}

/// Four columns of eight rows take eight loads of rows, in halves, and eight shuffles.
#[test]
fn transposes_are_in_registers() {
    let count = |columns: usize, rows: usize, from: &str, to: &str| {
        let body = format!(
            "  for i0 in 0..{columns} {{
    strip i1 in 0..{rows} {{
      v0 = load p0[{from}] : f32
      store p1[{to}] = v0
    }}
  }}
"
        );
        let unpack = ["vunpcklps", "vunpckhps", "vunpcklpd", "vunpckhpd"];
        let case = Case::new(DType::F32, (1024, 1024), &body);
        (case.count(unpack), case.count(["vinsertf128", "vextractf128", "vinsertps"]))
    };
    // Sixteen columns of sixteen rows in each iteration of a loop.
    assert_eq!(count(64, 16, "i0 + 64*i1", "16*i0 + i1"), ([16; 4], [32, 0, 0]));
    assert_eq!(count(64, 16, "16*i0 + i1", "i0 + 64*i1"), ([16; 4], [0, 32, 0]));
    // All nine columns, the last one alone.
    assert_eq!(count(9, 8, "i0 + 9*i1", "8*i0 + i1"), ([4; 4], [9, 0, 6]));
}

/// Kernels of 3 x 3 weights, lanes being outputs: sums along both axes.
#[test]
fn nine_taps_of_many_outputs() {
    let (outputs, inputs) = (48, 5);
    let mut body = String::new();
    for tap in 0..9 {
        body += &format!("      v{tap} = load p0[9*i0 + {}*i1 + {tap}] : f32\n", 9 * inputs);
    }
    for (to, (a, b, c)) in
        [(0, 3, 6), (1, 4, 7), (2, 5, 8), (0, 1, 2), (3, 4, 5), (6, 7, 8)].into_iter().enumerate()
    {
        let (v, w) = (9 + 2 * to, 10 + 2 * to);
        body += &format!("      v{v} = sub v{a}, v{c} : f32\n      v{w} = fma v{b}, v{b}, v{v} : f32\n");
        body += &format!("      store p1[{outputs}*i0 + i1 + {}] = v{w}\n", to * outputs * inputs);
    }
    let body = format!("  for i0 in 0..{inputs} {{\n    strip i1 in 0..{outputs} {{\n{body}    }}\n  }}\n");
    let case = Case::new(DType::F32, (9 * inputs * outputs, 6 * inputs * outputs), &body);
    assert_eq!(case.count(["vgatherdps"]), [0]);
    case.check();
}

/// An update in place: each iteration stores what it loads. And a parameter that is loaded and stored: loads stay where
/// they are.
#[test]
fn columns_in_place() {
    for n in [3, 8, 13, 40] {
        let len = 5 * n;
        let (mut update, mut chain) = (String::new(), String::new());
        for i in 0..5 {
            update +=
                &format!("    v{i} = load p0[5*i0 + {i}] : f32\n    v{} = add v{i}, v{i} : f32\n", i + 5);
            update += &format!("    store p1[5*i0 + {i}] = v{}\n", i + 5);
            chain +=
                &format!("    v{i} = load p0[5*i0 + {i}] : f32\n    v{} = add v{i}, v{i} : f32\n", i + 5);
            chain += &format!("    store p0[5*i0 + {}] = v{}\n", (i + 1) % 5, i + 5);
        }
        let update = (format!("p0: read f32[{len}], p1: write f32[{len}]"), update, "%0, %0");
        let chain = (format!("p0: readwrite f32[{len}]"), chain, "%0");
        for (params, body, args) in [update, chain] {
            let text = format!(
                "program @test
  %0 state \"x\" f32[{len}] updated
kernel @k#0({params}) grid [] {{
  strip i0 in 0..{n} {{
{body}  }}
}}
schedule {{
  call @k#0({args})
}}
"
            );
            let program = Program::parse(&text).unwrap_or_else(|e| panic!("{e}\n{text}"));
            check_program(&program, &[], &[Rng(7).tensor(DType::F32, len)]);
        }
    }
}
