//! The models that come along: their files, and the names they go by.

/// A model file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModelFile {
    /// The file's name without `.ron`; also a name of the model with its defaults.
    pub name: &'static str,
    /// What it is, in a line.
    pub summary: &'static str,
    /// Names of its variants, in the order of the file.
    pub variants: &'static [&'static str],
    /// The text of the file.
    pub text: &'static str,
}

/// All model files.
pub static MODELS: [ModelFile; 5] = [
    ModelFile {
        name: "softmax-regression",
        summary: "linear classifier (Cox 1958)",
        variants: &[],
        text: include_str!("../softmax-regression.ron"),
    },
    ModelFile {
        name: "mlp",
        summary: "multilayer perceptron (Rumelhart, Hinton & Williams 1986)",
        variants: &["mlp", "mlp-256-128"],
        text: include_str!("../mlp.ron"),
    },
    ModelFile {
        name: "lenet5",
        summary: "LeNet-5 (LeCun, Bottou, Bengio & Haffner 1998)",
        variants: &["lenet5", "lenet5-tanh"],
        text: include_str!("../lenet5.ron"),
    },
    ModelFile {
        name: "resnet-cifar",
        summary: "residual networks for 32x32 images (He, Zhang, Ren & Sun 2015)",
        variants: &[
            "resnet20",
            "resnet32",
            "resnet44",
            "resnet56",
            "resnet110",
            "resnet20-projection",
            "resnet8",
        ],
        text: include_str!("../resnet-cifar.ron"),
    },
    ModelFile {
        name: "vgg",
        summary: "VGG (Simonyan & Zisserman 2014)",
        variants: &[
            "vgg11", "vgg11_bn", "vgg13", "vgg13_bn", "vgg16", "vgg16_bn", "vgg19", "vgg19_bn", "vgg-mini",
        ],
        text: include_str!("../vgg.ron"),
    },
];

/// The file and the variant that a name stands for: a variant's name, or a file's (its defaults, or the variant of
/// the same name).
pub fn find(name: &str) -> Option<(&'static ModelFile, Option<&'static str>)> {
    let by_variant = MODELS.iter().find_map(|file| {
        let variant = file.variants.iter().find(|variant| **variant == name)?;
        Some((file, Some(*variant)))
    });
    by_variant.or_else(|| MODELS.iter().find(|file| file.name == name).map(|file| (file, None)))
}

/// Every name that [`find`] knows.
pub fn names() -> impl Iterator<Item = &'static str> {
    MODELS.iter().flat_map(|file| {
        let own = (!file.variants.contains(&file.name)).then_some(file.name);
        own.into_iter().chain(file.variants.iter().copied())
    })
}

/// Name and text of a model that another one imports.
///
/// # Errors
///
/// Says which models there are, if there is none of that name.
pub fn resolve(name: &str) -> Result<(String, String), String> {
    match MODELS.iter().find(|file| file.name == name.trim_end_matches(".ron")) {
        Some(file) => Ok((format!("{}.ron", file.name), file.text.to_owned())),
        None => {
            let names: Vec<&str> = MODELS.iter().map(|file| file.name).collect();
            Err(format!("no such model comes along; there are {}", names.join(", ")))
        }
    }
}
