//! `builds logs`: what the steps of a build wrote, also while it runs.

use crate::{
    app::App,
    args::BuildsLogsArgs,
    build_report,
    error::{CliError, UsageError},
    exit::{self, class_code, signal_code},
    failure::in_one_line,
    streams::{print_data, print_log_lines, print_raw, print_step_output, stdout},
};
use rbuild::{BuildOutcome, BuildRecord, BuildState, Engine, RecordedStep, find_step};
use serde_json::json;
use std::{collections::BTreeMap, io::IsTerminal, thread, time::Duration};

/// How often a build that runs is looked at.
const PAUSE: Duration = Duration::from_millis(50);
/// Bytes of a line that are shown as one line.
const LONGEST_LINE: usize = 64 << 10;
/// The signal that ended a build which says nothing of its end.
const KILL: i32 = 9;

/// The form of the lines.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Plain,
    Json,
}

/// Shows one step's bytes and nothing else, or each step's after a line that names it.
pub(super) fn logs(app: &App, args: &BuildsLogsArgs) -> Result<(), CliError> {
    let form = match args.progress.as_deref() {
        None | Some("" | "auto" | "plain" | "tty") => Form::Plain,
        Some("json") => Form::Json,
        Some("rawjson") => {
            return Err(UsageError::unsupported(
                "--progress=rawjson (BuildKit's own format; json is rbuild's)",
            )
            .into());
        }
        Some(other) => {
            return Err(UsageError::new(format!("unknown progress {other:?}: plain or json")).into());
        }
    };
    let no_number = |text: &str| {
        UsageError::new(format!("invalid step {text:?}: give its number, as builds inspect shows it"))
    };
    let only =
        args.step.as_deref().map(|text| text.parse::<u32>().map_err(|_| no_number(text))).transpose()?;
    let engine = app.engine()?;
    let build = engine.find_build(&args.build)?;
    if args.follow || form == Form::Json {
        let mut lines = Lines { engine: &engine, build, form, only, open: BTreeMap::new(), named: None, app };
        lines.show()?;
        return if args.follow { ended(&engine, &lines.build) } else { Ok(()) };
    }
    let color = app.environment.color();
    if let Some(number) = only {
        let log = engine.build_log(&build.id, number)?;
        // the log of a build that runs may come before its plan
        let Some(log) = log else {
            let step = find_step(&build, number)?;
            exit::tell(&format!("{} has written nothing", build_report::heading(number, Some(step))));
            return Ok(());
        };
        return print_step_output("", log, color);
    }
    for number in engine.build_logs(&build.id)? {
        let Some(log) = engine.build_log(&build.id, number)? else { continue };
        print_step_output(&build_report::heading(number, step(&build, number)), log, color)?;
    }
    Ok(())
}

/// The lines of steps that may run at once.
struct Lines<'a> {
    app: &'a App,
    engine: &'a Engine,
    build: BuildRecord,
    form: Form,
    only: Option<u32>,
    /// Beginnings of lines, by step.
    open: BTreeMap<u32, Vec<u8>>,
    /// The step that was named last.
    named: Option<u32>,
}

impl Lines<'_> {
    /// Shows what was written, and what comes until the build ends.
    fn show(&mut self) -> Result<(), CliError> {
        let mut followed = self.engine.follow_build(&self.build.id);
        while followed.read(|step, bytes| self.add(step, bytes))? {
            thread::sleep(PAUSE);
        }
        for (step, rest) in std::mem::take(&mut self.open) {
            if !rest.is_empty() {
                self.line(step, &rest)?;
            }
        }
        Ok(())
    }

    fn add(&mut self, step: u32, bytes: &[u8]) -> Result<(), CliError> {
        if self.only.is_some_and(|only| only != step) {
            return Ok(());
        }
        if self.only.is_some() && self.form == Form::Plain && !stdout().is_terminal() {
            return print_raw(bytes);
        }
        let mut open = self.open.remove(&step).unwrap_or_default();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            open.extend_from_slice(piece);
            if piece.ends_with(b"\n") || open.len() >= LONGEST_LINE {
                self.line(step, open.strip_suffix(b"\n").unwrap_or(&open))?;
                open.clear();
            }
        }
        self.open.insert(step, open);
        Ok(())
    }

    fn line(&mut self, number: u32, line: &[u8]) -> Result<(), CliError> {
        if self.named != Some(number) && step(&self.build, number).is_none() {
            // the plan was not known when the build was found
            self.build = self.engine.find_build(self.build.id.as_str())?;
        }
        if let Some(before) = self.named.filter(|before| *before != number)
            && let Some(rest) = self.open.get_mut(&before).map(std::mem::take).filter(|rest| !rest.is_empty())
        {
            // a step that has ended leaves its last line so
            self.shown(before, &rest)?;
        }
        self.shown(number, line)
    }

    fn shown(&mut self, number: u32, line: &[u8]) -> Result<(), CliError> {
        let step = step(&self.build, number);
        if self.form == Form::Json {
            let (stage, name) = step.map_or(("", ""), |step| (&step.stage, &step.instruction));
            let text = String::from_utf8_lossy(line);
            let object = json!({"step": number, "stage": stage, "instruction": name, "text": text});
            return print_data(&format!("{object}\n"));
        }
        let is_new = self.named != Some(number) && self.only.is_none();
        let heading = is_new.then(|| build_report::heading(number, step));
        self.named = Some(number);
        print_log_lines(heading.as_deref(), line, self.app.environment.color())
    }
}

/// Ends as the build has ended.
fn ended(engine: &Engine, build: &BuildRecord) -> Result<(), CliError> {
    let build = engine.find_build(build.id.as_str())?;
    let code = match &build.state {
        // it says how it ended in this moment, or was killed
        BuildState::Running | BuildState::Unfinished => {
            exit::tell("The build was killed");
            signal_code(KILL)
        }
        BuildState::Ended(end) => match &end.outcome {
            BuildOutcome::Done { .. } => return Ok(()),
            BuildOutcome::Failed { causes, class } => {
                exit::tell(&format!("The build failed: {}", in_one_line(causes.iter().map(String::as_str))));
                class_code(*class)
            }
            BuildOutcome::Canceled => {
                exit::tell("The build was canceled");
                1
            }
        },
    };
    Err(CliError::Reported { code })
}

fn step(build: &BuildRecord, number: u32) -> Option<&RecordedStep> {
    build.steps().iter().find(|step| step.number == number)
}
