//! The logs from which a failed case gets its part: those of the cluster's components and those of the driver's pods.

use std::collections::BTreeMap;

use crate::Failure;
use crate::place::Place;
use crate::trial::kubernetes::Kubernetes;

/// Every pod of the chart.
const OURS: &str = "app.kubernetes.io/name=azuredisk-csi-driver";

/// File name → log. A component's log has its name, the driver's pods are together.
pub(super) async fn logs(place: &Place) -> Result<BTreeMap<String, String>, Failure> {
    let mut logs = BTreeMap::new();
    for entry in std::fs::read_dir(place.state.join("log")).into_iter().flatten() {
        let path = entry?.path();
        if path.is_file() {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            logs.insert(name, String::from_utf8_lossy(&std::fs::read(&path)?).into_owned());
        }
    }
    let arguments = ["logs", "--namespace=kube-system", "--all-containers", "--timestamps", "--tail=-1"];
    let ours = format!("--selector={OURS}");
    let more = ["--prefix", "--ignore-errors", "--max-log-requests=50", ours.as_str()];
    let driver = match Kubernetes::open(place).await {
        Ok(kubernetes) => kubernetes.run(&[&arguments[..], &more].concat(), "").await,
        Err(failure) => Err(failure),
    };
    logs.insert("driver.log".to_owned(), driver.unwrap_or_else(|failure| failure.to_string()));
    Ok(logs)
}

/// The name of a case as that of a folder: what tells it from others stands at its end, and a folder's name is short.
pub(super) fn folder_name(case: &str) -> String {
    let mut name = String::new();
    for letter in case.chars() {
        if letter.is_ascii_alphanumeric() {
            name.push(letter.to_ascii_lowercase());
        } else if !name.ends_with('-') {
            name.push('-');
        }
    }
    let name = name.replace("driver-disk-csi-azure-com-", "").replace("testpattern-", "");
    name.trim_matches('-').chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_case_is_a_short_folder() {
        let name = "[Driver: disk.csi.azure.com] [Testpattern: Dynamic PV (ext4)] volumes should store data";
        assert_eq!(folder_name(name), "dynamic-pv-ext4-volumes-should-store-data");
        assert_eq!(folder_name(&name.repeat(9)).len(), 200);
    }
}
