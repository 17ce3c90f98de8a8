//! Lines of listings, of which only what is shown is made.

use serde::Serialize;
use serde_json::{Map, Value};

/// One line of a listing: texts by the names of Docker's fields, and in `Label` what templates look up by a name (`{{.Label "x"}}`).
pub trait Row {
    /// The texts of `fields`, in their order; empty where the row has no such field.
    fn texts(&self, fields: &[&str]) -> Vec<String>;

    /// All fields, in the order of `--format json`, which leaves `Label` out.
    fn object(&self) -> Map<String, Value>;
}

impl<T: Serialize> Row for T {
    fn texts(&self, fields: &[&str]) -> Vec<String> {
        let row = self.object();
        let text = |field: &&str| row.get(*field).and_then(Value::as_str).unwrap_or_default().to_owned();
        fields.iter().map(text).collect()
    }

    fn object(&self) -> Map<String, Value> {
        match serde_json::to_value(self) {
            Ok(Value::Object(fields)) => fields,
            Ok(_) | Err(_) => unreachable!("a row is a struct of texts"),
        }
    }
}
