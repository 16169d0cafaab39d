//! Which processor code is made for.

use std::fmt;
use std::str::FromStr;

use cranelift_codegen::isa::{self, CallConv, LookupError, OwnedTargetIsa};
use cranelift_codegen::settings::{self, Configurable};
use target_lexicon::{Architecture, Triple};

use crate::error::{Error, Result};
use crate::portable::{Emitter, Portable};
use crate::wide::{Machine, Wide};

/// Which instructions code may use. All give the same bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum TargetCpu {
    /// Everything that the processor at hand has. For the triple of another machine, whose processor nobody knows, the least
    /// of the family: level 3 of x86-64, or what every aarch64 has.
    #[default]
    Native,
    /// x86-64 with AVX-512 F, BW, DQ and VL too (of microarchitecture level 4): Intel servers since Skylake, AMD since
    /// Zen 4. Code for it can be made everywhere, and runs only where they are.
    X86_64V4,
    /// x86-64 with AVX2, FMA, BMI (microarchitecture level 3): Intel since Haswell, AMD since Zen.
    X86_64V3,
    /// No wide emitter: 128-bit vectors, on every processor that Cranelift supports. On x86-64 the least that is
    /// supported is level 3 too, because fused multiply-adds would be calls below it.
    Portable,
}

impl TargetCpu {
    /// Every choice.
    pub const ALL: [TargetCpu; 4] =
        [TargetCpu::Native, TargetCpu::X86_64V4, TargetCpu::X86_64V3, TargetCpu::Portable];

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            TargetCpu::Native => "native",
            TargetCpu::X86_64V4 => "x86-64-v4",
            TargetCpu::X86_64V3 => "x86-64-v3",
            TargetCpu::Portable => "portable",
        }
    }
}

impl fmt::Display for TargetCpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for TargetCpu {
    type Err = Error;

    fn from_str(name: &str) -> Result<TargetCpu> {
        TargetCpu::ALL.into_iter().find(|cpu| cpu.name() == name).ok_or_else(|| {
            let names: Vec<&str> = TargetCpu::ALL.iter().map(|cpu| cpu.name()).collect();
            Error::new(format!("unknown target processor `{name}`; known are {}", names.join(", ")))
        })
    }
}

/// The system and the family of processors that code is made for, known by a triple such as `aarch64-unknown-linux-gnu`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum TargetTriple {
    /// The machine at hand.
    #[default]
    Host,
    /// Linux on x86-64.
    X86_64Linux,
    /// Linux on aarch64.
    Aarch64Linux,
    /// macOS on x86-64.
    X86_64MacOs,
    /// macOS on aarch64.
    Aarch64MacOs,
    /// Windows on x86-64.
    X86_64Windows,
}

impl TargetTriple {
    /// Every choice but that of the machine at hand.
    pub const ALL: [TargetTriple; 5] = [
        TargetTriple::X86_64Linux,
        TargetTriple::Aarch64Linux,
        TargetTriple::X86_64MacOs,
        TargetTriple::Aarch64MacOs,
        TargetTriple::X86_64Windows,
    ];

    /// The triple.
    pub fn name(self) -> String {
        let name = match self {
            TargetTriple::Host => return Triple::host().to_string(),
            TargetTriple::X86_64Linux => "x86_64-unknown-linux-gnu",
            TargetTriple::Aarch64Linux => "aarch64-unknown-linux-gnu",
            TargetTriple::X86_64MacOs => "x86_64-apple-darwin",
            TargetTriple::Aarch64MacOs => "aarch64-apple-darwin",
            TargetTriple::X86_64Windows => "x86_64-pc-windows-msvc",
        };
        name.to_owned()
    }

    /// Whether code for it may run on the machine at hand.
    pub fn is_host(self) -> bool {
        let host = Triple::host();
        let same = |triple: Triple| {
            triple.architecture == host.architecture && triple.operating_system == host.operating_system
        };
        self.parsed().is_ok_and(same)
    }

    pub(crate) fn parsed(self) -> Result<Triple> {
        if self == TargetTriple::Host {
            return Ok(Triple::host());
        }
        let name = self.name();
        name.parse().map_err(|e| Error::new(format!("`{name}` is no triple: {e}")))
    }
}

impl fmt::Display for TargetTriple {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}

impl FromStr for TargetTriple {
    type Err = Error;

    fn from_str(name: &str) -> Result<TargetTriple> {
        let all = [TargetTriple::Host].into_iter().chain(TargetTriple::ALL);
        all.clone().find(|triple| triple.name() == name).ok_or_else(|| {
            let mut names: Vec<String> = all.map(TargetTriple::name).collect();
            names.sort_unstable();
            names.dedup();
            Error::new(format!("unknown target `{name}`; known are {}", names.join(", ")))
        })
    }
}

/// How code is made.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Options {
    /// For which processor of the family.
    pub target_cpu: TargetCpu,
    /// For which family, and which system.
    pub triple: TargetTriple,
}

impl From<TargetCpu> for Options {
    /// Code for the machine at hand.
    fn from(target_cpu: TargetCpu) -> Options {
        Options { target_cpu, triple: TargetTriple::Host }
    }
}

/// The processor features that code made so needs, by the names that the runtime checks.
pub fn features(options: &Options) -> Result<Vec<String>> {
    Ok(Target::new(options)?.features)
}

/// A processor, as the emitters see it.
pub(crate) struct Target {
    pub isa: OwnedTargetIsa,
    pub emitter: Box<dyn Emitter + Send>,
    /// What the runtime checks, by Rust's names.
    pub features: Vec<String>,
    /// Whether every kernel call goes through `parallel_for`.
    pub traced: bool,
}

/// What level 3 of x86-64 adds, by Cranelift's names.
const X86_64_V3: [&str; 12] = [
    "has_sse3",
    "has_ssse3",
    "has_cmpxchg16b",
    "has_sse41",
    "has_sse42",
    "has_popcnt",
    "has_avx",
    "has_avx2",
    "has_fma",
    "has_bmi1",
    "has_bmi2",
    "has_lzcnt",
];

/// The same, by the names that the runtime checks.
const X86_64_V3_FEATURES: [&str; 11] =
    ["sse3", "ssse3", "sse4.1", "sse4.2", "popcnt", "avx", "avx2", "fma", "bmi1", "bmi2", "lzcnt"];

/// What the wide emitter uses of level 4, by those names.
const AVX512_FEATURES: [&str; 4] = ["avx512f", "avx512bw", "avx512dq", "avx512vl"];

impl Target {
    /// A processor of the triple's family, as the options say. Code runs from wherever it lies.
    pub fn new(options: &Options) -> Result<Target> {
        let triple = options.triple.parsed()?;
        let x86 = triple.architecture == Architecture::X86_64;
        let cpu = known(options, x86)?;
        let unsupported = |e: &dyn fmt::Display| {
            Error::new(format!("Cranelift cannot make code for {}: {e}", options.triple))
        };
        let mut builder = isa::lookup(triple).map_err(|e| match e {
            LookupError::SupportDisabled => Error::new(format!(
                "code for {} is made by a Brolga that is built with the feature `cross`: cargo build --release \
                 --features cross",
                options.triple
            )),
            e => unsupported(&e),
        })?;
        let mut features = Vec::new();
        if x86 {
            for flag in X86_64_V3 {
                let refused = |e| Error::new(format!("Cranelift refuses a processor feature: {e}"));
                builder.enable(flag).map_err(refused)?;
            }
            features.extend(X86_64_V3_FEATURES.map(String::from));
        }
        let isa = builder.finish(flags()?).map_err(|e| unsupported(&e))?;
        // Leaf functions follow the System V convention.
        let leaves = x86 && isa.default_call_conv() == CallConv::SystemV;
        let emitter: Box<dyn Emitter + Send> = match cpu {
            TargetCpu::X86_64V4 if leaves => {
                features.extend(AVX512_FEATURES.map(String::from));
                Box::new(Wide(Machine::AVX512))
            }
            TargetCpu::X86_64V3 if leaves => Box::new(Wide(Machine::AVX2)),
            _ => Box::new(Portable),
        };
        Ok(Target { isa, emitter, features, traced: false })
    }

    /// Whether this machine can run the code.
    pub fn check(&self, options: &Options) -> Result<()> {
        if !options.triple.is_host() {
            return Err(Error::new(format!(
                "code for {} cannot run here, where the machine is {}; objects and listings can be made",
                options.triple,
                TargetTriple::Host
            )));
        }
        let missing: Vec<&str> =
            self.features.iter().map(String::as_str).filter(|f| !brolga_runtime::cpu_has(f)).collect();
        if missing.is_empty() {
            return Ok(());
        }
        Err(Error::new(format!(
            "code for target processor {} cannot run here: this processor lacks {}; use native (objects and listings \
             can be made)",
            options.target_cpu,
            missing.join(", ")
        )))
    }
}

/// The processor that is meant; never `native`.
fn known(options: &Options, x86: bool) -> Result<TargetCpu> {
    let Options { target_cpu, triple } = *options;
    let avx512 = || triple.is_host() && AVX512_FEATURES.into_iter().all(brolga_runtime::cpu_has);
    match target_cpu {
        TargetCpu::X86_64V3 | TargetCpu::X86_64V4 if !x86 => Err(Error::new(format!(
            "target processor {target_cpu} was asked for, but code is made for {triple}; use native or portable"
        ))),
        TargetCpu::Native if !x86 => Ok(TargetCpu::Portable),
        TargetCpu::Native if avx512() => Ok(TargetCpu::X86_64V4),
        TargetCpu::Native => Ok(TargetCpu::X86_64V3),
        known => Ok(known),
    }
}

/// What is the same for all processors.
fn flags() -> Result<settings::Flags> {
    let mut flags = settings::builder();
    for (name, value) in [
        ("opt_level", "speed"),
        // What lies near is reached by distance without it; with it, through a table that a linker would make.
        ("is_pic", "false"),
        ("use_colocated_libcalls", "false"),
        ("unwind_info", "false"),
        ("enable_probestack", "false"),
        ("enable_verifier", if cfg!(debug_assertions) { "true" } else { "false" }),
    ] {
        let refused = |e| Error::new(format!("Cranelift refuses a setting: {e}"));
        flags.set(name, value).map_err(refused)?;
    }
    Ok(settings::Flags::new(flags))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn triples_are_known_by_their_names() {
        for triple in TargetTriple::ALL {
            let parsed: TargetTriple = triple.name().parse().unwrap();
            assert_eq!(parsed.name(), triple.name());
            assert_eq!(parsed.is_host(), triple.is_host());
        }
        assert_eq!(TargetTriple::Host.name().parse(), Ok(TargetTriple::Host));
        assert!(TargetTriple::Host.is_host());
        assert!(TargetTriple::ALL.into_iter().filter(|triple| triple.is_host()).count() <= 1);
        let error = "vax-dec-vms".parse::<TargetTriple>().unwrap_err().to_string();
        assert!(
            error.starts_with("unknown target `vax-dec-vms`; known are aarch64-apple-darwin, "),
            "{error}"
        );
    }

    #[test]
    fn native_is_the_least_of_another_machine() {
        let foreign = TargetTriple::ALL.into_iter().filter(|triple| !triple.is_host());
        for triple in foreign {
            let options = Options { triple, ..Options::default() };
            let x86 = triple.name().starts_with("x86_64");
            let least = if x86 { TargetCpu::X86_64V3 } else { TargetCpu::Portable };
            assert_eq!(known(&options, x86), Ok(least));
        }
    }
}
