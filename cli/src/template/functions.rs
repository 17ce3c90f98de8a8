//! The functions of templates: Go's own and Docker's.

use super::{
    printed::{joined, printed},
    printf,
};
use crate::error::CliError;
use serde_json::Value;
use std::cmp::Ordering;

/// Calls the function `name`.
pub(super) fn call(name: &str, arguments: &[Value]) -> Result<Value, CliError> {
    let wrong = || CliError::Template(format!(":1: wrong number or type of args for {name}"));
    let text = |at: usize| arguments.get(at).and_then(Value::as_str).ok_or_else(wrong);
    let any = |at: usize| arguments.get(at).ok_or_else(wrong);
    Ok(match name {
        "json" => Value::from(any(0)?.to_string()),
        "html" => Value::from(html(&joined(arguments, ""))),
        "urlquery" => Value::from(query(&joined(arguments, ""))),
        "js" => Value::from(script(&joined(arguments, ""))),
        "print" => Value::from(spaced(arguments)),
        "println" => Value::from(format!("{}\n", joined(arguments, " "))),
        "printf" => Value::from(printf::formatted(text(0)?, &arguments[1..])),
        "len" => Value::from(match any(0)? {
            Value::String(text) => text.len(),
            Value::Array(items) => items.len(),
            Value::Object(map) => map.len(),
            Value::Null => 0,
            Value::Bool(_) | Value::Number(_) => return Err(wrong()),
        }),
        "index" => arguments.iter().skip(1).try_fold(any(0)?.clone(), |value, key| indexed(&value, key))?,
        "slice" => sliced(any(0)?, &arguments[1..]).ok_or_else(wrong)?,
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
        "pad" if text(0)?.is_empty() => Value::from(""),
        "pad" => {
            let count = |at| Ok::<_, CliError>(" ".repeat(any(at)?.as_u64().ok_or_else(wrong)? as usize));
            Value::from(format!("{}{}{}", count(1)?, text(0)?, count(2)?))
        }
        "not" => Value::Bool(!truth(any(0)?)),
        "and" => arguments.iter().find(|value| !truth(value)).or(arguments.last()).ok_or_else(wrong)?.clone(),
        "or" => arguments.iter().find(|value| truth(value)).or(arguments.last()).ok_or_else(wrong)?.clone(),
        "eq" | "ne" | "lt" | "le" | "gt" | "ge" => Value::Bool(compared(name, any(0)?, &arguments[1..])?),
        _ => return Err(CliError::Template(format!(":1: function {name:?} not defined"))),
    })
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
    escaped(&value.to_string())
}

/// The JSON text `json` as Go's encoder escapes it.
pub(crate) fn escaped(json: &str) -> String {
    json.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
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

fn sliced(value: &Value, bounds: &[Value]) -> Option<Value> {
    let bound = |at: usize, otherwise: usize| {
        bounds.get(at).map_or(Some(otherwise), |n| n.as_u64().map(|n| n as usize))
    };
    match value {
        Value::String(text) => text.get(bound(0, 0)?..bound(1, text.len())?).map(Value::from),
        Value::Array(items) => items.get(bound(0, 0)?..bound(1, items.len())?).map(Value::from),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => None,
    }
}

/// `eq` with any of several, and the other comparisons with one.
fn compared(name: &str, first: &Value, others: &[Value]) -> Result<bool, CliError> {
    let wrong = |what: &str| CliError::Template(format!(":1: error calling {name}: {what}"));
    if others.is_empty() {
        return Err(wrong("missing argument for comparison"));
    }
    let kind = std::mem::discriminant::<Value>;
    if others.iter().any(|other| kind(other) != kind(first) && !other.is_null() && !first.is_null()) {
        return Err(wrong("incompatible types for comparison"));
    }
    let other = &others[0];
    Ok(match name {
        "eq" => others.contains(first),
        "ne" => first != other,
        "lt" => order(first, other) == Some(Ordering::Less),
        "le" => matches!(order(first, other), Some(Ordering::Less | Ordering::Equal)),
        "gt" => order(first, other) == Some(Ordering::Greater),
        _ => matches!(order(first, other), Some(Ordering::Greater | Ordering::Equal)),
    })
}

fn order(a: &Value, b: &Value) -> Option<Ordering> {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a.as_f64()?.partial_cmp(&b.as_f64()?),
        (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
        _ => None,
    }
}

/// Go's `Sprint`: a blank only between operands of which neither is a text.
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

fn title(text: &str) -> String {
    let mut start = true;
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if start {
            out.extend(c.to_uppercase());
        } else {
            out.push(c);
        }
        start = !(c.is_alphanumeric() || c == '_');
    }
    out
}

fn html(text: &str) -> String {
    replaced(text, |c| match c {
        '<' => Some("&lt;".to_owned()),
        '>' => Some("&gt;".to_owned()),
        '&' => Some("&amp;".to_owned()),
        '"' => Some("&#34;".to_owned()),
        '\'' => Some("&#39;".to_owned()),
        '\0' => Some("\u{fffd}".to_owned()),
        _ => None,
    })
}

fn query(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~');
    let encoded = |byte: u8| match byte {
        b' ' => "+".to_owned(),
        byte if plain(byte) => char::from(byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    text.bytes().map(encoded).collect()
}

fn script(text: &str) -> String {
    replaced(text, |c| match c {
        '\\' | '\'' | '"' => Some(format!("\\{c}")),
        '<' | '>' | '&' | '=' => Some(format!("\\u{:04X}", u32::from(c))),
        c if c.is_control() => Some(format!("\\u{:04X}", u32::from(c))),
        _ => None,
    })
}

fn replaced(text: &str, by: impl Fn(char) -> Option<String>) -> String {
    text.chars().map(|c| by(c).unwrap_or_else(|| c.to_string())).collect()
}
