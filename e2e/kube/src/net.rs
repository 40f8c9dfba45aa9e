//! The wires: a bridge in the outer namespace, one link to each node, and routes to the pods of each.
//!
//! Pure functions say what `ip` shall do; each namespace is new, so nothing is looked for first. **Invariant:** no
//! address here is ever one of the machine's: the outer namespace has no way out.

use nix::sched::{CloneFlags, unshare};

use crate::Failure;
use crate::run::{feed, run};
use crate::shape::{API_SERVICE, CONTROL_PLANE, METADATA, Node, Shape};

/// Lays the bridge in the network namespace of this process.
pub(crate) fn lay_bridge(shape: &Shape) -> Result<(), Failure> {
    feed("ip", &["-batch", "-"], &bridge(shape))?;
    forward()
}

/// Gives this process a network namespace of its own, with a link to the bridge of process 1. What is left of a
/// link before a crash goes first.
pub(crate) fn join_bridge(node: &Node, shape: &Shape) -> Result<(), Failure> {
    unshare(CloneFlags::CLONE_NEWNET)?;
    let bridge_side = ["--net=/proc/1/ns/net", "ip"];
    let _ = run("nsenter", &[&bridge_side[..], &["link", "delete", &node.link()]].concat());
    let own = std::process::id().to_string();
    let wire = wire(node, &own);
    feed("nsenter", &[&bridge_side[..], &["-batch", "-"]].concat(), &wire)?;
    feed("ip", &["-batch", "-"], &addresses(node, shape))?;
    forward()
}

/// Holds for the network namespace of this process only.
fn forward() -> Result<(), Failure> {
    Ok(std::fs::write("/proc/sys/net/ipv4/ip_forward", "1")?)
}

fn bridge(shape: &Shape) -> String {
    let mut steps = vec!["link set lo up".to_owned(), "link add br0 type bridge".to_owned()];
    for address in [format!("{CONTROL_PLANE}/24"), format!("{API_SERVICE}/32"), format!("{METADATA}/32")] {
        steps.push(format!("addr add {address} dev br0"));
    }
    steps.push("link set br0 up".to_owned());
    steps.extend(shape.nodes.iter().map(route));
    steps.join("\n")
}

fn wire(node: &Node, process: &str) -> String {
    let link = node.link();
    format!("link add {link} type veth peer name eth0 netns {process}\nlink set {link} master br0 up\n")
}

fn addresses(node: &Node, shape: &Shape) -> String {
    let mut steps = vec![
        "link set lo up".to_owned(),
        format!("addr add {}/24 dev eth0", node.address()),
        "link set eth0 up".to_owned(),
        format!("route add default via {CONTROL_PLANE}"),
    ];
    steps.extend(shape.nodes.iter().filter(|other| other.name != node.name).map(route));
    steps.join("\n")
}

fn route(node: &Node) -> String {
    format!("route add {} via {}", node.pods(), node.address())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pod_is_routed_to_its_node() {
        let shape = Shape::new(2, false);
        assert!(
            bridge(&shape)
                .ends_with("route add 10.91.1.0/24 via 10.90.0.11\nroute add 10.91.2.0/24 via 10.90.0.12")
        );
        let first = addresses(&shape.nodes[0], &shape);
        assert!(first.ends_with("via 10.90.0.1\nroute add 10.91.2.0/24 via 10.90.0.12"), "{first}");
    }
}
