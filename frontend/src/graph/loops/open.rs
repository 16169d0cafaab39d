//! The loops that the walk is inside of: what goes into each step, and what is carried on.

use std::collections::{HashMap, HashSet};

use brolga_ir::graph::{Graph, NodeId};

use crate::graph::value::{Tensor, Val};
use crate::source::FilePlace;

/// The loops of a build.
#[derive(Debug, Default)]
pub(crate) struct Loops {
    /// Those that are open, the outermost first.
    pub open: Vec<OpenLoop>,
    /// Whether the start of a carry is being built: it belongs to no step of the innermost loop, and so do its draws.
    pub starting: bool,
    /// How many have been opened: the number of the last one.
    opened: u32,
    /// By node: the innermost loop on whose steps it depends; 0 for none.
    owners: HashMap<NodeId, u32>,
    /// The paths under which loops that have ended offer values.
    pub behind: HashSet<String>,
    /// Names that belonged to one step of a loop that has ended, by path: why they are not seen.
    pub ended: HashMap<String, Ended>,
    /// The state in which this pass keeps the ends of carries, and where that is said.
    pub keeping: HashMap<String, FilePlace>,
}

/// Why a name of a step is not seen behind its loop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// The loop has no name.
    Unnamed,
    /// It is seen behind the name of the loop.
    Under(String),
    /// It is a list.
    List,
    /// Rows end, and it has no rows along axis 0: its type.
    NoRows(String),
    /// It would be too large for all steps: why.
    TooLarge(String),
}

/// Loops that are open, but left.
#[derive(Debug)]
pub(crate) struct LeftLoops {
    open: Vec<OpenLoop>,
    starting: bool,
}

impl LeftLoops {
    /// How many changes of state there had been when the outermost of them was opened.
    pub fn first(&self) -> Option<usize> {
        self.open.first().map(|open| open.changes)
    }
}

/// A loop that is being built.
#[derive(Debug)]
pub(crate) struct OpenLoop {
    /// Its number, from 1 on. Loops inside of it have greater ones.
    pub number: u32,
    /// Nodes before this one were there when it was opened, so they do not depend on its steps.
    pub first: usize,
    /// The number of steps.
    pub length: usize,
    /// Whether steps go from the last to the first.
    pub reverse: bool,
    /// What goes into each step.
    pub slices: Vec<Slice>,
    pub carries: Vec<Carried>,
    /// A carry that says whether there is another step, where the loop may end before its last one.
    pub guard: Option<Carried>,
    /// The carries that have a name, by the steps `Carry`.
    pub named: Vec<NamedCarry>,
    /// How many changes of state there had been when it was opened.
    pub changes: usize,
}

/// A sequence of which each step sees one part.
#[derive(Debug)]
pub(crate) struct Slice {
    pub name: String,
    /// All steps, along axis 0.
    pub sequence: Tensor,
    /// The placeholder of one.
    pub step: Tensor,
}

/// A value that is handed from step to step.
#[derive(Debug)]
pub(crate) struct Carried {
    pub name: String,
    pub start: Tensor,
    /// What stands for it before a step.
    pub before: Tensor,
    /// What it is behind the step, of the same type.
    pub next: Option<Tensor>,
}

/// A carry that the model gives a name.
#[derive(Debug)]
pub(crate) struct NamedCarry {
    pub name: String,
    /// The name with the scopes that it stands in.
    pub path: String,
    /// Where it is declared.
    pub place: FilePlace,
    /// Its number among the carries of the loop; nothing if its start is a mistake.
    pub carry: Option<usize>,
    /// The state that says where it ended, if it begins there.
    pub kept: Option<String>,
    pub next: Next,
}

/// What names a carry in a step.
#[derive(Debug)]
pub(crate) enum Next {
    /// Nothing so far.
    Missing,
    /// The value, and where it is named.
    Named(Val, FilePlace),
}

impl Loops {
    /// Opens a loop of so many steps inside of those that are open: its number.
    pub fn open(&mut self, first: usize, length: usize, reverse: bool, changes: usize) -> u32 {
        self.opened += 1;
        self.open.push(OpenLoop {
            number: self.opened,
            first,
            length,
            reverse,
            slices: Vec::new(),
            carries: Vec::new(),
            guard: None,
            named: Vec::new(),
            changes,
        });
        self.opened
    }

    /// In how many loops what is built now is done anew in each step.
    pub fn around(&self) -> usize {
        self.open.len().saturating_sub(usize::from(self.starting))
    }

    /// Leaves the loops that stand inside of so many, until [`Self::enter_again`]: what is built until then belongs to none of their steps.
    pub fn leave(&mut self, around: usize) -> LeftLoops {
        LeftLoops {
            starting: std::mem::take(&mut self.starting),
            open: self.open.split_off(around.min(self.open.len())),
        }
    }

    /// Goes on with loops that were left. So many changes of state have been made since, which count as made before them.
    pub fn enter_again(&mut self, mut left: LeftLoops, changes: usize) {
        left.open.iter_mut().for_each(|open| open.changes += changes);
        self.open.extend(left.open);
        self.starting = left.starting;
    }

    /// Forgets what the loop of that path has offered behind it.
    pub fn forget(&mut self, path: &str) {
        let is_inside = |name: &str| name.strip_prefix(path).is_some_and(|rest| rest.starts_with('.'));
        self.behind.retain(|name| !is_inside(name));
        self.ended.retain(|name, _| !is_inside(name));
    }

    /// The innermost loop that is open.
    pub fn innermost(&mut self) -> Option<&mut OpenLoop> {
        self.open.last_mut()
    }

    /// Whether there has been any loop.
    pub fn any(&self) -> bool {
        self.opened > 0
    }

    /// The carry of that number in a loop, if that is open.
    pub fn named(&mut self, (of, number): (u32, usize)) -> Option<&mut NamedCarry> {
        let open = self.open.iter_mut().find(|open| open.number == of)?;
        open.named.get_mut(number)
    }

    /// Notes that a placeholder belongs to the open loop at this depth.
    pub fn own(&mut self, at: usize, placeholder: Tensor) {
        self.owners.insert(placeholder.node, self.open[at].number);
    }

    /// The innermost loop on whose steps a value depends: its number, 0 for none.
    pub fn owner(&mut self, graph: &Graph, value: Tensor) -> u32 {
        if !self.any() {
            return 0;
        }
        let mut stack = vec![value.node];
        while let Some(&id) = stack.last() {
            let operands = &graph.node(id).operands;
            let length = stack.len();
            if !self.owners.contains_key(&id) {
                let unknown = operands.iter().map(|operand| operand.node);
                stack.extend(unknown.filter(|id| !self.owners.contains_key(id)));
            }
            if stack.len() == length {
                let owner = operands.iter().map(|operand| self.owners[&operand.node]).max();
                self.owners.entry(id).or_insert(owner.unwrap_or(0));
                stack.pop();
            }
        }
        self.owners[&value.node]
    }

    /// Whether a value stands for a part of a step. Nothing else that has no operands depends on one.
    pub fn is_placeholder(&self, graph: &Graph, value: Tensor) -> bool {
        graph.parameter(value.node).is_some() && self.owners.get(&value.node).is_some_and(|owner| *owner > 0)
    }

    /// Whether a value depends on a step of a loop that has ended.
    pub fn has_ended(&mut self, graph: &Graph, value: Tensor) -> bool {
        let owner = self.owner(graph, value);
        owner > 0 && self.open.iter().all(|open| open.number != owner)
    }
}
