//! Loading states: what must be there, what may be missing, what is kept; and saving them.

use std::path::PathBuf;

use brolga_runtime::*;

/// A network with a layer and a batch norm, and its optimiser.
fn state() -> State {
    let mut state = State::new();
    let mut add = |name: &str, kind, dims: &[usize], value: f32| {
        let values = vec![value; dims.iter().product()];
        state.insert(name, kind, Tensor::from_slice(dims, &values).unwrap()).unwrap();
    };
    add("fc1.weight", SlotKind::Parameter, &[2, 3], 1.0);
    add("fc1.bias", SlotKind::Parameter, &[2], 2.0);
    add("bn1.running_mean", SlotKind::Buffer, &[2], 3.0);
    add("optim.momentum.fc1.weight", SlotKind::Optimizer, &[2, 3], 4.0);
    state.insert("step", SlotKind::Step, Tensor::scalar(5i64).unwrap()).unwrap();
    state.insert("seed", SlotKind::Seed, Tensor::scalar(6i64).unwrap()).unwrap();
    state
}

/// The first element of each tensor.
fn values(state: &State) -> Vec<f64> {
    let first = |t: &Tensor| match t.dtype() {
        DType::I64 => t.as_slice::<i64>().unwrap()[0] as f64,
        _ => f64::from(t.as_slice::<f32>().unwrap()[0]),
    };
    state.slots().iter().map(|s| first(s.tensor())).collect()
}

struct Files {
    dir: tempfile::TempDir,
}

impl Files {
    fn new() -> Files {
        Files { dir: tempfile::tempdir().unwrap() }
    }

    /// A file of tensors that are all 9.
    fn write(&self, tensors: &[(&str, DType, &[usize])]) -> PathBuf {
        let path = self.dir.path().join("weights.safetensors");
        let owned: Vec<(&str, Tensor)> = tensors
            .iter()
            .map(|(name, dtype, dims)| {
                let n = dims.iter().product();
                let tensor = match dtype {
                    DType::F32 => Tensor::from_slice(dims, &vec![9f32; n]),
                    DType::F64 => Tensor::from_slice(dims, &vec![9f64; n]),
                    _ => Tensor::from_slice(dims, &vec![9i64; n]),
                };
                (*name, tensor.unwrap())
            })
            .collect();
        let views: Vec<_> = owned.iter().map(|(n, t)| (*n, t.view())).collect();
        write_safetensors(&path, &views, None).unwrap();
        path
    }

    /// The message of an error, without the directory.
    fn message(&self, error: &Error) -> String {
        error.to_string().replace(&format!("{}/", self.dir.path().display()), "")
    }
}

const WEIGHT: (&str, DType, &[usize]) = ("fc1.weight", DType::F32, &[2, 3]);
const BIAS: (&str, DType, &[usize]) = ("fc1.bias", DType::F32, &[2]);
const MEAN: (&str, DType, &[usize]) = ("bn1.running_mean", DType::F32, &[2]);
const BATCHES: (&str, DType, &[usize]) = ("bn1.num_batches_tracked", DType::I64, &[]);

#[test]
fn weights_as_pytorch_saves_them_load_and_the_rest_stays_fresh() {
    let files = Files::new();
    let mut state = state();
    let report = state.load(files.write(&[WEIGHT, BIAS, MEAN, BATCHES])).unwrap();
    assert_eq!(values(&state), [9.0, 9.0, 9.0, 4.0, 5.0, 6.0]);
    assert_eq!(report.unused, ["bn1.num_batches_tracked"]);
    assert_eq!(report.kept, ["optim.momentum.fc1.weight", "step", "seed"]);
    assert_eq!(report.used.len(), 3);
}

#[test]
fn a_full_state_loads_into_the_same_state_and_into_one_for_inference() {
    let files = Files::new();
    let path = files.dir.path().join("full.safetensors");
    let mut saved = state();
    saved.get_mut("step").unwrap().as_mut_slice::<i64>().unwrap()[0] = 77;
    saved.save(&path).unwrap();
    let mut loaded = state();
    let report = loaded.load(&path).unwrap();
    assert_eq!((loaded.step(), report.used.len()), (Some(77), 6));

    let mut inference = State::new();
    for slot in state().slots().iter().filter(|s| s.kind().is_weight()) {
        inference.insert(slot.name(), slot.kind(), slot.tensor().try_clone().unwrap()).unwrap();
    }
    let mut unused = inference.load(&path).unwrap().unused;
    unused.sort();
    assert_eq!(unused, ["optim.momentum.fc1.weight", "seed", "step"]);

    let weights = files.dir.path().join("weights.safetensors");
    saved.save_weights(&weights).unwrap();
    let mut names: Vec<String> = TensorFile::open(&weights).unwrap().names().map(String::from).collect();
    names.sort();
    assert_eq!(names, ["bn1.running_mean", "fc1.bias", "fc1.weight"]);
    assert_eq!(TensorFile::open(&weights).unwrap().metadata("format"), Some("pt"));
}

#[test]
fn everything_that_does_not_fit_is_listed_at_once_and_nothing_is_changed() {
    let files = Files::new();
    let mut state = state();
    let path = files.write(&[
        ("fc1.wieght", DType::F32, &[2, 3]),
        ("fc1.bias", DType::F32, &[3]),
        ("bn1.running_mean", DType::I64, &[2]),
        ("conv9.weight", DType::F32, &[1]),
        ("step", DType::I64, &[]),
    ]);
    let error = state.load(&path).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::State);
    let message = files.message(&error);
    let mut lines: Vec<&str> = message.lines().collect();
    lines[1..].sort();
    assert_eq!(
        lines,
        [
            "the weights in `weights.safetensors` do not fit the model:",
            "  `bn1.running_mean` is i64[2] in the file, but f32[2] in the model; convert it before saving (in \
             PyTorch `tensor.float()`)",
            "  `conv9.weight` is unknown to the model",
            "  `fc1.bias` is f32[3] in the file, but f32[2] in the model",
            "  `fc1.weight`: f32[2, 3] is missing (nearest: `fc1.wieght`)",
            "  `fc1.wieght` is unknown to the model (nearest: `fc1.weight`)",
            "partial loading (`load_partial`, --partial) takes what fits by name",
        ]
    );
    assert_eq!(values(&state), values(&self::state()));
}

/// Floats of every type become those of the model, from safetensors and from archives of arrays; `tests/data/make.py` writes
/// the files, which have the same six numbers in every type. Whole numbers are no weights.
#[test]
fn weights_of_every_float_type_are_read() {
    let data = |name: &str| std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name);
    let floats = ["float16", "bfloat16", "float32", "float64"];
    let arrays: Vec<(String, Tensor)> = read_tensors(data("kinds.npz")).unwrap();
    let arrays = arrays.iter().map(|(name, _)| name.as_str());
    let arrays: Vec<&str> =
        arrays.filter(|name| [".f2", ".f4", ".f8"].iter().any(|end| name.ends_with(end))).collect();
    assert_eq!(arrays.len(), 12, "three types, two byte orders, by rows and by columns");
    for (file, names) in [("kinds.safetensors", &floats[..]), ("kinds.npz", &arrays[..])] {
        for model in [DType::F32, DType::F64] {
            let mut state = State::new();
            for name in names {
                state.insert(*name, SlotKind::Parameter, Tensor::zeros(model, &[2, 3]).unwrap()).unwrap();
            }
            let report = state.load_partial(data(file), &[]).unwrap();
            assert_eq!(report.used.len(), names.len(), "{file}");
            for slot in state.slots() {
                assert_eq!(slot.tensor().dtype(), model);
                let found = slot.tensor().try_clone().unwrap().converted(DType::F64).unwrap();
                let expected = [0.0, 1.0, 2.0, 3.0, 4.0, 100.0];
                assert_eq!(found.as_slice::<f64>().unwrap(), expected, "{} of {file}", slot.name());
            }
        }
    }
    for name in ["int32", "uint8", "int8"] {
        let mut state = State::new();
        state.insert(name, SlotKind::Parameter, Tensor::zeros(DType::F32, &[2, 3]).unwrap()).unwrap();
        let error = state.load_partial(data("kinds.safetensors"), &[]).unwrap_err();
        assert!(error.to_string().contains("convert it before saving"), "{error}");
    }
    // An archive is whole weights, too, and what is wrong with it is listed alike.
    let files = Files::new();
    let path = files.dir.path().join("w.npz");
    let nine = |dims: &[usize]| Tensor::from_slice(dims, &vec![9f64; dims.iter().product()]).unwrap();
    let (weight, bias, mean) = (nine(&[2, 3]), nine(&[2]), nine(&[2]));
    let all = [("fc1.weight", weight.view()), ("fc1.bias", bias.view()), ("bn1.running_mean", mean.view())];
    write_tensors(&path, &all).unwrap();
    let mut state = state();
    state.load(&path).unwrap();
    assert_eq!(values(&state), [9.0, 9.0, 9.0, 4.0, 5.0, 6.0]);
    write_tensors(&path, &all[..2]).unwrap();
    let message = files.message(&state.load(&path).unwrap_err());
    assert!(
        message.contains("`w.npz` do not fit") && message.contains("`bn1.running_mean`: f32[2] is missing"),
        "{message}"
    );
}

#[test]
fn partial_loading_takes_what_has_the_same_name_and_says_so() {
    let files = Files::new();
    let mut state = state();
    let report = state.load_partial(files.write(&[BIAS, ("head.weight", DType::F32, &[7])]), &[]).unwrap();
    assert_eq!(values(&state), [1.0, 9.0, 3.0, 4.0, 5.0, 6.0]);
    assert_eq!(report.used, ["fc1.bias"]);
    assert_eq!(report.unused, ["head.weight"]);
    assert_eq!(report.kept, ["fc1.weight", "bn1.running_mean", "optim.momentum.fc1.weight", "step", "seed"]);

    let error = state.load_partial(files.write(&[("fc1.bias", DType::F32, &[1, 2])]), &[]).unwrap_err();
    assert_eq!(
        files.message(&error),
        "the weights in `weights.safetensors` do not fit the model:\n  `fc1.bias` is f32[1, 2] in the file, but \
         f32[2] in the model"
    );
}

#[test]
fn prefixes_bring_names_together() {
    let files = Files::new();
    let pair = |from: &str, to: &str| (from.to_owned(), to.to_owned());
    let theirs = [
        ("backbone.fc1.weight", DType::F32, &[2, 3][..]),
        ("backbone.fc1.bias", DType::F32, &[2]),
        ("head.bias", DType::F32, &[2]),
    ];
    let path = files.write(&theirs);
    // Nothing that fits is an error, which names both sides; nothing changes.
    for prefixes in [vec![], vec![pair("head.", "top.")]] {
        let mut state = state();
        let error = state.load_partial(&path, &prefixes).unwrap_err();
        let message = files.message(&error);
        assert!(message.contains("it has `") && message.contains("here is `fc1.weight`"), "{message}");
        assert_eq!((error.kind(), values(&state)), (ErrorKind::State, values(&self::state())));
    }
    let mut state = state();
    let report = state.load_partial(&path, &[pair("backbone.", "")]).unwrap();
    let mut used = report.used.clone();
    used.sort();
    assert_eq!(
        (used, report.unused),
        (vec!["fc1.bias".into(), "fc1.weight".into()], vec!["head.bias".into()])
    );
    // The first pair that fits decides; an empty beginning fits all names.
    let path = files.write(&[("bias", DType::F32, &[2]), ("bn.running_mean", DType::F32, &[2])]);
    let report = state.load_partial(&path, &[pair("bn.", "bn1."), pair("", "fc1.")]).unwrap();
    assert_eq!(report.used.len(), 2, "{report:?}");
    // Two tensors of one name are a mistake.
    let path = files.write(&[("a.bias", DType::F32, &[2]), ("fc1.bias", DType::F32, &[2])]);
    let error = state.load_partial(&path, &[pair("a.", "fc1.")]).unwrap_err();
    assert!(error.to_string().contains("two tensors of") && error.kind() == ErrorKind::Name, "{error}");
}

#[test]
fn a_tensor_is_set_only_to_one_of_its_type() {
    let mut state = state();
    state.set("fc1.bias", Tensor::from_slice(&[2], &[7f32, 8.0]).unwrap()).unwrap();
    assert_eq!(state.get("fc1.bias").unwrap().as_slice::<f32>().unwrap(), [7.0, 8.0]);
    let error = state.set("fc1.bias", Tensor::scalar(7f32).unwrap()).unwrap_err();
    assert_eq!(error.to_string(), "the state's `fc1.bias` is f32[2] and cannot be set to f32[]");
    let error = state.set("fc1.bais", Tensor::scalar(7f32).unwrap()).unwrap_err();
    assert_eq!(error.to_string(), "the state has no tensor `fc1.bais` (nearest: `fc1.bias`)");
}

/// So many small tensors, named like the parameters of a deep network; `prefix` makes them another's.
fn many(count: usize, prefix: &str) -> State {
    let mut state = State::new();
    for i in 0..count {
        let name = format!("{prefix}{}.{}.weight", i / 10, i % 10);
        state.insert(name, SlotKind::Parameter, Tensor::scalar(i as f32).unwrap()).unwrap();
    }
    state
}

/// The shorter of two.
fn seconds(mut work: impl FnMut()) -> f64 {
    let times = (0..2).map(|_| {
        let start = std::time::Instant::now();
        work();
        start.elapsed().as_secs_f64()
    });
    times.fold(f64::INFINITY, f64::min)
}

/// Eight times as many tensors take eight times as long, or little more: loading, in part too, saving, refusing, and
/// giving to an entry point. What looks each name up by going through all takes sixty times.
#[test]
fn the_time_of_loading_is_linear() {
    let files = Files::new();
    let path = files.dir.path().join("many.safetensors");
    let measure = |count: usize| {
        let (mut state, mut other) = (many(count, "encoder.layers."), many(count, "decoder.layers."));
        state.save(&path).unwrap();
        [
            seconds(|| state.save(&path).unwrap()),
            seconds(|| drop(state.load(&path).unwrap())),
            seconds(|| drop(state.load_partial(&path, &[]).unwrap())),
            seconds(|| drop(other.load_partial(&path, &[]).unwrap_err())),
            seconds(|| {
                let error = other.load(&path).unwrap_err().to_string();
                assert!(error.contains(&format!("… and {} more", 2 * count - 20)), "{error}");
            }),
            seconds(|| {
                let mut file = TensorFile::open(&path).unwrap();
                state.slots().iter().for_each(|slot| drop(file.read(slot.name()).unwrap()));
            }),
        ]
    };
    let (few, lots) = (measure(800), measure(6_400));
    for (at, (few, lots)) in few.iter().zip(&lots).enumerate() {
        // Hints for the first names that do not fit take a time that does not grow, but for the candidates of each.
        assert!(*lots < 24.0 * few + 0.2, "{at}: {few} s for 800 tensors, {lots} s for 6,400");
    }
}

/// What weights know of the data is read as it was written, or not at all: no byte of a file's metadata can change without
/// that the record stays what it was, or loading says so and changes nothing. So it is for checkpoints, whose every byte is checked.
#[test]
fn a_damaged_record_of_the_data_is_an_error() {
    let files = Files::new();
    let path = files.dir.path().join("weights.safetensors");
    let held_out = HeldOutRecord { data: "0123abcd".into(), seed: 7, rule: "a fifth, drawn by seed".into() };
    let record = DataRecord {
        classes: vec!["cat".into(), "dog".into()],
        columns: vec!["rooms".into(), "area".into()],
        vocabularies: vec![("street".into(), vec!["a".into(), "b".into()])],
        target: Some("price".into()),
        held_out: Some(held_out),
    };
    for record in [record, DataRecord::default()] {
        let mut saved = state();
        saved.set_record(record.clone());
        saved.save_weights(&path).unwrap();
        let whole = std::fs::read(&path).unwrap();
        let mut loaded = state();
        loaded.load(&path).unwrap();
        assert_eq!(loaded.record(), &record);

        // The metadata stand first in the header.
        let end = whole.windows(4).position(|at| at == b"\"pt\"").unwrap() + 5;
        let mut refused = 0;
        for at in 8..end {
            for flip in [1, 2, 32] {
                let mut bytes = whole.clone();
                bytes[at] ^= flip;
                std::fs::write(&path, &bytes).unwrap();
                let mut loaded = state();
                match loaded.load(&path) {
                    Ok(_) => assert_eq!(loaded.record(), &record, "byte {at} as {:?}", bytes[at] as char),
                    Err(error) => {
                        refused += 1;
                        assert_eq!(values(&loaded), values(&state()), "{error}");
                    }
                }
            }
        }
        assert!(refused > if record == DataRecord::default() { 30 } else { 500 }, "{refused}");
    }
}

/// Records of earlier versions, which have no checksum, are read; those of later ones, and what is no record, are refused, with
/// what can be done.
#[test]
fn records_of_other_versions() {
    let files = Files::new();
    let path = files.dir.path().join("weights.safetensors");
    let own = state();
    let views: Vec<_> = own.slots().iter().map(|slot| (slot.name(), slot.tensor().view())).collect();
    let load = |metadata: (&str, &str)| {
        write_safetensors(&path, &views, Some(metadata)).unwrap();
        let mut loaded = state();
        loaded.load(&path).map(|_| loaded.record().clone())
    };
    let earlier = load(("brolga.data", r#"{"columns":["rooms","area"]}"#)).unwrap();
    assert_eq!(earlier.columns, ["rooms", "area"]);
    assert_eq!(load(("format", "pt")).unwrap(), DataRecord::default());
    for metadata in [
        ("brolga.data", r#"{"columns":["rooms","area"],"units":["1","m2"]}"#),
        ("brolga.data", r#"{"held_out":{"data":"0","seed":1,"rule":"all","fold":2}}"#),
        ("brolga.data", r#"{"columns":"rooms"}"#),
        ("brolga.data", r#"{"columns":["rooms","#),
        ("brolga.data", ""),
        ("brolga.weights", "2 00000000"),
        ("brolga.weights", "1 00000001"),
        ("brolga.weights", ""),
    ] {
        let error = load(metadata).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Format, "{metadata:?}");
        let message = files.message(&error);
        assert!(
            message.contains("`brolga.data`") && message.contains("take a copy that is whole"),
            "{message}"
        );
    }
}

/// A file is known to hold what was saved of a state like this one.
#[test]
fn own_files_are_known() {
    let files = Files::new();
    let path = files.dir.path().join("weights.safetensors");
    let own = state();
    assert!(!own.is_saved_in(&path));
    for whole in [true, false] {
        if whole { own.save(&path) } else { own.save_weights(&path) }.unwrap();
        assert!(own.is_saved_in(&path));
        for (name, dims) in [("fc1.bias", &[3][..]), ("fc2.bias", &[2][..])] {
            let mut other = State::new();
            for slot in own.slots().iter().filter(|slot| slot.name() != "fc1.bias") {
                other.insert(slot.name(), slot.kind(), slot.tensor().try_clone().unwrap()).unwrap();
            }
            assert!(!other.is_saved_in(&path), "one of the file's is not there");
            other.insert(name, SlotKind::Parameter, Tensor::zeros(DType::F32, dims).unwrap()).unwrap();
            assert!(!other.is_saved_in(&path), "{name}");
        }
    }
    let views: Vec<_> = own.slots().iter().map(|slot| (slot.name(), slot.tensor().view())).collect();
    write_safetensors(&path, &views, Some(("format", "pt"))).unwrap();
    assert!(!own.is_saved_in(&path) && own.is_in_unmarked(&path), "another program's");
}

/// Where a loop ended is in whole states and not in weights; what another batch has left is no place to begin.
#[test]
fn where_loops_ended_follows_the_batch() {
    let with_loop = |batch: usize, value: f32, begun: bool| {
        let mut state = state();
        let end = Tensor::from_slice(&[batch, 3], &vec![value; 3 * batch]).unwrap();
        state.insert("kept.train.h", SlotKind::Kept, end).unwrap();
        let mut flag = Tensor::zeros(DType::Bool, &[]).unwrap();
        flag.bytes_mut()[0] = u8::from(begun);
        state.insert("kept.train.h.begun", SlotKind::Kept, flag).unwrap();
        state
    };
    let end = |state: &State| {
        let begun = state.get("kept.train.h.begun").unwrap().bytes()[0] == 1;
        (state.get("kept.train.h").unwrap().as_slice::<f32>().unwrap()[0], begun)
    };
    let files = Files::new();
    let path = files.dir.path().join("full.safetensors");
    let mut saved = with_loop(4, 7.0, true);
    saved.save(&path).unwrap();

    let mut same = with_loop(4, 0.0, false);
    assert_eq!((same.load(&path).unwrap().used.len(), end(&same)), (8, (7.0, true)));
    let mut other = with_loop(2, 5.0, true);
    let mut report = other.load(&path).unwrap();
    report.unused.sort();
    assert_eq!(report.unused, ["kept.train.h", "kept.train.h.begun"]);
    assert_eq!((report.used.len(), end(&other)), (6, (0.0, false)));
    let mut without = state();
    assert_eq!(without.load(&path).unwrap().used.len(), 6);
    assert!(other.is_saved_in(&path) && without.is_saved_in(&path));

    let weights = files.dir.path().join("weights.safetensors");
    saved.save_weights(&weights).unwrap();
    assert!(!TensorFile::open(&weights).unwrap().names().any(|name| name.starts_with("kept.")));
    saved.begin_anew();
    let own = |state: &State| {
        state.slots()[..6].iter().map(|slot| slot.tensor().bytes().to_vec()).collect::<Vec<_>>()
    };
    assert_eq!((end(&saved), own(&saved)), ((0.0, false), own(&state())));
}
