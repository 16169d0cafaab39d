//! Names of made data sets with arguments, as models write them: `add(length: 50)`.

use brolga_runtime::{Error, ErrorKind, Field, Result, listed_in_quotes};

/// An argument that a data set takes: a whole number; from 0 to 1, a truth value.
pub(super) struct Parameter {
    pub name: &'static str,
    pub otherwise: Otherwise,
    /// The smallest and the largest value.
    pub range: [u64; 2],
}

/// What an argument is that is not given.
pub(super) enum Otherwise {
    Number(u64),
    /// The extent of the first axis of the model's input of this name; the number, if the model has no such input.
    Extent(&'static str, u64),
}

/// The arguments of a data set, in the order of its parameters.
pub(super) struct Arguments<'p> {
    parameters: &'p [Parameter],
    values: Vec<u64>,
}

/// What stands before the arguments, if there are any.
pub(super) fn name(text: &str) -> &str {
    text.split_once('(').map_or(text, |(name, _)| name).trim()
}

impl<'p> Arguments<'p> {
    /// Reads the arguments in `text`, of which those without a name come first and in the order of `parameters`.
    ///
    /// # Errors
    /// Of kind `Option`, with the arguments that there are: one that is unknown, given twice, or not in its range.
    pub(super) fn read(text: &str, parameters: &'p [Parameter], fields: &[Field]) -> Result<Arguments<'p>> {
        let mut given = vec![None; parameters.len()];
        for (at, part) in parts(text)?.into_iter().enumerate() {
            let (parameter, value) = match part.split_once(':') {
                Some((name, value)) => (position(name.trim(), parameters)?, value.trim()),
                None if at < parameters.len() => (at, part),
                None => return Err(wrong(format!("`{part}` is one argument too many"), parameters)),
            };
            if given[parameter].is_some() {
                let message = format!("`{}` is given twice", parameters[parameter].name);
                return Err(wrong(message, parameters));
            }
            given[parameter] = Some(number(value, &parameters[parameter], parameters)?);
        }
        let values = parameters.iter().zip(given);
        let values = values.map(|(parameter, given)| match given {
            Some(value) => Ok(value),
            None => in_range(parameter.otherwise.value(fields), parameter, parameters),
        });
        Ok(Arguments { parameters, values: values.collect::<Result<_>>()? })
    }

    /// The argument of that name, which is one of the parameters.
    pub(super) fn get(&self, name: &str) -> usize {
        let at = self.parameters.iter().position(|parameter| parameter.name == name);
        // Ranges keep all of them small.
        at.map_or(0, |at| self.values[at] as usize)
    }
}

impl Otherwise {
    fn value(&self, fields: &[Field]) -> u64 {
        match *self {
            Otherwise::Number(number) => number,
            Otherwise::Extent(input, otherwise) => {
                let field = fields.iter().find(|field| field.name == input);
                field.and_then(|field| field.dims.first()).map_or(otherwise, |&extent| extent as u64)
            }
        }
    }
}

/// What stands between the brackets, by commas; one more may end it.
fn parts(text: &str) -> Result<Vec<&str>> {
    let Some((_, rest)) = text.split_once('(') else { return Ok(Vec::new()) };
    let Some(inside) = rest.trim_end().strip_suffix(')') else {
        let message = format!("expected `)` at the end of `{text}`, as in `add(length: 50)`");
        return Err(Error::new(ErrorKind::Option, message));
    };
    let mut parts: Vec<&str> = inside.split(',').map(str::trim).collect();
    if parts.last().is_some_and(|last| last.is_empty()) {
        parts.pop();
    }
    Ok(parts)
}

fn position(name: &str, parameters: &[Parameter]) -> Result<usize> {
    let at = parameters.iter().position(|parameter| parameter.name == name);
    at.ok_or_else(|| wrong(format!("there is no argument `{name}`"), parameters))
}

fn number(text: &str, parameter: &Parameter, parameters: &[Parameter]) -> Result<u64> {
    let flag = match (text, parameter.range) {
        ("true", [0, 1]) => "1",
        ("false", [0, 1]) => "0",
        (other, _) => other,
    };
    match flag.parse() {
        Ok(number) => in_range(number, parameter, parameters),
        Err(_) => {
            let [low, high] = parameter.range;
            let expected = match [low, high] {
                [0, 1] => "true or false".to_owned(),
                _ => format!("a whole number from {low} to {high}"),
            };
            Err(wrong(format!("`{}` is {expected}, found `{text}`", parameter.name), parameters))
        }
    }
}

fn in_range(number: u64, parameter: &Parameter, parameters: &[Parameter]) -> Result<u64> {
    let [low, high] = parameter.range;
    if (low..=high).contains(&number) {
        return Ok(number);
    }
    Err(wrong(format!("`{}` is from {low} to {high}, found {number}", parameter.name), parameters))
}

/// An error about arguments, with those that there are.
fn wrong(message: String, parameters: &[Parameter]) -> Error {
    let names: Vec<&str> = parameters.iter().map(|parameter| parameter.name).collect();
    let message = format!("{message}; its arguments are {}", listed_in_quotes(&names));
    Error::new(ErrorKind::Option, message)
}

#[cfg(test)]
mod tests {
    use brolga_runtime::DType;

    use super::*;

    const PARAMETERS: &[Parameter] = &[
        Parameter { name: "length", otherwise: Otherwise::Extent("x", 50), range: [2, 1000] },
        Parameter { name: "seed", otherwise: Otherwise::Number(0), range: [0, u64::MAX] },
    ];

    fn read(text: &str) -> Result<(usize, usize)> {
        let fields = [Field { name: "x".into(), dtype: DType::F32, dims: vec![7, 2] }];
        let arguments = Arguments::read(text, PARAMETERS, &fields)?;
        Ok((arguments.get("length"), arguments.get("seed")))
    }

    #[test]
    fn arguments_have_names_or_places() {
        for (text, expected) in [
            ("add", (7, 0)),
            ("add()", (7, 0)),
            ("add(20)", (20, 0)),
            ("add(20, 3)", (20, 3)),
            ("add( seed : 4, length: 9, )", (9, 4)),
        ] {
            assert_eq!(read(text).unwrap(), expected, "{text}");
            assert_eq!(name(text), "add");
        }
        let none = Arguments::read("add", PARAMETERS, &[]).unwrap();
        assert_eq!(none.get("length"), 50);
    }

    #[test]
    fn what_is_wrong_names_the_arguments() {
        for (text, part) in [
            ("add(lenght: 5)", "no argument `lenght`"),
            ("add(length: 5, length: 6)", "`length` is given twice"),
            ("add(5, length: 6)", "`length` is given twice"),
            ("add(1)", "`length` is from 2 to 1000, found 1"),
            ("add(length: many)", "`length` is a whole number from 2 to 1000, found `many`"),
            ("add(5, 6, 7)", "`7` is one argument too many"),
            ("add(, 5)", "found ``"),
        ] {
            let error = read(text).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Option);
            let error = error.to_string();
            assert!(error.contains(part) && error.contains("[\"length\", \"seed\"]"), "{text}: {error}");
        }
        assert!(read("add(5").unwrap_err().to_string().contains("expected `)`"));
    }
}
