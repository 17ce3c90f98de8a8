//! `hostile-archives DIRECTORY` writes the archives that try to do harm to files, for programs that read archives to begin with.

use std::{env, error::Error, fs, path::PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    let directory = PathBuf::from(env::args().nth(1).ok_or("usage: hostile-archives DIRECTORY")?);
    for archive in rbuild_testkit::hostile_archives() {
        fs::write(directory.join(archive.name.replace([' ', '/'], "-")), archive.bytes)?;
    }
    Ok(())
}
