//! Going on from a checkpoint: which run it belongs to, and what of it is taken over.

use std::path::PathBuf;

use crate::error::{Error, ErrorKind, Result};
use crate::files::checksum::checksum;
use crate::order::sorted;
use crate::run::record::DataRecord;
use crate::run::state::State;
use crate::shown::Shown;
use crate::training::checkpoint::{Checkpoints, Cursor, Found, Way};
use crate::training::data::{Batches, Split};
use crate::training::fingerprint::Fingerprint;
use crate::training::options::CheckpointOptions;
use crate::training::plan::Plan;
use crate::training::progress::Progress;
use crate::training::trainee::Bound;

/// What decides the order of a trainee's data.
const ORDER: [&str; 2] = ["batch", "training samples"];

/// What the order of the data depends on, and then what the caller says. Of several trainees each has its own, under its name.
pub(crate) fn fingerprint(
    options: &CheckpointOptions,
    seed: u64,
    plan: &Plan,
    trainees: &[Bound],
    data: &[&mut dyn Batches],
) -> Fingerprint {
    let mut fingerprint = options.fingerprint.clone();
    let mut own = vec![("seed".to_owned(), seed.to_string())];
    for (trainee, bound) in plan.trainees.iter().zip(trainees) {
        let set = &data[bound.data];
        let [batch, samples] = ORDER;
        let all = [
            (batch, Some(bound.batch().to_string())),
            (samples, Some(set.len(Split::Train).to_string())),
            ("checksum of the data set", set.checksum()),
        ];
        let name = |name: &str| match plan.trainees.len() {
            1 => name.to_owned(),
            _ => format!("{name} of `{}`", trainee.name),
        };
        own.extend(all.into_iter().filter_map(|(of, value)| Some((name(of), value?))));
    }
    fingerprint.decides.splice(0..0, own);
    fingerprint
}

/// A checksum of the weights that a run begins from, whatever their order.
pub(crate) fn beginning(state: &State) -> String {
    let weights = state.slots().iter().filter(|slot| slot.kind().is_saved());
    let lines = weights.map(|slot| format!("{} {}\n", slot.name(), checksum(slot.tensor().bytes())));
    checksum(sorted(lines.collect(), String::cmp).concat().as_bytes())
}

/// Loads the newest checkpoint, if there is one and a run goes on, into `state` and `cursor`, and gives its path. `cursor` comes as
/// that of a run that begins. Where a run does not go on, the folder must be empty.
pub(crate) fn resume(
    directory: &Checkpoints,
    options: &CheckpointOptions,
    cursor: &mut Cursor,
    batches: &[u64],
    state: &mut State,
    progress: &mut dyn Progress,
) -> Result<Option<PathBuf>> {
    if !options.resume {
        directory.require_empty()?;
        return Ok(None);
    }
    let Some(mut found) = directory.newest(&mut |text| progress.notice(text))? else {
        progress.notice("there is no checkpoint yet; training starts from the beginning");
        return Ok(None);
    };
    let path = found.path.clone();
    let comparable = compare(&found, cursor, options, batches, progress)?;
    let record = state.record().clone();
    found.load(state, options.anyway, &mut |text| progress.notice(text))?;
    if record != DataRecord::default() {
        // The data are those of this run.
        state.set_record(record);
    }
    if found.cursor.numerics != cursor.numerics {
        progress.notice(&format!(
            "`{}` was written under numerics version {}, this is {}: results may differ in the last bits",
            path.shown(),
            found.cursor.numerics,
            cursor.numerics
        ));
    }
    let fresh = std::mem::replace(cursor, found.cursor);
    if !comparable || !same_data(&fresh.fingerprint, &cursor.fingerprint) {
        if cursor.ways.iter().any(|way| way.position > 0) {
            progress.notice("the data comes in another order: the epoch begins anew");
        }
        // Another number of trainees is another plan, which begins anew, too.
        if cursor.ways.len() != fresh.ways.len() {
            (cursor.phase, cursor.done) = (0, 0);
            cursor.ways.resize_with(fresh.ways.len(), || Way::new(0));
        }
        for (way, fresh) in cursor.ways.iter_mut().zip(fresh.ways) {
            (way.position, way.sums) = (0, fresh.sums);
        }
    }
    cursor.numerics = fresh.numerics;
    cursor.fingerprint = fresh.fingerprint;
    Ok(Some(path))
}

/// Checks that a checkpoint was written by this run, which begins with `cursor`, and says whether its sums and its position in the
/// epoch fit.
///
/// # Errors
/// It was written by another run or model, and that was not allowed.
fn compare(
    found: &Found,
    cursor: &Cursor,
    options: &CheckpointOptions,
    batches: &[u64],
    progress: &mut dyn Progress,
) -> Result<bool> {
    let (there, anyway) = (&found.cursor, options.anyway);
    let mut differences = cursor.fingerprint.differences(&there.fingerprint);
    if let (true, Some(own), Some(other)) = (options.weights_named, &cursor.begun, &there.begun)
        && own != other
    {
        let began = "weights that it began from";
        differences.push(format!("{began}: {other} there, {own} here (a run that goes on needs none)"));
    }
    let differences = differences.join("\n  ");
    if !differences.is_empty() && !anyway {
        let message = format!(
            "`{}` was written by another run:\n  {differences}\nresume with the same, or load it as weights into a run \
             of its own; `--resume-anyway` (`anyway`) goes on in spite of it",
            found.path.shown()
        );
        return Err(Error::new(ErrorKind::Option, message));
    }
    if !differences.is_empty() {
        progress.notice(&format!("`{}` was written by another run:\n  {differences}", found.path.shown()));
    }
    let sums = |ways: &[Way]| ways.iter().map(|way| way.sums.len()).collect::<Vec<_>>();
    let (found_sums, own_sums) = (sums(&there.ways), sums(&cursor.ways));
    let fits = there.ways.iter().zip(batches).all(|(way, batches)| way.position <= *batches);
    let comparable = found_sums == own_sums && fits;
    if !comparable && !anyway {
        let [sums, expected] = [found_sums, own_sums].map(|sums| sums.iter().sum::<usize>());
        let message = format!(
            "`{}` was written by another model, or with other metrics: it has {sums} sums of them, this one has {expected}",
            found.path.shown()
        );
        return Err(Error::new(ErrorKind::State, message));
    }
    Ok(comparable)
}

/// Whether the order of the data is the same.
fn same_data(a: &Fingerprint, b: &Fingerprint) -> bool {
    let is_order = |name: &str| name == "seed" || ORDER.iter().any(|order| name.starts_with(order));
    let of =
        |f: &Fingerprint| f.decides.iter().filter(|(name, _)| is_order(name)).cloned().collect::<Vec<_>>();
    of(a) == of(b)
}
