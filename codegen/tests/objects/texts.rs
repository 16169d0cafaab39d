//! The programs that objects are made of.

/// Prepared values that are made of state.
pub const ANSWER: &str = r#"program @answer
  prepared 3008 bytes
  %0 state "w" f32[30, 25]
  %1 prepared "twice" f32[30, 25] at 0
  %2 output "y" f32[30, 25]
kernel @double(p0: read f32[750], p1: write f32[750]) grid [] {
  strip i0 in 0..750 {
    v0 = load p0[i0] : f32
    v1 = add v0, v0 : f32
    store p1[i0] = v1
  }
}
kernel @copy(p0: read f32[750], p1: write f32[750]) grid [] {
  strip i0 in 0..750 {
    v0 = load p0[i0] : f32
    store p1[i0] = v0
  }
}
prepare {
  call @double#0(%0, %1)
}
schedule {
  call @copy#1(%1, %2)
}
"#;

/// What changes that state.
pub const GROW: &str = r#"program @grow
  %0 state "w" f32[30, 25] updated
kernel @more(p0: readwrite f32[750]) grid [] {
  v0 = constant 1.0 : f32
  strip i0 in 0..750 {
    v1 = load p0[i0] : f32
    v2 = add v1, v0 : f32
    store p0[i0] = v2
  }
}
schedule {
  call @more#0(%0)
}
"#;

/// Inputs that code relies on.
pub const PICK: &str = r#"program @pick
  %0 input "index" i32[3] range 0..=4
  %1 input "keep" bool[3]
  %2 input "scale" f32[]
  %3 state "total" f32[100]
  %4 output "y" f32[3]
  %5 output "class" f32[]
kernel @pick(p0: read i32[3], p1: read bool[3], p2: read f32[1], p3: read f32[100], p4: write f32[3], p5: write f32[1]) grid [] {
  v0 = load p2[0] : f32
  for i0 in 0..3 {
    v1 = load p0[i0] : i32
    v2 = load p3[v1] : f32
    v3 = mul v2, v0 : f32
    v4 = load p1[i0] : bool
    v5 = select v4, v3, v2 : f32
    store p4[i0] = v5
  }
  store p5[0] = v0
}
schedule {
  call @pick#0(%0, %1, %2, %3, %4, %5)
}
"#;

/// What is wrong where it is written over what is not read yet.
pub const TURN: &str = r#"program @turn
  %0 input "x" f32[64]
  %1 input "more" f32[2]
  %2 output "y" f32[64]
kernel @turn(p0: read f32[64], p1: read f32[2], p2: write f32[64]) grid [] {
  for i0 in 0..64 {
    v0 = load p0[-1*i0 + 63] : f32
    v1 = load p1[1] : f32
    v2 = add v0, v1 : f32
    store p2[i0] = v2
  }
}
schedule {
  call @turn#0(%0, %1, %2)
}
"#;
