//! The cluster's own certificates and the credentials of each of its parts, made anew at each start.
//!
//! Every part has its own name, as in a cluster that kubeadm made, so that the API server's roles hold here too.

use std::fs;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, KeyPair, KeyUsagePurpose,
};
use serde_json::json;

use crate::Failure;
use crate::place::Place;
use crate::shape::{API_SERVICE, CONTROL_PLANE, Shape};

/// Who is certified: the file's name, the group, the name, and under which names and addresses it serves.
struct Subject {
    file: String,
    group: Option<&'static str>,
    name: String,
    serves: Vec<String>,
}

/// Writes `pki/` and the kubeconfigs of administrator, controller manager, scheduler and kubelets.
pub(crate) fn make(place: &Place, shape: &Shape) -> Result<(), Failure> {
    let folder = place.state.join("pki");
    fs::create_dir_all(&folder)?;
    let ca = CertifiedIssuer::self_signed(authority("cluster"), KeyPair::generate()?)?;
    fs::write(folder.join("ca.crt"), ca.pem())?;
    fs::write(folder.join("ca.key"), ca.key().serialize_pem())?;
    for subject in subjects(shape) {
        let key = KeyPair::generate()?;
        let certificate = subject.params()?.signed_by(&key, &ca)?.pem();
        fs::write(folder.join(format!("{}.crt", subject.file)), &certificate)?;
        fs::write(folder.join(format!("{}.key", subject.file)), key.serialize_pem())?;
        if subject.logs_in() {
            let text = kubeconfig(&ca.pem(), &certificate, &key.serialize_pem());
            fs::write(conf(place, &subject.file), text)?;
        }
    }
    // Of whom the API server believes that they speak for others: of nobody, so its key is not kept.
    let nobody = CertifiedIssuer::self_signed(authority("front-proxy"), KeyPair::generate()?)?;
    fs::write(folder.join("front-proxy-ca.crt"), nobody.pem())?;
    let accounts = KeyPair::generate()?;
    fs::write(folder.join("accounts.key"), accounts.serialize_pem())?;
    fs::write(folder.join("accounts.pub"), accounts.public_key_pem())?;
    Ok(())
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    params
}

/// The credentials that `subject` logs in with.
pub(crate) fn conf(place: &Place, subject: &str) -> std::path::PathBuf {
    if subject == "admin" { place.kubeconfig() } else { pki(place, format!("{subject}.conf")) }
}

/// A file of the folder of certificates.
pub(crate) fn pki(place: &Place, file: impl AsRef<Path>) -> std::path::PathBuf {
    place.state.join("pki").join(file)
}

fn subjects(shape: &Shape) -> Vec<Subject> {
    let client = |file: &str, group, name: &str| Subject {
        file: file.to_owned(),
        group,
        name: name.to_owned(),
        serves: Vec::new(),
    };
    let names = ["localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"];
    let addresses = ["127.0.0.1", CONTROL_PLANE, API_SERVICE];
    let mut all = vec![
        Subject {
            serves: names.into_iter().chain(addresses).map(str::to_owned).collect(),
            ..client("apiserver", None, "kube-apiserver")
        },
        client("admin", Some("system:masters"), "admin"),
        client("apiserver-kubelet", Some("system:masters"), "kube-apiserver-kubelet-client"),
        client("kube-controller-manager", None, "system:kube-controller-manager"),
        client("kube-scheduler", None, "system:kube-scheduler"),
    ];
    all.extend(shape.nodes.iter().map(|node| Subject {
        file: node.name.clone(),
        group: Some("system:nodes"),
        name: format!("system:node:{}", node.name),
        serves: vec![node.name.clone(), node.address()],
    }));
    all
}

impl Subject {
    /// A server that logs in nowhere, and the API server's own client, need no kubeconfig.
    fn logs_in(&self) -> bool {
        !self.file.starts_with("apiserver")
    }

    fn params(&self) -> Result<CertificateParams, Failure> {
        let mut params = CertificateParams::new(self.serves.clone())?;
        params.distinguished_name = DistinguishedName::new();
        if let Some(group) = self.group {
            params.distinguished_name.push(DnType::OrganizationName, group);
        }
        params.distinguished_name.push(DnType::CommonName, self.name.as_str());
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages.push(ExtendedKeyUsagePurpose::ClientAuth);
        if !self.serves.is_empty() {
            params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
        }
        Ok(params)
    }
}

/// Everything in one file, so that it can be copied anywhere.
fn kubeconfig(ca: &str, certificate: &str, key: &str) -> String {
    let cluster = json!({
        "server": format!("https://{CONTROL_PLANE}:443"),
        "certificate-authority-data": STANDARD.encode(ca),
    });
    let user = json!({
        "client-certificate-data": STANDARD.encode(certificate),
        "client-key-data": STANDARD.encode(key),
    });
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "azuredisk", "cluster": cluster}],
        "users": [{"name": "azuredisk", "user": user}],
        "contexts": [{"name": "azuredisk", "context": {"cluster": "azuredisk", "user": "azuredisk"}}],
        "current-context": "azuredisk",
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_gets_its_own_credentials() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let place =
            Place { checkout: at("c"), tools: at("t"), state: folder.path().to_owned(), built: at("b") };
        make(&place, &Shape::new(2, false)).unwrap();
        let read = |path: &Path| fs::read_to_string(path).unwrap();
        for subject in ["admin", "kube-controller-manager", "kube-scheduler", "n1", "n2"] {
            assert!(read(&conf(&place, subject)).contains("client-key-data"), "{subject}");
        }
        assert!(read(&pki(&place, "accounts.pub")).starts_with("-----BEGIN PUBLIC KEY"));
        assert!(!pki(&place, "apiserver.conf").exists());
    }
}
