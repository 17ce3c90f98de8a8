//! Every byte that reaches a cache key is written here. The encoding is canonical (one value, one encoding), versioned,
//! and injective: names and values carry their length, lists their count, and each item its sort.
//!
//! A step has two hashes. Its [`StepHash`] covers what the step itself says and reads. Its [`CacheKey`] joins that with
//! what the step stands on: the parent's key. A [`FactKey`] names a memoised fact by what the fact is about.
//! `docs/cache-format.md` has the bytes; changing one is changing [`VERSION`].

use rbuild_oci::Digest;
use std::fmt;

/// Version of the encoding.
const VERSION: u8 = 2;

/// The purpose of a finished encoding; keeps equal bytes with different purposes apart.
#[derive(Clone, Copy)]
enum Purpose {
    Step = 1,
    DefinitionKey = 2,
    Fact = 4,
    Site = 5,
}

/// Writes the canonical encoding of one step or fact. The order of calls matters; callers use one fixed order.
#[derive(Clone, Debug)]
pub struct KeyBuilder {
    bytes: Vec<u8>,
}

impl KeyBuilder {
    /// Begins an encoding of a certain kind, such as `run`.
    #[must_use]
    pub fn new(kind: &str) -> Self {
        let mut builder = Self { bytes: Vec::with_capacity(512) };
        builder.counted(kind.as_bytes());
        builder
    }

    /// Adds a value.
    #[must_use]
    pub fn field(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.item(b'f', name);
        self.counted(value.as_ref());
        self
    }

    /// Adds a number.
    #[must_use]
    pub fn number(mut self, name: &str, value: u64) -> Self {
        self.item(b'n', name);
        self.bytes.extend_from_slice(&value.to_be_bytes());
        self
    }

    /// Adds a digest.
    #[must_use]
    pub fn digest(mut self, name: &str, value: &Digest) -> Self {
        self.item(b'd', name);
        self.bytes.extend_from_slice(value.as_bytes());
        self
    }

    /// Adds a value that may be absent; absent and empty differ.
    #[must_use]
    pub fn optional(mut self, name: &str, value: Option<impl AsRef<[u8]>>) -> Self {
        match value {
            Some(value) => {
                self.item(b's', name);
                self.counted(value.as_ref());
            }
            None => self.item(b'0', name),
        }
        self
    }

    /// Adds values whose order matters.
    #[must_use]
    pub fn list<T: AsRef<[u8]>>(mut self, name: &str, values: impl IntoIterator<Item = T>) -> Self {
        self.item(b'l', name);
        let at = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 8]);
        let mut count: u64 = 0;
        for value in values {
            self.counted(value.as_ref());
            count += 1;
        }
        self.bytes[at..at + 8].copy_from_slice(&count.to_be_bytes());
        self
    }

    /// The hash of a step without its parent.
    #[must_use]
    pub fn finish_step(self) -> StepHash {
        StepHash(hash(Purpose::Step, &[&self.bytes]))
    }

    /// The name of a fact.
    #[must_use]
    pub fn finish_fact(self) -> FactKey {
        FactKey(hash(Purpose::Fact, &[&self.bytes]))
    }

    /// The name of a place in a build, whatever stands there.
    #[must_use]
    pub fn finish_site(self) -> SiteHash {
        SiteHash(hash(Purpose::Site, &[&self.bytes]))
    }

    fn item(&mut self, sort: u8, name: &str) {
        self.bytes.push(sort);
        self.counted(name.as_bytes());
    }

    fn counted(&mut self, value: &[u8]) {
        self.bytes.extend_from_slice(&(value.len() as u64).to_be_bytes());
        self.bytes.extend_from_slice(value);
    }
}

impl CacheKey {
    /// The key of `step` on the result of `parent`; `None` for a step on nothing.
    #[must_use]
    pub fn definition(parent: Option<&Self>, step: &StepHash) -> Self {
        let parent: &[u8] = parent.map_or(&[], |parent| &parent.0);
        Self(hash(Purpose::DefinitionKey, &[&[u8::from(!parent.is_empty())], parent, &step.0]))
    }
}

/// `rbuild-key`, the version, the purpose, the parts. Callers' parts contain their own lengths.
fn hash(purpose: Purpose, parts: &[&[u8]]) -> [u8; 32] {
    let mut hasher = rbuild_oci::Hasher::new();
    hasher.update(b"rbuild-key");
    hasher.update(&[VERSION, purpose as u8]);
    for part in parts {
        hasher.update(part);
    }
    *hasher.finish().as_bytes()
}

macro_rules! hashes {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 32]);

        impl $name {
            /// From the 32 raw bytes that [`Self::as_bytes`] gave.
            #[must_use]
            pub const fn from_bytes(raw: [u8; 32]) -> Self {
                Self(raw)
            }

            /// The 32 raw bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            /// 64 hexadecimal digits.
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&Digest::from_bytes(self.0).hex())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl std::str::FromStr for $name {
            type Err = rbuild_oci::ParseError;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Digest::from_hex(text).map(|digest| Self(*digest.as_bytes()))
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                <String as serde::Deserialize>::deserialize(d)?.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}

hashes! {
    /// Names the result of a step on a certain parent.
    CacheKey
    /// Hash of what a step says and reads, without its parent.
    StepHash
    /// Names a memoised fact by what it is about.
    FactKey
    /// Names a place in a build (which Dockerfile, stage and step), so that what stood there before can be compared.
    SiteHash
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Pinned: a change here makes every user's cache miss, and needs a new VERSION.
    #[test]
    fn keys_are_pinned() {
        let step = KeyBuilder::new("run")
            .list("argv", ["/bin/sh", "-c", "true"])
            .list("env", ["PATH=/bin"])
            .field("cwd", "/")
            .optional("user", None::<&str>)
            .number("shm", 0)
            .digest("tree", &Digest::of(b""))
            .finish_step();
        let parent = CacheKey::definition(None, &KeyBuilder::new("scratch").finish_step());
        assert_eq!(step.to_string(), "e68efa7f64342310872cdfb56c6bf614441865178aaca84ce03f46cfd1ad1274");
        assert_eq!(parent.to_string(), "d3aafea9fc4576d89bae54ef6a2686b8d1eafd397a2e6422382c3505a4691c9a");
        assert_eq!(
            CacheKey::definition(Some(&parent), &step).to_string(),
            "0dd8ab72b49015a8ad36d83f6802b1f689a9b6f7b9e83e12253dcc7c0fe1445b"
        );
        assert_eq!(
            KeyBuilder::new("diff-id").field("layer", "x").finish_fact().to_string(),
            "b79895ba37a245c98f9e9f59b67e5dd26bef3c0ea009e5e01d93d4cc4afee6c3"
        );
    }

    #[derive(Clone, Debug, PartialEq)]
    enum Item {
        Field(String, Vec<u8>),
        Number(String, u64),
        Digest(String, [u8; 32]),
        Optional(String, Option<Vec<u8>>),
        List(String, Vec<Vec<u8>>),
    }

    fn encode(kind: &str, items: &[Item]) -> Vec<u8> {
        items
            .iter()
            .fold(KeyBuilder::new(kind), |builder, item| match item {
                Item::Field(name, value) => builder.field(name, value),
                Item::Number(name, value) => builder.number(name, *value),
                Item::Digest(name, value) => builder.digest(name, &Digest::from_bytes(*value)),
                Item::Optional(name, value) => builder.optional(name, value.as_ref()),
                Item::List(name, values) => builder.list(name, values),
            })
            .bytes
    }

    /// Reads an encoding back. An encoding that can be read back in only one way is injective.
    fn decode(bytes: &[u8]) -> (String, Vec<Item>) {
        struct Rest<'a>(&'a [u8]);
        impl Rest<'_> {
            fn take(&mut self, count: usize) -> Vec<u8> {
                let (head, tail) = self.0.split_at(count);
                self.0 = tail;
                head.to_vec()
            }
            fn number(&mut self) -> u64 {
                u64::from_be_bytes(self.take(8).try_into().unwrap())
            }
            fn counted(&mut self) -> Vec<u8> {
                let length = self.number() as usize;
                self.take(length)
            }
            fn name(&mut self) -> String {
                String::from_utf8(self.counted()).unwrap()
            }
        }
        let mut rest = Rest(bytes);
        let kind = rest.name();
        let mut items = Vec::new();
        while !rest.0.is_empty() {
            let sort = rest.take(1)[0];
            let name = rest.name();
            items.push(match sort {
                b'f' => Item::Field(name, rest.counted()),
                b'n' => Item::Number(name, rest.number()),
                b'd' => Item::Digest(name, rest.take(32).try_into().unwrap()),
                b's' => Item::Optional(name, Some(rest.counted())),
                b'0' => Item::Optional(name, None),
                b'l' => {
                    let count = rest.number();
                    Item::List(name, (0..count).map(|_| rest.counted()).collect())
                }
                other => panic!("no item begins with {other}"),
            });
        }
        (kind, items)
    }

    fn item() -> impl Strategy<Value = Item> {
        let value = || prop::collection::vec(any::<u8>(), 0..12);
        prop_oneof![
            (".{0,4}", value()).prop_map(|(n, v)| Item::Field(n, v)),
            (".{0,4}", any::<u64>()).prop_map(|(n, v)| Item::Number(n, v)),
            (".{0,4}", any::<[u8; 32]>()).prop_map(|(n, v)| Item::Digest(n, v)),
            (".{0,4}", prop::option::of(value())).prop_map(|(n, v)| Item::Optional(n, v)),
            (".{0,4}", prop::collection::vec(value(), 0..4)).prop_map(|(n, v)| Item::List(n, v)),
        ]
    }

    proptest! {
        #[test]
        fn the_encoding_is_injective(kind in ".{0,5}", items in prop::collection::vec(item(), 0..6)) {
            prop_assert_eq!(decode(&encode(&kind, &items)), (kind, items));
        }
    }
}
