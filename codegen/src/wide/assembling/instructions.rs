//! Instructions as bytes, one after the other: labels, and the choice of encodings.
//!
//! All jumps go back, so an instruction is encoded as it comes. What lies behind the code is addressed by distances, which are put
//! in at the end.
//!
//! The encoder's crate has an assembler with a function for every instruction there is: ten thousand, which take longer to
//! compile than all that is made with them. Leaves are made of a hundred: those on vectors are in `encodings.rs`, the others here.

use iced_x86::{Code, Encoder, IcedError, Instruction, OpKind};

use crate::wide::types::operands::{Gpr32, Gpr64, Label, Memory, Operand, Simd};

pub(crate) type Asm<T = ()> = Result<T, IcedError>;

/// Encodings of an instruction on vectors, or `INVALID`: with a VEX prefix for 128 and 256 bits, with an EVEX prefix for 128, 256
/// and 512 bits.
pub(crate) struct Forms {
    pub vex: [Code; 2],
    pub evex: [Code; 3],
}

impl Forms {
    /// The encoding for the widest of the operands.
    fn code(&self, operands: &[Operand], evex: bool) -> Code {
        let width = |operand: &Operand| match operand {
            Operand::Simd(wide) if wide.register.is_zmm() => 2,
            Operand::Simd(wide) if wide.register.is_ymm() => 1,
            _ => 0,
        };
        let width = operands.iter().map(width).max().unwrap_or(0);
        let vex = self.vex.get(width).copied().unwrap_or(Code::INVALID);
        match self.evex[width] {
            Code::INVALID => vex,
            code if evex || vex == Code::INVALID => code,
            _ => vex,
        }
    }
}

/// A distance in the code, in four bytes.
struct Distance {
    /// Where these are.
    at: usize,
    /// Where the instruction ends, from which it counts.
    from: usize,
    to: Label,
}

/// Instructions one after the other.
pub(crate) struct Instructions {
    encoder: Encoder,
    /// The bytes so far.
    len: usize,
    /// Where labels are, if they are set.
    labels: Vec<Option<usize>>,
    distances: Vec<Distance>,
    /// Whether vectors are encoded so that all 32 registers and masks can be reached.
    evex: bool,
}

impl Instructions {
    /// `evex`: for a processor with AVX-512.
    pub fn new(evex: bool) -> Instructions {
        Instructions { encoder: Encoder::new(64), len: 0, labels: Vec::new(), distances: Vec::new(), evex }
    }

    /// A label, to be set later.
    pub fn create_label(&mut self) -> Label {
        self.labels.push(None);
        Label(self.labels.len() - 1)
    }

    /// The label names what comes next.
    pub fn set_label(&mut self, label: Label) {
        self.labels[label.0] = Some(self.len);
    }

    /// The bytes, to be run at any address. All labels are set.
    pub fn finish(mut self) -> Vec<u8> {
        let mut code = self.encoder.take_buffer();
        for Distance { at, from, to } in self.distances {
            let to = self.labels[to.0].expect("labels are set");
            let bytes = code[at..].first_chunk_mut().expect("a distance has four bytes");
            *bytes = (to as i32 - from as i32).to_le_bytes();
        }
        code
    }

    fn append(&mut self, mut instruction: Instruction) -> Asm {
        let start = self.len;
        let label = instruction.is_ip_rel_memory_operand().then(|| instruction.memory_displacement64());
        if label.is_some() {
            // Any near address will do for now.
            instruction.set_memory_displacement64(start as u64);
        }
        self.len += self.encoder.encode(&instruction, start as u64)?;
        if let Some(label) = label {
            let at = start + self.encoder.get_constant_offsets().displacement_offset();
            self.distances.push(Distance { at, from: self.len, to: Label(label as usize) });
        }
        Ok(())
    }

    fn byte(&mut self, byte: u8) {
        self.encoder.write_u8(byte);
        self.len += 1;
    }

    /// Zeros up to a multiple of so many bytes.
    pub fn align(&mut self, bytes: usize) {
        (self.len..self.len.next_multiple_of(bytes)).for_each(|_| self.byte(0));
    }

    /// Numbers instead of an instruction.
    pub fn data(&mut self, numbers: &[u32]) {
        numbers.iter().flat_map(|number| number.to_le_bytes()).for_each(|byte| self.byte(byte));
    }

    /// An instruction on vectors, with `stores` instead of `forms` where the first operand is no vector.
    pub fn vector(&mut self, forms: &Forms, stores: Option<&Forms>, operands: &[Operand]) -> Asm {
        let forms = match operands[0] {
            Operand::Memory(_) | Operand::Gpr32(_) => stores.unwrap_or(forms),
            _ => forms,
        };
        self.operands(forms.code(operands, self.evex), operands)
    }

    /// An instruction whose immediate, if it has one, is of eight bits.
    fn operands(&mut self, code: Code, operands: &[Operand]) -> Asm {
        self.with(code, OpKind::Immediate8, operands)
    }

    /// An instruction, and what kind its immediate is of, if it has one.
    fn with(&mut self, code: Code, immediate: OpKind, operands: &[Operand]) -> Asm {
        let mut instruction = Instruction::new();
        instruction.set_code(code);
        for (i, operand) in (0..).zip(operands) {
            match *operand {
                Operand::Gpr64(Gpr64(register)) | Operand::Gpr32(Gpr32(register)) => {
                    instruction.set_op_kind(i, OpKind::Register);
                    instruction.set_op_register(i, register);
                }
                Operand::Simd(wide) => {
                    instruction.set_op_kind(i, OpKind::Register);
                    instruction.set_op_register(i, wide.register);
                    if i == 0 {
                        instruction.set_op_mask(wide.mask);
                        instruction.set_zeroing_masking(wide.zeroing);
                    }
                }
                Operand::Memory(memory) => {
                    instruction.set_op_kind(i, OpKind::Memory);
                    instruction.set_memory_base(memory.base);
                    instruction.set_memory_index(memory.index);
                    instruction.set_memory_index_scale(memory.scale);
                    instruction.set_memory_displacement64(memory.displacement as u64);
                    instruction.set_memory_displ_size((memory.displacement != 0) as u32);
                    instruction.set_is_broadcast(memory.broadcast);
                    if i == 0 {
                        instruction.set_op_mask(memory.mask);
                    }
                }
                Operand::Immediate(value) => {
                    instruction.set_op_kind(i, immediate);
                    instruction.set_immediate_i64(i, value);
                }
            }
        }
        self.append(instruction)
    }
}

/// Instructions on general registers.
impl Instructions {
    pub fn mov(&mut self, to: impl Into<Operand>, from: impl Into<Operand>) -> Asm {
        let (to, from) = (to.into(), from.into());
        let (code, immediate) = match (to, from) {
            (Operand::Gpr64(_), Operand::Memory(_)) => (Code::Mov_r64_rm64, OpKind::Immediate8),
            (Operand::Gpr64(_), Operand::Immediate(_)) => (Code::Mov_r64_imm64, OpKind::Immediate64),
            (Operand::Gpr32(_), Operand::Immediate(_)) => (Code::Mov_r32_imm32, OpKind::Immediate32),
            (Operand::Memory(Memory { size: 4, .. }), Operand::Immediate(_)) => {
                (Code::Mov_rm32_imm32, OpKind::Immediate32)
            }
            (_, Operand::Gpr64(_)) => (Code::Mov_rm64_r64, OpKind::Immediate8),
            _ => (Code::INVALID, OpKind::Immediate8),
        };
        self.with(code, immediate, &[to, from])
    }

    pub fn add(&mut self, to: impl Into<Operand>, by: impl Into<Operand>) -> Asm {
        let (to, by) = (to.into(), by.into());
        if let Operand::Gpr64(_) = by {
            return self.operands(Code::Add_rm64_r64, &[to, by]);
        }
        let wide = [Code::Add_rm64_imm8, Code::Add_rm64_imm32];
        self.arithmetic(wide, [Code::Add_rm32_imm8, Code::Add_rm32_imm32], to, by)
    }

    pub fn sub(&mut self, to: Gpr64, by: i32) -> Asm {
        let wide = [Code::Sub_rm64_imm8, Code::Sub_rm64_imm32];
        self.arithmetic(wide, [Code::INVALID; 2], to.into(), by.into())
    }

    pub fn and(&mut self, to: Gpr64, with: i32) -> Asm {
        let wide = [Code::And_rm64_imm8, Code::And_rm64_imm32];
        self.arithmetic(wide, [Code::INVALID; 2], to.into(), with.into())
    }

    pub fn cmp(&mut self, a: Gpr32, b: i32) -> Asm {
        let narrow = [Code::Cmp_rm32_imm8, Code::Cmp_rm32_imm32];
        self.arithmetic([Code::INVALID; 2], narrow, a.into(), b.into())
    }

    /// An instruction with an immediate of 32 bits, or of eight if it fits.
    fn arithmetic(&mut self, wide: [Code; 2], narrow: [Code; 2], to: Operand, by: Operand) -> Asm {
        let Operand::Immediate(value) = by else { return self.operands(Code::INVALID, &[to, by]) };
        let long = i8::try_from(value).is_err() as usize;
        let is_wide = matches!(to, Operand::Gpr64(_) | Operand::Memory(Memory { size: 8, .. }));
        let (code, kinds) = match is_wide {
            true => (wide[long], [OpKind::Immediate8to64, OpKind::Immediate32to64]),
            false => (narrow[long], [OpKind::Immediate8to32, OpKind::Immediate32]),
        };
        self.with(code, kinds[long], &[to, by])
    }

    /// `to = a * by`
    pub fn imul(&mut self, to: Gpr64, a: Gpr64, by: i32) -> Asm {
        let (code, kind) = match i8::try_from(by) {
            Ok(_) => (Code::Imul_r64_rm64_imm8, OpKind::Immediate8to64),
            Err(_) => (Code::Imul_r64_rm64_imm32, OpKind::Immediate32to64),
        };
        self.with(code, kind, &[to.into(), a.into(), by.into()])
    }

    pub fn lea(&mut self, to: impl Into<Operand>, place: impl Into<Memory>) -> Asm {
        let to = to.into();
        let code = if matches!(to, Operand::Gpr64(_)) { Code::Lea_r64_m } else { Code::Lea_r32_m };
        self.operands(code, &[to, place.into().into()])
    }

    pub fn movzx(&mut self, to: Gpr32, from: Memory) -> Asm {
        let code = if from.size == 1 { Code::Movzx_r32_rm8 } else { Code::Movzx_r32_rm16 };
        self.operands(code, &[to.into(), from.into()])
    }

    pub fn movsxd(&mut self, to: Gpr64, from: Gpr32) -> Asm {
        self.operands(Code::Movsxd_r64_rm32, &[to.into(), from.into()])
    }

    pub fn xor(&mut self, to: Gpr32, with: Gpr32) -> Asm {
        self.operands(Code::Xor_rm32_r32, &[to.into(), with.into()])
    }

    pub fn shl(&mut self, to: Gpr32, by: u32) -> Asm {
        self.operands(Code::Shl_rm32_imm8, &[to.into(), by.into()])
    }

    /// One less, of 32 bits.
    pub fn dec(&mut self, to: impl Into<Operand>) -> Asm {
        self.operands(Code::Dec_rm32, &[to.into()])
    }

    pub fn push(&mut self, register: Gpr64) -> Asm {
        self.operands(Code::Push_r64, &[register.into()])
    }

    pub fn pop(&mut self, register: Gpr64) -> Asm {
        self.operands(Code::Pop_r64, &[register.into()])
    }

    pub fn prefetcht0(&mut self, place: Memory) -> Asm {
        self.operands(Code::Prefetcht0_m8, &[place.into()])
    }

    pub fn jnz(&mut self, to: Label) -> Asm {
        self.jump(Code::Jne_rel8_64, Code::Jne_rel32_64, to)
    }

    pub fn jb(&mut self, to: Label) -> Asm {
        self.jump(Code::Jb_rel8_64, Code::Jb_rel32_64, to)
    }

    /// Back to a label that is set.
    fn jump(&mut self, short: Code, near: Code, to: Label) -> Asm {
        let to = self.labels[to.0].expect("jumps go back");
        // From the end of the short form, which has two bytes.
        let code = if self.len + 2 - to <= 128 { short } else { near };
        self.append(Instruction::with_branch(code, to as u64)?)
    }

    /// Jumps to the address in a register.
    #[cfg(feature = "emulate")]
    pub fn jmp(&mut self, to: Gpr64) -> Asm {
        self.operands(Code::Jmp_rm64, &[to.into()])
    }

    pub fn ret(&mut self) -> Asm {
        self.operands(Code::Retnq, &[])
    }

    /// To all lanes, from memory or the first lane of a register: two instructions with VEX.
    pub fn vbroadcastss(&mut self, to: Simd, from: impl Into<Operand>) -> Asm {
        match from.into() {
            Operand::Memory(from) => self.vbroadcastss_memory(to, from),
            from => self.vbroadcastss_register(to, from),
        }
    }

    /// From a mask register or a general one.
    pub fn kmovw(&mut self, to: Simd, from: impl Into<Operand>) -> Asm {
        let from = from.into();
        let code =
            if let Operand::Gpr32(_) = from { Code::VEX_Kmovw_kr_r32 } else { Code::VEX_Kmovw_kr_km16 };
        self.operands(code, &[to.into(), from])
    }

    pub fn kxnorw(&mut self, to: Simd, a: Simd, b: Simd) -> Asm {
        self.operands(Code::VEX_Kxnorw_kr_kr_kr, &[to.into(), a.into(), b.into()])
    }

    pub fn vzeroupper(&mut self) -> Asm {
        self.operands(Code::VEX_Vzeroupper, &[])
    }
}
