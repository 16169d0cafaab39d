//! The record of a network's data in files of weights.

use crate::error::{Error, ErrorKind, Result};
use crate::files::checksum::checksum;
use crate::files::safetensors::TensorFile;
use crate::run::record::DataRecord;
use crate::shown::Shown;

/// The key of the record in the metadata of a file of weights, of a state, and of a checkpoint alike.
const KEY: &str = "brolga.data";

/// The key of what every such file has, by which it is known again: the version of its metadata, a space, and the checksum
/// of the record, which is empty where there is none.
const MARK: &str = "brolga.weights";

/// The key of the cursor of a checkpoint ([`training`](crate::training)), where a checksum of the whole file stands before it.
pub(crate) const CHECKPOINT: &str = "brolga.checkpoint";
/// The version of the metadata.
const VERSION: &str = "1";

impl DataRecord {
    /// What a file of weights, of a state or of a checkpoint says besides tensors: the record if there is any, the mark of such
    /// files, and the pair that Hugging Face's readers look for.
    pub(crate) fn metadata(&self) -> Result<Vec<(&'static str, String)>> {
        let failed =
            |e| Error::new(ErrorKind::Format, format!("cannot write what is known of the data: {e}"));
        let text = match *self == DataRecord::default() {
            true => None,
            false => Some(serde_json::to_string(self).map_err(failed)?),
        };
        let mark = format!("{VERSION} {}", checksum(text.as_deref().unwrap_or("").as_bytes()));
        let record = text.map(|text| (KEY, text));
        Ok(record.into_iter().chain([(MARK, mark), ("format", "pt".to_owned())]).collect())
    }

    /// From the metadata of a file; nothing known of one that another program wrote.
    ///
    /// # Errors
    /// A record that is damaged, or of another version: without it data would be read in another way than in training.
    pub(crate) fn read(file: &TensorFile) -> Result<DataRecord> {
        let wrong = |why: String| {
            let (path, way_out) = (file.path().shown(), "take a copy that is whole, or train again");
            let message =
                format!("what `{path}` says of the data that it was trained on (`{KEY}`) {why}; {way_out}");
            Err(Error::new(ErrorKind::Format, message))
        };
        let text = file.metadata(KEY);
        if let Some(mark) = file.metadata(MARK) {
            let (version, sum) = mark.split_once(' ').unwrap_or((mark, ""));
            if version != VERSION {
                return wrong(format!(
                    "has the form `{version}`, which this version of the program does not know"
                ));
            }
            if sum != checksum(text.unwrap_or("").as_bytes()) {
                return wrong("is damaged: its checksum does not fit".into());
            }
        }
        let Some(text) = text else { return Ok(DataRecord::default()) };
        serde_json::from_str(text).or_else(|e| wrong(format!("cannot be understood: {e}")))
    }
}

/// Whether the metadata of a file say that it was written here, from a state.
pub(crate) fn is_own(file: &TensorFile) -> bool {
    file.metadata(MARK).is_some() || file.metadata(KEY).is_some()
}

/// Pairs of metadata as they are written.
pub(crate) fn noted<'a>(metadata: &'a [(&'a str, String)]) -> Vec<(&'a str, &'a str)> {
    metadata.iter().map(|(key, value)| (*key, value.as_str())).collect()
}
