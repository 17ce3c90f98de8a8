//! Extension headers, which describe the entry after them: PAX records (pax(1), "pax Extended Header") and GNU's long
//! names.

use crate::{
    entry::Time,
    error::TarProblem,
    field::{size, until_nul},
    sparse::PaxKeys,
};

/// The values of all extension headers before one entry.
#[derive(Debug, Default)]
pub(crate) struct Extensions {
    pub(crate) name: Option<Vec<u8>>,
    pub(crate) link: Option<Vec<u8>>,
    pub(crate) size: Option<u64>,
    pub(crate) uid: Option<u64>,
    pub(crate) gid: Option<u64>,
    pub(crate) mtime: Option<Time>,
    pub(crate) atime: Option<Time>,
    pub(crate) attributes: Vec<(String, Vec<u8>)>,
    pub(crate) sparse: PaxKeys,
}

impl Extensions {
    /// Adds a GNU long name.
    pub(crate) fn add_name(&mut self, body: &[u8]) {
        self.name = Some(until_nul(body).to_vec());
    }

    /// Adds a GNU long link target.
    pub(crate) fn add_link(&mut self, body: &[u8]) {
        self.link = Some(until_nul(body).to_vec());
    }

    /// Adds the records of a PAX header.
    pub(crate) fn add_pax(&mut self, body: &[u8]) -> Result<(), TarProblem> {
        let mut rest = body;
        while !rest.is_empty() {
            let (key, value, after) = record(rest).ok_or(TarProblem::PaxRecord)?;
            rest = after;
            self.add(key, value)?;
        }
        if let Some(name) = self.sparse.take_name() {
            self.name = Some(name);
        }
        Ok(())
    }

    fn add(&mut self, key: &str, value: &[u8]) -> Result<(), TarProblem> {
        let text = || std::str::from_utf8(value).map_err(|_| TarProblem::PaxRecord);
        let number = |field: &'static str| text()?.parse::<u64>().map_err(|_| TarProblem::Number { field });
        let moment = |field: &'static str| time(text()?).ok_or(TarProblem::Number { field });
        match key {
            // an empty value removes that of a global header
            _ if value.is_empty() && !key.starts_with("SCHILY.xattr.") => {}
            "path" => self.name = Some(path(value)?),
            "linkpath" => self.link = Some(path(value)?),
            "size" => self.size = Some(size("size", number("size")?)?),
            "uid" => self.uid = Some(number("uid")?),
            "gid" => self.gid = Some(number("gid")?),
            "mtime" => self.mtime = Some(moment("mtime")?),
            "atime" => self.atime = Some(moment("atime")?),
            _ => {
                if let Some(name) = key.strip_prefix("SCHILY.xattr.") {
                    if !is_overlay(name) {
                        self.attributes.push((name.to_owned(), value.to_vec()));
                    }
                } else if key == "GNU.sparse.name" {
                    self.sparse.name(path(value)?);
                } else if let Some(name) = key.strip_prefix("GNU.sparse.") {
                    self.sparse.add(name, text()?)?;
                }
            }
        }
        Ok(())
    }
}

/// True if overlayfs itself keeps this attribute to mark files of a layer. An archive that could set it would hide files
/// of the layers below, or show others in their place.
fn is_overlay(name: &str) -> bool {
    name.starts_with("trusted.overlay.") || name.starts_with("user.overlay.")
}

/// Checks a path, which may not contain every byte that other values may.
fn path(value: &[u8]) -> Result<Vec<u8>, TarProblem> {
    if value.contains(&0) { Err(TarProblem::PaxRecord) } else { Ok(value.to_vec()) }
}

/// Splits one `LENGTH KEY=VALUE\n` off. The length counts the whole record, so a value may contain any bytes.
fn record(rest: &[u8]) -> Option<(&str, &[u8], &[u8])> {
    let blank = rest.iter().position(|byte| *byte == b' ')?;
    let length: usize = std::str::from_utf8(&rest[..blank]).ok()?.parse().ok()?;
    let record = rest.get(blank + 1..length)?.strip_suffix(b"\n")?;
    let equals = record.iter().position(|byte| *byte == b'=')?;
    Some((std::str::from_utf8(&record[..equals]).ok()?, &record[equals + 1..], &rest[length..]))
}

/// Reads a time in the form `[-]SECONDS[.FRACTION]`.
fn time(text: &str) -> Option<Time> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = whole.parse().ok()?;
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let digits: String = fraction.chars().chain("000000000".chars()).take(9).collect();
    let nanoseconds: u32 = digits.parse().ok()?;
    if whole.starts_with('-') && nanoseconds > 0 {
        return Some(Time { seconds: seconds.checked_sub(1)?, nanoseconds: 1_000_000_000 - nanoseconds });
    }
    Some(Time { seconds, nanoseconds })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pax(key: &str, value: &[u8]) -> Result<Extensions, TarProblem> {
        let rest = key.len() + value.len() + 3;
        let length = (rest..).find(|length| rest + length.to_string().len() == *length).unwrap();
        let mut body = format!("{length} {key}=").into_bytes();
        body.extend_from_slice(value);
        body.push(b'\n');
        let mut extensions = Extensions::default();
        extensions.add_pax(&body).map(|()| extensions)
    }

    #[test]
    fn times_have_fractions_and_may_be_before_1970() {
        for (text, expected) in [
            ("0", Some((0, 0))),
            ("1700000000.5", Some((1_700_000_000, 500_000_000))),
            ("1.1234567899", Some((1, 123_456_789))),
            ("-1", Some((-1, 0))),
            ("-1.25", Some((-2, 750_000_000))),
            ("-0.25", Some((-1, 750_000_000))),
            ("1.", Some((1, 0))),
            ("", None),
            ("1.-5", None),
            ("x", None),
            ("99999999999999999999", None),
            ("-9223372036854775808.5", None),
        ] {
            let expected = expected.map(|(seconds, nanoseconds)| Time { seconds, nanoseconds });
            assert_eq!(time(text), expected, "{text}");
        }
    }

    #[test]
    fn values_are_counted_bytes() {
        assert_eq!(pax("path", b"a=b\nc").unwrap().name.unwrap(), b"a=b\nc");
        assert_eq!(pax("path", b"\xff\xfe").unwrap().name.unwrap(), b"\xff\xfe");
        assert_eq!(pax("SCHILY.xattr.user.a", b"").unwrap().attributes, [("user.a".to_owned(), vec![])]);
        assert_eq!(pax("SCHILY.xattr.user.a", b"\0\n").unwrap().attributes[0].1, b"\0\n");
        assert_eq!(pax("path", b"").unwrap().name, None);
        assert_eq!(pax("unknown", b"\xff").unwrap().name, None);
    }

    #[test]
    fn attributes_of_overlayfs_are_left_out() {
        for (name, count) in
            [("trusted.overlay.opaque", 0), ("user.overlay.redirect", 0), ("user.overlays", 1)]
        {
            let extensions = pax(&format!("SCHILY.xattr.{name}"), b"y").unwrap();
            assert_eq!(extensions.attributes.len(), count, "{name}");
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let number = |field| TarProblem::Number { field };
        for (key, value, problem) in [
            ("path", &b"a\0b"[..], TarProblem::PaxRecord),
            ("linkpath", b"a\0b", TarProblem::PaxRecord),
            ("GNU.sparse.name", b"a\0b", TarProblem::PaxRecord),
            ("size", b"-1", number("size")),
            ("size", b"9223372036854775808", number("size")),
            ("uid", b"a", number("uid")),
            ("mtime", b"tomorrow", number("mtime")),
            ("atime", b"1.x", number("atime")),
            ("uid", b"\xff", TarProblem::PaxRecord),
            ("GNU.sparse.map", b"1,x", TarProblem::Sparse),
        ] {
            assert_eq!(pax(key, value).unwrap_err(), problem, "{key}");
        }
        for body in [&b"99 path=a\n"[..], b"9 path=ab", b"x path=a\n", b"9 pathab\n", b"0 \n", b" 5 a=\n"] {
            assert_eq!(Extensions::default().add_pax(body).unwrap_err(), TarProblem::PaxRecord, "{body:?}");
        }
    }
}
