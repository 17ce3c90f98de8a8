//! Ids and names that nothing has yet.

use crate::Error;
use std::{fs::File, io::Read, path::PathBuf};

/// 64 random hexadecimal digits.
pub(crate) fn random_id() -> Result<String, Error> {
    let path = PathBuf::from("/dev/urandom");
    let mut raw = [0; 32];
    let read = File::open(&path).and_then(|mut file| file.read_exact(&mut raw));
    read.map_err(|source| Error::Io { action: "read", path, source })?;
    Ok(rbuild_oci::Digest::from_bytes(raw).hex())
}
