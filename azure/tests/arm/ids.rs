//! Ids: whatever their spelling, the same resource is the same; whatever the text, none leads astray.

use std::collections::HashSet;
use std::time::Duration;

use azure::{DiskId, ResourceGroup, ResourceId, SnapshotId, VmId};
use proptest::prelude::*;
use serde_json::json;

use crate::vms::attach;
use crate::world::{World, within};

#[tokio::test(start_paused = true)]
async fn an_id_in_other_case_leads_to_the_same_resource() {
    let world = World::slow(Duration::from_secs(1));
    let (vm, id) = (world.vm("node-a"), world.disk("pvc-1").await);
    let shouted: DiskId = id.as_str().to_uppercase().parse().unwrap();
    let quiet: VmId = vm.as_str().to_lowercase().parse().unwrap();
    assert_eq!(world.arm.disk(&shouted, within(60)).await.unwrap().disk_id(), Some(id.clone()));
    world.arm.change_disks(&quiet, &attach(&shouted, 0), within(60)).await.unwrap();
    assert!(world.arm.disk(&id, within(60)).await.unwrap().is_held_by(&quiet));
    let read = world.arm.vm(&vm, within(60)).await.unwrap();
    assert_eq!(read.data_disks()[0].disk_id(), Some(id));
    assert_eq!(world.emulator.attached().len(), 1, "{}", json!(world.emulator.attached()));
}

/// A name, as Azure takes it and as a path can hold it.
fn name() -> impl Strategy<Value = String> {
    "[A-Za-z0-9_][A-Za-z0-9_.()-]{0,30}"
}

/// The same text, its letters in any case.
fn respelled(text: &str, upper: &[bool]) -> String {
    let case = |(letter, upper): (char, &bool)| {
        if *upper { letter.to_ascii_uppercase() } else { letter.to_ascii_lowercase() }
    };
    text.chars().zip(upper.iter().cycle()).map(case).collect()
}

proptest! {
    #[test]
    fn an_id_is_read_back_as_it_was_spelled(
        subscription in name(), group in name(), own in name(), upper in prop::collection::vec(any::<bool>(), 1..90),
    ) {
        let id = DiskId::new(&subscription, &group, &own).unwrap();
        let parts = (id.subscription(), id.resource_group(), id.name());
        prop_assert_eq!(parts, (subscription.as_str(), group.as_str(), own.as_str()));
        let other: DiskId = respelled(id.as_str(), &upper).parse().unwrap();
        prop_assert_eq!(other.to_string(), respelled(id.as_str(), &upper));
        prop_assert_eq!(&other, &id);
        prop_assert_eq!(other.cmp(&id), std::cmp::Ordering::Equal);
        prop_assert!(HashSet::from([id.clone()]).contains(&other));
        // Each type of id takes its own and no other.
        prop_assert!(id.as_str().parse::<SnapshotId>().is_err() && id.as_str().parse::<VmId>().is_err());
        let vm = VmId::standalone(&subscription, &group, &own).unwrap();
        prop_assert_eq!(vm.name(), own);
        prop_assert!(vm.as_str().parse::<DiskId>().is_err());
    }

    #[test]
    fn ids_are_equal_if_and_only_if_their_order_says_so(one in name(), other in name()) {
        let (a, b) = (DiskId::new("s", "g", &one).unwrap(), DiskId::new("s", "g", &other).unwrap());
        prop_assert_eq!(a == b, one.eq_ignore_ascii_case(&other));
        prop_assert_eq!(a == b, a.cmp(&b).is_eq());
        prop_assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
    }

    #[test]
    fn no_text_is_an_id_that_leads_elsewhere(text in ".{0,80}", tail in "[a-zA-Z/.%?#@:\\\\ é-]{0,20}") {
        let base = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/disks/";
        for text in [text.clone(), format!("{base}{text}"), format!("{base}{tail}")] {
            if let Ok(id) = text.parse::<ResourceId>() {
                let endpoint: url::Url = crate::world::ENDPOINT.parse().unwrap();
                let url = endpoint.join(id.as_str()).unwrap();
                prop_assert_eq!(url.path(), text.as_str());
                prop_assert!(url.query().is_none() && url.fragment().is_none());
            }
        }
        prop_assert_eq!(DiskId::new("s", "g", &tail).is_ok(), ResourceGroup::new("s", &tail).is_ok());
    }
}
