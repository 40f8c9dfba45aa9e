//! What a log may say of a secret map: how many keys it has. The `Debug` of every message with a
//! field marked `csi_secret` is generated with it (build.rs), so no caller has to take care.

use std::fmt;

/// Stands in a `Debug` output where a secret map with this many keys is.
pub(crate) struct Redacted(pub(crate) usize);

impl fmt::Debug for Redacted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => f.write_str("{}"),
            keys => write!(f, "{{{keys} redacted}}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::v1;

    #[test]
    fn a_secret_is_never_printed() {
        let secrets = [("password".to_owned(), "hunter2".to_owned())].into();
        let request = v1::NodeStageVolumeRequest { volume_id: "v".into(), secrets, ..Default::default() };
        let text = format!("{request:?} {request:#?}");
        assert!(!text.contains("hunter2") && !text.contains("password"), "{text}");
        assert!(text.contains("1 redacted") && text.contains("volume_id: \"v\""), "{text}");
    }
}
