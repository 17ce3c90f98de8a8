//! Any Dockerfile on images with any triggers. An input is a Dockerfile, and a line `%%` before the triggers, one a line;
//! U+001F in a trigger is a newline.

#![no_main]

#[path = "../../planner/tests/plans/dump/mod.rs"]
mod dump;
#[path = "../../planner/tests/plans/plan_laws/mod.rs"]
mod plan_laws;
#[path = "../../planner/tests/plans/resolve/mod.rs"]
mod resolve;

libfuzzer_sys::fuzz_target!(|text: &str| {
    let (text, triggers) = text.split_once("\n%%\n").unwrap_or((text, ""));
    let triggers: Vec<String> = triggers.lines().map(|line| line.replace('\u{1f}', "\n")).collect();
    let triggers: Vec<&str> = triggers.iter().map(String::as_str).collect();
    plan_laws::check(text.as_bytes(), &triggers);
});
