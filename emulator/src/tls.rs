//! Certificates for the https listener: a certification authority of the emulator's own, and a server's certificate.
//!
//! The authority is made once and kept where the caller says, because clients were told to trust it and must still do so
//! after a restart. The server's certificate is made at every start: nobody remembers it. Invariant: the authority's
//! key leaves this machine's files never, and its file is readable by its owner alone.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyPair, KeyUsagePurpose, date_time_ymd,
};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

/// Why there is no https.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file of the authority could not be read or written.
    #[error("{path}: {source}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A key or a certificate could not be made or read.
    #[error("certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    /// The certificate can't be served.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
}

/// A certification authority that vouches for this emulator only.
pub struct Authority {
    key: KeyPair,
    certificate: String,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

impl Authority {
    /// An authority that nothing keeps.
    pub fn new() -> Result<Self, TlsError> {
        let made = CertifiedIssuer::self_signed(authority(), KeyPair::generate()?)?;
        let certificate = made.pem();
        let key = KeyPair::from_pem(&made.key().serialize_pem())?;
        Ok(Self { key, certificate })
    }

    /// The authority in `ca.crt` and `ca.key` of a directory, made if it is not there.
    pub fn kept_in(directory: &Path) -> Result<Self, TlsError> {
        let (key, certificate) = (directory.join("ca.key"), directory.join("ca.crt"));
        // The certificate is written last: where it is, the key is.
        if let Some(text) = read(&certificate)? {
            let key = KeyPair::from_pem(&read(&key)?.unwrap_or_default())?;
            return Ok(Self { key, certificate: text });
        }
        fs::create_dir_all(directory).map_err(at(directory))?;
        let made = Self::new()?;
        write(&key, &made.key.serialize_pem(), 0o600)?;
        made.publish(&certificate)?;
        Ok(made)
    }

    /// Writes the certificate that a client must trust, as PEM.
    pub fn publish(&self, file: &Path) -> Result<(), TlsError> {
        write(file, &self.certificate, 0o644)
    }

    /// What a server of these names and addresses needs: a new key, and a certificate for it. HTTP/1.1 only.
    pub fn server(&self, names: &[String]) -> Result<Arc<ServerConfig>, TlsError> {
        let issuer = Issuer::new(authority(), &self.key);
        let key = KeyPair::generate()?;
        let mut params = lasting(CertificateParams::new(names)?, "azure-emulator");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&key, &issuer)?;
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

/// What the authority says of itself; with the same key it is the same authority.
fn authority() -> CertificateParams {
    let mut params = lasting(CertificateParams::default(), "azure-emulator CA");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

/// Valid for a century: a test bed that expires is a test that fails one day.
fn lasting(mut params: CertificateParams, name: &str) -> CertificateParams {
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2120, 1, 1);
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

fn read(path: &Path) -> Result<Option<String>, TlsError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(TlsError::Io { path: path.to_owned(), source }),
    }
}

/// Replaces a file as a whole. What an earlier, interrupted try left is not written into: its mode may be another.
fn write(path: &Path, text: &str, mode: u32) -> Result<(), TlsError> {
    let mut next = path.as_os_str().to_owned();
    next.push(".next");
    let next = PathBuf::from(next);
    match fs::remove_file(&next) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(at(&next)(error)),
        _ => {}
    }
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(mode).open(&next).map_err(at(&next))?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(at(&next))?;
    fs::rename(&next, path).map_err(at(path))
}

fn at(path: &Path) -> impl FnOnce(std::io::Error) -> TlsError {
    let path = path.to_owned();
    move |source| TlsError::Io { path, source }
}
