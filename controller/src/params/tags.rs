//! Tags of disks and snapshots: those a class asks for, and those that the driver always writes.
//!
//! The driver's own are the Go driver's, so that tools that look for them find these disks too.

use std::collections::BTreeMap;

use csi::Error;

use super::{Parameter, Parameters};

/// Tags by key.
pub(crate) type Tags = BTreeMap<String, String>;

/// Says that a Kubernetes driver made it; value and key as the Go driver writes them.
pub(crate) const CREATED_BY: (&str, &str) = ("k8s-azure-created-by", "kubernetes-azure-dd");
/// The volume that a snapshot was cut from.
pub(crate) const SOURCE_VOLUME: &str = "source_volume_id";
/// Marks a disk whose attachments want the write accelerator.
pub(crate) const WRITE_ACCELERATOR: &str = "writeacceleratorenabled";
/// The name in the request, where the disk or snapshot is called otherwise.
pub(crate) const REQUEST_NAME: &str = "csi-requested-name";
/// The PersistentVolume that a disk was made for.
pub(crate) const FOR_PV: &str = "kubernetes.io-created-for-pv-name";

/// What a tag's key may not contain.
const FORBIDDEN: &str = "<>%&?\\/";
/// Azure's limits: tags on one resource, characters of a key, of a value.
const MOST_TAGS: usize = 50;
const LONGEST_KEY: usize = 512;
const LONGEST_VALUE: usize = 256;

/// The sidecar's names for what a volume is for, and the tag that each becomes.
const VOLUME_FACTS: [(&str, &str); 3] = [
    ("pv/name", FOR_PV),
    ("pvc/name", "kubernetes.io-created-for-pvc-name"),
    ("pvc/namespace", "kubernetes.io-created-for-pvc-namespace"),
];
/// The same for a snapshot.
const SNAPSHOT_FACTS: [(&str, &str); 2] = [
    ("volumesnapshot/name", "kubernetes.io-created-for-snapshot-name"),
    ("volumesnapshot/namespace", "kubernetes.io-created-for-snapshot-namespace"),
];
/// What a template in a value may name.
const TEMPLATES: [(&str, &str); 3] = [
    ("${pvc.metadata.name}", "pvc/name"),
    ("${pvc.metadata.namespace}", "pvc/namespace"),
    ("${pv.metadata.name}", "pv/name"),
];

/// The tags of a volume: `tags` and `tagValueDelimiter` taken from `parameters`, and the driver's own.
pub(crate) fn volume_tags(parameters: &mut Parameters<'_>) -> Result<Tags, Error> {
    tags(parameters, &VOLUME_FACTS)
}

/// The tags of a snapshot, likewise.
pub(crate) fn snapshot_tags(parameters: &mut Parameters<'_>) -> Result<Tags, Error> {
    tags(parameters, &SNAPSHOT_FACTS)
}

fn tags(parameters: &mut Parameters<'_>, facts: &[(&str, &str)]) -> Result<Tags, Error> {
    let delimiter = parameters.take(&["tagValueDelimiter"])?.map_or(",", |one| one.value);
    let mut tags = match parameters.take(&["tags"])? {
        Some(list) => parse(&list, delimiter, parameters)?,
        None => Tags::new(),
    };
    tags.insert(CREATED_BY.0.to_owned(), CREATED_BY.1.to_owned());
    for (fact, tag) in facts {
        if let Some(value) = parameters.sidecar(fact) {
            tags.insert((*tag).to_owned(), value.to_owned());
        }
    }
    Ok(tags)
}

/// `key=value` pairs; a value may contain `=` and templates.
fn parse(list: &Parameter<'_>, delimiter: &str, parameters: &Parameters<'_>) -> Result<Tags, Error> {
    let mut tags = Tags::new();
    for pair in list.value.split(delimiter).filter(|pair| !pair.trim().is_empty()) {
        let allowed = format!("key=value pairs separated by {delimiter:?}");
        let (key, value) = pair.split_once('=').ok_or_else(|| list.refused(&allowed))?;
        let (key, value) = (key.trim(), expand(value.trim(), list, parameters)?);
        if key.is_empty() || key.len() > LONGEST_KEY || key.contains(|c| FORBIDDEN.contains(c)) {
            let rule = format!("a tag key of 1 to {LONGEST_KEY} characters without {FORBIDDEN}");
            return Err(list.refused(&rule));
        }
        if value.chars().count() > LONGEST_VALUE {
            return Err(list.refused(&format!("a tag value of at most {LONGEST_VALUE} characters")));
        }
        if let Some(other) = tags.insert(key.to_owned(), value.clone())
            && other != value
        {
            return Err(list.refused(&format!("one value per tag, and {key} has two")));
        }
    }
    if tags.len() > MOST_TAGS - 10 {
        return Err(list.refused(&format!("at most {} tags beside the driver's own", MOST_TAGS - 10)));
    }
    Ok(tags)
}

/// Replaces the templates in `text`, a part of the parameter `of`.
///
/// # Errors
/// INVALID_ARGUMENT if it names a fact that the sidecar did not send, or something unknown.
pub(crate) fn expand(text: &str, of: &Parameter<'_>, parameters: &Parameters<'_>) -> Result<String, Error> {
    let mut expanded = text.to_owned();
    for (template, fact) in TEMPLATES {
        if !expanded.contains(template) {
            continue;
        }
        let value = parameters.sidecar(fact).ok_or_else(|| {
            let why = "which needs the provisioner's flag --extra-create-metadata";
            of.out_of_place(&format!("and names {template}, {why}"))
        })?;
        expanded = expanded.replace(template, value);
    }
    if expanded.contains("${") {
        let known: Vec<&str> = TEMPLATES.iter().map(|(template, _)| *template).collect();
        return Err(of.refused(&format!("no other template than {}", known.join(", "))));
    }
    Ok(expanded)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pairs: &[(&str, &str)], want: Option<&[(&str, &str)]>) {
        let map = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let mut parameters = Parameters::read("parameters", &map).unwrap();
        let got = volume_tags(&mut parameters).ok().map(|mut tags| {
            assert_eq!(tags.remove(CREATED_BY.0).as_deref(), Some(CREATED_BY.1));
            tags
        });
        let want = want.map(|want| {
            want.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect::<Tags>()
        });
        assert_eq!(got, want, "{pairs:?}");
    }

    #[test]
    fn tags_as_the_go_driver_reads_them() {
        check(&[], Some(&[]));
        check(&[("tags", "a=b,c=d=e")], Some(&[("a", "b"), ("c", "d=e")]));
        check(&[("tags", "a=b,c;d=e"), ("tagValueDelimiter", ";")], Some(&[("a", "b,c"), ("d", "e")]));
        check(&[("tags", "a=,b=c,")], Some(&[("a", ""), ("b", "c")]));
        check(&[("tags", "a")], None);
        check(&[("tags", "=b")], None);
        check(&[("tags", "a<b=c")], None);
        check(&[("tags", "a=b,a=c")], None);
        check(&[("tags", &format!("a={}", "x".repeat(257)))], None);
    }

    #[test]
    fn what_the_sidecar_knows_becomes_a_tag_and_fills_templates() {
        check(
            &[("tags", "team=${pvc.metadata.namespace}-x"), ("csi.storage.k8s.io/pvc/namespace", "web")],
            Some(&[("team", "web-x"), ("kubernetes.io-created-for-pvc-namespace", "web")]),
        );
        check(&[("csi.storage.k8s.io/pv/name", "pvc-1")], Some(&[(FOR_PV, "pvc-1")]));
        check(&[("tags", "team=${pvc.metadata.namespace}")], None);
        check(&[("tags", "team=${node.name}")], None);
    }
}
