//! What a VM can ask about itself without any credential: the instance metadata service. It says where a node is
//! and how big, and which disk is at which LUN, without a request to Resource Manager.
//!
//! **Invariant:** an answer that isn't understood is an error, never a guess: a wrong zone puts disks out of reach.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use serde_json::Value;
use tokio::time::{Instant, sleep_until, timeout_at};
use url::Url;

use crate::transport::Transport;

/// The VM this runs on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// The VM's name in Azure; `SCALESET_NUMBER` for an instance of a uniform scale set.
    pub name: String,
    /// Its resource id.
    pub id: String,
    /// Its size, such as `Standard_D4s_v5`; see [`crate::max_data_disks`].
    pub vm_size: String,
    /// The number of its zone; `None` for a VM without one.
    pub zone: Option<String>,
    /// The region, in lower case.
    pub location: String,
    /// Its resource group.
    pub resource_group: String,
    /// Its subscription.
    pub subscription: String,
    /// The scale set it belongs to.
    pub scale_set: Option<String>,
    /// Its managed data disks.
    pub data_disks: Vec<InstanceDisk>,
}

/// A managed data disk as the metadata service tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceDisk {
    /// The slot on the VM, 0 to 63.
    pub lun: u8,
    /// The disk's resource id.
    pub id: String,
    /// Its size in bytes, if it is told.
    pub bytes: Option<u64>,
}

/// The metadata service said nothing that can be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImdsError {
    /// It can't be reached, or is busy or being updated; asking later may help.
    #[error(
        "the instance metadata service is not reached ({0}); does this run on an Azure VM, in the host's network?"
    )]
    Unreachable(String),
    /// It refused the request.
    #[error("the instance metadata service answered {0}")]
    Refused(u16),
    /// It answered with something else than we know.
    #[error("the instance metadata service answered without a usable {0}")]
    Unknown(&'static str),
}

/// The instance metadata service.
#[derive(Clone)]
pub struct Imds {
    base: Url,
    transport: Arc<dyn Transport>,
}

const PATH: &str = "/metadata/instance";
const QUERY: &str = "api-version=2021-10-01&format=json";
/// One answer takes milliseconds; a machine without the service may swallow the request.
const ATTEMPT: Duration = Duration::from_secs(5);
/// The first pause; it doubles up to [`LONGEST`]. The service allows five requests per second.
const PAUSE: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(4);

impl Imds {
    /// The service at `base`, on Azure `http://169.254.169.254`. Nothing is asked yet.
    pub fn new(base: Url, transport: Arc<dyn Transport>) -> Imds {
        Imds { base, transport }
    }

    /// The VM this runs on. Tries again while the service can't be reached or is busy, until `until`.
    ///
    /// # Errors
    /// The last try's, when `until` has come; `Refused` and `Unknown` at once.
    pub async fn instance(&self, until: Instant) -> Result<Instance, ImdsError> {
        let mut pause = PAUSE;
        loop {
            let error = match self.attempt(until).await {
                Err(error @ ImdsError::Unreachable(_)) => error,
                done => return done,
            };
            let again = Instant::now() + pause;
            if again >= until {
                return Err(error);
            }
            sleep_until(again).await;
            pause = (pause * 2).min(LONGEST);
        }
    }

    async fn attempt(&self, until: Instant) -> Result<Instance, ImdsError> {
        let unreachable = |reason: String| Err(ImdsError::Unreachable(reason));
        let mut url = self.base.clone();
        url.set_path(&format!("{}{PATH}", self.base.path().trim_end_matches('/')));
        url.set_query(Some(QUERY));
        let request = http::Request::get(url.as_str()).header("metadata", "true").body(Bytes::new());
        let Ok(request) = request else { return unreachable(format!("{} is no address", self.base)) };
        let ends = until.min(Instant::now() + ATTEMPT);
        match timeout_at(ends, self.transport.send(request)).await {
            Err(_) => unreachable("no answer in time".to_owned()),
            Ok(Err(error)) => unreachable(error.to_string()),
            Ok(Ok(answer)) if answer.status() == StatusCode::OK => instance(answer.body()),
            Ok(Ok(answer)) => match answer.status().as_u16() {
                status @ (408 | 410 | 429 | 500..) => unreachable(format!("it answered {status}")),
                status => Err(ImdsError::Refused(status)),
            },
        }
    }
}

fn instance(body: &[u8]) -> Result<Instance, ImdsError> {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let compute = &body["compute"];
    let text = |key: &'static str| text(&compute[key]).ok_or(ImdsError::Unknown(key));
    let disks = compute["storageProfile"]["dataDisks"].as_array().into_iter().flatten();
    Ok(Instance {
        name: text("name")?,
        id: text("resourceId")?,
        vm_size: text("vmSize")?,
        zone: optional(compute, "zone")?,
        location: text("location")?.to_lowercase(),
        resource_group: text("resourceGroupName")?,
        subscription: text("subscriptionId")?,
        scale_set: optional(compute, "vmScaleSetName")?,
        // Disks in storage accounts have no managed disk and are none of ours.
        data_disks: disks
            .filter(|entry| !entry["managedDisk"]["id"].is_null())
            .map(data_disk)
            .collect::<Result<_, _>>()?,
    })
}

fn data_disk(entry: &Value) -> Result<InstanceDisk, ImdsError> {
    let lun = number(&entry["lun"]).and_then(|lun| u8::try_from(lun).ok()).filter(|lun| *lun < 64);
    Ok(InstanceDisk {
        lun: lun.ok_or(ImdsError::Unknown("lun of a data disk"))?,
        id: text(&entry["managedDisk"]["id"]).ok_or(ImdsError::Unknown("id of a data disk"))?,
        bytes: number(&entry["diskCapacityBytes"]),
    })
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned)
}

/// Absent and empty are nothing; anything but a text is not understood.
fn optional(compute: &Value, key: &'static str) -> Result<Option<String>, ImdsError> {
    match &compute[key] {
        Value::Null | Value::String(_) => Ok(text(&compute[key])),
        _ => Err(ImdsError::Unknown(key)),
    }
}

/// The service sends numbers as text.
fn number(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::{BoxFuture, TransportError};
    use serde_json::json;
    use std::sync::Mutex;

    const DISK: &str = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/disks/d";

    fn document() -> Value {
        json!({"compute": {
            "azEnvironment": "AzurePublicCloud", "location": "EastUS2", "name": "set_3", "resourceGroupName": "g",
            "resourceId": "/subscriptions/s/vm", "subscriptionId": "s", "vmScaleSetName": "set", "vmSize": "Standard_D4s_v5",
            "zone": "2", "storageProfile": {"osDisk": {}, "dataDisks": [
                {"lun": "5", "diskSizeGB": "8", "diskCapacityBytes": "8589934592", "managedDisk": {"id": DISK}},
                {"lun": 6, "managedDisk": {"id": DISK}},
                {"lun": "7", "vhd": {"uri": "https://old"}},
            ]},
        }})
    }

    /// Answers one after the other (status 0: no connection, 1: never), and counts the requests.
    struct Service {
        answers: Mutex<Vec<(u16, Value)>>,
        requests: Mutex<Vec<http::Request<Bytes>>>,
    }

    impl Transport for Arc<Service> {
        fn send(
            &self,
            request: http::Request<Bytes>,
        ) -> BoxFuture<'_, Result<http::Response<Bytes>, TransportError>> {
            self.requests.lock().unwrap().push(request);
            let (status, body) = self.answers.lock().unwrap().remove(0);
            Box::pin(async move {
                match status {
                    0 => Err(TransportError::unsent("refused")),
                    1 => std::future::pending().await,
                    _ => Ok(http::Response::builder().status(status).body(body.to_string().into()).unwrap()),
                }
            })
        }
    }

    async fn ask(base: &str, answers: &[(u16, Value)]) -> (Result<Instance, ImdsError>, Arc<Service>) {
        let service = Service { answers: Mutex::new(answers.to_vec()), requests: Mutex::default() };
        let service = Arc::new(service);
        let imds = Imds::new(Url::parse(base).unwrap(), Arc::new(Arc::clone(&service)));
        (imds.instance(Instant::now() + Duration::from_secs(8)).await, service)
    }

    #[tokio::test(start_paused = true)]
    async fn an_instance_with_its_disks() {
        let (instance, service) = ask("http://127.0.0.1:8/vms/a/", &[(200, document())]).await;
        let disk = |lun, bytes| InstanceDisk { lun, id: DISK.to_owned(), bytes };
        let wanted = Instance {
            name: "set_3".to_owned(),
            id: "/subscriptions/s/vm".to_owned(),
            vm_size: "Standard_D4s_v5".to_owned(),
            zone: Some("2".to_owned()),
            location: "eastus2".to_owned(),
            resource_group: "g".to_owned(),
            subscription: "s".to_owned(),
            scale_set: Some("set".to_owned()),
            data_disks: vec![disk(5, Some(8 << 30)), disk(6, None)],
        };
        assert_eq!(instance, Ok(wanted));
        let requests = service.requests.lock().unwrap();
        let uri = "http://127.0.0.1:8/vms/a/metadata/instance?api-version=2021-10-01&format=json";
        assert_eq!(
            (requests[0].uri().to_string().as_str(), &requests[0].headers()["metadata"]),
            (uri, &"true".parse().unwrap())
        );
    }

    #[tokio::test(start_paused = true)]
    async fn what_passes_is_waited_for_and_what_does_not_is_told() {
        let good = || (200, document());
        let bad = |status| (status, json!("busy"));
        for (answers, requests, part) in [
            (vec![bad(0), bad(410), good()], 3, None),
            (vec![bad(429), bad(503), good()], 3, None),
            (vec![bad(1), good()], 2, None),
            (vec![bad(400)], 1, Some("answered 400")),
            (vec![bad(404)], 1, Some("answered 404")),
            (vec![bad(302)], 1, Some("answered 302")),
            (vec![bad(200)], 1, Some("without a usable name")),
            (vec![bad(0); 9], 5, Some("not reached (refused)")),
            (vec![bad(1); 9], 2, Some("not reached (no answer in time)")),
        ] {
            let begin = Instant::now();
            let (instance, service) = ask("http://169.254.169.254", &answers).await;
            assert_eq!(service.requests.lock().unwrap().len(), requests, "{instance:?}");
            assert!(begin.elapsed() <= Duration::from_secs(8), "{instance:?}");
            let error = instance.err().map(|error| error.to_string());
            assert_eq!(error.is_some(), part.is_some(), "{error:?}");
            assert!(error.unwrap_or_default().contains(part.unwrap_or_default()), "{part:?}");
        }
    }

    #[test]
    fn no_guesses() {
        let check = |pointer: &str, value: Value| {
            let mut document = document();
            *document.pointer_mut(pointer).unwrap() = value;
            instance(document.to_string().as_bytes())
        };
        for (pointer, value, key) in [
            ("/compute/name", json!(""), "name"),
            ("/compute/vmSize", json!(null), "vmSize"),
            ("/compute/location", json!(7), "location"),
            ("/compute/zone", json!(2), "zone"),
            ("/compute/storageProfile/dataDisks/0/lun", json!("64"), "lun of a data disk"),
            ("/compute/storageProfile/dataDisks/0/lun", json!("x"), "lun of a data disk"),
            ("/compute/storageProfile/dataDisks/0/managedDisk/id", json!(""), "id of a data disk"),
        ] {
            assert_eq!(check(pointer, value), Err(ImdsError::Unknown(key)), "{pointer}");
        }
        assert_eq!(check("/compute/zone", json!("")).unwrap().zone, None);
        assert_eq!(check("/compute/zone", json!(null)).unwrap().zone, None);
        assert_eq!(check("/compute/vmScaleSetName", json!("")).unwrap().scale_set, None);
    }
}
