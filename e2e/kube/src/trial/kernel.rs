//! What the kernel of this machine allows, where a test depends on it.

/// The capability that EXT4_IOC_RESIZE_FS asks for.
const SYS_RESOURCE: u32 = 24;

/// Whether a mounted ext4 can grow here, and why not.
pub fn ext4_growth() -> Result<(), String> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    if is_bound(&status, SYS_RESOURCE) {
        return Ok(());
    }
    Err("the kernel lets a mounted ext4 grow only with CAP_SYS_RESOURCE, which no process has here"
        .to_owned())
}

/// Whether a process with this `/proc/PID/status` can have a capability at all.
fn is_bound(status: &str, capability: u32) -> bool {
    let bounding = status.lines().find_map(|line| line.strip_prefix("CapBnd:"));
    let bits = bounding.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok());
    bits.is_some_and(|bits| bits >> capability & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(status: &str, expected: bool) {
        assert_eq!(is_bound(status, SYS_RESOURCE), expected, "{status}");
    }

    #[test]
    fn the_bounding_set_decides() {
        check("Name:\ta\nCapEff:\t0\nCapBnd:\t000001ffffffffff\n", true);
        check("CapBnd:\t0000000001000000\n", true);
        check("CapEff:\t000001ffffffffff\nCapBnd:\t000001fffeffffff\n", false);
        check("", false);
    }
}
