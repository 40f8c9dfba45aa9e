//! Ids of Azure resources: parsed, compared without case, kept as spelled.
//!
//! Azure spells the same id differently from call to call (a recorded list: `/resourceGroups/DUMMY/`), while a
//! CO compares the handles that we give it byte by byte. So equality and hashing ignore case, and `Display`
//! gives back what came in. Segments are checked: an id becomes a path of a URL.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::Arc;

/// A text that is no such id; says what was expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not the id of {expected}")]
pub struct IdError {
    text: String,
    expected: &'static str,
}

/// `/subscriptions/S/resourceGroups/G/providers/P/T/N[/T/N…]`. Clones share it: a call holds the ids of its disk and its
/// VM in many places.
#[derive(Clone)]
pub struct ResourceId {
    text: Arc<str>,
}

impl ResourceId {
    /// `subscriptions`, S, `resourceGroups`, G, `providers`, P, T, N, …
    fn segments(&self) -> impl Iterator<Item = &str> {
        self.text.split('/').skip(1)
    }

    fn segment(&self, index: usize) -> &str {
        self.segments().nth(index).unwrap_or_default()
    }

    /// The subscription's id.
    pub fn subscription(&self) -> &str {
        self.segment(1)
    }

    /// The resource group's name.
    pub fn resource_group(&self) -> &str {
        self.segment(3)
    }

    /// The last name: of the resource itself.
    pub fn name(&self) -> &str {
        self.segments().last().unwrap_or_default()
    }

    /// As it was spelled.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether provider and types are these, in any case: `["Microsoft.Compute", "disks"]`.
    fn is_a(&self, types: &[&str]) -> bool {
        let ours = [self.segment(5)].into_iter().chain(self.segments().skip(6).step_by(2));
        self.segments().count() == 6 + 2 * (types.len() - 1)
            && ours.zip(types).all(|(ours, wanted)| ours.eq_ignore_ascii_case(wanted))
    }
}

impl FromStr for ResourceId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let error = || IdError { text: text.to_owned(), expected: "an Azure resource" };
        if !text.strip_prefix('/').ok_or_else(error)?.split('/').all(is_segment) {
            return Err(error());
        }
        let id = ResourceId { text: text.into() };
        let words = [(0, "subscriptions"), (2, "resourceGroups"), (4, "providers")];
        let count = id.segments().count();
        let shaped = count >= 8
            && count.is_multiple_of(2)
            && words.iter().all(|(index, word)| id.segment(*index).eq_ignore_ascii_case(word));
        if shaped { Ok(id) } else { Err(error()) }
    }
}

/// A name that can stand in a path as it is: what Azure allows in names, and no `.` or `..`.
fn is_segment(part: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.()".contains(&byte);
    !part.is_empty() && part.len() <= 260 && part != "." && part != ".." && part.bytes().all(allowed)
}

impl PartialEq for ResourceId {
    fn eq(&self, other: &Self) -> bool {
        self.text.eq_ignore_ascii_case(&other.text)
    }
}

impl Eq for ResourceId {}

impl Hash for ResourceId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        for byte in self.text.bytes() {
            state.write_u8(byte.to_ascii_lowercase());
        }
    }
}

impl PartialOrd for ResourceId {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ResourceId {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let lower = |byte: u8| byte.to_ascii_lowercase();
        self.text.bytes().map(lower).cmp(other.text.bytes().map(lower))
    }
}

impl fmt::Display for ResourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for ResourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// An id of one type of resource.
macro_rules! typed_id {
    ($(#[$doc:meta])* $name:ident, $expected:literal, $types:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(ResourceId);

        impl $name {
            /// The id of the one with this name.
            ///
            /// # Errors
            /// If a part cannot stand in an id.
            pub fn new(subscription: &str, group: &str, name: &str) -> Result<Self, IdError> {
                let path = $types.join("/");
                format!("/subscriptions/{subscription}/resourceGroups/{group}/providers/{path}/{name}").parse()
            }

            /// The subscription's id.
            pub fn subscription(&self) -> &str {
                self.0.subscription()
            }

            /// The resource group's name.
            pub fn resource_group(&self) -> &str {
                self.0.resource_group()
            }

            /// The resource's own name.
            pub fn name(&self) -> &str {
                self.0.name()
            }

            /// As it was spelled.
            pub fn as_str(&self) -> &str {
                self.0.as_str()
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                let error = || IdError { text: text.to_owned(), expected: $expected };
                let id: ResourceId = text.parse().map_err(|_| error())?;
                if id.is_a(&$types) { Ok($name(id)) } else { Err(error()) }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
    };
}

typed_id!(
    /// A managed disk.
    DiskId,
    "a managed disk",
    ["Microsoft.Compute", "disks"]
);
typed_id!(
    /// A snapshot.
    SnapshotId,
    "a snapshot",
    ["Microsoft.Compute", "snapshots"]
);

/// A virtual machine, standing alone or in a uniform scale set.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum VmId {
    /// `…/virtualMachines/N`; also one of a flexible scale set or an availability set.
    Standalone(ResourceId),
    /// `…/virtualMachineScaleSets/S/virtualMachines/I`.
    ScaleSet(ResourceId),
}

impl VmId {
    /// The standalone VM with this name.
    ///
    /// # Errors
    /// If a part cannot stand in an id.
    pub fn standalone(subscription: &str, group: &str, name: &str) -> Result<Self, IdError> {
        format!(
            "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.Compute/virtualMachines/{name}"
        )
        .parse()
    }

    /// The whole id.
    pub fn resource_id(&self) -> &ResourceId {
        match self {
            VmId::Standalone(id) | VmId::ScaleSet(id) => id,
        }
    }

    /// The subscription's id.
    pub fn subscription(&self) -> &str {
        self.resource_id().subscription()
    }

    /// The resource group's name.
    pub fn resource_group(&self) -> &str {
        self.resource_id().resource_group()
    }

    /// What people call it: the VM's name, or scale set and instance as `set_3`, as Azure names it.
    pub fn name(&self) -> String {
        match self {
            VmId::Standalone(id) => id.name().to_owned(),
            VmId::ScaleSet(id) => format!("{}_{}", id.segment(7), id.name()),
        }
    }

    /// As it was spelled.
    pub fn as_str(&self) -> &str {
        self.resource_id().as_str()
    }
}

impl FromStr for VmId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        let error = || IdError { text: text.to_owned(), expected: "a virtual machine" };
        let id: ResourceId = text.parse().map_err(|_| error())?;
        if id.is_a(&["Microsoft.Compute", "virtualMachines"]) {
            Ok(VmId::Standalone(id))
        } else if id.is_a(&["Microsoft.Compute", "virtualMachineScaleSets", "virtualMachines"]) {
            Ok(VmId::ScaleSet(id))
        } else {
            Err(error())
        }
    }
}

impl fmt::Display for VmId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.resource_id().fmt(f)
    }
}

impl fmt::Debug for VmId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.resource_id(), f)
    }
}

/// A resource group: the scope of lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceGroup {
    /// The subscription's id.
    pub subscription: String,
    /// The group's name.
    pub name: String,
}

impl ResourceGroup {
    /// The group `name` of `subscription`.
    ///
    /// # Errors
    /// If a part cannot stand in an id.
    pub fn new(subscription: &str, name: &str) -> Result<Self, IdError> {
        if is_segment(subscription) && is_segment(name) {
            return Ok(ResourceGroup { subscription: subscription.to_owned(), name: name.to_owned() });
        }
        Err(IdError { text: format!("{subscription}/{name}"), expected: "a resource group" })
    }

    /// The path of a collection of Microsoft.Compute in the group.
    pub(crate) fn collection(&self, kind: &str) -> String {
        let (subscription, name) = (&self.subscription, &self.name);
        format!("/subscriptions/{subscription}/resourceGroups/{name}/providers/Microsoft.Compute/{kind}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    const DISK: &str = "/subscriptions/s-1/resourceGroups/Group/providers/Microsoft.Compute/disks/pvc-1";

    #[test]
    fn an_id_is_compared_without_case_and_kept_as_spelled() {
        let (one, other): (DiskId, DiskId) = (DISK.parse().unwrap(), DISK.to_uppercase().parse().unwrap());
        assert_eq!(one, other);
        assert_eq!(HashSet::from([one.clone(), other.clone()]).len(), 1);
        assert_eq!(one.cmp(&other), std::cmp::Ordering::Equal);
        assert_eq!((one.to_string(), one.name(), one.resource_group()), (DISK.to_owned(), "pvc-1", "Group"));
        assert_eq!(DiskId::new("s-1", "group", "pvc-1").unwrap(), one);
    }

    #[test]
    fn what_is_no_id_is_refused() {
        let rows = [
            "",
            "pvc-1",
            "/subscriptions/s",
            &DISK[1..],
            "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/snapshots/n",
            "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/disks/../../x",
            "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/disks/a?b=c",
            "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/disks/a%2Fb",
            "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/disks/",
            "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/disks/a/b",
            "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/disks/a/b/c",
        ];
        for text in rows {
            assert!(text.parse::<DiskId>().is_err(), "{text}");
        }
        assert!(DiskId::new("s", "g", "../x").is_err());
    }

    #[test]
    fn a_vm_stands_alone_or_in_a_scale_set() {
        let base = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute";
        let rows = [
            (format!("{base}/virtualMachines/node-a"), Some("node-a")),
            (format!("{base}/virtualmachinescalesets/pool/VIRTUALMACHINES/3"), Some("pool_3")),
            (format!("{base}/virtualMachineScaleSets/pool"), None),
            (DISK.to_owned(), None),
        ];
        for (text, name) in rows {
            let parsed = text.parse::<VmId>().ok().map(|id| id.name());
            assert_eq!(parsed.as_deref(), name, "{text}");
        }
    }
}
