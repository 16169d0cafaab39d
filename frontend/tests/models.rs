//! The models that come along: they are RON, they build, and they have the sizes that the literature states.

use brolga_frontend::{Instance, Model, Settings, no_imports};

fn text(file: &str) -> String {
    let path = format!("{}/../models/{file}.ron", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn instance(file: &str, settings: &Settings) -> Instance {
    Model::parse(file, &text(file), &no_imports)
        .and_then(|model| model.instantiate(settings))
        .unwrap_or_else(|diagnostics| panic!("{diagnostics}"))
}

/// Parameter counts of the catalogue; of the networks that torchvision has, its own.
const COUNTS: [(&str, &str, usize); 40] = [
    ("mlp", "mlp", 238_510),
    ("mlp", "mlp-256-128", 235_146),
    ("lenet5", "lenet5", 61_706),
    ("lenet5", "lenet5-tanh", 61_706),
    ("resnet-cifar", "resnet20", 269_722),
    ("resnet-cifar", "resnet32", 464_154),
    ("resnet-cifar", "resnet44", 658_586),
    ("resnet-cifar", "resnet56", 853_018),
    ("resnet-cifar", "resnet110", 1_727_962),
    ("resnet-cifar", "resnet1202", 19_421_274),
    ("resnet-cifar", "resnet20-projection", 272_474),
    ("vgg", "vgg11", 132_863_336),
    ("vgg", "vgg11_bn", 132_868_840),
    ("vgg", "vgg13", 133_047_848),
    ("vgg", "vgg13_bn", 133_053_736),
    ("vgg", "vgg16", 138_357_544),
    ("vgg", "vgg16_bn", 138_365_992),
    ("vgg", "vgg19", 143_667_240),
    ("vgg", "vgg19_bn", 143_678_248),
    ("vgg", "vgg-mini", 138_330),
    ("alexnet-tv", "alexnet-tv", 61_100_840),
    ("googlenet", "googlenet", 6_998_552),
    ("googlenet", "googlenet-aux", 13_378_280),
    ("googlenet-tv", "googlenet-tv", 6_624_904),
    ("googlenet-tv", "googlenet-tv-aux", 13_004_888),
    ("resnet", "resnet18", 11_689_512),
    ("resnet", "resnet34", 21_797_672),
    ("resnet", "resnet50", 25_557_032),
    ("resnet", "resnet101", 44_549_160),
    ("resnet", "resnet152", 60_192_808),
    ("densenet", "densenet121", 7_978_856),
    ("densenet", "densenet169", 14_149_480),
    ("densenet", "densenet201", 20_013_928),
    ("densenet", "densenet161", 28_681_000),
    ("mobilenet_v2", "mobilenet_v2", 3_504_872),
    ("mobilenet_v2", "mobilenet_v2-1.4", 6_108_776),
    ("mobilenet_v2", "mobilenet_v2-0.5", 1_968_680),
    ("char-gru", "char-gru", 214_849),
    ("ptb-lstm-small", "ptb-lstm-small", 4_653_200),
    ("bert-tiny-encoder", "bert-tiny-encoder", 11_005_952),
];

#[test]
fn models_are_ron() {
    let folder = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../models")).unwrap();
    let paths =
        folder.map(|entry| entry.unwrap().path()).filter(|path| path.extension() == Some("ron".as_ref()));
    let mut files = 0;
    for path in paths {
        let text = std::fs::read_to_string(&path).unwrap();
        ron::from_str::<ron::Value>(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        files += 1;
    }
    assert!(files >= 12, "{files} files");
}

#[test]
fn parameter_counts() {
    for (file, variant, count) in COUNTS {
        let instance = instance(file, &Settings::variant(variant));
        assert_eq!(instance.parameter_count(), count, "{variant}");
    }
    assert_eq!(instance("softmax-regression", &Settings::default()).parameter_count(), 7850);
}

/// Names and shapes of the state, as in the `state_dict` of the same network in PyTorch.
#[test]
fn state_names() {
    let names = |file: &str, variant: &str| -> Vec<String> {
        let instance = instance(file, &Settings::variant(variant).dim("batch", 2));
        let slots = instance.state().iter().filter(|slot| !slot.name.starts_with("optim."));
        slots.map(|slot| format!("{} {:?} {}", slot.name, slot.kind, slot.ty)).collect()
    };
    insta::assert_snapshot!("state_lenet5", names("lenet5", "lenet5").join("\n"));
    insta::assert_snapshot!(
        "state_resnet20_projection",
        names("resnet-cifar", "resnet20-projection").join("\n")
    );
    insta::assert_snapshot!("state_vgg11_bn", names("vgg", "vgg11_bn").join("\n"));
}

#[test]
fn settings_change_the_model() {
    let with = |name: &str, value: &str| Settings::variant("vgg-mini").with(name, value).dim("batch", 4);
    let drops = |settings: &Settings| {
        let instance = instance("vgg", settings);
        instance.state().iter().any(|slot| slot.name == "seed")
    };
    assert!(drops(&with("classes", "7")), "dropout draws random numbers");
    assert!(!drops(&with("dropout", "0")), "no dropout, no random numbers");
    let instance = instance("vgg", &with("classes", "7"));
    assert_eq!(instance.layers().last().map(|row| row.output.dims.clone()), Some(vec![4, 7]));
    assert_eq!(instance.dims(), [("batch".to_owned(), 4)]);
}

/// The models of the language's description build.
#[test]
fn the_language_is_described() {
    let description = include_str!("../LANGUAGE.md");
    let blocks = description.split("```ron\n").skip(1).filter_map(|rest| rest.split("```").next());
    // Others are pieces of models.
    let blocks: Vec<&str> = blocks.filter(|block| block.contains("Model(\n")).collect();
    assert_eq!(blocks.len(), 11);
    for block in blocks {
        Model::parse("LANGUAGE.md", block, &no_imports)
            .and_then(|model| model.instantiate(&Settings::default()))
            .unwrap_or_else(|diagnostics| panic!("{diagnostics}"));
    }
}
