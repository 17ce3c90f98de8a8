//! `WWW-Authenticate` (RFC 9110 §11.6.1): a list of challenges, each a scheme and either parameters or a token68.
//!
//! Any text gives a list, because malformed parts are skipped. [`crate::auth_scheme`] chooses the challenge to meet.

use std::fmt;

/// One challenge. Names of parameters compare without regard to case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// `Basic`, `Bearer`, ….
    pub scheme: String,
    /// Names and unquoted values, in the order of the header.
    pub parameters: Vec<(String, String)>,
}

impl Challenge {
    /// The value of parameter `name`.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

impl fmt::Display for Challenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.scheme)?;
        for (i, (name, value)) in self.parameters.iter().enumerate() {
            let value = value.replace('\\', "\\\\").replace('"', "\\\"");
            write!(f, "{}{name}=\"{value}\"", if i == 0 { " " } else { ", " })?;
        }
        Ok(())
    }
}

/// The challenges in the value of one header.
#[must_use]
pub fn parse_challenges(header: &str) -> Vec<Challenge> {
    let mut rest = Rest(header);
    let mut challenges: Vec<Challenge> = Vec::new();
    loop {
        rest.skip(|c| c.is_ascii_whitespace() || c == ',');
        if rest.0.is_empty() {
            return challenges;
        }
        let word = rest.take(is_token_char);
        if word.is_empty() {
            // no token starts here: skip the character
            rest.skip_one();
            continue;
        }
        match (rest.value(), challenges.last_mut()) {
            (Some(value), Some(challenge)) => challenge.parameters.push((word.to_owned(), value)),
            // a parameter before the first scheme belongs to no challenge
            (Some(_), None) => {}
            (None, _) => {
                challenges.push(Challenge { scheme: word.to_owned(), parameters: Vec::new() });
                rest.skip_token68();
            }
        }
    }
}

fn is_token_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c)
}

struct Rest<'a>(&'a str);

impl<'a> Rest<'a> {
    fn take(&mut self, wanted: impl Fn(char) -> bool) -> &'a str {
        let end = self.0.find(|c| !wanted(c)).unwrap_or(self.0.len());
        let (taken, rest) = self.0.split_at(end);
        self.0 = rest;
        taken
    }

    fn skip(&mut self, unwanted: impl Fn(char) -> bool) {
        self.take(unwanted);
    }

    fn skip_one(&mut self) {
        let mut characters = self.0.chars();
        characters.next();
        self.0 = characters.as_str();
    }

    /// Reads `= value` after a name. Reads nothing if no value follows.
    fn value(&mut self) -> Option<String> {
        let after = self.0.trim_start().strip_prefix('=')?.trim_start();
        let mut rest = Rest(after);
        let value = if after.starts_with('"') {
            rest.quoted()
        } else {
            // the RFC allows only tokens without quotes, but servers leave the quotes off URLs too
            rest.take(|c| !c.is_ascii_whitespace() && c != ',' && c != '"').to_owned()
        };
        self.0 = rest.0;
        Some(value)
    }

    /// Reads a quoted string (RFC 9110 §5.6.4). One without a closing quote runs to the end of the header.
    fn quoted(&mut self) -> String {
        self.skip_one();
        let mut value = String::new();
        let mut characters = self.0.chars();
        while let Some(c) = characters.next() {
            match c {
                '"' => break,
                '\\' => value.extend(characters.next()),
                other => value.push(other),
            }
        }
        self.0 = characters.as_str();
        value
    }

    /// Skips the base64 text that may stand in place of parameters, so that it is not read as a scheme or a name.
    fn skip_token68(&mut self) {
        let after = self.0.trim_start();
        let blob =
            after.find(|c: char| !(c.is_ascii_alphanumeric() || "-._~+/".contains(c))).unwrap_or(after.len());
        let padding = after[blob..].bytes().take_while(|b| *b == b'=').count();
        let behind = after[blob + padding..].trim_start();
        if blob > 0
            && after.len() < self.0.len()
            && (behind.is_empty() || (padding > 0 && behind.starts_with(',')))
        {
            self.0 = behind;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn challenges_of_real_registries() {
        let hub = r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:library/debian:pull,push",error="invalid_token""#;
        let [challenge] = parse_challenges(hub).try_into().unwrap();
        assert_eq!(challenge.scheme, "Bearer");
        assert_eq!(challenge.parameter("Realm"), Some("https://auth.docker.io/token"));
        assert_eq!(challenge.parameter("scope"), Some("repository:library/debian:pull,push"));

        let two =
            parse_challenges(r#"Negotiate YWJj==, Basic realm="a \"b\", c" , bearer realm=https://x/t?a=b"#);
        let schemes: Vec<&str> = two.iter().map(|c| c.scheme.as_str()).collect();
        assert_eq!(schemes, ["Negotiate", "Basic", "bearer"]);
        assert_eq!(two[1].parameter("realm"), Some("a \"b\", c"));
        assert_eq!(two[2].parameter("realm"), Some("https://x/t?a=b"));
        assert!(parse_challenges("").is_empty());
    }

    /// Nothing is made up: what is found stands in the header.
    fn schemes_stand_in(header: &str) {
        for challenge in parse_challenges(header) {
            assert!(!challenge.scheme.is_empty() && header.contains(&challenge.scheme), "{challenge:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in "\\PC*") {
            schemes_stand_in(&text);
        }

        #[test]
        fn punctuation_is_survived(text in "[ ,=\"\\\\a/~é]{0,40}") {
            schemes_stand_in(&text);
        }

        #[test]
        fn what_is_printed_is_read_back(
            challenges in prop::collection::vec(
                ("[A-Za-z][A-Za-z0-9-]{0,8}", prop::collection::vec(("[a-z_]{1,8}", "[ -~]{0,20}"), 1..4)),
                0..4,
            )
        ) {
            let challenges: Vec<Challenge> = challenges
                .into_iter()
                .map(|(scheme, parameters)| Challenge { scheme, parameters })
                .collect();
            let text: Vec<String> = challenges.iter().map(Challenge::to_string).collect();
            prop_assert_eq!(parse_challenges(&text.join(", ")), challenges);
        }
    }
}
