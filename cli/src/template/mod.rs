//! The part of Go's `text/template` that people use in `--format`: fields, pipelines, `if`, `range`, `with`, variables, and
//! Docker's functions (`json`, `join`, `split`, `upper`, `lower`, `title`, `truncate`, `println`, `index`, `len`, …).
//!
//! Templates are applied to JSON values. Left out: `define`, `template`, `block`, methods.

mod eval;
mod functions;
mod lex;
mod parse;

pub(crate) use functions::to_json;
pub(crate) use parse::Template;
