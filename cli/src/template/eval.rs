//! Applies a template to a value.

use super::{
    functions,
    parse::{Node, Operand, Pipeline, Template},
};
use crate::error::CliError;
use serde_json::Value;

impl Template {
    /// The text of the template for `value`.
    ///
    /// # Errors
    /// [`CliError::Template`] for unknown fields and functions, and for functions applied to what they do not take.
    pub(crate) fn render(&self, value: &Value) -> Result<String, CliError> {
        let mut scope = Scope { cursor: value.clone(), variables: vec![("$".to_owned(), value.clone())] };
        let mut out = String::new();
        scope.nodes(&self.nodes, &mut out)?;
        Ok(out)
    }
}

struct Scope {
    /// The value of `.`.
    cursor: Value,
    /// Innermost last.
    variables: Vec<(String, Value)>,
}

impl Scope {
    fn nodes(&mut self, nodes: &[Node], out: &mut String) -> Result<(), CliError> {
        for node in nodes {
            match node {
                Node::Text(text) => out.push_str(text),
                Node::Action(variables, pipeline) => {
                    let value = self.pipeline(pipeline)?;
                    match variables.last() {
                        Some(name) => self.set(name, value),
                        None => out.push_str(&functions::printed(&value)),
                    }
                }
                Node::If(condition, then, otherwise) => {
                    let chosen = if functions::truth(&self.pipeline(condition)?) { then } else { otherwise };
                    self.inner(chosen, out)?;
                }
                Node::With(condition, then, otherwise) => {
                    let value = self.pipeline(condition)?;
                    if functions::truth(&value) {
                        let outer = std::mem::replace(&mut self.cursor, value);
                        self.inner(then, out)?;
                        self.cursor = outer;
                    } else {
                        self.inner(otherwise, out)?;
                    }
                }
                Node::Range(variables, pipeline, body, otherwise) => {
                    let entries = entries(self.pipeline(pipeline)?)?;
                    if entries.is_empty() {
                        self.inner(otherwise, out)?;
                    }
                    for (key, value) in entries {
                        self.iteration(variables, (key, value), body, out)?;
                    }
                }
            }
        }
        Ok(())
    }

    fn iteration(
        &mut self,
        variables: &[String],
        (key, value): (Value, Value),
        body: &[Node],
        out: &mut String,
    ) -> Result<(), CliError> {
        let (depth, outer) = (self.variables.len(), std::mem::replace(&mut self.cursor, value.clone()));
        match variables {
            [] => {}
            [one] => self.variables.push((one.clone(), value)),
            [first, second, ..] => {
                self.variables.push((first.clone(), key));
                self.variables.push((second.clone(), value));
            }
        }
        self.nodes(body, out)?;
        self.variables.truncate(depth);
        self.cursor = outer;
        Ok(())
    }

    fn inner(&mut self, nodes: &[Node], out: &mut String) -> Result<(), CliError> {
        let depth = self.variables.len();
        self.nodes(nodes, out)?;
        self.variables.truncate(depth);
        Ok(())
    }

    fn set(&mut self, name: &str, value: Value) {
        match self.variables.iter_mut().rev().find(|(known, _)| known == name) {
            Some((_, old)) => *old = value,
            None => self.variables.push((name.to_owned(), value)),
        }
    }

    fn pipeline(&mut self, pipeline: &Pipeline) -> Result<Value, CliError> {
        let mut fed: Option<Value> = None;
        for command in &pipeline.0 {
            fed = Some(self.command(command, fed)?);
        }
        Ok(fed.unwrap_or(Value::Null))
    }

    fn command(&mut self, command: &[Operand], fed: Option<Value>) -> Result<Value, CliError> {
        match command {
            [Operand::Function(name), arguments @ ..] => {
                let mut values =
                    arguments.iter().map(|operand| self.operand(operand)).collect::<Result<Vec<_>, _>>()?;
                values.extend(fed);
                functions::call(name, &values)
            }
            [operand] if fed.is_none() => self.operand(operand),
            _ => Err(CliError::Template(":1: can't give argument to non-function".to_owned())),
        }
    }

    fn operand(&mut self, operand: &Operand) -> Result<Value, CliError> {
        match operand {
            Operand::Literal(value) => Ok(value.clone()),
            Operand::Nested(pipeline) => self.pipeline(pipeline),
            Operand::Function(name) => functions::call(name, &[]),
            Operand::Path(variable, fields) => {
                let start = if variable == "." {
                    &self.cursor
                } else {
                    let found = self.variables.iter().rev().find(|(name, _)| name == variable);
                    &found
                        .ok_or_else(|| CliError::Template(format!(":1: undefined variable {variable:?}")))?
                        .1
                };
                field(start, fields)
            }
        }
    }
}

fn field(start: &Value, fields: &[String]) -> Result<Value, CliError> {
    let mut value = start;
    for (index, name) in fields.iter().enumerate() {
        // an absent object (`Healthcheck` of an image without one) has no fields, and asking for one is not a mistake
        if value.is_null() && index > 0 {
            return Ok(Value::Null);
        }
        value = value.get(name).ok_or_else(|| {
            let path = fields[..=index].join(".");
            CliError::Template(format!(
                ":1:2: executing \"\" at <.{path}>: map has no entry for key {name:?}"
            ))
        })?;
    }
    Ok(value.clone())
}

fn entries(value: Value) -> Result<Vec<(Value, Value)>, CliError> {
    match value {
        Value::Null => Ok(Vec::new()),
        Value::Array(items) => {
            Ok(items.into_iter().enumerate().map(|(index, item)| (Value::from(index), item)).collect())
        }
        Value::Object(map) => {
            let mut entries: Vec<_> = map.into_iter().collect();
            entries.sort_by(|(a, _), (b, _)| a.cmp(b));
            Ok(entries.into_iter().map(|(key, value)| (Value::from(key), value)).collect())
        }
        Value::Number(_) | Value::String(_) | Value::Bool(_) => {
            Err(CliError::Template(format!(":1: range can't iterate over {}", functions::printed(&value))))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn rendered(template: &str) -> String {
        let value = json!({
            "Id": "sha256:ab", "Tags": ["a:1", "b:2"], "Size": 12, "Config": {"Env": ["A=1", "B=2"], "Labels": {"y": "2", "x": "1"},
            "Cmd": null, "User": ""}, "Flag": true
        });
        Template::parse(template)
            .and_then(|template| template.render(&value))
            .unwrap_or_else(|e| format!("error: {e}"))
    }

    #[test]
    fn what_people_write() {
        for (template, expected) in [
            ("{{.Id}} {{.Size}}", "sha256:ab 12"),
            ("{{ .Config.Env }}", "[A=1 B=2]"),
            ("{{.Config.Labels}}", "map[x:1 y:2]"),
            ("{{json .Config.Labels}}", r#"{"y":"2","x":"1"}"#),
            ("{{index .Tags 1}} {{index .Config.Labels \"x\"}}", "b:2 1"),
            ("{{range .Config.Env}}{{println .}}{{end}}", "A=1\nB=2\n"),
            ("{{range $k, $v := .Config.Labels}}{{$k}}={{$v}};{{end}}", "x=1;y=2;"),
            ("{{range $i, $t := .Tags}}{{if $i}}, {{end}}{{$t}}{{end}}", "a:1, b:2"),
            ("{{if .Config.User}}u{{else if .Flag}}f{{else}}n{{end}}", "f"),
            ("{{with .Config.Cmd}}{{.}}{{else}}none{{end}}", "none"),
            ("{{join .Tags \",\"}}|{{len .Tags}}|{{.Id | upper}}", "a:1,b:2|2|SHA256:AB"),
            ("{{(index .Tags 0) | printf \"%s!\"}}", "a:1!"),
            ("{{printf \"%s-%d\" .Id .Size}}", "sha256:ab-12"),
            ("{{if and .Flag (eq .Size 12)}}yes{{end}}", "yes"),
            ("{{slice .Id 7}} {{truncate .Id 6}}", "ab sha256"),
            ("a {{- \" b\" -}} c{{/* x */}}", "a bc"),
            ("{{$x := .Size}}{{$x}}{{$.Size}}", "1212"),
            ("{{.Config.Cmd}}", "<nil>"),
            ("{{not .Flag}} {{or .Config.User \"root\"}}", "false root"),
        ] {
            assert_eq!(rendered(template), expected, "{template}");
        }
    }

    #[test]
    fn mistakes_are_go_s() {
        for (template, expected) in [
            ("{{.Foo}}", "executing \"\" at <.Foo>: map has no entry for key \"Foo\""),
            ("{{index .a}} {{", "unclosed action"),
            ("{{nope .Id}}", "function \"nope\" not defined"),
            ("{{if .Id}}", "unexpected EOF"),
            ("{{end}}", "unexpected {{end}}"),
            ("{{$y}}", "undefined variable \"$y\""),
        ] {
            let got = rendered(template);
            assert!(
                got.starts_with("error: template parsing error: template: :1") && got.ends_with(expected),
                "{got}"
            );
        }
    }
}
