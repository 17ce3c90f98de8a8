//! Random Dockerfiles that are correct: every instruction, every flag, both forms, here-documents, continuations.

use proptest::prelude::*;
use proptest::sample::select;
use rbuild_parser::Escape;

/// A file with up to a dozen instructions, and the keywords after the first FROM as typed.
pub(crate) fn file() -> impl Strategy<Value = (String, Vec<String>)> {
    escape().prop_flat_map(|escape| {
        let head = match escape {
            Escape::Backslash => select(vec!["", "# syntax=a/b:1\n", "# check=skip=all\n# c\n"]),
            Escape::Backtick => select(vec!["# escape=`\n", "# syntax=x\n#escape = ` \n"]),
        };
        let statements = prop::collection::vec((comment(), statement(escape)), 0..12);
        (head, "FROM [a-z]{1,3}( AS b)?\n", statements).prop_map(|(head, from, statements)| {
            let mut text = format!("{head}{from}");
            let mut keywords = Vec::new();
            for (comment, Statement { keyword, rest }) in statements {
                text.push_str(&format!("{comment}{keyword}{rest}\n"));
                keywords.push(keyword);
            }
            (text, keywords)
        })
    })
}

#[derive(Clone, Debug)]
struct Statement {
    keyword: String,
    /// Everything behind the keyword, but for the last newline.
    rest: String,
}

fn escape() -> impl Strategy<Value = Escape> {
    prop_oneof![3 => Just(Escape::Backslash), 1 => Just(Escape::Backtick)]
}

fn comment() -> impl Strategy<Value = &'static str> {
    select(vec!["", "", "", "\n", "# c\n", "# b says\n", "#\n", "  # é\n\n", "# escape=`\n", "# c \\\n"])
}

fn statement(escape: Escape) -> impl Strategy<Value = Statement> {
    let own = prop_oneof![
        (Just("FROM"), (flags(escape, &["platform=$P", "platform=\"linux/arm64\""]), gap(escape), image()))
            .prop_map(|(keyword, (flags, gap, image))| (keyword, format!("{flags}{gap}{image}"))),
        (Just("MAINTAINER"), (gap(escape), shell(escape))).prop_map(|(k, (gap, text))| (k, gap + &text)),
        (Just("ONBUILD"), (gap(escape), trigger(escape)))
            .prop_map(|(keyword, (gap, (inner, rest)))| (keyword, format!("{gap}{inner}{rest}"))),
    ];
    let any = prop_oneof![1 => own, 5 => trigger(escape)];
    (any, prop_oneof![3 => Just(str::to_uppercase as fn(&str) -> String), 1 => Just(str::to_lowercase as _)])
        .prop_map(|((keyword, rest), casing)| Statement { keyword: casing(keyword), rest })
}

/// An instruction that may stand behind ONBUILD.
fn trigger(escape: Escape) -> impl Strategy<Value = (&'static str, String)> {
    let run = ["mount=type=cache,target=/c", "mount=\"a b\"", "network=none", "security=sandbox", "device=x"];
    let copy =
        ["from=b", "chown=1:1", "chmod=u+x", "link", "link=false", "parents", "exclude=*.a", "exclude='b c'"];
    let add = [
        "checksum=sha256:a",
        "keep-git-dir",
        "unpack=true",
        "chown=\"a b\"",
        "chmod=755",
        "link",
        "exclude=b",
    ];
    let health = ["interval=1m30s", "timeout=1.5s", "start-period=2ms", "start-interval=1h", "retries=3"];
    let plain = |names: &[&'static str]| (flags(escape, names), gap(escape));
    prop_oneof![
        (Just("RUN"), plain(&run), prop_oneof![shell(escape), exec(0), script()]).prop_map(join),
        (Just("COPY"), plain(&copy), paths(escape)).prop_map(join),
        (Just("ADD"), plain(&add), paths(escape)).prop_map(join),
        (Just("CMD"), plain(&[]), prop_oneof![shell(escape), exec(0)]).prop_map(join),
        (Just("ENTRYPOINT"), plain(&[]), prop_oneof![shell(escape), exec(0)]).prop_map(join),
        (Just("SHELL"), plain(&[]), exec(1)).prop_map(join),
        (Just("HEALTHCHECK"), plain(&health), command(escape)).prop_map(join),
        (Just("HEALTHCHECK"), plain(&[]), Just("NONE".to_owned())).prop_map(join),
        (Just("ENV"), plain(&[]), pairs(escape)).prop_map(join),
        (Just("LABEL"), plain(&[]), pairs(escape)).prop_map(join),
        (Just("ARG"), plain(&[]), declarations(escape)).prop_map(join),
        (Just("EXPOSE"), plain(&[]), words(escape, 1)).prop_map(join),
        (Just("VOLUME"), plain(&[]), prop_oneof![words(escape, 1), volumes()]).prop_map(join),
        (Just("USER"), plain(&[]), shell(escape)).prop_map(join),
        (Just("WORKDIR"), plain(&[]), shell(escape)).prop_map(join),
        (Just("STOPSIGNAL"), plain(&[]), shell(escape)).prop_map(join),
    ]
}

fn join((keyword, (flags, gap), operands): (&str, (String, String), String)) -> (&str, String) {
    (keyword, format!("{flags}{gap}{operands}"))
}

/// The text between two words: blanks, and lines that end in the escape character.
fn gap(escape: Escape) -> impl Strategy<Value = String> + Clone {
    let escape = escape.as_char();
    let gaps = [" ", "\t", "  ", " ESC\n", " ESC \t\n\t", " ESC\n # c\n\n", " ESC\r\n"];
    let weights = [8, 1, 1, 2, 1, 1, 1];
    let choices = weights.into_iter().zip(gaps.map(|gap| Just(gap.replace("ESC", &escape.to_string()))));
    prop::strategy::Union::new_weighted(choices.collect())
}

/// Some of `flags`, each at most once.
fn flags(escape: Escape, flags: &[&'static str]) -> impl Strategy<Value = String> + use<> {
    let one_of_a_name = |flags: Vec<&'static str>| {
        let mut names = Vec::new();
        let mut kept = flags;
        kept.retain(|flag| {
            let name = flag.split('=').next();
            !names.contains(&name) && {
                names.push(name);
                true
            }
        });
        kept
    };
    let some = prop::sample::subsequence(flags.to_vec(), 0..=flags.len().min(3)).prop_shuffle();
    (some, gap(escape)).prop_map(move |(flags, gap)| {
        one_of_a_name(flags).into_iter().map(|flag| format!("{gap}--{flag}")).collect()
    })
}

/// A word without bare blanks, which is not a flag, an array or a here-document.
fn word(escape: Escape) -> impl Strategy<Value = String> {
    let mut pieces = vec![
        "b",
        "c1",
        "/",
        ".",
        "é",
        "$A",
        "${A}",
        "${A:-b}",
        "${A%b*}",
        "${A//b/c}",
        "\"q\"",
        "'s'",
        "\"\"",
        "$",
        "-",
        "--",
        "=",
        "#",
        "]",
        "<",
        "\u{1}",
        "\"}\"",
    ];
    pieces.extend(match escape {
        Escape::Backslash => ["\\$", "\\\"\\'", "`b`"],
        Escape::Backtick => ["`$", "`\"`'", "\\b\\c"],
    });
    prop::collection::vec(select(pieces), 0..5).prop_map(|pieces| format!("a{}z", pieces.concat()))
}

fn words(escape: Escape, least: usize) -> impl Strategy<Value = String> {
    (prop::collection::vec(word(escape), least..least + 4), gap(escape))
        .prop_map(|(words, gap)| words.join(&gap))
}

/// Words beside the marker of a here-document: their escape character is always `\`.
fn words_beside_marker() -> impl Strategy<Value = String> {
    prop::collection::vec(word(Escape::Backslash), 1..4).prop_map(|words| words.join(" "))
}

/// A text for the shell, or any other that is not cut into words.
fn shell(escape: Escape) -> impl Strategy<Value = String> {
    let begin = select(vec!["", "", "", "[", "{\"", "( ", "-c ", "' ", "\" "]);
    (begin, words(escape, 1)).prop_map(|(begin, words)| begin.to_owned() + &words)
}

/// A JSON array with at least so many strings.
fn exec(least: usize) -> impl Strategy<Value = String> {
    prop::collection::vec(any::<String>(), least..least + 3)
        .prop_map(|words| serde_json::Value::from_iter(words).to_string())
}

fn volumes() -> impl Strategy<Value = String> {
    prop::collection::vec("[^\\s][ a-z]{0,3}", 1..3)
        .prop_map(|words| serde_json::Value::from_iter(words).to_string())
}

/// The command of a HEALTHCHECK.
fn command(escape: Escape) -> impl Strategy<Value = String> {
    (gap(escape), prop_oneof![shell(escape), exec(1)]).prop_map(|(gap, command)| format!("CMD{gap}{command}"))
}

fn image() -> impl Strategy<Value = String> {
    "([a-z]{1,4}|\\$[A-Z]|\\$\\{A:-b\\})(:[0-9]\\.[0-9])?( (AS|as) [a-zA-Z][a-z0-9._-]{0,3})?"
}

fn pairs(escape: Escape) -> impl Strategy<Value = String> {
    let quoted = select(vec!["\"a b\"", "'c\td'", "\"e 'f\"", "", "=g"]);
    let pair = ("[A-Za-z_.]{1,3}", prop_oneof![word(escape), quoted.prop_map(str::to_owned)]);
    let many = (prop::collection::vec(pair, 1..4), gap(escape)).prop_map(|(pairs, gap)| {
        let pairs: Vec<String> = pairs.into_iter().map(|(key, value)| format!("{key}={value}")).collect();
        pairs.join(&gap)
    });
    let legacy =
        ("[A-Z]{1,3}", gap(escape), words(escape, 1)).prop_map(|(key, gap, value)| key + &gap + &value);
    prop_oneof![3 => many, 1 => legacy]
}

fn declarations(escape: Escape) -> impl Strategy<Value = String> {
    let one = ("[A-Z]{1,3}", prop::option::of(word(escape)));
    (prop::collection::vec(one, 1..3), gap(escape)).prop_map(|(declarations, gap)| {
        let declared = |(name, default): (String, Option<String>)| match default {
            Some(default) => format!("{name}={default}"),
            None => name,
        };
        declarations.into_iter().map(declared).collect::<Vec<_>>().join(&gap)
    })
}

/// Sources and a destination, as words, as an array, and with inline files.
fn paths(escape: Escape) -> impl Strategy<Value = String> {
    prop_oneof![
        2 => words(escape, 2),
        1 => prop::collection::vec(any::<String>(), 2..4)
            .prop_filter("the destination is no inline file", |words| !words.iter().any(|word| word.contains("<<")))
            .prop_map(|words| serde_json::Value::from_iter(words).to_string()),
        1 => (heredoc(), heredoc(), words_beside_marker()).prop_map(|((one, body), (other, more), words)| {
            format!("{one} {other} {words}\n{body}\n{more}")
        }),
    ]
}

/// A command with a here-document.
fn script() -> impl Strategy<Value = String> {
    (words_beside_marker(), heredoc(), words_beside_marker())
        .prop_map(|(before, (marker, body), after)| format!("{before} {marker} {after}\n{body}"))
}

/// The marker of a here-document, and its body with the line that ends it.
fn heredoc() -> impl Strategy<Value = (String, String)> {
    let marker = select(vec![
        ("<<EOF", "EOF"),
        ("<<-EOF", "EOF"),
        ("<<'E F'", "E F"),
        ("3<<-\"X\"", "X"),
        ("<<é\\'", "é'"),
        ("<<-\\ Y", " Y"),
    ]);
    let line = select(vec!["", "a", "\tb $A", "EOFX", "# c", "\\", "`", "FROM x", "<<EOF", "é\r"]);
    (marker, prop::collection::vec(line, 0..4)).prop_map(|((marker, name), lines)| {
        let body: String = lines.iter().map(|line| format!("{line}\n")).collect();
        (marker.to_owned(), body + name)
    })
}
