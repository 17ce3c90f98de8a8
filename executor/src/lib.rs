//! Carries out one step of a plan in a root filesystem: copying files, adding archives, making directories, running
//! commands. What comes in is a [`rbuild_planner::Step`] and the stack of layers it works on; what goes out is a layer
//! draft in overlay form, which the engine commits.
//!
//! Invariants: no path of a context, layer or archive is ever resolved outside its root directory; files that no
//! step asked for are neither read nor hashed; a failed step leaves nothing behind. The engine decides if a step has to run,
//! `rbuild-image` writes layer tars, and `rbuild-sys` has every unsafe line.

#![forbid(unsafe_code)]

mod add;
mod agent_socket;
mod chmod;
mod container;
mod container_base;
mod container_mounts;
mod container_network;
mod context;
mod context_directory;
mod context_files;
mod copy;
mod describe;
mod draft;
mod emulation;
mod error;
mod exec;
mod failure;
mod fetched;
mod foreign_program;
mod given_devices;
mod guest;
mod host_files;
mod host_program;
mod host_routes;
mod ignore;
mod isolation;
mod kept_network;
mod key_agent;
mod look_into;
mod machine;
mod meant;
mod mounts;
mod named_network;
mod netavark;
mod network;
mod open_source;
mod pasta;
mod pasta_command;
mod pattern;
mod ports;
mod processes;
mod relay;
mod rooted;
mod run;
mod script_fault;
mod select;
mod shown_files;
mod snapshot;
mod source;
mod step_limits;
mod stopped;
mod store_writer;
mod unpack_context;
mod users;
mod workdir;
mod workers;
mod xattrs;

pub use container::{
    ContainerSandbox, ContainerTerminal, GivenPipes, PausedContainer, ProgramEnd, Sandboxed, Stdio,
    UpperDirectory, has_ended, is_paused, kill_process, open_process, open_terminal, pause_container,
    resize_terminal, start_container,
};
pub use container_mounts::{ContainerVolume, VolumeSource};
pub use container_network::ContainerNetwork;
pub use context::ContextRoot;
pub use context_directory::{ContextDirectory, read_definition};
pub use context_files::{ContextFile, ContextFileKind, SelectionSize, context_files};
pub use copy::{copy, copy_linking};
pub use describe::{
    RemoteIdentity, RunSurroundings, StepDescription, describe_copy, describe_layer_files,
    describe_mounted_layers, describe_remote_files, describe_run, describe_selection,
    describe_shown_directory, describe_workdir, image_key, scratch_key,
};
pub use emulation::{Emulation, Emulator, EmulatorFault, emulation, runnable_platforms};
pub use error::{ExecutorError, MAX_DEFINITION};
pub use exec::{ContainerProcess, Executed, Execution};
pub use fetched::{FetchedFile, FetchedSource};
pub use given_devices::{GivenDevices, GivenMount};
pub use host_files::{HOST_GATEWAY, HostFiles, NameOptions, check_hostname};
pub use host_routes::host_subnets;
pub use ignore::{DecidingPattern, IgnoreDecision, IgnoreRules};
pub use isolation::Isolation;
pub use kept_network::NetworkNews;
pub use key_agent::KeyAgent;
pub use look_into::{StepShell, look_into};
pub use machine::{Machine, MachineFeature};
pub use meant::Meant;
pub use mounts::{CacheDirectory, PreparedMount};
pub use named_network::{check_network_programs, clear_network, has_interface, rename_in_network};
pub use network::Networks;
pub use open_source::DockerfilePlace;
pub use ports::{FreePorts, free_ports};
pub use processes::ContainerUse;
pub use rbuild_sys::{
    CapSet,
    device::{Device, DeviceAccess, DeviceKind, NoDeviceAccess},
    limits::{Limits, Most, Resource, Ulimit, UnmetLimit},
    mount::MountAttributes,
    overlay::Syncing,
    privileges::{CallFilter, KernelPaths, NewPrivileges, Privileges},
    sandbox::{FirstProcess, masked_paths, read_only_paths},
    seccomp,
    spawn::{Usage, is_stopped},
};
pub use relay::{CarriedOutput, OwnStream, carry_own_input};
pub use run::{Run, RunFailure, run};
pub use select::{
    FileList, ListDifference, ListedFile, ListedKind, Selection, Unmatched, is_named, select, select_fetched,
};
pub use shown_files::{copy_shown, move_out};
pub use snapshot::{
    Merge, Overlays, RootView, Snapshots, clone_layer, collect_running, fill_volume, merge_layers,
};
pub use source::SourceRoot;
pub use step_limits::StepLimits;
pub use stopped::{StoppedContainer, StoppedRoot, stopped_root};
pub use store_writer::store_writer;
pub use unpack_context::unpack_context;
pub use users::{Identity, chown_owner, run_identity};
pub use workdir::workdir;
pub use xattrs::{Xattrs, read as read_attributes};
