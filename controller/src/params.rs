//! Reading the parameters of a StorageClass, a VolumeAttributesClass or a snapshot class.
//!
//! Keys are those of the Go driver (`disk.csi.azure.com`), in any case; values are taken in any case where
//! that is unambiguous. **Invariant:** nothing is ignored in silence. A key nobody asks for, a value that
//! is not allowed, and two spellings of one thing that disagree are each INVALID_ARGUMENT, naming the key
//! and what is allowed, before Azure is asked. An empty value counts as not given, since templates
//! write those. Keys below `csi.storage.k8s.io/` are the sidecars' own and always allowed.

pub(crate) mod mutable;
pub(crate) mod snapshot;
pub(crate) mod tags;
pub(crate) mod volume;

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use csi::Error;

/// What the sidecars add of their own.
const SIDECAR_PREFIX: &str = "csi.storage.k8s.io/";

/// The parameters of one request that nobody has taken yet.
pub(crate) struct Parameters<'a> {
    /// Where they stand, in the words of a message: "parameters".
    field: &'static str,
    /// By lower-case key.
    left: BTreeMap<String, Parameter<'a>>,
}

/// One parameter as it was written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parameter<'a> {
    field: &'static str,
    key: &'a str,
    /// Not empty.
    pub(crate) value: &'a str,
}

impl<'a> Parameters<'a> {
    /// The parameters in `map`, the field `field` of the request.
    ///
    /// # Errors
    /// INVALID_ARGUMENT if one key stands there twice, in two cases, with two values.
    pub(crate) fn read(field: &'static str, map: &'a BTreeMap<String, String>) -> Result<Self, Error> {
        let mut left: BTreeMap<String, Parameter<'a>> = BTreeMap::new();
        for (key, value) in map.iter().filter(|(_, value)| !value.is_empty()) {
            let one = Parameter { field, key, value };
            match left.insert(key.to_ascii_lowercase(), one) {
                Some(other) if other.value != one.value => return Err(one.disagrees_with(&other)),
                _ => {}
            }
        }
        Ok(Parameters { field, left })
    }

    /// Takes the parameter with one of these names (the first is the one for messages).
    ///
    /// # Errors
    /// INVALID_ARGUMENT if it stands there under two names with two values.
    pub(crate) fn take(&mut self, names: &[&str]) -> Result<Option<Parameter<'a>>, Error> {
        let mut found: Option<Parameter<'a>> = None;
        for name in names {
            let Some(one) = self.left.remove(&name.to_ascii_lowercase()) else { continue };
            match found {
                Some(other) if !other.value.eq_ignore_ascii_case(one.value) => {
                    return Err(one.disagrees_with(&other));
                }
                _ => found = Some(one),
            }
        }
        Ok(found)
    }

    /// Takes every parameter whose name starts with `prefix`.
    pub(crate) fn take_below(&mut self, prefix: &str) -> Vec<Parameter<'a>> {
        let (below, left) =
            std::mem::take(&mut self.left).into_iter().partition(|(key, _)| key.starts_with(prefix));
        self.left = left;
        let below: BTreeMap<String, Parameter<'a>> = below;
        below.into_values().collect()
    }

    /// Takes the subscription and the resource group; the first is nothing without the second.
    pub(crate) fn group(&mut self) -> Result<(Option<String>, Option<String>), Error> {
        let (subscription, group) = (self.take(&["subscriptionID"])?, self.take(&["resourceGroup"])?);
        match (subscription, group) {
            (Some(one), None) => Err(one.out_of_place("which needs resourceGroup beside it")),
            _ => Ok((subscription.map(|one| one.value.to_owned()), group.map(|one| one.value.to_owned()))),
        }
    }

    /// What a sidecar says under `csi.storage.k8s.io/<name>`.
    pub(crate) fn sidecar(&self, name: &str) -> Option<&'a str> {
        self.left.get(&format!("{SIDECAR_PREFIX}{name}")).map(|one| one.value)
    }

    /// Ends the reading: what is left is unknown.
    ///
    /// # Errors
    /// INVALID_ARGUMENT naming every key that is left, and those of `known`.
    pub(crate) fn finish(self, known: &[&str]) -> Result<(), Error> {
        let unknown: Vec<&str> = self
            .left
            .iter()
            .filter(|(key, _)| !key.starts_with(SIDECAR_PREFIX))
            .map(|(_, one)| one.key)
            .collect();
        if unknown.is_empty() {
            return Ok(());
        }
        let (field, unknown, known) = (self.field, unknown.join(", "), known.join(", "));
        Err(Error::invalid(format!("unknown key in {field}: {unknown}; known are {known}")))
    }
}

impl Parameter<'_> {
    /// The refusal of this value.
    pub(crate) fn refused(&self, allowed: &str) -> Error {
        let Parameter { field, key, value } = self;
        Error::invalid(format!("{field}: {key} is {value:?}; allowed is {allowed}"))
    }

    /// The refusal of this parameter beside others, or in this version.
    pub(crate) fn out_of_place(&self, why: &str) -> Error {
        let Parameter { field, key, value } = self;
        Error::invalid(format!("{field}: {key} is {value:?}, {why}"))
    }

    fn disagrees_with(&self, other: &Parameter<'_>) -> Error {
        let Parameter { field, key, value } = self;
        Error::invalid(format!(
            "{field}: {key} is {value:?} and {} is {:?}; they mean the same, give one of them",
            other.key, other.value
        ))
    }

    /// The one of `allowed` that it names, in any case.
    pub(crate) fn one_of(&self, allowed: &[&'static str]) -> Result<&'static str, Error> {
        let named = allowed.iter().find(|one| one.eq_ignore_ascii_case(self.value));
        named.copied().ok_or_else(|| self.refused(&allowed.join(", ")))
    }

    /// `true` or `false`.
    pub(crate) fn flag(&self) -> Result<bool, Error> {
        Ok(self.one_of(&["true", "false"])? == "true")
    }

    /// A whole number in `range`.
    pub(crate) fn number(&self, range: &RangeInclusive<u64>) -> Result<u64, Error> {
        let number = self.value.trim().parse().ok().filter(|number| range.contains(number));
        number.ok_or_else(|| {
            let (least, most) = (range.start(), range.end());
            self.refused(&if *most == u64::MAX {
                format!("a whole number from {least}")
            } else {
                format!("a whole number from {least} to {most}")
            })
        })
    }

    /// An ARM resource id.
    pub(crate) fn arm_id(&self) -> Result<String, Error> {
        let starts_so =
            self.value.get(..15).is_some_and(|start| start.eq_ignore_ascii_case("/subscriptions/"));
        if starts_so {
            Ok(self.value.to_owned())
        } else {
            Err(self.refused("an Azure resource id (/subscriptions/...)"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use csi::Kind;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn one_thing_said_twice_must_agree() {
        let rows: [(&[(&str, &str)], bool); 5] = [
            (&[("skuName", "Premium_LRS"), ("skuname", "Premium_LRS")], true),
            (&[("skuName", "Premium_LRS"), ("skuname", "Standard_LRS")], false),
            (&[("skuName", "Premium_LRS"), ("storageAccountType", "premium_lrs")], true),
            (&[("skuName", "Premium_LRS"), ("storageAccountType", "Standard_LRS")], false),
            (&[("skuName", ""), ("storageAccountType", "Standard_LRS")], true),
        ];
        for (pairs, good) in rows {
            let map = map(pairs);
            let taken = Parameters::read("parameters", &map)
                .and_then(|mut all| all.take(&["skuName", "storageAccountType"]));
            assert_eq!(taken.is_ok_and(|one| one.is_some()), good, "{pairs:?}");
        }
    }

    #[test]
    fn what_nobody_takes_is_named() {
        let map = map(&[("skuName", "x"), ("Colour", "red"), ("csi.storage.k8s.io/pvc/name", "web")]);
        let mut all = Parameters::read("parameters", &map).unwrap();
        assert_eq!(all.sidecar("pvc/name"), Some("web"));
        all.take(&["skuname"]).unwrap();
        let error = all.finish(&["skuName"]).unwrap_err();
        assert_eq!(error.kind(), Kind::Invalid);
        assert_eq!(error.message(), "unknown key in parameters: Colour; known are skuName");
    }

    #[test]
    fn values_are_read_or_refused_with_what_is_allowed() {
        let of = |value| Parameter { field: "parameters", key: "k", value };
        assert!(of("TRUE").flag().unwrap());
        assert_eq!(
            of("yes").flag().unwrap_err().message(),
            "parameters: k is \"yes\"; allowed is true, false"
        );
        assert_eq!(of("7").number(&(1..=9)).unwrap(), 7);
        for bad in ["10", "-1", "1.5", "x"] {
            let error = of(bad).number(&(1..=9)).unwrap_err();
            assert!(error.message().ends_with("allowed is a whole number from 1 to 9"), "{error}");
        }
        assert!(of("/SUBSCRIPTIONS/s/x").arm_id().is_ok());
        assert!(of("s/x").arm_id().is_err());
    }
}
