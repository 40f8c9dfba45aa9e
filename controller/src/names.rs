//! The Azure name of a volume or snapshot, from the name in the request.
//!
//! CSI allows 128 bytes of nearly any Unicode; Azure allows 80 characters of `[A-Za-z0-9_.-]` and compares
//! them without case. A name that Azure would keep apart from every other is used as it is, anything else
//! becomes a readable prefix with a hash of the whole. **Invariant:** two different names never share an
//! Azure name, also not when one is written to look like the mapped form of the other: what looks mapped
//! is mapped again. Nothing is drawn by chance, so a repeated call finds what the first one made.

use sha2::{Digest, Sha256};

/// What Azure accepts for a disk or a snapshot.
const LONGEST: usize = 80;
/// Stands between the readable part and the hash.
const MARK: &str = ".h";
/// 160 bits of SHA-256 in hex.
const HASH_DIGITS: usize = 40;
/// How much of the request's name stays readable.
const READABLE: usize = 36;

/// The Azure name for the requested name `request`.
pub(crate) fn azure_name(request: &str) -> String {
    let kept_apart = is_legal(request) && !request.bytes().any(|byte| byte.is_ascii_uppercase());
    if kept_apart && !looks_mapped(request) { request.to_owned() } else { mapped(request) }
}

/// Whether Azure takes `name` for a disk or a snapshot as it is.
pub(crate) fn is_legal(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    let (Some(first), Some(last)) = (name.bytes().next(), name.bytes().next_back()) else { return false };
    name.len() <= LONGEST
        && name.bytes().all(allowed)
        && first.is_ascii_alphanumeric()
        && (last.is_ascii_alphanumeric() || last == b'_')
}

/// Whether `name` could have come out of [`mapped`].
fn looks_mapped(name: &str) -> bool {
    let Some(start) = name.len().checked_sub(HASH_DIGITS) else { return false };
    let (head, hash) = name.split_at(start);
    head.ends_with(MARK) && hash.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// A readable prefix and the hash of all of it.
fn mapped(request: &str) -> String {
    let plain: String = request
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' })
        .take(READABLE)
        .collect();
    let plain = plain.trim_matches('-');
    let readable = if plain.is_empty() { "volume" } else { plain };
    let digest = Sha256::digest(request.as_bytes());
    let hash: String = digest.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(hex_digit).collect();
    format!("{readable}{MARK}{}", &hash[..HASH_DIGITS])
}

fn hex_digit(nibble: u8) -> char {
    char::from(b"0123456789abcdef"[usize::from(nibble)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_name_azure_keeps_apart_is_itself() {
        let eighty = "a".repeat(80);
        for name in ["pvc-6ba7b810-9dad-11d1-80b4-00c04fd430c8", "a", "1_", "a.b-c_d", eighty.as_str()] {
            assert_eq!(azure_name(name), name);
        }
    }

    #[test]
    fn anything_else_is_mapped_the_same_way_every_time() {
        let rows = [
            ("PVC-A", "pvc-a.h"),
            ("-a", "a.h"),
            ("a-", "a.h"),
            ("", "volume.h"),
            ("größe", "gr--e.h"),
            ("💾💾", "volume.h"),
            ("a/../b", "a----b.h"),
        ];
        for (name, start) in rows {
            let made = azure_name(name);
            assert!(made.starts_with(start) && is_legal(&made), "{name:?} became {made}");
            assert_eq!(made, azure_name(name));
        }
        assert!(is_legal(&azure_name(&"a".repeat(81))));
    }

    #[test]
    fn a_name_crafted_to_look_mapped_does_not_meet_the_mapped_one() {
        let victim = azure_name("PVC-A");
        assert_ne!(azure_name(&victim), victim);
        assert_ne!(azure_name(&victim.to_uppercase()).to_lowercase(), victim);
    }

    /// Names that come close to each other: case, marks, hashes, lengths around the limit.
    fn name() -> impl Strategy<Value = String> {
        prop_oneof![
            ".{0,40}",
            "[A-Za-z0-9_.-]{0,90}",
            "[aA]{78,82}",
            "[ab]{1,3}\\.h[0-9a-f]{40}",
            "[ab]{0,2}".prop_map(|seed| azure_name(&seed.to_uppercase())),
        ]
    }

    proptest! {
        #[test]
        fn every_name_becomes_legal(name in name()) {
            prop_assert!(is_legal(&azure_name(&name)));
        }

        #[test]
        fn two_names_never_meet(one in name(), other in name()) {
            if one != other {
                prop_assert_ne!(azure_name(&one).to_lowercase(), azure_name(&other).to_lowercase());
            }
        }
    }
}
