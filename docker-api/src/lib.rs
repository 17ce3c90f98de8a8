//! Docker's shapes: what the engine knows, in the JSON and the words that Docker's clients and their users expect.
//!
//! [`ImageInspect`], [`ContainerInspect`], [`VolumeInspect`] and [`NetworkInspect`] are the answers of `inspect`; [`ImageRow`], [`ContainerRow`], [`HistoryRow`] and
//! [`UsageRow`] the lines of listings; [`CheckAnswer`], [`OutlineAnswer`] and [`TargetsAnswer`] those of `build --call`;
//! [`ImageFilter`] and [`ContainerFilter`] read `--filter`. Invariants: functions from values to values, which open, print and
//! wait for nothing; the time is an argument. Tables and templates are cli's.

#![forbid(unsafe_code)]

mod answers;
mod builds;
mod cache;
mod cache_report;
mod config;
mod containers;
mod contexts;
mod documents;
mod filter_error;
mod glob;
mod history;
mod host_config;
mod images;
mod info;
mod inspect;
mod manifests;
mod misses;
mod moments;
mod names;
mod networks;
mod ports;
mod provenance;
mod prune_filter;
mod rows;
mod sizes;
mod stats;
mod times;
mod usage;
mod volumes;

pub use answers::{
    Argument, CheckAnswer, Location, MountParameter, OutlineAnswer, Source, TargetAnswer, TargetsAnswer,
    Warning,
};
pub use builds::{
    BuildError, BuildFilter, BuildInspect, BuildRow, FindingInspect, StepInspect, build_duration, build_name,
    build_status, step_status,
};
pub use cache::{CacheFilter, CacheMountRow, CacheRow, cache_totals};
pub use cache_report::{CacheReport, first_miss};
pub use config::{Config, ContainerPart};
pub use containers::{ContainerFilter, ContainerRow};
pub use contexts::{ContextRow, directory_rows};
pub use documents::{BuildMetadata, Version, VersionOfSide};
pub use filter_error::FilterError;
pub use history::{HistoryRow, Sizes};
pub use host_config::{DeviceMapping, HostConfig};
pub use images::{ImageFilter, ImageFilters, ImageRow, image_rows, names_image};
pub use info::{Feature, Info, Swarm};
pub use inspect::{ContainerInspect, ImageInspect};
pub use manifests::{
    config_value, entry_name, image_in_words, manifest_document, manifest_in_full, manifest_list,
    manifest_value, with_blanks, with_go_names, with_tabs,
};
pub use misses::{InputInspect, MissInspect, evicted_word, miss_word};
pub use moments::{go_seconds, moment};
pub use names::{Detail, shortened, with_tag};
pub use networks::{NetworkFilter, NetworkInspect, NetworkRow};
pub use ports::{
    ContainerPort, Endpoint, FilteredPorts, HostPort, NamedEndpoint, NetworkSettings, port_lines,
};
pub use provenance::{Invocation, ProvenanceMode, recorded_warnings};
pub use prune_filter::PruneFilter;
pub use rows::Row;
pub use sizes::{human_size, human_size_with};
pub use stats::StatsRow;
pub use times::{go_style, human_duration};
pub use usage::UsageRow;
pub use volumes::{MountInspect, VolumeFilter, VolumeInspect, VolumeRow};
