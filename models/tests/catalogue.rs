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
            let settings = Settings { variant, ..Settings::default() };
            // Models without inputs have no batch, and other entries.
            let has_batch = file.text.contains("batch");
            let settings = if has_batch { settings.dim("batch", 2) } else { settings };
            let instance = model.instantiate(&settings).unwrap_or_else(|diagnostics| panic!("{diagnostics}"));
            let entries = instance.entries();
            let trains = entries.contains(&"train") && entries.contains(&"train.eval");
            assert!(trains || entries.contains(&"check"), "{}: {entries:?}", file.name);
            assert!(entries.contains(&"init"), "{}: {entries:?}", file.name);
            for entry in entries {
                let graph = instance.graph(entry).unwrap_or_else(|| panic!("{} has no {entry}", file.name));
                graph.verify().unwrap_or_else(|invalid| panic!("{} {entry}: {invalid}", file.name));
            }
        }
    }
}
