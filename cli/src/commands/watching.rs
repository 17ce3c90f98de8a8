//! `top` and `stats`.

use crate::{
    app::App,
    args::{StatsArgs, TopArgs},
    error::CliError,
    options::detail,
    streams::{self, answer, print},
    table::{Column, Format, Listing, spaced},
};
use rbuild::{Container, ContainerState, ContainerUse, Engine};
use rbuild_docker_api::StatsRow;
use std::{
    collections::HashMap,
    io::IsTerminal,
    process::Command,
    thread,
    time::{Duration, Instant},
};

/// Docker's table of processes has columns of at least so many characters, with so many blanks between them.
const COLUMN: (usize, usize) = (20, 3);

/// How long processors are looked at.
const INTERVAL: Duration = Duration::from_secs(1);
/// The same for what is shown once.
const ONCE: Duration = Duration::from_millis(500);

/// To the upper left corner, with everything below removed.
const REDRAW: &str = "\x1b[H\x1b[J";

const COLUMNS: &[Column] = &[
    Column { field: "BlockIO", heading: "BLOCK I/O" },
    Column { field: "CPUPerc", heading: "CPU %" },
    Column { field: "Container", heading: "CONTAINER" },
    Column { field: "ID", heading: "CONTAINER ID" },
    Column { field: "MemPerc", heading: "MEM %" },
    Column { field: "MemUsage", heading: "MEM USAGE / LIMIT" },
    Column { field: "Name", heading: "NAME" },
    Column { field: "NetIO", heading: "NET I/O" },
    Column { field: "PIDs", heading: "PIDS" },
];

/// Shows the processes of a container, as `ps` of the host does.
pub(super) fn top(app: &App, args: &TopArgs) -> Result<(), CliError> {
    let processes = app.engine()?.container_processes(&args.container)?;
    let usual = ["-ef".to_owned()];
    let options = if args.options.is_empty() { &usual[..] } else { &args.options };
    let ps = |which: Option<String>| {
        let output = Command::new("ps").args(options).args(which).output();
        output.map_err(CliError::file("execute", "ps"))
    };
    // without them, some options leave out processes of other terminals; with others it takes none
    let numbers: Vec<String> = processes.iter().map(ToString::to_string).collect();
    let mut output = ps(Some(format!("-q{}", numbers.join(","))))?;
    if !output.status.success() {
        output = ps(None)?;
    }
    let refused = |words: String| CliError::Refused(format!("ps: {words}"));
    if !output.status.success() {
        return Err(refused(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut lines = text.lines();
    let titles: Vec<&str> = lines.next().unwrap_or_default().split_whitespace().collect();
    let column = titles.iter().position(|title| *title == "PID");
    let column = column.ok_or_else(|| refused("there is no PID field in its output".to_owned()))?;
    let mut rows = vec![titles.iter().map(|title| (*title).to_owned()).collect()];
    for line in lines {
        let cells = cells(line, titles.len());
        let pid = cells.get(column).and_then(|cell| cell.parse().ok());
        if pid.is_some_and(|pid| processes.contains(&pid)) {
            rows.push(cells);
        }
    }
    print(&spaced(&rows, COLUMN.0, COLUMN.1))
}

/// The cells of a line of `ps`; the last one has the rest, blanks and all.
fn cells(line: &str, count: usize) -> Vec<String> {
    let mut rest = line.trim();
    let mut cells = Vec::with_capacity(count);
    while cells.len() + 1 < count {
        let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
        cells.push(rest[..end].to_owned());
        rest = rest[end..].trim_start();
    }
    cells.push(rest.to_owned());
    cells
}

/// Shows what containers use.
pub(super) fn stats(app: &App, args: &StatsArgs) -> Result<(), CliError> {
    let format = Format::parse(args.format.as_deref())?;
    let engine = app.engine()?;
    let mut before = Sample::take(&engine, args)?;
    let redraws = !args.no_stream && streams::stdout().is_terminal();
    loop {
        thread::sleep(if args.no_stream { ONCE } else { INTERVAL });
        let now = Sample::take(&engine, args)?;
        let rows = now.containers.iter().map(|(asked, container)| {
            let spent = now.spent(&before, container);
            let used = now.used.get(&container.id).copied().unwrap_or_default();
            let busy = spent.as_secs_f64() / now.at.duration_since(before.at).as_secs_f64();
            StatsRow::new(container, asked, detail(args.no_trunc), (&used, busy))
        });
        let shown = ["ID", "Name", "CPUPerc", "MemUsage", "MemPerc", "NetIO", "BlockIO", "PIDs"];
        let rendered = Listing::of(COLUMNS, &shown, rows).render(&format)?;
        if redraws {
            streams::redraw(REDRAW)?;
        }
        answer(&rendered)?;
        if args.no_stream {
            return Ok(());
        }
        before = now;
    }
}

/// What containers had used at one moment.
struct Sample {
    at: Instant,
    containers: Vec<(String, Container)>,
    used: HashMap<String, ContainerUse>,
}

impl Sample {
    fn take(engine: &Engine, args: &StatsArgs) -> Result<Self, CliError> {
        let containers = if args.containers.is_empty() {
            let all = engine.containers()?.into_iter();
            let shown = all.filter(|container| args.all || container.state == ContainerState::Running);
            shown.map(|container| (container.id[..12].to_owned(), container)).collect()
        } else {
            let found = args.containers.iter().map(|name| Ok((name.clone(), engine.container(name)?)));
            found.collect::<Result<Vec<_>, CliError>>()?
        };
        let mut used = HashMap::new();
        for (_, container) in &containers {
            if let Some(found) = engine.container_use(container)? {
                used.insert(container.id.clone(), found);
            }
        }
        Ok(Self { at: Instant::now(), containers, used })
    }

    /// The time of processors since `before`.
    fn spent(&self, before: &Self, container: &Container) -> Duration {
        let time = |sample: &Self| sample.used.get(&container.id).map(|used| used.processor_time);
        match (time(before), time(self)) {
            (Some(before), Some(now)) => now.saturating_sub(before),
            _ => Duration::ZERO,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_cell_has_the_rest() {
        assert_eq!(cells("root  7  sh -c  x", 3), ["root", "7", "sh -c  x"]);
        assert_eq!(cells("7", 3), ["7", "", ""]);
    }
}
