//! The models that come along, as text.

/// A model file that comes along.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct File {
    /// Its name without the extension: the name of the family.
    pub name: &'static str,
    /// The chapter of a course on deep learning that it belongs to.
    pub chapter: &'static str,
    /// Its RON text.
    pub text: &'static str,
}

macro_rules! files {
    ($($chapter:literal: [$($name:literal),* $(,)?]),* $(,)?) => {
        /// Every model file, chapter by chapter, from the simplest on.
        pub const FILES: &[File] = &[$($(
            File { name: $name, chapter: $chapter, text: include_str!(concat!("../", $name, ".ron")) },
        )*)*];
    };
}

files! {
    "Basics": ["softmax-regression", "mlp"],
    "Convolutional networks": [
        "lenet5",
        "resnet-cifar",
        "alexnet-tv",
        "vgg",
        "googlenet",
        "googlenet-tv",
        "resnet",
        "densenet",
        "mobilenet_v2",
    ],
    "Recurrent networks": [
        "elman",
        "jordan",
        "birnn",
        "deep-rnn",
        "lstm",
        "lstm-peephole",
        "gru",
        "irnn",
        "char-gru",
        "ptb-lstm-small",
        "bptt",
        "tbptt",
        "grad-clip-rnn",
        "vanishing-probe",
        "recursive-nn",
    ],
    "Natural language processing": ["bert-tiny-encoder"],
}

/// The file of that name.
pub fn file(name: &str) -> Option<File> {
    FILES.iter().find(|file| file.name == name).copied()
}
