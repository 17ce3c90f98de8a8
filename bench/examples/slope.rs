//! Whether parsing and planning take time and memory in proportion to the file: each input below is made at an eighth, a
//! quarter, a half and the whole of its size, and the exponent is fitted to what was measured.
//!
//! Every measurement is a process of its own, so that none has the memory of another one, and counts the time on a
//! processor, so that a busy machine changes little. Findings of the checks are part of planning.
//!
//!     cargo run --release -p rbuild-bench --example slope [INPUT…]

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "its output is what it is for")]

use rbuild_oci::{ImageConfig, Platform};
use rbuild_planner::{Plan, PlanError, PlanOptions, ResolvedImage};
use std::fmt::Write as _;
use std::process::Command;

/// An input by its name, its whole size, and what makes it.
struct Input {
    name: &'static str,
    size: usize,
    text: fn(usize) -> String,
}

/// The inputs. Sizes are those the language is promised for: a file of 10 MB, 100,000 instructions, 10,000 stages.
const INPUTS: &[Input] = &[
    Input { name: "lines of one RUN, continued (10 MB)", size: 600_000, text: continuations },
    Input { name: "bytes of one quoted ENV value", size: 10_000_000, text: long_value },
    Input { name: "comments between instructions", size: 100_000, text: comments },
    Input { name: "comments and blank lines in one RUN", size: 500_000, text: inner_comments },
    Input { name: "instructions of every kind", size: 100_000, text: instructions },
    Input { name: "unknown variables", size: 100_000, text: unknown_variables },
    Input { name: "ENVs", size: 100_000, text: envs },
    Input { name: "ENVs, each with a RUN", size: 50_000, text: envs_and_runs },
    Input { name: "words of one ENV", size: 100_000, text: env_words },
    Input { name: "LABELs", size: 100_000, text: labels },
    Input { name: "ARGs, each made of the one before", size: 100_000, text: arg_chain },
    Input { name: "ARGs before FROM", size: 100_000, text: global_args },
    Input { name: "ARGs without value", size: 100_000, text: bare_args },
    Input { name: "here-documents of one RUN", size: 10_000, text: run_heredocs },
    Input { name: "here-documents of one COPY", size: 10_000, text: copy_heredocs },
    Input { name: "mounts of one RUN", size: 10_000, text: mounts },
    Input { name: "sources of one COPY", size: 100_000, text: sources },
    Input { name: "ports of one EXPOSE", size: 60_000, text: ports },
    Input { name: "words nested in each other", size: 10_000, text: nested },
    Input { name: "words with 90 levels", size: 10_000, text: often_nested },
    Input { name: "stages, independent", size: 10_000, text: stages },
    Input { name: "stages, each FROM the one before", size: 10_000, text: chain },
    Input { name: "stages FROM one with as many ENVs", size: 10_000, text: star },
    Input { name: "COPY --from of one stage", size: 100_000, text: copies_of_one },
    Input { name: "COPY --from of each stage", size: 10_000, text: copies_of_all },
    Input { name: "stages found through ONBUILD", size: 10_000, text: trigger_chain },
    Input { name: "FROMs with unknown variables", size: 10_000, text: unknown_bases },
];

fn repeated(head: &str, size: usize, mut line: impl FnMut(&mut String, usize)) -> String {
    let mut text = head.to_owned();
    (0..size).for_each(|index| line(&mut text, index));
    text
}

macro_rules! lines {
    ($head:expr, $size:expr, $index:ident, $($line:tt)*) => {
        repeated($head, $size, |text, $index| writeln!(text, $($line)*).expect("writing to a string never fails"))
    };
}

fn continuations(size: usize) -> String {
    lines!("FROM a\nRUN true", size, _n, " \\\n && echo more").replace("more\n", "more")
}

fn long_value(size: usize) -> String {
    format!("FROM a\nENV A=\"{}\"\nRUN true", lines!("", size / 1000, _n, "{}\\", "$A b c ".repeat(142)))
}

fn comments(size: usize) -> String {
    lines!("FROM a\n", size, n, "# comment {n}\nUSER u")
}

fn inner_comments(size: usize) -> String {
    lines!("FROM a\nRUN true \\\n", size, n, "# {n}\n") + "done"
}

fn instructions(size: usize) -> String {
    const KINDS: [&str; 20] = [
        "RUN --mount=type=cache,target=/c make \"$A\" && echo '$B'",
        "RUN [\"make\", \"a b\"]",
        "RUN make \\\n  install",
        "RUN <<EOF\nmake\nEOF",
        "COPY --chown=1:1 --link a b /c/",
        "COPY <<A <<B /d/\n$A\nA\n$B\nB",
        "COPY [\"a b\", \"c\"]",
        "ADD https://example.com/a.tar.gz /d",
        "ENV A=b B=\"$A c\" C=${B:-d}",
        "ENV A b",
        "ARG D=${A#b}",
        "LABEL a=b c=\"d $A\"",
        "EXPOSE 80 443/tcp",
        "WORKDIR /w/${A}",
        "USER $A",
        "CMD [\"a\"]",
        "ENTRYPOINT a",
        "HEALTHCHECK --interval=5m CMD a",
        "VOLUME /v /w",
        "ONBUILD RUN make",
    ];
    lines!("FROM a\n", size, n, "{}", KINDS[n % KINDS.len()])
}

fn unknown_variables(size: usize) -> String {
    lines!("FROM a\n", size, n, "ENV A{n}=$unknown{n}")
}

fn envs(size: usize) -> String {
    lines!("FROM a\n", size, n, "ENV A{n}=b{n}") + "RUN true $A0"
}

fn envs_and_runs(size: usize) -> String {
    lines!("FROM a\n", size, n, "ENV A{n}=b{n}\nRUN echo $A{n}")
}

fn env_words(size: usize) -> String {
    lines!("FROM a\nENV X=1", size, n, " \\\n A{n}=b$X").replace("$X\n", "$X")
}

fn labels(size: usize) -> String {
    lines!("FROM a\n", size, n, "LABEL a{n}=\"b {n}\"")
}

fn arg_chain(size: usize) -> String {
    lines!("FROM a\nARG A0=b\n", size, n, "ARG A{}=${{A{n}}}", n + 1) + "RUN true"
}

fn global_args(size: usize) -> String {
    lines!("ARG A0=b\n", size, n, "ARG A{}=$A{n}", n + 1) + "FROM $A1\nARG A2"
}

fn bare_args(size: usize) -> String {
    lines!("FROM a\n", size, n, "ARG A{n}\nUSER x$A{n}")
}

fn run_heredocs(size: usize) -> String {
    lines!("FROM a\nRUN cat", size, n, " \\\n <<E{n}").replace("\n \\", " \\")
        + &lines!("", size, n, "body {n}\nE{n}")
}

fn copy_heredocs(size: usize) -> String {
    lines!("FROM a\nCOPY", size, n, " \\\n <<E{n}").replace("\n \\", " \\").trim_end().to_owned()
        + " /d/\n"
        + &lines!("", size, n, "body {n}\nE{n}")
}

fn mounts(size: usize) -> String {
    lines!("FROM a\nRUN", size, n, " \\\n --mount=type=bind,from=a,target=/m{n}")
        .replace("\n \\", " \\")
        .trim_end()
        .to_owned()
        + " true"
}

fn sources(size: usize) -> String {
    lines!("FROM a\nCOPY", size, n, " \\\n s{n}").replace("\n \\", " \\").trim_end().to_owned() + " /d/"
}

fn ports(size: usize) -> String {
    lines!("FROM a\nEXPOSE", size, n, " \\\n {}", n + 1).replace("\n \\", " \\")
}

fn nested(size: usize) -> String {
    lines!("FROM a\nENV A=", size, _n, "${{a:-\\") + "b" + &lines!("\\\n", size, _n, "}}\\")
}

fn often_nested(size: usize) -> String {
    let word = "${a:-".repeat(90) + "b" + &"}".repeat(90);
    lines!("FROM a\n", size, _n, "USER {word}")
}

fn stages(size: usize) -> String {
    lines!("", size, n, "FROM a AS s{n}\nRUN make\n") + &lines!("FROM a\n", size, n, "COPY --from=s{n} a b")
}

fn chain(size: usize) -> String {
    lines!("FROM a AS s0\n", size, n, "FROM s{n} AS s{}\nENV A{n}=b\nLABEL a{n}=b\nRUN make", n + 1)
}

fn star(size: usize) -> String {
    lines!("FROM a AS base\n", size, n, "ENV A{n}=b")
        + &lines!("", size, n, "FROM base AS s{n}\nENV B=c\nRUN make")
        + &lines!("FROM a\n", size, n, "COPY --from=s{n} a b")
}

fn copies_of_one(size: usize) -> String {
    lines!("FROM a AS s\nRUN make\nFROM a\n", size, _n, "COPY --from=s a b")
}

fn copies_of_all(size: usize) -> String {
    lines!("FROM a AS s0\n", size, n, "FROM a AS s{}\nCOPY --from=s{n} a b", n + 1)
}

fn trigger_chain(size: usize) -> String {
    lines!(
        "FROM a AS b0\nRUN make\nFROM b0 AS s0\n",
        size,
        n,
        "FROM a AS b{m}\nONBUILD COPY --from=s{n} a b\nFROM b{m} AS s{m}",
        m = n + 1
    )
}

fn unknown_bases(size: usize) -> String {
    lines!("ARG A0=b\n", size, n, "ARG A{n}=b") + &lines!("", size, n, "FROM x$unknown{n}")
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [flag, name, size] = arguments.as_slice()
        && flag == "--once"
    {
        let input = INPUTS.iter().find(|input| input.name == name).expect("an input of that name");
        return measure(&(input.text)(size.parse().expect("a size")));
    }
    println!(
        "| n | what | bytes | parse | plan | time ~ n^ | memory | memory ~ n^ |\n|---|---|---|---|---|---|---|---|"
    );
    for input in INPUTS
        .iter()
        .filter(|input| arguments.is_empty() || arguments.iter().any(|a| input.name.contains(a.as_str())))
    {
        report(input);
    }
}

/// What one process measured.
struct Measured {
    bytes: u64,
    parse: u64,
    plan: u64,
    memory: u64,
}

fn report(input: &Input) {
    let sizes = [8, 4, 2, 1].map(|part| input.size / part);
    let measured = sizes.map(|size| once(input.name, size));
    let time = exponent(&sizes, &measured.each_ref().map(|m| m.parse + m.plan));
    let memory = exponent(&sizes, &measured.each_ref().map(|m| m.memory));
    let [.., whole] = &measured;
    let milliseconds = |nanoseconds: u64| format!("{:.1} ms", nanoseconds as f64 / 1e6);
    println!(
        "| {} | {} | {:.1} MB | {} | {} | {time:.2} | {:.0} MB | {memory:.2} |",
        input.size,
        input.name,
        whole.bytes as f64 / 1e6,
        milliseconds(whole.parse),
        milliseconds(whole.plan),
        whole.memory as f64 / 1024.0,
    );
}

fn once(name: &str, size: usize) -> Measured {
    let program = std::env::current_exe().expect("a path of its own");
    let output = Command::new(program).args(["--once", name, &size.to_string()]).output().expect("it runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let numbers: Vec<u64> = text.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    let [bytes, parse, plan, memory] = numbers[..] else {
        panic!("{name} with {size}: {}", String::from_utf8_lossy(&output.stderr))
    };
    Measured { bytes, parse, plan, memory }
}

/// The slope of the line through the logarithms, by least squares.
fn exponent(sizes: &[usize; 4], values: &[u64; 4]) -> f64 {
    let points = sizes.iter().zip(values).map(|(x, y)| ((*x as f64).ln(), (*y as f64).ln()));
    let (mut x, mut y, mut xx, mut xy) = (0.0, 0.0, 0.0, 0.0);
    for (log_x, log_y) in points {
        (x, y, xx, xy) = (x + log_x, y + log_y, xx + log_x * log_x, xy + log_x * log_y);
    }
    (4.0 * xy - x * y) / (4.0 * xx - x * x)
}

/// Prints the text's bytes, the nanoseconds to parse and to plan it, and the growth of memory in KiB, at its peak.
fn measure(text: &str) {
    let before = resident();
    let dockerfile = rbuild_parser::parse(text.as_bytes()).expect("it parses");
    drop(planned(&dockerfile));
    let memory = resident().saturating_sub(before).max(1);
    let parse = mean(|| drop(rbuild_parser::parse(text.as_bytes())));
    let plan = mean(|| drop(planned(&dockerfile)));
    println!("{} {parse} {plan} {memory}", text.len());
}

/// The nanoseconds `work` takes, on average. The kernel's count is some milliseconds behind.
fn mean(work: impl Fn()) -> u64 {
    let (started, mut times) = (on_processor(), 0);
    loop {
        work();
        times += 1;
        let passed = on_processor() - started;
        if passed > 150_000_000 {
            return passed / times;
        }
    }
}

/// What was found before a mistake is an outcome too: words nested too deep are one.
fn planned(dockerfile: &rbuild_parser::Dockerfile) -> Result<Plan, PlanError> {
    let graph = rbuild_planner::select(dockerfile.clone(), &PlanOptions::new(Platform::host()))?;
    let config = ImageConfig::scratch(&Platform::host());
    let image = ResolvedImage { id: config.id(), config, layers: 1 };
    let answers = graph.unresolved().into_iter().map(|wanted| (wanted, image.clone())).collect();
    let graph = graph.resolve(answers)?.finish();
    rbuild_planner::lower(graph.unwrap_or_else(|_| unreachable!("every image was answered")))
}

/// Nanoseconds this thread has had a processor.
fn on_processor() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("the kernel counts");
    text.split(' ').next().and_then(|word| word.parse().ok()).expect("a number")
}

/// The most memory this process has held, in KiB.
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").expect("the kernel tells");
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("it counts memory");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}
