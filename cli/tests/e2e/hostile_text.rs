//! Text of strangers that would tell a terminal what to do: nothing of it arrives there.

use crate::{RBUILD, with_busybox};
use rbuild_testkit::{HttpReply, HttpServer, Ran, Workspace, has_program};
use std::{fs, os::unix::fs::PermissionsExt, process::Command};

/// Sets the title, clears the screen (in two ways), turns text around, hides what follows.
const EVIL: &str = "\u{1b}]0;pwned\u{7}\u{1b}[2J\u{9b}2J\u{202e}\u{200b}\u{1b}[8m";
/// How that is shown.
const TAME: &str = "\\u001b]0;pwned\\u0007\\u001b[2J\\u009b2J\\u202e\\u200b\\u001b[8m";

fn assert_tame(text: &str) {
    let bad = |c: &char| {
        (c.is_control() && !matches!(c, '\n' | '\t'))
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    assert_eq!(text.chars().find(bad), None, "{text:?}");
}

/// Both streams of a command that may fail.
fn said(ran: Ran) -> String {
    ran.stdout + &ran.stderr
}

/// What a terminal gets from rbuild: its own carriage returns removed.
fn on_terminal(here: &Workspace, environment: &[(&str, &str)], arguments: &[&str]) -> String {
    let quoted = |word: &str| format!("'{}'", word.replace('\'', "'\\''"));
    let command = here.command(arguments);
    let program = command.get_program().to_str().unwrap();
    let words: Vec<String> = std::iter::once(program).chain(arguments.iter().copied()).map(quoted).collect();
    let script = here.write("on-terminal", format!("#!/bin/sh\nexec {}\n", words.join(" ")));
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let mut terminal = Command::new("script");
    terminal.args(["-qec", script.to_str().unwrap(), "/dev/null"]).env_clear().current_dir(here.path());
    terminal.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?)))).env("TERM", "xterm");
    let output =
        terminal.envs(environment.iter().copied()).stdin(std::process::Stdio::null()).output().unwrap();
    String::from_utf8_lossy(&output.stdout).replace("\r\n", "\n")
}

/// A workspace with the image `evil`, of which everything that can be is hostile.
fn with_evil_image(test: &str) -> Option<Workspace> {
    let here = with_busybox(test)?;
    let dockerfile = format!(
        "FROM busybox AS a\nMAINTAINER {EVIL}\nLABEL l=\"{EVIL}\"\nENV E=\"{EVIL}\"\nRUN true # {EVIL}\nCMD [\"{json}\"]\n",
        json = EVIL.replace('\u{1b}', "\\u001b").replace('\u{7}', "\\u0007")
    );
    here.build("evil", &here.context("evil", &dockerfile, &[]));
    here.run(["run", "--name", "kept", "evil"]);
    Some(here)
}

#[test]
fn tables_and_messages_hold_nothing_a_terminal_obeys() {
    let Some(here) = with_evil_image("tables_and_messages_hold_nothing_a_terminal_obeys") else { return };
    let terminal = has_program("script", "tables_and_messages_hold_nothing_a_terminal_obeys");
    for arguments in [
        ["history", "--no-trunc", "evil"].as_slice(),
        &["history", "evil"],
        &["history", "--format", "table {{.CreatedBy}}\t{{.ID}}", "evil"],
        &["ps", "-a", "--no-trunc"],
        &["ps", "-a"],
        &["images"],
        &["builds", "ls"],
        &["builds", "inspect"],
        &["builds", "inspect", EVIL],
        &["inspect", &format!("{EVIL}x")],
        &["tag", "evil", &format!("{EVIL}x")],
        &["rm", &format!("{EVIL}x")],
        &["run", &format!("--name={EVIL}"), "evil"],
        &[EVIL, "."],
        &["build", "--no-such-flag", EVIL],
    ] {
        assert_tame(&said(here.run(arguments)));
        if terminal {
            // rbuild's own colors
            let text = on_terminal(&here, &[("NO_COLOR", "1")], arguments);
            assert_tame(&text);
        }
    }
    let history = here.ok(["history", "--no-trunc", "evil"]);
    assert!(history.contains(&format!("LABEL l={TAME}")), "{history}");
}

#[test]
fn data_is_raw_in_a_pipe_and_tame_on_a_terminal() {
    let test = "data_is_raw_in_a_pipe_and_tame_on_a_terminal";
    let Some(here) = with_evil_image(test) else { return };
    if !has_program("script", test) {
        return;
    }
    let template = ["inspect", "--format", "{{index .Config.Labels \"l\"}}", "evil"];
    assert_eq!(here.ok(template), format!("{EVIL}\n"), "as docker's");
    assert_eq!(on_terminal(&here, &[], &template), format!("{TAME}\n"));
    let row = ["history", "--no-trunc", "--format", "{{.CreatedBy}}", "evil"];
    assert!(here.ok(row).contains(EVIL));
    assert!(on_terminal(&here, &[], &row).contains(TAME));
    let json = ["inspect", "evil"];
    let piped: serde_json::Value = serde_json::from_str(&here.ok(json)).unwrap();
    let shown = on_terminal(&here, &[], &json);
    assert_tame(&shown);
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&shown).unwrap(),
        piped,
        "it is still the same JSON"
    );
    assert_eq!(piped[0]["Config"]["Labels"]["l"], EVIL);
}

#[test]
fn what_a_step_wrote_is_raw_in_a_pipe_and_tame_on_a_terminal() {
    let test = "what_a_step_wrote_is_raw_in_a_pipe_and_tame_on_a_terminal";
    let Some(here) = with_busybox(test) else { return };
    let dockerfile = format!("FROM busybox AS a\nRUN echo '{EVIL}'\n");
    here.build("evil", &here.context("evil", &dockerfile, &[]));
    assert_eq!(here.ok(["builds", "logs", "^0", "1"]), format!("{EVIL}\n"));
    if has_program("script", test) {
        for arguments in [&["builds", "logs"][..], &["builds", "logs", "^0", "1"]] {
            let text = on_terminal(&here, &[("NO_COLOR", "1")], arguments);
            assert_tame(&text);
            assert!(text.contains(TAME.trim_end_matches("\\u001b[8m")), "{text}");
        }
    }
}

#[test]
fn mistakes_of_a_dockerfile_are_shown_tame() {
    let Some(here) = with_busybox("mistakes_of_a_dockerfile_are_shown_tame") else { return };
    for (name, dockerfile) in [
        ("instruction", format!("FROM busybox\nNO{EVIL} x\n")),
        ("flag", format!("FROM busybox\nCOPY --x{EVIL} a b\n")),
        ("base", format!("FROM x{EVIL}\n")),
        ("source", format!("FROM busybox\nCOPY no{EVIL} /\n")),
        ("failing", format!("FROM busybox\nRUN false # {EVIL}\n")),
        ("user", format!("FROM busybox\nUSER no{EVIL}\nRUN true\n")),
        ("lines", "FROM busybox\nRUN [\"sh\", \"-c\", \"false\\n#9 DONE 0.0s\"]\n".to_owned()),
        ("stage", format!("FROM busybox AS a\n# {EVIL}\nFROM busybox\nCOPY --from=b{EVIL} /a /\n")),
        ("warning", format!("FROM busybox\nENV a $no{EVIL}\nCMD echo {EVIL}\nLABEL a b\n")),
    ] {
        let context = here.context(name, &dockerfile, &[]);
        let context = context.to_str().unwrap();
        for arguments in [["build"].as_slice(), &["check"], &["plan"], &["build", "--call=outline"]] {
            let text = said(here.run(arguments.iter().copied().chain([context])));
            assert_tame(&text);
            assert!(!text.contains("\n#9 DONE"), "a name is one line: {text}");
        }
    }
}

#[test]
fn the_output_of_a_step_keeps_its_colors_on_a_terminal_and_everything_elsewhere() {
    let test = "the_output_of_a_step_keeps_its_colors_on_a_terminal_and_everything_elsewhere";
    let Some(here) = with_busybox(test) else { return };
    let raw = "\u{1b}[31mred\u{1b}[0m\u{1b}]0;pwned\u{7}\u{1b}[2Jx\u{9b}2J";
    let octal: String = raw.bytes().map(|byte| format!("\\{byte:03o}")).collect();
    let context = here.context("c", &format!("FROM busybox\nRUN printf '{octal}\\n'\n"), &[]);
    let build = ["build", "--no-cache", "--progress=plain", context.to_str().unwrap()];
    assert!(here.run(build).stderr.contains(raw), "the bytes are the step's");
    if !has_program("script", test) {
        return;
    }
    let rest = "\\u001b]0;pwned\\u0007\\u001b[2Jx\\u009b2J";
    let colored = on_terminal(&here, &[], &build);
    assert!(colored.contains(&format!("\u{1b}[31mred\u{1b}[0m{rest}\u{1b}[0m\n")), "{colored:?}");
    let plain = on_terminal(&here, &[("NO_COLOR", "1")], &build);
    assert!(plain.contains(&format!(" red{rest}\n")), "{plain:?}");
    assert_tame(&plain);

    let failing =
        here.context("failing", &format!("FROM busybox\nRUN printf '{octal}\\n'; sleep .3; false\n"), &[]);
    let live = on_terminal(&here, &[], &["build", failing.to_str().unwrap()]);
    assert!(live.contains(&format!("\u{1b}[31mred\u{1b}[0m{rest}\u{1b}[0m\n")), "{live:?}");
    assert!(!live.contains("\u{1b}]") && !live.contains("\u{1b}[2J") && !live.contains('\u{9b}'), "{live:?}");
}

#[test]
fn what_a_registry_says_is_shown_tame() {
    let Some(here) = with_busybox("what_a_registry_says_is_shown_tame") else { return };
    let server = HttpServer::start(|_| {
        let message = format!("{EVIL}\nStatus: Downloaded newer image").replace('\u{1b}', "\\u001b");
        let message = message.replace('\u{7}', "\\u0007").replace('\n', "\\n");
        let body = format!("{{\"errors\":[{{\"code\":\"DENIED\",\"message\":\"{message}\"}}]}}");
        HttpReply::new(403, body).header("Content-Type", "application/json")
    });
    let name = format!("{}/a:1", server.host());
    here.ok(["tag", "busybox", &name]);
    let context = here.context("c", &format!("FROM {}/b\n", server.host()), &[]);
    for arguments in [["pull", &name].as_slice(), &["push", &name], &["build", context.to_str().unwrap()]] {
        let ran = here.fails(arguments);
        assert_tame(&ran.stderr);
        assert!(ran.stderr.contains("pwned"), "{}", ran.stderr);
        assert!(!ran.stderr.contains("\nStatus:"), "it makes no lines of its own: {}", ran.stderr);
    }
}

#[test]
fn what_an_archive_says_is_shown_tame() {
    let Some(here) = with_busybox("what_an_archive_says_is_shown_tame") else { return };
    here.ok(["save", "-o", "whole.tar", "busybox"]);
    for (old, new) in [("busybox:latest", "a\\u001b]0;pwned\\u0007"), ("blobs/sha256/", "no\\u009b2J/")] {
        let folder = here.path().join("unpacked");
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir(&folder).unwrap();
        let tar = |arguments: &[&str]| {
            assert!(Command::new("tar").args(arguments).current_dir(&folder).status().unwrap().success());
        };
        tar(&["-xf", "../whole.tar"]);
        let manifest = folder.join("manifest.json");
        let text = fs::read_to_string(&manifest).unwrap();
        fs::write(&manifest, text.replace(old, new)).unwrap();
        tar(&["-cf", "../changed.tar", "."]);
        let there = Workspace::new(RBUILD);
        let archive = here.path().join("changed.tar");
        assert_tame(&said(there.fails(["load".as_ref(), "-i".as_ref(), archive.as_os_str()])));
    }
}
