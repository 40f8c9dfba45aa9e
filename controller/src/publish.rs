//! ControllerPublishVolume: the disk is attached to the node's VM, and the LUN comes from Azure's model.
//!
//! ```text
//! read the disk ─┬─ held by another VM ─┬─ something may want it there ─► FAILED_PRECONDITION
//!                │                      └─ left behind there ─► detach it there ─┐
//!                └─ free, or held by this VM ────────────────────────────────────┴─► attach ─► LUN
//! ```

use std::collections::BTreeMap;

use azure::{Caching, Disk, DiskId, Lun, VmId};
use csi::Error;
use csi::v1::ControllerPublishVolumeRequest;
use tokio::time::Instant;

use crate::arm_error::{Rpc, csi_error};
use crate::attach::{Attachment, NodeVm};
use crate::cluster::Standing;
use crate::create::wish::check_capability;
use crate::dangling::{self, Hold};
use crate::disk::{self, Facts};
use crate::left::{Found, Left, Wish, is_repeated};
use crate::params::tags::WRITE_ACCELERATOR;
use crate::params::volume::CACHING;
use crate::readonly::{Mode, READ_ONLY, is_settled};
use crate::size::GIB;
use crate::sku::{LARGEST_CACHED_GIB, Sku};
use crate::{Core, unpublish};

/// What a node needs to find the disk: a key of the Go driver.
const LUN: &str = "LUN";
/// Present in the context of a volume that this driver, or the Go driver, made.
const PROVISIONED: &str = "requestedsizegib";

/// Attaches the volume to the node; answers the publish context.
pub(crate) async fn publish(
    core: &Core,
    request: &ControllerPublishVolumeRequest,
    deadline: Instant,
) -> Result<BTreeMap<String, String>, Error> {
    csi::require::field(&request.volume_id, "volume_id")?;
    let node_id = csi::require::field(&request.node_id, "node_id")?;
    let capability = csi::require::capability(request.volume_capability.as_ref())?;
    let caching = caching_wish(&request.volume_context)?;
    if matches!(core.cluster.borrow().standing(), Standing::NotYet) {
        return Err(Error::unavailable(
            "which LUNs are promised to nodes is not known until the VolumeAttachments have been read from \
             Kubernetes; try again",
        ));
    }
    let id: DiskId = disk::volume(&request.volume_id)?;
    let wish = Wish { mode: Mode::asked(request.readonly), caching };
    let turn = core.marks.turn(&id, node_id, wish.mode)?;
    // What is large and soon over lies apart: hundreds of calls wait at once, and each holds its whole state.
    let (seen, node) = Box::pin(async {
        tokio::join!(look(core, &id, node_id, wish, deadline), async {
            let vm = core.vm(node_id, Rpc::Publish, deadline).await?;
            let coming = core.attachments.expect(&vm);
            Ok::<_, Error>((NodeVm { vm, node_id: Some(node_id.to_owned()) }, coming))
        })
    })
    .await;
    let (attachment, disk, left) = match seen? {
        Seen::Before(attachment, read) => (*attachment, None, Some(read)),
        Seen::Now(disk, read) => {
            let facts = Facts::of(&disk);
            let is_free =
                disk.holders().is_empty() && facts.max_shares < 2 && is_settled(&disk, node_id, wish.mode);
            let attachment = Attachment { moved: disk::moved(&disk), ..attachment(&facts, caching) };
            (attachment, Some((disk, facts)), is_free.then_some(read))
        }
    };
    check_capability(&capability, disk.as_ref().map_or(1, |(_, facts)| facts.max_shares))?;
    let (node, coming) = node?;
    let mut coming = Some(coming);
    let facts = match disk {
        None => None,
        Some((disk, facts)) => {
            if let Some(holder) = blocking_holder(&disk, &facts, &node.vm)? {
                // It takes as long as a detach: nobody shall wait for this one.
                coming = None;
                Box::pin(release(core, &id, holder, node_id, deadline)).await?;
            }
            let settled = Box::pin(core.marks.settle(&turn, &node.vm, disk, deadline)).await;
            settled.inspect_err(|error| forget_if_gone(core, &node.vm, error))?;
            (!is_provisioned(request)).then(|| Box::new(facts))
        }
    };
    let lun = core.attachments.attach(&node, &id, attachment.clone(), coming, deadline).await;
    let lun = lun.inspect_err(|error| {
        forget_if_gone(core, &node.vm, error);
        if let Some(read) = left.filter(|_| is_provisioned(request) && is_repeated(error)) {
            let found = Found::Free(wish, Box::new(attachment));
            core.leavings.leave(&id, node_id, Left { found, read });
        }
    })?;
    Ok(publish_context(request, lun, facts.as_deref()))
}

/// What is known of the disk.
enum Seen {
    /// A call before this one read what it needed then, and ran out of time.
    Before(Box<Attachment>, Instant),
    /// As it is now; it was asked for then.
    Now(Box<Disk>, Instant),
}

async fn look(core: &Core, id: &DiskId, node_id: &str, wish: Wish, deadline: Instant) -> Result<Seen, Error> {
    let read = Instant::now();
    match core.leavings.take(id, node_id) {
        Some(Left { found: Found::Free(before, attachment), read }) if before == wish => {
            Ok(Seen::Before(attachment, read))
        }
        _ => match core.arm.disk_of_many(id, deadline).await {
            Ok(disk) => Ok(Seen::Now(Box::new(disk), read)),
            Err(error) => Err(csi_error(Rpc::Publish, &error)),
        },
    }
}

fn forget_if_gone(core: &Core, vm: &VmId, error: &Error) {
    if error.kind() == csi::Kind::NotFound {
        core.nodes.forget(vm);
    }
}

/// Whether this driver, or the Go driver, made the volume; its class has said what the disk is like.
fn is_provisioned(request: &ControllerPublishVolumeRequest) -> bool {
    request.volume_context.keys().any(|key| key.eq_ignore_ascii_case(PROVISIONED))
}

/// The caching that the volume's context asks for.
fn caching_wish(context: &BTreeMap<String, String>) -> Result<Option<&'static str>, Error> {
    let said =
        context.iter().find(|(key, value)| key.eq_ignore_ascii_case("cachingMode") && !value.is_empty());
    let Some((key, value)) = said else { return Ok(None) };
    let known = CACHING.iter().find(|one| one.eq_ignore_ascii_case(value)).copied();
    known.map(Some).ok_or_else(|| {
        let allowed = CACHING.join(", ");
        Error::invalid(format!("volume_context: {key} is {value:?}; allowed is {allowed}"))
    })
}

/// A VM that has to let the disk go first: as many other VMs hold it as may share it.
fn blocking_holder(disk: &Disk, facts: &Facts, vm: &VmId) -> Result<Option<VmId>, Error> {
    let mut others: Vec<VmId> = disk::holders(disk)?.into_iter().filter(|holder| holder != vm).collect();
    let most = usize::try_from(facts.max_shares).unwrap_or(usize::MAX);
    Ok(if others.len() >= most { others.pop() } else { None })
}

/// Detaches a disk from a VM where it was left behind.
///
/// # Errors
/// FAILED_PRECONDITION with the node if it may still be wanted there.
async fn release(
    core: &Core,
    id: &DiskId,
    holder: VmId,
    node_id: &str,
    deadline: Instant,
) -> Result<(), Error> {
    let held = dangling::hold(&core.cluster.borrow(), id.as_str(), &holder, node_id);
    let (disk, vm) = (id.name(), holder.name());
    let why = match held {
        Hold::Nothing => {
            tracing::warn!(disk, vm, node_id, "nothing wants the disk where it is: it is detached there");
            let from = NodeVm { vm: holder, node_id: None };
            return unpublish::from_vm(core, id, &from, deadline).await.map(|_| ());
        }
        Hold::Node(node) => format!("node {node} still wants it there"),
        Hold::Unknown(why) => format!("whether something still wants it there is not known: {why}"),
    };
    Err(Error::precondition(format!(
        "disk {disk} is attached to VM {vm}, and {why}; it must be detached there first"
    )))
}

/// How the disk is attached. Large, shared and provisioned disks have no host cache, whatever is asked.
fn attachment(facts: &Facts, caching: Option<&'static str>) -> Attachment {
    let has_cache = facts.max_shares < 2
        && facts.bytes.div_ceil(GIB) <= LARGEST_CACHED_GIB
        && Sku::parse(&facts.sku).is_none_or(Sku::is_cacheable);
    let caching = match (has_cache, caching) {
        (false, _) | (true, Some("None")) => Caching::None,
        (true, Some("ReadWrite")) => Caching::ReadWrite,
        (true, _) => Caching::ReadOnly,
    };
    let accelerated = facts.tags.iter().any(|(key, value)| {
        key.eq_ignore_ascii_case(WRITE_ACCELERATOR) && value.eq_ignore_ascii_case("true")
    });
    Attachment {
        caching,
        disk_encryption_set: facts.encryption_set.clone(),
        write_accelerator: accelerated,
        is_shared: facts.max_shares > 1,
        moved: None,
    }
}

/// What the node is told; of a volume that nobody provisioned, whose `facts` these are, what its class would have said
/// as well.
fn publish_context(
    request: &ControllerPublishVolumeRequest,
    lun: Lun,
    facts: Option<&Facts>,
) -> BTreeMap<String, String> {
    let mut context = BTreeMap::from([(LUN.to_owned(), lun.to_string())]);
    if request.readonly {
        context.insert(READ_ONLY.to_owned(), true.to_string());
    }
    let Some(facts) = facts else { return context };
    let number = |number: Option<u64>| number.map(|number| number.to_string());
    let facts = [
        ("skuname", Some(facts.sku.clone())),
        ("networkaccesspolicy", facts.network_policy.clone()),
        ("diskiopsreadwrite", number(facts.iops)),
        ("diskmbpsreadwrite", number(facts.mbps)),
        ("logicalsectorsize", number(facts.logical_sector)),
        ("diskencryptionsetid", facts.encryption_set.clone()),
        ("maxshares", Some(facts.max_shares.to_string())),
    ];
    context.extend(facts.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))));
    context
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(change: fn(&mut Facts), asked: Option<&'static str>, caching: &Caching) {
        let mut facts = Facts { bytes: GIB, sku: "Premium_LRS".into(), max_shares: 1, ..Facts::default() };
        change(&mut facts);
        assert_eq!(&attachment(&facts, asked).caching, caching, "{facts:?} {asked:?}");
    }

    #[test]
    fn large_shared_and_provisioned_disks_have_no_host_cache() {
        check(|_| (), None, &Caching::ReadOnly);
        check(|_| (), Some("ReadWrite"), &Caching::ReadWrite);
        check(|_| (), Some("None"), &Caching::None);
        check(|facts| facts.bytes = 4095 * GIB, Some("ReadOnly"), &Caching::ReadOnly);
        check(|facts| facts.bytes = 4096 * GIB, Some("ReadOnly"), &Caching::None);
        check(|facts| facts.max_shares = 2, Some("ReadOnly"), &Caching::None);
        check(|facts| facts.sku = "PremiumV2_LRS".into(), Some("ReadOnly"), &Caching::None);
        check(|facts| facts.sku = "UltraSSD_LRS".into(), None, &Caching::None);
        check(|facts| facts.sku = "Brand_New".into(), None, &Caching::ReadOnly);
    }

    #[test]
    fn encryption_set_and_write_accelerator_follow_the_disk() {
        let mut facts = Facts { encryption_set: Some("/set".into()), ..Facts::default() };
        let plain = attachment(&facts, None);
        assert_eq!((plain.disk_encryption_set.as_deref(), plain.write_accelerator), (Some("/set"), false));
        facts.tags = [("WriteAcceleratorEnabled".to_owned(), "True".to_owned())].into();
        assert!(attachment(&facts, None).write_accelerator);
    }

    #[test]
    fn a_bad_caching_mode_of_a_volume_is_named() {
        let context = [("CachingMode".to_owned(), "Some".to_owned())].into();
        let error = caching_wish(&context).unwrap_err();
        assert_eq!(error.kind(), csi::Kind::Invalid);
        assert!(error.message().contains("None, ReadOnly, ReadWrite"), "{error}");
    }
}
