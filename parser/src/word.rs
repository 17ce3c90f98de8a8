//! Words: quotes, escapes and `$` substitutions as a tree, not yet expanded.

use pest::Parser as _;
use pest::iterators::Pair;

use crate::grammar::word::{Rule, WordGrammar};
use crate::grammar::{in_backslashes, without_quotes};
use crate::word_part::{Matches, Missing, Modifier, Reach, Side, WordMode, WordPart};
use crate::{Escape, Quote, WordError, WordProblem, simple};

/// The largest depth of substitutions inside each other's words.
pub const MAX_NESTING: usize = 100;

/// Cuts a word into its parts. In heredoc mode quotes are text and the escape character is always `\`.
///
/// # Errors
/// [`WordError`] at the first thing that cannot be read.
pub fn parse_word(text: &str, escape: Escape, mode: WordMode) -> Result<Vec<WordPart>, WordError> {
    match read(text, escape, mode) {
        (parts, None) => Ok(parts),
        (_, Some(reason)) => Err(WordError { word: text.to_owned(), reason, unset: Vec::new() }),
    }
}

/// The parts up to the first mistake, with the variables that Docker still looks up before it reports it, and the
/// mistake.
pub(crate) fn read(text: &str, escape: Escape, mode: WordMode) -> (Vec<WordPart>, Option<WordProblem>) {
    let escape = match mode {
        WordMode::Single | WordMode::List => escape,
        WordMode::Heredoc => Escape::Backslash,
    };
    match simple::word(text, escape, mode) {
        Some(parts) => (parts, None),
        None => read_by_grammar(text, escape, mode),
    }
}

pub(crate) fn read_by_grammar(
    text: &str,
    escape: Escape,
    mode: WordMode,
) -> (Vec<WordPart>, Option<WordProblem>) {
    let mut shadow = in_backslashes(text, escape);
    if mode == WordMode::Heredoc {
        shadow = without_quotes(&shadow).into_owned().into();
    }
    let mut parts = Vec::new();
    // the grammar matches any text, so it can fail only for substitutions that are nested too deep for the stack
    let Ok(parsed) = WordGrammar::parse(Rule::word, &shadow) else {
        return (parts, Some(WordProblem::TooDeep));
    };
    let builder = Builder { text, escape: escape.as_char() };
    let outcome = parsed.flat_map(Pair::into_inner).try_for_each(|pair| builder.part(pair, TOP, &mut parts));
    let problem = outcome.err().map(|broken| {
        parts.extend(broken.met.map(|part| *part));
        broken.problem
    });
    (parts, problem)
}

/// Treatment of escapes in the resulting text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Escapes {
    Removed,
    /// Patterns and replacements have escapes of their own.
    Kept,
}

/// The surroundings of a part.
#[derive(Clone, Copy, Debug)]
struct Position {
    escapes: Escapes,
    quoted: bool,
    depth: usize,
}

const TOP: Position = Position { escapes: Escapes::Removed, quoted: false, depth: 0 };

/// A mistake, and how far the text was understood. A substitution that the end of the text cuts off is reported as such,
/// even if there is another mistake inside it.
#[derive(Debug)]
struct Broken {
    problem: WordProblem,
    at: usize,
    /// A variable whose modifier is unknown. Docker looks it up before it reports the modifier.
    met: Option<Box<WordPart>>,
}

impl Broken {
    fn new(problem: WordProblem, at: usize) -> Self {
        Self { problem, at, met: None }
    }
}

struct Builder<'a> {
    text: &'a str,
    escape: char,
}

impl Builder<'_> {
    fn part(&self, pair: Pair<'_, Rule>, position: Position, out: &mut Vec<WordPart>) -> Result<(), Broken> {
        let Position { escapes, quoted, .. } = position;
        let literal = |text: String, quoted| WordPart::Literal { text, quoted };
        match pair.as_rule() {
            Rule::text | Rule::operand_text | Rule::pattern_text | Rule::dollar => {
                out.push(literal(self.slice(&pair).to_owned(), quoted));
            }
            Rule::single_text => out.push(literal(self.slice(&pair).to_owned(), true)),
            Rule::double_text if escapes == Escapes::Kept => {
                // an escape character that protects nothing stands for itself, so it is protected in the pattern
                let doubled = [self.escape; 2].iter().collect::<String>();
                out.push(literal(self.slice(&pair).replace(self.escape, &doubled), true));
            }
            Rule::double_text => out.push(literal(self.slice(&pair).to_owned(), true)),
            Rule::escaped | Rule::double_escaped if escapes == Escapes::Kept => {
                out.push(literal(self.slice(&pair).to_owned(), true));
            }
            Rule::escaped | Rule::double_escaped => {
                if let Some(character) = pair.into_inner().next() {
                    out.push(literal(self.slice(&character).to_owned(), true));
                }
            }
            Rule::single_quoted => self.quoted(pair, Quote::Single, position, out)?,
            Rule::double_quoted => self.quoted(pair, Quote::Double, position, out)?,
            Rule::substitution => {
                if position.depth >= MAX_NESTING {
                    return Err(Broken::new(WordProblem::TooDeep, pair.as_span().start()));
                }
                out.push(self.substitution(pair, position)?);
            }
            _ => {}
        }
        Ok(())
    }

    fn quoted(
        &self,
        pair: Pair<'_, Rule>,
        quote: Quote,
        position: Position,
        out: &mut Vec<WordPart>,
    ) -> Result<(), Broken> {
        let inside = Position { quoted: true, ..position };
        let before = out.len();
        for inner in pair.into_inner() {
            if inner.as_rule() == Rule::unclosed {
                return Err(Broken::new(WordProblem::Unbalanced(quote), self.text.len()));
            }
            self.part(inner, inside, out)?;
        }
        if out.len() == before {
            out.push(WordPart::Literal { text: String::new(), quoted: true });
        }
        Ok(())
    }

    fn substitution(&self, pair: Pair<'_, Rule>, position: Position) -> Result<WordPart, Broken> {
        let quoted = position.quoted;
        let inside = Position { depth: position.depth + 1, quoted: false, ..position };
        let mut name = String::new();
        let mut modifier = None;
        let mut parts = Vec::new();
        for inner in pair.into_inner() {
            match inner.as_rule() {
                Rule::braced => parts.extend(inner.into_inner()),
                _ => parts.push(inner),
            }
        }
        let mut parts = parts.into_iter();
        while let Some(inner) = parts.next() {
            match inner.as_rule() {
                Rule::name => self.slice(&inner).clone_into(&mut name),
                Rule::conditional => modifier = Some(self.conditional(inner, inside)?),
                Rule::trim => modifier = Some(self.trim(inner, inside)?),
                Rule::replace => modifier = Some(self.replace(inner, inside)?),
                Rule::bad => return Err(self.unless_cut_off(&inner, WordProblem::BadSubstitution)),
                Rule::unsupported => return Err(self.unsupported(&inner)),
                Rule::colon_other => {
                    let Some(operand) = parts.next() else { break };
                    let word = self.parts(operand, Escapes::Removed, inside)?;
                    let end = parts.next();
                    self.end(end.as_ref())?;
                    let at = end.map_or(self.text.len(), |end| end.as_span().end());
                    let problem = WordProblem::UnsupportedModifier(self.slice(&inner).to_owned());
                    let modifier = Some(Modifier::Default { missing: Missing::UnsetOrEmpty, word });
                    let met = Some(Box::new(WordPart::Variable { name, modifier, quoted }));
                    return Err(Broken { problem, at, met });
                }
                _ => {}
            }
        }
        Ok(WordPart::Variable { name, modifier, quoted })
    }

    fn conditional(&self, pair: Pair<'_, Rule>, position: Position) -> Result<Modifier, Broken> {
        let [operator, operand, end] = three(pair);
        let operator = operator.as_ref().map_or("", |operator| operator.as_str());
        let word =
            operand.map_or(Ok(Vec::new()), |operand| self.parts(operand, Escapes::Removed, position))?;
        self.end(end.as_ref())?;
        let missing = if operator.starts_with(':') { Missing::UnsetOrEmpty } else { Missing::Unset };
        Ok(match operator.trim_start_matches(':') {
            "-" => Modifier::Default { missing, word },
            "+" => Modifier::Alternative { missing, word },
            _ => Modifier::Required { missing, message: word },
        })
    }

    fn trim(&self, pair: Pair<'_, Rule>, position: Position) -> Result<Modifier, Broken> {
        let [operator, operand, end] = three(pair);
        let operator = operator.as_ref().map_or("", |operator| operator.as_str());
        let pattern =
            operand.map_or(Ok(Vec::new()), |operand| self.parts(operand, Escapes::Kept, position))?;
        self.end(end.as_ref())?;
        let side = if operator.starts_with('#') { Side::Prefix } else { Side::Suffix };
        let reach = if operator.len() == 2 { Reach::Longest } else { Reach::Shortest };
        Ok(Modifier::Trim { side, reach, pattern })
    }

    fn replace(&self, pair: Pair<'_, Rule>, position: Position) -> Result<Modifier, Broken> {
        let mut modifier = (Matches::First, Vec::new(), Vec::new());
        for inner in pair.into_inner() {
            match inner.as_rule() {
                Rule::replace_operator if inner.as_str() == "//" => modifier.0 = Matches::All,
                Rule::pattern => {
                    let parts = self.parts(inner, Escapes::Kept, position);
                    modifier.1 = parts.map_err(|broken| self.cut_off(broken, WordProblem::MissingSlash))?;
                }
                Rule::missing_slash => {
                    return Err(Broken::new(WordProblem::MissingSlash, self.text.len()));
                }
                Rule::operand => modifier.2 = self.parts(inner, Escapes::Kept, position)?,
                Rule::close | Rule::missing => self.end(Some(&inner))?,
                _ => {}
            }
        }
        let (matches, pattern, replacement) = modifier;
        Ok(Modifier::Replace { matches, pattern, replacement })
    }

    /// The parts of an operand or a pattern.
    fn parts(
        &self,
        pair: Pair<'_, Rule>,
        escapes: Escapes,
        position: Position,
    ) -> Result<Vec<WordPart>, Broken> {
        let position = Position { escapes, ..position };
        let mut parts = Vec::new();
        for inner in pair.into_inner() {
            self.part(inner, position, &mut parts)
                .map_err(|broken| self.cut_off(broken, WordProblem::MissingBrace))?;
        }
        Ok(parts)
    }

    fn end(&self, end: Option<&Pair<'_, Rule>>) -> Result<(), Broken> {
        match end.map(Pair::as_rule) {
            Some(Rule::close) => Ok(()),
            _ => Err(Broken::new(WordProblem::MissingBrace, self.text.len())),
        }
    }

    fn unsupported(&self, pair: &Pair<'_, Rule>) -> Broken {
        let at = pair.as_span().end();
        let problem = match self.slice(pair) {
            ":" => WordProblem::MissingBrace,
            "" => WordProblem::UnsupportedModifier(char::REPLACEMENT_CHARACTER.to_string()),
            modifier => WordProblem::UnsupportedModifier(modifier.to_owned()),
        };
        Broken::new(problem, at)
    }

    fn unless_cut_off(&self, pair: &Pair<'_, Rule>, problem: WordProblem) -> Broken {
        let at = pair.as_span().start();
        self.cut_off(Broken::new(problem, at), WordProblem::MissingBrace)
    }

    /// `broken`, or `instead` when the text ended in it.
    fn cut_off(&self, broken: Broken, instead: WordProblem) -> Broken {
        if broken.at >= self.text.len() { Broken { problem: instead, ..broken } } else { broken }
    }

    /// The match of a rule, cut out of the text as written.
    fn slice(&self, pair: &Pair<'_, Rule>) -> &str {
        &self.text[pair.as_span().start()..pair.as_span().end()]
    }
}

fn three(pair: Pair<'_, Rule>) -> [Option<Pair<'_, Rule>>; 3] {
    let mut inner = pair.into_inner();
    [inner.next(), inner.next(), inner.next()]
}
