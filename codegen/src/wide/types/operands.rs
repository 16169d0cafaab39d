//! What instructions work on: registers, places in memory, numbers.

use std::ops::{Add, Mul};

use iced_x86::Register;

/// A general register, of 64 bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Gpr64(pub Register);

/// The lower half of one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Gpr32(pub Register);

impl Gpr64 {
    pub fn half(self) -> Gpr32 {
        // Both kinds are numbered alike.
        Gpr32(Register::EAX + (self.0 as u32 - Register::RAX as u32))
    }
}

/// A vector register of some width or a mask register. As the first operand it may be written under a mask.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Simd {
    pub register: Register,
    /// The mask under which it is written, or none.
    pub mask: Register,
    /// Whether lanes without a bit of the mask become zero; else they stay.
    pub zeroing: bool,
}

impl Simd {
    const fn new(register: Register) -> Simd {
        Simd { register, mask: Register::None, zeroing: false }
    }

    pub fn xmm(number: usize) -> Simd {
        Simd::new(Register::XMM0 + number as u32)
    }

    pub fn ymm(number: usize) -> Simd {
        Simd::new(Register::YMM0 + number as u32)
    }

    pub fn zmm(number: usize) -> Simd {
        Simd::new(Register::ZMM0 + number as u32)
    }

    /// Only where `k1` has ones.
    pub fn k1(self) -> Simd {
        Simd { mask: Register::K1, ..self }
    }

    /// Only where `k2` has ones.
    pub fn k2(self) -> Simd {
        Simd { mask: Register::K2, ..self }
    }

    /// Zero where the mask has zeros.
    pub fn z(self) -> Simd {
        Simd { zeroing: true, ..self }
    }
}

/// Registers by name.
#[allow(non_upper_case_globals)]
pub(crate) mod registers {
    use super::{Gpr32, Gpr64, Register, Simd};

    macro_rules! registers {
        ($($kind:ident: $($name:ident = $register:ident)*;)*) => {
            $($(pub const $name: $kind = $kind::named(Register::$register);)*)*
        };
    }

    impl Gpr64 {
        const fn named(register: Register) -> Gpr64 {
            Gpr64(register)
        }
    }

    impl Gpr32 {
        const fn named(register: Register) -> Gpr32 {
            Gpr32(register)
        }
    }

    impl Simd {
        const fn named(register: Register) -> Simd {
            Simd::new(register)
        }
    }

    registers! {
        Gpr64: rax = RAX rcx = RCX rdx = RDX rbx = RBX rsp = RSP rbp = RBP rsi = RSI rdi = RDI
            r8 = R8 r9 = R9 r10 = R10 r11 = R11 r12 = R12 r13 = R13 r14 = R14 r15 = R15;
        Gpr32: eax = EAX ecx = ECX edx = EDX r15d = R15D;
        Simd: k1 = K1 k2 = K2;
    }
}

/// A place that instructions name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Label(pub usize);

/// `base + index * scale + displacement`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    pub base: Register,
    pub index: Register,
    pub scale: u32,
    pub displacement: i64,
    /// Bytes, for instructions whose other operands do not tell; else 0.
    pub size: usize,
    /// The mask of a store.
    pub mask: Register,
    /// Whether one element goes to all lanes.
    pub broadcast: bool,
}

impl Memory {
    fn new(base: Register) -> Memory {
        let (index, mask) = (Register::None, Register::None);
        Memory { base, index, scale: 1, displacement: 0, size: 0, mask, broadcast: false }
    }

    /// Stored only where `k1` has ones.
    pub fn k1(self) -> Memory {
        Memory { mask: Register::K1, ..self }
    }
}

impl From<Gpr64> for Memory {
    fn from(base: Gpr64) -> Memory {
        Memory::new(base.0)
    }
}

impl From<Label> for Memory {
    fn from(label: Label) -> Memory {
        // The label takes the place of its distance, see `append`.
        Memory { displacement: label.0 as i64, ..Memory::new(Register::RIP) }
    }
}

pub(crate) fn byte_ptr(place: impl Into<Memory>) -> Memory {
    Memory { size: 1, ..place.into() }
}

pub(crate) fn word_ptr(place: impl Into<Memory>) -> Memory {
    Memory { size: 2, ..place.into() }
}

pub(crate) fn dword_ptr(place: impl Into<Memory>) -> Memory {
    Memory { size: 4, ..place.into() }
}

pub(crate) fn qword_ptr(place: impl Into<Memory>) -> Memory {
    Memory { size: 8, ..place.into() }
}

/// 32 bits that go to all lanes.
pub(crate) fn dword_bcst(place: impl Into<Memory>) -> Memory {
    Memory { size: 4, broadcast: true, ..place.into() }
}

/// An index and what it is multiplied by.
pub(crate) struct Scaled(Register, u32);

impl Mul<u32> for Gpr64 {
    type Output = Scaled;

    fn mul(self, scale: u32) -> Scaled {
        Scaled(self.0, scale)
    }
}

impl Mul<u32> for Simd {
    type Output = Scaled;

    fn mul(self, scale: u32) -> Scaled {
        Scaled(self.register, scale)
    }
}

impl Add<Scaled> for Gpr64 {
    type Output = Memory;

    fn add(self, index: Scaled) -> Memory {
        Memory { index: index.0, scale: index.1, ..Memory::from(self) }
    }
}

impl Add for Gpr64 {
    type Output = Memory;

    fn add(self, index: Gpr64) -> Memory {
        self + index * 1
    }
}

impl Add<i32> for Gpr64 {
    type Output = Memory;

    fn add(self, bytes: i32) -> Memory {
        Memory::from(self) + bytes
    }
}

impl Add<i32> for Memory {
    type Output = Memory;

    fn add(self, bytes: i32) -> Memory {
        Memory { displacement: self.displacement + bytes as i64, ..self }
    }
}

/// What an instruction works on.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Operand {
    Gpr64(Gpr64),
    Gpr32(Gpr32),
    Simd(Simd),
    Memory(Memory),
    Immediate(i64),
}

macro_rules! operands {
    ($($type:ty => $variant:ident;)*) => {
        $(impl From<$type> for Operand {
            fn from(operand: $type) -> Operand {
                Operand::$variant(operand.into())
            }
        })*
    };
}

operands! {
    Gpr64 => Gpr64;
    Gpr32 => Gpr32;
    Simd => Simd;
    Memory => Memory;
    i32 => Immediate;
    u32 => Immediate;
    i64 => Immediate;
}
