//! `azure.json` as Go's decoder reads it: keys in any case, empty and null as if absent.

use serde_json::{Map, Value};

use super::ConfigError;

/// The object in the file.
pub(super) struct Document(Map<String, Value>);

impl Document {
    pub(super) fn parse(text: &str) -> Result<Document, ConfigError> {
        let value = serde_json::from_str(text.trim_start_matches('\u{feff}'))
            .map_err(|error| ConfigError::File(format!("is not JSON ({error})")))?;
        match value {
            Value::Object(map) => Ok(Document(map)),
            _ => Err(ConfigError::File("is not a JSON object".to_owned())),
        }
    }

    /// The exact spelling goes before any other.
    fn value(&self, key: &str) -> Option<&Value> {
        let other = || self.0.iter().find(|(name, _)| name.eq_ignore_ascii_case(key)).map(|(_, value)| value);
        self.0.get(key).or_else(other)
    }

    pub(super) fn text(&self, key: &'static str) -> Result<Option<String>, ConfigError> {
        match self.value(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.trim().to_owned()).filter(|text| !text.is_empty())),
            Some(_) => Err(ConfigError::key(key, "must be a text")),
        }
    }

    pub(super) fn needed(&self, key: &'static str) -> Result<String, ConfigError> {
        self.text(key)?.ok_or_else(|| ConfigError::key(key, "is missing"))
    }

    /// Absent is false.
    pub(super) fn flag(&self, key: &'static str) -> Result<bool, ConfigError> {
        let spelled = match self.value(key) {
            Some(Value::Bool(flag)) => return Ok(*flag),
            None | Some(Value::Null) => return Ok(false),
            Some(Value::String(text)) => text.trim().to_ascii_lowercase(),
            Some(_) => String::from("?"),
        };
        match spelled.as_str() {
            "true" => Ok(true),
            "false" | "" => Ok(false),
            _ => Err(ConfigError::key(key, "must be true or false")),
        }
    }
}
