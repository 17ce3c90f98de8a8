//! Named values in the order in which they were first given, cheap to copy: variables and labels.
//!
//! Every RUN keeps the environment it runs in, and every stage starts with that of its base, so a copy shares the values
//! that it does not change. The time to find or set a name hardly grows with the number of names, even if an attacker
//! chose them. Inside it is a trie of the names' hashes; few names are a plain list.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

/// Largest number of values in a list before it is split.
const LIST: usize = 32;
/// Number of bits of the hash that one level uses.
const BITS: u32 = 4;
const WIDTH: usize = 1 << BITS;

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Ordered<V> {
    root: Arc<Node<V>>,
    len: usize,
    /// The place in the order that the next value gets; greater than all before it.
    next: usize,
}

#[derive(Clone, Debug)]
enum Node<V> {
    List(Vec<Entry<V>>),
    Branch([Option<Arc<Node<V>>>; WIDTH]),
}

#[derive(Clone, Debug)]
struct Entry<V> {
    /// Its place in the order.
    order: usize,
    name: Arc<str>,
    value: V,
}

/// The place of a value whose name has one already.
#[derive(Clone, Copy)]
enum Place {
    Old,
    Last,
}

impl<V> Default for Ordered<V> {
    fn default() -> Self {
        Self { root: Arc::new(Node::List(Vec::new())), len: 0, next: 0 }
    }
}

impl<V: Clone> Ordered<V> {
    pub(crate) fn get(&self, name: &str) -> Option<&V> {
        let mut node = &*self.root;
        let mut hash = None;
        loop {
            match node {
                Node::List(entries) => {
                    return entries.iter().find(|entry| *entry.name == *name).map(|entry| &entry.value);
                }
                Node::Branch(children) => {
                    let rest = hash.unwrap_or_else(|| hash_of(name));
                    node = children[slot(rest)].as_deref()?;
                    hash = Some(rest >> BITS);
                }
            }
        }
    }

    /// Gives `name` a value, in its old place if it has one.
    pub(crate) fn set(&mut self, name: &str, value: V) {
        self.put(name, value, Place::Old);
    }

    /// Gives `name` a value and makes it the last.
    pub(crate) fn set_last(&mut self, name: &str, value: V) {
        self.put(name, value, Place::Last);
    }

    fn put(&mut self, name: &str, value: V, place: Place) {
        let mut node = &mut self.root;
        let mut depth = 0;
        let mut hash = None;
        loop {
            let here = Arc::make_mut(node);
            if let Node::List(entries) = here {
                let known = entries.iter().position(|entry| *entry.name == *name);
                if let (Some(at), Place::Old) = (known, place) {
                    entries[at].value = value;
                    return;
                }
                let earlier = known.map(|at| entries.remove(at));
                if earlier.is_some() || entries.len() < LIST || depth >= u64::BITS {
                    self.len += usize::from(earlier.is_none());
                    let name = earlier.map_or_else(|| name.into(), |earlier| earlier.name);
                    entries.push(Entry { order: self.next, name, value });
                    self.next += 1;
                    return;
                }
                let entries = std::mem::take(entries);
                *here = split(entries, depth);
            }
            let Node::Branch(children) = here else { return };
            let rest = hash.unwrap_or_else(|| hash_of(name));
            hash = Some(rest >> BITS);
            depth += BITS;
            node = children[slot(rest)].get_or_insert_with(|| Arc::new(Node::List(Vec::new())));
        }
    }

    /// Names and values in their order.
    pub(crate) fn entries(&self) -> Vec<(&str, &V)> {
        let mut found = Vec::with_capacity(self.len);
        let mut todo = vec![&*self.root];
        while let Some(node) = todo.pop() {
            match node {
                Node::List(entries) => found.extend(entries),
                Node::Branch(children) => todo.extend(children.iter().flatten().map(|child| &**child)),
            }
        }
        // one list is in order already
        if found.len() > LIST {
            found.sort_unstable_by_key(|entry| entry.order);
        }
        found.into_iter().map(|entry| (&*entry.name, &entry.value)).collect()
    }
}

/// The entries one level deeper, below the `depth` bits that they have in common.
fn split<V>(entries: Vec<Entry<V>>, depth: u32) -> Node<V> {
    let mut lists: [Vec<Entry<V>>; WIDTH] = std::array::from_fn(|_| Vec::new());
    for entry in entries {
        lists[slot(hash_of(&entry.name) >> depth)].push(entry);
    }
    Node::Branch(lists.map(|list| (!list.is_empty()).then(|| Arc::new(Node::List(list)))))
}

fn hash_of(name: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    hasher.finish()
}

fn slot(hash: u64) -> usize {
    hash as usize % WIDTH
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbered(count: usize) -> Ordered<usize> {
        let mut values = Ordered::default();
        (0..count).for_each(|n| values.set(&format!("N{n}"), n));
        values
    }

    #[test]
    fn values_are_found_and_keep_their_order() {
        for count in [0, 1, LIST, LIST + 1, 5_000] {
            let mut values = numbered(count);
            (0..count).for_each(|n| assert_eq!(values.get(&format!("N{n}")), Some(&n)));
            assert_eq!(values.get("N"), None);
            if count > 0 {
                values.set("N0", 7);
                values.set("new", 8);
                let expected = [7].into_iter().chain(1..count).chain([8]);
                assert!(values.entries().into_iter().map(|(_, n)| *n).eq(expected));
            }
        }
    }

    #[test]
    fn a_value_that_is_set_last_moves_to_the_end() {
        for count in [3, LIST, LIST + 1, 5_000] {
            let mut values = numbered(count);
            values.set_last("N1", 7);
            values.set_last("new", 8);
            values.set_last("N0", 9);
            let expected = (2..count).chain([7, 8, 9]);
            assert!(values.entries().into_iter().map(|(_, n)| *n).eq(expected), "{count}");
        }
    }

    #[test]
    fn copies_do_not_see_each_other_s_changes() {
        for count in [3, 1_000] {
            let values = numbered(count);
            let mut copy = values.clone();
            copy.set("N1", 0);
            copy.set("new", 0);
            assert_eq!((values.get("N1"), values.get("new")), (Some(&1), None));
            assert_eq!((values.entries().len(), copy.entries().len()), (count, count + 1));
        }
    }

    /// A changed copy of a thousand values shares all except the few next to the change.
    #[test]
    fn copies_share_what_they_do_not_change() {
        let values = numbered(1_000);
        let mut copy = values.clone();
        copy.set("N1", 0);
        let (Node::Branch(own), Node::Branch(other)) = (&*values.root, &*copy.root) else { unreachable!() };
        let shared = own.iter().flatten().zip(other.iter().flatten()).filter(|(a, b)| Arc::ptr_eq(a, b));
        assert_eq!(shared.count(), WIDTH - 1);
    }
}
