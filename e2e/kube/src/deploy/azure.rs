//! What the driver is told of the Azure that it works on, in the two objects that an operator would make.

use serde_json::{Value, json};

use super::NAMESPACE;

/// The Secret that the chart takes `azure.json` from.
const CREDENTIALS: &str = "azure-cloud-provider";

/// The `ConfigMap` with the certificate of Azure's authority.
pub const AUTHORITY: &str = "azure-ca";

/// The key of that certificate.
pub const AUTHORITY_KEY: &str = "ca.crt";

/// One Azure: where it is, and what of it is the cluster's.
#[derive(Clone, Debug)]
pub struct Azure {
    /// The resource manager and the token endpoint, `https://…`.
    pub endpoint: String,
    /// The subscription.
    pub subscription: String,
    /// The resource group of the VMs; disks are made there, too.
    pub group: String,
    /// The region.
    pub location: String,
}

impl Azure {
    /// The Secret with `azure.json`, and the certificate of the `authority` that vouches for the endpoint.
    pub fn objects(&self, authority: &str) -> [Value; 2] {
        let metadata = |name: &str| json!({"name": name, "namespace": NAMESPACE});
        [
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata(CREDENTIALS),
                "stringData": {"cloud-config": self.file().to_string()}}),
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata(AUTHORITY),
                "data": {AUTHORITY_KEY: authority}}),
        ]
    }

    /// An ordinary `azure.json` for VMs with an identity of their own, as AKS writes it.
    fn file(&self) -> Value {
        json!({
            "cloud": "AzurePublicCloud",
            "resourceManagerEndpoint": self.endpoint,
            "tenantId": self.subscription,
            "subscriptionId": self.subscription,
            "resourceGroup": self.group,
            "location": self.location,
            "vmType": "standard",
            "useInstanceMetadata": true,
            "useManagedIdentityExtension": true,
        })
    }
}
