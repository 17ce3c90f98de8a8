//! Secrets in the output of a command: stars instead, also where a secret comes in pieces.

/// What stands where a secret was.
const STARS: &[u8] = b"****";
/// Shorter values are not looked for, because they would be found in every other word.
const SHORTEST: usize = 4;
/// The lines of a value of several are looked for too, from this length on: programs print a key line by line.
const SHORTEST_LINE: usize = 8;

/// What can follow the bytes that came.
#[derive(Clone, Copy, PartialEq, Eq)]
enum More {
    MayCome,
    Never,
}

/// Replaces secrets in a stream of bytes.
pub(crate) struct Mask {
    /// The longest first, because a value may begin with another one.
    secrets: Vec<Vec<u8>>,
    /// The bytes with which a secret begins.
    first: [bool; 256],
    /// The end of what came, which may be the beginning of a secret.
    pending: Vec<u8>,
    /// One was there.
    found: bool,
}

impl Mask {
    /// A mask of `values`; `None` when there is nothing to look for.
    pub(crate) fn new<'a>(values: impl Iterator<Item = &'a [u8]>) -> Option<Self> {
        let mut secrets: Vec<Vec<u8>> = Vec::new();
        for value in values {
            let whole = value.trim_ascii();
            if whole.len() >= SHORTEST {
                secrets.push(whole.to_vec());
            }
            let lines = whole.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
            secrets.extend(lines.filter(|line| line.len() >= SHORTEST_LINE).map(<[u8]>::to_vec));
        }
        secrets.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        secrets.dedup();
        let mut first = [false; 256];
        secrets.iter().filter_map(|secret| secret.first()).for_each(|byte| first[usize::from(*byte)] = true);
        (!secrets.is_empty()).then_some(Self { secrets, first, pending: Vec::new(), found: false })
    }

    /// Hands `bytes` on to `out` without the secrets in them. What may be the beginning of one waits for the next bytes.
    pub(crate) fn push(&mut self, bytes: &[u8], out: &mut dyn FnMut(&[u8])) {
        self.pending.extend_from_slice(bytes);
        self.look(More::MayCome, out);
    }

    /// Hands on what waits, because nothing follows.
    pub(crate) fn finish(mut self, out: &mut dyn FnMut(&[u8])) {
        self.look(More::Never, out);
    }

    /// True if a secret was in what came until now, with `bytes`.
    pub(crate) fn finds(&mut self, bytes: &[u8]) -> bool {
        self.push(bytes, &mut |_| {});
        self.found
    }

    /// The same, when nothing follows.
    pub(crate) fn finds_to_the_end(&mut self) -> bool {
        self.look(More::Never, &mut |_| {});
        self.found
    }

    fn look(&mut self, more: More, out: &mut dyn FnMut(&[u8])) {
        let text = &self.pending[..];
        let (mut at, mut start) = (0, 0);
        while at < text.len() {
            let rest = &text[at..];
            if !self.first[usize::from(rest[0])] {
                at += 1;
                continue;
            }
            let begins = |secret: &Vec<u8>| secret.len() > rest.len() && secret.starts_with(rest);
            // a shorter secret here may turn out to be the beginning of a longer one
            if more == More::MayCome && self.secrets.iter().any(begins) {
                break;
            }
            match self.secrets.iter().find(|secret| rest.starts_with(secret)) {
                Some(secret) => {
                    hand_on(&text[start..at], out);
                    out(STARS);
                    self.found = true;
                    at += secret.len();
                    start = at;
                }
                None => at += 1,
            }
        }
        hand_on(&text[start..at], out);
        self.pending.drain(..at);
    }
}

fn hand_on(bytes: &[u8], out: &mut dyn FnMut(&[u8])) {
    if !bytes.is_empty() {
        out(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn masked(secrets: &[&[u8]], pieces: &[&[u8]]) -> Vec<u8> {
        let mut out = Vec::new();
        let Some(mut mask) = Mask::new(secrets.iter().copied()) else {
            return pieces.concat();
        };
        for piece in pieces {
            mask.push(piece, &mut |bytes| out.extend_from_slice(bytes));
        }
        mask.finish(&mut |bytes| out.extend_from_slice(bytes));
        out
    }

    #[test]
    fn stars_stand_where_a_secret_was() {
        for (secrets, pieces, expected) in [
            (&[&b"hunter2\n"[..]][..], &[&b"is hunter2, hunter2\n"[..]][..], &b"is ****, ****\n"[..]),
            (&[b"hunter2"], &[b"hun", b"t", b"er2 hunter"], b"**** hunter"),
            (&[b"abab"], &[b"aba", b"abab"], b"aba****"),
            (&[b"pass", b"password"], &[b"password pass passw"], b"**** **** ****w"),
            (&[b"-- key --\nAAAAAAAA\nBB"], &[b"1 AAAAAAAA\n"], b"1 ****\n"),
            (&[b"abc", b""], &[b"abc"], b"abc"),
            // the end of the output is inside of one secret, and holds another
            (&[b"user=x\npassword=hunter2\nmore"], &[b"user=x\npassword=hunter2\n"], b"user=x\n****\n"),
            (
                &[b"https://user:tok3nVALUE@host", b"tok3nVALUE"],
                &[b"https://user:tok3nVALUE"],
                b"https://user:****",
            ),
            // one secret is the beginning of another
            (&[b"pass", b"password-LONG-9"], &[b"pass", b"word-LONG-9, pass", b"ing"], b"****, ****ing"),
        ] {
            let found = masked(secrets, pieces);
            assert_eq!(String::from_utf8_lossy(&found), String::from_utf8_lossy(expected));
        }
    }

    proptest! {
        #[test]
        fn pieces_make_no_difference(text in "[abc]{0,40}", cuts in prop::collection::vec(0_usize..40, 0..6)) {
            let secrets: [&[u8]; 5] = [b"abca", b"abcaabc", b"caab", b"bbbbb", b"aabcaacb"];
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|ends| &text.as_bytes()[ends[0]..ends[1]]).collect();
            let whole = masked(&secrets, &[text.as_bytes()]);
            prop_assert_eq!(masked(&secrets, &pieces), whole.clone());
            for secret in secrets {
                prop_assert!(!whole.windows(secret.len()).any(|window| window == secret));
            }
        }
    }
}
