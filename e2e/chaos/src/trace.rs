//! What happened in a world, line by line: always as one number, so that two runs can be compared, and as text where
//! somebody will read it.

use std::fmt::{self, Write};

/// The lines of one world.
#[derive(Clone, Debug)]
pub struct Trace {
    hash: Fnv,
    /// The lines, if they are kept.
    pub lines: Vec<String>,
    is_kept: bool,
}

impl Trace {
    /// Nothing has happened yet; the text is kept if somebody will read it.
    pub(crate) fn new(is_kept: bool) -> Trace {
        Trace { hash: Fnv(0xCBF2_9CE4_8422_2325), lines: Vec::new(), is_kept }
    }

    /// Something happened `at` so many milliseconds.
    pub(crate) fn note(&mut self, at: u64, what: fmt::Arguments<'_>) {
        // Writing into a number cannot fail.
        let _ = writeln!(self.hash, "{at} {what}");
        if self.is_kept {
            self.lines.push(format!("{:>9}.{:03} {what}", at / 1000, at % 1000));
        }
    }

    /// Everything that happened, as one number.
    pub fn hash(&self) -> u64 {
        self.hash.0
    }
}

/// FNV-1a: the same everywhere and for ever.
#[derive(Clone, Debug)]
struct Fnv(u64);

impl Write for Fnv {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3);
        self.0 = text.bytes().fold(self.0, step);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_line_or_another_time_is_another_number() {
        let hash = |lines: &[(u64, &str)]| {
            let mut trace = Trace::new(false);
            for (at, what) in lines {
                trace.note(*at, format_args!("{what}"));
            }
            trace.hash()
        };
        assert_eq!(hash(&[(1, "a"), (2, "b")]), hash(&[(1, "a"), (2, "b")]));
        for other in [&[(1, "a")][..], &[(2, "b"), (1, "a")], &[(1, "a"), (3, "b")], &[(1, "a"), (2, "c")]] {
            assert_ne!(hash(&[(1, "a"), (2, "b")]), hash(other), "{other:?}");
        }
    }
}
