use brolga_frontend::*;
#[test]
fn scratch() {
    for name in ["softmax-regression", "mlp", "lenet5", "resnet-cifar", "vgg"] {
        let text = std::fs::read_to_string(format!("../models/{name}.ron")).unwrap();
        match Model::parse(&format!("{name}.ron"), &text, &no_imports) {
            Err(e) => println!("{e}"),
            Ok(m) => match m.instantiate(&Settings::default()) {
                Err(e) => println!("{e}"),
                Ok(i) => println!("{name} {} {:?}", i.parameter_count(), i.layers().last()),
            },
        }
    }
}
