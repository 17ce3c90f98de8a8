//! A syntax tree as stable, compact text.

use std::cell::RefCell;
use std::fmt::Write as _;

use rbuild_parser::{
    ArgDeclaration, CommandLine, Dockerfile, Healthcheck, Heredoc, Instruction, Lines, Node, Run, Source,
    Span, Transfer, Word,
};

/// The places of nodes in a dump, which only some tests need.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Places {
    Shown,
    Hidden,
}

pub(crate) struct Dump {
    places: Places,
    /// The places of everything that was written.
    spans: RefCell<Vec<Span>>,
    out: String,
}

pub(crate) fn dump(file: &Dockerfile, places: Places) -> String {
    let mut dump = Dump::new(places);
    dump.file(file);
    dump.out
}

/// An instruction without places.
pub(crate) fn instruction(instruction: &Instruction) -> String {
    Dump::new(Places::Hidden).instruction(instruction)
}

/// The places of everything in a file.
pub(crate) fn spans(file: &Dockerfile) -> Vec<Span> {
    let mut dump = Dump::new(Places::Hidden);
    dump.file(file);
    dump.spans.into_inner()
}

impl Dump {
    fn new(places: Places) -> Self {
        Self { places, spans: RefCell::default(), out: String::new() }
    }

    fn file(&mut self, file: &Dockerfile) {
        let directives = &file.directives;
        for (name, value) in [("syntax", &directives.syntax), ("check", &directives.check)] {
            if let Some(value) = value {
                let value = self.word(value);
                self.line(&format!("directive {name} {value}"));
            }
        }
        if directives.escape.as_char() != '\\' {
            self.line("directive escape `");
        }
        for node in &file.global_args {
            let value = self.args(&node.value);
            self.node("global ", node, &value);
        }
        for stage in &file.stages {
            let from = &stage.from.value;
            let mut value = self.word(&from.image);
            self.push(&mut value, "platform", from.platform.as_ref());
            self.push(&mut value, "as", from.name.as_ref());
            self.node("", &stage.from, &value);
            for node in &stage.instructions {
                let value = self.instruction(&node.value);
                self.node("  ", node, &value);
            }
        }
        if self.places == Places::Shown {
            for lint in &file.lints {
                self.line(&format!("{}: {:?}: {}", lines(lint.lines), lint.rule, lint.message));
            }
        }
    }

    fn node<T>(&mut self, indent: &str, node: &Node<T>, value: &str) {
        self.spans.get_mut().extend([node.keyword.span, node.span]);
        for comment in &node.comments {
            let comment = self.word(comment);
            self.line(&format!("{indent}# {comment}"));
        }
        if self.places == Places::Shown {
            let place = format!("{} {}", lines(node.lines), span(node.span));
            self.line(&format!("{indent}{place} {} {value}", node.keyword.value));
            self.line(&format!("{}    {:?}", " ".repeat(indent.len()), node.text));
        } else {
            self.line(&format!("{indent}{} {value}", node.keyword.value));
        }
    }

    fn instruction(&self, instruction: &Instruction) -> String {
        match instruction {
            Instruction::Add(add) => {
                let mut out = self.transfer(&add.transfer);
                self.push(&mut out, "checksum", add.checksum.as_ref());
                let _ = write!(out, " git={:?} unpack={:?}", add.keep_git_dir, add.unpack);
                out
            }
            Instruction::Copy(copy) => {
                let mut out = self.transfer(&copy.transfer);
                self.push(&mut out, "from", copy.from.as_ref());
                if copy.parents {
                    out.push_str(" parents");
                }
                out
            }
            Instruction::Arg(args) => self.args(args),
            Instruction::Cmd(command) | Instruction::Entrypoint(command) => self.command(command),
            Instruction::Env(pairs) | Instruction::Label(pairs) => {
                let words: Vec<String> = pairs
                    .pairs
                    .iter()
                    .map(|(key, value)| format!("{} = {}", self.word(key), self.word(value)))
                    .collect();
                format!("{:?} {}", pairs.form, words.join(", "))
            }
            Instruction::Expose(words) | Instruction::Volume(words) => self.words(words),
            Instruction::Healthcheck(Healthcheck::None) => "none".to_owned(),
            Instruction::Healthcheck(Healthcheck::Check {
                command,
                interval,
                timeout,
                start_period,
                start_interval,
                retries,
            }) => format!(
                "{} interval={interval} timeout={timeout} start={start_period}/{start_interval} retries={retries}",
                self.command(command)
            ),
            Instruction::Maintainer(word)
            | Instruction::Stopsignal(word)
            | Instruction::User(word)
            | Instruction::Workdir(word) => self.word(word),
            Instruction::Onbuild(onbuild) => {
                let parsed = match &onbuild.instruction {
                    Ok(instruction) => self.instruction(instruction),
                    Err(error) => format!("error: {error}"),
                };
                format!("{:?} => {parsed}", onbuild.text)
            }
            Instruction::Run(run) => self.run(run),
            Instruction::Shell(words) => format!("{words:?}"),
        }
    }

    fn run(&self, run: &Run) -> String {
        let mut out = self.command(&run.command);
        for (name, words) in [("mount", &run.mounts), ("device", &run.devices)] {
            for word in words {
                self.push(&mut out, name, Some(word));
            }
        }
        self.push(&mut out, "network", run.network.as_ref());
        self.push(&mut out, "security", run.security.as_ref());
        for heredoc in &run.heredocs {
            let _ = write!(out, "\n      {}", self.heredoc(heredoc));
        }
        out
    }

    fn transfer(&self, transfer: &Transfer) -> String {
        let sources: Vec<String> = transfer
            .sources
            .iter()
            .map(|source| match source {
                Source::Path(word) => self.word(word),
                Source::Heredoc(heredoc) => self.heredoc(heredoc),
            })
            .collect();
        let mut out = format!("[{}] -> {}", sources.join(", "), self.word(&transfer.destination));
        self.push(&mut out, "chown", transfer.chown.as_ref());
        self.push(&mut out, "chmod", transfer.chmod.as_ref());
        if transfer.link {
            out.push_str(" link");
        }
        for word in &transfer.exclude {
            self.push(&mut out, "exclude", Some(word));
        }
        out
    }

    fn heredoc(&self, heredoc: &Heredoc) -> String {
        format!(
            "heredoc {:?} fd={:?} {:?} {:?} body {} content {:?}",
            heredoc.name,
            heredoc.descriptor,
            heredoc.expansion,
            heredoc.tabs,
            self.word(&heredoc.body),
            heredoc.content()
        )
    }

    fn args(&self, args: &[ArgDeclaration]) -> String {
        let words: Vec<String> = args
            .iter()
            .map(|arg| match &arg.default {
                Some(default) => format!("{} = {}", self.word(&arg.name), self.word(default)),
                None => self.word(&arg.name),
            })
            .collect();
        words.join(", ")
    }

    fn command(&self, command: &CommandLine) -> String {
        match command {
            CommandLine::Shell(word) => format!("shell {}", self.word(word)),
            CommandLine::Exec(words) => format!("exec {words:?}"),
        }
    }

    fn words(&self, words: &[Word]) -> String {
        words.iter().map(|word| self.word(word)).collect::<Vec<_>>().join(", ")
    }

    fn word(&self, word: &Word) -> String {
        self.spans.borrow_mut().push(word.span);
        match self.places {
            Places::Shown => format!("{:?}@{}", word.value, span(word.span)),
            Places::Hidden => format!("{:?}", word.value),
        }
    }

    fn push(&self, out: &mut String, name: &str, word: Option<&Word>) {
        if let Some(word) = word {
            let _ = write!(out, " {name}={}", self.word(word));
        }
    }

    fn line(&mut self, line: &str) {
        self.out.push_str(line);
        self.out.push('\n');
    }
}

pub(crate) fn lines(lines: Lines) -> String {
    format!("{}-{}", lines.first, lines.last)
}

pub(crate) fn span(span: Span) -> String {
    format!("{}..{}", span.start, span.end)
}
