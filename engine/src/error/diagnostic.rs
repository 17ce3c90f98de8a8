//! A mistake in the user's Dockerfile, with everything needed to show it.

use rbuild_parser::{Lines, ParseError};

/// Where a failure belongs in a Dockerfile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// `FILE:LINE` and the marked lines around it; empty when the failure has no place.
    pub excerpt: String,
    /// The failing step, `[stage 2/3] RUN make:`, and the last lines it wrote.
    pub step: Option<(String, Vec<String>)>,
    /// The other certain mistakes in a Dockerfile that does not parse.
    pub others: Vec<OtherMistake>,
}

/// A mistake beside the one that is reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtherMistake {
    /// `FILE:LINE`, or the file alone.
    pub place: String,
    /// The message that says what is wrong there.
    pub message: String,
    /// The first line of the instruction, as in [`Diagnostic::excerpt`]; empty when the mistake has no place.
    pub line: String,
}

/// The Dockerfile being built, for excerpts.
#[derive(Clone, Debug)]
pub(crate) struct DockerfileText {
    /// Its name as shown.
    pub(crate) name: String,
    /// Its bytes.
    pub(crate) bytes: Vec<u8>,
}

impl DockerfileText {
    /// The excerpt of `lines`.
    pub(crate) fn at(&self, lines: Option<Lines>) -> Box<Diagnostic> {
        let text = String::from_utf8_lossy(&self.bytes);
        let excerpt =
            lines.map_or_else(String::new, |lines| rbuild_parser::excerpt(&text, &self.name, lines));
        Box::new(Diagnostic { excerpt, step: None, others: Vec::new() })
    }

    /// The mistakes that [`rbuild_parser::mistakes`] finds after the first.
    pub(crate) fn other_mistakes(&self) -> Vec<OtherMistake> {
        let mistakes = rbuild_parser::mistakes(&self.bytes);
        mistakes.iter().skip(1).map(|mistake| self.other(mistake)).collect()
    }

    fn other(&self, mistake: &ParseError) -> OtherMistake {
        let message = mistake.problem.to_string();
        let Some(Lines { first, .. }) = mistake.lines else {
            return OtherMistake { place: self.name.clone(), message, line: String::new() };
        };
        let marked = self.at(Some(Lines { first, last: first })).excerpt;
        let start = format!("{first:>4} | >>> ");
        let line = marked.lines().find(|line| line.starts_with(&start)).unwrap_or_default().to_owned();
        OtherMistake { place: format!("{}:{first}", self.name), message, line }
    }
}
