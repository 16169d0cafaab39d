//! Runs code: jumps, and instructions on integers.

use iced_x86::Mnemonic;

use super::cpu::{Cpu, RSP, load, ones, size, store};
use super::decode::{Decoded, DecodedLeaf};

/// Registers that a function gives back as they were: rbx, rsp, rbp, r12 to r15.
const KEPT: [usize; 7] = [3, 4, 5, 12, 13, 14, 15];

impl Cpu {
    /// Runs a function to its end.
    pub fn run(&mut self, code: &DecodedLeaf) {
        let before = self.general;
        let mut at = 0;
        loop {
            let inst = &code.instructions[at];
            at += 1;
            match inst.mnemonic {
                Mnemonic::Ret => break,
                Mnemonic::Jne if !self.zero => at = inst.target,
                Mnemonic::Jb if self.carry => at = inst.target,
                Mnemonic::Jne | Mnemonic::Jb => {}
                _ => self.execute(inst),
            }
        }
        for register in KEPT {
            assert_eq!(self.general[register], before[register], "register {register} is not restored");
        }
        assert!(
            self.vectors[..16].iter().all(|vector| vector[4..].iter().all(|&lane| lane == 0)),
            "the upper parts of vectors are not cleared"
        );
        debug_assert!(!self.stack.is_empty());
    }

    fn execute(&mut self, inst: &Decoded) {
        let [to, from, third, _] = inst.operands;
        match inst.mnemonic {
            Mnemonic::Mov => {
                let value = self.get(inst, from);
                self.set(inst, to, value);
            }
            Mnemonic::Movzx => {
                let value = self.get(inst, from);
                self.set(inst, to, value);
            }
            Mnemonic::Movsxd => {
                let value = self.get(inst, from) as u32 as i32;
                self.set(inst, to, value as i64 as u64);
            }
            Mnemonic::Lea => {
                let address = self.address(inst);
                self.set(inst, to, address);
            }
            Mnemonic::Push => {
                let value = self.get(inst, to);
                self.general[RSP] -= 8;
                store(self.general[RSP], 8, value);
            }
            Mnemonic::Pop => {
                let value = load(self.general[RSP], 8);
                self.general[RSP] += 8;
                self.set(inst, to, value);
            }
            Mnemonic::Add => self.arithmetic(inst, |a, b| a.wrapping_add(b)),
            Mnemonic::Sub => self.arithmetic(inst, |a, b| a.wrapping_sub(b)),
            Mnemonic::And => self.arithmetic(inst, |a, b| a & b),
            Mnemonic::Xor => self.arithmetic(inst, |a, b| a ^ b),
            Mnemonic::Shl => self.arithmetic(inst, |a, by| a << by),
            Mnemonic::Imul => {
                let value = self.get(inst, from).wrapping_mul(self.get(inst, third));
                self.set(inst, to, value);
            }
            Mnemonic::Cmp => {
                let (a, b) = (self.get(inst, to), self.get(inst, from) & ones(size(inst, to)));
                (self.zero, self.carry) = (a == b, a < b);
            }
            Mnemonic::Dec => {
                let value = self.get(inst, to).wrapping_sub(1) & ones(size(inst, to));
                self.set(inst, to, value);
                self.zero = value == 0;
            }
            // It changes nothing, and may ask for what is not there.
            Mnemonic::Prefetcht0 => {}
            _ => self.execute_vector(inst),
        }
    }

    /// `to = f(to, from)`; the carry is of no use afterwards.
    fn arithmetic(&mut self, inst: &Decoded, f: impl Fn(u64, u64) -> u64) {
        let [to, from, ..] = inst.operands;
        let value = f(self.get(inst, to), self.get(inst, from)) & ones(size(inst, to));
        self.set(inst, to, value);
        self.zero = value == 0;
    }
}
