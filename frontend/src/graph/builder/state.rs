//! Declares state: a slot is there from its first use on, and later uses must mean the same.

use brolga_ir::ops::Role;
use brolga_ir::{DType, Type};

use super::Builder;
use crate::graph::init::Init;
use crate::graph::names::check_state;
use crate::graph::state::{Slot, SlotKind};
use crate::graph::value::{Built, Fault, Tensor};

impl Builder<'_> {
    /// The slot of that name, declared at its first use.
    pub fn state(&mut self, name: &str, ty: Type, kind: SlotKind, init: Init) -> Built {
        let slot = Slot { name: name.to_owned(), ty, kind, init };
        if let Some((known, value)) = self.slots.get(name) {
            let Some((found, needed)) = known.differs(&slot) else { return Ok(value) };
            // Steps that may not be run at all are not compared with others.
            if self.in_doubt.is_none() {
                return Err(Fault::new(format!("`{name}` {found}, but {needed} is needed here"))
                    .note("it is shared with an earlier layer of that name"));
            }
        }
        let ty = slot.ty.clone();
        check_state(name, kind)?;
        ty.check_size().map_err(|reason| Fault::new(format!("`{name}`: {reason}")))?;
        let value = self.graph.graph.add_parameter(name, Role::State, ty);
        self.slots.declare(slot, value, self.graph.place.clone());
        Ok(value)
    }

    /// A trained parameter of the current layer.
    pub fn parameter(&mut self, name: &str, dims: &[usize], init: Init) -> Built {
        let ty = Type::new(self.float(), dims);
        let name = self.full_name(name);
        let parameter = self.state(&name, ty, SlotKind::Parameter, init)?;
        Ok(self.made(&name, parameter))
    }

    /// What a piece of state is at this place.
    pub fn state_here(&mut self, name: &str) -> Option<Tensor> {
        let (_, value) = self.slots.get(name)?;
        Some(self.made_of(value))
    }

    /// A buffer of the current layer.
    pub fn buffer(&mut self, name: &str, dims: &[usize], init: Init) -> Built {
        let ty = Type::new(self.float(), dims);
        self.state(&self.full_name(name), ty, SlotKind::Buffer, init)
    }

    /// A buffer of the current layer becomes `value`.
    pub fn set_buffer(&mut self, name: &str, value: Tensor) {
        let name = self.full_name(name);
        self.slots.set(&name, value);
    }

    /// Number of training steps done before this one.
    pub fn step_count(&mut self) -> Built {
        self.state("step", Type::scalar(DType::I64), SlotKind::Step, Init::Constant(0.0))
    }

    /// The name of the state that counts the runs of this entry, where it draws without training.
    pub(in crate::graph) fn calls_name(&self) -> String {
        format!("optim.{}.calls", self.graph.graph.name)
    }

    /// Number of runs of this entry before this one, an `i64[]`.
    pub fn calls(&mut self) -> Built {
        let name = self.calls_name();
        self.state(&name, Type::scalar(DType::I64), SlotKind::Optimizer, Init::Constant(0.0))
    }

    /// The key of random numbers.
    pub fn seed(&mut self) -> Built {
        self.state("seed", Type::scalar(DType::I64), SlotKind::Seed, Init::Constant(0.0))
    }
}
