//! Comparison with PyTorch (`tests/references/README.md`).

#[path = "common/generate.rs"]
mod generate;
#[path = "common/reference.rs"]
mod reference;

use generate::{bits, images, initial, labels};
use reference::{Reference, Row, stride};

#[test]
fn generates_the_known_values() {
    assert_eq!(bits("image", 0), 0xb117_8fc3_f9b0_0095);
    assert_eq!(bits("image", 1), 0xf2c8_e909_1799_e73e);
    assert_eq!(images(3), [0.652_003_47, 1.524_485_7, 0.446_369_23]);
    assert_eq!(labels(8), [5, 3, 3, 1, 2, 2, 3, 1]);
    assert_eq!(initial("fc1.weight", &[256, 784])[255 * 784 + 783], -0.025_306_452);
    assert_eq!(initial("bn1.weight", &[16])[15], 1.006_376_4);
}

/// Every reference file, with the models that it is for.
const MODELS: [&str; 6] =
    ["mlp-256-128", "lenet5", "lenet5-tanh", "resnet20", "resnet20-projection", "vgg-mini"];

#[test]
fn every_reference_is_complete() {
    for model in MODELS {
        for optimizer in ["sgd", "adam"] {
            let reference = Reference::open(model, optimizer).unwrap();
            let names = reference.names();
            let with = |prefix: &str| names.iter().filter_map(|n| n.strip_prefix(prefix)).collect::<Vec<_>>();
            let parameters = with("grad.");
            assert!(parameters.len() >= 6, "{model}: {parameters:?}");
            let mut state = [parameters, with("first.")].concat();
            state.sort_unstable();
            assert_eq!(with("final."), state, "{model}: every parameter and running statistic");
            assert!(names.iter().any(|n| n == "logits") && names.iter().any(|n| n == "losses"));
        }
    }
}

#[test]
fn a_stride_leaves_no_row_out() {
    assert_eq!([0, 1, 150, 1024].map(stride), [1, 1, 1, 1]);
    // 2 does not divide 1,025; 2,304 = 16 * 16 * 3 * 3 needs 5; 36,864 = 64 * 64 * 3 * 3 needs 37.
    assert_eq!([1025, 2304, 36_864].map(stride), [2, 5, 37]);
}

/// What is stored, spread out again to a whole tensor, is equal; a change above the bound is seen.
#[test]
fn compares_by_the_rule() {
    let reference = Reference::open("lenet5", "sgd").unwrap();
    let exact: Vec<f32> = reference.tensor("final.conv2.bias").unwrap().iter().map(|&v| v as f32).collect();
    let row = reference.compare("final.conv2.bias", &exact).unwrap();
    assert!(row.passes() && row.error < 1e-7, "{row}");
    assert!(row.bound >= 1e-6 && row.spread >= row.bound);

    let largest = exact.iter().fold(0.0f32, |m, v| m.max(v.abs()));
    for (wrong, change) in [(3, 2.0 * row.spread as f32 * largest), (0, f32::NAN), (7, f32::INFINITY)] {
        let mut changed = exact.clone();
        changed[wrong] += change;
        let row = reference.compare("final.conv2.bias", &changed).unwrap();
        assert!(!row.passes() && !row.passes_spread(), "{row}");
    }

    assert!(reference.compare("final.conv2.bias", &exact[1..]).unwrap_err().contains("15 elements"));
    assert!(reference.compare("final.conv9.bias", &exact).unwrap_err().contains("conv9"));
    assert!(Reference::open("lenet6", "sgd").is_err());
}

/// A large tensor is compared where samples of it are stored.
#[test]
fn compares_samples_of_large_tensors() {
    let reference = Reference::open("mlp-256-128", "adam").unwrap();
    let stored = reference.tensor("grad.fc1.weight").unwrap();
    let count = 256 * 784;
    let mut whole = vec![0.0; count];
    for (i, value) in stored.iter().enumerate() {
        whole[i * stride(count)] = *value as f32;
    }
    let row: Row = reference.compare("grad.fc1.weight", &whole).unwrap();
    assert!(row.passes(), "{row}");
    whole[stride(count)] += 1.0;
    assert!(!reference.compare("grad.fc1.weight", &whole).unwrap().passes());
}
