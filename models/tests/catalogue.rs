//! The catalogue says what the files say.

use brolga_frontend::{Model, Settings};
use brolga_models::catalogue::{self, MODELS};

#[test]
fn every_file_and_variant_builds() {
    for file in &MODELS {
        let model = Model::parse(file.name, file.text, &catalogue::resolve)
            .unwrap_or_else(|diagnostics| panic!("{diagnostics}"));
        assert_eq!(model.variants(), file.variants, "{}", file.name);
        let variants = file.variants.iter().map(|variant| Some((*variant).to_owned())).chain([None]);
        for variant in variants {
            let settings = Settings { variant, ..Settings::default() }.dim("batch", 2);
            let instance = model.instantiate(&settings).unwrap_or_else(|diagnostics| panic!("{diagnostics}"));
            for entry in ["infer", "train", "train.eval", "init"] {
                let graph = instance.graph(entry).unwrap_or_else(|| panic!("{} has no {entry}", file.name));
                brolga_ir::verify::verify(graph)
                    .unwrap_or_else(|invalid| panic!("{} {entry}: {invalid}", file.name));
            }
        }
    }
}

#[test]
fn names() {
    let found = |name: &str| catalogue::find(name).map(|(file, variant)| (file.name, variant));
    assert_eq!(found("vgg16"), Some(("vgg", Some("vgg16"))));
    assert_eq!(found("lenet5"), Some(("lenet5", Some("lenet5"))));
    assert_eq!(found("resnet-cifar"), Some(("resnet-cifar", None)));
    assert_eq!(found("vgg12"), None);
    let names: Vec<&str> = catalogue::names().collect();
    assert!(names.iter().all(|name| catalogue::find(name).is_some()));
    assert_eq!(names.iter().filter(|name| **name == "lenet5").count(), 1);
}
