//! A whole file: logical lines one after the other, each read as an instruction, grouped into stages.

use crate::directives::{DirectiveReader, Taken};
use crate::flags::Flag;
use crate::instruction::{Keyword, unknown};
use crate::logical::{Gaps, LogicalLine};
use crate::physical::{FileText, PhysicalLines};
use crate::place::{Operands, Place};
use crate::{
    ArgDeclaration, Dockerfile, Escape, From, Heredoc, Instruction, InstructionProblem, Lines, Lint, Node,
    Onbuild, ParseError, Problem, Rule, Span, Spanned, Stage, Word, check, flags, heredoc, instruction,
    logical, onbuild,
};

/// Parses a Dockerfile.
///
/// Bytes that are not UTF-8 are accepted in comments only.
///
/// # Errors
/// [`ParseError`] with Docker's message. As in Docker, lines that cannot be read are reported before mistakes inside
/// instructions, whatever their order.
pub fn parse(text: &[u8]) -> Result<Dockerfile, ParseError> {
    read(text).map_err(|mut mistakes| mistakes.swap_remove(0))
}

/// All sure mistakes of a Dockerfile: first the one that [`parse`] reports, then the rest in the order of the file, at
/// most [`MAX_MISTAKES`]. Empty when it parses.
///
/// A mistake is sure when correcting those before it could not remove it. The search therefore ends at a word that is not
/// close to the name of an instruction, because it is probably a piece of the instruction before it.
#[must_use]
pub fn mistakes(text: &[u8]) -> Vec<ParseError> {
    read(text).err().unwrap_or_default()
}

/// The largest number of mistakes of one file that are reported at once.
pub const MAX_MISTAKES: usize = 10;

/// Mistakes inside instructions, in the order of the file.
#[derive(Debug, Default)]
struct Mistakes {
    found: Vec<ParseError>,
    /// True if the following lines may be misread.
    lost: bool,
}

impl Mistakes {
    /// Takes a mistake if it is sure. The first always is.
    fn take(&mut self, mistake: ParseError) {
        let is_first = self.found.is_empty();
        let (sure, lost) = match &mistake.problem {
            Problem::Instruction(InstructionProblem::UnknownInstruction { suggestion: None, .. }) => {
                (is_first, true)
            }
            // a FROM may be among the mistakes
            Problem::OutsideStage => (is_first, false),
            _ => (true, false),
        };
        if sure && !self.lost && self.found.len() < MAX_MISTAKES {
            self.found.push(mistake);
        }
        self.lost |= lost;
    }

    /// All mistakes, after one that takes precedence.
    fn behind(mut self, mistake: ParseError) -> Vec<ParseError> {
        self.found.truncate(MAX_MISTAKES - 1);
        self.found.insert(0, mistake);
        self.found
    }
}

/// The file, or its mistakes: at least one, the one to report first.
fn read(text: &[u8]) -> Result<Dockerfile, Vec<ParseError>> {
    let whole_file = |problem| vec![ParseError { problem, lines: None, span: None }];
    if text.is_empty() {
        return Err(whole_file(Problem::EmptyFile));
    }
    let text = FileText::new(text);
    let mut reader = Reader::new(&text, DirectiveReader::default());
    let mut file = Collected::default();
    let mut mistakes = Mistakes::default();
    let mut count = 0;
    loop {
        let added = match reader.next() {
            Ok(Some(node)) => file.add(node),
            Ok(None) => break,
            Err(error @ ParseError { problem: Problem::Instruction(_), .. }) => Err(error),
            // the file is read to its end first: a line that cannot be read takes precedence
            Err(error) => return Err(mistakes.behind(error)),
        };
        count += 1;
        if let Err(error) = added {
            mistakes.take(error);
        }
    }
    if !mistakes.found.is_empty() {
        return Err(mistakes.found);
    }
    if count == 0 {
        // the last line is reported, because an instruction could still have followed there
        let last = reader.lines.number().max(1);
        return Err(vec![ParseError::in_lines(Problem::NoInstructions, Lines { first: last, last })]);
    }
    if file.stages.is_empty() {
        return Err(whole_file(Problem::NoStages));
    }
    Ok(finished(reader, file))
}

/// The part before the first mistake of a Dockerfile, which may have no stage. Of its checks, those are made that Docker
/// makes before it looks for mistakes in an instruction: of the instruction with the mistake, too, and for empty lines of
/// all.
#[must_use]
pub fn beginning(text: &[u8]) -> Dockerfile {
    let text = FileText::new(text);
    let mut reader = Reader::new(&text, DirectiveReader::default());
    let mut file = Collected::default();
    let mut mistake = None;
    loop {
        let added = match reader.next() {
            Ok(Some(_)) if mistake.is_some() => Ok(()),
            Ok(Some(node)) => file.add(node),
            Ok(None) => break,
            Err(error @ ParseError { problem: Problem::Instruction(_), .. }) => Err(error),
            Err(_) => break,
        };
        if let (Err(error), None) = (added, &mistake) {
            mistake = Some(error.lines);
        }
    }
    let last = mistake.flatten().map_or(usize::MAX, |lines| lines.last);
    reader.lints.retain(|lint| lint.rule == Rule::NoEmptyContinuation || lint.lines.first <= last);
    finished(reader, file)
}

fn finished(reader: Reader<'_>, file: Collected) -> Dockerfile {
    let mut lints = reader.lints;
    lints.extend(check::findings(&file.global_args, &file.stages));
    lints.sort_by_key(|lint| lint.lines);
    Dockerfile {
        directives: reader.directives.finish(),
        global_args: file.global_args,
        stages: file.stages,
        lints,
    }
}

/// Parses one ONBUILD trigger as an image's config keeps it, here-documents in the text included.
///
/// # Errors
/// [`ParseError`] as for a file; also when the text is not exactly one instruction, or one that may not be a trigger.
pub fn parse_instruction(text: &str, escape: Escape) -> Result<Node<Instruction>, ParseError> {
    let text = FileText::new(text.as_bytes());
    let mut reader = Reader::new(&text, DirectiveReader::without_directives(escape));
    let Some(node) = reader.next()? else {
        return Err(ParseError { problem: Problem::NoInstructions, lines: None, span: None });
    };
    if !matches!(reader.next(), Ok(None)) {
        let problem = Problem::Instruction(InstructionProblem::NotOneTrigger);
        return Err(ParseError { problem, lines: None, span: None });
    }
    let refused = |problem| {
        let problem = Problem::Instruction(problem);
        Err(ParseError { problem, lines: Some(node.lines), span: Some(node.keyword.span) })
    };
    if let Err(problem) = onbuild::trigger_keyword(&node.keyword.value) {
        return refused(problem);
    }
    match node.value {
        Statement::Instruction(instruction) => Ok(Node {
            value: instruction,
            keyword: node.keyword,
            span: node.span,
            lines: node.lines,
            text: node.text,
            comments: node.comments,
        }),
        Statement::From(_) => refused(InstructionProblem::ForbiddenTrigger { trigger: "FROM" }),
    }
}

/// The possible contents of a line.
#[derive(Debug)]
enum Statement {
    From(From),
    Instruction(Instruction),
}

/// Instructions sorted into the scopes of a file.
#[derive(Debug, Default)]
struct Collected {
    global_args: Vec<Node<Vec<ArgDeclaration>>>,
    stages: Vec<Stage>,
}

impl Collected {
    fn add(&mut self, node: Node<Statement>) -> Result<(), ParseError> {
        let Node { value, keyword, span, lines, text, comments } = node;
        match (value, self.stages.last_mut()) {
            (Statement::From(value), _) => {
                let from = Node { value, keyword, span, lines, text, comments };
                self.stages.push(Stage { from, instructions: Vec::new() });
            }
            (Statement::Instruction(value), Some(stage)) => {
                stage.instructions.push(Node { value, keyword, span, lines, text, comments });
            }
            (Statement::Instruction(Instruction::Arg(value)), None) => {
                self.global_args.push(Node { value, keyword, span, lines, text, comments });
            }
            (Statement::Instruction(_), None) => {
                let span = Some(keyword.span);
                return Err(ParseError { problem: Problem::OutsideStage, lines: Some(lines), span });
            }
        }
        Ok(())
    }
}

/// Reads instructions one by one.
struct Reader<'a> {
    lines: PhysicalLines<'a>,
    directives: DirectiveReader,
    comments: Vec<Word>,
    lints: Vec<Lint>,
}

impl<'a> Reader<'a> {
    fn new(text: &'a FileText<'_>, directives: DirectiveReader) -> Self {
        Self { lines: text.lines(), directives, comments: Vec::new(), lints: Vec::new() }
    }

    /// The next instruction with its here-documents.
    fn next(&mut self) -> Result<Option<Node<Statement>>, ParseError> {
        while let Some(line) = self.lines.next()? {
            if self.directives.take(&line)? == Taken::Yes {
                continue;
            }
            if let Some((text, span)) = line.comment() {
                match text {
                    "" => self.comments.clear(),
                    text => self.comments.push(Spanned { value: text.to_owned(), span }),
                }
                continue;
            }
            let escape = self.directives.escape();
            if let Some(joined) = logical::join(line, &mut self.lines, escape)? {
                return self.instruction(&joined).map(Some);
            }
        }
        Ok(None)
    }

    fn instruction(&mut self, line: &LogicalLine<'_>) -> Result<Node<Statement>, ParseError> {
        let lines = Lines { first: line.first, last: line.last };
        if line.gaps == Gaps::Some {
            let lines = Lines { first: line.last, last: line.last };
            let message = "Empty continuation line".to_owned();
            self.lints.push(Lint { rule: Rule::NoEmptyContinuation, message, lines });
        }
        let comments = std::mem::take(&mut self.comments);
        let place = Place::new(&line.text, &line.pieces);
        let split = Split::new(&line.text, &place, self.directives.escape());
        let mut node = Node {
            value: (),
            keyword: place.word(split.keyword),
            span: Span { start: place.span(&line.text).start, end: line.end },
            lines,
            text: line.text.trim().to_owned(),
            comments,
        };
        let heredocs = self.heredocs(&split, &mut node)?;
        if Keyword::from_name(split.keyword) == Some(Keyword::From) {
            check::from_words(split.keyword, split.operands.text, node.lines, &mut self.lints);
        }
        let value = statement(split, heredocs).map_err(|error| ParseError {
            lines: Some(node.lines),
            span: error.span.or(Some(node.keyword.span)),
            problem: error.problem,
        })?;
        let Node { value: (), keyword, span, lines, text, comments } = node;
        Ok(Node { value, keyword, span, lines, text, comments })
    }

    /// Reads the bodies of the here-documents on a line, and moves the node's end behind them.
    fn heredocs(&mut self, split: &Split<'_>, node: &mut Node<()>) -> Result<Vec<Heredoc>, ParseError> {
        if !split.announces_heredocs() {
            return Ok(Vec::new());
        }
        let markers = heredoc::markers(split.line);
        let (heredocs, end) = heredoc::bodies(markers, &mut self.lines, node.lines.first)?;
        if let Some(end) = end {
            node.lines.last = end.line;
            node.span.end = end.offset;
        }
        Ok(heredocs)
    }
}

/// An instruction cut into keyword, flags and operands.
#[derive(Debug)]
struct Split<'a> {
    /// The joined line.
    line: &'a str,
    keyword: &'a str,
    flags: Vec<Flag>,
    operands: Operands<'a>,
}

impl<'a> Split<'a> {
    fn new(line: &'a str, place: &'a Place<'a>, escape: Escape) -> Self {
        let (keyword, rest) = split_keyword(line);
        let (flags, text) = flags::split(rest, place, escape);
        Self { line, keyword, flags, operands: Operands { text, place, escape } }
    }

    /// The instruction after ONBUILD.
    fn trigger(&self) -> Self {
        Self::new(self.operands.text, self.operands.place, self.operands.escape)
    }

    /// True if here-documents may stand on the line, which the JSON form excludes.
    fn announces_heredocs(&self) -> bool {
        if !self.line.contains("<<") {
            return false;
        }
        match Keyword::from_name(self.keyword) {
            Some(Keyword::Onbuild) => {
                let trigger = self.trigger();
                Keyword::from_name(trigger.keyword) != Some(Keyword::Onbuild) && trigger.announces_heredocs()
            }
            Some(keyword) => {
                keyword.takes_heredocs()
                    && !matches!(crate::json::exec_form(&self.operands), Ok(Some(_)) | Err(_))
            }
            None => false,
        }
    }
}

/// The first word of a line, and what follows the blank behind it.
fn split_keyword(line: &str) -> (&str, &str) {
    let trimmed = line.trim();
    match trimmed.find(['\t', '\u{b}', '\u{c}', '\r', ' ']) {
        Some(end) => (&trimmed[..end], &trimmed[end + 1..]),
        None => (trimmed, &trimmed[trimmed.len()..]),
    }
}

fn statement(split: Split<'_>, heredocs: Vec<Heredoc>) -> Result<Statement, ParseError> {
    let wrong = |problem| Err(ParseError { problem: Problem::Instruction(problem), lines: None, span: None });
    match Keyword::from_name(split.keyword) {
        None => wrong(unknown(split.keyword)),
        Some(Keyword::From) => Ok(Statement::From(instruction::from(split.flags, &split.operands)?)),
        Some(Keyword::Onbuild) if split.operands.text.is_empty() => {
            wrong(InstructionProblem::AtLeastOneArgument { instruction: "ONBUILD" })
        }
        Some(Keyword::Onbuild) => Ok(Statement::Instruction(Instruction::Onbuild(trigger(split, heredocs)?))),
        Some(keyword) => instruction::instruction(keyword, split.flags, &split.operands, heredocs)
            .map(Statement::Instruction),
    }
}

fn trigger(split: Split<'_>, heredocs: Vec<Heredoc>) -> Result<Onbuild, ParseError> {
    let inner = split.trigger();
    let wrong = |problem| ParseError {
        problem: Problem::Instruction(problem),
        lines: None,
        span: Some(split.operands.place.span(inner.keyword)),
    };
    let keyword = match onbuild::trigger_keyword(inner.keyword) {
        Ok(keyword) => Ok(keyword),
        Err(unknown @ InstructionProblem::UnknownInstruction { .. }) => Err(unknown),
        Err(forbidden) => return Err(wrong(forbidden)),
    };
    instruction::without_flags(split.flags)?;
    let text = onbuild::trigger_text(split.line, split.keyword, &heredocs);
    // the text keeps a `--` that ends the flags of ONBUILD, and the image's child looks for the instruction there
    let keyword = match split_keyword(&text).0 {
        first if first == inner.keyword => keyword,
        first => Err(unknown(first)),
    };
    let instruction = keyword.map_err(wrong).and_then(|keyword| {
        instruction::instruction(keyword, inner.flags, &inner.operands, heredocs).map(Box::new)
    });
    match instruction {
        // a line that cannot even be split into words
        Err(error) if !matches!(error.problem, Problem::Instruction(_)) => Err(error),
        instruction => {
            Ok(Onbuild { text, instruction: instruction.map_err(|error| error.problem.to_string()) })
        }
    }
}
