//! Writing files into the draft of a layer, in overlay form: what COPY, ADD, WORKDIR and unpacked contexts share.

mod destination;
pub(crate) mod file;
mod policy;
mod pour;
mod taken;

pub(crate) use destination::{Below, Destination, Made, NewDir};
pub(crate) use file::{Created, Place, Special, create_with, finish_at, open_new};
pub(crate) use policy::{Birth, Policy, stamps};
pub(crate) use pour::{BUFFER, Seen, Ways, failure, pour};
pub(crate) use taken::Taken;
