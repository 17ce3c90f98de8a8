//! Values as Go prints them.

use serde_json::Value;

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

/// Several, with `separator` between.
pub(super) fn joined(values: &[Value], separator: &str) -> String {
    values.iter().map(printed).collect::<Vec<_>>().join(separator)
}
