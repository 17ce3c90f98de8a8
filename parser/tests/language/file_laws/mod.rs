//! Laws that hold for every file. Property tests, the cases and the fuzz target call the same function, which panics when
//! a law is broken.

use rbuild_parser::{
    Dockerfile, Escape, Instruction, Lines, MAX_LINE, Node, ParseError, Span, excerpt, parse,
    parse_instruction,
};

use crate::dump::{self, Places};

/// Checks the laws of files on a text, be it a Dockerfile or not.
pub(crate) fn check(bytes: &[u8]) {
    match parse(bytes) {
        Ok(file) => {
            places_lie_in_the_file(bytes, &file);
            what_is_printed_parses_to_the_same(&file);
            if let Ok(text) = std::str::from_utf8(bytes) {
                line_endings_mean_nothing(text, &file);
            }
            for node in file.stages.iter().flat_map(|stage| &stage.instructions) {
                triggers_survive_being_stored(node, file.directives.escape);
            }
        }
        Err(error) => errors_have_a_place(bytes, &error),
    }
}

fn places_lie_in_the_file(bytes: &[u8], file: &Dockerfile) {
    for span in dump::spans(file) {
        in_file(bytes, span);
    }
    let args = file.global_args.iter().map(|node| (&node.keyword, node.lines));
    let froms = file.stages.iter().map(|stage| (&stage.from.keyword, stage.from.lines));
    let instructions = file.stages.iter().flat_map(|stage| &stage.instructions);
    let instructions = instructions.map(|node| (&node.keyword, node.lines));
    for (keyword, lines) in args.chain(froms).chain(instructions) {
        let written = String::from_utf8_lossy(&bytes[keyword.span.range()]);
        // a keyword that is continued has more in its place than the word
        assert!(written == keyword.value || written.contains('\n'), "{written:?} is not {:?}", keyword.value);
        shown(bytes, lines);
    }
    file.lints.iter().for_each(|lint| shown(bytes, lint.lines));
}

fn errors_have_a_place(bytes: &[u8], error: &ParseError) {
    assert!(!error.to_string().is_empty());
    if let Some(span) = error.span {
        in_file(bytes, span);
    }
    if let Some(lines) = error.lines {
        shown(bytes, lines);
    }
}

fn in_file(bytes: &[u8], span: Span) {
    let inside = bytes.get(span.range());
    assert!(inside.is_some(), "{span:?} of {} bytes", bytes.len());
    if let Ok(text) = std::str::from_utf8(bytes) {
        assert!(text.get(span.range()).is_some(), "{span:?} cuts a character");
    }
}

fn shown(bytes: &[u8], lines: Lines) {
    assert!(1 <= lines.first && lines.first <= lines.last, "{lines:?}");
    let text = String::from_utf8_lossy(bytes);
    let shown = excerpt(&text, "Dockerfile", lines);
    let marked = shown.lines().filter(|line| line.contains(" | >>> ")).count();
    assert!(marked > lines.last - lines.first, "{lines:?} of\n{shown}");
}

fn what_is_printed_parses_to_the_same(file: &Dockerfile) {
    let printed = file.to_string();
    let again = parse(printed.as_bytes()).unwrap_or_else(|error| panic!("{error}\nprinted: {printed:?}"));
    assert_eq!(
        dump::dump(&again, Places::Hidden),
        dump::dump(file, Places::Hidden),
        "\nprinted: {printed:?}"
    );
    assert_eq!(again.to_string(), printed, "what is printed is printed as it is");
}

/// A file is the same with `\r\n`, and with or without a newline at its end. Bodies of here-documents are not: they are
/// kept byte for byte.
fn line_endings_mean_nothing(text: &str, file: &Dockerfile) {
    let long = text.split('\n').any(|line| line.len() + 2 > MAX_LINE);
    if text.contains("<<") || long {
        return;
    }
    for changed in [text.replace('\n', "\r\n"), format!("{text}\n")] {
        let again = parse(changed.as_bytes()).unwrap_or_else(|error| panic!("{error}\nin {changed:?}"));
        assert_eq!(dump::dump(&again, Places::Hidden), dump::dump(file, Places::Hidden), "\nin {changed:?}");
    }
}

/// The text that ONBUILD keeps for an image has the same meaning as in the file.
fn triggers_survive_being_stored(node: &Node<Instruction>, escape: Escape) {
    let Instruction::Onbuild(onbuild) = &node.value else { return };
    let stored = parse_instruction(&onbuild.text, escape);
    match (stored, &onbuild.instruction) {
        (Ok(stored), Ok(said)) => {
            let [stored, said] = [&stored.value, said.as_ref()].map(dump::instruction);
            assert_eq!(stored, said, "\nin {:?}", onbuild.text);
        }
        // alone, the text is a comment: a file with no instructions
        (Err(_), Err(_)) if onbuild.text.starts_with('#') => {}
        (Err(stored), Err(said)) => assert_eq!(stored.problem.to_string(), *said, "\nin {:?}", onbuild.text),
        (stored, said) => panic!("{stored:?}\n{said:?}\nin {:?}", onbuild.text),
    }
}
