//! `azure.json`, read when it is needed. What is wrong with it is UNAVAILABLE to the caller, never a final
//! code: an earlier process may have begun what this call asks for, and the file can be mended at any time.

use std::fs;
use std::path::Path;

use azure::CloudConfig;

use crate::environment::Environment;

/// Reads the credential file and, if there is one, the file of the cloud. Blocks on the file system.
///
/// # Errors
/// [`csi::Kind::Unavailable`], naming the file and what is wrong with it; never what is in it.
pub fn read(environment: &Environment) -> Result<CloudConfig, csi::Error> {
    let file = &environment.credential_file;
    let text = read_file(file, "AZURE_CREDENTIAL_FILE")?;
    let cloud_file = match &environment.cloud_file {
        Some(path) => Some(read_file(path, "AZURE_ENVIRONMENT_FILEPATH")?),
        None => None,
    };
    let beside = azure::Environment { cloud_file, ..environment.azure.clone() };
    CloudConfig::parse(&text, &beside).map_err(|error| {
        let file = file.display();
        csi::Error::unavailable(format!(
            "Azure cannot be asked: {error} ({file}); mend it and repeat the call"
        ))
        .caused_by(error)
    })
}

fn read_file(path: &Path, variable: &str) -> Result<String, csi::Error> {
    fs::read_to_string(path).map_err(|error| {
        let path = path.display();
        csi::Error::unavailable(format!("Azure cannot be asked: {path} ({variable}) cannot be read: {error}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: Option<&str>, parts: &[&str]) {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("azure.json");
        if let Some(text) = text {
            fs::write(&file, text).unwrap();
        }
        let error = read(&Environment { credential_file: file, ..Environment::default() }).unwrap_err();
        assert_eq!(error.kind(), csi::Kind::Unavailable);
        for part in parts.iter().chain(&["azure.json"]) {
            assert!(error.message().contains(part), "{part}: {error}");
        }
        assert!(!error.message().contains("hunter2"), "{error}");
    }

    #[test]
    fn what_is_wrong_is_told_and_secrets_are_not() {
        check(None, &["AZURE_CREDENTIAL_FILE", "No such file"]);
        check(Some("{\"aadClientSecret\": \"hunter2\""), &[]);
        check(
            Some(
                r#"{"tenantId": "t", "subscriptionId": "s", "location": "l", "aadClientSecret": "hunter2"}"#,
            ),
            &["resourceGroup"],
        );
    }
}
