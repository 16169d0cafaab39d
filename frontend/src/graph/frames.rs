//! Names visible to expressions.

use std::collections::HashMap;
use std::rc::Rc;

use super::value::Val;
use crate::source::Span;

/// What a name stands for, and where that is said.
pub(crate) type Named = (Val, Span);

/// The names of a block, a loop or a model.
#[derive(Clone, Debug, Default)]
pub(crate) struct Frame {
    pub names: Names,
    /// The frame to look in next.
    pub parent: Option<usize>,
    /// The frame of a repetition holds its index only; names given inside belong to the body around it.
    pub is_loop: bool,
    /// How long the path is where the body of its file begins, of the outermost frame of a file.
    pub depth: usize,
    /// The frame of a call of one of the model's own functions: what is evaluated in it sees nothing of the place of the call.
    pub is_call: bool,
    /// The carries that are declared in this body, by name: the number of the loop, and that of the carry in it.
    pub carried: HashMap<String, (u32, usize)>,
}

impl Frame {
    /// The frame as it is now.
    pub fn kept(&mut self) -> Frame {
        Frame { names: self.names.kept(), carried: self.carried.clone(), ..*self }
    }
}

/// Names that can be kept as they are now, for `Reuse`, while more are given: every layer does so.
///
/// Names that are kept are shared, in layers. Each layer has at least twice the names of the next one; smaller ones are joined.
/// So each name is copied about as often as the logarithm of their number says, and a look-up visits as many layers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    /// Those given since names were last kept.
    recent: HashMap<String, Named>,
    /// The others, the latest last.
    layers: Vec<Rc<HashMap<String, Named>>>,
}

impl From<HashMap<String, Named>> for Names {
    fn from(recent: HashMap<String, Named>) -> Names {
        Names { recent, layers: Vec::new() }
    }
}

impl Names {
    /// What a name stands for.
    pub fn get(&self, name: &str) -> Option<&Named> {
        let older = || self.layers.iter().rev().find_map(|layer| layer.get(name));
        self.recent.get(name).or_else(older)
    }

    /// From now on a name stands for this.
    pub fn insert(&mut self, name: String, value: Named) {
        self.recent.insert(name, value);
    }

    /// All names; some come more than once.
    pub fn list(&self) -> impl Iterator<Item = &String> {
        self.layers.iter().flat_map(|layer| layer.keys()).chain(self.recent.keys())
    }

    /// The names as they are now.
    pub fn kept(&mut self) -> Names {
        if !self.recent.is_empty() {
            let mut layer = std::mem::take(&mut self.recent);
            while let Some(older) = self.layers.pop_if(|older| older.len() < 2 * layer.len()) {
                for (name, value) in older.iter() {
                    layer.entry(name.clone()).or_insert_with(|| value.clone());
                }
            }
            self.layers.push(Rc::new(layer));
        }
        self.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is kept stays, and copies grow with n log n.
    #[test]
    fn kept_names_stay() {
        let (mut names, mut kept) = (Names::default(), Vec::new());
        for i in 0..1000 {
            names.insert(format!("n{}", i % 700), (Val::Int(i), Span::default()));
            kept.push(names.kept());
            assert!(names.layers.len() <= 11);
        }
        for (i, names) in kept.iter().enumerate() {
            let value = |at: usize| names.get(&format!("n{at}")).map(|(value, _)| value.clone());
            assert_eq!(value(i % 700), Some(Val::Int(i as i64)));
            assert_eq!(value(5), (i >= 5).then_some(Val::Int(if i >= 705 { 705 } else { 5 })));
            assert_eq!(value(699).is_some(), i >= 699);
        }
    }
}
