//! Triggers as images keep them: what ONBUILD stores parses again to what it said.

use rbuild_parser::{Escape, Instruction, parse, parse_instruction};

fn trigger(text: &str) -> Result<Instruction, String> {
    parse_instruction(text, Escape::Backslash).map(|node| node.value).map_err(|error| error.to_string())
}

#[test]
fn stored_text_parses_again() {
    let stored = |text: &str| {
        let file = parse(format!("FROM a\n{text}").as_bytes()).unwrap();
        match file.stages[0].instructions[0].value.clone() {
            Instruction::Onbuild(onbuild) => onbuild.text,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(stored("ONBUILD RUN a \\\n b\n"), "RUN a  b");
    let text = stored("ONBUILD COPY <<A <<-'B' /d/\n$x\nA\n\ty\n\tB\n");
    assert_eq!(text, "COPY <<A <<-'B' /d/\n$x\nA\n\ty\nB");
    let Ok(Instruction::Copy(copy)) = trigger(&text) else { panic!("no COPY") };
    assert_eq!(copy.transfer.sources.len(), 2);
}

#[test]
fn a_trigger_is_one_instruction_that_may_be_one() {
    assert!(matches!(trigger("run x"), Ok(Instruction::Run(_))));
    assert_eq!(trigger("RUN a\nRUN b").unwrap_err(), "onbuild trigger should be a single expression");
    assert_eq!(trigger("RUN a\nENV b").unwrap_err(), "onbuild trigger should be a single expression");
    assert_eq!(trigger("").unwrap_err(), "file with no instructions");
    assert_eq!(
        trigger("FROM x").unwrap_err(),
        "dockerfile parse error on line 1: FROM isn't allowed as an ONBUILD trigger"
    );
    assert_eq!(
        trigger("MAINTAINER x").unwrap_err(),
        "dockerfile parse error on line 1: MAINTAINER isn't allowed as an ONBUILD trigger"
    );
    assert_eq!(
        trigger("ONBUILD RUN x").unwrap_err(),
        "dockerfile parse error on line 1: Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed"
    );
    assert_eq!(trigger("RUN <<A\nx").unwrap_err(), "unterminated heredoc");
}
