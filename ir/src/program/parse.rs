//! The text form of kernel programs: reading. [`super::text`] says what it looks like.
//!
//! The parser checks the form only; [`super::verify`] says whether a program makes sense. Hostile texts (deep
//! nesting, numbers beyond any address, short words for huge constants) are errors, never panics.

use super::{
    AccId, Access, Arg, Buffer, BufferId, Call, Combine, Expr, Kernel, KernelId, MAX_NESTING, Panel, Panels,
    Param, Place, Program, Step, Stmt, Tile, TileLoop, ValueId,
};
use crate::index::{Atom, Index};
use crate::lexer::{Lexer, ParseError, Token, numbered, unquote};
use crate::literal;
use crate::scalar::ScalarOp;
use crate::types::{DType, MAX_BYTES, Type};

/// How deep quotients and remainders may nest in an index.
pub(super) const MAX_INDEX_NESTING: usize = 16;

impl Program {
    /// Reads what printing a program gives.
    pub fn parse(text: &str) -> Result<Program, ParseError> {
        let mut lexer = Lexer::new(text);
        let program = program(&mut lexer)?;
        end(&lexer)?;
        Ok(program)
    }
}

impl Kernel {
    /// Reads what printing a kernel gives.
    pub fn parse(text: &str) -> Result<Kernel, ParseError> {
        let mut lexer = Lexer::new(text);
        lexer.expect_word("kernel")?;
        let kernel = kernel(&mut lexer, None)?;
        end(&lexer)?;
        Ok(kernel)
    }
}

fn end(lexer: &Lexer<'_>) -> Result<(), ParseError> {
    if lexer.peek() == Token::End { Ok(()) } else { Err(lexer.unexpected("the end of the text")) }
}

fn program(lexer: &mut Lexer<'_>) -> Result<Program, ParseError> {
    lexer.expect_word("program")?;
    let mut program = Program { name: lexer.at_name("the program's name")?, ..Program::default() };
    for (what, bytes) in [("arena", &mut program.arena_bytes), ("prepared", &mut program.prepared_bytes)] {
        if lexer.accept_word(what) {
            *bytes = lexer.size("a number of bytes")?;
            lexer.expect_word("bytes")?;
        }
    }
    let mut budget = literal::MAX_SPLAT;
    while let Token::Percent(id) = lexer.peek() {
        if id != program.buffers.len().to_string() {
            return Err(lexer.unexpected(format_args!("buffer `%{}`", program.buffers.len())));
        }
        lexer.take();
        program.buffers.push(buffer(lexer, &mut budget)?);
    }
    while lexer.accept_word("kernel") {
        let kernel = kernel(lexer, Some(program.kernels.len()))?;
        program.kernels.push(kernel);
    }
    if lexer.accept_word("prepare") {
        program.prepare = steps(lexer, &program, 0)?;
    }
    lexer.expect_word("schedule")?;
    program.schedule = steps(lexer, &program, 0)?;
    Ok(program)
}

fn buffer(lexer: &mut Lexer<'_>, budget: &mut usize) -> Result<Buffer, ParseError> {
    const PLACES: &str = "a place (input, output, state, constant, prepared, arena)";
    let Token::Ident(place) = lexer.peek() else {
        return Err(lexer.unexpected(PLACES));
    };
    if !["input", "output", "state", "constant", "prepared", "arena"].contains(&place) {
        return Err(lexer.unexpected(PLACES));
    }
    lexer.take();
    let name = lexer.string("the buffer's name")?;
    let ty = literal::ty(lexer)?;
    let panels = if lexer.accept_word("panels") { Some(panels(lexer)?) } else { None };
    let place = match place {
        "input" => Place::Input { range: range(lexer)? },
        "output" => Place::Output,
        "state" => Place::State { updated: lexer.accept_word("updated") },
        "constant" => Place::Constant(literal::elements(lexer, &ty, budget)?),
        "prepared" => Place::Prepared(offset(lexer)?),
        _ => Place::Arena(offset(lexer)?),
    };
    Ok(Buffer { name, ty, place, panels })
}

fn panels(lexer: &mut Lexer<'_>) -> Result<Panels, ParseError> {
    const EXTENTS: &str = "an extent (of groups, matrices, terms and columns)";
    let mut dims = [0; 4];
    for (i, extent) in dims.iter_mut().enumerate() {
        lexer.expect(if i == 0 { "[" } else { "," })?;
        *extent = lexer.size(EXTENTS)?;
    }
    lexer.expect("]")?;
    lexer.expect_word("of")?;
    let terms = lexer.size("the terms of a block")?;
    lexer.expect_word("x")?;
    let columns = lexer.size("the columns of a block")?;
    let mut line = 0;
    if lexer.accept_word("by") {
        lexer.expect_word("lines")?;
        lexer.expect_word("of")?;
        line = lexer.size("the elements of a line")?;
    }
    Ok(Panels { dims, terms, columns, line })
}

fn range(lexer: &mut Lexer<'_>) -> Result<Option<(i64, i64)>, ParseError> {
    if !lexer.accept_word("range") {
        return Ok(None);
    }
    let low = lexer.integer("a bound", i64::MIN, i64::MAX)?;
    lexer.expect("..=")?;
    Ok(Some((low, lexer.integer("a bound", i64::MIN, i64::MAX)?)))
}

fn offset(lexer: &mut Lexer<'_>) -> Result<Option<usize>, ParseError> {
    if lexer.accept_word("at") { lexer.size("a byte offset").map(Some) } else { Ok(None) }
}

fn steps(lexer: &mut Lexer<'_>, program: &Program, depth: usize) -> Result<Vec<Step>, ParseError> {
    lexer.expect("{")?;
    if depth > MAX_NESTING {
        return Err(lexer.error(format!("loops and conditions nest deeper than {MAX_NESTING}")));
    }
    let mut list = Vec::new();
    while !lexer.accept("}") {
        if lexer.accept_word("call") {
            list.push(Step::Call(call(lexer, program)?));
        } else if lexer.accept_word("loop") {
            let extent = lexer.size("a number of iterations")?;
            list.push(Step::Loop { extent, body: steps(lexer, program, depth + 1)? });
        } else if lexer.accept_word("break") {
            lexer.expect_word("unless")?;
            list.push(Step::Break { unless: arg(lexer)? });
        } else if lexer.accept_word("if") {
            let condition = arg(lexer)?;
            let then = steps(lexer, program, depth + 1)?;
            let otherwise =
                if lexer.accept_word("else") { steps(lexer, program, depth + 1)? } else { Vec::new() };
            list.push(Step::If { condition, then, otherwise });
        } else {
            return Err(lexer.unexpected("`call`, `loop`, `break`, `if` or `}`"));
        }
    }
    Ok(list)
}

fn call(lexer: &mut Lexer<'_>, program: &Program) -> Result<Call, ParseError> {
    let start = lexer.offset();
    let name = lexer.at_name("a kernel")?;
    lexer.expect("#")?;
    let kernel = KernelId(lexer.integer("a kernel's number", 0, u32::MAX as i64)? as u32);
    match program.kernels.get(kernel.0 as usize).map(|k| &k.name) {
        Some(found) if *found == name => {}
        Some(found) => {
            let message = format!("the name of kernel #{} is \"{found}\", not \"{name}\"", kernel.0);
            return Err(lexer.error_at(start, message));
        }
        // So a program with such a call is printed; it is the verifier that refuses it.
        None if name.is_empty() => {}
        None => {
            let message =
                format!("there is no kernel #{}: {} come before this", kernel.0, program.kernels.len());
            return Err(lexer.error_at(start, message));
        }
    }
    lexer.expect("(")?;
    let mut args = Vec::new();
    loop {
        // The comment behind the call is asked for before the next token is looked at.
        if lexer.accept(")") {
            break;
        }
        if !args.is_empty() {
            lexer.expect(",")?;
        }
        args.push(arg(lexer)?);
    }
    let parallel = lexer.accept_word("parallel");
    let origin = match lexer.trailing_comment() {
        None => String::new(),
        Some(comment) => unquote(comment)
            .ok_or_else(|| lexer.error("the origin before this is quoted, but not well formed"))?,
    };
    Ok(Call { kernel, args, parallel, origin })
}

fn arg(lexer: &mut Lexer<'_>) -> Result<Arg, ParseError> {
    let Token::Percent(id) = lexer.peek() else {
        return Err(lexer.unexpected("a buffer (`%0`)"));
    };
    let buffer = numbered(id, "").map(BufferId).ok_or_else(|| lexer.unexpected("a buffer (`%0`)"))?;
    lexer.take();
    let offset = if lexer.accept("+") { lexer.size("an offset")? } else { 0 };
    let mut strides = Vec::new();
    if lexer.accept_word("by") {
        lexer.expect("[")?;
        loop {
            strides.push(stride(lexer)?);
            if !lexer.accept(",") {
                break;
            }
        }
        lexer.expect("]")?;
    }
    Ok(Arg { buffer, offset, strides })
}

fn stride(lexer: &mut Lexer<'_>) -> Result<i64, ParseError> {
    lexer.integer("a stride", -(MAX_BYTES as i64), MAX_BYTES as i64)
}

/// Behind the word `kernel`. The number behind the name must be `id` where that is known, and may be left out.
fn kernel(lexer: &mut Lexer<'_>, id: Option<usize>) -> Result<Kernel, ParseError> {
    let name = lexer.at_name("the kernel's name")?;
    if lexer.accept("#") {
        let start = lexer.offset();
        let found = lexer.size("the kernel's number")?;
        if id.is_some_and(|id| id != found) {
            let message = format!("expected kernel number {}, found {found}", id.unwrap_or(0));
            return Err(lexer.error_at(start, message));
        }
    }
    lexer.expect("(")?;
    let mut params = Vec::new();
    while !lexer.accept(")") {
        if !params.is_empty() {
            lexer.expect(",")?;
        }
        params.push(param(lexer, params.len())?);
    }
    lexer.expect_word("grid")?;
    let grid = literal::extents(lexer)?;
    lexer.expect("{")?;
    Ok(Kernel { name, params, grid, body: block(lexer, 0)? })
}

fn param(lexer: &mut Lexer<'_>, position: usize) -> Result<Param, ParseError> {
    if lexer.peek() != Token::Ident(&format!("p{position}")) {
        return Err(lexer.unexpected(format_args!("parameter `p{position}`")));
    }
    lexer.take();
    lexer.expect(":")?;
    let access = [Access::Read, Access::Write, Access::ReadWrite, Access::Local];
    let access = access.into_iter().find(|a| lexer.peek() == Token::Ident(a.name()));
    let access = access.ok_or_else(|| lexer.unexpected("an access (read, write, readwrite, local)"))?;
    lexer.take();
    let start = lexer.offset();
    let Type { dtype, dims } = literal::ty(lexer)?;
    match dims[..] {
        [len] => Ok(Param { dtype, len, access }),
        _ => Err(lexer.error_at(start, "a parameter has one extent: its number of elements")),
    }
}

/// Statements and the closing brace.
fn block(lexer: &mut Lexer<'_>, depth: usize) -> Result<Vec<Stmt>, ParseError> {
    if depth > MAX_NESTING {
        return Err(lexer.error(format!("statements nest deeper than {MAX_NESTING}")));
    }
    let mut statements = Vec::new();
    while !lexer.accept("}") {
        statements.push(statement(lexer, depth)?);
    }
    Ok(statements)
}

fn statement(lexer: &mut Lexer<'_>, depth: usize) -> Result<Stmt, ParseError> {
    let start = lexer.offset();
    let word = lexer.ident("a statement or `}`")?;
    Ok(match word {
        "for" => {
            let (var, extent) = loop_head(lexer)?;
            Stmt::For { var, extent, body: block(lexer, depth + 1)? }
        }
        "strip" => {
            let (var, extent) = loop_head(lexer)?;
            Stmt::Strip { var, extent, body: block(lexer, depth + 1)? }
        }
        "if" => {
            let condition = value(lexer)?;
            lexer.expect("{")?;
            let then = block(lexer, depth + 1)?;
            let mut otherwise = Vec::new();
            if lexer.accept_word("else") {
                lexer.expect("{")?;
                otherwise = block(lexer, depth + 1)?;
            }
            Stmt::If { condition, then, otherwise }
        }
        "store" => {
            let (param, index) = element(lexer)?;
            lexer.expect("=")?;
            Stmt::Store { param, index, value: value(lexer)? }
        }
        "accumulate" => {
            let acc = AccId(lexer.numbered("a", "an accumulator")?);
            lexer.expect(",")?;
            Stmt::Accumulate { acc, value: value(lexer)? }
        }
        "tile" => Stmt::Tile(tile(lexer)?),
        _ => {
            if let Some(acc) = numbered(word, "a") {
                lexer.expect("=")?;
                return declare(lexer, AccId(acc));
            }
            let id = numbered(word, "v")
                .ok_or_else(|| lexer.error_at(start, format!("expected a statement, found `{word}`")))?;
            lexer.expect("=")?;
            assign(lexer, ValueId(id))?
        }
    })
}

/// `i1 in 0..256 {`
fn loop_head(lexer: &mut Lexer<'_>) -> Result<(u32, usize), ParseError> {
    let var = lexer.numbered("i", "a variable")?;
    lexer.expect_word("in")?;
    lexer.integer("the first iteration", 0, 0)?;
    lexer.expect("..")?;
    let extent = lexer.size("an extent")?;
    lexer.expect("{")?;
    Ok((var, extent))
}

fn value(lexer: &mut Lexer<'_>) -> Result<ValueId, ParseError> {
    lexer.numbered("v", "a value").map(ValueId)
}

fn declare(lexer: &mut Lexer<'_>, acc: AccId) -> Result<Stmt, ParseError> {
    lexer.expect_word("accumulator")?;
    let combine = Combine::ALL.into_iter().find(|c| lexer.peek() == Token::Ident(c.name()));
    let combine = combine.ok_or_else(|| lexer.unexpected("how to combine (add, mul, max, min, and, or)"))?;
    lexer.take();
    let lanes = lexer.integer("a number of lanes", 0, u32::MAX as i64)? as u32;
    Ok(Stmt::Declare { acc, combine, lanes, dtype: typed(lexer)? })
}

/// `: f32`
fn typed(lexer: &mut Lexer<'_>) -> Result<DType, ParseError> {
    lexer.expect(":")?;
    literal::dtype(lexer)
}

/// Behind `v0 =`.
fn assign(lexer: &mut Lexer<'_>, id: ValueId) -> Result<Stmt, ParseError> {
    let start = lexer.offset();
    let word = lexer.ident("`constant`, `index`, `load`, `finish` or an operation")?;
    let (expr, dtype) = match word {
        "constant" => return constant(lexer, id),
        "finish" => return Ok(Stmt::Finish { id, acc: AccId(lexer.numbered("a", "an accumulator")?) }),
        "index" => (Expr::Index(index(lexer)?), typed(lexer)?),
        "load" => {
            let (param, index) = element(lexer)?;
            let guard = if lexer.accept_word("if") { Some(value(lexer)?) } else { None };
            (Expr::Load { param, index, guard }, typed(lexer)?)
        }
        _ => {
            let mut operands = vec![value(lexer)?];
            while lexer.accept(",") {
                operands.push(value(lexer)?);
            }
            let dtype = typed(lexer)?;
            let op = ScalarOp::named(word, dtype)
                .ok_or_else(|| lexer.error_at(start, format!("no operation has the name `{word}`")))?;
            (Expr::Op(op, operands), dtype)
        }
    };
    Ok(Stmt::Let { id, dtype, expr })
}

/// A constant is read in the type that stands behind it.
fn constant(lexer: &mut Lexer<'_>, id: ValueId) -> Result<Stmt, ParseError> {
    let mut ahead = lexer.clone();
    // The longest constants are `nan(0x7fc00001)`.
    for _ in 0..4 {
        if ahead.peek() != Token::Punct(":") {
            ahead.take();
        }
    }
    let dtype = typed(&mut ahead)?;
    let value = literal::scalar(lexer, dtype)?;
    typed(lexer)?;
    Ok(Stmt::Let { id, dtype, expr: Expr::Constant(value) })
}

/// `p0[256*i0 + i1]`
fn element(lexer: &mut Lexer<'_>) -> Result<(usize, Index), ParseError> {
    let param = lexer.numbered("p", "a parameter")? as usize;
    lexer.expect("[")?;
    let index = index(lexer)?;
    lexer.expect("]")?;
    Ok((param, index))
}

fn tile(lexer: &mut Lexer<'_>) -> Result<Tile, ParseError> {
    lexer.expect("[")?;
    let m = lexer.size("the rows of C")?;
    lexer.expect(",")?;
    let n = lexer.size("the columns of C")?;
    lexer.expect("]")?;
    let c = panel(lexer)?;
    let zero = !lexer.accept("+=");
    if zero && !lexer.accept("=") {
        return Err(lexer.unexpected("`=` or `+=`"));
    }
    let a = panel(lexer)?;
    lexer.expect("*")?;
    let b = panel(lexer)?;
    lexer.expect_word("over")?;
    let mut reduce = Vec::new();
    lexer.expect("(")?;
    if !lexer.accept(")") {
        loop {
            let extent = lexer.size("the extent of a reduction loop")?;
            lexer.expect(";")?;
            let a = stride(lexer)?;
            lexer.expect(",")?;
            reduce.push(TileLoop { extent, a, b: stride(lexer)? });
            lexer.expect(")")?;
            if !lexer.accept(",") {
                break;
            }
            lexer.expect("(")?;
        }
    }
    Ok(Tile { dtype: typed(lexer)?, m, n, reduce, a, b, c, zero })
}

fn panel(lexer: &mut Lexer<'_>) -> Result<Panel, ParseError> {
    let param = lexer.numbered("p", "a parameter")? as usize;
    lexer.expect("[")?;
    let index = index(lexer)?;
    let row = if lexer.accept(";") { stride(lexer)? } else { 0 };
    lexer.expect("]")?;
    Ok(Panel { param, index, row })
}

/// An index expression as [`Index`] prints: `3*i0 + ((i1 + 1) / 4) - v0 - 1`.
pub(crate) fn index(lexer: &mut Lexer<'_>) -> Result<Index, ParseError> {
    sum(lexer, 0)
}

/// Bounds of coefficients and of the number of terms, so that sums stay far from overflow.
const MAX_FACTOR: i64 = MAX_BYTES as i64;
const MAX_TERMS: usize = 64;

fn sum(lexer: &mut Lexer<'_>, depth: usize) -> Result<Index, ParseError> {
    if depth > MAX_INDEX_NESTING {
        return Err(lexer.error(format!("quotients and remainders nest deeper than {MAX_INDEX_NESTING}")));
    }
    let mut constant = 0;
    let mut terms = Vec::new();
    let mut count = 0;
    let mut negative = lexer.accept("-");
    loop {
        let sign = if negative { -1 } else { 1 };
        match lexer.peek() {
            Token::Number(_) => {
                let factor = sign * lexer.integer("a factor", 0, MAX_FACTOR)?;
                if lexer.accept("*") {
                    terms.push((atom(lexer, depth)?, factor));
                } else {
                    constant += factor;
                }
            }
            _ => terms.push((atom(lexer, depth)?, sign)),
        }
        count += 1;
        if count > MAX_TERMS {
            return Err(lexer.error(format!("an index has more than {MAX_TERMS} terms")));
        }
        negative = lexer.accept("-");
        if !negative && !lexer.accept("+") {
            return Ok(Index::from_terms(constant, terms));
        }
    }
}

/// `i0`, `v0`, `(i0 / 4)`, `((i0 + 1) % 4)`
fn atom(lexer: &mut Lexer<'_>, depth: usize) -> Result<Atom, ParseError> {
    if !lexer.accept("(") {
        return plain_atom(lexer);
    }
    let inner = if lexer.accept("(") {
        let inner = sum(lexer, depth + 1)?;
        lexer.expect(")")?;
        inner
    } else {
        Index::from_terms(0, [(plain_atom(lexer)?, 1)])
    };
    let quotient = lexer.accept("/");
    if !quotient && !lexer.accept("%") {
        return Err(lexer.unexpected("`/` or `%`"));
    }
    let divisor = lexer.integer("a divisor", 1, MAX_FACTOR)?;
    lexer.expect(")")?;
    let inner = Box::new(inner);
    Ok(if quotient { Atom::Div(inner, divisor) } else { Atom::Rem(inner, divisor) })
}

fn plain_atom(lexer: &mut Lexer<'_>) -> Result<Atom, ParseError> {
    let Token::Ident(text) = lexer.peek() else {
        return Err(lexer.unexpected("a variable (`i0`), a value (`v0`), a quotient or a remainder"));
    };
    let atom = numbered(text, "i").map(Atom::Var).or_else(|| numbered(text, "v").map(Atom::Value));
    let atom = atom.ok_or_else(|| lexer.unexpected("a variable (`i0`) or a value (`v0`)"))?;
    lexer.take();
    Ok(atom)
}
