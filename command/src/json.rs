//! JSON that is written: one object on standard output where `--json` asks for it.

use std::collections::HashMap;
use std::fmt;

/// A value. Objects keep the order in which their fields were set.
#[derive(Clone, Debug, PartialEq)]
pub enum Json {
    /// Nothing.
    Null,
    /// Yes or no.
    Flag(bool),
    /// A whole number.
    Whole(i128),
    /// A number; what is none (NaN, infinities) is written as null.
    Number(f64),
    /// A text.
    Text(String),
    /// Values in their order.
    List(Vec<Json>),
    /// Values by name, each name once.
    Object(Vec<(String, Json)>),
}

/// An object with these fields: `object! {"model": name, "epochs": 3}`. No two of them have one name.
#[macro_export]
macro_rules! object {
    ($($key:literal: $value:expr),* $(,)?) => {
        $crate::Json::Object(vec![$(($key.to_owned(), $crate::Json::from($value))),*])
    };
}

impl Json {
    /// Sets a field of an object, one that is there anew.
    pub fn set(&mut self, name: &str, value: impl Into<Json>) {
        let Json::Object(fields) = self else { return };
        match fields.iter_mut().find(|(known, _)| known == name) {
            Some((_, known)) => *known = value.into(),
            None => fields.push((name.to_owned(), value.into())),
        }
    }

    /// Whether it is an object with a field of this name.
    pub fn has(&self, name: &str) -> bool {
        matches!(self, Json::Object(fields) if fields.iter().any(|(known, _)| known == name))
    }
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Json::Null => f.write_str("null"),
            Json::Flag(flag) => write!(f, "{flag}"),
            Json::Whole(number) => write!(f, "{number}"),
            // The fewest digits that read back as the same number, with an exponent where it is far from 1.
            Json::Number(number) if number.is_finite() => write!(f, "{number:?}"),
            Json::Number(_) => f.write_str("null"),
            Json::Text(text) => write_text(f, text),
            Json::List(values) => {
                f.write_str("[")?;
                for (at, value) in values.iter().enumerate() {
                    f.write_str(if at > 0 { "," } else { "" })?;
                    value.fmt(f)?;
                }
                f.write_str("]")
            }
            Json::Object(fields) => {
                f.write_str("{")?;
                for (at, (name, value)) in fields.iter().enumerate() {
                    f.write_str(if at > 0 { "," } else { "" })?;
                    write_text(f, name)?;
                    f.write_str(":")?;
                    value.fmt(f)?;
                }
                f.write_str("}")
            }
        }
    }
}

fn write_text(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    f.write_str("\"")?;
    for c in text.chars() {
        match c {
            '"' => f.write_str("\\\"")?,
            '\\' => f.write_str("\\\\")?,
            '\n' => f.write_str("\\n")?,
            '\r' => f.write_str("\\r")?,
            '\t' => f.write_str("\\t")?,
            c if c < ' ' => write!(f, "\\u{:04x}", u32::from(c))?,
            c => write!(f, "{c}")?,
        }
    }
    f.write_str("\"")
}

impl From<bool> for Json {
    fn from(flag: bool) -> Json {
        Json::Flag(flag)
    }
}

impl From<f64> for Json {
    fn from(number: f64) -> Json {
        Json::Number(number)
    }
}

macro_rules! whole {
    ($($ty:ty),*) => { $(
        impl From<$ty> for Json {
            fn from(number: $ty) -> Json {
                Json::Whole(number as i128)
            }
        }
    )* };
}

whole!(i32, i64, u32, u64, usize);

impl From<&str> for Json {
    fn from(text: &str) -> Json {
        Json::Text(text.to_owned())
    }
}

impl From<&String> for Json {
    fn from(text: &String) -> Json {
        Json::Text(text.clone())
    }
}

impl From<String> for Json {
    fn from(text: String) -> Json {
        Json::Text(text)
    }
}

impl<T: Into<Json>> From<Option<T>> for Json {
    fn from(value: Option<T>) -> Json {
        value.map_or(Json::Null, Into::into)
    }
}

impl<T: Into<Json>> From<Vec<T>> for Json {
    fn from(values: Vec<T>) -> Json {
        Json::List(values.into_iter().map(Into::into).collect())
    }
}

impl<T: Clone + Into<Json>> From<&[T]> for Json {
    fn from(values: &[T]) -> Json {
        Json::List(values.iter().cloned().map(Into::into).collect())
    }
}

impl FromIterator<Json> for Json {
    fn from_iter<I: IntoIterator<Item = Json>>(values: I) -> Json {
        Json::List(values.into_iter().collect())
    }
}

impl FromIterator<(String, Json)> for Json {
    /// An object; of fields of one name the last one counts, in the place of the first.
    fn from_iter<I: IntoIterator<Item = (String, Json)>>(fields: I) -> Json {
        let (mut found, mut places) = (Vec::new(), HashMap::new());
        for (name, value) in fields {
            match places.get(&name) {
                Some(&at) => {
                    let (_, known): &mut (String, Json) = &mut found[at];
                    *known = value;
                }
                None => {
                    places.insert(name.clone(), found.len());
                    found.push((name, value));
                }
            }
        }
        Json::Object(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_as_json() {
        let mut all = object! {"model": "a \"b\"\\\n\u{1}é", "epochs": 3u64, "loss": f64::NAN, "none": None::<bool>,
        "numbers": vec![0.1, -1.0, 1e-7, 1e300], "flags": vec![Some(true), None]};
        all.set("epochs", 4usize);
        all.set(
            "more",
            [("x".to_owned(), Json::from(1i64)), ("x".to_owned(), Json::from(2i64))]
                .into_iter()
                .collect::<Json>(),
        );
        let text = r#"{"model":"a \"b\"\\\n\u0001é","epochs":4,"loss":null,"none":null,"numbers":[0.1,-1.0,1e-7,1e300],"flags":[true,null],"more":{"x":2}}"#;
        assert_eq!(all.to_string(), text);
        assert!(all.has("more") && !all.has("less"));
    }
}
