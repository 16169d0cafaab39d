//! From a RON model to graphs: the model language, layers, losses, optimisers, diagnostics.
