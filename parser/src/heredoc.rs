//! Here-documents: markers on the instruction's line, bodies on the lines after it.

use pest::Parser as _;

use crate::grammar::dockerfile::{DockerfileGrammar, Rule};
use crate::physical::PhysicalLines;
use crate::{Expansion, Heredoc, Lines, ParseError, Problem, Quote, Span, Spanned, Tabs};

/// `<<NAME` as found on a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Marker {
    /// The name, unquoted.
    pub(crate) name: String,
    descriptor: String,
    expansion: Expansion,
    tabs: Tabs,
}

/// Where the bodies of an instruction end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct End {
    /// The last physical line, a terminator.
    pub(crate) line: usize,
    /// One past its last byte, line ending excluded.
    pub(crate) offset: usize,
}

/// The here-documents a line announces, in order. Names are always quoted and escaped with `\`, whatever the escape
/// character of the file.
///
/// # Errors
/// The quote that is open at the end of a marker.
pub(crate) fn markers(line: &str) -> Result<Vec<Marker>, Quote> {
    if !line.contains("<<") {
        return Ok(Vec::new());
    }
    let Ok(words) = DockerfileGrammar::parse(Rule::quoted_words, line) else { return Ok(Vec::new()) };
    let mut found = Vec::new();
    for word in words.flat_map(pest::iterators::Pair::into_inner) {
        if word.as_rule() == Rule::quoted_word {
            found.extend(marker(word.as_str())?);
        }
    }
    Ok(found)
}

/// `word` as the marker of a here-document, if it is one.
///
/// # Errors
/// The quote that is open at its end.
pub(crate) fn marker(word: &str) -> Result<Option<Marker>, Quote> {
    if !word.contains("<<") {
        return Ok(None);
    }
    let Ok(mut parsed) = DockerfileGrammar::parse(Rule::heredoc, word) else { return Ok(None) };
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
            Rule::heredoc_name => (marker.name, marker.expansion) = unquote(pair.as_str())?,
            _ => {}
        }
    }
    Ok((!marker.name.is_empty()).then_some(marker))
}

/// A name without quotes and escapes. Quotes, unlike escapes, make the body literal.
fn unquote(written: &str) -> Result<(String, Expansion), Quote> {
    let mut name = String::with_capacity(written.len());
    let mut expansion = Expansion::Active;
    let mut open = None;
    let mut characters = written.chars().peekable();
    while let Some(c) = characters.next() {
        match (c, open) {
            ('\\', None) => name.extend(characters.next()),
            ('\\', Some(Quote::Double)) => {
                match characters.next_if(|next| matches!(next, '"' | '$' | '\\')) {
                    Some(escaped) => name.push(escaped),
                    None => name.push('\\'),
                }
            }
            ('\'', None) => (open, expansion) = (Some(Quote::Single), Expansion::Literal),
            ('"', None) => (open, expansion) = (Some(Quote::Double), Expansion::Literal),
            ('\'', Some(Quote::Single)) | ('"', Some(Quote::Double)) => open = None,
            (other, _) => name.push(other),
        }
    }
    match open {
        Some(quote) => Err(quote),
        None => Ok((name, expansion)),
    }
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
        heredocs.push(Heredoc {
            name: marker.name,
            descriptor: marker.descriptor,
            body,
            expansion: marker.expansion,
            tabs: marker.tabs,
        });
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
        markers(line).unwrap().into_iter().map(|marker| marker.name).collect()
    }

    #[test]
    fn a_marker_is_a_word_of_its_own() {
        assert_eq!(names("RUN cat <<A && cat 3<<-B"), ["A", "B"]);
        assert_eq!(names("RUN cat <<<A"), [""; 0]);
        assert_eq!(names("RUN echo \"<<EOF\" '<<EOF'"), [""; 0]);
        assert_eq!(names("RUN cat<<EOF"), [""; 0]);
        assert_eq!(names("RUN echo << EOF $((1<<2))"), [""; 0]);
        assert_eq!(names("RUN <<''"), [""; 0]);
    }

    #[test]
    fn quotes_make_the_body_literal_and_escapes_do_not() {
        let one = |line: &str| markers(line).unwrap().remove(0);
        assert_eq!(one("RUN <<\"EOF\"").expansion, Expansion::Literal);
        assert_eq!(one("RUN <<E'O'F").expansion, Expansion::Literal);
        assert_eq!(one("RUN <<E'O'F").name, "EOF");
        assert_eq!(one("RUN <<eo\\'f").expansion, Expansion::Active);
        assert_eq!(one("RUN <<eo\\'f").name, "eo'f");
        assert_eq!(one("RUN <<\"E F\"").name, "E F");
        assert_eq!(markers("RUN <<'EOF"), Err(Quote::Single));
    }
}
