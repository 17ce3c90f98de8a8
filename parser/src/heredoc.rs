//! Here-documents: markers on the instruction's line, bodies on the lines after it.

use pest::Parser as _;

use crate::grammar::dockerfile::{DockerfileGrammar, Rule};
use crate::physical::PhysicalLines;
use crate::shell_words::{shell_words, unquoted_word};
use crate::{Expansion, Heredoc, Lines, ParseError, Problem, Span, Spanned, Tabs};

/// `<<NAME` as found on a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Marker {
    /// The name, unquoted.
    pub(crate) name: String,
    descriptor: String,
    expansion: Expansion,
    tabs: Tabs,
}

impl Marker {
    /// The here-document of a marker at `span` that has no body.
    pub(crate) fn without_body(self, span: Span) -> Heredoc {
        let body = Spanned { value: String::new(), span: Span { start: span.end, end: span.end } };
        self.with_body(body)
    }

    fn with_body(self, body: Spanned<String>) -> Heredoc {
        let Self { name, descriptor, expansion, tabs } = self;
        Heredoc { name, descriptor, body, expansion, tabs }
    }
}

/// The end of an instruction's bodies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct End {
    /// The last physical line, a terminator.
    pub(crate) line: usize,
    /// One past its last byte, line ending excluded.
    pub(crate) offset: usize,
}

/// The here-documents that a line announces, in order. Names are always quoted and escaped with `\`, whatever the escape
/// character of the file. A line with an open quote or a `${` that cannot be read announces none, as in Docker.
pub(crate) fn markers(line: &str) -> Vec<Marker> {
    if !line.contains("<<") {
        return Vec::new();
    }
    shell_words(line).iter().filter_map(|word| marker(word)).collect()
}

/// `word` as the marker of a here-document, if it is one.
pub(crate) fn marker(word: &str) -> Option<Marker> {
    if !word.contains("<<") {
        return None;
    }
    let mut parsed = DockerfileGrammar::parse(Rule::heredoc, word).ok()?;
    let mut marker = Marker {
        name: String::new(),
        descriptor: String::new(),
        expansion: Expansion::Active,
        tabs: Tabs::Kept,
    };
    for pair in parsed.next().into_iter().flat_map(pest::iterators::Pair::into_inner) {
        match pair.as_rule() {
            Rule::heredoc_descriptor => pair.as_str().clone_into(&mut marker.descriptor),
            Rule::heredoc_strip => marker.tabs = Tabs::Stripped,
            Rule::heredoc_name => {
                let unquoted = unquoted_word(pair.as_str())?;
                marker.expansion = if unquoted.had_quotes { Expansion::Literal } else { Expansion::Active };
                marker.name = unquoted.text;
            }
            _ => {}
        }
    }
    (!marker.name.is_empty()).then_some(marker)
}

/// Reads the bodies of `markers`, which start on the next line. `first` is the instruction's first line.
pub(crate) fn bodies(
    markers: Vec<Marker>,
    lines: &mut PhysicalLines<'_>,
    first: usize,
) -> Result<(Vec<Heredoc>, Option<End>), ParseError> {
    let mut heredocs = Vec::with_capacity(markers.len());
    let mut end = None;
    for marker in markers {
        let (body, terminator) = body(&marker, lines, first)?;
        end = Some(terminator);
        heredocs.push(marker.with_body(body));
    }
    Ok((heredocs, end))
}

fn body(
    marker: &Marker,
    lines: &mut PhysicalLines<'_>,
    first: usize,
) -> Result<(Spanned<String>, End), ParseError> {
    let mut value = String::new();
    let mut start = None;
    while let Some(line) = lines.next()? {
        lines.check_utf8(&line)?;
        let content = match marker.tabs {
            Tabs::Kept => line.content(),
            Tabs::Stripped => line.content().trim_start_matches('\t'),
        };
        let start = *start.get_or_insert(line.start);
        if content == marker.name {
            let span = Span { start, end: start + value.len() };
            return Ok((Spanned { value, span }, End { line: line.number, offset: line.content_end() }));
        }
        value.push_str(line.raw);
    }
    let lines = Lines { first, last: lines.number() };
    Err(ParseError::in_lines(Problem::UnterminatedHeredoc, lines))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(line: &str) -> Vec<String> {
        markers(line).into_iter().map(|marker| marker.name).collect()
    }

    #[test]
    fn a_marker_is_a_word_of_its_own() {
        assert_eq!(names("RUN cat <<A && cat 3<<-B"), ["A", "B"]);
        assert_eq!(names("RUN cat <<<A"), [""; 0]);
        assert_eq!(names("RUN echo \"<<EOF\" '<<EOF'"), [""; 0]);
        assert_eq!(names("RUN cat<<EOF"), [""; 0]);
        assert_eq!(names("RUN echo << EOF $((1<<2))"), ["EOF"]);
        assert_eq!(names("RUN echo 3<< \t-EOF <<- A <<"), ["-EOF"]);
        assert_eq!(names("RUN echo << <<A"), [""; 0]);
        assert_eq!(names("RUN <<''"), [""; 0]);
    }

    #[test]
    fn quotes_make_the_body_literal_and_escapes_do_not() {
        let one = |line: &str| markers(line).remove(0);
        assert_eq!(one("RUN <<\"EOF\"").expansion, Expansion::Literal);
        assert_eq!(one("RUN <<E'O'F").expansion, Expansion::Literal);
        assert_eq!(one("RUN <<E'O'F").name, "EOF");
        assert_eq!(one("RUN <<eo\\'f").expansion, Expansion::Active);
        assert_eq!(one("RUN <<eo\\'f").name, "eo'f");
        assert_eq!(one("RUN <<\"E F\"").name, "E F");
    }

    #[test]
    fn a_line_that_cannot_be_read_as_words_announces_nothing() {
        assert_eq!(names("RUN <<'EOF"), [""; 0]);
        assert_eq!(names("RUN <<EOF echo \"x"), [""; 0]);
        assert_eq!(names("RUN <<EOF echo ${x^^}"), [""; 0]);
        assert_eq!(names("RUN <<EOF echo ${x"), [""; 0]);
        assert_eq!(names("RUN <<EOF echo ${x:=y} $(z)"), ["EOF"]);
    }

    #[test]
    fn variables_stay_in_names_unless_they_are_modified() {
        assert_eq!(names("RUN <<$X <<\"${Y}\" <<E${Z:-q}"), ["$X", "${Y}"]);
    }
}
