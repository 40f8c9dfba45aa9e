//! What this machine is, as the instance metadata service tells it and as the operator has it: how many disks
//! the node takes, and in which zone it lies. Pure; the asking is in `wiring`.

use azure::Instance;
use node::MachineFacts;

use crate::config::Config;

/// The facts that a node reports.
pub(crate) fn facts(instance: Instance, config: &Config) -> MachineFacts {
    let max_data_disks = azure::max_data_disks(&instance.vm_size).map(|most| {
        // To CSI, zero disks mean that nobody knows the limit: one stays.
        u64::from(most).saturating_sub(config.reserved_slots.into()).max(1)
    });
    let zone = instance.zone.filter(|zone| config.support_zone && !zone.is_empty());
    let region = Some(instance.location).filter(|region| !region.is_empty());
    MachineFacts { zone, region, vm_size: instance.vm_size, max_data_disks }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::Environment;
    use crate::flags::Flags;

    fn check(line: &str, size: &str, zone: &str, disks: Option<u64>, told_zone: Option<&str>) {
        let flags = Flags::parse(line.split_whitespace().map(str::to_owned));
        let config = Config::new(&flags, Environment::default()).unwrap();
        let instance = Instance {
            vm_size: size.to_owned(),
            zone: Some(zone.to_owned()),
            location: "eastus2".to_owned(),
            name: "node-a".to_owned(),
            id: String::new(),
            resource_group: "rg".to_owned(),
            subscription: "s".to_owned(),
            scale_set: None,
            data_disks: Vec::new(),
        };
        let facts = facts(instance, &config);
        assert_eq!((facts.max_data_disks, facts.zone.as_deref()), (disks, told_zone), "{line} {size}");
        assert_eq!(facts.region.as_deref(), Some("eastus2"));
    }

    #[test]
    fn the_operator_may_say_fewer_disks_and_no_zone() {
        check("", "Standard_D4s_v5", "1", Some(8), Some("1"));
        check("--reserved-data-disk-slot-num=2", "Standard_D4s_v5", "1", Some(6), Some("1"));
        check("--reserved-data-disk-slot-num=99", "Standard_D4s_v5", "1", Some(1), Some("1"));
        check("--reserved-data-disk-slot-num=2", "Standard_D4s_v5", "", Some(6), None);
        check("--support-zone=false", "standard_d4s_v5", "3", Some(8), None);
        check("", "Standard_Unheard_Of", "2", None, Some("2"));
    }
}
