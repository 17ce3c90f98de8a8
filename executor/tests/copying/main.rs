//! COPY, ADD, WORKDIR and USER against real files.

#![expect(clippy::unwrap_used, reason = "what a test prepares must succeed")]

mod cases;
mod changes;
mod counted;
mod digest;
mod fixture;
mod hostile;
mod ignore;
mod long_files;
mod roots;
mod users;
