//! Who this process is to a store: whose layers it can read and write.

use crate::ExecutorError;
use nix::unistd::geteuid;
use rbuild_cache::{IdMaps, IdRange, Writer};
use rbuild_sys::read_proc;

/// The machine's root, a user, or a user within their namespace.
///
/// # Errors
/// [`ExecutorError::System`] when the process cannot read its own maps of ids.
pub fn store_writer() -> Result<Writer, ExecutorError> {
    let user = geteuid();
    if !user.is_root() {
        return Ok(Writer::User { uid: user.as_raw(), ids: None });
    }
    let uids = ranges("/proc/self/uid_map")?;
    let whole = IdRange { inside: 0, outside: 0, count: u32::MAX };
    if uids == [whole] {
        return Ok(Writer::Root);
    }
    let own = uids.iter().find(|range| range.inside == 0).map_or(0, |range| range.outside);
    Ok(Writer::User { uid: own, ids: Some(Box::new(IdMaps { uids, gids: ranges("/proc/self/gid_map")? })) })
}

fn ranges(path: &'static str) -> Result<Vec<IdRange>, ExecutorError> {
    let text = read_proc(path).map_err(|error| ExecutorError::system("read", path.as_bytes(), error))?;
    Ok(parse(&text))
}

fn parse(text: &str) -> Vec<IdRange> {
    let range = |line: &str| {
        let mut numbers = line.split_ascii_whitespace().map_while(|number| number.parse().ok());
        Some(IdRange { inside: numbers.next()?, outside: numbers.next()?, count: numbers.next()? })
    };
    text.lines().filter_map(range).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_are_read_as_the_kernel_writes_them() {
        let text = "         0       1000          1\n         1     100000      65536\n";
        let range = |inside, outside, count| IdRange { inside, outside, count };
        assert_eq!(parse(text), [range(0, 1000, 1), range(1, 100_000, 65536)]);
        assert_eq!(parse("         0          0 4294967295\n"), [range(0, 0, u32::MAX)]);
        assert_eq!(parse(""), []);
    }
}
