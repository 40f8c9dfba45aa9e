//! How many data disks a VM takes, by its size. The table is text in the program, sorted by name, and is
//! searched where it lies: nothing is parsed or allocated at start.

const TABLE: &str = include_str!("../data/vm-size-max-data-disks.tsv");

/// The most data disks a VM of this size (such as `Standard_D4s_v5`, in any case) takes; `None` if the table
/// doesn't know the size. Source: Azure's published VM sizes.
pub fn max_data_disks(vm_size: &str) -> Option<u8> {
    let mut rest = TABLE;
    while !rest.is_empty() {
        let (before, line, after) = middle(rest);
        let (name, count) = line.split_once('\t')?;
        match compare(name, vm_size) {
            std::cmp::Ordering::Equal => return count.parse().ok(),
            std::cmp::Ordering::Less => rest = after,
            std::cmp::Ordering::Greater => rest = before,
        }
    }
    None
}

/// The lines before the one around the middle byte, that line, and the lines after it.
fn middle(lines: &str) -> (&str, &str, &str) {
    let half = lines.len() / 2;
    let start = lines.get(..half).and_then(|head| head.rfind('\n')).map_or(0, |newline| newline + 1);
    let end = lines[start..].find('\n').map_or(lines.len(), |length| start + length);
    (&lines[..start], &lines[start..end], lines.get(end + 1..).unwrap_or_default())
}

/// The table's own spelling is upper case.
fn compare(name: &str, vm_size: &str) -> std::cmp::Ordering {
    name.bytes().cmp(vm_size.bytes().map(|byte| byte.to_ascii_uppercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_found_in_any_case() {
        for line in TABLE.lines() {
            let (name, count) = line.split_once('\t').unwrap();
            assert_eq!(max_data_disks(name), Some(count.parse().unwrap()), "{name}");
            assert_eq!(max_data_disks(&name.to_lowercase()), Some(count.parse().unwrap()), "{name}");
        }
    }

    #[test]
    fn sizes() {
        let rows = [
            ("Standard_D2s_v5", Some(4)),
            ("standard_d4S_v5", Some(8)),
            ("Standard_B2s", Some(4)),
            ("Standard_D4s_v", None),
            ("Standard_D4s_v55", None),
            ("", None),
            ("ZZZ", None),
            ("Größe", None),
        ];
        for (size, wanted) in rows {
            assert_eq!(max_data_disks(size), wanted, "{size}");
        }
    }
}
