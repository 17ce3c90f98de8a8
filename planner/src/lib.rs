//! From a Dockerfile to a plan: which stages are needed, what they start from, and what is done to their files.
//!
//! [`select`] evaluates the FROM lines and finds what the target needs; [`StageGraph::resolve`] takes the images that
//! [`StageGraph::unresolved`] asks for, until [`StageGraph::finish`] gives a [`ResolvedGraph`]; [`lower`] turns that
//! into a [`Plan`] of steps, with every stage's config and history.
//!
//! Invariants: no I/O, no clock, no environment; equal inputs give equal plans; a step's inputs come before it. Syntax
//! is `rbuild-parser`'s; finding images is the engine's; doing steps is `rbuild-executor`'s.

#![forbid(unsafe_code)]

mod contexts;
mod dependencies;
mod env;
mod epoch;
mod error;
mod graph;
mod history;
mod instructions;
mod join;
mod lints;
mod lower;
mod onbuild;
mod options;
mod ordered;
mod plan;
mod position;
mod run_modes;
mod scope;
mod select;
mod sources;
mod stage_graph;
mod stage_lowering;
mod step_name;

pub use env::Env;
pub use epoch::{EpochSource, RemoteAdd, source as epoch_source};
pub use error::{EpochStageError, MountError, PlanError, PlanErrorKind, PortError, SourceError};
pub use graph::StepId;
pub use history::go_duration;
pub use instructions::{GitSource, GitTimes, Submodules};
pub use instructions::{parse_size, sounds_secret};
pub use lints::findings_while_reading;
pub use lower::{lower, lower_beside};
pub use options::{
    DEFAULT_HOSTNAME, ImageRequest, NamedContext, NoCache, PlanOptions, PositionStyle, Purpose,
    ResolvedImage, Selection,
};
pub use plan::{
    Access, Action, ArgumentOrigin, CachePolicy, Chmod, CopyAction, CopySource, DeviceRequest, Filesystem,
    GitDirectory, ImageIndex, Mount, MountKind, Plan, PlannedArgument, PlannedImage, PlannedStage,
    PlannedTarget, RunAction, Sharing, StageId, Step, TargetImage, Unpack, WorkdirAction,
};
pub use run_modes::{Network, Security};
pub use select::select;
pub use stage_graph::{ResolvedGraph, StageGraph};
