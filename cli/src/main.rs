//! The program `rbuild`: turns arguments into requests to the engine, and events and answers into text.
//!
//! The way through: [`args`] says what was typed, [`options`] what was meant, [`commands`] lists the work and asks the engine, and
//! [`progress`], [`table`] and [`template`] say what came of it. Invariants: the environment, the clock and the terminal
//! are read here and nowhere else; stdout carries data, stderr is for people; nothing is opened, read or started
//! that the command does not need, because most commands should be over in a few milliseconds.

#![forbid(unsafe_code)]

mod app;
mod args;
mod build_report;
mod commands;
mod config_file;
mod credentials;
mod daemon;
mod diagnostic;
mod dispatch;
mod environment;
mod error;
mod exit;
mod explanation;
mod failure;
mod interrupt;
mod keeper;
mod monitor;
mod new_file;
mod options;
mod preview;
mod progress;
mod registries;
mod shown;
mod small_file;
mod standard_input;
mod streams;
mod table;
mod template;
mod terminal;
mod working;

use std::process::ExitCode;

fn main() -> ExitCode {
    dispatch::run()
}
