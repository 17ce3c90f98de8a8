//! Plans of Dockerfiles: cases from `testdata`, laws that hold for every file, and scaling.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "tests fail by panicking, and print what they measure"
)]

mod cases;
mod dump;
#[path = "../../../parser/tests/language/generate/mod.rs"]
mod generate;
mod joined;
mod laws;
mod options;
mod plan_laws;
mod resolve;
mod scale;
