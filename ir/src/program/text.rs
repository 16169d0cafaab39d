//! The text form of kernel programs: `Display` prints it, [`Program::parse`] reads it back.
//!
//! ```text
//! program @infer
//!   arena 65536 bytes
//!   %0 input "image" f32[64, 784]
//!   %1 input "label" i32[64] range 0..=9
//!   %2 state "fc1.bias" f32[256] updated
//!   %3 constant "scale" f32[256] splat 0.5
//!   %4 prepared "packed" bf16[256] panels [1, 1, 16, 16] of 16 x 8 at 0
//!   %5 arena "h" f32[64, 256] at 0
//!   %6 output "probability" f32[64, 10]
//! kernel @bias_relu#0(p0: read f32[256], p1: readwrite f32[16384]) grid [64] {
//!   v0 = constant 0.0 : f32
//!   strip i1 in 0..256 {
//!     v1 = load p0[i1] : f32
//!     v2 = load p1[256*i0 + i1] : f32
//!     v3 = add v1, v2 : f32
//!     v4 = max v3, v0 : f32
//!     store p1[256*i0 + i1] = v4
//!   }
//! }
//! schedule {
//!   call @bias_relu#0(%2, %5) parallel   // fc1
//!   loop 10 {
//!     call @bias_relu#0(%2 + 256 by [128], %5)
//!     break unless %7
//!   }
//!   if %7 {
//!     call @bias_relu#0(%2, %5)
//!   } else {
//!   }
//! }
//! ```
//!
//! Behind the type of a buffer that holds packed weights stand the extents of these, `[group, matrix, term, column]`, and the
//! terms and columns of a block of their [`Panels`]; `of 16 x 8 by lines of 16` says which lines matrices are odd numbers apart.
//!
//! A parameter that is `local` (`p2: local f32[4096]`) stands behind all others, and calls have no argument for it.
//!
//! The other statements:
//!
//! ```text
//! for i2 in 0..10 {
//! if v3 {
//! } else {
//! }
//! v5 = index 4*i0 + ((i1 + 1) / 3) : i64
//! v6 = load p0[v5 + i1] if v3 : f32
//! a0 = accumulator add 32 : f32
//! accumulate a0, v6
//! v7 = finish a0
//! tile [8, 16] p2[1024*i0; 16] = p0[784*i0; 784] * p1[0] over (784; 1, 16) : f32
//! ```
//!
//! A tile gives the extents of C; of each operand the first element and, behind `;`, the stride of rows; and of each
//! reduction loop the extent and its strides in A and B. `=` starts from +0, `+=` from what C holds. An argument is a
//! buffer, an offset in elements, and behind `by` its strides in the schedule loops around it. `parallel` behind a call hands its
//! parts out to threads; the comment is its origin. Conversions (`convert`, `bitcast`) go to the type behind `:`, so a program whose types do not
//! agree, which [`super::verify`] refuses, need not read back as it was.

use std::fmt::{self, Write};

use super::{
    Access, Arg, Buffer, Call, Expr, Kernel, Panel, Panels, Param, Place, Program, Step, Stmt, Tile,
};
use crate::lexer::{name, quote};
use crate::literal::Elements;

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "program @{}", name(&self.name))?;
        for (what, bytes) in [("arena", self.arena_bytes), ("prepared", self.prepared_bytes)] {
            if bytes > 0 {
                writeln!(f, "  {what} {bytes} bytes")?;
            }
        }
        for (id, buffer) in self.buffers.iter().enumerate() {
            writeln!(f, "  %{id} {buffer}")?;
        }
        for (id, kernel) in self.kernels.iter().enumerate() {
            write_kernel(f, kernel, Some(id))?;
        }
        if !self.prepare.is_empty() {
            f.write_str("prepare {\n")?;
            self.write_steps(f, &self.prepare, 1)?;
            f.write_str("}\n")?;
        }
        f.write_str("schedule {\n")?;
        self.write_steps(f, &self.schedule, 1)?;
        f.write_str("}\n")
    }
}

impl fmt::Display for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = match self.place {
            Place::Input { .. } => "input",
            Place::Output => "output",
            Place::State { .. } => "state",
            Place::Constant(_) => "constant",
            Place::Prepared(_) => "prepared",
            Place::Arena(_) => "arena",
        };
        write!(f, "{place} {} {}", quote(&self.name), self.ty)?;
        if let Some(panels) = &self.panels {
            write!(f, " {panels}")?;
        }
        match &self.place {
            Place::Input { range: Some((low, high)) } => write!(f, " range {low}..={high}"),
            Place::State { updated: true } => f.write_str(" updated"),
            Place::Constant(tensor) => write!(f, " {}", Elements(tensor)),
            Place::Prepared(Some(offset)) | Place::Arena(Some(offset)) => write!(f, " at {offset}"),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Panels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "panels {:?} of {} x {}", self.dims, self.terms, self.columns)?;
        if self.line > 0 { write!(f, " by lines of {}", self.line) } else { Ok(()) }
    }
}

impl Program {
    fn write_steps(&self, f: &mut fmt::Formatter<'_>, steps: &[Step], depth: usize) -> fmt::Result {
        for step in steps {
            match step {
                Step::Call(call) => {
                    indent(f, depth)?;
                    self.write_call(f, call)?;
                }
                Step::Loop { extent, body } => {
                    indent(f, depth)?;
                    writeln!(f, "loop {extent} {{")?;
                    self.write_steps(f, body, depth + 1)?;
                    indent(f, depth)?;
                    f.write_str("}\n")?;
                }
                Step::Break { unless } => {
                    indent(f, depth)?;
                    writeln!(f, "break unless {unless}")?;
                }
                Step::If { condition, then, otherwise } => {
                    indent(f, depth)?;
                    writeln!(f, "if {condition} {{")?;
                    self.write_steps(f, then, depth + 1)?;
                    indent(f, depth)?;
                    if !otherwise.is_empty() {
                        f.write_str("} else {\n")?;
                        self.write_steps(f, otherwise, depth + 1)?;
                        indent(f, depth)?;
                    }
                    f.write_str("}\n")?;
                }
            }
        }
        Ok(())
    }

    fn write_call(&self, f: &mut fmt::Formatter<'_>, call: &Call) -> fmt::Result {
        let kernel = self.kernels.get(call.kernel.0 as usize).map_or("", |k| &k.name);
        write!(f, "call @{}#{}(", name(kernel), call.kernel.0)?;
        for (i, arg) in call.args.iter().enumerate() {
            write!(f, "{}{arg}", if i == 0 { "" } else { ", " })?;
        }
        f.write_str(if call.parallel { ") parallel" } else { ")" })?;
        match call.origin.as_str() {
            "" => {}
            origin if is_plain(origin) => write!(f, "   // {origin}")?,
            origin => write!(f, "   // {}", quote(origin))?,
        }
        f.write_str("\n")
    }
}

/// Whether an origin can be read back from a comment as it is.
fn is_plain(origin: &str) -> bool {
    origin.trim() == origin && !origin.starts_with('"') && !origin.contains(char::is_control)
}

impl fmt::Display for Arg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "%{}", self.buffer.0)?;
        if self.offset != 0 {
            write!(f, " + {}", self.offset)?;
        }
        if !self.strides.is_empty() {
            write!(f, " by {:?}", self.strides)?;
        }
        Ok(())
    }
}

impl Access {
    /// The name in the text form.
    pub fn name(self) -> &'static str {
        match self {
            Access::Read => "read",
            Access::Write => "write",
            Access::ReadWrite => "readwrite",
            Access::Local => "local",
        }
    }
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_kernel(f, self, None)
    }
}

fn write_kernel(f: &mut fmt::Formatter<'_>, kernel: &Kernel, id: Option<usize>) -> fmt::Result {
    write!(f, "kernel @{}", name(&kernel.name))?;
    if let Some(id) = id {
        write!(f, "#{id}")?;
    }
    f.write_str("(")?;
    for (i, Param { dtype, len, access }) in kernel.params.iter().enumerate() {
        write!(f, "{}p{i}: {} {dtype}[{len}]", if i == 0 { "" } else { ", " }, access.name())?;
    }
    writeln!(f, ") grid {:?} {{", kernel.grid)?;
    write_block(f, &kernel.body, 1)?;
    f.write_str("}\n")
}

fn indent(f: &mut impl Write, depth: usize) -> fmt::Result {
    (0..depth).try_for_each(|_| f.write_str("  "))
}

fn write_block(f: &mut fmt::Formatter<'_>, statements: &[Stmt], depth: usize) -> fmt::Result {
    for statement in statements {
        indent(f, depth)?;
        write_head(f, statement)?;
        f.write_str("\n")?;
        match statement {
            Stmt::For { body, .. } | Stmt::Strip { body, .. } => write_block(f, body, depth + 1)?,
            Stmt::If { then, otherwise, .. } => {
                write_block(f, then, depth + 1)?;
                if !otherwise.is_empty() {
                    indent(f, depth)?;
                    f.write_str("} else {\n")?;
                    write_block(f, otherwise, depth + 1)?;
                }
            }
            _ => continue,
        }
        indent(f, depth)?;
        f.write_str("}\n")?;
    }
    Ok(())
}

/// A statement's first line, by which error messages name it.
pub(super) fn head(statement: &Stmt) -> String {
    let mut text = String::new();
    write_head(&mut text, statement).expect("writing to a string");
    text
}

fn write_head(f: &mut impl Write, statement: &Stmt) -> fmt::Result {
    match statement {
        Stmt::For { var, extent, .. } => write!(f, "for i{var} in 0..{extent} {{"),
        Stmt::Strip { var, extent, .. } => write!(f, "strip i{var} in 0..{extent} {{"),
        Stmt::If { condition, .. } => write!(f, "if v{} {{", condition.0),
        Stmt::Let { id, dtype, expr } => {
            write!(f, "v{} = ", id.0)?;
            match expr {
                Expr::Constant(value) => write!(f, "constant {value}")?,
                Expr::Index(index) => write!(f, "index {index}")?,
                Expr::Op(op, operands) => {
                    f.write_str(op.name())?;
                    for (i, operand) in operands.iter().enumerate() {
                        write!(f, "{}v{}", if i == 0 { " " } else { ", " }, operand.0)?;
                    }
                }
                Expr::Load { param, index, guard } => {
                    write!(f, "load p{param}[{index}]")?;
                    if let Some(guard) = guard {
                        write!(f, " if v{}", guard.0)?;
                    }
                }
            }
            write!(f, " : {dtype}")
        }
        Stmt::Store { param, index, value } => write!(f, "store p{param}[{index}] = v{}", value.0),
        Stmt::Declare { acc, dtype, combine, lanes } => {
            write!(f, "a{} = accumulator {} {lanes} : {dtype}", acc.0, combine.name())
        }
        Stmt::Accumulate { acc, value } => write!(f, "accumulate a{}, v{}", acc.0, value.0),
        Stmt::Finish { id, acc } => write!(f, "v{} = finish a{}", id.0, acc.0),
        Stmt::Tile(tile) => write_tile(f, tile),
    }
}

fn write_tile(f: &mut impl Write, tile: &Tile) -> fmt::Result {
    write!(f, "tile [{}, {}] {} ", tile.m, tile.n, tile.c)?;
    write!(f, "{} {} * {} over", if tile.zero { "=" } else { "+=" }, tile.a, tile.b)?;
    for (i, l) in tile.reduce.iter().enumerate() {
        write!(f, "{} ({}; {}, {})", if i == 0 { "" } else { "," }, l.extent, l.a, l.b)?;
    }
    if tile.reduce.is_empty() {
        f.write_str(" ()")?;
    }
    write!(f, " : {}", tile.dtype)
}

impl fmt::Display for Panel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p{}[{}", self.param, self.index)?;
        if self.row != 0 {
            write!(f, "; {}", self.row)?;
        }
        f.write_str("]")
    }
}
