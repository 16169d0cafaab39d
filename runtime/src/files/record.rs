//! The record of a network's data in files of weights.

use crate::error::{Error, ErrorKind, Result};
use crate::files::checksum::checksum;
use crate::files::json::{self, Reader, listed, needed, once, quoted};
use crate::files::safetensors::TensorFile;
use crate::run::record::{DataRecord, HeldOutRecord};
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
        let text = (*self != DataRecord::default()).then(|| self.to_json());
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
        json::read(text.as_bytes(), DataRecord::from_json)
            .or_else(|e| wrong(format!("cannot be understood: {e}")))
    }

    fn to_json(&self) -> String {
        let texts = |texts: &[String]| listed(texts, |text| quoted(text));
        let vocabularies =
            listed(&self.vocabularies, |(name, all)| format!("[{},{}]", quoted(name), texts(all)));
        let held_out = self.held_out.as_ref().map(|HeldOutRecord { data, seed, rule }| {
            format!("{{\"data\":{},\"seed\":{seed},\"rule\":{}}}", quoted(data), quoted(rule))
        });
        format!(
            "{{\"classes\":{},\"columns\":{},\"vocabularies\":{vocabularies},\"target\":{},\"held_out\":{}}}",
            texts(&self.classes),
            texts(&self.columns),
            self.target.as_deref().map_or("null".to_owned(), quoted),
            held_out.unwrap_or("null".to_owned())
        )
    }

    /// Reads what is written so; fields may be missing.
    fn from_json(reader: &mut Reader<'_>) -> json::Result<DataRecord> {
        let texts = |reader: &mut Reader<'_>| reader.all(Reader::text);
        let [mut classes, mut columns] = [None, None];
        let (mut vocabularies, mut target, mut held_out) = (None, None, None);
        reader.object(&mut |reader, field| match &*field {
            "classes" => once(&mut classes, &field, texts(reader)?),
            "columns" => once(&mut columns, &field, texts(reader)?),
            "vocabularies" => {
                once(&mut vocabularies, &field, reader.all(|reader| reader.pair(Reader::text, texts))?)
            }
            "target" => once(&mut target, &field, reader.option(Reader::text)?),
            "held_out" => once(&mut held_out, &field, reader.option(HeldOutRecord::from_json)?),
            _ => Err(format!("`{field}` is not known")),
        })?;
        Ok(DataRecord {
            classes: classes.unwrap_or_default(),
            columns: columns.unwrap_or_default(),
            vocabularies: vocabularies.unwrap_or_default(),
            target: target.flatten(),
            held_out: held_out.flatten(),
        })
    }
}

impl HeldOutRecord {
    fn from_json(reader: &mut Reader<'_>) -> json::Result<HeldOutRecord> {
        let (mut data, mut seed, mut rule) = (None, None, None);
        reader.object(&mut |reader, field| match &*field {
            "data" => once(&mut data, &field, reader.text()?),
            "seed" => once(&mut seed, &field, reader.number()?),
            "rule" => once(&mut rule, &field, reader.text()?),
            _ => Err(format!("`{field}` is not known")),
        })?;
        Ok(HeldOutRecord {
            data: needed(data, "data")?,
            seed: needed(seed, "seed")?,
            rule: needed(rule, "rule")?,
        })
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
