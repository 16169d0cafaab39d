//! Containers that the library and the command make: opened without a compiler, they give the bits of what is compiled into
//! memory. `BROLGA_MODELS=all` takes every model that comes along; the test run takes those of few layers.

use std::sync::Arc;

use brolga::codegen::Options;
use brolga::runtime::container::{Loaded, open};
use brolga::runtime::{Executable, Instance};
use brolga::{ObjectEntry, State, Tensor, Threads, random_inputs};

use crate::common::load;

/// Layers of the deepest model that the test run takes.
const FEW: usize = 16;

/// Opens a container that a test has just written.
fn opened(path: &std::path::Path) -> Loaded {
    // SAFETY: the code has just been compiled; nobody changes the file, and to remove it leaves the map alone.
    unsafe { open(path) }.expect("a container")
}

/// Outputs of random inputs, and the state afterwards.
fn run(executable: &Arc<Executable>, state: &State) -> (Vec<(String, Tensor)>, State) {
    let mut state = state.try_clone().expect("memory");
    let manifest = executable.manifest();
    let inputs = random_inputs(&manifest.inputs).expect("inputs");
    let named: Vec<(&str, &Tensor)> =
        manifest.inputs.iter().map(|input| input.name.as_str()).zip(&inputs).collect();
    let mut instance = Instance::bind(executable.clone(), &state, &Threads::new(2).unwrap()).expect("bound");
    (instance.run_named(&mut state, &named).expect("a run"), state)
}

/// Whether two states hold the same bits.
fn same(one: &State, two: &State) -> bool {
    let bits = |state: &State| -> Vec<(String, Vec<u8>)> {
        let slots = state.slots().iter();
        slots.map(|slot| (slot.name().to_owned(), slot.tensor().bytes().to_vec())).collect()
    };
    bits(one) == bits(two)
}

/// Everything that answers and trains, in a container with weights and prepared values; of one model, in one without weights, too.
fn check(name: &str) {
    let model = load(name, 3);
    let instance = model.instance();
    let trains = |name: &&str| {
        let graph = instance.graph(name).filter(|_| *name != "init" && instance.refused(name).is_none());
        graph.is_some_and(brolga::passes::facts::batch::trains)
    };
    let batch_of_one = [("batch", 1)];
    let known = |name: &&str| instance.graph(name).is_some();
    let infer = ["infer"].into_iter().filter(known).map(|name| (name, &batch_of_one[..]));
    let train = instance.entries().into_iter().find(trains).map(|name| (name, &[][..]));
    let asked: Vec<ObjectEntry<'_>> = infer.chain(train).collect();
    // A model that only checks something has neither.
    if asked.is_empty() {
        return;
    }
    let all = model.with_companions(&asked).expect("entries");
    let all: Vec<(&str, Vec<(&str, usize)>)> = all
        .iter()
        .map(|(name, dims)| (&**name, dims.iter().map(|(name, size)| (&**name, *size)).collect()))
        .collect();
    let entries: Vec<ObjectEntry<'_>> = all.iter().map(|(name, dims)| (*name, &dims[..])).collect();
    let weights = model.initial_state(5).expect("weights");
    let folder = tempfile::tempdir().expect("a folder");
    let at = |file| folder.path().join(file);
    let targets = [Options::default()];
    let container = |weights, prepared| model.container(&entries, weights, prepared, &targets).expect("code");
    container(Some(&weights), Some(true)).write(at("with.brolga")).expect("written");
    let with = opened(&at("with.brolga"));
    let without = (name == "lenet5").then(|| {
        container(None, None).write(at("without.brolga")).expect("written");
        opened(&at("without.brolga"))
    });
    assert!(same(&with.state, &weights), "{name}: the state of the container");
    for (at, (entry, dims)) in entries.iter().enumerate() {
        let jit = model.compile_for(entry, dims).expect("code");
        let expected = run(&jit, &weights);
        for loaded in [&with].into_iter().chain(&without) {
            let found = run(&loaded.executables[at], &weights);
            assert!(found.0 == expected.0, "{name}: outputs of `{entry}` {dims:?}");
            assert!(same(&found.1, &expected.1), "{name}: state after `{entry}` {dims:?}");
        }
        // The container's own state has its prepared values.
        assert!(run(&with.executables[at], &with.state).0 == expected.0, "{name}: prepared for `{entry}`");
        assert!(with.entry_for(entry, dims).is_some());
    }
    if let Some(without) = without.filter(|_| train.is_some()) {
        let (found, expected) =
            (without.initial_state(9).expect("init"), model.initial_state(9).expect("init"));
        assert!(same(&found, &expected), "{name}: what `init` draws");
    }
}

#[test]
fn every_model_in_a_container_gives_the_bits_of_the_jit() {
    let all = std::env::var("BROLGA_MODELS").is_ok_and(|models| models == "all");
    let mut run = 0;
    for (name, _) in brolga::names().expect("models") {
        let model = load(&name, 1);
        if all || model.instance().layers().len() < FEW {
            let start = std::time::Instant::now();
            check(&name);
            println!("{name}: {:.1} s", start.elapsed().as_secs_f64());
            run += 1;
        }
    }
    assert!(run >= 5, "{run}");
}

#[cfg(all(feature = "cli", unix))]
mod command {
    use super::{opened, same};
    use crate::cli::{bad, folder, good};
    use brolga::{Model, Settings};

    #[test]
    fn build_writes_containers() {
        let folder = folder();
        let at = folder.path();
        let model = Model::load("lenet5", &Settings::default()).unwrap();
        let weights = model.initial_state(3).unwrap();
        weights.save_weights(at.join("w.safetensors")).unwrap();
        let text = good(at, "build lenet5 --weights w.safetensors --emit container -o net.brolga");
        assert!(text.contains("container: net.brolga") && text.contains("entry: infer batch=1\n"), "{text}");
        let loaded = opened(&at.join("net.brolga"));
        assert_eq!(loaded.contents.entries.len(), 1);
        assert!(loaded.contents.has_weights());
        assert_eq!(loaded.contents.prepared.iter().flatten().count(), 1, "prepared values come along");
        // Written again, and not over anything else.
        good(at, "build lenet5 --emit container -o net.brolga --dim batch=4");
        let loaded = opened(&at.join("net.brolga"));
        assert!(loaded.entry_for("infer", &[("batch", 4)]).is_some());
        assert!(loaded.entry_for("infer", &[("batch", 1)]).is_some());
        assert!(!loaded.contents.has_weights());
        assert!(bad(at, "build lenet5 --emit container -o w.safetensors").contains("says safetensors"));
        std::fs::write(at.join("notes"), "to be kept\n").unwrap();
        assert!(bad(at, "build lenet5 --emit container -o notes").contains("--force"));
        assert!(bad(at, "build lenet5 --emit container -o n.brolga --prepared true").contains("--weights"));
        assert!(
            bad(at, "build lenet5 -o n.o --weights w.safetensors --prepared true")
                .contains("--emit container")
        );
        assert!(bad(at, "build lenet5 --emit container -o n.brolga --symbol n").contains("--symbol"));
        assert!(bad(at, "build lenet5 -o n.brolga --launcher net.brolga").contains("--emit exe"));
        good(at, "build lenet5 --entry infer,train -o train.brolga --dim train.batch=8");
        let loaded = opened(&at.join("train.brolga"));
        for entry in ["infer", "train", "train.eval", "init"] {
            assert!(loaded.entry(entry).is_ok(), "{entry}");
        }
        assert_eq!(loaded.contents.about.training[0].entry, "train");
        assert!(same(&loaded.initial_state(3).unwrap(), &weights));
    }
}
