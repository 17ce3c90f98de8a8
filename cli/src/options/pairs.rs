//! `NAME=VALUE` lists, and the environment variables that fill them.

use crate::{environment::Environment, error::UsageError};

/// The proxies of Docker's configuration, as build arguments: `(name, value)`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Proxies(Vec<(String, String)>);

impl Proxies {
    /// Reads `proxies.default` of a parsed `config.json`.
    pub(crate) fn from_configuration(configuration: &serde_json::Value) -> Self {
        let default = &configuration["proxies"]["default"];
        let names = [
            ("httpProxy", "HTTP_PROXY"),
            ("httpsProxy", "HTTPS_PROXY"),
            ("ftpProxy", "FTP_PROXY"),
            ("noProxy", "NO_PROXY"),
            ("allProxy", "ALL_PROXY"),
        ];
        let set = names.iter().filter_map(|(key, name)| Some((*name, default[*key].as_str()?)));
        let both = set.flat_map(|(name, value)| {
            [(name.to_owned(), value.to_owned()), (name.to_ascii_lowercase(), value.to_owned())]
        });
        Self(both.collect())
    }

    /// Adds those that `arguments` does not have.
    pub(crate) fn add_to(&self, arguments: &mut Vec<(String, String)>) {
        for (name, value) in &self.0 {
            if !arguments.iter().any(|(there, _)| there == name) {
                arguments.push((name.clone(), value.clone()));
            }
        }
    }
}

/// Splits each `NAME=VALUE`; a bare `NAME` takes its value from the environment and is dropped when it has none there.
pub(crate) fn pairs(words: &[String], environment: &Environment) -> Vec<(String, String)> {
    let pair = |word: &String| match word.split_once('=') {
        Some((name, value)) => Some((name.to_owned(), value.to_owned())),
        None => environment.variable(word).map(|value| (word.clone(), value.to_owned())),
    };
    words.iter().filter_map(pair).collect()
}

/// `NAME` or `NAME=VALUE`.
pub(crate) fn label(text: &str) -> Result<(String, String), UsageError> {
    let (name, value) = text.split_once('=').unwrap_or((text, ""));
    if name.is_empty() {
        return Err(UsageError::new(format!("invalid label format: {text:?}")));
    }
    Ok((name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxies_come_in_both_cases_and_yield() {
        let configuration =
            serde_json::json!({"proxies": {"default": {"httpProxy": "http://p:1", "noProxy": "a"}}});
        let mut arguments = vec![("no_proxy".to_owned(), "mine".to_owned())];
        Proxies::from_configuration(&configuration).add_to(&mut arguments);
        let text: Vec<String> = arguments.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(text, ["no_proxy=mine", "HTTP_PROXY=http://p:1", "http_proxy=http://p:1", "NO_PROXY=a"]);
    }
}
