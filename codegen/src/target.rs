//! Which processor code is made for.

use std::fmt;
use std::str::FromStr;

use cranelift_codegen::isa::{self, CallConv, OwnedTargetIsa};
use cranelift_codegen::settings::{self, Configurable};
use target_lexicon::{Architecture, Triple};

use crate::emitter::{Emitter, Portable};
use crate::error::{Error, Result};
use crate::wide::{Machine, Wide};

/// Which instructions code may use. All give the same bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum TargetCpu {
    /// Everything that the processor at hand has.
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

/// How code is made.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Options {
    /// For which processor.
    pub target_cpu: TargetCpu,
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
    /// The host's processor, or the least of its family, as the options say. Code runs from wherever it lies.
    pub fn new(options: &Options) -> Result<Target> {
        let wrong = |what: &str, e: &dyn fmt::Display| Error::new(format!("{what}: {e}"));
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
            flags.set(name, value).map_err(|e| wrong("Cranelift refuses a setting", &e))?;
        }
        let flags = settings::Flags::new(flags);
        let triple = Triple::host();
        let x86 = triple.architecture == Architecture::X86_64;
        let cpu = options.target_cpu;
        if !x86 && matches!(cpu, TargetCpu::X86_64V3 | TargetCpu::X86_64V4) {
            return Err(Error::new(format!(
                "target processor {cpu} was asked for, but this machine is {}; use native or portable",
                triple.architecture
            )));
        }
        let unsupported =
            |e: &dyn fmt::Display| Error::new(format!("Cranelift cannot make code for this machine: {e}"));
        let mut builder = isa::lookup(triple).map_err(|e| unsupported(&e))?;
        let mut features = Vec::new();
        if x86 {
            for flag in X86_64_V3 {
                builder.enable(flag).map_err(|e| wrong("Cranelift refuses a processor feature", &e))?;
            }
            features.extend(X86_64_V3_FEATURES.map(String::from));
        }
        let isa = builder.finish(flags).map_err(|e| unsupported(&e))?;
        // Leaf functions follow the System V convention.
        let leaves = x86 && isa.default_call_conv() == CallConv::SystemV;
        let avx512 = match cpu {
            TargetCpu::Native => AVX512_FEATURES.into_iter().all(brolga_runtime::cpu_has),
            _ => cpu == TargetCpu::X86_64V4,
        };
        let emitter: Box<dyn Emitter + Send> = match cpu {
            _ if !leaves || cpu == TargetCpu::Portable => Box::new(Portable),
            _ if avx512 => {
                features.extend(AVX512_FEATURES.map(String::from));
                Box::new(Wide(Machine::AVX512))
            }
            _ => Box::new(Wide(Machine::AVX2)),
        };
        Ok(Target { isa, emitter, features, traced: false })
    }

    /// Whether this processor can run the code.
    pub fn check(&self, options: &Options) -> Result<()> {
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
