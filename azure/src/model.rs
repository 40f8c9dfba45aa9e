//! What Azure's documents say, as far as we use it: what is not named here is passed over, not kept, since hundreds of
//! documents are read at a time. Who sends a document back as it came takes it as it came (`vms/full_list.rs`). Every
//! list of words is open: a new value of Azure's must not break the reading of a whole VM.

pub mod disk;
pub mod sku;
pub mod snapshot;
pub mod vm;

use serde::{Deserialize, Deserializer};

/// A list that may be absent or null.
pub(crate) fn list<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// An enum of words that Azure may add to: unknown words are kept, known ones compare in any case.
macro_rules! open_enum {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)+
            /// A word that this version does not know, as Azure spelled it.
            Other(String),
        }

        impl $name {
            /// The words that are known.
            pub const KNOWN: &[$name] = &[$($name::$variant),+];

            /// As Azure spells it.
            pub fn as_str(&self) -> &str {
                match self {
                    $($name::$variant => $word,)+
                    $name::Other(word) => word,
                }
            }
        }

        impl From<&str> for $name {
            fn from(word: &str) -> Self {
                match word {
                    $(_ if word.eq_ignore_ascii_case($word) => $name::$variant,)+
                    _ => $name::Other(word.to_owned()),
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let word = <std::borrow::Cow<'de, str> as serde::Deserialize>::deserialize(deserializer)?;
                Ok($name::from(word.as_ref()))
            }
        }
    };
}
pub(crate) use open_enum;

open_enum!(
    /// How far Azure is with the last write on a resource.
    ProvisioningState {
        /// Done.
        Succeeded = "Succeeded",
        /// Ended without success.
        Failed = "Failed",
        /// Ended from outside.
        Canceled = "Canceled",
        /// Being made.
        Creating = "Creating",
        /// Being changed.
        Updating = "Updating",
        /// Going away.
        Deleting = "Deleting",
    }
);

impl ProvisioningState {
    /// Whether nothing is going on any more. A word that we do not know counts as going on.
    pub fn is_terminal(&self) -> bool {
        matches!(self, ProvisioningState::Succeeded | ProvisioningState::Failed | ProvisioningState::Canceled)
    }
}

open_enum!(
    /// The host cache of an attached disk.
    Caching {
        /// None: the only one for PremiumV2, Ultra and disks from 4 TiB.
        None = "None",
        /// Reads are cached.
        ReadOnly = "ReadOnly",
        /// Reads and writes are cached.
        ReadWrite = "ReadWrite",
    }
);

open_enum!(
    /// The kind of a managed disk.
    DiskSku {
        /// Standard HDD.
        StandardLrs = "Standard_LRS",
        /// Standard SSD.
        StandardSsdLrs = "StandardSSD_LRS",
        /// Standard SSD, over the zones of a region.
        StandardSsdZrs = "StandardSSD_ZRS",
        /// Premium SSD.
        PremiumLrs = "Premium_LRS",
        /// Premium SSD, over the zones of a region.
        PremiumZrs = "Premium_ZRS",
        /// Premium SSD v2.
        PremiumV2Lrs = "PremiumV2_LRS",
        /// Ultra disk.
        UltraSsdLrs = "UltraSSD_LRS",
    }
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_in_any_case_and_unknown_ones_kept() {
        for (word, expected) in [
            ("\"succeeded\"", ProvisioningState::Succeeded),
            ("\"Migrating\"", ProvisioningState::Other("Migrating".to_owned())),
        ] {
            let state: ProvisioningState = serde_json::from_str(word).unwrap();
            assert_eq!(state, expected);
        }
        assert_eq!(serde_json::to_string(&Caching::ReadOnly).unwrap(), "\"ReadOnly\"");
        assert!(!ProvisioningState::Other("Migrating".to_owned()).is_terminal());
    }
}
