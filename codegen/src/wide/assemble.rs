//! Lane code as machine code: the strip's loop, and once more with a mask for the iterations that are left.
//!
//! Registers: `rdi` the table of words, `rcx` the first iteration of the step, `rax` and `rdx` addresses; `rsi`,
//! `r8`-`r11` the first addresses of the table; `rbx`, `rbp`, `r12`, `r13` count serial loops. `ymm0`-`ymm11` hold
//! values, `ymm12` the mask of the last step, `ymm13`-`ymm15` pass values through.

use brolga_ir::DType;
use iced_x86::IcedError;
use iced_x86::code_asm::{registers::*, *};

use super::allocate::{ALLOCATABLE, Home, Homes};
use super::lanes::{Binary, Define, Inst, Lane, Lanes, Place, Unary};
use super::strip::WIDTH;

/// The most serial loops inside each other.
pub(crate) const LOOPS: usize = 4;
const COUNTERS: [AsmRegister64; LOOPS] = [rbx, rbp, r12, r13];
const POINTERS: [AsmRegister64; 5] = [rsi, r8, r9, r10, r11];
const YMM: [AsmRegisterYmm; ALLOCATABLE] =
    [ymm0, ymm1, ymm2, ymm3, ymm4, ymm5, ymm6, ymm7, ymm8, ymm9, ymm10, ymm11];
const MASK: AsmRegisterYmm = ymm12;
const SCRATCH: [AsmRegisterYmm; 3] = [ymm13, ymm14, ymm15];

type Asm<T = ()> = Result<T, IcedError>;

#[derive(Clone, Copy)]
enum Operand {
    Register(AsmRegisterYmm),
    Memory(AsmMemoryOperand),
}

struct Assembler<'l> {
    a: CodeAssembler,
    lanes: &'l Lanes,
    homes: &'l Homes,
    /// Words of the table that are in registers.
    pointers: Vec<(usize, AsmRegister64)>,
    /// Vectors behind the code.
    pool: Vec<([u32; WIDTH], CodeLabel)>,
    /// Pool entry of each constant value.
    constants: Vec<Option<usize>>,
    /// Tops and ends of the serial loops around.
    open: Vec<(CodeLabel, usize)>,
    masked: bool,
    /// Iterations of a step: eight, or those that are left.
    steps: usize,
}

/// The code of `leaf(words)`. `pointers` are the words that hold addresses; the leading `invariant` instructions
/// run once; `extent` is the number of iterations.
pub(crate) fn assemble(
    lanes: &Lanes,
    invariant: usize,
    homes: &Homes,
    pointers: &[usize],
    extent: usize,
) -> Asm<Vec<u8>> {
    let mut asm = Assembler {
        a: CodeAssembler::new(64)?,
        lanes,
        homes,
        pointers: pointers.iter().copied().zip(POINTERS).collect(),
        pool: Vec::new(),
        constants: vec![None; lanes.count as usize],
        open: Vec::new(),
        masked: false,
        steps: WIDTH,
    };
    let depth = depth(&lanes.insts);
    for &counter in &COUNTERS[..depth] {
        asm.a.push(counter)?;
    }
    let frame = 32 * homes.spills as i32;
    if frame > 0 {
        asm.a.sub(rsp, frame)?;
    }
    for (word, register) in asm.pointers.clone() {
        asm.a.mov(register, qword_ptr(rdi + 8 * word as i32))?;
    }
    asm.constants();
    let (head, body) = lanes.insts.split_at(invariant);
    asm.run(head)?;
    let (full, rest) = (extent / WIDTH * WIDTH, extent % WIDTH);
    asm.a.xor(ecx, ecx)?;
    if full > 0 {
        let mut top = asm.a.create_label();
        asm.a.set_label(&mut top)?;
        asm.run(body)?;
        if full > WIDTH || rest > 0 {
            asm.a.add(ecx, WIDTH as i32)?;
        }
        if full > WIDTH {
            asm.a.cmp(ecx, full as i32)?;
            asm.a.jb(top)?;
        }
    }
    if rest > 0 {
        let lanes = std::array::from_fn(|lane| if lane < rest { u32::MAX } else { 0 });
        let mask = asm.pooled(lanes);
        let place = asm.pool_place(mask);
        asm.a.vmovups(MASK, place)?;
        asm.masked = true;
        asm.steps = rest;
        asm.run(body)?;
    }
    asm.a.vzeroupper()?;
    if frame > 0 {
        asm.a.add(rsp, frame)?;
    }
    for &counter in COUNTERS[..depth].iter().rev() {
        asm.a.pop(counter)?;
    }
    asm.a.ret()?;
    for (vector, mut label) in std::mem::take(&mut asm.pool) {
        asm.a.set_label(&mut label)?;
        asm.a.dd(&vector)?;
    }
    asm.a.assemble(0)
}

/// How deep serial loops are nested.
fn depth(insts: &[Inst]) -> usize {
    let (mut depth, mut most) = (0usize, 0);
    for inst in insts {
        match inst {
            Inst::Loop(_) => depth += 1,
            Inst::End => depth -= 1,
            _ => {}
        }
        most = most.max(depth);
    }
    most
}

impl Assembler<'_> {
    fn pooled(&mut self, vector: [u32; WIDTH]) -> usize {
        self.pool.iter().position(|entry| entry.0 == vector).unwrap_or_else(|| {
            let label = self.a.create_label();
            self.pool.push((vector, label));
            self.pool.len() - 1
        })
    }

    fn pool_place(&self, entry: usize) -> AsmMemoryOperand {
        ymmword_ptr(self.pool[entry].1)
    }

    /// Places behind the code for all constants.
    fn constants(&mut self) {
        for inst in &self.lanes.insts {
            let (lane, vector) = match *inst {
                Inst::Define(lane, Define::Constant(bits)) => (lane, [bits; WIDTH]),
                Inst::Define(lane, Define::Steps(step)) => {
                    (lane, std::array::from_fn(|i| (i as i32).wrapping_mul(step) as u32))
                }
                _ => continue,
            };
            self.constants[lane.0 as usize] = Some(self.pooled(vector));
        }
    }

    fn run(&mut self, insts: &[Inst]) -> Asm {
        for inst in insts {
            match *inst {
                Inst::Define(lane, define) => self.define(lane, define)?,
                Inst::Assign(to, from) => {
                    let value = self.register(from, 0)?;
                    self.put(to, value)?;
                }
                Inst::Store(place, value) => self.store(place, value)?,
                Inst::StoreSums(word, value) => {
                    let value = self.register(value, 0)?;
                    let place = self.sums(word)?;
                    if self.masked {
                        self.a.vmaskmovps(place, MASK, value)?;
                    } else {
                        self.a.vmovups(place, value)?;
                    }
                }
                Inst::Loop(extent) => {
                    let counter = COUNTERS[self.open.len()];
                    self.a.mov(counter, 0u64)?;
                    let mut top = self.a.create_label();
                    self.a.set_label(&mut top)?;
                    self.open.push((top, extent));
                }
                Inst::End => {
                    let (top, extent) = self.open.pop().expect("loops are nested");
                    let counter = COUNTERS[self.open.len()];
                    self.a.add(counter, 1)?;
                    self.a.cmp(counter, extent as i32)?;
                    self.a.jb(top)?;
                }
            }
        }
        Ok(())
    }

    fn home(&self, lane: Lane) -> Home {
        self.homes.homes[lane.0 as usize]
    }

    fn operand(&self, lane: Lane) -> Operand {
        match self.home(lane) {
            Home::Register(register) => Operand::Register(YMM[register]),
            Home::Spilled(slot) => Operand::Memory(ymmword_ptr(rsp + 32 * slot as i32)),
            Home::Constant => {
                let entry = self.constants[lane.0 as usize].expect("every constant has a place");
                Operand::Memory(self.pool_place(entry))
            }
            Home::Nowhere => unreachable!("an operand is used"),
        }
    }

    /// The value in a register: its own, or that scratch register.
    fn register(&mut self, lane: Lane, scratch: usize) -> Asm<AsmRegisterYmm> {
        match self.operand(lane) {
            Operand::Register(register) => Ok(register),
            Operand::Memory(place) => {
                self.a.vmovups(SCRATCH[scratch], place)?;
                Ok(SCRATCH[scratch])
            }
        }
    }

    /// Where a value is computed: its register, or the last scratch register on the way to the stack.
    fn target(&self, lane: Lane) -> AsmRegisterYmm {
        match self.home(lane) {
            Home::Register(register) => YMM[register],
            _ => SCRATCH[2],
        }
    }

    /// Moves a value to its home.
    fn put(&mut self, lane: Lane, value: AsmRegisterYmm) -> Asm {
        match self.home(lane) {
            Home::Register(register) if YMM[register] == value => Ok(()),
            Home::Register(register) => self.a.vmovaps(YMM[register], value),
            Home::Spilled(slot) => self.a.vmovups(ymmword_ptr(rsp + 32 * slot as i32), value),
            Home::Constant | Home::Nowhere => Ok(()),
        }
    }

    fn define(&mut self, lane: Lane, define: Define) -> Asm {
        if matches!(self.home(lane), Home::Constant | Home::Nowhere) {
            return Ok(());
        }
        let to = self.target(lane);
        match define {
            Define::Constant(_) | Define::Steps(_) => {}
            Define::Uniform(word) => self.a.vbroadcastss(to, dword_ptr(rdi + 8 * word as i32))?,
            Define::First => self.splat(to, ecx)?,
            Define::Counter(depth) => {
                let counter = [ebx, ebp, r12d, r13d][depth];
                self.splat(to, counter)?;
            }
            Define::Unary(op, a) => self.unary(op, to, a)?,
            Define::Binary(op, a, b) => {
                let a = self.register(a, 0)?;
                let b = self.operand(b);
                self.binary(op, to, a, b)?;
            }
            Define::Fma(a, b, c) => self.fma(to, a, b, c)?,
            Define::Select(mask, a, b) => {
                let mask = self.register(mask, 0)?;
                let b = self.register(b, 1)?;
                match self.operand(a) {
                    Operand::Register(a) => self.a.vblendvps(to, b, a, mask)?,
                    Operand::Memory(a) => self.a.vblendvps(to, b, a, mask)?,
                }
            }
            Define::Load(place, guard) => self.load(to, place, guard)?,
            Define::LoadSums(word) => {
                let place = self.sums(word)?;
                self.a.vmovups(to, place)?;
            }
        }
        self.put(lane, to)
    }

    fn splat(&mut self, to: AsmRegisterYmm, from: AsmRegister32) -> Asm {
        self.a.vmovd(xmm13, from)?;
        self.a.vpbroadcastd(to, xmm13)
    }

    fn unary(&mut self, op: Unary, to: AsmRegisterYmm, a: Lane) -> Asm {
        let a = self.register(a, 0)?;
        match op {
            Unary::Copy if to == a => Ok(()),
            Unary::Copy => self.a.vmovaps(to, a),
            Unary::Sqrtps => self.a.vsqrtps(to, a),
            Unary::Roundps(mode) => self.a.vroundps(to, a, mode as u32),
            Unary::Cvttps2dq => self.a.vcvttps2dq(to, a),
            Unary::Cvtdq2ps => self.a.vcvtdq2ps(to, a),
            Unary::Pabsd => self.a.vpabsd(to, a),
            Unary::Pslld(by) => self.a.vpslld(to, a, by as u32),
            Unary::Psrld(by) => self.a.vpsrld(to, a, by as u32),
            Unary::Psrad(by) => self.a.vpsrad(to, a, by as u32),
            Unary::Psrlq(by) => self.a.vpsrlq(to, a, by as u32),
        }
    }

    fn binary(&mut self, op: Binary, to: AsmRegisterYmm, a: AsmRegisterYmm, b: Operand) -> Asm {
        macro_rules! either {
            ($instruction:ident $(, $imm:expr)?) => {
                match b {
                    Operand::Register(b) => self.a.$instruction(to, a, b $(, $imm)?),
                    Operand::Memory(b) => self.a.$instruction(to, a, b $(, $imm)?),
                }
            };
        }
        match op {
            Binary::Addps => either!(vaddps),
            Binary::Subps => either!(vsubps),
            Binary::Mulps => either!(vmulps),
            Binary::Divps => either!(vdivps),
            Binary::Maxps => either!(vmaxps),
            Binary::Minps => either!(vminps),
            Binary::Cmpps(predicate) => either!(vcmpps, predicate as u32),
            Binary::And => either!(vandps),
            Binary::Or => either!(vorps),
            Binary::Xor => either!(vxorps),
            Binary::Paddd => either!(vpaddd),
            Binary::Psubd => either!(vpsubd),
            Binary::Pmulld => either!(vpmulld),
            Binary::Pmaxsd => either!(vpmaxsd),
            Binary::Pminsd => either!(vpminsd),
            Binary::Pcmpeqd => either!(vpcmpeqd),
            Binary::Pcmpgtd => either!(vpcmpgtd),
            Binary::Psllvd => either!(vpsllvd),
            Binary::Psravd => either!(vpsravd),
            Binary::Psrlvd => either!(vpsrlvd),
            Binary::Pmuludq => either!(vpmuludq),
            Binary::Interleave => either!(vpblendd, 0b1010_1010u32),
        }
    }

    /// `a * b + c`, where the instruction overwrites one of its operands.
    fn fma(&mut self, to: AsmRegisterYmm, a: Lane, b: Lane, c: Lane) -> Asm {
        let in_target = |asm: &Self, lane| matches!(asm.operand(lane), Operand::Register(r) if r == to);
        let (a, b) = if in_target(self, b) { (b, a) } else { (a, b) };
        if in_target(self, c) && !in_target(self, a) {
            let a = self.register(a, 0)?;
            return match self.operand(b) {
                Operand::Register(b) => self.a.vfmadd231ps(to, a, b),
                Operand::Memory(b) => self.a.vfmadd231ps(to, a, b),
            };
        }
        let b = self.register(b, 0)?;
        let c = self.operand(c);
        match self.operand(a) {
            Operand::Register(a) if a == to => {}
            Operand::Register(a) => self.a.vmovaps(to, a)?,
            Operand::Memory(a) => self.a.vmovups(to, a)?,
        }
        match c {
            Operand::Register(c) => self.a.vfmadd213ps(to, b, c),
            Operand::Memory(c) => self.a.vfmadd213ps(to, b, c),
        }
    }

    /// Where eight lanes of an accumulator in memory lie.
    fn sums(&mut self, word: usize) -> Asm<AsmMemoryOperand> {
        let base = self.base(word)?;
        self.a.mov(edx, ecx)?;
        self.a.and(edx, 31)?;
        Ok(ymmword_ptr(base + rdx * 4))
    }

    fn base(&mut self, word: usize) -> Asm<AsmRegister64> {
        if let Some(&(_, register)) = self.pointers.iter().find(|p| p.0 == word) {
            return Ok(register);
        }
        self.a.mov(rax, qword_ptr(rdi + 8 * word as i32))?;
        Ok(rax)
    }

    /// The address without the part of the strip's iteration.
    fn moved(&mut self, place: Place) -> Asm<AsmRegister64> {
        let mut base = self.base(place.pointer)?;
        for &(depth, bytes) in &self.lanes.moves[place.moves.0..place.moves.1] {
            self.a.imul_3(rdx, COUNTERS[depth], bytes)?;
            self.a.lea(rax, qword_ptr(base + rdx))?;
            base = rax;
        }
        Ok(base)
    }

    fn load(&mut self, to: AsmRegisterYmm, place: Place, guard: Option<Lane>) -> Asm {
        let base = self.moved(place)?;
        match place.dtype {
            DType::U8 | DType::Bool => {
                self.a.vpmovzxbd(to, qword_ptr(base + rcx + place.offset))?;
                if place.dtype == DType::Bool {
                    self.a.vpxor(SCRATCH[0], SCRATCH[0], SCRATCH[0])?;
                    self.a.vpsubd(to, SCRATCH[0], to)?;
                }
                return Ok(());
            }
            _ => {}
        }
        let linear = place.index.is_none();
        if linear && place.stride == 0 && guard.is_none() {
            return self.a.vbroadcastss(to, dword_ptr(base + place.offset));
        }
        let contiguous = base + rcx * 4 + place.offset;
        if linear && place.stride == 1 && guard.is_none() && !self.masked {
            return self.a.vmovups(to, ymmword_ptr(contiguous));
        }
        // The lanes to load: those of the guard, of the last step, or all.
        let mask = SCRATCH[0];
        match (guard, self.masked) {
            (Some(guard), masked) => {
                let guard = self.register(guard, 0)?;
                if masked {
                    self.a.vandps(mask, guard, MASK)?;
                } else if guard != mask {
                    self.a.vmovaps(mask, guard)?;
                }
            }
            (None, true) => self.a.vmovaps(mask, MASK)?,
            (None, false) => self.a.vpcmpeqd(mask, mask, mask)?,
        }
        if linear && place.stride == 1 {
            return self.a.vmaskmovps(to, mask, ymmword_ptr(contiguous));
        }
        // A gather keeps what is not loaded, and wants three different registers: it has the target's own lanes
        // zeroed, the distances in a scratch register, and uses up the mask.
        self.a.imul_3(rdx, rcx, 4 * place.stride)?;
        self.a.lea(rax, qword_ptr(base + rdx))?;
        let steps = self.pooled(std::array::from_fn(|i| (i as i32).wrapping_mul(place.stride) as u32));
        let steps = self.pool_place(steps);
        self.a.vmovups(SCRATCH[1], steps)?;
        if let Some(index) = place.index {
            match self.operand(index) {
                Operand::Register(index) => self.a.vpaddd(SCRATCH[1], SCRATCH[1], index)?,
                Operand::Memory(index) => self.a.vpaddd(SCRATCH[1], SCRATCH[1], index)?,
            }
        }
        self.a.vxorps(to, to, to)?;
        self.a.vgatherdps_3(to, dword_ptr(rax + SCRATCH[1] * 4 + place.offset), mask)
    }

    fn store(&mut self, place: Place, value: Lane) -> Asm {
        let value = self.register(value, 0)?;
        let base = self.moved(place)?;
        match place.dtype {
            DType::Bool | DType::U8 => {
                let low = xmm14;
                let value = if place.dtype == DType::Bool {
                    self.a.vpsrld(SCRATCH[0], value, 31)?;
                    SCRATCH[0]
                } else {
                    value
                };
                // Lanes in 0..=255, which saturation keeps; the halves first, because packing stays inside them.
                self.a.vextracti128(xmm15, value, 1)?;
                self.a.vextracti128(low, value, 0)?;
                self.a.vpackusdw(low, low, xmm15)?;
                self.a.vpackuswb(low, low, low)?;
                self.a.vmovq(qword_ptr(base + rcx + place.offset), low)
            }
            _ if place.stride != 1 => {
                // One lane after the other, the last one last.
                self.a.imul_3(rdx, rcx, 4 * place.stride)?;
                self.a.lea(rax, qword_ptr(base + rdx))?;
                for lane in 0..self.steps {
                    if lane % 4 == 0 {
                        self.a.vextracti128(xmm14, value, lane as u32 / 4)?;
                    }
                    let place = rax + (place.offset + 4 * place.stride * lane as i32);
                    self.a.vextractps(dword_ptr(place), xmm14, lane as u32 % 4)?;
                }
                Ok(())
            }
            _ if self.masked => self.a.vmaskmovps(ymmword_ptr(base + rcx * 4 + place.offset), MASK, value),
            _ => self.a.vmovups(ymmword_ptr(base + rcx * 4 + place.offset), value),
        }
    }
}
