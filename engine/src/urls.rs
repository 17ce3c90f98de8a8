//! URLs as texts: what of them is shown, and which file they name.

/// `url` without the password of a login in it, which is written as stars.
pub(crate) fn without_login(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    match rest[..end].rsplit_once('@') {
        Some((login, host)) => {
            let user = login.split_once(':').map_or("", |(user, _)| user);
            format!("{scheme}://{user}{}****@{host}{}", if user.is_empty() { "" } else { ":" }, &rest[end..])
        }
        None => url.to_owned(),
    }
}

/// The last element of the path of `url`, decoded; `None` when it has none that can be a file's name.
pub(crate) fn file_name(url: &str) -> Option<Vec<u8>> {
    let rest = url.split_once("://")?.1;
    let rest = &rest[..rest.find(['?', '#']).unwrap_or(rest.len())];
    last_element(&decoded(&rest[rest.find('/')?..]))
}

/// The file name in a `Content-Disposition` (RFC 6266): `filename*` in UTF-8 before `filename`.
pub(crate) fn name_of_disposition(header: &str) -> Option<Vec<u8>> {
    let parameter = |name: &str| {
        header.split(';').skip(1).find_map(|part| {
            let (key, value) = part.split_once('=')?;
            key.trim().eq_ignore_ascii_case(name).then(|| value.trim().trim_matches('"').to_owned())
        })
    };
    let extended = parameter("filename*").and_then(|value| {
        let (charset, rest) = value.split_once('\'')?;
        charset
            .eq_ignore_ascii_case("utf-8")
            .then(|| decoded(rest.split_once('\'').map_or("", |(_, name)| name)))
    });
    last_element(&extended.or_else(|| parameter("filename").map(String::into_bytes))?)
}

fn last_element(path: &[u8]) -> Option<Vec<u8>> {
    let end = path.iter().rposition(|byte| *byte != b'/')? + 1;
    let name = path[..end].rsplit(|byte| *byte == b'/').next()?;
    let usable = !matches!(name, b"" | b"." | b"..") && !name.contains(&0);
    usable.then(|| name.to_vec())
}

fn decoded(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let digits = tail.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.filter(|_| *first == b'%').and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_not_shown() {
        for (url, shown) in [
            ("https://h/a@b", "https://h/a@b"),
            ("https://me:secret@h/a", "https://me:****@h/a"),
            ("https://token@h:1/a?b", "https://****@h:1/a?b"),
            ("git@h:a/b", "git@h:a/b"),
            ("ssh://git@h/a", "ssh://****@h/a"),
        ] {
            assert_eq!(without_login(url), shown);
        }
    }

    #[test]
    fn a_file_is_named_for_the_end_of_its_url() {
        for (url, name) in [
            ("http://h/a/b.txt?c=/d", Some("b.txt")),
            ("http://h/a%20b", Some("a b")),
            ("http://h/a/b/", Some("b")),
            ("http://h/x%2Fy", Some("y")),
            ("http://h/%zz", Some("%zz")),
            ("http://h/", None),
            ("http://h", None),
            ("http://h/a/..", None),
            ("http://h/%2e%2e", None),
            ("http://h/a%00b", None),
        ] {
            assert_eq!(file_name(url), name.map(|name| name.as_bytes().to_vec()), "{url}");
        }
        for (header, name) in [
            ("attachment; filename=\"a b.txt\"", Some("a b.txt")),
            ("attachment; filename=x; filename*=UTF-8''%e2%82%ac", Some("€")),
            ("attachment; filename=../../etc/passwd", Some("passwd")),
            ("attachment; filename=..", None),
            ("inline", None),
        ] {
            assert_eq!(name_of_disposition(header), name.map(|name| name.as_bytes().to_vec()), "{header}");
        }
    }
}
