//! The text form of kernel programs: what is printed reads back, and what cannot be read is an error with its place.

use brolga_ir::program::{Kernel, Program};

/// Every place, statement and expression.
const ALL: &str = r##"program @"in fer.1"
  arena 65536 bytes
  prepared 1024 bytes
  %0 input "image" f32[64, 784]
  %1 input "label \"quoted\"" i32[64] range 0..=9
  %2 state "fc1.bias" f32[256] updated
  %3 state "fc1.weight" f32[]
  %4 constant "table" f32[2, 4] [1.0, -0.0, inf, -inf, nan, nan(0xffc00000), 1e-45, 0.1]
  %5 constant "zeros" i64[1000] splat -3
  %6 constant "mask" bool[3] [true, false, true]
  %7 prepared "packed" f32[256] panels [1, 2, 8, 16] of 8 x 16 at 0
  %8 arena "h" f32[64, 256] at 64
  %9 arena "later" u8[240] panels [1, 3, 8, 8] of 8 x 8 by lines of 16
  %10 output "probability" f64[64, 10]
kernel @bias_relu#0(p0: read f32[256], p1: readwrite f32[16384]) grid [64, 2] {
  v0 = constant 0.0 : f32
  strip i2 in 0..256 {
    v1 = load p0[i2] : f32
    v2 = load p1[256*i0 + i2] : f32
    v3 = add v1, v2 : f32
    v4 = max v3, v0 : f32
    store p1[256*i0 + i2] = v4
  }
}
kernel @"a kernel"#1() grid [] {
}
kernel @all#2(p0: write f32[9], p1: read i32[7], p2: read f64[4]) grid [] {
  v0 = constant nan(0x7fc00001) : f32
  v1 = constant true : bool
  v2 = constant -9223372036854775808 : i64
  for i0 in 0..3 {
    v3 = index -2*i0 + (i0 / 4) - 5*((2*i0 + 1) % 3) + ((((i0 + 7) % 5) - 1) / 2) - 1 : i64
    if v1 {
      v4 = load p1[v3 + i0] if v1 : i32
      v5 = convert v4 : f32
      v6 = bitcast v5 : i32
      v7 = lt v4, v6 : bool
      v8 = exp v5 : f32
      v9 = select v7, v5, v8 : f32
      v10 = fma v5, v8, v9 : f32
      store p0[i0] = v10
    } else {
      store p0[0] = v0
    }
  }
  a0 = accumulator max 32 : f64
  strip i0 in 0..4 {
    v11 = load p2[i0] : f64
    accumulate a0, v11
  }
  v12 = finish a0
  if v1 {
    tile [8, 16] p2[1024*i0; 16] = p1[0; -784] * p2[i0 + 3] over (784; 1, 16), (2; -3, 0) : f64
    tile [8, 16] p2[0] += p1[0] * p2[0] over () : f32
  }
}
prepare {
  call @bias_relu#0(%2 + 4, %7)
}
schedule {
  call @bias_relu#0(%2, %8) parallel   // fc1/backward
  call @bias_relu#0(%2, %8) parallel
  loop 10 {
    loop 0 {
    }
    call @"a kernel"#1()   // " odd\norigin"
    break unless %6 + 2
    if %6 by [1] {
      if %6 {
      }
    } else {
      break unless %6 + 1 by [0, 1]
    }
    call @all#2(%0 + 256 by [128, -1], %1 by [0], %10)
  }
}
"##;

#[test]
fn what_is_printed_reads_back() {
    let program = Program::parse(ALL).unwrap();
    assert_eq!(program.to_string().lines().collect::<Vec<_>>(), normal(ALL).lines().collect::<Vec<_>>());
    let again = Program::parse(&program.to_string()).unwrap();
    // Debug tells NaN from NaN by nothing, but everything else apart; equality of NaN bits is the printed text's.
    assert_eq!(format!("{again:?}"), format!("{program:?}"));
    assert_eq!(again.to_string(), program.to_string());
}

/// Terms of indices are printed in their own order: variables, quotients, remainders, values.
fn normal(text: &str) -> String {
    text.replace("-2*i0 + (i0 / 4) - 5*((2*i0 + 1) % 3) + ((((i0 + 7) % 5) - 1) / 2) - 1", "{index}")
        .replace("{index}", "-2*i0 + ((((i0 + 7) % 5) - 1) / 2) + (i0 / 4) - 5*((2*i0 + 1) % 3) - 1")
        .replace("v3 + i0", "i0 + v3")
}

#[test]
fn a_kernel_reads_back_alone() {
    let program = Program::parse(ALL).unwrap();
    for kernel in &program.kernels {
        let text = kernel.to_string();
        assert_eq!(Kernel::parse(&text).unwrap().to_string(), text);
    }
}

#[test]
fn truncated_texts_are_errors() {
    for end in (0..ALL.len() - 2).filter(|&end| ALL.is_char_boundary(end)) {
        let error = Program::parse(&ALL[..end]).expect_err(&ALL[..end]);
        assert!(error.line >= 1 && error.line <= 80 && error.column >= 1, "{error}");
    }
}

#[test]
fn damaged_texts_never_panic() {
    // Every byte replaced by a few others, and every line left out.
    for (at, _) in ALL.char_indices() {
        for other in ["(", "\"", "9", "é"] {
            let _ = Program::parse(&format!("{}{other}{}", &ALL[..at], &ALL[at + 1..]));
        }
    }
    let lines: Vec<&str> = ALL.lines().collect();
    for skip in 0..lines.len() {
        let rest: Vec<&str> = lines.iter().enumerate().filter(|&(i, _)| i != skip).map(|(_, l)| *l).collect();
        let _ = Program::parse(&rest.join("\n"));
    }
}

#[test]
fn mistakes_are_told_with_their_place() {
    let in_kernel = |line: &str| {
        format!("program @p\nkernel @k(p0: read f32[4]) grid [] {{\n  {line}\n}}\nschedule {{}}\n")
    };
    let in_schedule = |line: &str| {
        format!("program @p\n  %0 output \"y\" f32[4]\nkernel @k() grid [] {{}}\nschedule {{ {line} }}")
    };
    let cases = [
        ("".to_string(), "line 1, column 1: expected `program`, found the end of the text"),
        ("program infer".into(), "line 1, column 9: expected the program's name (`@name`), found `infer`"),
        ("program @p\n  %1 input \"x\" f32[2]".into(), "line 2, column 3: expected buffer `%0`, found `%1`"),
        (
            "program @p\n  %0 inputs \"x\" f32[2]".into(),
            "line 2, column 6: expected a place (input, output, state, constant, prepared, arena), found `inputs`",
        ),
        (
            "program @p\n  %0 input \"x\" f16[2]".into(),
            "line 2, column 16: expected an element type (bool, u8, i32, i64, bf16, f32, f64), found `f16`",
        ),
        (
            "program @p\n  %0 input \"x\" f32[1000000, 1000000, 1000000]".into(),
            "line 2, column 16: f32[1000000, 1000000, 1000000] is larger than the limit of 2^40 bytes",
        ),
        (
            "program @p\n  %0 input \"x\" f32[99999999999999999999999999999999999999999]".into(),
            "line 2, column 20: expected an extent in 0..=1099511627776, found `9999999999999999999999999999999999999999…`",
        ),
        (
            "program @p\n  %0 constant \"x\" f32[200000000000] splat 1.0".into(),
            "line 2, column 37: the splat tensors of one text may have 67108864 elements together",
        ),
        (
            "program @p\n  %0 constant \"x\" f32[2] [1.0, 2.0, 3.0]".into(),
            "line 2, column 26: f32[2] has 2 elements, but 3 are written",
        ),
        (
            "program @p\n  %0 input \"x".into(),
            "line 2, column 12: expected the buffer's name (a string), found a string without its closing quote",
        ),
        (
            "program @p\n  %0 arena \"w\" f32[8] panels [1, 2, 4] of 2 x 4".into(),
            "line 2, column 38: expected `,`, found `]`",
        ),
        (
            "program @p\n  %0 arena \"w\" f32[8] panels [1, 1, 2, 4] of 2, 4".into(),
            "line 2, column 47: expected `x`, found `,`",
        ),
        ("program @p\nschedule {} }".into(), "line 2, column 13: expected the end of the text, found `}`"),
        (in_kernel("stor p0[0] = v0"), "line 3, column 3: expected a statement, found `stor`"),
        (in_kernel("v0 = sine v1 : f32"), "line 3, column 8: no operation has the name `sine`"),
        (in_kernel("v0 = load x[0] : f32"), "line 3, column 13: expected a parameter (`p0`), found `x`"),
        (in_kernel("v0 = load p0[i0 i1] : f32"), "line 3, column 19: expected `]`, found `i1`"),
        (
            in_kernel("v0 = load p0[(i0 / 0)] : f32"),
            "line 3, column 22: expected a divisor in 1..=1099511627776, found `0`",
        ),
        (
            in_kernel("v0 = constant 1.5 : i32"),
            "line 3, column 17: expected i32 in -2147483648..=2147483647, found `1.5`",
        ),
        (in_kernel("v0 = constant 1e60 : f32"), "line 3, column 17: expected a finite f32, found `1e60`"),
        (
            in_kernel("v99999999999 = constant 1 : i32"),
            "line 3, column 3: expected a statement, found `v99999999999`",
        ),
        (
            in_kernel("for i0 in 1..4 {}"),
            "line 3, column 13: expected the first iteration in 0..=0, found `1`",
        ),
        (
            in_kernel("a0 = accumulator sub 1 : f32"),
            "line 3, column 20: expected how to combine (add, mul, max, min, and, or), found `sub`",
        ),
        (
            in_kernel("tile [1, 1] p0[0] p0[0] * p0[0] over () : f32"),
            "line 3, column 21: expected `=` or `+=`, found `p0`",
        ),
        (in_schedule("call @x#0()"), "line 4, column 17: the name of kernel #0 is \"k\", not \"x\""),
        (in_schedule("call @k#7()"), "line 4, column 17: there is no kernel #7: 1 come before this"),
        (in_schedule("call @k#0(y)"), "line 4, column 22: expected a buffer (`%0`), found `y`"),
        (
            in_schedule("call @k#0() // \"x\\q\"\n"),
            "line 5, column 2: the origin before this is quoted, but not well formed",
        ),
        (
            in_schedule("loop -1 {}"),
            "line 4, column 17: expected a number of iterations in 0..=1099511627776, found -`1`",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(Program::parse(&text).unwrap_err().to_string(), expected, "of:\n{text}");
    }
}

#[test]
fn hostile_nesting_is_an_error() {
    let message = |text: String| Program::parse(&text).unwrap_err().message;
    let loops = "loop 2 { ".repeat(100_000);
    assert_eq!(
        message(format!("program @p\nschedule {{ {loops}")),
        "loops and conditions nest deeper than 64"
    );
    let fors = "for i0 in 0..2 { ".repeat(100_000);
    assert_eq!(
        message(format!("program @p\nkernel @k() grid [] {{ {fors}")),
        "statements nest deeper than 64"
    );
    let index = "((i0 + ".repeat(100_000);
    assert_eq!(
        message(format!("program @p\nkernel @k() grid [] {{ v0 = index {index}")),
        "quotients and remainders nest deeper than 16"
    );
    let sum = "i0 + ".repeat(100_000);
    assert_eq!(
        message(format!("program @p\nkernel @k() grid [] {{ v0 = index {sum}")),
        "an index has more than 64 terms"
    );
}

#[test]
fn long_texts_read_quickly() {
    let mut text = "program @p\nkernel @k#0(p0: write f32[4]) grid [] {\n".to_string();
    for i in 0..100_000 {
        text += &format!("  v{i} = constant {i}.5 : f32\n");
    }
    text += "}\nschedule {\n}\n";
    let printed = Program::parse(&text).unwrap().to_string();
    let different = printed.lines().zip(text.lines()).find(|(a, b)| a != b);
    assert_eq!(different, None);
    assert_eq!(printed.len(), text.len());
}
