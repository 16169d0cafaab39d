//! The rules of calls: arguments, places, and what is in memory when it is read.

use std::collections::BTreeMap;

use super::overlap::{self, ByteSpan, Space};
use super::{Error, MAX_NESTING};
use crate::program::walk::walk;
use crate::program::{Access, Arg, BufferId, Call, Expr, Kernel, Param, Place, Program, Step, Stmt};
use crate::types::DType;

/// Checks `prepare` and the schedule.
pub fn verify(program: &Program) -> Result<(), Error> {
    let old: Vec<Vec<bool>> = program.kernels.iter().map(reads_old).collect();
    let count = program.buffers.len();
    let live = [BTreeMap::new(), BTreeMap::new()];
    let known = Known { written: vec![false; count], lost_to: vec![None; count], live };
    let mut contents = Contents { program, old: &old, known, exits: Vec::new() };
    for (section, steps) in [(Section::Prepare, &program.prepare), (Section::Schedule, &program.schedule)] {
        let mut walk = Walk { program, section, loops: Vec::new(), path: Vec::new() };
        walk.steps(steps, 0)?;
        contents.begin(section);
        contents.steps(section, steps, &mut Vec::new(), true)?;
    }
    Ok(())
}

#[derive(Clone, Copy, PartialEq)]
enum Section {
    Prepare,
    Schedule,
}

/// How errors name a call: `schedule, call 2.0 of @conv#1 (conv1)`.
fn place(program: &Program, section: Section, path: &[usize], call: &Call) -> String {
    let kernel = program.kernels.get(call.kernel.0 as usize).map_or("", |k| &k.name);
    let origin = if call.origin.is_empty() { String::new() } else { format!(" ({})", call.origin) };
    let call = format!("of @{}#{}{origin}", crate::lexer::name(kernel), call.kernel.0);
    format!("{} {call}", step_place(section, "call", path))
}

/// `schedule, break 2.0`
fn step_place(section: Section, what: &str, path: &[usize]) -> String {
    let section = if section == Section::Prepare { "prepare" } else { "schedule" };
    let path: Vec<String> = path.iter().map(usize::to_string).collect();
    format!("{section}, {what} {}", path.join("."))
}

/// Each call by itself.
struct Walk<'p> {
    program: &'p Program,
    section: Section,
    /// Extents of the loops around.
    loops: Vec<usize>,
    /// Position of the step in each of them, and in the schedule.
    path: Vec<usize>,
}

impl Walk<'_> {
    fn steps(&mut self, steps: &[Step], depth: usize) -> Result<(), Error> {
        if depth > MAX_NESTING {
            let message = format!("loops and conditions nest deeper than {MAX_NESTING}");
            return Err(Error::new("schedule", message));
        }
        for (i, step) in steps.iter().enumerate() {
            self.path.push(i);
            match step {
                Step::Call(call) => self.call(call).map_err(|message| {
                    Error::new(place(self.program, self.section, &self.path, call), message)
                })?,
                Step::Loop { extent, body } => {
                    self.loops.push(*extent);
                    self.steps(body, depth + 1)?;
                    self.loops.pop();
                }
                Step::Break { unless } => {
                    let place = step_place(self.section, "break", &self.path);
                    if self.loops.is_empty() {
                        return Err(Error::new(place, "is in no loop"));
                    }
                    self.condition(unless).map_err(|message| Error::new(place, message))?;
                }
                Step::If { condition, then, otherwise } => {
                    self.condition(condition)
                        .map_err(|message| Error::new(step_place(self.section, "if", &self.path), message))?;
                    for (which, steps) in [then, otherwise].into_iter().enumerate() {
                        self.path.push(which);
                        self.steps(steps, depth + 1)?;
                        self.path.pop();
                    }
                }
            }
            self.path.pop();
        }
        Ok(())
    }

    fn call(&self, call: &Call) -> Result<(), String> {
        let kernels = &self.program.kernels;
        let kernel = kernels
            .get(call.kernel.0 as usize)
            .ok_or_else(|| format!("no kernel has this number: there are {}", kernels.len()))?;
        let params = kernel.arguments();
        if call.args.len() != params.len() {
            let local = match kernel.params.len() - params.len() {
                0 => String::new(),
                local => format!(" (none for the {local} local parameters)"),
            };
            return Err(format!("expected {} arguments{local}, found {}", params.len(), call.args.len()));
        }
        if call.parallel && kernel.parts() < 2 {
            return Err(format!(
                "to be parallel it needs several grid points, and it has {}",
                kernel.parts()
            ));
        }
        let mut spans = Vec::with_capacity(call.args.len());
        for (i, (arg, param)) in call.args.iter().zip(params).enumerate() {
            self.argument(&format!("p{i}"), arg, param)?;
            spans.push(ByteSpan::new(self.program, arg, param.dtype));
        }
        overlap::verify(kernel, &spans, &self.loops)
    }

    /// A condition is one `bool`, which is read.
    fn condition(&self, arg: &Arg) -> Result<(), String> {
        self.argument("the condition", arg, &Param { dtype: DType::Bool, len: 1, access: Access::Read })
    }

    /// Whether a parameter may be given that place.
    fn argument(&self, name: &str, arg: &Arg, param: &Param) -> Result<(), String> {
        let buffers = &self.program.buffers;
        let buffer = buffers.get(arg.buffer.0 as usize).ok_or_else(|| {
            format!("{name} is given %{}, but there are {} buffers", arg.buffer.0, buffers.len())
        })?;
        if buffer.ty.dtype != param.dtype {
            return Err(format!("{name} is of {}, but %{} is {}", param.dtype, arg.buffer.0, buffer.ty));
        }
        if arg.strides.len() > self.loops.len() {
            let (strides, loops) = (arg.strides.len(), self.loops.len());
            return Err(format!("{name} is given {strides} strides, but {loops} loops are around it"));
        }
        let (mut first, mut last) = (arg.offset as i128, arg.offset as i128);
        for (&stride, &extent) in arg.strides.iter().zip(&self.loops) {
            let span = stride as i128 * (extent as i128 - 1).max(0);
            first += span.min(0);
            last += span.max(0);
        }
        let end = last + param.len as i128;
        if first < 0 || end > buffer.ty.elements() as i128 {
            return Err(format!(
                "{name} takes elements {first}..{end} of %{}, which is {}",
                arg.buffer.0, buffer.ty
            ));
        }
        self.allowed(&buffer.place, param.access).map_err(|why| {
            format!("{name} {} %{} \"{}\", {why}", verb(param.access), arg.buffer.0, buffer.name)
        })
    }

    fn allowed(&self, place: &Place, access: Access) -> Result<(), &'static str> {
        let writes = access != Access::Read;
        match (self.section, place) {
            (Section::Prepare, Place::Input { .. } | Place::Output) => {
                Err("but prepare touches neither inputs nor outputs")
            }
            (_, Place::Input { .. }) if writes => Err("an input"),
            (_, Place::Constant(_)) if writes => Err("a constant"),
            (Section::Prepare, Place::State { .. }) if writes => Err("but prepare does not change state"),
            (_, Place::State { updated: false }) if writes => Err("state that is not said to be updated"),
            (Section::Schedule, Place::Prepared(_)) if writes => Err("which only prepare writes"),
            _ => Ok(()),
        }
    }
}

fn verb(access: Access) -> &'static str {
    if access == Access::Read { "reads" } else { "writes" }
}

/// For each parameter, whether the kernel reads what was there before it stores: the first access decides.
pub fn reads_old(kernel: &Kernel) -> Vec<bool> {
    let mut first: Vec<Option<bool>> = vec![None; kernel.params.len()];
    let mut note = |param: usize, read: bool| {
        if let Some(first) = first.get_mut(param) {
            first.get_or_insert(read);
        }
    };
    let body = if kernel.parts() > 0 { kernel.body.as_slice() } else { &[] };
    for statement in walk(body) {
        match statement {
            Stmt::Let { expr: Expr::Load { param, .. }, .. } => note(*param, true),
            Stmt::Store { param, .. } => note(*param, false),
            Stmt::Tile(tile) => {
                note(tile.a.param, true);
                note(tile.b.param, true);
                note(tile.c.param, !tile.zero);
            }
            _ => {}
        }
    }
    let len = kernel.params.iter().map(|p| p.len > 0);
    first.into_iter().zip(len).map(|(read, some)| some && read == Some(true)).collect()
}

/// What is in memory.
#[derive(Clone)]
struct Known {
    /// Whether a buffer holds what was written to it.
    written: Vec<bool>,
    /// The buffer that was written to the same bytes since.
    lost_to: Vec<Option<BufferId>>,
    /// Planned buffers that are written, of the arena and prepared: by first byte, with the end. They never overlap.
    live: [BTreeMap<usize, (usize, BufferId)>; 2],
}

impl Known {
    /// What is there whichever way was taken.
    fn and(&mut self, other: &Known) {
        for (id, &written) in other.written.iter().enumerate() {
            self.written[id] &= written;
            self.lost_to[id] = self.lost_to[id].or(other.lost_to[id]);
        }
        self.drop_lost();
    }

    /// Takes what is lost from the buffers that are written.
    fn drop_lost(&mut self) {
        for live in &mut self.live {
            live.retain(|_, (_, id)| self.written[id.0 as usize]);
        }
    }
}

/// What is in memory, step by step.
struct Contents<'p> {
    program: &'p Program,
    /// [`reads_old`] of each kernel.
    old: &'p [Vec<bool>],
    known: Known,
    /// For each loop around, what is known where it is left early.
    exits: Vec<Option<Known>>,
}

impl Contents<'_> {
    /// What is there when a section begins: all that the caller gives, and what `prepare` has made.
    fn begin(&mut self, section: Section) {
        let Known { written, lost_to, .. } = &mut self.known;
        for (buffer, written) in self.program.buffers.iter().zip(written) {
            match buffer.place {
                Place::Input { .. } | Place::State { .. } | Place::Constant(_) => *written = true,
                Place::Prepared(_) => *written &= section == Section::Schedule,
                Place::Output | Place::Arena(_) => *written = false,
            }
        }
        lost_to.fill(None);
        self.known.drop_lost();
    }

    /// Runs through steps; bodies of loops twice, so that what one iteration leaves meets the next, but not twice
    /// in the second time, which would double with every nesting.
    fn steps(
        &mut self,
        section: Section,
        steps: &[Step],
        path: &mut Vec<usize>,
        twice: bool,
    ) -> Result<(), Error> {
        for (i, step) in steps.iter().enumerate() {
            path.push(i);
            match step {
                Step::Call(call) => self
                    .call(call)
                    .map_err(|message| Error::new(place(self.program, section, path, call), message))?,
                Step::Loop { extent, body } => {
                    self.exits.push(None);
                    if *extent > 0 {
                        self.steps(section, body, path, twice)?;
                    }
                    if *extent > 1 && twice {
                        self.steps(section, body, path, false)?;
                    }
                    if let Some(left) = self.exits.pop().flatten() {
                        self.known.and(&left);
                    }
                }
                Step::Break { unless } => {
                    self.condition(unless)
                        .map_err(|message| Error::new(step_place(section, "break", path), message))?;
                    match self.exits.last_mut() {
                        Some(Some(left)) => left.and(&self.known),
                        Some(left) => *left = Some(self.known.clone()),
                        None => {}
                    }
                }
                Step::If { condition, then, otherwise } => {
                    self.condition(condition)
                        .map_err(|message| Error::new(step_place(section, "if", path), message))?;
                    let before = self.known.clone();
                    path.push(0);
                    self.steps(section, then, path, twice)?;
                    let after = std::mem::replace(&mut self.known, before);
                    path.pop();
                    path.push(1);
                    self.steps(section, otherwise, path, twice)?;
                    path.pop();
                    self.known.and(&after);
                }
            }
            path.pop();
        }
        Ok(())
    }

    fn call(&mut self, call: &Call) -> Result<(), String> {
        let kernel = &self.program.kernels[call.kernel.0 as usize];
        let old = &self.old[call.kernel.0 as usize];
        for (i, arg) in call.args.iter().enumerate().filter(|&(i, _)| old[i]) {
            self.read(&format!("p{i}"), arg.buffer)?;
        }
        for (arg, param) in call.args.iter().zip(kernel.arguments()) {
            if param.access != Access::Read && kernel.parts() > 0 {
                self.write(arg.buffer);
            }
        }
        Ok(())
    }

    fn condition(&self, arg: &Arg) -> Result<(), String> {
        self.read("the condition", arg.buffer)
    }

    /// An error if nothing was written to the buffer, or something else since.
    fn read(&self, what: &str, buffer: BufferId) -> Result<(), String> {
        let id = buffer.0 as usize;
        if self.known.written[id] {
            return Ok(());
        }
        let name = |id: usize| format!("%{id} \"{}\"", self.program.buffers[id].name);
        Err(match self.known.lost_to[id] {
            Some(by) => {
                let by = name(by.0 as usize);
                format!("{what} reads {}, but {by} has been written to the same bytes", name(id))
            }
            None => format!("{what} reads {}, which nothing has written", name(id)),
        })
    }

    fn write(&mut self, id: BufferId) {
        let Known { written, lost_to, live } = &mut self.known;
        let (space, range) = overlap::bytes(self.program, id);
        let live = match space {
            Space::Arena => Some(&mut live[0]),
            Space::Prepared => Some(&mut live[1]),
            Space::Buffer(_) => None,
        };
        if let Some(live) = live.filter(|_| !range.is_empty()) {
            // They do not overlap, so their ends ascend with their starts.
            while let Some((&start, &(end, other))) = live.range(..range.end).next_back()
                && end > range.start
            {
                live.remove(&start);
                if other != id {
                    written[other.0 as usize] = false;
                    lost_to[other.0 as usize] = Some(id);
                }
            }
            live.insert(range.start, (range.end, id));
        }
        written[id.0 as usize] = true;
        lost_to[id.0 as usize] = None;
    }
}
