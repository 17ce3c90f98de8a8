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
mod info;
mod inspect;
mod key_value_file;
mod lifecycle;
mod listing_format;
mod login;
mod manifest;
mod naming;
mod networks;
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
        Later, LifeCommand, RegistryCommand, SystemCommand, VolumeCommand,
    },
    error::{CliError, UsageError},
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
    use {Command as C, ContainerCommand as K, ImageCommand as I, SystemCommand as S};
    match command {
        C::Build(args) => image(I::Build(args)),
        C::Plan(Later(args)) => layers(|app| plan::plan(app, *args)),
        C::Check(Later(args)) => layers(|app| check::check(app, *args)),
        C::Context(Later(ContextCommand::Ls(args))) => layers(move |app| context::list(app, &args)),
        C::Builds(Later(command)) => index(move |app| builds::builds(app, &command)),
        C::Debug(Later(args)) => program(|app| debug::debug(app, args)),
        C::Cache(Later(command)) => of_cache(command),
        C::Explain(Later(args)) => index(move |app| explain::explain(app, &args)),
        C::Images(args) => image(I::Ls(args)),
        C::History(args) => image(I::History(args)),
        C::Inspect(Later(args)) if args.size => layers(move |app| inspect::objects(app, &args)),
        C::Inspect(Later(args)) => index(move |app| inspect::objects(app, &args)),
        C::Tag(args) => image(I::Tag(args)),
        C::Rmi(args) => image(I::Rm(args)),
        C::Save(args) => image(I::Save(args)),
        C::Load(args) => image(I::Load(args)),
        C::Import(args) => image(I::Import(args)),
        C::Pull(args) => image(I::Pull(args)),
        C::Push(args) => image(I::Push(args)),
        C::Search(Later(args)) => index(move |app| search::search(app, &args)),
        C::Registry(Later(RegistryCommand::Test(args))) => index(move |app| registry_test::test(app, &args)),
        C::Login(Later(args)) => index(|app| login::login(app, args)),
        C::Logout(Later(args)) => index(move |app| login::logout(app, &args)),
        C::Run(args) => container(K::Run(args)),
        C::Life(command) => life(command),
        C::Ps(args) => container(K::Ls(args)),
        C::Rm(args) => container(K::Rm(args)),
        C::Commit(args) => container(K::Commit(args)),
        C::Export(args) => container(K::Export(args)),
        C::Container(Later(command)) => container(command),
        C::Diff(args) => image(I::Diff(args)),
        C::Squash(args) => image(I::Squash(args)),
        C::Image(Later(command)) => image(command),
        C::Df(Later(args)) | C::System(Later(S::Df(Later(args)))) => {
            layers(move |app| usage::usage(app, &args))
        }
        C::Prune(Later(args)) | C::System(Later(S::Prune(Later(args)))) => {
            layers(move |app| prune::everything(app, &args))
        }
        C::Builder(Later(command)) => builder(command, cache::summary),
        C::Buildx(Later(command)) => buildx(command),
        C::Manifest(Later(command)) => index(move |app| manifest::manifest(app, &command)),
        C::Volume(Later(command)) => volume(command),
        C::Network(Later(command)) => index(|app| networks::networks(app, command)),
        C::Info(Later(args)) | C::System(Later(S::Info(Later(args)))) => {
            layers(move |app| info::info(app, &args))
        }
        C::Version(Later(args)) => index(move |_| version::version(&args)),
    }
}

/// The work of a command for images.
fn image(command: ImageCommand) -> Chosen {
    use ImageCommand as I;
    match command {
        I::Build(Later(args)) => layers(|app| build::build(app, *args)),
        I::Ls(Later(args)) => index(move |app| images::images(app, &args)),
        I::History(Later(args)) => index(move |app| history::history(app, &args)),
        I::Inspect(Later(args)) => index(move |app| inspect::images(app, &args)),
        I::Tag(Later(args)) => index(move |app| naming::tag(app, &args)),
        I::Rm(Later(args)) => layers(move |app| naming::remove_images(app, &args)),
        I::Save(Later(args)) => layers(move |app| transfer::save(app, &args)),
        I::Load(Later(args)) => layers(move |app| transfer::load(app, &args)),
        I::Import(Later(args)) => layers(move |app| transfer::import(app, &args)),
        I::Prune(Later(args)) => layers(move |app| prune::images(app, &args)),
        I::Tree(Later(args)) => layers(move |app| compare::tree(app, &args)),
        I::Diff(Later(args)) => layers(move |app| compare::diff(app, &args)),
        I::Squash(Later(args)) => layers(move |app| squash::squash(app, &args)),
        I::Pull(Later(args)) => layers(move |app| registry::pull(app, &args)),
        I::Push(Later(args)) => layers(move |app| registry::push(app, &args)),
    }
}

/// The work of `buildx …`.
fn buildx(command: BuildxCommand) -> Chosen {
    use BuildxCommand as X;
    match command {
        X::Builder(command) => by_asked(builder(command, cache::table)),
        X::Inspect(Later(args)) => index(move |app| builders::inspect(app, &args)),
        X::Ls(Later(args)) => index(move |app| builders::list(app, &args)),
        X::Create(Later(args)) => index(move |app| builders::create(app, &args)),
        X::Use(Later(args)) => index(move |app| builders::choose(app, &args)),
        X::Stop(Later(args)) => index(move |app| builders::stop(app, &args)),
        X::Rm(Later(args)) => index(move |app| builders::remove(app, &args)),
        X::Version => index(|_| builders::version()),
        X::Du(Later(args)) => by_asked(layers(move |app| cache::disk_usage(app, &args))),
        X::Imagetools(command) => index(move |app| imagetools::imagetools(app, &command)),
    }
}

/// The same work, if there is the builder that is asked to do it.
fn by_asked(chosen: Chosen) -> Chosen {
    let work = chosen.work;
    Chosen { needs: chosen.needs, work: Box::new(|app| builders::asked(app).and_then(|()| work(app))) }
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
        K::Run(Later(args)) => {
            let other = run::other_network(&args.container).map(Needs::LayersBeside);
            Chosen { needs: other.unwrap_or(Needs::Layers), ..program(|app| run::run(app, *args)) }
        }
        K::Life(command) => life(command),
        K::Ls(Later(args)) => index(move |app| containers::list(app, &args)),
        K::Inspect(Later(args)) => layers(move |app| inspect::containers(app, &args)),
        K::Rm(Later(args)) => layers(move |app| containers::remove(app, &args)),
        K::Commit(Later(args)) => layers(|app| containers::commit(app, args)),
        K::Export(Later(args)) => layers(move |app| transfer::export(app, &args)),
        K::Diff(Later(args)) => layers(move |app| compare::diff(app, &args)),
        K::Prune(Later(args)) => layers(move |app| prune::containers(app, &args)),
    }
}

/// The work of a command for what containers do.
fn life(command: LifeCommand) -> Chosen {
    use LifeCommand as L;
    match command {
        L::Create(Later(args)) => layers(|app| run::create(app, *args).map_err(as_run)),
        L::Start(Later(args)) => {
            let needs = Needs::LayersOf(args.containers.clone());
            with_code(needs, move |app| lifecycle::start(app, &args))
        }
        L::Stop(Later(args)) => index(move |app| lifecycle::stop(app, &args)),
        L::Restart(Later(args)) => {
            let needs = Needs::LayersOf(args.containers.clone());
            Chosen { needs, ..layers(move |app| lifecycle::restart(app, &args)) }
        }
        L::Kill(Later(args)) => index(move |app| lifecycle::kill(app, &args)),
        L::Pause(Later(args)) => index(move |app| lifecycle::pause(app, &args)),
        L::Unpause(Later(args)) => index(move |app| lifecycle::unpause(app, &args)),
        L::Wait(Later(args)) => index(move |app| lifecycle::wait(app, &args)),
        L::Cp(Later(args)) => index(move |app| copy::copy(app, &args)),
        L::Exec(Later(args)) => with_code(Needs::Index, |app| exec::exec(app, *args)),
        L::Attach(Later(args)) => with_code(Needs::Index, move |app| attendance::attach(app, &args)),
        L::Update(Later(args)) => index(move |app| update::update(app, &args)),
        L::Top(Later(args)) => index(move |app| watching::top(app, &args)),
        L::Stats(Later(args)) => index(move |app| watching::stats(app, &args)),
        L::Logs(Later(args)) => index(move |app| lifecycle::logs(app, &args)),
        L::Port(Later(args)) => index(move |app| containers::port(app, &args)),
        L::Rename(Later(args)) => index(|app| lifecycle::rename(app, args)),
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
        BuilderCommand::Build(Later(args)) => layers(|app| build::build(app, *args)),
        BuilderCommand::History(command) => index(move |app| builds::builds(app, &command)),
        BuilderCommand::Prune(Later(args)) => layers(move |app| prune::cache(app, &args, print)),
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

/// A mistake in flags that `run` has as well, with its exit code.
fn as_run(error: CliError) -> CliError {
    match error {
        CliError::Usage(UsageError::Line(_)) => CliError::Run(Box::new(error)),
        error => error,
    }
}

fn layers(work: impl FnOnce(&App) -> Result<(), CliError> + 'static) -> Chosen {
    Chosen { needs: Needs::Layers, ..index(work) }
}
