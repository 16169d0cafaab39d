//! Which names tensors may have, so that every format can write them and every reader reads them.

use crate::error::{Error, ErrorKind, Result};

/// The longest name of a tensor, in bytes.
pub const MAX_NAME: usize = 1024;

/// The key that a safetensors file has its free-form metadata under, beside the names of its tensors.
const METADATA: &str = "__metadata__";

/// An error where files could not hold a tensor of this name: it is empty, longer than [`MAX_NAME`], has control
/// characters (line breaks, NUL), or is the key `__metadata__` of the safetensors format.
pub fn check_name(name: &str) -> Result<()> {
    let wrong = |message: String| Err(Error::new(ErrorKind::Name, message));
    if name.is_empty() {
        return wrong("the name of a tensor must not be empty".into());
    }
    if name == METADATA {
        return wrong(format!(
            "a tensor cannot be named `{METADATA}`: safetensors files keep their metadata under it"
        ));
    }
    if name.len() > MAX_NAME {
        let (len, begin) = (name.len(), name.chars().take(20).collect::<String>());
        return wrong(format!("the name `{begin}…` has {len} bytes, but a tensor's has at most {MAX_NAME}"));
    }
    if name.contains(char::is_control) {
        return wrong(format!(
            "the name {name:?} has control characters, which the names of tensors must not"
        ));
    }
    Ok(())
}
