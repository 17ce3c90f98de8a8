//! What a mistake in a Dockerfile, or a failing step, looks like.
//!
//! Invariant: without colors the text is Docker's, byte for byte, and the mistake that is reported comes last; nothing is
//! shown by color alone. What the marked lines are is the engine's.

use crate::{
    progress::NAME_WIDTH,
    shown::{Color, Paint, Shown, StepOutput, one_line},
};
use rbuild::Diagnostic;
use rbuild_docker_api::shortened;

/// The mark in front of the lines a mistake is in.
const MARK: &str = ">>>";

/// Adds to `text` what is known of the place of a failure: the other mistakes of the file, the failing step with its last
/// lines, the excerpt of the Dockerfile.
pub(crate) fn render(diagnostic: &Diagnostic, color: Color, output: StepOutput, text: &mut Shown) {
    for other in &diagnostic.others {
        text.painted(&one_line(&other.place), Paint::Bold, color);
        text.text(&format!(": {}\n", one_line(&other.message)));
        if !other.line.is_empty() {
            excerpt_line(&other.line, color, text);
        }
    }
    if let Some((step, lines)) = &diagnostic.step {
        let step = shortened(&one_line(step.trim_end_matches(':')), NAME_WIDTH);
        text.painted("------", Paint::Dim, color);
        text.text("\n");
        text.painted(&format!(" > {step}:"), Paint::Bold, color);
        text.text("\n");
        for line in lines {
            text.step_line(line.trim_end_matches('\n').as_bytes(), output);
        }
        text.painted("------", Paint::Dim, color);
        text.text("\n");
    }
    let mut excerpt = diagnostic.excerpt.split_terminator('\n');
    if let Some(place) = excerpt.next() {
        text.painted(place, Paint::Bold, color);
        text.text("\n");
    }
    for line in excerpt {
        excerpt_line(line, color, text);
    }
}

/// Adds a line of an excerpt: marked, around the marked ones, or a rule.
fn excerpt_line(line: &str, color: Color, text: &mut Shown) {
    // the return of a file with Windows' line ends stays in front of the line end, where it is one
    let (line, end) = line.strip_suffix('\r').map_or((line, "\n"), |line| (line, "\r\n"));
    let marked = line.find(" | ").map(|bar| bar + 3).filter(|&start| line[start..].starts_with(MARK));
    match marked {
        Some(start) => {
            let (margin, rest) = line.split_at(start + MARK.len());
            text.painted(margin, Paint::BoldRed, color);
            text.text(rest);
        }
        None => text.painted(line, Paint::Dim, color),
    }
    text.text(end);
}

#[cfg(test)]
mod tests {
    use super::*;
    use rbuild::OtherMistake;

    fn diagnostic() -> Diagnostic {
        Diagnostic {
            excerpt: "Dockerfile:2\n--------------------\n   1 |     FROM x | y\n   2 | >>> RUN x | >>> y\r\n   3 |     \n\
                      --------------------"
                .to_owned(),
            step: None,
            others: Vec::new(),
        }
    }

    fn rendered(diagnostic: &Diagnostic, color: Color) -> String {
        let mut text = Shown::default();
        render(diagnostic, color, StepOutput::Unchanged, &mut text);
        String::from_utf8(text.as_bytes().to_vec()).unwrap()
    }

    #[test]
    fn a_failing_step_shows_its_last_lines_first() {
        let step = Some(("[2/2] RUN x:".to_owned(), vec!["0.054 no".to_owned()]));
        let shown = rendered(&Diagnostic { step, ..diagnostic() }, Color::Off);
        assert_eq!(shown, format!("------\n > [2/2] RUN x:\n0.054 no\n------\n{}\n", diagnostic().excerpt));
    }

    #[test]
    fn other_mistakes_come_before_the_one_reported() {
        let other = OtherMistake {
            place: "Dockerfile:4".to_owned(),
            message: "unknown flag: --x".to_owned(),
            line: "   4 | >>> COPY --x a b".to_owned(),
        };
        let shown = rendered(&Diagnostic { others: vec![other], ..diagnostic() }, Color::Off);
        let expected = "Dockerfile:4: unknown flag: --x\n   4 | >>> COPY --x a b\n";
        assert_eq!(shown, format!("{expected}{}\n", diagnostic().excerpt));
    }

    #[test]
    fn colors_change_nothing_but_colors() {
        let colored = rendered(&diagnostic(), Color::On);
        assert!(colored.contains("\u{1b}[1mDockerfile:2\u{1b}[0m\n\u{1b}[2m--------------------\u{1b}[0m\n"));
        assert!(colored.contains("\u{1b}[2m   1 |     FROM x | y\u{1b}[0m\n"));
        assert!(colored.contains("\u{1b}[1;31m   2 | >>>\u{1b}[0m RUN x | >>> y\r\n"));
        let plain = ["\u{1b}[0m", "\u{1b}[1m", "\u{1b}[2m", "\u{1b}[1;31m"]
            .iter()
            .fold(colored, |text, code| text.replace(code, ""));
        assert_eq!(plain, rendered(&diagnostic(), Color::Off));
    }

    #[test]
    fn nothing_is_nothing() {
        let nothing = Diagnostic { excerpt: String::new(), step: None, others: Vec::new() };
        assert_eq!(rendered(&nothing, Color::On), "");
    }
}
