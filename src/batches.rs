//! The samples of a batch in inputs and outputs: what is known of them.

use std::collections::HashMap;
use std::sync::Arc;

use brolga_frontend::{Instance, Samples};
use brolga_runtime as runtime;

/// What the outputs of an entry point are of the samples, by name; nothing is known of those that are left out.
pub(crate) type Outputs = HashMap<String, Samples>;

/// An entry point for certain sizes, and what is known of its samples.
pub(crate) struct Batched<'m> {
    pub instance: &'m Instance,
    /// The size `batch`, if the model has it.
    pub batch: Option<usize>,
    /// What its outputs are of the samples: asked where it is needed.
    pub outputs: &'m dyn Fn() -> Arc<Outputs>,
}

impl Batched<'_> {
    /// What the inputs and the outputs of the compiled entry point are of the samples, in their order.
    pub(crate) fn samples(
        &self,
        manifest: &runtime::Manifest,
    ) -> (Vec<runtime::Samples>, Vec<runtime::Samples>) {
        let inputs = manifest.inputs.iter();
        let inputs = inputs.map(|input| self.compiled(self.instance.input_samples(&input.name), &input.dims));
        // A training step gives metrics: nobody asks what they are of the samples.
        let are_metrics = manifest.updates_state() && manifest.outputs.iter().all(|o| o.dims.is_empty());
        let known = if are_metrics { Arc::default() } else { (self.outputs)() };
        let of_output = |name: &str| known.get(name).copied().unwrap_or(Samples::Together);
        let outputs = manifest.outputs.iter();
        let outputs = outputs.map(|output| self.compiled(of_output(&output.name), &output.dims));
        (inputs.collect(), outputs.collect())
    }

    /// What an input or output with these dimensions is of the samples, as it was compiled.
    fn compiled(&self, samples: Samples, dims: &[usize]) -> runtime::Samples {
        match samples {
            Samples::Same => runtime::Samples::Same,
            Samples::Along(axis) => {
                // A model may be another one for some batches.
                let fits = self.batch.is_some() && dims.get(axis).copied() == self.batch;
                if fits { runtime::Samples::Along(axis) } else { runtime::Samples::Together }
            }
            Samples::Together => runtime::Samples::Together,
        }
    }
}
