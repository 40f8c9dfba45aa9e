//! An image as one file, as the OCI image layout has it in a tar: a manifest, a configuration and one layer.
//! `ctr images import` takes it.
//!
//! The layer is not compressed: it never travels.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tar::{Builder, EntryType, Header};

use super::tree::{Entry, Tree};

/// Of the layout, not of the image.
const LAYOUT: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
const CONFIGURATION: &str = "application/vnd.oci.image.config.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// Where a program of an image is looked for.
const SEARCH_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// An image: its name, its root and what it starts.
#[derive(Clone, Debug)]
pub struct Image {
    /// The full name, with registry and tag.
    pub reference: String,
    /// The files.
    pub root: Tree,
    /// What is always started.
    pub entrypoint: Vec<String>,
    /// What is added to it, or started, where the pod names nothing.
    pub command: Vec<String>,
}

struct Blob {
    bytes: Vec<u8>,
    hex: String,
}

impl Blob {
    fn new(bytes: Vec<u8>) -> Self {
        Self { hex: hex(&Sha256::digest(&bytes)), bytes }
    }

    fn digest(&self) -> String {
        format!("sha256:{}", self.hex)
    }

    fn descriptor(&self, media_type: &str) -> Value {
        json!({ "mediaType": media_type, "digest": self.digest(), "size": self.bytes.len() })
    }
}

/// Lower-case hexadecimal digits of `bytes`.
pub fn hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from_digit(value.into(), 16).unwrap_or_default();
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// Writes `image` to `path`, which has the old content or the new, never a part.
pub fn save(image: &Image, path: &Path) -> io::Result<()> {
    let partial = path.with_extension(format!("partial-{}", std::process::id()));
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut file = File::create(&partial)?;
    write(image, &mut file).inspect_err(|_| {
        // Of no use to anybody; the first error is the one to tell.
        let _ = fs::remove_file(&partial);
    })?;
    fs::rename(&partial, path)
}

/// Writes `image` as a tar.
pub fn write(image: &Image, to: &mut impl Write) -> io::Result<()> {
    let layer = Blob::new(layer(&image.root)?);
    let configuration = Blob::new(configuration(image, &layer.digest()).to_string().into_bytes());
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": configuration.descriptor(CONFIGURATION),
        "layers": [layer.descriptor(LAYER)],
    });
    let manifest = Blob::new(manifest.to_string().into_bytes());
    let mut entry = manifest.descriptor(MANIFEST);
    entry["annotations"] = json!({
        "io.containerd.image.name": image.reference,
        "org.opencontainers.image.ref.name": image.reference,
    });
    let index = json!({ "schemaVersion": 2, "manifests": [entry] }).to_string();

    let mut archive = Builder::new(to);
    archive.append_data(&mut file(LAYOUT.len(), 0o644), "oci-layout", LAYOUT.as_bytes())?;
    archive.append_data(&mut file(index.len(), 0o644), "index.json", index.as_bytes())?;
    for blob in [&configuration, &layer, &manifest] {
        let name = format!("blobs/sha256/{}", blob.hex);
        archive.append_data(&mut file(blob.bytes.len(), 0o644), name, blob.bytes.as_slice())?;
    }
    archive.into_inner()?.flush()
}

fn configuration(image: &Image, layer: &str) -> Value {
    json!({
        "architecture": architecture(std::env::consts::ARCH),
        "os": "linux",
        "config": { "Env": [SEARCH_PATH], "Entrypoint": image.entrypoint, "Cmd": image.command },
        "rootfs": { "type": "layers", "diff_ids": [layer] },
    })
}

/// The word of Go, and so of OCI, for a processor.
fn architecture(rust: &str) -> &str {
    match rust {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn layer(root: &Tree) -> io::Result<Vec<u8>> {
    let mut layer = Builder::new(Vec::new());
    for (path, entry) in root.iter() {
        match entry {
            Entry::Folder(mode) => {
                layer.append_data(&mut header(EntryType::Directory, 0, *mode), path, io::empty())?;
            }
            Entry::Copy(from, mode) => {
                let bytes = fs::read(from)
                    .map_err(|error| io::Error::other(format!("{}: {error}", from.display())))?;
                layer.append_data(&mut file(bytes.len(), *mode), path, bytes.as_slice())?;
            }
            Entry::Text(text) => {
                layer.append_data(&mut file(text.len(), 0o644), path, text.as_bytes())?;
            }
            Entry::Link(target) => {
                layer.append_link(&mut header(EntryType::Symlink, 0, 0o777), path, target)?;
            }
        }
    }
    layer.into_inner()
}

fn file(length: usize, mode: u32) -> Header {
    header(EntryType::Regular, length as u64, mode)
}

/// Owner root, and the beginning of time.
fn header(kind: EntryType, length: u64, mode: u32) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(length);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::io::Read as _;

    fn image(folder: &Path) -> Image {
        let program = folder.join("program");
        fs::write(&program, "runs").unwrap();
        let root = Tree::default()
            .with("bin/run", Entry::Copy(program, 0o755))
            .with("bin/walk", Entry::Link("run".to_owned()))
            .with("etc/motto", Entry::Text("calmly".to_owned()))
            .with("tmp", Entry::Folder(0o1777))
            .with(&format!("{}/deep", "long".repeat(40)), Entry::Text("far".to_owned()));
        Image {
            reference: "localhost/a:1".to_owned(),
            root,
            entrypoint: vec!["/bin/run".to_owned()],
            command: vec!["fast".to_owned()],
        }
    }

    fn bytes(image: &Image) -> Vec<u8> {
        let mut bytes = Vec::new();
        write(image, &mut bytes).unwrap();
        bytes
    }

    fn unpacked(tar: &[u8]) -> BTreeMap<String, Vec<u8>> {
        let mut files = BTreeMap::new();
        for entry in tar::Archive::new(tar).entries().unwrap() {
            let mut entry = entry.unwrap();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes).unwrap();
            files.insert(entry.path().unwrap().display().to_string(), bytes);
        }
        files
    }

    fn blob<'a>(files: &'a BTreeMap<String, Vec<u8>>, descriptor: &Value) -> &'a [u8] {
        let digest = descriptor["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap();
        let bytes = &files[&format!("blobs/sha256/{digest}")];
        assert_eq!(hex(&Sha256::digest(bytes)), digest);
        assert_eq!(descriptor["size"], bytes.len());
        bytes
    }

    #[test]
    fn what_was_put_in_comes_out() {
        let folder = tempfile::tempdir().unwrap();
        let files = unpacked(&bytes(&image(folder.path())));
        assert_eq!(files["oci-layout"], br#"{"imageLayoutVersion":"1.0.0"}"#);
        let index: Value = serde_json::from_slice(&files["index.json"]).unwrap();
        assert_eq!(index["manifests"][0]["annotations"]["io.containerd.image.name"], "localhost/a:1");
        let manifest: Value = serde_json::from_slice(blob(&files, &index["manifests"][0])).unwrap();
        let configuration: Value = serde_json::from_slice(blob(&files, &manifest["config"])).unwrap();
        assert_eq!(configuration["config"]["Entrypoint"], json!(["/bin/run"]));
        assert_eq!(configuration["config"]["Cmd"], json!(["fast"]));
        assert_eq!(configuration["rootfs"]["diff_ids"][0], manifest["layers"][0]["digest"]);

        let root = folder.path().join("root");
        tar::Archive::new(blob(&files, &manifest["layers"][0])).unpack(&root).unwrap();
        assert_eq!(fs::read_to_string(root.join("bin/run")).unwrap(), "runs");
        assert_eq!(fs::read_link(root.join("bin/walk")).unwrap(), Path::new("run"));
        assert_eq!(fs::read_to_string(root.join("etc/motto")).unwrap(), "calmly");
        assert_eq!(fs::read_to_string(root.join("long".repeat(40)).join("deep")).unwrap(), "far");
    }

    #[test]
    fn the_same_files_give_the_same_bytes() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        assert_eq!(bytes(&image(one.path())), bytes(&image(other.path())));
    }

    #[test]
    fn a_missing_file_is_named_and_nothing_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let mut image = image(folder.path());
        image.root.put("bin/lost", Entry::Copy("/nowhere/lost".into(), 0o755));
        let archive = folder.path().join("a.tar");
        let error = save(&image, &archive).unwrap_err().to_string();
        assert!(error.starts_with("/nowhere/lost: "), "{error}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "only the program");
    }
}
