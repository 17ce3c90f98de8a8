//! From the first word of the command line to the exit code.

use crate::{
    app::App,
    args::{BeforeCommand, Cli, Mistake, complete, grouped, mistake, without_guesses},
    commands::{self, Chosen, Needs},
    environment::{Environment, User},
    error::{CliError, UsageError},
    exit, keeper, monitor,
    options::{is_url, without_a_log},
    shown::{Color, Shown, StepOutput},
    streams,
};
use clap::{Command, CommandFactory, FromArgMatches, error::ErrorKind};
use std::{
    ffi::{OsStr, OsString},
    io::IsTerminal,
    path::Path,
    process::ExitCode,
};

/// Runs the program.
pub(crate) fn run() -> ExitCode {
    let environment = Environment::capture();
    let color = environment.color();
    let mut words: Vec<OsString> = std::env::args_os().collect();
    if let Some(code) = monitor::run(&words, &environment).or_else(|| keeper::run(&words)) {
        return code;
    }
    let command = Cli::command();
    let before = BeforeCommand::take(&mut words, &command).map_err(Unparsed::Usage);
    let wrong = if makes_a_container(&words) { 125 } else { 2 };
    let (before, cli) = match before.and_then(|before| Ok((before, parse(words, command)?))) {
        Ok(parsed) => parsed,
        Err(Unparsed::Clap(error)) => return told_by_clap(&error, color, wrong),
        Err(Unparsed::Usage(error)) => {
            let error = CliError::Usage(error);
            exit::report(&error, color);
            return ExitCode::from(exit::code(&error));
        }
    };
    for name in before.idle {
        exit::warn(&without_a_log(name));
    }
    let environment = match before.config {
        Some(directory) => environment.with_docker_config(directory),
        None => environment,
    };
    let environment = match before.builder {
        Some(name) => environment.with_builder(name),
        None => environment,
    };
    let app = App::new(environment, &cli.global);
    let Chosen { needs, work } = commands::chosen(cli.command);
    let worked = enter_namespace(&app, &needs).and_then(|()| work(&app));
    app.tell_mended();
    match worked {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            exit::report(&error, color);
            ExitCode::from(exit::code(&error))
        }
    }
}

/// True if the command is `run`, whose exit code is the program's, so that rbuild's own mistakes have one of their own, or `create`,
/// which takes the same flags.
fn makes_a_container(words: &[OsString]) -> bool {
    let word = |at: usize| words.get(at).and_then(|word| word.to_str());
    let command = if word(1) == Some("container") { word(2) } else { word(1) };
    matches!(command, Some("run" | "create"))
}

/// Shows what clap answers: help is an answer, not a mistake, also when it comes for want of a command. `wrong` is the exit code of
/// a mistake.
fn told_by_clap(error: &clap::Error, color: Color, wrong: u8) -> ExitCode {
    let colored = color == Color::On && (error.use_stderr() || streams::stdout().is_terminal());
    let output = if colored { StepOutput::Colored } else { StepOutput::Plain };
    let mut text = Shown::default();
    error.render().ansi().to_string().lines().for_each(|line| text.step_line(line.as_bytes(), output));
    if error.use_stderr() {
        streams::tell(&text);
        match error.kind() {
            ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => ExitCode::SUCCESS,
            _ => ExitCode::from(wrong),
        }
    } else {
        // who has closed the stream does not want it
        let _ = streams::print_shown(&text);
        ExitCode::SUCCESS
    }
}

/// Makes an ordinary user root of a namespace of their own, for commands that write files of several owners, or of that of a
/// container whose network a program is to have.
fn enter_namespace(app: &App, needs: &Needs) -> Result<(), CliError> {
    let other = match (app.environment.user, needs) {
        (User::Root, _) | (User::Ordinary, Needs::Index) => return Ok(()),
        (User::Ordinary, Needs::Layers) => None,
        (User::Ordinary, Needs::LayersBeside(name)) => Some(name.clone()),
        (User::Ordinary, Needs::LayersOf(names)) => {
            let engine = app.engine()?;
            names.iter().find_map(|name| engine.container(name).ok()?.other_network().map(str::to_owned))
        }
    };
    if let Some(name) = other
        && app.engine()?.begin_beside(&name)?
    {
        return Ok(());
    }
    rbuild::enter_user_namespace().map(|_| ()).map_err(CliError::UserNamespace)
}

/// Why there is no command line.
enum Unparsed {
    Clap(clap::Error),
    Usage(UsageError),
}

fn parse(words: Vec<OsString>, mut command: Command) -> Result<Cli, Unparsed> {
    let mut words = complete(words, &command, is_context);
    if words.len() < 2 {
        words.push("--help".into());
    }
    if words.iter().skip(1).any(|word| word == "--help" || word == "-h") {
        command = grouped(command);
    }
    let parsed = command
        .try_get_matches_from_mut(words)
        .and_then(|mut matches| Cli::from_arg_matches_mut(&mut matches));
    parsed.map_err(|error| {
        let error = without_guesses(error, &command);
        match mistake(&error, &command) {
            Some(Mistake::Command(message)) => Unparsed::Usage(UsageError::Command(message)),
            Some(Mistake::Count(message)) => Unparsed::Usage(UsageError::new(message)),
            None => Unparsed::Clap(error),
        }
    })
}

/// True if a first word that is not a command can be meant as a build context. What is written as a path or a URL can,
/// even if nothing is there: then the build says so.
fn is_context(word: &OsStr) -> bool {
    let text = word.to_string_lossy();
    text == "-"
        || text.starts_with('.')
        || text.contains('/')
        || is_url(&text)
        || Path::new(word).symlink_metadata().is_ok()
}
