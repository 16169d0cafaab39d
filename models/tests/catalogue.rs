//! Every model that comes along builds, in every variant, into graphs that the verifier accepts.

use brolga_frontend::{Model, Settings, no_imports};
use brolga_models::catalogue;

#[test]
fn every_file_and_variant_builds() {
    for file in catalogue::FILES {
        let model = Model::parse(file.name, file.text, &no_imports)
            .unwrap_or_else(|diagnostics| panic!("{diagnostics}"));
        let named = model.variants().into_iter().map(|variant| Some(variant.to_owned()));
        for variant in named.chain([None]) {
            let settings = Settings { variant, ..Settings::default() }.dim("batch", 2);
            let instance = model.instantiate(&settings).unwrap_or_else(|diagnostics| panic!("{diagnostics}"));
            for entry in ["infer", "train", "train.eval", "init"] {
                let graph = instance.graph(entry).unwrap_or_else(|| panic!("{} has no {entry}", file.name));
                graph.verify().unwrap_or_else(|invalid| panic!("{} {entry}: {invalid}", file.name));
            }
        }
    }
}
