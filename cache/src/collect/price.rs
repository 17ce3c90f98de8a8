//! Which parts of the cache go first when it has to become smaller: what is cheap to make again for the bytes that it
//! frees. A step's price is the time that it took for each byte of its layer; it halves with every day on which the layer
//! was not used, so that what was dear once does not stay for ever. Prices within a factor of two are equal, and of
//! equals the one that was not used for the longest time goes first. A layer on which another one stands goes after it.

use crate::LayerId;
use rbuild_oci::Timestamp;
use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap, HashSet},
};

/// The price of a cache mount, which no step has timed: milliseconds for each MiB, as if from a slow network.
const MOUNT_PRICE: u64 = 100;
const DAY: i64 = 24 * 60 * 60;
const MIB: u128 = 1 << 20;

/// How dear something is; the lowest goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Price {
    level: i64,
    last_use: Timestamp,
    /// Of one chain with equal times the upper end goes first.
    depth: Reverse<usize>,
}

impl Price {
    /// That of a layer, which took so long to make.
    pub(super) fn of_layer(
        (milliseconds, bytes): (u64, u64),
        (last_use, now): (Timestamp, Timestamp),
        depth: usize,
    ) -> Self {
        let per_mib = (u128::from(milliseconds) + 1) * MIB / u128::from(bytes.max(1));
        Self::new(per_mib, (last_use, now), depth)
    }

    /// That of a cache mount.
    pub(super) fn of_mount(last_use: Timestamp, now: Timestamp) -> Self {
        Self::new(u128::from(MOUNT_PRICE), (last_use, now), 0)
    }

    fn new(per_mib: u128, (last_use, now): (Timestamp, Timestamp), depth: usize) -> Self {
        let days = (now.seconds() - last_use.seconds()).max(0) / DAY;
        Self { level: i64::from(per_mib.max(1).ilog2()) - days, last_use, depth: Reverse(depth) }
    }
}

/// A part of the build cache.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CachePart {
    /// What steps made: a layer with its records.
    Layer(LayerId),
    /// A cache mount, by the name of its directory.
    Mount(String),
}

/// A part that may go.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) part: CachePart,
    pub(super) price: Price,
    /// Bytes that go with a mount. Those of layers are counted by their users.
    pub(super) mount_bytes: u64,
}

/// The layers that records need, and how large what they need is.
pub(super) struct Needs {
    /// The layers that the records of a layer need, itself included.
    pub(super) stacks: HashMap<LayerId, Vec<LayerId>>,
    /// Bytes of the layers that nothing but the cache needs.
    pub(super) bytes: HashMap<LayerId, u64>,
}

/// Chooses of `candidates` what goes, cheapest first, until at most `keep` bytes of the cache are left.
pub(super) fn choose(
    candidates: Vec<Candidate>,
    needs: &Needs,
    (mut total, keep): (u64, u64),
) -> HashSet<CachePart> {
    let mut users: HashMap<LayerId, usize> = HashMap::new();
    needs.stacks.values().flatten().for_each(|layer| *users.entry(*layer).or_default() += 1);
    let mut waiting: HashMap<LayerId, Candidate> = HashMap::new();
    let mut ready: BinaryHeap<Reverse<(Price, CachePart, u64)>> = BinaryHeap::new();
    for candidate in candidates {
        match candidate.part {
            CachePart::Layer(layer) if users.get(&layer).is_some_and(|users| *users > 1) => {
                waiting.insert(layer, candidate);
            }
            CachePart::Layer(_) | CachePart::Mount(_) => {
                ready.push(Reverse((candidate.price, candidate.part, candidate.mount_bytes)));
            }
        }
    }
    let mut gone = HashSet::new();
    while total > keep
        && let Some(Reverse((_, part, mount_bytes))) = ready.pop()
    {
        total -= mount_bytes.min(total);
        let stack = match &part {
            CachePart::Layer(layer) => needs.stacks.get(layer).map_or(&[][..], Vec::as_slice),
            CachePart::Mount(_) => &[],
        };
        for layer in stack {
            let Some(left) = users.get_mut(layer) else { continue };
            *left -= 1;
            if *left == 0 {
                total -= needs.bytes.get(layer).map_or(0, |bytes| (*bytes).min(total));
            } else if *left == 1
                && let Some(candidate) = waiting.remove(layer)
            {
                ready.push(Reverse((candidate.price, candidate.part, 0)));
            }
        }
        gone.insert(part);
    }
    gone
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layer(number: u32) -> LayerId {
        format!("{number:016x}").parse().unwrap()
    }

    fn price(milliseconds: u64, bytes: u64, days_ago: i64) -> Price {
        let now = 1_800_000_000;
        let [used, now] = [now - days_ago * DAY, now].map(|time| Timestamp::from_seconds(time).unwrap());
        Price::of_layer((milliseconds, bytes), (used, now), 0)
    }

    #[test]
    fn time_for_bytes_is_the_price_and_age_wears_it_down() {
        let (copy, compile) = (price(300, 100 << 20, 0), price(60_000, 100 << 20, 0));
        assert!(copy < compile);
        assert!(price(60_000, 100 << 20, 9) < copy, "nobody has used it for days");
        assert!(
            price(500, 1 << 20, 0) == price(510, 1 << 20, 0)
                && price(500, 1 << 20, 0) > price(500, 9 << 20, 0)
        );
        assert!(price(1, u64::MAX, 0) <= price(u64::MAX, 1, 0));
    }

    #[test]
    fn what_stands_on_something_goes_before_it() {
        // 1 ← 2 ← 3, and 4 alone; 1 is the cheapest
        let stacks = [(1, vec![1]), (2, vec![1, 2]), (3, vec![1, 2, 3]), (4, vec![4])];
        let needs = Needs {
            stacks: stacks
                .into_iter()
                .map(|(one, all)| (layer(one), all.into_iter().map(layer).collect()))
                .collect(),
            bytes: (1..=4).map(|number| (layer(number), 10)).collect(),
        };
        let candidates = |milliseconds: [u64; 4]| {
            let priced = (1..=4).zip(milliseconds);
            let candidate = |(number, milliseconds)| Candidate {
                part: CachePart::Layer(layer(number)),
                price: price(milliseconds, 1 << 20, 0),
                mount_bytes: 0,
            };
            priced.map(candidate).collect::<Vec<_>>()
        };
        let gone = |milliseconds, keep| {
            let mut gone: Vec<CachePart> =
                choose(candidates(milliseconds), &needs, (40, keep)).into_iter().collect();
            gone.sort();
            gone
        };
        let parts = |numbers: &[u32]| {
            numbers.iter().map(|number| CachePart::Layer(layer(*number))).collect::<Vec<_>>()
        };
        assert_eq!(gone([1, 100, 1000, 9000], 30), parts(&[3]));
        assert_eq!(gone([1, 100, 1000, 9000], 15), parts(&[1, 2, 3]));
        assert_eq!(gone([1, 100, 1000, 10], 30), parts(&[4]));
        assert_eq!(gone([1, 100, 1000, 10], 40), parts(&[]));
        assert_eq!(gone([1, 100, 1000, 10], 0), parts(&[1, 2, 3, 4]));
    }
}
