//! Names: of block devices as Linux gives them, and of disks and VMs as they may become file names. Pure.

use std::collections::BTreeSet;

use super::error::DevicesError;

/// The name of the n-th SCSI disk: sda … sdz, sdaa, sdab …
pub(super) fn sd(index: u32) -> String {
    let mut letters = Vec::new();
    let mut rest = index + 1;
    while rest > 0 {
        rest -= 1;
        letters.push(char::from(b'a' + u8::try_from(rest % 26).unwrap_or_default()));
        rest /= 26;
    }
    letters.push('d');
    letters.push('s');
    letters.iter().rev().collect()
}

/// The lowest name that is not taken, as the kernel chooses it: it says nothing about the LUN.
pub(super) fn lowest_free(taken: &BTreeSet<String>) -> String {
    // Of one name more than are taken, one is free.
    (0..).take(taken.len() + 1).map(sd).find(|name| !taken.contains(name)).unwrap_or_default()
}

/// `name`, if it names a file in the directory it is meant for and not one of ours there.
pub(super) fn file_name(name: &str) -> Result<&str, DevicesError> {
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    if plain && !name.is_empty() && !name.starts_with('.') && name.len() <= 128 {
        Ok(name)
    } else {
        Err(DevicesError::Name(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disks_are_named_as_linux_names_them() {
        for (index, name) in [(0, "sda"), (2, "sdc"), (25, "sdz"), (26, "sdaa"), (51, "sdaz"), (65, "sdbn")] {
            assert_eq!(sd(index), name);
        }
        assert_eq!((sd(701), sd(702)), ("sdzz".into(), "sdaaa".into()));
    }

    #[test]
    fn a_free_name_is_used_again() {
        let check = |taken: &[&str], free: &str| {
            assert_eq!(lowest_free(&taken.iter().map(|name| (*name).to_owned()).collect()), free);
        };
        check(&[], "sda");
        check(&["sda", "sdb"], "sdc");
        check(&["sda", "sdb", "sdd"], "sdc");
    }

    #[test]
    fn a_name_stays_in_its_directory() {
        for good in ["node-a", "vmss_0", "aks-pool-vmss000001", "0b7c2a1e-1111-4222-8333-444455556666", "a.b"]
        {
            assert_eq!(file_name(good).unwrap(), good);
        }
        for bad in ["", ".", "..", "a/b", "/a", ".part", "a b", "ä", &"x".repeat(129)] {
            file_name(bad).unwrap_err();
        }
    }
}
