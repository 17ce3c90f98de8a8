//! `--format`: the default table, `table TEMPLATE`, `json`, or a template for each row.

use super::aligned;
use crate::{
    error::CliError,
    shown::one_line,
    streams::Answer,
    template::{self, LABEL, Template},
};
use rbuild_docker_api::Row;
use serde_json::{Map, Value};

/// A field that templates may name, and its heading.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    /// Docker's name of the field.
    pub(crate) field: &'static str,
    /// Its heading.
    pub(crate) heading: &'static str,
}

/// Rows of one kind, each made when it is shown: a thousand of them with all their fields would fill megabytes.
pub(crate) struct Listing<I> {
    /// Every field a row has, in the order of `--format json`.
    columns: &'static [Column],
    /// The fields of the default table, in order.
    shown: Vec<&'static str>,
    /// Each a line.
    rows: I,
}

/// The form that `--format` asks for.
#[derive(Debug)]
pub(crate) enum Format {
    /// The usual table.
    Table,
    /// A table of the template's columns.
    TableOf(Template),
    /// One JSON object a line.
    Json,
    /// The template once a row.
    Rows(Template),
}

impl Format {
    /// Reads the flag's value; nothing is the usual table.
    ///
    /// # Errors
    /// [`CliError::Template`].
    pub(crate) fn parse(flag: Option<&str>) -> Result<Self, CliError> {
        // Docker lets people write tabs and line ends as escapes in listings
        let unescaped = |text: &str| text.replace("\\t", "\t").replace("\\n", "\n");
        match flag.map(str::trim) {
            None | Some("" | "table") => Ok(Self::Table),
            // a whole row is escaped, its fields are not
            Some("json" | "{{json .}}") => Ok(Self::Json),
            Some(text) => match text.strip_prefix("table") {
                Some(rest) if rest.starts_with([' ', '\t', '\\']) => {
                    Ok(Self::TableOf(Template::parse(unescaped(rest).trim_start_matches([' ', '\t']))?))
                }
                _ => Ok(Self::Rows(Template::parse(&unescaped(text))?)),
            },
        }
    }
}

impl<R: Row, I: Iterator<Item = R>> Listing<I> {
    /// A listing of `rows`; `shown` are the fields of its default table, in order.
    pub(crate) fn of(
        columns: &'static [Column],
        shown: &[&'static str],
        rows: impl IntoIterator<IntoIter = I>,
    ) -> Self {
        Self { columns, shown: shown.to_vec(), rows: rows.into_iter() }
    }

    /// The ids alone, a line each (`--quiet`).
    pub(crate) fn ids(self) -> Answer {
        Answer::Text(self.rows.map(|row| row.texts(&["ID"]).concat() + "\n").collect())
    }

    /// The listing. A value in a table is always one line, because values are written by strangers.
    ///
    /// # Errors
    /// [`CliError::Template`] when the template names a field there is not.
    pub(crate) fn render(self, format: &Format) -> Result<Answer, CliError> {
        let Self { columns, shown, rows } = self;
        match format {
            Format::Table => {
                let heading = |field: &&'static str| {
                    let column = columns.iter().find(|column| column.field == *field);
                    column.map_or_else(String::new, |column| column.heading.to_owned())
                };
                let head = shown.iter().map(heading).collect();
                let tame = |text: String| one_line(&text).into_owned();
                let cells = |row: R| row.texts(&shown).into_iter().map(tame).collect();
                let rows: Vec<Vec<String>> = std::iter::once(head).chain(rows.map(cells)).collect();
                Ok(Answer::Text(aligned(&rows)))
            }
            Format::TableOf(template) => {
                let head =
                    columns.iter().map(|column| (column.field.to_owned(), Value::from(column.heading)));
                let head = head.chain([(LABEL.to_owned(), Value::Null)]);
                let mut lines = Vec::new();
                for row in std::iter::once(head.collect()).chain(rows.map(|row| row.object())) {
                    let line = template.render(&Value::Object(tame(row)))?;
                    lines.push(line.split('\t').map(str::to_owned).collect());
                }
                Ok(Answer::Text(aligned(&lines)))
            }
            Format::Json => lines(rows, |mut row| {
                if let Some(fields) = row.as_object_mut() {
                    fields.retain(|field, _| field != LABEL);
                }
                Ok(template::to_json(&row))
            }),
            Format::Rows(template) => lines(rows, |row| template.render(&row)),
        }
    }
}

fn lines<R: Row>(
    rows: impl Iterator<Item = R>,
    line: impl Fn(Value) -> Result<String, CliError>,
) -> Result<Answer, CliError> {
    let mut out = String::new();
    for row in rows {
        out.push_str(&line(Value::Object(row.object()))?);
        out.push('\n');
    }
    Ok(Answer::Data(out))
}

/// The row with each text in one line.
fn tame(row: Map<String, Value>) -> Map<String, Value> {
    let one_line = |value: Value| value.as_str().map(|text| one_line(text).into()).unwrap_or(value);
    row.into_iter().map(|(field, value)| (field, one_line(value))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: &[Column] =
        &[Column { field: "ID", heading: "IMAGE ID" }, Column { field: "Repository", heading: "REPOSITORY" }];

    fn rendered(format: &str) -> Result<String, String> {
        let row = |id: &str, name: &str| {
            Map::from_iter([("ID".to_owned(), id.into()), ("Repository".to_owned(), name.into())])
        };
        let rows = vec![row("ed94c19508b9", "debian"), row("41674f48864b", "<none>")];
        let listing = Listing::of(COLUMNS, &["Repository", "ID"], rows);
        let format = Format::parse(Some(format)).map_err(|error| error.to_string())?;
        match listing.render(&format).map_err(|error| error.to_string())? {
            Answer::Text(text) | Answer::Data(text) => Ok(text),
        }
    }

    #[test]
    fn every_kind_of_format() {
        let usual = "REPOSITORY   IMAGE ID\ndebian       ed94c19508b9\n<none>       41674f48864b\n";
        assert_eq!(rendered("").unwrap(), usual);
        assert_eq!(rendered("table").unwrap(), usual);
        assert_eq!(rendered("table {{.Repository}}\\t{{.ID}}").unwrap(), usual);
        assert_eq!(
            rendered("{{.ID}}:{{.Repository}}").unwrap(),
            "ed94c19508b9:debian\n41674f48864b:<none>\n"
        );
        let json = rendered("json").unwrap();
        assert_eq!(json.lines().nth(1), Some(r#"{"ID":"41674f48864b","Repository":"\u003cnone\u003e"}"#));
        assert_eq!(rendered("{{json .}}").unwrap(), json);
        assert_eq!(rendered("{{json .Repository}}").unwrap(), "\"debian\"\n\"<none>\"\n");
        assert_eq!(rendered("{{json .ID}}").unwrap(), "\"ed94c19508b9\"\n\"41674f48864b\"\n");
    }

    #[test]
    fn unknown_fields_are_named() {
        let error = rendered("{{.Foo}}").unwrap_err();
        assert!(error.contains("executing \"\" at <.Foo>"), "{error}");
    }
}
