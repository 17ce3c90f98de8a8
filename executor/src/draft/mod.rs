//! Writing files into the draft of a layer, in overlay form: what COPY, ADD, WORKDIR and unpacked contexts share.

mod destination;
pub(crate) mod file;
mod policy;
mod taken;

pub(crate) use destination::{Below, Destination, Made, NewDir};
pub(crate) use file::{Place, Special, create_with, finish_at, open_new};
pub(crate) use policy::{Birth, Policy, stamps};
pub(crate) use taken::Taken;
