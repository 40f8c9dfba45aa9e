//! What the accounts did: the API server's audit log, a JSON document in each line.

use serde::Deserialize;

use super::permission::Permission;

/// What an account asked of the API server.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Request {
    /// `system:serviceaccount:NAMESPACE:NAME`.
    pub account: String,
    /// get, list, watch, …
    pub verb: String,
    /// The API group; empty for the first one.
    pub group: String,
    /// With the subresource.
    pub resource: String,
    /// The object; empty where the request names none.
    pub name: String,
    /// Its namespace; empty for what has none.
    pub namespace: String,
    /// Whether the server refused it for want of a permission.
    pub is_forbidden: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    verb: String,
    user: User,
    object_ref: Option<Object>,
    #[serde(default)]
    response_status: Status,
}

#[derive(Deserialize)]
struct User {
    username: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Object {
    #[serde(default)]
    api_group: String,
    #[serde(default)]
    resource: String,
    #[serde(default)]
    subresource: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    namespace: String,
}

#[derive(Default, Deserialize)]
struct Status {
    code: Option<u16>,
}

/// The request in a line of the log; none for what is about no object, which no role has a say in.
pub fn read(line: &str) -> Result<Option<Request>, serde_json::Error> {
    let event: Event = serde_json::from_str(line)?;
    let Some(object) = event.object_ref.filter(|object| !object.resource.is_empty()) else { return Ok(None) };
    let resource = match object.subresource.as_str() {
        "" => object.resource,
        sub => format!("{}/{sub}", object.resource),
    };
    Ok(Some(Request {
        account: event.user.username,
        verb: event.verb,
        group: object.api_group,
        resource,
        name: object.name,
        namespace: object.namespace,
        is_forbidden: event.response_status.code == Some(403),
    }))
}

impl Request {
    /// Whether it needs `permission`.
    pub fn uses(&self, permission: &Permission) -> bool {
        let is_same = (&self.account, &self.verb, &self.group, &self.resource)
            == (&permission.account, &permission.verb, &permission.group, &permission.resource);
        is_same
            && permission.name.as_ref().is_none_or(|name| *name == self.name)
            && permission.namespace.as_ref().is_none_or(|namespace| *namespace == self.namespace)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(verb: &str, object: &str, code: u16) -> String {
        let user = r#""user":{"username":"system:serviceaccount:n:sa","groups":["g"]}"#;
        format!(
            r#"{{"kind":"Event","verb":"{verb}",{user},"objectRef":{object},"responseStatus":{{"code":{code}}}}}"#
        )
    }

    #[test]
    fn a_line_is_a_request() {
        let object = r#"{"resource":"volumeattachments","name":"a","apiGroup":"storage.k8s.io","subresource":"status"}"#;
        let request = read(&line("patch", object, 403)).unwrap().unwrap();
        assert_eq!((request.resource.as_str(), request.name.as_str()), ("volumeattachments/status", "a"));
        assert_eq!((request.group.as_str(), request.is_forbidden), ("storage.k8s.io", true));
        assert!(read(r#"{"verb":"get","user":{"username":"a"},"requestURI":"/version"}"#).unwrap().is_none());
        assert!(read("{").is_err());
    }

    #[test]
    fn a_permission_for_one_object_is_used_by_that_object_only() {
        let permission = |name: Option<&str>, namespace: Option<&str>| Permission {
            account: "system:serviceaccount:n:sa".to_owned(),
            verb: "get".to_owned(),
            group: String::new(),
            resource: "leases".to_owned(),
            name: name.map(str::to_owned),
            namespace: namespace.map(str::to_owned),
        };
        let request =
            read(&line("get", r#"{"resource":"leases","name":"a","namespace":"n"}"#, 200)).unwrap().unwrap();
        let rows = [
            (None, None, true),
            (Some("a"), Some("n"), true),
            (Some("b"), Some("n"), false),
            (Some("a"), Some("m"), false),
        ];
        for (name, namespace, wanted) in rows {
            assert_eq!(request.uses(&permission(name, namespace)), wanted, "{name:?} {namespace:?}");
        }
    }
}
