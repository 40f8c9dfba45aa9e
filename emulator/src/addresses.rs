//! Which VM speaks from which address. On Azure the metadata service knows a VM by its cable; here by the source of the
//! request, which may be the machine's own address or one of a subnet behind it (its pods').
//!
//! Owner of the addresses: each VM in the model, so they go with it. Invariant: no two VMs have the same subnet; of those
//! that overlap the narrowest counts.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::model::Model;
use crate::seed::SeedError;
use crate::world::{Key, Vm};

/// An address, or all that share its first bits: `10.0.0.4`, `10.244.1.0/24`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Subnet {
    base: IpAddr,
    prefix: u8,
}

/// A text that is no address and no subnet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not an address like 10.0.0.4, nor a subnet like 10.244.1.0/24")]
pub struct NotASubnet(String);

impl Subnet {
    fn contains(&self, address: IpAddr) -> bool {
        match (self.base, address) {
            (IpAddr::V4(base), IpAddr::V4(address)) => {
                let rest = u32::from(self.prefix);
                (base.to_bits() ^ address.to_bits()).leading_zeros() >= rest
            }
            (IpAddr::V6(base), IpAddr::V6(address)) => {
                let rest = u32::from(self.prefix);
                (base.to_bits() ^ address.to_bits()).leading_zeros() >= rest
            }
            _ => false,
        }
    }

    /// The same addresses, however the base was spelled.
    fn is_same(&self, other: &Self) -> bool {
        self.prefix == other.prefix && self.contains(other.base)
    }
}

impl FromStr for Subnet {
    type Err = NotASubnet;

    fn from_str(text: &str) -> Result<Self, NotASubnet> {
        let wrong = || NotASubnet(text.to_owned());
        let (base, prefix) = text.split_once('/').map_or((text, None), |(base, prefix)| (base, Some(prefix)));
        let base: IpAddr = base.parse().map_err(|_| wrong())?;
        let longest = if base.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.map_or(Ok(longest), |prefix| prefix.parse().map_err(|_| wrong()))?;
        if prefix > longest {
            return Err(wrong());
        }
        Ok(Self { base, prefix })
    }
}

impl TryFrom<String> for Subnet {
    type Error = NotASubnet;

    fn try_from(text: String) -> Result<Self, NotASubnet> {
        text.parse()
    }
}

impl From<Subnet> for String {
    fn from(subnet: Subnet) -> Self {
        subnet.to_string()
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.prefix)
    }
}

impl Model {
    /// The VM that speaks from `address`.
    pub(crate) fn vm_at(&self, address: IpAddr) -> Option<&Vm> {
        let all = self.world.vms.values().flat_map(|vm| vm.addresses.iter().map(move |subnet| (subnet, vm)));
        let reaching = all.filter(|(subnet, _)| subnet.contains(address));
        reaching.max_by_key(|(subnet, _)| subnet.prefix).map(|(_, vm)| vm)
    }

    /// Refuses a subnet that another VM than `except` has.
    pub(crate) fn demand_free(&self, subnets: &[Subnet], except: Option<&Key>) -> Result<(), SeedError> {
        for (_, vm) in self.world.vms.iter().filter(|(key, _)| Some(*key) != except) {
            if let Some(taken) = subnets.iter().find(|new| vm.addresses.iter().any(|has| has.is_same(new))) {
                return Err(SeedError::Taken { subnet: taken.to_string(), vm: vm.id.clone() });
            }
        }
        Ok(())
    }

    /// Lets a VM, named by id or machine name, speak from these addresses and no others.
    pub(crate) fn set_addresses(&mut self, vm: &str, subnets: &[Subnet]) -> Result<(), SeedError> {
        let key = self.find_vm(vm).ok_or_else(|| SeedError::NoVm(vm.to_owned()))?;
        self.demand_free(subnets, Some(&key))?;
        if let Some(vm) = self.world.vms.get_mut(&key)
            && vm.addresses != subnets
        {
            subnets.clone_into(&mut vm.addresses);
            self.is_dirty = true;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subnet_has_the_addresses_that_share_its_first_bits() {
        for (subnet, address, is_in) in [
            ("10.0.0.4", "10.0.0.4", true),
            ("10.0.0.4", "10.0.0.5", false),
            ("10.91.1.0/24", "10.91.1.255", true),
            ("10.91.1.7/24", "10.91.1.255", true),
            ("10.91.1.0/24", "10.91.2.0", false),
            ("0.0.0.0/0", "8.8.8.8", true),
            ("0.0.0.0/0", "::1", false),
            ("fd00::/8", "fd12::1", true),
            ("fd00::1/128", "fd00::2", false),
        ] {
            let subnet: Subnet = subnet.parse().unwrap();
            assert_eq!(subnet.contains(address.parse().unwrap()), is_in, "{subnet} {address}");
        }
    }

    #[test]
    fn what_is_no_subnet_is_refused() {
        for text in ["", "a", "10.0.0", "10.0.0.4/33", "10.0.0.4/", "::/129", "10.0.0.4/-1"] {
            assert!(text.parse::<Subnet>().unwrap_err().to_string().contains(text), "{text}");
        }
    }
}
