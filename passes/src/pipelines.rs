//! The pipelines, as lists, and every pass by its name.

use brolga_ir::names::nearest;

use crate::choose::batch_norm::batch_norm;
use crate::choose::images::images;
use crate::choose::layout::layout;
use crate::choose::merge::merge;
use crate::choose::narrow::narrow;
use crate::choose::strassen::strassen;
use crate::choose::winograd::winograd;
use crate::fuse::fuse;
use crate::graph::accumulate::accumulate;
use crate::graph::clip::clip;
use crate::graph::cse::cse;
use crate::graph::dce::dce;
use crate::graph::fold::fold;
use crate::graph::grad::grad;
use crate::graph::pooling::pooling;
use crate::graph::simplify::{canonical, simplify};
use crate::manager::{GraphPass, Kind, Pass, ProgramPass};
use crate::program::forward::forward;
use crate::program::join::join;
use crate::program::order::order;
use crate::program::parallelise::parallelise;
use crate::program::plan::plan;
use crate::program::rematerialise::rematerialise;
use crate::program::vectorise::vectorise;
use crate::program::views::views;

/// Every graph pass. A pass's name stands here and nowhere else.
pub const GRAPH_PASSES: &[GraphPass] = &[
    CLIP, GRAD, DCE, POOLING, ACCUMULATE, FOLD, CANONICAL, SIMPLIFY, CSE, BATCH_NORM, MERGE, LAYOUT,
    WINOGRAD, STRASSEN, NARROW, IMAGES, FUSE,
];

/// Every program pass.
pub const PROGRAM_PASSES: &[ProgramPass] =
    &[FORWARD, VIEWS, VECTORISE, JOIN, PARALLELISE, ORDER, REMATERIALISE, PLAN];

const CLIP: GraphPass = Pass { name: "clip", kind: Kind::Rounding, run: clip };
const GRAD: GraphPass = Pass { name: "grad", kind: Kind::Exact, run: grad };
const DCE: GraphPass = Pass { name: "dce", kind: Kind::Exact, run: dce };
const POOLING: GraphPass = Pass { name: "pooling", kind: Kind::Rounding, run: pooling };
const ACCUMULATE: GraphPass = Pass { name: "accumulate", kind: Kind::Rounding, run: accumulate };
const FOLD: GraphPass = Pass { name: "fold", kind: Kind::Exact, run: fold };
const CANONICAL: GraphPass = Pass { name: "canonical", kind: Kind::Exact, run: canonical };
const SIMPLIFY: GraphPass = Pass { name: "simplify", kind: Kind::Exact, run: simplify };
const CSE: GraphPass = Pass { name: "cse", kind: Kind::Exact, run: cse };
const BATCH_NORM: GraphPass = Pass { name: "batch-norm", kind: Kind::Rounding, run: batch_norm };
const MERGE: GraphPass = Pass { name: "merge", kind: Kind::Exact, run: merge };
const LAYOUT: GraphPass = Pass { name: "layout", kind: Kind::Rounding, run: layout };
const WINOGRAD: GraphPass = Pass { name: "winograd", kind: Kind::Rounding, run: winograd };
const STRASSEN: GraphPass = Pass { name: "strassen", kind: Kind::Rounding, run: strassen };
const IMAGES: GraphPass = Pass { name: "images", kind: Kind::Exact, run: images };
const NARROW: GraphPass = Pass { name: "narrow", kind: Kind::Narrowing, run: narrow };
const FUSE: GraphPass = Pass { name: "fuse", kind: Kind::Exact, run: |graph, _| fuse(graph) };

const VECTORISE: ProgramPass =
    Pass { name: "vectorise", kind: Kind::Exact, run: |program, _| Ok(vectorise(program)) };
const JOIN: ProgramPass =
    Pass { name: "join", kind: Kind::Exact, run: |program, options| Ok(join(program, options)) };
const PARALLELISE: ProgramPass = Pass { name: "parallelise", kind: Kind::Exact, run: parallelise };
const FORWARD: ProgramPass =
    Pass { name: "forward", kind: Kind::Exact, run: |program, _| Ok(forward(program)) };
const VIEWS: ProgramPass = Pass { name: "views", kind: Kind::Exact, run: |program, _| Ok(views(program)) };
const ORDER: ProgramPass = Pass { name: "order", kind: Kind::Exact, run: |program, _| Ok(order(program)) };
const REMATERIALISE: ProgramPass = Pass { name: "rematerialise", kind: Kind::Exact, run: rematerialise };
const PLAN: ProgramPass = Pass { name: "plan", kind: Kind::Exact, run: |program, _| Ok(plan(program)) };

/// From a graph as the frontend builds it to one that only has to be fused: entries that train.
pub const TRAIN: &[GraphPass] = &[
    CLIP, GRAD, DCE, CLIP, POOLING, ACCUMULATE, FOLD, SIMPLIFY, FOLD, CSE, DCE, LAYOUT, WINOGRAD, STRASSEN,
    SIMPLIFY, CSE, DCE,
];

/// The same for entries that do not change the parameters. Until the numeric plan of the graph is made, nothing depends on
/// whether the batch is one.
pub const INFER: &[GraphPass] = &[
    CLIP, GRAD, DCE, CLIP, POOLING, ACCUMULATE, FOLD, CANONICAL, FOLD, CSE, DCE, BATCH_NORM, MERGE, FOLD,
    LAYOUT, WINOGRAD, STRASSEN, NARROW, IMAGES, SIMPLIFY, CSE, DCE,
];

/// Behind either, before lowering; of a split entry ([`prepare`](mod@crate::choose::prepare)), on both graphs.
pub const REGIONS: &[GraphPass] = &[FUSE];

/// From a lowered program to one that can be emitted.
pub const PROGRAM: &[ProgramPass] =
    &[FORWARD, VIEWS, VECTORISE, JOIN, PARALLELISE, ORDER, REMATERIALISE, PLAN];

/// The graph passes of those names, in that order, separated by commas; an error names the nearest.
pub fn graph_passes(names: &str) -> Result<Vec<GraphPass>, String> {
    let find =
        |name: &str| GRAPH_PASSES.iter().find(|pass| pass.name == name).copied().ok_or_else(|| unknown(name));
    names.split(',').map(str::trim).filter(|name| !name.is_empty()).map(find).collect()
}

fn unknown(name: &str) -> String {
    let names: Vec<&str> = GRAPH_PASSES.iter().map(|pass| pass.name).collect();
    let hint = nearest(name, names.iter().copied()).map(|near| format!("did you mean `{near}`? "));
    format!("there is no pass `{name}`; {}passes: {}", hint.unwrap_or_default(), names.join(", "))
}
