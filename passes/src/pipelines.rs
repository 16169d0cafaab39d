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
use crate::graph::hoist::hoist;
use crate::graph::pooling::pooling;
use crate::graph::segment::segment;
use crate::graph::simplify::{canonical, simplify};
use crate::graph::tables::tables;
use crate::graph::time_batch::time_batch;
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
    CLIP, HOIST, SEGMENT, TIME_BATCH, GRAD, DCE, POOLING, ACCUMULATE, FOLD, CANONICAL, SIMPLIFY, TABLES, CSE,
    BATCH_NORM, MERGE, LAYOUT, WINOGRAD, STRASSEN, NARROW, IMAGES, FUSE,
];

/// Every program pass.
pub const PROGRAM_PASSES: &[ProgramPass] =
    &[FORWARD, VIEWS, VECTORISE, JOIN, PARALLELISE, ORDER, REMATERIALISE, PLAN];

const CLIP: GraphPass = Pass::new("clip", Kind::Rounding, clip);
const HOIST: GraphPass = Pass::new("hoist", Kind::Exact, hoist);
const SEGMENT: GraphPass = Pass::new("segment", Kind::Exact, segment);
const TIME_BATCH: GraphPass = Pass::new("time-batch", Kind::Rounding, time_batch);
const GRAD: GraphPass = Pass::new("grad", Kind::Exact, grad);
const DCE: GraphPass = Pass::new("dce", Kind::Exact, dce);
const POOLING: GraphPass = Pass::new("pooling", Kind::Rounding, pooling);
const ACCUMULATE: GraphPass = Pass::new("accumulate", Kind::Rounding, accumulate);
const TABLES: GraphPass = Pass::new("tables", Kind::Exact, tables)
    .outside("a table is state, which bodies capture or carry as other values");
const FOLD: GraphPass = Pass::new("fold", Kind::Exact, fold);
const CANONICAL: GraphPass = Pass::new("canonical", Kind::Exact, canonical);
const SIMPLIFY: GraphPass = Pass::new("simplify", Kind::Exact, simplify);
const CSE: GraphPass = Pass::new("cse", Kind::Exact, cse);
const BATCH_NORM: GraphPass = Pass::new("batch-norm", Kind::Rounding, batch_norm);
const MERGE: GraphPass = Pass::new("merge", Kind::Exact, merge);
const LAYOUT: GraphPass = Pass::new("layout", Kind::Rounding, layout);
const WINOGRAD: GraphPass = Pass::new("winograd", Kind::Rounding, winograd);
const STRASSEN: GraphPass = Pass::new("strassen", Kind::Rounding, strassen);
const IMAGES: GraphPass = Pass::new("images", Kind::Exact, images);
const NARROW: GraphPass = Pass::new("narrow", Kind::Narrowing, narrow);
const FUSE: GraphPass = Pass::new("fuse", Kind::Exact, |graph, _| fuse(graph));

const VECTORISE: ProgramPass = Pass::new("vectorise", Kind::Exact, |program, _| Ok(vectorise(program)));
const JOIN: ProgramPass = Pass::new("join", Kind::Exact, |program, options| Ok(join(program, options)));
const PARALLELISE: ProgramPass = Pass::new("parallelise", Kind::Exact, parallelise);
const FORWARD: ProgramPass = Pass::new("forward", Kind::Exact, |program, _| Ok(forward(program)))
    .outside("new state is computed in its place where the entry ends");
const VIEWS: ProgramPass = Pass::new("views", Kind::Exact, |program, _| Ok(views(program)));
const ORDER: ProgramPass = Pass::new("order", Kind::Exact, |program, _| Ok(order(program)))
    .outside("loops and conditions move as a whole");
const REMATERIALISE: ProgramPass = Pass::new("rematerialise", Kind::Exact, rematerialise)
    .outside("what an iteration makes is not made again behind it");
const PLAN: ProgramPass = Pass::new("plan", Kind::Exact, |program, _| Ok(plan(program)))
    .outside("a loop is one step in the lives of buffers");

/// From a graph as the frontend builds it to one that only has to be fused: entries that train.
pub const TRAIN: &[GraphPass] = &[
    CLIP, MERGE, HOIST, SEGMENT, TIME_BATCH, GRAD, DCE, CLIP, POOLING, ACCUMULATE, FOLD, SIMPLIFY, FOLD, CSE,
    DCE, TABLES, HOIST, TIME_BATCH, DCE, LAYOUT, WINOGRAD, STRASSEN, SIMPLIFY, CSE, DCE,
];

/// The same for entries that do not change the parameters. Until the numeric plan of the graph is made, nothing depends on
/// whether the batch is one.
pub const INFER: &[GraphPass] = &[
    CLIP, HOIST, TIME_BATCH, GRAD, DCE, CLIP, POOLING, ACCUMULATE, FOLD, CANONICAL, FOLD, CSE, DCE, HOIST,
    TIME_BATCH, DCE, BATCH_NORM, MERGE, HOIST, FOLD, LAYOUT, WINOGRAD, NARROW, STRASSEN, IMAGES, SIMPLIFY,
    CSE, DCE,
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
