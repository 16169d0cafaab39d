//! The models that come along, as text.

/// A model file that comes along.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct File {
    /// Its name without the extension: the name of the family.
    pub name: &'static str,
    /// Its RON text.
    pub text: &'static str,
}

macro_rules! files {
    ($($name:literal),* $(,)?) => {
        /// Every model file, from the simplest on.
        pub const FILES: &[File] =
            &[$(File { name: $name, text: include_str!(concat!("../", $name, ".ron")) }),*];
    };
}

files! {
    "softmax-regression",
    "mlp",
    "lenet5",
    "resnet-cifar",
    "alexnet-tv",
    "vgg",
    "googlenet",
    "googlenet-tv",
    "resnet",
    "densenet",
    "mobilenet_v2",
    "bert-tiny-encoder",
}

/// The file of that name.
pub fn file(name: &str) -> Option<File> {
    FILES.iter().find(|file| file.name == name).copied()
}
