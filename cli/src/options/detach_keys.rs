//! The keys that leave a container running.

use crate::error::UsageError;

/// Docker's: Ctrl-P and then Ctrl-Q.
const DEFAULT: [u8; 2] = [0x10, 0x11];

/// A sequence of keys, and how much of it was typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DetachKeys {
    keys: Vec<u8>,
    typed: usize,
}

impl DetachKeys {
    /// Reads `ctrl-p,ctrl-q`; none are the usual ones.
    ///
    /// # Errors
    /// [`UsageError`] names the key that is none.
    pub(crate) fn parse(text: Option<&str>) -> Result<Self, UsageError> {
        let Some(text) = text.filter(|text| !text.is_empty()) else {
            return Ok(Self { keys: DEFAULT.to_vec(), typed: 0 });
        };
        let keys = text.split(',').map(|word| {
            key(word).ok_or_else(|| {
                UsageError::new(format!("invalid detach keys ({text}): Unknown character: '{word}'"))
            })
        });
        Ok(Self { keys: keys.collect::<Result<_, _>>()?, typed: 0 })
    }

    /// Takes what was typed: what of it is for the container, and whether the person leaves.
    pub(crate) fn take(&mut self, typed: &[u8]) -> (Vec<u8>, bool) {
        let mut passed = Vec::with_capacity(typed.len());
        for byte in typed {
            if *byte != self.keys[self.typed] {
                // the keys before were meant for the container
                passed.extend_from_slice(&self.keys[..self.typed]);
                self.typed = 0;
            }
            if *byte != self.keys[self.typed] {
                passed.push(*byte);
                continue;
            }
            self.typed += 1;
            if self.typed == self.keys.len() {
                return (passed, true);
            }
        }
        (passed, false)
    }
}

fn key(word: &str) -> Option<u8> {
    if let Some(letter) = word.strip_prefix("ctrl-") {
        return match letter.as_bytes() {
            [letter @ b'a'..=b'z'] => Some(letter - b'a' + 1),
            b"@" => Some(0),
            b"[" => Some(27),
            b"\\" => Some(28),
            b"]" => Some(29),
            b"^" => Some(30),
            b"_" => Some(31),
            _ => None,
        };
    }
    match word.as_bytes() {
        [one] if one.is_ascii_graphic() => Some(*one),
        b"DEL" => Some(127),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_leave_only_when_all_are_typed() {
        let mut keys = DetachKeys::parse(None).unwrap();
        assert_eq!(keys.take(b"ab\x10"), (b"ab".to_vec(), false));
        assert_eq!(keys.take(b"c"), (b"\x10c".to_vec(), false));
        assert_eq!(keys.take(b"\x10\x10\x11x"), (b"\x10".to_vec(), true));
        let mut keys = DetachKeys::parse(Some("ctrl-a,x")).unwrap();
        assert_eq!(keys.take(b"\x01x"), (Vec::new(), true));
        let error = DetachKeys::parse(Some("ctrl-,x")).unwrap_err();
        assert!(error.to_string().contains("invalid detach keys (ctrl-,x)"), "{error}");
    }
}
