//! Programs of loops do not grow with the number of steps, and their memory in proportion to it.

use brolga::{Model, Settings};

use super::{lower, size};

/// Layers and loops that are trained, over sequences of so many steps.
const BODIES: [&str; 4] = [
    "Lstm(name: \"l\", features: 8)",
    "Gru(name: \"l\", features: 8, layers: 2, bidirectional: true)",
    "Lstm(name: \"l\", features: 8, lengths: \"n\")",
    "Scan(name: \"l\", body: [Carry(\"h\", \"zeros([16, 8])\"), Expr(\"concat([it, prev.h], 1)\"), Linear(name: \"a\", features: 8), \
     Tanh, As(\"h\"), Linear(name: \"b\", features: 3)])",
];

/// Kernels and calls of a training step are those of few steps, but for the loop over segments that a long one has, and reductions
/// with more rounds of combining. The arena grows with the steps.
#[test]
fn programs_of_loops_do_not_grow_with_their_steps() {
    for body in BODIES {
        let of = |steps: usize| {
            let text = format!(
                "Model(inputs: {{ \"x\": \"f32[16, {steps}, 8]\", \"n\": \"i32[16]\" }}, body: [Ref(\"x\"), {body}],
                 entries: {{ \"train\": Train(loss: \"mean(it * it)\", optimizer: Sgd(lr: 0.1)) }})"
            );
            let model = Model::from_text("steps.ron", &text, &Settings::default());
            let program = lower(&model.unwrap_or_else(|e| panic!("{text}: {e}")), "train");
            (size(&program), program.arena_bytes)
        };
        let [few, many, segments, four_times] = [16, 256, 1024, 4096].map(of);
        println!("{body}: {few:?}, {many:?}, {segments:?}, {four_times:?}");
        let more = many.0.beyond(&few.0);
        assert!(more[0] <= 4 && more[1] <= 12, "{body}: {few:?} at 16 steps, {many:?} at 256");
        let more = four_times.0.beyond(&segments.0);
        assert!(more[0] <= 4 && more[1] <= 4, "{body}: {segments:?} at 1,024 steps, {four_times:?} at 4,096");
        let more = four_times.0.beyond(&many.0);
        assert!(
            more[1] <= many.0.calls && more[2] <= 2 * many.0.statements,
            "{body}: {many:?} at 256 steps, {four_times:?} at 4,096"
        );
        assert!(many.1 < 17 * few.1, "{body}: {few:?} at 16 steps, {many:?} at 256");
        assert!(four_times.1 < 17 * many.1, "{body}: {many:?} at 256 steps, {four_times:?} at 4,096");
    }
}
