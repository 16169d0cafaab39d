//! Instructions taken apart.

use iced_x86::{Decoder, DecoderOptions, Instruction, Mnemonic, OpKind, Register};

/// An operand.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Operand {
    None,
    /// Number and bytes of a general register.
    General(usize, usize),
    Vector(usize),
    Mask(usize),
    Memory,
    Immediate(u64),
}

/// What is scaled and added in an address.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Index {
    None,
    General(usize),
    Vector(usize),
}

/// Where the operand in memory lies.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Address {
    pub base: Option<usize>,
    pub index: Index,
    pub scale: u64,
    pub displacement: u64,
    /// Bytes of the operand.
    pub bytes: usize,
    /// Whether it is one element, for all lanes.
    pub broadcast: bool,
}

/// An instruction, taken apart.
#[derive(Clone, Copy, Debug)]
pub(super) struct Decoded {
    pub mnemonic: Mnemonic,
    pub operands: [Operand; 4],
    pub address: Address,
    /// 32-bit lanes of the widest vector register.
    pub lanes: usize,
    /// The mask register, if it is not 0.
    pub mask: usize,
    /// Whether lanes that are masked out become zero.
    pub zeroing: bool,
    /// Position of the instruction that is jumped to.
    pub target: usize,
    /// For messages.
    pub instruction: Instruction,
}

/// A leaf.
pub(super) struct DecodedLeaf {
    pub instructions: Vec<Decoded>,
    /// Constants are addressed in here.
    _bytes: Vec<u8>,
}

impl DecodedLeaf {
    pub fn new(bytes: &[u8]) -> DecodedLeaf {
        let bytes = bytes.to_vec();
        let ip = bytes.as_ptr().expose_provenance() as u64;
        let mut list: Vec<Instruction> = Vec::new();
        for instruction in Decoder::with_ip(64, &bytes, ip, DecoderOptions::NONE).iter() {
            list.push(instruction);
            if instruction.mnemonic() == Mnemonic::Ret {
                break;
            }
        }
        let instructions = list.iter().map(|instruction| decoded(instruction, &list)).collect();
        DecodedLeaf { instructions, _bytes: bytes }
    }
}

fn decoded(instruction: &Instruction, list: &[Instruction]) -> Decoded {
    let target = instruction.near_branch_target();
    let mut operands = [Operand::None; 4];
    let mut lanes = 0;
    for (i, operand) in operands.iter_mut().enumerate().take(instruction.op_count() as usize) {
        let register = instruction.op_register(i as u32);
        *operand = match instruction.op_kind(i as u32) {
            OpKind::Register if register.is_gpr() => Operand::General(register.number(), register.size()),
            OpKind::Register if register.is_vector_register() => {
                lanes = lanes.max(register.size() / 4);
                Operand::Vector(register.number())
            }
            OpKind::Register if register.is_k() => Operand::Mask(register.number()),
            OpKind::Memory => Operand::Memory,
            OpKind::NearBranch64 => Operand::None,
            OpKind::Register => panic!("a register of an unknown kind in `{instruction:?}`"),
            _ => Operand::Immediate(instruction.immediate(i as u32)),
        };
    }
    Decoded {
        mnemonic: instruction.mnemonic(),
        operands,
        address: address(instruction),
        lanes,
        mask: if instruction.has_op_mask() { instruction.op_mask().number() } else { 0 },
        zeroing: instruction.zeroing_masking(),
        target: list.iter().position(|other| other.ip() == target).unwrap_or(usize::MAX),
        instruction: *instruction,
    }
}

/// Where the operand in memory lies, if there is one.
fn address(instruction: &Instruction) -> Address {
    let general = |register: Register| match register {
        // The displacement is then the whole address.
        Register::None | Register::RIP => None,
        _ => Some(register.number()),
    };
    let (base, index) = (instruction.memory_base(), instruction.memory_index());
    Address {
        base: general(base),
        index: match index {
            Register::None => Index::None,
            _ if index.is_vector_register() => Index::Vector(index.number()),
            _ => Index::General(index.number()),
        },
        scale: instruction.memory_index_scale() as u64,
        displacement: instruction.memory_displacement64(),
        bytes: instruction.memory_size().size(),
        broadcast: instruction.is_broadcast(),
    }
}
