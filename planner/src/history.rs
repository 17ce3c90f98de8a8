//! History and times: Go's quoting, which `CMD` and `HEALTHCHECK` entries are written in, and the config of a finished
//! image.

use crate::graph::StepId;
use crate::plan::TargetImage;
use rbuild_oci::{DiffId, HistoryEntry, ImageConfig, Timestamp};
use std::fmt::Write as _;

/// The comment of every new entry.
pub(crate) const COMMENT: &str = "buildkit.dockerfile.v0";
/// The comment of entries for layers that no history mentions.
const FILLER_COMMENT: &str = "buildkit.exporter.image.v0";

impl TargetImage {
    /// The config with its DiffIds, history and times.
    ///
    /// `results` gives the layer of each step and when it
    /// was made; `source_date_epoch`, in seconds, takes the place of every new time.
    #[must_use]
    pub fn finished_config(
        &self,
        results: &dyn Fn(StepId) -> (DiffId, Timestamp),
        source_date_epoch: Option<i64>,
    ) -> ImageConfig {
        let mut config = self.config.clone();
        let epoch = source_date_epoch.and_then(Timestamp::from_seconds);
        let mut layers = vec![Layer { description: "", made: None }; config.rootfs.diff_ids.len()];
        for layer in &self.layers {
            let (diff_id, made) = results(layer.step);
            config.rootfs.diff_ids.push(diff_id);
            layers.push(Layer { description: &layer.description, made: Some(epoch.unwrap_or(made)) });
        }
        let new = self.history.iter().map(|entry| HistoryEntry { created: epoch, ..entry.clone() });
        config.history.extend(new);
        balance(&mut config.history, &layers);
        fill_times(&mut config.history);
        let last = config.history.iter().rev().find_map(|entry| entry.created);
        config.created = last.map(|last| epoch.map_or(last, |epoch| last.min(epoch)));
        config
    }
}

/// The facts of a layer that a history contains.
#[derive(Clone, Copy)]
struct Layer<'a> {
    description: &'a str,
    /// `None` for those of the base image.
    made: Option<Timestamp>,
}

/// Makes the history have an entry for each layer, with the time of the layer. Entries and
/// layers are paired by their order alone, as Docker does: when a base has layers without an entry, those at the end are
/// the ones that get a new one.
fn balance(history: &mut Vec<HistoryEntry>, layers: &[Layer<'_>]) {
    let mut rest = layers.iter();
    for entry in history.iter_mut().filter(|entry| !entry.empty_layer) {
        match rest.next() {
            Some(layer) => entry.created = entry.created.or(layer.made),
            None => entry.empty_layer = true,
        }
    }
    history.extend(rest.map(|layer| HistoryEntry {
        created: layer.made,
        created_by: layer.description.to_owned(),
        comment: FILLER_COMMENT.to_owned(),
        ..HistoryEntry::default()
    }));
}

/// Entries without a time take that of the last layer before them; those before the first new layer take that layer's.
fn fill_times(history: &mut [HistoryEntry]) {
    let first_missing = history.iter().position(|entry| entry.created.is_none());
    let Some(first_missing) = first_missing else { return };
    let first_new = history[first_missing..].iter().find_map(|entry| entry.created);
    let mut time =
        first_new.or_else(|| history[..first_missing].iter().rev().find_map(|entry| entry.created));
    for entry in &mut history[first_missing..] {
        match entry.created {
            Some(created) => time = Some(created),
            None => entry.created = time,
        }
    }
}

/// Go's `%q` of a string.
pub(crate) fn go_quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    text.chars().for_each(|c| push_escaped(&mut out, c, '"'));
    out.push('"');
    out
}

/// Go's `%q` of a slice of strings: quoted, blanks between.
pub(crate) fn go_quote_all(words: &[String]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| go_quote(word)).collect();
    format!("[{}]", quoted.join(" "))
}

/// Go's `%q` of an integer: the character it stands for, quoted.
pub(crate) fn go_quote_rune(number: i64) -> String {
    let c = u32::try_from(number).ok().and_then(char::from_u32).unwrap_or(char::REPLACEMENT_CHARACTER);
    let mut out = "'".to_owned();
    push_escaped(&mut out, c, '\'');
    out.push('\'');
    out
}

fn push_escaped(out: &mut String, c: char, quote: char) {
    match c {
        '\u{7}' => out.push_str("\\a"),
        '\u{8}' => out.push_str("\\b"),
        '\u{c}' => out.push_str("\\f"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        '\u{b}' => out.push_str("\\v"),
        '\\' => out.push_str("\\\\"),
        c if c == quote => {
            out.push('\\');
            out.push(c);
        }
        c if c.is_ascii_control() => push_hex(out, "\\x", c, 2),
        c if is_printable(c) => out.push(c),
        c if u32::from(c) < 0x1_0000 => push_hex(out, "\\u", c, 4),
        c => push_hex(out, "\\U", c, 8),
    }
}

/// True if `c` is printable: not a control or format character, nor a separator other than the blank, nor private or
/// unassigned.
/// Rust leaves the same characters alone as Go when it escapes a string, save a combining one at its start.
fn is_printable(c: char) -> bool {
    c == '\'' || c == '"' || ['a', c].iter().collect::<String>().escape_debug().nth(1) == Some(c)
}

fn push_hex(out: &mut String, prefix: &str, c: char, width: usize) {
    write!(out, "{prefix}{:0width$x}", u32::from(c)).expect("writing to a string never fails");
}

/// Go's text of a duration in nanoseconds: `1h2m0.5s`, `100ms`, `0s`.
#[must_use]
pub fn go_duration(nanoseconds: i64) -> String {
    let sign = if nanoseconds < 0 { "-" } else { "" };
    let total = nanoseconds.unsigned_abs();
    let fraction = |value: u64, unit: u64| {
        let digits = format!("{:0width$}", value % unit, width = unit.ilog10() as usize);
        let digits = digits.trim_end_matches('0');
        let dot = if digits.is_empty() || unit == 1 { "" } else { "." };
        format!("{}{dot}{}", value / unit, if unit == 1 { "" } else { digits })
    };
    match total {
        0 => "0s".to_owned(),
        1..1_000 => format!("{sign}{total}ns"),
        1_000..1_000_000 => format!("{sign}{}µs", fraction(total, 1_000)),
        1_000_000..1_000_000_000 => format!("{sign}{}ms", fraction(total, 1_000_000)),
        _ => {
            const SECOND: u64 = 1_000_000_000;
            let (minutes, rest) = (total / (60 * SECOND), total % (60 * SECOND));
            let seconds = fraction(rest, SECOND);
            match (minutes / 60, minutes % 60) {
                (0, 0) => format!("{sign}{seconds}s"),
                (0, minutes) => format!("{sign}{minutes}m{seconds}s"),
                (hours, minutes) => format!("{sign}{hours}h{minutes}m{seconds}s"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_go_writes_them() {
        for (nanoseconds, text) in [
            (0, "0s"),
            (1, "1ns"),
            (1_500, "1.5µs"),
            (100_000_000, "100ms"),
            (1_000_000_000, "1s"),
            (90_500_000_000, "1m30.5s"),
            (300_000_000_000, "5m0s"),
            (3_600_000_000_000, "1h0m0s"),
        ] {
            assert_eq!(go_duration(nanoseconds), text);
        }
    }

    #[test]
    fn quoting_is_go_s() {
        assert_eq!(go_quote("a\"b\\\n\u{1}é"), "\"a\\\"b\\\\\\n\\x01é\"");
        assert_eq!(
            go_quote("'\u{7f}\u{80}\u{a0}\u{378}\u{e000}\u{fffd}\u{ffff}\u{f0000}e\u{301}😀"),
            "\"'\\x7f\\u0080\\u00a0\\u0378\\ue000\u{fffd}\\uffff\\U000f0000e\u{301}😀\""
        );
        assert_eq!([0, 4, 10, 39, 65].map(go_quote_rune), ["'\\x00'", "'\\x04'", "'\\n'", "'\\''", "'A'"]);
    }
}
