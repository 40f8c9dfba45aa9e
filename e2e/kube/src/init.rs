//! Process 1 of the outer namespaces: lays the network, makes the certificates, and keeps control plane, Azure and
//! nodes running. Its end is the end of them all.

use std::fs;

use nix::mount::{MsFlags, mount};

use crate::Failure;
use crate::control_plane::{components, write_audit_policy};
use crate::place::Place;
use crate::shape::Shape;
use crate::supervise::{Folders, supervise};
use crate::{net, pki};

/// Runs for ever, or comes back with what went wrong at the start.
pub async fn run(place: &Place) -> Result<(), Failure> {
    let shape = Shape::read(place)?;
    mount(Some("tmpfs"), "/run", Some("tmpfs"), MsFlags::empty(), Some("mode=755"))?;
    net::lay_bridge(&shape)?;
    pki::make(place, &shape)?;
    write_audit_policy(place)?;
    fs::create_dir_all(place.azure())?;
    let folders = Folders { logs: place.state.join("log"), holds: place.state.join("hold") };
    supervise(&components(place, &shape), &folders).await
}
