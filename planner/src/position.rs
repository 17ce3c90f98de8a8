//! What people see of a step: `[stage i/n]` and the name behind it.

use crate::env::Env;
use crate::options::PositionStyle;
use crate::scope::{expand_word, is_literal, lone_variable, special_at};
use rbuild_oci::Platform;
use rbuild_parser::{Escape, WordMode, expand};
use std::fmt::Write as _;

/// Counts the steps of one stage.
#[derive(Clone, Debug)]
pub(crate) struct Positions {
    stage: Option<String>,
    platform: Option<Platform>,
    next: usize,
    total: usize,
}

impl Positions {
    /// For a stage shown as `stage` with `total` countable instructions.
    pub(crate) fn new(
        stage: Option<String>,
        total: usize,
        style: PositionStyle,
        platform: &Platform,
    ) -> Self {
        let platform = match style {
            PositionStyle::Plain => None,
            PositionStyle::WithPlatform => Some(platform.clone()),
        };
        Self { stage, platform, next: 1, total }
    }

    /// The next `[stage i/n]`; empty when nothing counts. `env` tells what a cross build makes.
    pub(crate) fn take(&mut self, env: &Env) -> String {
        if self.total == 0 {
            return String::new();
        }
        let mut out = String::with_capacity(24);
        out.push('[');
        if let Some(platform) = &self.platform {
            out.push_str(&format!("{platform}{} ", made_for(platform, env)));
        }
        if let Some(stage) = &self.stage {
            out.push_str(stage);
            out.push(' ');
        }
        let width = self.total.ilog10() as usize + 1;
        write!(out, "{:width$}/{}]", self.next, self.total).expect("writing to a string never fails");
        self.next += 1;
        out
    }
}

/// `->arm64` when a stage that runs on `platform` was told to make something for another one.
fn made_for(platform: &Platform, env: &Env) -> String {
    let target = match env.get("TARGETPLATFORM").and_then(|text| text.parse::<Platform>().ok()) {
        Some(target) => target,
        None => {
            let [os, architecture, variant] =
                ["TARGETOS", "TARGETARCH", "TARGETVARIANT"].map(|name| env.get(name));
            let given = |text: Option<&str>, default: &str| {
                text.filter(|text| !text.is_empty()).unwrap_or(default).to_owned()
            };
            let os = given(os, &platform.os);
            Platform::normalised(&os, &given(architecture, &platform.architecture), variant)
        }
    };
    if target.os != platform.os {
        format!("->{target}")
    } else if target.architecture != platform.architecture {
        let variant = target.variant.map(|variant| format!("/{variant}")).unwrap_or_default();
        format!("->{}{variant}", target.architecture)
    } else {
        String::new()
    }
}

/// The name of a COPY, ADD or WORKDIR: its text, expanded when that works, the instruction in capitals.
pub(crate) fn file_step_name(text: &str, escape: Escape, env: &Env) -> String {
    let expanded = expand_word(text, escape, env).map_or_else(|_| text.to_owned(), |word| word.text);
    capitalise(expanded)
}

/// The name of a RUN: known variables replaced, unknown ones and quotes left alone.
pub(crate) fn run_step_name(text: &str, escape: Escape, env: &Env) -> String {
    if is_literal(text, escape) {
        return capitalise(text.to_owned());
    }
    capitalise(substitute_known(text, escape, env).unwrap_or_else(|| text.to_owned()))
}

fn capitalise(mut text: String) -> String {
    let word = text.find(' ').unwrap_or(text.len());
    match text.get_mut(..word) {
        Some(word) if word.is_ascii() => {
            word.make_ascii_uppercase();
            text
        }
        _ => format!("{}{}", text[..word].to_uppercase(), &text[word..]),
    }
}

/// `None` when the text is no word of the expansion language, such as one with an open quote.
fn substitute_known(text: &str, escape: Escape, env: &Env) -> Option<String> {
    #[derive(PartialEq)]
    enum In {
        Bare,
        Double,
    }
    let escape_char = escape.as_char();
    let mut out = String::with_capacity(text.len());
    let mut state = In::Bare;
    let mut rest = text;
    loop {
        let plain = special_at(rest, escape).unwrap_or(rest.len());
        out.push_str(&rest[..plain]);
        rest = &rest[plain..];
        let Some(c) = rest.chars().next() else { break };
        if c == '$' {
            let used = variable_length(rest)?;
            out.push_str(&substitute_one(&rest[..used], escape, env)?);
            rest = &rest[used..];
            continue;
        }
        rest = &rest[c.len_utf8()..];
        if c == '\'' && state == In::Bare {
            let end = rest.find('\'')? + 1;
            out.push('\'');
            out.push_str(&rest[..end]);
            rest = &rest[end..];
        } else if c == '"' {
            state = if state == In::Bare { In::Double } else { In::Bare };
            out.push('"');
        } else if c == escape_char {
            let Some(next) = rest.chars().next() else { break };
            if state == In::Double && next != '"' && next != '$' && next != escape_char {
                out.push(c);
            }
            out.push(next);
            rest = &rest[next.len_utf8()..];
        } else {
            out.push(c);
        }
    }
    (state == In::Bare).then_some(out)
}

/// How many bytes the variable at the start of `text` takes; 1 for a lone `$`.
fn variable_length(text: &str) -> Option<usize> {
    let after = &text[1..];
    if after.starts_with('{') {
        let mut depth = 0_usize;
        let mut escaped = false;
        for (at, c) in text.char_indices() {
            match c {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '{' => depth += 1,
                '}' => {
                    depth -= 1;
                    if depth == 0 {
                        return Some(at + 1);
                    }
                }
                _ => {}
            }
        }
        return None;
    }
    let name = name_length(after);
    Some(1 + name)
}

fn name_length(text: &str) -> usize {
    let Some(first) = text.chars().next() else { return 0 };
    if first.is_ascii_digit() {
        return text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    }
    if matches!(first, '@' | '*' | '#' | '?' | '-' | '$' | '!') {
        return 1;
    }
    text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len())
}

/// The value of one `$name` or `${…}`; the text itself when the name is not set.
fn substitute_one(variable: &str, escape: Escape, env: &Env) -> Option<String> {
    if let Some(name) = lone_variable(variable) {
        return Some(env.get(name).unwrap_or(variable).to_owned());
    }
    let inner = variable[1..].strip_prefix('{').unwrap_or(&variable[1..]);
    let name = &inner[..name_length(inner)];
    if name.is_empty() {
        return (variable == "$").then(|| variable.to_owned());
    }
    if env.get(name).is_none() {
        return Some(variable.to_owned());
    }
    let expanded = expand(variable, escape, WordMode::Single, &|name| env.get(name).map(str::to_owned));
    expanded.ok()?.words.into_iter().next()
}
