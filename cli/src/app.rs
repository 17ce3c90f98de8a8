//! From the first word of the command line to the exit code.

use crate::{
    args::{
        BuilderCommand, Cli, Command, ContainerCommand, GlobalArgs, ImageCommand, Mistake, SystemCommand,
        complete, mistake,
    },
    commands::{self, ObjectKind},
    credentials::{Configuration, configuration},
    environment::{Environment, User},
    error::{CliError, UsageError},
    exit,
    options::{Certificates, is_url},
};
use clap::{CommandFactory, FromArgMatches};
use rbuild::{Engine, EngineOptions};
use rbuild_registry::ClientOptions;
use std::{
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
    process::ExitCode,
};

/// What commands are given besides their arguments.
pub(crate) struct App {
    /// The surroundings.
    pub(crate) environment: Environment,
    /// The store.
    root: PathBuf,
}

/// Runs the program.
pub(crate) fn run() -> ExitCode {
    let environment = Environment::capture();
    let color = environment.color();
    let cli = match parse(std::env::args_os().collect()) {
        Ok(cli) => cli,
        Err(Unparsed::Clap(error)) => {
            // help and versions are answers, not mistakes
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS };
        }
        Err(Unparsed::Usage(error)) => {
            let error = CliError::Usage(error);
            exit::report(&error, color);
            return ExitCode::from(exit::code(&error));
        }
    };
    let app = App::new(environment, &cli.global);
    let done = app.enter_namespace(&cli.command).and_then(|()| dispatch(&app, cli.command));
    match done {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            exit::report(&error, color);
            ExitCode::from(exit::code(&error))
        }
    }
}

impl App {
    fn new(environment: Environment, global: &GlobalArgs) -> Self {
        let root = global.root.clone().unwrap_or_else(|| environment.store_root());
        Self { environment, root }
    }

    /// The engine, for commands that talk to no registry.
    ///
    /// # Errors
    /// [`CliError::Engine`] when the store cannot be opened.
    pub(crate) fn engine(&self) -> Result<Engine, CliError> {
        self.open(ClientOptions::default(), 1)
    }

    /// The engine, for commands that may talk to a registry, and the configuration it was opened with. At most `jobs`
    /// build steps will run at once.
    ///
    /// # Errors
    /// [`CliError::Configuration`], [`CliError::Engine`].
    pub(crate) fn configured_engine(
        &self,
        certificates: Certificates,
        jobs: usize,
    ) -> Result<(Engine, Configuration), CliError> {
        let configuration = configuration(&self.environment, certificates)?;
        let engine = self.open(configuration.registry.clone(), jobs)?;
        Ok((engine, configuration))
    }

    fn open(&self, registry: ClientOptions, jobs: usize) -> Result<Engine, CliError> {
        Ok(Engine::open(EngineOptions { root: self.root.clone(), jobs, registry })?)
    }

    /// Makes an ordinary user root of a namespace of their own, for commands that write files of several owners.
    fn enter_namespace(&self, command: &Command) -> Result<(), CliError> {
        match (self.environment.user, works_on_layers(command)) {
            (User::Ordinary, true) => {
                rbuild_sys::userns::enter_user_namespace().map(|_| ()).map_err(CliError::UserNamespace)
            }
            (User::Ordinary, false) | (User::Root, _) => Ok(()),
        }
    }
}

/// Why there is no command line.
enum Unparsed {
    Clap(clap::Error),
    Usage(UsageError),
}

fn parse(words: Vec<OsString>) -> Result<Cli, Unparsed> {
    let mut command = Cli::command();
    let mut words = complete(words, &command, is_context);
    if words.len() < 2 {
        words.push("--help".into());
    }
    let parsed = command
        .try_get_matches_from_mut(words)
        .and_then(|mut matches| Cli::from_arg_matches_mut(&mut matches));
    parsed.map_err(|error| match mistake(&error, &command) {
        Some(Mistake::Command(message)) => Unparsed::Usage(UsageError::Command(message)),
        Some(Mistake::Count(message)) => Unparsed::Usage(UsageError::new(message)),
        None => Unparsed::Clap(error),
    })
}

/// Whether a first word that is not a command can be meant as a build context. What is written as a path or a URL can,
/// even if nothing is there: then the build says so.
fn is_context(word: &OsStr) -> bool {
    let text = word.to_string_lossy();
    text == "-"
        || text.starts_with('.')
        || text.contains('/')
        || is_url(&text)
        || Path::new(word).symlink_metadata().is_ok()
}

/// Whether the command makes, unpacks or removes layers.
fn works_on_layers(command: &Command) -> bool {
    match command {
        Command::Build(_)
        | Command::Plan(_)
        | Command::Run(_)
        | Command::Load(_)
        | Command::Save(_)
        | Command::Import(_)
        | Command::Pull(_)
        | Command::Push(_)
        | Command::Commit(_)
        | Command::Rm(_)
        | Command::Rmi(_)
        | Command::Df(_)
        | Command::Prune(_)
        | Command::Builder(_)
        | Command::Buildx(_)
        | Command::System(_) => true,
        Command::Image(image) => !matches!(
            image,
            ImageCommand::Ls(_) | ImageCommand::History(_) | ImageCommand::Inspect(_) | ImageCommand::Tag(_)
        ),
        Command::Container(container) => {
            !matches!(container, ContainerCommand::Ls(_) | ContainerCommand::Inspect(_))
        }
        Command::Check(_)
        | Command::Images(_)
        | Command::History(_)
        | Command::Inspect(_)
        | Command::Tag(_)
        | Command::Ps(_)
        | Command::Login(_)
        | Command::Logout(_)
        | Command::Version(_) => false,
    }
}

fn dispatch(app: &App, command: Command) -> Result<u8, CliError> {
    use {BuilderCommand as B, Command as C, ContainerCommand as K, ImageCommand as I, SystemCommand as S};
    let done = match command {
        C::Run(args) | C::Container(K::Run(args)) => {
            return commands::run(app, *args).map_err(|error| CliError::Run(Box::new(error)));
        }
        C::Build(args) | C::Image(I::Build(args)) => commands::build(app, *args),
        C::Plan(args) => commands::plan(app, *args),
        C::Check(args) => commands::check(app, *args),
        C::Builder(B::Build(args)) | C::Buildx(B::Build(args)) => commands::build(app, *args),
        C::Builder(B::Prune(args)) | C::Buildx(B::Prune(args)) => commands::prune_cache(app, &args),
        C::Images(args) | C::Image(I::Ls(args)) => commands::images(app, &args),
        C::History(args) | C::Image(I::History(args)) => commands::history(app, &args),
        C::Inspect(args) => commands::inspect(app, &args, ObjectKind::Any),
        C::Image(I::Inspect(args)) => commands::inspect(app, &args, ObjectKind::Image),
        C::Container(K::Inspect(args)) => commands::inspect(app, &args, ObjectKind::Container),
        C::Tag(args) | C::Image(I::Tag(args)) => commands::tag(app, &args),
        C::Rmi(args) | C::Image(I::Rm(args)) => commands::remove_images(app, &args),
        C::Save(args) | C::Image(I::Save(args)) => commands::save(app, &args),
        C::Load(args) | C::Image(I::Load(args)) => commands::load(app, &args),
        C::Import(args) | C::Image(I::Import(args)) => commands::import(app, &args),
        C::Image(I::Prune(args)) => commands::prune_images(app, &args),
        C::Pull(args) | C::Image(I::Pull(args)) => commands::pull(app, &args),
        C::Push(args) | C::Image(I::Push(args)) => commands::push(app, &args),
        C::Login(args) => commands::login(app, args),
        C::Logout(args) => commands::logout(app, &args),
        C::Ps(args) | C::Container(K::Ls(args)) => commands::containers(app, &args),
        C::Rm(args) | C::Container(K::Rm(args)) => commands::remove_containers(app, &args),
        C::Commit(args) | C::Container(K::Commit(args)) => commands::commit(app, args),
        C::Container(K::Prune(args)) => commands::prune_containers(app, &args),
        C::Df(args) | C::System(S::Df(args)) => commands::usage(app, &args),
        C::Prune(args) | C::System(S::Prune(args)) => commands::prune_everything(app, &args),
        C::Version(args) => commands::version(app, &args),
    };
    done.map(|()| 0)
}
