//! Go's `text/template` as `--format` uses it: fields, pipelines, `if`, `range`, `with`, `define`, `template`, `block`,
//! variables, Go's functions, and Docker's (`json`, `join`, `split`, `upper`, `lower`, `title`, `truncate`, `pad`); and the one method
//! that listings have, `.Label "NAME"`.
//!
//! Templates are applied to JSON values. Left out: other methods and `call`, because a JSON value has neither.

mod eval;
mod functions;
mod lex;
mod parse;
mod printed;
mod printf;

pub(crate) use eval::LABEL;
pub(crate) use functions::{escaped, to_json};
pub(crate) use parse::Template;
