//! Runs compiled programs: arena, threads, state, checkpoints, training loop; no compiler inside.
