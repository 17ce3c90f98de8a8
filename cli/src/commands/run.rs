//! `run` and `create`.

use super::{
    attendance, key_value_file,
    registry::{fetch, fetch_layers, fetch_quietly},
    session,
    signals::Signals,
};
use crate::{
    app::App,
    args::{ContainerArgs, CreateArgs, RunArgs},
    environment::{Environment, User},
    error::{CliError, UsageError},
    exit,
    monitor::{self, Caller},
    new_file::NewFile,
    options::{Foreground, PullWhen, RunOptions, TerminalUse, reference},
    streams::{self, print},
    terminal::Size,
};
use rbuild::{
    Attached, Container, ContainerRequest, ContainerStdio, Engine, MountRequest, MountedFrom, Platform,
    RequestedSource, Retention, Terminal, UnmetLimit,
};
use rbuild_docker_api::with_tag;
use std::io::{self, IsTerminal};

/// Runs a command in a new container; gives its exit code.
pub(super) fn run(app: &App, args: RunArgs) -> Result<u8, CliError> {
    let foreground = Foreground::new(&args)?;
    let options = RunOptions::new(args.container, &app.environment)?;
    let mut order = Order::prepare(app, options, &foreground)?;
    let (keys, passes_signals) = match foreground {
        Foreground::Leaves => {
            let container = order.make()?;
            // said before it is known whether it starts: one that does not stays
            print(&format!("{}\n", container.id))?;
            order.start(&container, Caller::Leaves)?;
            return Ok(0);
        }
        Foreground::Stays(keys, passes_signals) => (keys, passes_signals),
    };
    if order.runs_here()? {
        return order.run_here();
    }
    let types = order.request.stdin == ContainerStdio::Inherit;
    let signals = Signals::take()?;
    let container = order.make()?;
    let attached = order.start(&container, if types { Caller::Types } else { Caller::Watches })?;
    let part = attendance::Part::of(types, keys).for_container(&container).passing_signals(passes_signals);
    Ok(attendance::attend(&attached, &signals, part)?.code())
}

/// The container whose network is asked for, in words.
pub(super) fn other_network(args: &ContainerArgs) -> Option<String> {
    let other = args.network.network.iter().find_map(|mode| mode.strip_prefix("container:"))?;
    Some(other.to_owned())
}

/// Makes a container and prints its id.
pub(super) fn create(app: &App, args: CreateArgs) -> Result<(), CliError> {
    let options = RunOptions::new(args.container, &app.environment)?;
    let mut order = Order::prepare(app, options, &Foreground::Leaves)?;
    if order.request.stdin == ContainerStdio::Open {
        // the first one who is attached when it starts, and types, ends its input
        order.request.stdin = ContainerStdio::Inherit;
    }
    order.request.attached = true;
    print(&format!("{}\n", order.make()?.id))
}

/// What an ordinary user should know who asks for their own number in a container that sees their files, as users of docker do.
fn other_owner(request: &ContainerRequest, environment: &Environment) -> Option<String> {
    let id = request.user.as_deref()?.split(':').next()?;
    let is_own = environment.user == User::Ordinary && id.parse() == Ok(environment.uid);
    let is_of_host =
        |mount: &MountRequest| matches!(mount.source, RequestedSource::Other(MountedFrom::Host { .. }));
    (is_own && request.mounts.iter().any(is_of_host)).then(|| {
        format!(
            "-u {id} is another user than you in the container, where your files are those of root (0): without -u, what it \
             writes is yours"
        )
    })
}

/// A container that is asked for, and its image, which is there.
struct Order<'a> {
    app: &'a App,
    engine: Engine,
    request: ContainerRequest,
    pull: PullWhen,
    /// Where the container's id is to be written.
    cidfile: Option<NewFile>,
}

impl<'a> Order<'a> {
    /// Settles what is asked of the engine, and fetches the image if that is to be done.
    fn prepare(app: &'a App, options: RunOptions, foreground: &Foreground) -> Result<Self, CliError> {
        let pull = options.pull;
        if let Some(path) = options.cidfile.as_deref().filter(|path| path.exists()) {
            return Err(CliError::Refused(format!(
                "container ID file found, make sure the other container isn't running or delete {}",
                path.display()
            )));
        }
        // before there is a container whose id could not be written
        let cidfile = options.cidfile.as_deref().map(|path| NewFile::at(path, 0o644)).transpose()?;
        let engine = app.engine_with_registries(options.certificates)?;
        provide_image(app, &engine, &options)?;
        if let Some(warning) = options.network.warning {
            exit::warn(warning);
        }
        let request = request(options, foreground, &app.environment)?;
        if let Some(note) = other_owner(&request, &app.environment) {
            exit::warn(&note);
        }
        Ok(Self { app, engine, request, pull, cidfile })
    }

    /// True for a container that goes when its program ends, and that nothing has to stay with: no terminal, no health check.
    fn runs_here(&self) -> Result<bool, CliError> {
        let is_plain = self.request.retention == Retention::Remove && self.request.terminal == Terminal::None;
        Ok(is_plain && !self.engine.checks_health(&self.request)?)
    }

    /// Starts such a container with this process as its monitor: nobody looks at it later.
    fn run_here(&mut self) -> Result<u8, CliError> {
        let signals = Signals::take()?;
        let container = self.with_layers(|| self.engine.start(&self.request))?;
        self.tell(container.id(), container.other_platform())?;
        for UnmetLimit { flags, reason } in container.unmet_limits() {
            monitor::warn_of_limit(flags, reason);
        }
        if let Some(reason) = container.missing_network() {
            monitor::tell_of_network(reason);
        }
        let code = session::attend(container, &signals)?;
        Ok(code.clamp(0, 255) as u8)
    }

    /// Makes a container that others can start.
    fn make(&mut self) -> Result<Container, CliError> {
        let container = self.with_layers(|| self.engine.create(&self.request))?;
        self.tell(&container.id, container.other_platform())?;
        Ok(container)
    }

    /// Starts what was just made. One that was to be removed when it ends is removed when it does not start.
    fn start(&self, container: &Container, caller: Caller) -> Result<Attached, CliError> {
        let started = monitor::start(self.app, container, caller);
        if started.is_err() && container.remove_when_ended {
            self.engine.discard(container)?;
        }
        started
    }

    /// What `make` makes, which may be missing layers that are elsewhere.
    fn with_layers<T>(&self, make: impl Fn() -> Result<T, rbuild::Error>) -> Result<T, CliError> {
        match make() {
            Err(rbuild::Error::LayersElsewhere { .. }) if self.pull != PullWhen::Never => {
                let image = (self.request.image.as_str(), self.request.platform.as_slice());
                fetch_layers(self.app, &self.engine, image)?;
                Ok(make()?)
            }
            made => Ok(made?),
        }
    }

    /// Writes the id where it is asked for, and says if its programs are not this machine's own.
    fn tell(&mut self, id: &str, other: Option<&Platform>) -> Result<(), CliError> {
        if let Some(other) = other.filter(|_| self.request.platform.is_none()) {
            exit::warn(&format!(
                "The requested image's platform ({other}) does not match the detected host platform ({}) and no specific \
                 platform was requested",
                Platform::host()
            ));
        }
        self.cidfile.take().map_or(Ok(()), |file| file.write(id))
    }
}

/// Fetches the image if the store does not have it, or if it is to be fetched anyway.
fn provide_image(app: &App, engine: &Engine, options: &RunOptions) -> Result<(), CliError> {
    match options.pull {
        PullWhen::Never => return Ok(()),
        PullWhen::Always => {}
        PullWhen::Missing if engine.has_image(&options.image, options.platform.as_ref())? => return Ok(()),
        PullWhen::Missing => {
            let name = reference(&options.image)?;
            if !options.quiet {
                exit::tell(&format!("Unable to find image '{}' locally", with_tag(&name)));
            }
        }
    }
    let name = reference(&options.image)?;
    if options.quiet {
        fetch_quietly(engine, &name, options.platform.clone())
    } else {
        fetch(app, engine, &name, options.platform.clone())
    }
}

fn request(
    options: RunOptions,
    foreground: &Foreground,
    environment: &Environment,
) -> Result<ContainerRequest, CliError> {
    let labels = labels(&options)?;
    let mut env = Vec::new();
    for path in &options.env_files {
        env.extend(key_value_file::variables(path, environment)?);
    }
    env.extend(options.env);
    let terminal = match options.terminal {
        TerminalUse::None => Terminal::None,
        TerminalUse::Own => {
            let is_here = *foreground != Foreground::Leaves;
            if is_here && options.stdin == ContainerStdio::Inherit && !io::stdin().is_terminal() {
                return Err(UsageError::new("the input device is not a TTY").into());
            }
            let Size { rows, columns } = Size::of(streams::stdout());
            Terminal::Pty { rows, columns }
        }
    };
    let stdin = match (options.stdin, foreground) {
        // it stays open for those who come
        (ContainerStdio::Inherit, Foreground::Leaves) => ContainerStdio::Open,
        (stdin, _) => stdin,
    };
    let network = options.network;
    Ok(ContainerRequest {
        image: options.image,
        platform: options.platform,
        name: options.name,
        command: options.command,
        entrypoint: options.entrypoint,
        env,
        workdir: options.workdir,
        user: options.user,
        mounts: options.mounts.mounts.into_iter().map(absolute).collect::<Result<_, _>>()?,
        anonymous_volumes: options.mounts.anonymous,
        volumes_from: options.mounts.from,
        hostname: options.hostname,
        network: network.network,
        published: network.published,
        unnamed_ports: network.unnamed_ports,
        exposed: network.exposed,
        names: network.names,
        privileges: options.privileges,
        process: options.process,
        limits: options.limits,
        shm_size: options.shm_size,
        terminal,
        stdin,
        retention: options.retention,
        attached: *foreground != Foreground::Leaves,
        id_file: options.cidfile,
        labels,
        stop_signal: options.stop_signal,
        stop_timeout: options.stop_timeout,
        root_access: options.root_access,
        first: options.first,
        log: options.log,
        health: options.health,
    })
}

/// The labels of `--label-file`s and `--label`s.
fn labels(options: &RunOptions) -> Result<Vec<(String, String)>, CliError> {
    let mut labels = Vec::new();
    for path in &options.label_files {
        labels.extend(key_value_file::labels(path)?);
    }
    labels.extend(options.labels.iter().cloned());
    Ok(labels)
}

/// The same mount with an absolute path of the host.
fn absolute(mut mount: MountRequest) -> Result<MountRequest, CliError> {
    if let RequestedSource::Other(MountedFrom::Host { source, .. }) = &mut mount.source {
        *source = std::path::absolute(&*source).map_err(CliError::file("find", source.as_path()))?;
    }
    Ok(mount)
}
