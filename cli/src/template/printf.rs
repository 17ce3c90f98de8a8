//! Go's `Sprintf` for the values of templates.

use super::printed::printed;
use serde_json::Value;

/// The widest field: a template must not fill the memory.
const MAX_WIDTH: usize = 1_000_000;

/// One `%…`: its flags, width and precision.
#[derive(Default)]
struct Spec {
    left: bool,
    zero: bool,
    width: usize,
    precision: Option<usize>,
}

/// `format` with `values` in it: `%s %v %d %q %t %x %X %o %b %c %e %f %g %T %%`, with flags, widths and precisions.
pub(super) fn formatted(format: &str, values: &[Value]) -> String {
    let mut values = values.iter();
    let mut out = String::new();
    let mut rest = format;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        let (spec, tail) = specification(&rest[at + 1..], &mut values);
        let Some(verb) = tail.chars().next() else {
            out.push_str("%!(NOVERB)");
            return out;
        };
        rest = &tail[verb.len_utf8()..];
        if verb == '%' {
            out.push('%');
            continue;
        }
        let text = values.next().map_or_else(|| format!("%!{verb}(MISSING)"), |value| spec.text(verb, value));
        out.push_str(&spec.padded(text));
    }
    out.push_str(rest);
    let left: Vec<String> = values.map(|value| format!("{}={}", kind(value), printed(value))).collect();
    if !left.is_empty() {
        out.push_str(&format!("%!(EXTRA {})", left.join(", ")));
    }
    out
}

/// What stands between `%` and the verb; `*` takes a value.
fn specification<'a, 'v>(mut text: &'a str, values: &mut impl Iterator<Item = &'v Value>) -> (Spec, &'a str) {
    let mut spec = Spec::default();
    loop {
        match text.as_bytes().first() {
            Some(b'-') => spec.left = true,
            Some(b'0') => spec.zero = true,
            Some(b'+' | b' ' | b'#') => {}
            _ => break,
        }
        text = &text[1..];
    }
    let mut count = |text: &'a str| match text.strip_prefix('*') {
        Some(rest) => (values.next().and_then(Value::as_u64).unwrap_or(0), rest),
        None => {
            let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
            (text[..end].parse().unwrap_or(0), &text[end..])
        }
    };
    let bounded = |count: u64| usize::try_from(count).unwrap_or(MAX_WIDTH).min(MAX_WIDTH);
    let (width, mut rest) = count(text);
    spec.width = bounded(width);
    if let Some(precise) = rest.strip_prefix('.') {
        let (precision, behind) = count(precise);
        (spec.precision, rest) = (Some(bounded(precision)), behind);
    }
    (spec, rest)
}

impl Spec {
    fn text(&self, verb: char, value: &Value) -> String {
        let whole = value.as_i64();
        match (verb, value) {
            ('q', _) => Value::from(printed(value)).to_string(),
            ('T', _) => kind(value).to_owned(),
            ('x', Value::String(text)) => text.bytes().map(|byte| format!("{byte:02x}")).collect(),
            ('X', Value::String(text)) => text.bytes().map(|byte| format!("{byte:02X}")).collect(),
            ('x' | 'X' | 'o' | 'b' | 'c' | 'U', Value::Number(_)) => match (verb, whole) {
                ('x', Some(number)) => format!("{number:x}"),
                ('X', Some(number)) => format!("{number:X}"),
                ('o', Some(number)) => format!("{number:o}"),
                ('b', Some(number)) => format!("{number:b}"),
                ('U', Some(number)) => format!("U+{number:04X}"),
                (_, Some(number)) => {
                    u32::try_from(number).ok().and_then(char::from_u32).map_or_else(String::new, String::from)
                }
                (_, None) => printed(value),
            },
            ('f' | 'F', Value::Number(number)) => {
                format!("{:.*}", self.precision.unwrap_or(6), number.as_f64().unwrap_or(0.0))
            }
            ('d', Value::String(text)) => format!("%!d(string={text})"),
            ('s', Value::Number(number)) => format!("%!s({}={number})", kind(value)),
            ('s', Value::Bool(truth)) => format!("%!s(bool={truth})"),
            _ => {
                let text = printed(value);
                match self.precision {
                    Some(longest) if value.is_string() => text.chars().take(longest).collect(),
                    _ => text,
                }
            }
        }
    }

    fn padded(&self, text: String) -> String {
        let missing = self.width.saturating_sub(text.chars().count());
        match (self.left, self.zero) {
            (true, _) => text + &" ".repeat(missing),
            (false, true) => match text.strip_prefix('-') {
                Some(digits) => format!("-{}{digits}", "0".repeat(missing)),
                None => "0".repeat(missing) + &text,
            },
            (false, false) => " ".repeat(missing) + &text,
        }
    }
}

/// Go's name for the kind of a value.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int",
        Value::String(_) => "string",
        Value::Array(_) => "[]string",
        Value::Object(_) => "map[string]string",
    }
}
