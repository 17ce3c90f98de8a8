//! What the commands do: settle what was meant, ask the engine, print the answer. [`chosen`] is the list of them.

mod archive_output;
mod attendance;
mod build;
mod build_logs;
mod builders;
mod builds;
mod cache;
mod cache_mounts;
mod call;
mod check;
mod compare;
mod containers;
mod context;
mod copy;
mod debug;
mod exec;
mod explain;
mod history;
mod images;
mod imagetools;
mod inspect;
mod key_value_file;
mod lifecycle;
mod login;
mod manifest;
mod naming;
mod outputs;
mod plan;
mod prune;
mod registry;
mod registry_test;
mod run;
mod search;
mod session;
mod signals;
mod squash;
mod transfer;
mod update;
mod usage;
mod verify;
mod version;
mod volumes;
mod watching;

use crate::{
    app::App,
    args::{
        BuilderCommand, BuildxCommand, CacheCommand, Command, ContainerCommand, ContextCommand, ImageCommand,
        LifeCommand, RegistryCommand, SystemCommand, VolumeCommand,
    },
    error::CliError,
};

/// Work that gives an exit code.
type Work = Box<dyn FnOnce(&App) -> Result<u8, CliError>>;

/// The work that a command line asks for.
pub(crate) struct Chosen {
    /// The part of the store that the work needs.
    pub(crate) needs: Needs,
    /// The work; it gives the exit code.
    pub(crate) work: Work,
}

/// The part of the store that a command needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Needs {
    /// Nothing, or names and documents.
    Index,
    /// It makes, unpacks, measures or removes layers, whose files have several owners.
    Layers,
    /// The same, to run a program in the network of this container.
    LayersBeside(String),
    /// The same, to start these containers, each perhaps in the network of another one.
    LayersOf(Vec<String>),
}

/// The work that `command` stands for. A new command is a line here, one in `args`, and a file in each.
pub(crate) fn chosen(command: Command) -> Chosen {
    use {BuildxCommand as X, Command as C, ContainerCommand as K, ImageCommand as I, SystemCommand as S};
    match command {
        C::Build(args) | C::Image(I::Build(args)) => layers(|app| build::build(app, *args.0)),
        C::Plan(args) => layers(|app| plan::plan(app, *args)),
        C::Check(args) => layers(|app| check::check(app, *args)),
        C::Context(ContextCommand::Ls(args)) => layers(move |app| context::list(app, &args)),
        C::Builds(command) => index(move |app| builds::builds(app, &command)),
        C::Debug(args) => program(|app| debug::debug(app, args)),
        C::Cache(command) => of_cache(command),
        C::Explain(args) => index(move |app| explain::explain(app, &args)),
        C::Images(args) | C::Image(I::Ls(args)) => index(move |app| images::images(app, &args)),
        C::History(args) | C::Image(I::History(args)) => index(move |app| history::history(app, &args)),
        C::Inspect(args) if args.size => layers(move |app| inspect::objects(app, &args)),
        C::Inspect(args) => index(move |app| inspect::objects(app, &args)),
        C::Image(I::Inspect(args)) => index(move |app| inspect::images(app, &args)),
        C::Tag(args) | C::Image(I::Tag(args)) => index(move |app| naming::tag(app, &args)),
        C::Rmi(args) | C::Image(I::Rm(args)) => layers(move |app| naming::remove_images(app, &args)),
        C::Save(args) | C::Image(I::Save(args)) => layers(move |app| transfer::save(app, &args)),
        C::Load(args) | C::Image(I::Load(args)) => layers(move |app| transfer::load(app, &args)),
        C::Import(args) | C::Image(I::Import(args)) => layers(move |app| transfer::import(app, &args)),
        C::Pull(args) | C::Image(I::Pull(args)) => layers(move |app| registry::pull(app, &args)),
        C::Push(args) | C::Image(I::Push(args)) => layers(move |app| registry::push(app, &args)),
        C::Search(args) => index(move |app| search::search(app, &args)),
        C::Registry(RegistryCommand::Test(args)) => index(move |app| registry_test::test(app, &args)),
        C::Login(args) => index(|app| login::login(app, args)),
        C::Logout(args) => index(move |app| login::logout(app, &args)),
        C::Run(args) => container(K::Run(args)),
        C::Life(command) => life(command),
        C::Ps(args) => container(K::Ls(args)),
        C::Rm(args) => container(K::Rm(args)),
        C::Commit(args) => container(K::Commit(args)),
        C::Export(args) => container(K::Export(args)),
        C::Container(command) => container(command),
        C::Diff(args) | C::Image(I::Diff(args)) => layers(move |app| compare::diff(app, &args)),
        C::Squash(args) | C::Image(I::Squash(args)) => layers(move |app| squash::squash(app, &args)),
        C::Image(I::Tree(args)) => layers(move |app| compare::tree(app, &args)),
        C::Df(args) | C::System(S::Df(args)) => layers(move |app| usage::usage(app, &args)),
        C::Prune(args) | C::System(S::Prune(args)) => layers(move |app| prune::everything(app, &args)),
        C::Image(I::Prune(args)) => layers(move |app| prune::images(app, &args)),
        C::Builder(command) => builder(command, cache::summary),
        C::Buildx(X::Builder(command)) => builder(command, cache::table),
        C::Buildx(X::Inspect(args)) => index(move |app| builders::inspect(app, &args)),
        C::Buildx(X::Ls) => index(|_| builders::list()),
        C::Buildx(X::Use { name }) => index(move |_| builders::choose(&name)),
        C::Buildx(X::Version) => index(|_| builders::version()),
        C::Buildx(X::Du(args)) => layers(move |app| cache::disk_usage(app, &args)),
        C::Manifest(command) => index(move |app| manifest::manifest(app, &command)),
        C::Buildx(X::Imagetools(command)) => index(move |app| imagetools::imagetools(app, &command)),
        C::Volume(command) => volume(command),
        C::Version(args) => index(move |_| version::version(&args)),
    }
}

/// The work of `cache …`.
fn of_cache(command: CacheCommand) -> Chosen {
    match command {
        CacheCommand::Mount(command) => layers(|app| cache_mounts::cache_mounts(app, command)),
        CacheCommand::Verify(args) => with_code(Needs::Layers, move |app| verify::verify(app, &args)),
    }
}

/// The work of a command for containers.
fn container(command: ContainerCommand) -> Chosen {
    use ContainerCommand as K;
    match command {
        K::Run(args) => {
            let other = run::other_network(&args.container).map(Needs::LayersBeside);
            Chosen { needs: other.unwrap_or(Needs::Layers), ..program(|app| run::run(app, *args)) }
        }
        K::Life(command) => life(command),
        K::Ls(args) => index(move |app| containers::list(app, &args)),
        K::Inspect(args) => layers(move |app| inspect::containers(app, &args)),
        K::Rm(args) => layers(move |app| containers::remove(app, &args)),
        K::Commit(args) => layers(|app| containers::commit(app, args)),
        K::Export(args) => layers(move |app| transfer::export(app, &args)),
        K::Diff(args) => layers(move |app| compare::diff(app, &args)),
        K::Prune(args) => layers(move |app| prune::containers(app, &args)),
    }
}

/// The work of a command for what containers do.
fn life(command: LifeCommand) -> Chosen {
    use LifeCommand as L;
    match command {
        L::Create(args) => layers(|app| run::create(app, *args)),
        L::Start(args) => {
            let needs = Needs::LayersOf(args.containers.clone());
            with_code(needs, move |app| lifecycle::start(app, &args))
        }
        L::Stop(args) => index(move |app| lifecycle::stop(app, &args)),
        L::Restart(args) => {
            let needs = Needs::LayersOf(args.containers.clone());
            Chosen { needs, ..layers(move |app| lifecycle::restart(app, &args)) }
        }
        L::Kill(args) => index(move |app| lifecycle::kill(app, &args)),
        L::Pause(args) => index(move |app| lifecycle::pause(app, &args)),
        L::Unpause(args) => index(move |app| lifecycle::unpause(app, &args)),
        L::Wait(args) => index(move |app| lifecycle::wait(app, &args)),
        L::Cp(args) => index(move |app| copy::copy(app, &args)),
        L::Exec(args) => with_code(Needs::Index, |app| exec::exec(app, *args)),
        L::Attach(args) => with_code(Needs::Index, move |app| attendance::attach(app, &args)),
        L::Update(args) => index(move |app| update::update(app, &args)),
        L::Top(args) => index(move |app| watching::top(app, &args)),
        L::Stats(args) => index(move |app| watching::stats(app, &args)),
        L::Logs(args) => index(move |app| lifecycle::logs(app, &args)),
        L::Port(args) => index(move |app| containers::port(app, &args)),
        L::Rename(args) => index(|app| lifecycle::rename(app, args)),
    }
}

/// The work of a command for volumes, whose files have several owners.
fn volume(command: VolumeCommand) -> Chosen {
    match command {
        VolumeCommand::Ls(_) | VolumeCommand::Inspect(_) => index(|app| volumes::volumes(app, command)),
        VolumeCommand::Create(_) | VolumeCommand::Rm(_) | VolumeCommand::Prune(_) => {
            layers(|app| volumes::volumes(app, command))
        }
    }
}

/// The work of a command for builds; `print` shows what a prune removed.
fn builder(command: BuilderCommand, print: prune::PrintRemoved) -> Chosen {
    match command {
        BuilderCommand::Build(args) => layers(|app| build::build(app, *args.0)),
        BuilderCommand::History(command) => index(move |app| builds::builds(app, &command)),
        BuilderCommand::Prune(args) => layers(move |app| prune::cache(app, &args, print)),
    }
}

fn with_code(needs: Needs, work: impl FnOnce(&App) -> Result<u8, CliError> + 'static) -> Chosen {
    Chosen { needs, work: Box::new(work) }
}

fn index(work: impl FnOnce(&App) -> Result<(), CliError> + 'static) -> Chosen {
    Chosen { needs: Needs::Index, work: Box::new(|app| work(app).map(|()| 0)) }
}

/// Work with the exit code of a program in a sandbox.
fn program(work: impl FnOnce(&App) -> Result<u8, CliError> + 'static) -> Chosen {
    let work = |app: &App| work(app).map_err(|error| CliError::Run(Box::new(error)));
    Chosen { needs: Needs::Layers, work: Box::new(work) }
}

fn layers(work: impl FnOnce(&App) -> Result<(), CliError> + 'static) -> Chosen {
    Chosen { needs: Needs::Layers, ..index(work) }
}
