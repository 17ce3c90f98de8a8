//! Which descriptors a child closes.

use std::os::fd::RawFd;

/// The ranges of descriptor numbers above 2 that hold none of `needed`, first and last number of each.
pub(super) fn between(needed: impl Iterator<Item = RawFd>) -> Vec<(u32, u32)> {
    let mut needed: Vec<u32> = needed.filter_map(|fd| u32::try_from(fd).ok()).collect();
    needed.sort_unstable();
    let mut gaps = Vec::with_capacity(needed.len() + 1);
    let mut next = 3;
    for fd in needed {
        if fd > next {
            gaps.push((next, fd - 1));
        }
        next = next.max(fd + 1);
    }
    gaps.push((next, u32::MAX));
    gaps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_else_is_closed() {
        assert_eq!(between([].into_iter()), [(3, u32::MAX)]);
        assert_eq!(between([3, 4].into_iter()), [(5, u32::MAX)]);
        assert_eq!(between([9, 5, 9, 1].into_iter()), [(3, 4), (6, 8), (10, u32::MAX)]);
    }
}
