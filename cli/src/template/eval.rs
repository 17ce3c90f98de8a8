//! Applies a template to a value.

use super::{
    functions,
    parse::{Node, Operand, Pipeline, Template},
    printed::printed,
};
use crate::error::CliError;
use serde_json::Value;

/// How deep templates may use templates, themselves among them.
const MAX_DEPTH: usize = 100;

/// Fields that hold maps, in which a key that is not there is no mistake.
const MAPS: [&str; 9] = [
    "Labels",
    "ExposedPorts",
    "Volumes",
    "Annotations",
    "Sysctls",
    "Data",
    "Tmpfs",
    "PortBindings",
    "DriverOpts",
];
/// The field of a row that is asked for with a name behind it: an object with the labels, nothing in the row of headings.
pub(crate) const LABEL: &str = "Label";
/// The field that holds an object which docker does not look into where there is none.
const HEALTH: &str = "Health";
/// Fields that hold lists.
const LISTS: [&str; 24] = [
    "Aliases",
    "Args",
    "Binds",
    "CapAdd",
    "CapDrop",
    "Cmd",
    "DNSNames",
    "DeviceCgroupRules",
    "DeviceRequests",
    "Entrypoint",
    "Env",
    "ExecIDs",
    "ExtraHosts",
    "GroupAdd",
    "Links",
    "MaskedPaths",
    "OnBuild",
    "ReadonlyPaths",
    "RepoDigests",
    "RepoTags",
    "SecurityOpt",
    "Shell",
    "SecondaryIPAddresses",
    "VolumesFrom",
];

impl Template {
    /// The text of the template for `value`.
    ///
    /// # Errors
    /// [`CliError::Template`] for unknown fields and functions, and for functions applied to what they do not take.
    pub(crate) fn render(&self, value: &Value) -> Result<String, CliError> {
        let mut out = String::new();
        Scope::new(self, value.clone(), 0).nodes(&self.nodes, &mut out)?;
        Ok(out)
    }
}

/// Where a block of nodes ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    Next,
    Break,
    Continue,
}

struct Scope<'t> {
    template: &'t Template,
    /// The value of `.`.
    cursor: Value,
    /// Innermost last.
    variables: Vec<(String, Value)>,
    /// How many templates use this one.
    depth: usize,
}

impl<'t> Scope<'t> {
    fn new(template: &'t Template, value: Value, depth: usize) -> Self {
        Self { template, cursor: value.clone(), variables: vec![("$".to_owned(), value)], depth }
    }

    fn nodes(&mut self, nodes: &'t [Node], out: &mut String) -> Result<Flow, CliError> {
        for node in nodes {
            let flow = match node {
                Node::Text(text) => {
                    out.push_str(text);
                    Flow::Next
                }
                Node::Action(pipeline) => {
                    let value = self.pipeline(pipeline)?;
                    if pipeline.variables.is_empty() {
                        out.push_str(&shown(pipeline, &value));
                    } else {
                        self.assign(&pipeline.variables, value);
                    }
                    Flow::Next
                }
                Node::If(condition, then, otherwise) => {
                    let depth = self.variables.len();
                    let value = self.condition(condition)?;
                    let chosen = if functions::truth(&value) { then } else { otherwise };
                    self.inner(chosen, depth, out)?
                }
                Node::With(condition, then, otherwise) => {
                    let depth = self.variables.len();
                    let value = self.condition(condition)?;
                    if functions::truth(&value) {
                        let outer = std::mem::replace(&mut self.cursor, value);
                        let flow = self.inner(then, depth, out)?;
                        self.cursor = outer;
                        flow
                    } else {
                        self.inner(otherwise, depth, out)?
                    }
                }
                Node::Range(pipeline, body, otherwise) => self.range(pipeline, (body, otherwise), out)?,
                Node::Template(name, argument) => {
                    self.used(name, argument.as_ref(), out)?;
                    Flow::Next
                }
                Node::Break => Flow::Break,
                Node::Continue => Flow::Continue,
            };
            if flow != Flow::Next {
                return Ok(flow);
            }
        }
        Ok(Flow::Next)
    }

    fn range(
        &mut self,
        pipeline: &'t Pipeline,
        (body, otherwise): (&'t [Node], &'t [Node]),
        out: &mut String,
    ) -> Result<Flow, CliError> {
        let entries = entries(self.pipeline(pipeline)?)?;
        let depth = self.variables.len();
        if entries.is_empty() {
            return self.inner(otherwise, depth, out);
        }
        for (key, value) in entries {
            let outer = std::mem::replace(&mut self.cursor, value.clone());
            match pipeline.variables.as_slice() {
                [] => {}
                [one] => self.variables.push((one.clone(), value)),
                [first, second, ..] => {
                    self.variables.push((first.clone(), key));
                    self.variables.push((second.clone(), value));
                }
            }
            let flow = self.inner(body, depth, out)?;
            self.cursor = outer;
            if flow == Flow::Break {
                break;
            }
        }
        Ok(Flow::Next)
    }

    /// `{{template "name" argument}}`, which sees its argument and no variable of ours.
    fn used(&mut self, name: &str, argument: Option<&'t Pipeline>, out: &mut String) -> Result<(), CliError> {
        let failed = |what: &str| CliError::Template(format!(":1: {what}"));
        let nodes = self.template.defined.get(name);
        let nodes = nodes.ok_or_else(|| failed(&format!("template {name:?} not defined")))?;
        if self.depth == MAX_DEPTH {
            return Err(failed(&format!("exceeded maximum template depth ({MAX_DEPTH})")));
        }
        let value = argument.map(|argument| self.pipeline(argument)).transpose()?.unwrap_or(Value::Null);
        Scope::new(self.template, value, self.depth + 1).nodes(nodes, out).map(drop)
    }

    /// Runs `nodes`; variables behind the first `depth` are theirs.
    fn inner(&mut self, nodes: &'t [Node], depth: usize, out: &mut String) -> Result<Flow, CliError> {
        let flow = self.nodes(nodes, out)?;
        self.variables.truncate(depth);
        Ok(flow)
    }

    /// The value of an `if` or `with`, which may have a name of its own.
    fn condition(&mut self, pipeline: &'t Pipeline) -> Result<Value, CliError> {
        let value = self.pipeline(pipeline)?;
        let declared = pipeline.variables.iter().map(|name| (name.clone(), value.clone()));
        self.variables.extend(declared);
        Ok(value)
    }

    fn assign(&mut self, names: &[String], value: Value) {
        let Some(name) = names.last() else { return };
        match self.variables.iter_mut().rev().find(|(known, _)| known == name) {
            Some((_, old)) => *old = value,
            None => self.variables.push((name.clone(), value)),
        }
    }

    fn pipeline(&mut self, pipeline: &'t Pipeline) -> Result<Value, CliError> {
        let mut fed: Option<Value> = None;
        for command in &pipeline.commands {
            fed = Some(self.command(command, fed)?);
        }
        Ok(fed.unwrap_or(Value::Null))
    }

    fn command(&mut self, command: &'t [Operand], fed: Option<Value>) -> Result<Value, CliError> {
        match command {
            [Operand::Function(name), arguments @ ..] => {
                let mut values =
                    arguments.iter().map(|operand| self.operand(operand)).collect::<Result<Vec<_>, _>>()?;
                values.extend(fed);
                functions::call(name, &values)
            }
            [path @ Operand::Path(_, fields), name]
                if fed.is_none() && fields.last().is_some_and(|last| last == LABEL) =>
            {
                let (labels, name) = (self.operand(path)?, self.operand(name)?);
                Ok(Value::from(label(&labels, name.as_str().unwrap_or_default())))
            }
            [operand] if fed.is_none() => self.operand(operand),
            _ => Err(CliError::Template(":1: can't give argument to non-function".to_owned())),
        }
    }

    fn operand(&mut self, operand: &'t Operand) -> Result<Value, CliError> {
        match operand {
            Operand::Literal(value) => Ok(value.clone()),
            Operand::Nested(pipeline, fields) => {
                let value = self.pipeline(pipeline)?;
                field(&value, fields)
            }
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

/// The value of a label; its heading where there are no labels: the last part of its name, in words.
fn label(labels: &Value, name: &str) -> String {
    match labels.as_object() {
        Some(labels) => labels.get(name).and_then(Value::as_str).unwrap_or_default().to_owned(),
        None => name.rsplit('.').next().unwrap_or_default().replace(['-', '_'], " "),
    }
}

fn field(start: &Value, fields: &[String]) -> Result<Value, CliError> {
    let mut value = start;
    for (index, name) in fields.iter().enumerate() {
        let of_map = index > 0 && MAPS.contains(&fields[index - 1].as_str());
        match value.get(name) {
            Some(found) => value = found,
            // an absent object (`Healthcheck` of an image without one) has no fields, and asking for one is not a mistake, but for
            // that of a container's health
            None if of_map || (value.is_null() && index > 0 && fields[index - 1] != HEALTH) => {
                return Ok(Value::Null);
            }
            None => {
                let path = fields[..=index].join(".");
                let name = if value.is_null() { &fields[index - 1] } else { name };
                return Err(CliError::Template(format!(
                    ":1:2: executing \"\" at <.{path}>: map has no entry for key {name:?}"
                )));
            }
        }
    }
    Ok(value.clone())
}

/// The text of a pipeline's result. What is not set is shown as what it would be: JSON calls all of it null, Go does not.
fn shown(pipeline: &Pipeline, value: &Value) -> String {
    let fields = match pipeline.commands.as_slice() {
        [command] => match command.as_slice() {
            [Operand::Path(_, fields) | Operand::Nested(_, fields)] => fields.as_slice(),
            _ => &[],
        },
        _ => &[],
    };
    match fields {
        [.., name] if value.is_null() && LISTS.contains(&name.as_str()) => "[]".to_owned(),
        [.., name] if value.is_null() && MAPS.contains(&name.as_str()) => "map[]".to_owned(),
        [.., map, _] if value.is_null() && MAPS.contains(&map.as_str()) => "<no value>".to_owned(),
        _ => printed(value),
    }
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
        // Go counts up to a number; the limit is ours
        Value::Number(number) if number.as_u64().is_some_and(|count| count <= 1_000_000) => {
            let count = number.as_u64().unwrap_or(0);
            Ok((0..count).map(|index| (Value::from(index), Value::from(index))).collect())
        }
        Value::Number(_) | Value::String(_) | Value::Bool(_) => {
            Err(CliError::Template(format!(":1: range can't iterate over {}", printed(&value))))
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
            "Cmd": null, "Healthcheck": null, "User": ""}, "Flag": true, "Label": {"a.b": "c"}, "Head": {"Label": null}
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
            ("{{.Config.Cmd}} {{.Config.Labels.z}} {{if .Config.Labels.z}}y{{end}}", "[] <no value> "),
            ("{{.Config.Healthcheck}} {{.Config.Healthcheck.Test}}", "<nil> <nil>"),
            ("{{range $i, $t := .Tags}}{{if $i}}{{break}}{{end}}{{$t}}{{end}}", "a:1"),
            ("{{range .Tags}}{{if eq . \"a:1\"}}{{continue}}{{end}}{{.}}{{end}}", "b:2"),
            (
                "{{define \"x\"}}<{{.}}>{{end}}{{template \"x\" .Id}}{{block \"b\" .Size}}[{{.}}]{{end}}",
                "<sha256:ab>[12]",
            ),
            ("{{with $y := .Id}}{{$y}}{{end}}{{if $z := .Size}}{{$z}}{{end}}", "sha256:ab12"),
            ("{{with .Config.User}}{{.}}{{else with .Id}}else {{.}}{{end}}", "else sha256:ab"),
            ("{{(.Config).Env}} {{(index .Tags 0) | len}}", "[A=1 B=2] 3"),
            ("{{slice .Tags 1}} {{slice .Id 0 3}}", "[b:2] sha"),
            ("{{0x10}} {{1e3}} {{1_000}} {{'a'}} {{\"\\x41\\t\"}}|", "16 1000 1000 97 A\t|"),
            (
                "{{html \"<a>&\"}} {{urlquery \"a b&c\"}} {{js \"a\\\"<b>\"}}",
                "&lt;a&gt;&amp; a+b%26c a\\\"\\u003Cb\\u003E",
            ),
            (
                "{{printf \"%q %5d|%-5d|%05d %x %.2f %.3s %*d\" .Id 4 5 6 255 1.5 .Id 4 3}}",
                "\"sha256:ab\"     4|5    |00006 ff 1.50 sha    3",
            ),
            (
                "{{title \"a-b c_d é\"}} {{pad .Flag 1 1}}",
                "error: template parsing error: template: :1: wrong number or type of args for pad",
            ),
            ("{{title \"a-b c_d é\"}}{{pad \"\" 1 1}}{{pad \"x\" 1 2}}|", "A-B C_d É x  |"),
            ("{{json \"<&>\"}} {{range 3}}{{.}}{{end}}", "\"<&>\" 012"),
            ("{{not .Flag}} {{or .Config.User \"root\"}}", "false root"),
            (
                "{{.Label \"a.b\" | upper}}{{.Label \"z\"}} {{.Head.Label \"com.x.foo-bar_baz\"}}",
                "C foo bar baz",
            ),
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
            ("{{eq 1 \"a\"}}", "incompatible types for comparison"),
            ("{{break}}", "{{break}} outside {{range}}"),
            ("{{nil}}", "nil is not a command"),
            (
                "{{define \"x\"}}{{template \"x\"}}{{end}}{{template \"x\"}}",
                "exceeded maximum template depth (100)",
            ),
        ] {
            let got = rendered(template);
            assert!(
                got.starts_with("error: template parsing error: template: :1") && got.ends_with(expected),
                "{got}"
            );
        }
    }
}
