//! What is opened runs as it was written: from the map, which is copied where it is written to, and shared.

use std::sync::Arc;

use super::folder;
use crate::common::container::{PREPARED, code, code_for_both, here, runs_here, sample, state};
use brolga_runtime::container::{Check, Container, Contents, Kind, Loaded, Parts, Values, open, open_with};
use brolga_runtime::*;

/// Opens a container that the tests have written.
fn load(bytes: &[u8]) -> Loaded {
    let (_folder, path) = folder(bytes);
    // SAFETY: the code keeps to its manifest. Nobody changes the file: its folder is removed, which leaves the map alone.
    unsafe { open(&path).unwrap() }
}

/// `infer` of 5.
fn infer(executable: &Arc<Executable>, state: &State) -> i32 {
    let mut instance = Instance::bind(executable.clone(), state, &Threads::serial()).unwrap();
    let (x, mut y) = (Tensor::scalar(5i32).unwrap(), Tensor::scalar(0i32).unwrap());
    instance.run_shared(state, &[x.view()], &mut [y.view_mut()]).unwrap();
    y.as_slice::<i32>().unwrap()[0]
}

/// w += x.
fn train(executable: &Arc<Executable>, state: &mut State, x: i32) {
    let mut instance = Instance::bind(executable.clone(), state, &Threads::serial()).unwrap();
    instance.run_tensors(state, &[Tensor::scalar(x).unwrap()], &mut []).unwrap();
}

fn w(state: &State) -> i32 {
    state.get("w").unwrap().as_slice::<i32>().unwrap()[0]
}

fn bytes_with(values: Values, prepared: &[Option<&[u8]>]) -> Vec<u8> {
    let (code, state) = (code_for_both(), state());
    Parts { model: "sample", code: &code, state: &state, values, prepared, about: None }.to_bytes().unwrap()
}

/// The parts of the file come back, from memory, from a file that is read, and from one that is opened.
#[test]
fn what_is_written_is_read() {
    let bytes = sample();
    let container = Container::of_bytes(&bytes).unwrap();
    let (_folder, path) = folder(&bytes);
    assert_eq!(Container::read(&path).unwrap(), container);
    let Contents { model, entries, code, state, prepared, about, record } = container.contents();
    let written = code_for_both();
    assert_eq!((model.as_str(), entries, container.numerics()), ("sample", &written.entries, 6));
    assert!(code.iter().zip(&written.pieces).all(|(found, piece)| *found == piece.piece));
    assert_eq!((about.classes[0].as_str(), record.classes[0].as_str()), ("one", "cat"));
    assert_eq!(prepared, &[Some(0), None]);
    let slots: Vec<_> = state.iter().map(|slot| (slot.name.as_str(), slot.kind, slot.at)).collect();
    let expected = [
        ("w", SlotKind::Parameter, Some(0)),
        ("flags", SlotKind::Buffer, Some(64)),
        ("optim.momentum.w", SlotKind::Optimizer, None),
        ("step", SlotKind::Step, None),
    ];
    assert_eq!(slots, expected);
    assert!(container.contents().has_weights());
}

/// Sections are where their pages and vectors want them, and cover the file.
#[test]
fn sections_are_aligned() {
    let bytes = sample();
    let container = Container::of_bytes(&bytes).unwrap();
    assert_eq!(container.sections().len(), 6);
    for section in container.sections() {
        assert!(section.offset.is_multiple_of(section.alignment) && section.alignment >= 64);
        assert_eq!(
            section.checksum,
            crc32fast::hash(&bytes[section.offset as usize..][..section.bytes as usize])
        );
    }
    let last = container.sections().last().unwrap();
    assert_eq!(last.offset + last.bytes, bytes.len() as u64);
}

#[test]
fn entries_run_from_the_map_with_the_prepared_values_of_the_file() {
    if !runs_here() {
        return println!("skipped: there is no code for this processor");
    }
    let mut loaded = load(&sample());
    assert_eq!((w(&loaded.state), loaded.classes()), (7, &["cat".to_owned(), "dog".to_owned()][..]));
    let flags = loaded.state.get("flags").unwrap();
    assert_eq!((flags.bytes(), loaded.state.step()), (&[1u8, 0, 1][..], Some(0)));
    let (infer_entry, train_entry) =
        (loaded.entry("infer").unwrap().clone(), loaded.entry("train").unwrap().clone());
    let kept = i32::from_le_bytes(PREPARED);
    assert_eq!(infer(&infer_entry, &loaded.state), 5 + 7 + 1000 + kept);
    assert_eq!(infer(&infer_entry, &loaded.state.try_clone().unwrap()), 5 + 7 + 1000 + kept);
    // Other weights have other prepared values, and clones keep theirs.
    let clone = loaded.state.try_clone().unwrap();
    train(&train_entry, &mut loaded.state, 2);
    assert_eq!((w(&loaded.state), w(&clone)), (9, 7));
    assert_eq!(infer(&infer_entry, &loaded.state), 5 + 9 + 1000 + 900);
    assert_eq!(infer(&infer_entry, &clone), 5 + 7 + 1000 + kept);
    let error = loaded.entry("trian").unwrap_err().to_string();
    assert!(error.contains("no entry point `trian` (nearest: `train`)"), "{error}");
}

/// What a run changes is its own: neither the file nor what others opened changes.
#[test]
fn the_file_stays_as_it_is() {
    if !runs_here() {
        return;
    }
    let bytes = sample();
    let (_folder, path) = folder(&bytes);
    // SAFETY: as in `load`.
    let (mut one, other) = unsafe { (open(&path).unwrap(), open(&path).unwrap()) };
    train(&one.executables[1].clone(), &mut one.state, 100);
    assert_eq!((w(&one.state), w(&other.state)), (107, 7));
    // SAFETY: as above.
    assert_eq!(w(&unsafe { open(&path).unwrap() }.state), 7);
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
}

/// Executables, and tensors of the state, keep what they need of the map.
#[test]
fn parts_outlive_the_rest() {
    if !runs_here() {
        return;
    }
    let Loaded { mut executables, mut state, .. } = load(&sample());
    let executable = executables.remove(0);
    drop(executables);
    assert_eq!(infer(&executable, &state), 5 + 7 + 1000 + i32::from_le_bytes(PREPARED));
    drop(executable);
    state.set("w", Tensor::scalar(8i32).unwrap()).unwrap();
    assert_eq!((w(&state), state.get("flags").unwrap().bytes()), (8, &[1u8, 0, 1][..]));
}

/// Eight threads share what was opened.
#[test]
fn threads_share_what_is_opened() {
    if !runs_here() {
        return;
    }
    let loaded = load(&sample());
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..20 {
                    assert_eq!(infer(&loaded.executables[0], &loaded.state), 51_012);
                }
            });
        }
    });
}

#[test]
fn weights_are_there_by_choice() {
    if !runs_here() {
        return;
    }
    let mut none = load(&bytes_with(Values::None, &[]));
    assert!(!none.contents.has_weights());
    assert_eq!(
        (w(&none.state), none.state.step(), infer(&none.executables[0], &none.state)),
        (0, Some(0), 1005)
    );
    // From a file of their own.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("w.safetensors");
    state().save_weights(&path).unwrap();
    none.state.load(&path).unwrap();
    assert_eq!(infer(&none.executables[0], &none.state), 5 + 7 + 1000 + 700);
    let weights = load(&bytes_with(Values::Weights, &[]));
    assert_eq!((weights.state.step(), infer(&weights.executables[0], &weights.state)), (Some(0), 1712));
    let all = load(&bytes_with(Values::All, &[]));
    assert_eq!(all.state.step(), Some(12));
    let momentum = all.state.get("optim.momentum.w").unwrap();
    assert_eq!(momentum, state().get("optim.momentum.w").unwrap());
    assert_eq!(
        all.contents.state.iter().map(|slot| slot.at).collect::<Vec<_>>(),
        [0, 64, 128, 192].map(Some)
    );
}

/// The first piece of code that the processor has everything for is taken.
#[test]
fn the_best_code_that_runs_is_taken() {
    if !runs_here() {
        return;
    }
    let state = state();
    let open_code = |features: &[&[&str]]| {
        let code = code(features.iter().map(|features| here(features)).collect());
        let parts =
            Parts { model: "m", code: &code, state: &state, values: Values::All, prepared: &[], about: None };
        let (_folder, path) = folder(&parts.to_bytes().unwrap());
        // SAFETY: as in `load`.
        unsafe { open(&path) }
    };
    let loaded = open_code(&[&["not-yet-made"], &[]]).unwrap();
    assert_eq!(loaded.piece, 1);
    assert_eq!(infer(&loaded.executables[0], &loaded.state), 1712);
    let error = open_code(&[&["not-yet-made"], &["nor-this"]]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cpu);
    let message = error.to_string();
    assert!(message.contains("lacks not-yet-made") && message.contains("lacks nor-this"), "{message}");
}

/// Code of another architecture, or called in another way, does not run.
#[test]
fn code_for_other_processors_is_refused() {
    let state = state();
    for (architecture, convention) in [("riscv64", "system_v"), (std::env::consts::ARCH, "another")] {
        let mut piece = here(&[]);
        piece.piece.processor.architecture = architecture.into();
        piece.piece.processor.convention = convention.into();
        let code = code(vec![piece]);
        let parts = Parts {
            model: "m",
            code: &code,
            state: &state,
            values: Values::None,
            prepared: &[],
            about: None,
        };
        let (_folder, path) = folder(&parts.to_bytes().unwrap());
        // It can be looked at.
        assert_eq!(Container::read(&path).unwrap().contents().model, "m");
        // SAFETY: nothing of it runs.
        let error = unsafe { open(&path).unwrap_err() };
        assert_eq!(error.kind(), ErrorKind::Cpu, "{error}");
    }
}

/// Damaged weights are noticed, unless that is not asked for.
#[test]
fn weights_are_compared_by_choice() {
    let mut bytes = sample();
    let container = Container::of_bytes(&bytes).unwrap();
    let weights = container.sections()[4].offset as usize;
    bytes[weights] ^= 1;
    let (_folder, path) = folder(&bytes);
    let error = Container::read(&path).unwrap_err().to_string();
    assert!(error.contains("the checksum of its weights does not fit"), "{error}");
    if runs_here() {
        // SAFETY: w may be any number.
        let (all, code) = unsafe { (open(&path), open_with(&path, Check::Code)) };
        assert!(all.is_err());
        assert_eq!(w(&code.unwrap().state), 6);
    }
}

/// No page of the file can be written and executed, and pages of code cannot be written.
#[cfg(target_os = "linux")]
#[test]
fn pages_are_written_or_executed() {
    if !runs_here() {
        return;
    }
    let (_folder, path) = folder(&sample());
    // SAFETY: as in `load`.
    let _loaded = unsafe { open(&path).unwrap() };
    let name = path.file_name().unwrap().to_str().unwrap();
    let folder = path.parent().unwrap().file_name().unwrap().to_str().unwrap();
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let own = maps.lines().filter(|line| line.contains(name) && line.contains(folder));
    let rights: Vec<&str> = own.filter_map(|line| line.split_whitespace().nth(1)).collect();
    assert_eq!(rights.iter().filter(|rights| rights.contains('x')).collect::<Vec<_>>(), [&"r-xp"], "{maps}");
    assert!(rights.len() >= 2 && rights.iter().all(|rights| rights.ends_with('p')), "{rights:?}");
}

/// A container that lies in memory, as the segments of an executable do: its code to be executed, what follows to be written.
#[cfg(target_os = "linux")]
mod in_place {
    use std::ptr::NonNull;

    use super::*;
    use brolga_runtime::container::open_in_place;

    /// Bytes in memory of their own that is never given back, with the code of a container made executable; `shift` bytes behind
    /// the beginning of a page.
    fn mapped(bytes: &[u8], shift: usize) -> NonNull<[u8]> {
        let container = Container::of_bytes(bytes);
        // SAFETY: new memory of this size, whose pages get other rights one after the other.
        unsafe {
            let (rights, kind) =
                (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
            let begin = libc::mmap(std::ptr::null_mut(), bytes.len() + shift, rights, kind, -1, 0);
            assert_ne!(begin, libc::MAP_FAILED);
            let begin: *mut u8 = begin.cast::<u8>().add(shift);
            begin.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
            let sections = container.iter().flat_map(Container::sections);
            for section in sections.filter(|section| section.kind == Kind::Code && shift == 0) {
                let code = begin.add(section.offset as usize);
                let rights = libc::PROT_READ | libc::PROT_EXEC;
                assert_eq!(libc::mprotect(code.cast(), section.bytes as usize, rights), 0);
            }
            NonNull::slice_from_raw_parts(NonNull::new(begin).unwrap(), bytes.len())
        }
    }

    #[test]
    fn what_lies_in_memory_is_opened_there() {
        if !runs_here() {
            return;
        }
        let file = mapped(&sample(), 0);
        // SAFETY: the code keeps to its manifest; the memory is as it is asked for.
        let mut loaded = unsafe { open_in_place(file, Check::All).unwrap() };
        let within = |tensor: &Tensor| {
            let begin = file.cast::<u8>().addr().get();
            (begin..begin + file.len()).contains(&tensor.bytes().as_ptr().addr())
        };
        assert!(within(loaded.state.get("w").unwrap()), "nothing is copied");
        assert_eq!(infer(&loaded.executables[0], &loaded.state), 51_012);
        train(&loaded.executables[1].clone(), &mut loaded.state, 2);
        assert_eq!((w(&loaded.state), infer(&loaded.executables[0], &loaded.state)), (9, 5 + 9 + 1000 + 900));
    }

    #[test]
    fn what_is_wrong_in_memory_is_refused() {
        let whole = sample();
        let refused = |bytes: &[u8], shift: usize| {
            // SAFETY: as above; nothing runs.
            unsafe { open_in_place(mapped(bytes, shift), Check::Code).unwrap_err().to_string() }
        };
        assert!(refused(&whole[..whole.len() - 1], 0).contains("cut short"));
        let mut damaged = whole.clone();
        damaged[4096] ^= 1;
        assert!(refused(&damaged, 0).contains("the checksum of its code"));
        if runs_here() {
            assert!(refused(&whole, 64).contains("its code is not aligned to 4096 bytes"));
        }
    }
}
