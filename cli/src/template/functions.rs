//! The functions of templates: Go's own and Docker's.

use crate::error::CliError;
use serde_json::Value;
use std::cmp::Ordering;

/// Calls the function `name`.
pub(super) fn call(name: &str, arguments: &[Value]) -> Result<Value, CliError> {
    let wrong = || CliError::Template(format!(":1: wrong number or type of args for {name}"));
    let text = |at: usize| arguments.get(at).and_then(Value::as_str).ok_or_else(wrong);
    let any = |at: usize| arguments.get(at).ok_or_else(wrong);
    Ok(match name {
        "json" => Value::from(to_json(any(0)?)),
        "print" => Value::from(spaced(arguments)),
        "println" => Value::from(format!("{}\n", joined(arguments, " "))),
        "printf" => Value::from(formatted(text(0)?, &arguments[1..])),
        "len" => Value::from(match any(0)? {
            Value::String(text) => text.len(),
            Value::Array(items) => items.len(),
            Value::Object(map) => map.len(),
            Value::Null => 0,
            Value::Bool(_) | Value::Number(_) => return Err(wrong()),
        }),
        "index" => arguments.iter().skip(1).try_fold(any(0)?.clone(), |value, key| indexed(&value, key))?,
        "slice" => sliced(text(0)?, &arguments[1..]).ok_or_else(wrong)?,
        "join" => match any(0)? {
            Value::Array(items) => Value::from(joined(items, text(1)?)),
            Value::Null => Value::from(""),
            _ => return Err(wrong()),
        },
        "split" => text(0)?.split(text(1)?).collect(),
        "upper" => Value::from(text(0)?.to_uppercase()),
        "lower" => Value::from(text(0)?.to_lowercase()),
        "title" => Value::from(title(text(0)?)),
        "truncate" => {
            let length = any(1)?.as_u64().ok_or_else(wrong)? as usize;
            Value::from(text(0)?.chars().take(length).collect::<String>())
        }
        "pad" => {
            let count = |at| Ok::<_, CliError>(" ".repeat(any(at)?.as_u64().ok_or_else(wrong)? as usize));
            Value::from(format!("{}{}{}", count(1)?, text(0)?, count(2)?))
        }
        "not" => Value::Bool(!truth(any(0)?)),
        "and" => arguments.iter().find(|value| !truth(value)).or(arguments.last()).ok_or_else(wrong)?.clone(),
        "or" => arguments.iter().find(|value| truth(value)).or(arguments.last()).ok_or_else(wrong)?.clone(),
        "eq" => Value::Bool(arguments.iter().skip(1).any(|other| Some(other) == arguments.first())),
        "ne" => Value::Bool(any(0)? != any(1)?),
        "lt" => Value::Bool(order(any(0)?, any(1)?) == Some(Ordering::Less)),
        "le" => Value::Bool(matches!(order(any(0)?, any(1)?), Some(Ordering::Less | Ordering::Equal))),
        "gt" => Value::Bool(order(any(0)?, any(1)?) == Some(Ordering::Greater)),
        "ge" => Value::Bool(matches!(order(any(0)?, any(1)?), Some(Ordering::Greater | Ordering::Equal))),
        _ => return Err(CliError::Template(format!(":1: function {name:?} not defined"))),
    })
}

/// How Go prints a value.
pub(super) fn printed(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::Array(items) => format!("[{}]", joined(items, " ")),
        Value::Object(map) => {
            let mut pairs: Vec<String> =
                map.iter().map(|(key, value)| format!("{key}:{}", printed(value))).collect();
            pairs.sort();
            format!("map[{}]", pairs.join(" "))
        }
    }
}

/// Go's idea of what is true: anything that is not empty.
pub(super) fn truth(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(map) => !map.is_empty(),
    }
}

/// JSON as Go's encoder writes it: `<`, `>` and `&` escaped.
pub(crate) fn to_json(value: &Value) -> String {
    value.to_string().replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
}

fn indexed(value: &Value, key: &Value) -> Result<Value, CliError> {
    match (value, key) {
        (Value::Array(items), Value::Number(number)) => {
            let found = number.as_u64().and_then(|at| items.get(at as usize));
            found.cloned().ok_or_else(|| {
                CliError::Template(format!(":1: error calling index: index out of range: {number}"))
            })
        }
        // a missing key is the zero value of the map's values, which are texts where people index
        (Value::Object(map), Value::String(key)) => {
            Ok(map.get(key).cloned().unwrap_or_else(|| Value::from("")))
        }
        (Value::Null, Value::String(_)) => Ok(Value::from("")),
        _ => Err(CliError::Template(format!(
            ":1: error calling index: can't index item of {}",
            printed(value)
        ))),
    }
}

fn sliced(text: &str, bounds: &[Value]) -> Option<Value> {
    let bound = |at: usize, otherwise: usize| {
        bounds.get(at).map_or(Some(otherwise), |n| n.as_u64().map(|n| n as usize))
    };
    text.get(bound(0, 0)?..bound(1, text.len())?).map(Value::from)
}

fn order(a: &Value, b: &Value) -> Option<Ordering> {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a.as_f64()?.partial_cmp(&b.as_f64()?),
        (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
        _ => None,
    }
}

fn joined(values: &[Value], separator: &str) -> String {
    values.iter().map(printed).collect::<Vec<_>>().join(separator)
}

/// Go's `Sprint`: a space only between operands of which neither is a text.
fn spaced(values: &[Value]) -> String {
    let mut out = String::new();
    for (index, value) in values.iter().enumerate() {
        if index > 0 && !value.is_string() && !values[index - 1].is_string() {
            out.push(' ');
        }
        out.push_str(&printed(value));
    }
    out
}

/// Go's `Sprintf` with `%s %v %d %q %t %%` and widths.
fn formatted(format: &str, values: &[Value]) -> String {
    let mut values = values.iter();
    let mut out = String::new();
    let mut rest = format;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        let spec = &rest[at + 1..];
        let end = spec.find(|c: char| !c.is_ascii_digit() && c != '-' && c != '.').unwrap_or(spec.len());
        let (flags, tail) = spec.split_at(end);
        let Some(verb) = tail.chars().next() else {
            out.push_str("%!(NOVERB)");
            return out;
        };
        rest = &tail[verb.len_utf8()..];
        if verb == '%' {
            out.push('%');
            continue;
        }
        let text = match (values.next(), verb) {
            (None, verb) => format!("%!{verb}(MISSING)"),
            (Some(value), 'q') => Value::from(printed(value)).to_string(),
            (Some(value), _) => printed(value),
        };
        let width: usize =
            flags.trim_start_matches('-').split('.').next().and_then(|n| n.parse().ok()).unwrap_or(0);
        if flags.starts_with('-') {
            out.push_str(&format!("{text:<width$}"));
        } else {
            out.push_str(&format!("{text:>width$}"));
        }
    }
    out.push_str(rest);
    out
}

fn title(text: &str) -> String {
    let mut start = true;
    text.chars()
        .map(|c| {
            let shown = if start { c.to_ascii_uppercase() } else { c };
            start = c.is_whitespace();
            shown
        })
        .collect()
}
