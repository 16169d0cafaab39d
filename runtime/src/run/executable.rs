//! An executable: finished code, its constants and its manifest.

use std::any::Any;
use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};
use crate::run::block::EntryFn;
use crate::run::manifest::{Manifest, Samples};
use crate::tensors::memory::AlignedBytes;

/// A compiled entry point. Immutable, and shared by as many [`Instance`](crate::Instance)s as there are
/// concurrent runs.
pub struct Executable {
    entry: EntryFn,
    prepare: Option<EntryFn>,
    constants: Arc<AlignedBytes>,
    manifest: Manifest,
    /// What `prepare` has made before, and of which version of the state.
    prepared: Option<(u64, Arc<AlignedBytes>)>,
    _keep_alive: Arc<dyn Any + Send + Sync>,
}

impl Executable {
    /// Takes finished code over. `keep_alive` owns the memory of the code, and is dropped with the last executable that has it;
    /// entries of one image share it, and their constants.
    ///
    /// # Errors
    /// A manifest that contradicts itself or the constants, or a processor without the features it asks for.
    ///
    /// # Safety
    /// `entry` and `prepare` must stay callable as long as `keep_alive` lives, from any thread and from
    /// several at once with different argument blocks. Called with a block whose bases are as the manifest
    /// says ([`ArgumentBlock`](crate::ArgumentBlock) gives their order and alignment), with index inputs inside
    /// their ranges and bool bytes 0 or 1, they must
    /// - read only memory of these bases, and only within the sizes that the manifest gives; of the local memory, only
    ///   what belongs to the worker that a kernel is called as;
    /// - write only the arena, this local memory, the outputs (all of each output; bools as 0 or 1), and state slots that are
    ///   `updated`; `prepare` writes only the arena, the local memory and the prepared values, which it fills from state and
    ///   constants alone, with null pointers for inputs and outputs;
    /// - if the code is `checked`, leave the last eight bytes of the arena as they are, or put a [`Refusal`](crate::Refusal)
    ///   there;
    /// - not unwind, keep the floating-point control word, and call nothing but the block's `parallel_for`,
    ///   which kernels do not call again.
    pub unsafe fn from_raw(
        entry: EntryFn,
        prepare: Option<EntryFn>,
        constants: Arc<AlignedBytes>,
        manifest: Manifest,
        keep_alive: Arc<dyn Any + Send + Sync>,
    ) -> Result<Executable> {
        manifest.validate()?;
        let wrong = |message| Err(Error::new(ErrorKind::Manifest, message).within(&manifest.entry));
        if constants.len() != manifest.constants_bytes {
            let (asked, got) = (manifest.constants_bytes, constants.len());
            return wrong(format!("the manifest asks for {asked} bytes of constants, but {got} were given"));
        }
        if prepare.is_none() && manifest.prepared_bytes > 0 {
            let bytes = manifest.prepared_bytes;
            return wrong(format!(
                "the manifest asks for {bytes} prepared bytes, but has no prepare function"
            ));
        }
        check_cpu(&manifest)?;
        Ok(Executable { entry, prepare, constants, manifest, prepared: None, _keep_alive: keep_alive })
    }

    /// The same with what `prepare` has made of this version of the state, as many bytes as the manifest says.
    pub(crate) fn with_prepared(self, version: u64, values: Arc<AlignedBytes>) -> Executable {
        assert_eq!(values.len(), self.manifest.prepared_bytes, "prepared values are those of the manifest");
        Executable { prepared: Some((version, values)), ..self }
    }

    /// What `prepare` has made of this version of the state, if that is known.
    pub(crate) fn prepared_for(&self, version: u64) -> Option<Arc<AlignedBytes>> {
        self.prepared.as_ref().filter(|(known, _)| *known == version).map(|(_, values)| values.clone())
    }

    /// The same with what is known of the samples in its inputs and outputs, in their order.
    ///
    /// # Errors
    /// Another number of inputs or outputs; axes that are not there, or not equally long.
    pub fn with_samples(mut self, inputs: &[Samples], outputs: &[Samples]) -> Result<Executable> {
        self.manifest.set_samples(inputs, outputs)?;
        Ok(self)
    }

    /// What it takes and gives.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    pub(crate) fn entry(&self) -> EntryFn {
        self.entry
    }

    pub(crate) fn prepare(&self) -> Option<EntryFn> {
        self.prepare
    }

    pub(crate) fn constants(&self) -> &AlignedBytes {
        &self.constants
    }
}

impl std::fmt::Debug for Executable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Executable").field("manifest", &self.manifest).finish_non_exhaustive()
    }
}

fn check_cpu(manifest: &Manifest) -> Result<()> {
    let missing: Vec<&str> =
        manifest.cpu_features.iter().map(String::as_str).filter(|f| !cpu_has(f)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let message = format!(
        "the code was compiled for a processor with {}, which this one ({}) does not have or this runtime \
         cannot detect; compile it for this processor",
        missing.join(", "),
        std::env::consts::ARCH,
    );
    Err(Error::new(ErrorKind::Cpu, message).within(&manifest.entry))
}

/// What this processor is called, for telling measurements on different ones apart: its architecture, the name that it
/// gives itself, and its signature (family, model and stepping) where it has one.
pub fn cpu_name() -> String {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::__cpuid;
        let signature = __cpuid(1).eax;
        let mut name = Vec::new();
        if __cpuid(0x8000_0000).eax >= 0x8000_0004 {
            for leaf in 0x8000_0002..=0x8000_0004 {
                let found = __cpuid(leaf);
                name.extend(
                    [found.eax, found.ebx, found.ecx, found.edx].into_iter().flat_map(u32::to_le_bytes),
                );
            }
        }
        let name = String::from_utf8_lossy(&name).replace(|c: char| c == '\0' || c.is_control(), " ");
        let words: Vec<&str> = name.split_whitespace().collect();
        format!("x86_64 {} {signature:x}", words.join(" "))
    }
    #[cfg(not(target_arch = "x86_64"))]
    std::env::consts::ARCH.to_owned()
}

/// Whether this processor (and the operating system) supports a feature; unknown names are not supported.
#[cfg(target_arch = "x86_64")]
pub fn cpu_has(feature: &str) -> bool {
    macro_rules! detect {
        ($($name:tt)*) => { match feature { $($name => std::arch::is_x86_feature_detected!($name),)* _ => false } };
    }
    detect!("sse3" "ssse3" "sse4.1" "sse4.2" "popcnt" "avx" "avx2" "fma" "f16c" "bmi1" "bmi2" "lzcnt"
        "avx512f" "avx512bw" "avx512cd" "avx512dq" "avx512vl" "avx512vbmi" "avx512bitalg" "avx512vnni"
        "avx512bf16" "avx512fp16")
}

/// Whether this processor (and the operating system) supports a feature; unknown names are not supported.
#[cfg(target_arch = "aarch64")]
pub fn cpu_has(feature: &str) -> bool {
    macro_rules! detect {
        ($($name:tt)*) => { match feature { $($name => std::arch::is_aarch64_feature_detected!($name),)* _ => false } };
    }
    detect!("neon" "fp16" "lse" "dotprod" "bf16" "i8mm" "paca" "pacg")
}

/// Whether this processor supports a feature: none is known for this architecture.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
pub fn cpu_has(_feature: &str) -> bool {
    false
}
