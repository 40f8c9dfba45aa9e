//! The VM sizes this emulator offers, read from `data/vm-sizes.tsv`.
//!
//! A size decides how many data disks fit, whether premium and ultra disks are taken, and in which zones it is sold.

const TABLE: &str = include_str!("../data/vm-sizes.tsv");

/// What a VM size can do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct VmSize {
    pub(crate) name: &'static str,
    pub(crate) cpus: &'static str,
    pub(crate) most_disks: usize,
    pub(crate) has_premium: bool,
    pub(crate) controllers: &'static str,
    pub(crate) zones: Vec<&'static str>,
    pub(crate) has_ultra: bool,
}

/// Every size, in the file's order.
pub(crate) fn all() -> impl Iterator<Item = VmSize> {
    TABLE.lines().filter_map(row)
}

/// The size called `name`, whatever its case.
pub(crate) fn find(name: &str) -> Option<VmSize> {
    // Most of a row is not looked at: a write asks this for each disk that it names.
    let is_its = |line: &&str| line.split('\t').next().is_some_and(|first| first.eq_ignore_ascii_case(name));
    TABLE.lines().find(is_its).and_then(row)
}

fn row(line: &'static str) -> Option<VmSize> {
    let mut fields = line.split('\t');
    let name = fields.next().filter(|name| !name.starts_with('#'))?;
    Some(VmSize {
        name,
        cpus: fields.next()?,
        most_disks: fields.next()?.parse().ok()?,
        has_premium: fields.next()? == "yes",
        controllers: fields.next()?,
        zones: fields.next()?.split(',').filter(|zone| *zone != "-").collect(),
        has_ultra: fields.next()? == "yes",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_table_is_a_size() {
        let lines = TABLE.lines().count();
        assert_eq!(all().count(), lines - 1);
    }

    #[test]
    fn sizes_are_found_whatever_their_case() {
        assert_eq!(find("standard_d2S_V5").map(|size| size.most_disks), Some(4));
        assert_eq!(find("Standard_Nothing"), None);
    }
}
