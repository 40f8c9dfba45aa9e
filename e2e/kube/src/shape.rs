//! The cluster's shape: which nodes there are, which VM each is, and every address, so that the network, the
//! certificates, the kubelets and the emulator speak of the same thing.

use serde::{Deserialize, Serialize};

use crate::Failure;
use crate::place::Place;

/// The control plane on the bridge; the API server, the emulator and every node's gateway are there.
pub const CONTROL_PLANE: &str = "10.90.0.1";

/// The service address of the API server, which pods are told.
pub const API_SERVICE: &str = "10.96.0.1";

/// Where every VM of Azure finds its metadata and its tokens.
pub const METADATA: &str = "169.254.169.254";

/// The emulator for whoever is in the outer namespaces.
pub const EMULATOR: &str = "127.0.0.1:7070";

/// The emulator's resource manager and token endpoint, as pods reach them.
pub const EMULATOR_TLS: &str = "10.90.0.1:7443";

/// The one subscription of the emulator.
pub const SUBSCRIPTION: &str = "00000000-0000-0000-0000-000000000001";

/// The resource group of the VMs.
pub const GROUP: &str = "k8s";

/// The region of the cluster.
pub const LOCATION: &str = "eastus2";

/// The most nodes that the addresses are laid out for.
pub const MOST_NODES: u8 = 64;

/// Every node is this size: it takes 32 data disks, premium ones too.
const SIZE: &str = "Standard_D16s_v5";

/// All nodes of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// In the order of their numbers.
    pub nodes: Vec<Node>,
}

/// A node of Kubernetes, which is a VM of the emulator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// 1, 2, …
    pub number: u8,
    /// The name of the node and of its VM: n1, n2, …
    pub name: String,
    /// The size of its VM.
    pub size: String,
    /// The zone of its VM, or nothing for a regional one.
    pub zone: Option<String>,
}

impl Shape {
    /// `count` nodes; with `zones`, they stand in zone 1, 2, 3, 1, …
    pub fn new(count: u8, zones: bool) -> Shape {
        let node = |number: u8| Node {
            number,
            name: format!("n{number}"),
            size: SIZE.to_owned(),
            zone: zones.then(|| ((number - 1) % 3 + 1).to_string()),
        };
        Shape { nodes: (1..=count).map(node).collect() }
    }

    /// What the running cluster was started with.
    pub fn read(place: &Place) -> Result<Shape, Failure> {
        let path = place.state.join("shape.json");
        let text = std::fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(serde_json::from_slice(&text)?)
    }

    /// Keeps it for the processes of the cluster.
    pub fn write(&self, place: &Place) -> Result<(), Failure> {
        Ok(std::fs::write(place.state.join("shape.json"), serde_json::to_vec(self)?)?)
    }

    /// The node called `name`.
    pub fn node(&self, name: &str) -> Result<&Node, Failure> {
        let node = self.nodes.iter().find(|node| node.name == name);
        node.ok_or_else(|| format!("no node is called {name}").into())
    }
}

impl Node {
    /// Its address on the bridge.
    pub fn address(&self) -> String {
        format!("10.90.0.{}", 10 + self.number)
    }

    /// The addresses of its pods.
    pub fn pods(&self) -> String {
        format!("10.91.{}.0/24", self.number)
    }

    /// Its end of the wire in the outer namespace.
    pub fn link(&self) -> String {
        format!("to-{}", self.name)
    }

    /// What a cloud controller would write into `spec.providerID`.
    pub fn provider_id(&self) -> String {
        format!(
            "azure:///subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}/providers/Microsoft.Compute/virtualMachines/{}",
            self.name
        )
    }

    /// What a cloud controller would label the node with. A regional VM's zone is its fault domain.
    pub fn labels(&self) -> String {
        let zone = self.zone.as_ref().map_or("0".to_owned(), |zone| format!("{LOCATION}-{zone}"));
        format!(
            "node.kubernetes.io/instance-type={},topology.kubernetes.io/region={LOCATION},topology.kubernetes.io/zone={zone}",
            self.size
        )
    }

    /// The VM as the emulator takes it: `NAME:SIZE[:ZONE]`.
    pub fn vm(&self) -> String {
        let zone = self.zone.as_ref().map(|zone| format!(":{zone}")).unwrap_or_default();
        format!("{}:{}{zone}", self.name, self.size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_one_vm_under_every_name() {
        let shape = Shape::new(4, true);
        let node = &shape.nodes[3];
        assert_eq!(node.vm(), "n4:Standard_D16s_v5:1");
        assert_eq!((node.address(), node.pods()), ("10.90.0.14".to_owned(), "10.91.4.0/24".to_owned()));
        assert!(node.labels().ends_with("topology.kubernetes.io/zone=eastus2-1"), "{}", node.labels());
        assert!(
            node.provider_id()
                .ends_with("/resourceGroups/k8s/providers/Microsoft.Compute/virtualMachines/n4")
        );
        assert_eq!(Shape::new(1, false).nodes[0].vm(), "n1:Standard_D16s_v5");
        assert!(shape.node("n5").is_err());
    }
}
