//! States that begin as tables of a data set.

use crate::error::{Error, ErrorKind, Result};
use crate::run::state::State;
use crate::tensors::dtype::type_name;
use crate::training::data::Batches;

/// Sets states to tables of a data set; each is given by its name and that of the table, which has its elements in its order.
///
/// # Errors
/// A table that the data set does not have, or of another shape; elements that the type of the state does not hold.
pub fn set_tables<'t>(
    state: &mut State,
    tables: impl IntoIterator<Item = &'t (String, String)>,
    data: &dyn Batches,
) -> Result<()> {
    for (name, table) in tables {
        let begins = || format!("the state `{name}` begins as the table `{table}` of the data set");
        let slot = state.get(name)?;
        let (dtype, dims) = (slot.dtype(), slot.dims().to_vec());
        let Some(found) = data.table(table) else {
            let message = format!(
                "{}, which has none of that name; tables are arrays of a `.npz` or `.safetensors` file",
                begins()
            );
            return Err(Error::new(ErrorKind::Data, message));
        };
        if found.dims() != dims {
            let (own, found) = (type_name(dtype, &dims), found.type_found());
            return Err(Error::new(ErrorKind::Data, format!("{}: expected {own}, found {found}", begins())));
        }
        let value = found.try_clone()?.converted(dtype).map_err(|e| e.within(begins()))?;
        state.set(name, value)?;
    }
    Ok(())
}
