//! `reduce_window_max_scatter`, `reduce_window_max_gather`, and the same of `min`: the derivative of a window's
//! maximum, and its transpose.

use super::*;
use crate::program::Combine;

/// The winner of a window is its first maximum (or minimum) in row-major order; the first NaN wins over everything.
/// Both forms are linear in their second operand, each is the other's transpose, so gradients of all orders close.
#[derive(Clone, PartialEq, Debug)]
pub struct WindowSelect {
    /// The window, of `Max` or `Min`.
    pub window: ReduceWindow,
    /// What happens at the winners.
    pub form: SelectForm,
}

/// What happens at the winners.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SelectForm {
    /// `(x, dy) -> dx`: each element of dy is added to the element of dx where its window's winner is in x.
    Scatter,
    /// `(x, dx) -> dy`: each element is that of dx where its window's winner is in x; 0 where a window sees nothing.
    Gather,
}

const NAMES: [(&str, Combine, SelectForm); 4] = [
    ("reduce_window_max_scatter", Combine::Max, SelectForm::Scatter),
    ("reduce_window_max_gather", Combine::Max, SelectForm::Gather),
    ("reduce_window_min_scatter", Combine::Min, SelectForm::Scatter),
    ("reduce_window_min_gather", Combine::Min, SelectForm::Gather),
];

impl WindowSelect {
    /// Names in the text form.
    pub(super) fn names() -> &'static [&'static str] {
        &[
            "reduce_window_max_scatter",
            "reduce_window_max_gather",
            "reduce_window_min_scatter",
            "reduce_window_min_gather",
        ]
    }

    pub(super) fn from_attributes(name: &str, attributes: &mut Attributes) -> Result<WindowSelect, String> {
        let (_, combine, form) = NAMES.iter().find(|(n, ..)| *n == name).ok_or("no such operator")?;
        Ok(WindowSelect { window: ReduceWindow::window_from(*combine, attributes)?, form: *form })
    }
}

impl Operator for WindowSelect {
    fn name(&self) -> &'static str {
        let is = |(_, combine, form): &&(_, Combine, SelectForm)| {
            *combine == self.window.combine && *form == self.form
        };
        NAMES.iter().find(is).map_or("reduce_window_select", |(name, ..)| name)
    }

    fn attributes(&self) -> Vec<(&'static str, Attribute)> {
        self.window.window_attributes()
    }

    fn infer(&self, operands: &[&Type]) -> Result<Vec<Type>, String> {
        expect_operands(operands, 2)?;
        let (x, second) = (operands[0], operands[1]);
        if !matches!(self.window.combine, Combine::Max | Combine::Min) || !x.dtype.is_float() {
            return Err(format!("is not defined for {} of {x}", self.window.combine.name()));
        }
        let y = x.with_dims(self.window.output(x)?);
        let (expected, result) = match self.form {
            SelectForm::Scatter => (&y, x),
            SelectForm::Gather => (x, &y),
        };
        if second != expected {
            return Err(format!(
                "the second operand must be {expected} for windows over {x}, found {second}"
            ));
        }
        Ok(vec![result.clone()])
    }

    /// The other form; the winners do not move under small changes of x.
    fn gradient(&self, cx: &mut GradientCx) -> Gradient {
        let g = cx.cotangent(0)?;
        let form = match self.form {
            SelectForm::Scatter => SelectForm::Gather,
            SelectForm::Gather => SelectForm::Scatter,
        };
        let op = WindowSelect { window: self.window.clone(), form };
        Ok(vec![None, Some(cx.b.add_node(op, &[cx.operands[0], g])?)])
    }

    fn definition(&self, _: &[&Type], _: &[Type]) -> Vec<Definition> {
        vec![Definition::Loops]
    }

    /// Sums are formed in f64 and rounded once.
    fn evaluate(&self, operands: &[&Tensor], results: &[Type]) -> Result<Vec<Tensor>, String> {
        let (x, second) = (to_f64(operands[0])?, to_f64(operands[1])?);
        let dims = operands[0].dims();
        let windows = if self.form == SelectForm::Scatter { operands[1].dims() } else { &results[0].dims };
        let better = |a: f64, b: f64| match self.window.combine {
            Combine::Max => a > b,
            _ => a < b,
        };
        let mut result = filled(0.0, results[0].elements())?;
        self.window.for_windows(dims, windows, |position, seen| {
            let wins = |best: usize, i: usize| {
                let candidate = better(x[i], x[best]) || (x[i].is_nan() && !x[best].is_nan());
                if candidate { i } else { best }
            };
            if let Some(winner) = seen.iter().copied().reduce(wins) {
                match self.form {
                    SelectForm::Scatter => result[winner] += second[position],
                    SelectForm::Gather => result[position] = second[winner],
                }
            }
        });
        Ok(vec![from_f64(&results[0], result)?])
    }
}
