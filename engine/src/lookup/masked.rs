//! Stars in place of what looks like a secret: an explanation shows old and new values of arguments, variables and commands, and
//! ends up in logs.

use rbuild_planner::sounds_secret;
use std::borrow::Cow;

/// What is shown of a secret.
const STARS: &str = "***";
/// The beginnings of tokens that services hand out.
const TOKENS: [&str; 14] = [
    "ghp_",
    "gho_",
    "ghu_",
    "ghs_",
    "ghr_",
    "github_pat_",
    "glpat-",
    "xoxb-",
    "xoxp-",
    "npm_",
    "pypi-",
    "AKIA",
    "ASIA",
    "eyJ",
];
/// Words after which a secret stands.
const INTRODUCTIONS: [&str; 3] = ["bearer", "basic", "token"];
/// Characters of the shortest token.
const SHORTEST: usize = 16;

/// The value of the variable called `name`, as it may be shown.
pub(crate) fn variable<'a>(name: &str, value: &'a str) -> Cow<'a, str> {
    if sounds_secret(name) && !value.is_empty() { Cow::Borrowed(STARS) } else { text(value) }
}

/// `text`, such as a command, with stars for the words of it that look secret.
pub(crate) fn text(text: &str) -> Cow<'_, str> {
    if text.contains("-----BEGIN") && text.contains("PRIVATE KEY") {
        return Cow::Borrowed(STARS);
    }
    let mut out = String::with_capacity(text.len());
    let mut introduced = false;
    for word in text.split_inclusive(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | ';')) {
        let end = word.trim_end_matches(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | ';')).len();
        let (word, rest) = word.split_at(end);
        if word.is_empty() {
            out.push_str(rest);
            continue;
        }
        out.push_str(&masked_word(word, introduced));
        out.push_str(rest);
        introduced = is_introduction(word);
    }
    if out == text { Cow::Borrowed(text) } else { Cow::Owned(out) }
}

/// True if what comes after `word` is a secret: `Bearer`, or an option such as `--password`.
fn is_introduction(word: &str) -> bool {
    INTRODUCTIONS.iter().any(|known| word.eq_ignore_ascii_case(known))
        || word.strip_prefix("--").is_some_and(|option| !option.contains('=') && names_secret(option))
}

fn masked_word(word: &str, introduced: bool) -> Cow<'_, str> {
    if introduced || looks_like_token(word) {
        return Cow::Borrowed(STARS);
    }
    if let Some((name, value)) = word.split_once('=') {
        let value = if names_secret(name.trim_start_matches('-')) && !value.is_empty() {
            Cow::Borrowed(STARS)
        } else {
            masked_word(value, false)
        };
        return Cow::Owned(format!("{name}={value}"));
    }
    match credentials(word) {
        Some((start, end)) => Cow::Owned(format!("{}{STARS}{}", &word[..start], &word[end..])),
        None => Cow::Borrowed(word),
    }
}

fn names_secret(name: &str) -> bool {
    sounds_secret(&name.replace(['-', '.'], "_"))
}

fn looks_like_token(word: &str) -> bool {
    let is_token = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    word.len() >= SHORTEST && TOKENS.iter().any(|begin| word.starts_with(begin)) && word.chars().all(is_token)
}

/// The user and password in a URL.
fn credentials(word: &str) -> Option<(usize, usize)> {
    let start = word.find("://")? + 3;
    let host = word[start..].find('/').map_or(word.len(), |slash| start + slash);
    let end = start + word[start..host].rfind('@')?;
    word[start..end].contains(':').then_some((start, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_secret_is_stars_and_nothing_else() {
        for (shown, masked) in [
            ("make -j4 all", "make -j4 all"),
            (
                "curl -H 'Authorization: Bearer abc.def' https://x",
                "curl -H 'Authorization: Bearer ***' https://x",
            ),
            ("git clone https://me:pw@host/x@y.git", "git clone https://***@host/x@y.git"),
            ("git clone ssh://git@host/x.git", "git clone ssh://git@host/x.git"),
            ("PASSWORD=x ./run --api-token=y; echo", "PASSWORD=*** ./run --api-token=***; echo"),
            ("login --password  hunter2 now", "login --password  *** now"),
            ("echo ghp_0123456789abcdef0123", "echo ***"),
            ("SUM=sha256:0123456789abcdef0123456789abcdef", "SUM=sha256:0123456789abcdef0123456789abcdef"),
            ("-----BEGIN RSA PRIVATE KEY-----\nabc", "***"),
        ] {
            assert_eq!(text(shown), masked);
        }
        assert_eq!(variable("NPM_TOKEN", "x"), "***");
        assert_eq!(variable("NPM_TOKEN_FILE", "/x"), "/x");
        assert_eq!(variable("VERSION", "1.2"), "1.2");
        assert_eq!(variable("URL", "https://u:p@h"), "https://***@h");
    }
}
