//! What lies behind the code of a leaf: constants and other vectors.

use super::allocate::Home;
use super::assembler::Assembler;
use super::instructions::Asm;
use crate::leaf::Leaf;
use crate::wide::types::lane_code::{Define, Inst};
use crate::wide::types::machine::Isa;
use crate::wide::types::operands::Memory;

impl Assembler<'_> {
    /// The place of a vector behind the code.
    pub fn pooled(&mut self, vector: Vec<u32>) -> Memory {
        let entry = self.pool_entry(vector);
        self.pool[entry].1.into()
    }

    fn pool_entry(&mut self, vector: Vec<u32>) -> usize {
        self.pool.iter().position(|entry| entry.0 == vector).unwrap_or_else(|| {
            let label = self.a.create_label();
            self.pool.push((vector, label));
            self.pool.len() - 1
        })
    }

    /// The pool entry of the same bits in all lanes: a vector, or one lane if instructions can broadcast it.
    pub fn constant(&mut self, bits: u32) -> usize {
        let lanes = match self.machine.isa {
            Isa::Avx2 => self.machine.lanes,
            Isa::Avx512 => 1,
        };
        self.pool_entry(vec![bits; lanes])
    }

    /// Places behind the code for all constants, and the registers of those that have one.
    pub fn constants(&mut self) -> Asm {
        let mut loaded = Vec::new();
        for inst in &self.lanes.insts {
            let (lane, entry) = match *inst {
                Inst::Define(lane, Define::Constant(bits)) => (lane, self.constant(bits)),
                Inst::Define(lane, Define::Ramp(factor)) => {
                    let ramp = (0..self.machine.lanes as i32).map(|i| i.wrapping_mul(factor) as u32);
                    (lane, self.pool_entry(ramp.collect()))
                }
                _ => continue,
            };
            self.constants[lane.0 as usize] = Some(entry);
            if let Home::Register(number) = self.home(lane)
                && !loaded.contains(&number)
            {
                loaded.push(number);
                self.load_to(self.machine.value(number), self.pool_operand(entry))?;
            }
        }
        Ok(())
    }

    /// The bytes, with the pool behind them where no vector crosses a cache line: loads that do take twice as long.
    pub fn finish(mut self) -> Vec<u8> {
        if !self.pool.is_empty() {
            self.a.align(Leaf::ALIGNMENT);
        }
        // Vectors first: single lanes behind them are aligned anyway.
        self.pool.sort_by_key(|(vector, _)| std::cmp::Reverse(vector.len()));
        for (vector, label) in &self.pool {
            self.a.set_label(*label);
            self.a.data(vector);
        }
        self.a.finish()
    }
}
