//! Transformations of graphs and kernel programs, one file each, and the pipelines as lists.
