//! The Dockerfile language: text in, syntax tree with spans out, and the expansion of words.
//!
//! Invariants: every span points into the text that was given, through continuations; parsing and expansion are pure,
//! never panic, and take time linear in the text. The planner knows what an instruction does and which
//! variables exist, and cli shows findings.

#![forbid(unsafe_code)]

mod ast;
mod check;
mod command;
mod directives;
mod duration;
mod error;
mod excerpt;
mod expand;
mod file;
mod flags;
mod glob;
mod grammar;
mod healthcheck;
mod heredoc;
mod instruction;
mod json;
mod lint;
mod logical;
mod mount;
mod onbuild;
mod pairs;
mod physical;
mod place;
mod print;
mod quote;
mod shell_words;
mod simple;
mod span;
mod suggest;
mod template;
mod transfer;
mod word;
mod word_part;

pub use ast::{
    Add, ArgDeclaration, CommandLine, Copy, Directives, Dockerfile, Escape, Expansion, From, Healthcheck,
    Heredoc, Instruction, Node, Onbuild, Pairs, PairsForm, Run, Source, Stage, Tabs, Transfer, Word,
};
pub use duration::nanoseconds;
pub use error::{
    DurationProblem, InstructionProblem, MAX_LINE, MountError, ParseError, Problem, Quote, WordError,
    WordProblem,
};
pub use excerpt::excerpt;
pub use expand::{Expanded, expand};
pub use file::{MAX_MISTAKES, beginning, mistakes, parse, parse_instruction};
pub use glob::MAX_MATCHING;
pub use lint::{Lint, Rule};
pub use mount::{parse_fields, parse_mount};
pub use span::{Lines, Span, Spanned};
pub use suggest::{alike, suggest};
pub use template::MAX_EXPANSION;
pub use word::{MAX_NESTING, parse_word};
pub use word_part::{Matches, Missing, Modifier, Reach, Side, WordMode, WordPart};
