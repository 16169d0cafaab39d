//! The rules of calls: arguments, places, and what is in memory when it is read.

use super::overlap::{self, Region, Space};
use super::{Error, MAX_NESTING};
use crate::program::{Access, BufferId, Call, Kernel, Place, Program, Step, Stmt};

/// Checks `prepare` and the schedule.
pub fn verify(program: &Program) -> Result<(), Error> {
    let old: Vec<Vec<bool>> = program.kernels.iter().map(reads_old).collect();
    let mut contents = Contents {
        program,
        old: &old,
        written: vec![false; program.buffers.len()],
        lost_to: vec![None; program.buffers.len()],
        live: Vec::new(),
    };
    for (section, steps) in [(Section::Prepare, &program.prepare), (Section::Schedule, &program.schedule)] {
        let mut walk = Walk { program, section, loops: Vec::new(), path: Vec::new() };
        walk.steps(steps)?;
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
    let section = if section == Section::Prepare { "prepare" } else { "schedule" };
    let path: Vec<String> = path.iter().map(usize::to_string).collect();
    let kernel = program.kernels.get(call.kernel.0 as usize).map_or("", |k| &k.name);
    let origin = if call.origin.is_empty() { String::new() } else { format!(" ({})", call.origin) };
    format!("{section}, call {} of @{}#{}{origin}", path.join("."), crate::lexer::name(kernel), call.kernel.0)
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
    fn steps(&mut self, steps: &[Step]) -> Result<(), Error> {
        for (i, step) in steps.iter().enumerate() {
            self.path.push(i);
            match step {
                Step::Call(call) => self.call(call).map_err(|message| {
                    Error::new(place(self.program, self.section, &self.path, call), message)
                })?,
                Step::Loop { extent, body } => {
                    if self.loops.len() >= MAX_NESTING {
                        return Err(Error::new("schedule", format!("loops nest deeper than {MAX_NESTING}")));
                    }
                    self.loops.push(*extent);
                    self.steps(body)?;
                    self.loops.pop();
                }
            }
            self.path.pop();
        }
        Ok(())
    }

    fn call(&self, call: &Call) -> Result<(), String> {
        let Program { kernels, buffers, .. } = self.program;
        let kernel = kernels
            .get(call.kernel.0 as usize)
            .ok_or_else(|| format!("no kernel has this number: there are {}", kernels.len()))?;
        if call.args.len() != kernel.params.len() {
            return Err(format!("expected {} arguments, found {}", kernel.params.len(), call.args.len()));
        }
        let mut regions = Vec::with_capacity(call.args.len());
        for (i, (arg, param)) in call.args.iter().zip(&kernel.params).enumerate() {
            let buffer = buffers.get(arg.buffer.0 as usize).ok_or_else(|| {
                format!("p{i} is given %{}, but there are {} buffers", arg.buffer.0, buffers.len())
            })?;
            if buffer.ty.dtype != param.dtype {
                return Err(format!("p{i} is of {}, but %{} is {}", param.dtype, arg.buffer.0, buffer.ty));
            }
            if arg.strides.len() > self.loops.len() {
                let (strides, loops) = (arg.strides.len(), self.loops.len());
                return Err(format!(
                    "p{i} is given {strides} strides, but {loops} loops are around the call"
                ));
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
                    "p{i} takes elements {first}..{end} of %{}, which is {}",
                    arg.buffer.0, buffer.ty
                ));
            }
            self.allowed(&buffer.place, param.access).map_err(|why| {
                format!("p{i} {} %{} \"{}\", {why}", verb(param.access), arg.buffer.0, buffer.name)
            })?;
            regions.push(Region::new(self.program, arg, param.dtype));
        }
        overlap::verify(kernel, &regions, &self.loops)
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
fn reads_old(kernel: &Kernel) -> Vec<bool> {
    fn note(first: &mut [Option<bool>], param: usize, read: bool) {
        if let Some(first) = first.get_mut(param) {
            first.get_or_insert(read);
        }
    }
    fn visit(body: &[Stmt], first: &mut [Option<bool>]) {
        for statement in body {
            match statement {
                Stmt::For { body, .. } | Stmt::Strip { body, .. } => visit(body, first),
                Stmt::If { then, otherwise, .. } => {
                    visit(then, first);
                    visit(otherwise, first);
                }
                Stmt::Let { expr: crate::program::Expr::Load { param, .. }, .. } => note(first, *param, true),
                Stmt::Store { param, .. } => note(first, *param, false),
                Stmt::Tile(tile) => {
                    note(first, tile.a.param, true);
                    note(first, tile.b.param, true);
                    note(first, tile.c.param, !tile.zero);
                }
                _ => {}
            }
        }
    }
    let mut first = vec![None; kernel.params.len()];
    if kernel.parts() > 0 {
        visit(&kernel.body, &mut first);
    }
    let len = kernel.params.iter().map(|p| p.len > 0);
    first.into_iter().zip(len).map(|(read, some)| some && read == Some(true)).collect()
}

/// What is in memory, call by call.
struct Contents<'p> {
    program: &'p Program,
    /// [`reads_old`] of each kernel.
    old: &'p [Vec<bool>],
    /// Whether a buffer holds what was written to it.
    written: Vec<bool>,
    /// The buffer that was written to the same bytes since.
    lost_to: Vec<Option<BufferId>>,
    /// Planned buffers that are written.
    live: Vec<BufferId>,
}

impl Contents<'_> {
    /// What is there when a section begins: all that the caller gives, and what `prepare` has made.
    fn begin(&mut self, section: Section) {
        for (buffer, written) in self.program.buffers.iter().zip(&mut self.written) {
            match buffer.place {
                Place::Input { .. } | Place::State { .. } | Place::Constant(_) => *written = true,
                Place::Prepared(_) => *written &= section == Section::Schedule,
                Place::Output | Place::Arena(_) => *written = false,
            }
        }
        let written = &self.written;
        self.live.retain(|id| written[id.0 as usize]);
        self.lost_to.fill(None);
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
                    if *extent > 0 {
                        self.steps(section, body, path, twice)?;
                    }
                    if *extent > 1 && twice {
                        self.steps(section, body, path, false)?;
                    }
                }
            }
            path.pop();
        }
        Ok(())
    }

    fn call(&mut self, call: &Call) -> Result<(), String> {
        let kernel = &self.program.kernels[call.kernel.0 as usize];
        let old = &self.old[call.kernel.0 as usize];
        for (i, arg) in call.args.iter().enumerate() {
            let id = arg.buffer.0 as usize;
            if old[i] && !self.written[id] {
                let name = |id: usize| format!("%{id} \"{}\"", self.program.buffers[id].name);
                return Err(match self.lost_to[id] {
                    Some(by) => {
                        format!(
                            "p{i} reads {}, but {} has been written to the same bytes",
                            name(id),
                            name(by.0 as usize)
                        )
                    }
                    None => format!("p{i} reads {}, which nothing has written", name(id)),
                });
            }
        }
        for (arg, param) in call.args.iter().zip(&kernel.params) {
            if param.access != Access::Read && kernel.parts() > 0 {
                self.write(arg.buffer);
            }
        }
        Ok(())
    }

    fn write(&mut self, id: BufferId) {
        let Contents { program, written, lost_to, live, .. } = self;
        let bytes = |id: BufferId| overlap::bytes(program, id);
        let (space, range) = bytes(id);
        if matches!(space, Space::Arena | Space::Prepared) {
            live.retain(|&other| {
                let (its_space, its_range) = bytes(other);
                let overlaps =
                    its_space == space && its_range.start < range.end && range.start < its_range.end;
                if overlaps && other != id {
                    written[other.0 as usize] = false;
                    lost_to[other.0 as usize] = Some(id);
                }
                !overlaps
            });
            live.push(id);
        }
        written[id.0 as usize] = true;
        lost_to[id.0 as usize] = None;
    }
}
