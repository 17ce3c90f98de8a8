//! Results of the parser: cases and vectors from `testdata`, and laws that hold for every text.

mod cases;
mod dump;
mod file_laws;
mod generate;
mod laws;
mod triggers;
mod word_laws;
mod words;
