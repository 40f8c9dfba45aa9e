//! What the roles allow: one permission for each verb, resource and, where a rule names objects, object, so that each
//! can be found used or not.

use std::collections::BTreeSet;
use std::fmt;

use serde_json::Value;

/// One thing that an account may do.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Permission {
    /// `system:serviceaccount:NAMESPACE:NAME`.
    pub account: String,
    /// get, list, watch, …
    pub verb: String,
    /// The API group; empty for the first one.
    pub group: String,
    /// With the subresource: `persistentvolumes` or `volumeattachments/status`.
    pub resource: String,
    /// The only object, where the rule names objects.
    pub name: Option<String>,
    /// The only namespace, for what a Role grants.
    pub namespace: Option<String>,
}

impl fmt::Display for Permission {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let account = self.account.rsplit(':').next().unwrap_or_default();
        write!(to, "{account}: {} {}", self.verb, self.resource)?;
        if !self.group.is_empty() {
            write!(to, ".{}", self.group)?;
        }
        if let Some(name) = &self.name {
            write!(to, " {name}")?;
        }
        Ok(())
    }
}

impl Permission {
    /// As it is written, for whichever object.
    pub fn without_name(&self) -> String {
        Permission { name: None, ..self.clone() }.to_string()
    }
}

/// The roles and bindings of a cluster, as its API lists them.
#[derive(Clone, Debug, Default)]
pub struct Roles {
    /// Items of `roles` and of `clusterroles`.
    pub roles: Vec<Value>,
    /// Items of `rolebindings` and of `clusterrolebindings`.
    pub bindings: Vec<Value>,
}

/// What is granted to `accounts`, or why a rule can't be judged.
pub fn granted(roles: &Roles, accounts: &BTreeSet<String>) -> (BTreeSet<Permission>, Vec<String>) {
    let (mut permissions, mut objections) = (BTreeSet::new(), Vec::new());
    for binding in &roles.bindings {
        let bound = subjects(binding).filter(|account| accounts.contains(account)).collect::<Vec<_>>();
        if bound.is_empty() {
            continue;
        }
        let Some(role) = roles.roles.iter().find(|role| is_role_of(role, binding)) else {
            objections.push(format!("{} binds a role that is not there", binding["metadata"]["name"]));
            continue;
        };
        let namespace = binding["metadata"]["namespace"].as_str();
        for rule in role["rules"].as_array().into_iter().flatten() {
            if let Some(objection) = unjudgeable(rule) {
                objections.push(format!("role {}: {objection}: {rule}", role["metadata"]["name"]));
                continue;
            }
            for account in &bound {
                permissions.extend(of_rule(rule, account, namespace));
            }
        }
    }
    (permissions, objections)
}

/// The service accounts of a binding; of one without a namespace it is the binding's own.
fn subjects(binding: &Value) -> impl Iterator<Item = String> {
    let own = &binding["metadata"]["namespace"];
    let accounts = binding["subjects"].as_array().into_iter().flatten();
    accounts.filter(|subject| subject["kind"] == "ServiceAccount").filter_map(move |subject| {
        let namespace = subject["namespace"].as_str().or(own.as_str())?;
        Some(account(namespace, subject["name"].as_str()?))
    })
}

/// How the API server calls a service account.
pub fn account(namespace: &str, name: &str) -> String {
    format!("system:serviceaccount:{namespace}:{name}")
}

fn is_role_of(role: &Value, binding: &Value) -> bool {
    let wanted = &binding["roleRef"];
    let namespace = &role["metadata"]["namespace"];
    let is_kind = match wanted["kind"].as_str() {
        Some("ClusterRole") => namespace.is_null(),
        _ => !namespace.is_null() && *namespace == binding["metadata"]["namespace"],
    };
    is_kind && role["metadata"]["name"] == wanted["name"]
}

fn unjudgeable(rule: &Value) -> Option<&'static str> {
    if !rule["nonResourceURLs"].is_null() {
        return Some("it grants addresses, which no part of the driver needs");
    }
    let lists = ["apiGroups", "resources", "verbs"].map(|part| words(rule, part));
    let has_wildcard = lists.concat().iter().any(|word| word.contains('*'));
    has_wildcard.then_some("it grants by wildcard")
}

fn words(rule: &Value, part: &str) -> Vec<String> {
    let words = rule[part].as_array().into_iter().flatten();
    words.filter_map(|word| word.as_str().map(str::to_owned)).collect()
}

fn of_rule(rule: &Value, account: &str, namespace: Option<&str>) -> Vec<Permission> {
    let mut names: Vec<_> = words(rule, "resourceNames").into_iter().map(Some).collect();
    if names.is_empty() {
        names.push(None);
    }
    let mut permissions = Vec::new();
    for group in words(rule, "apiGroups") {
        for resource in words(rule, "resources") {
            for verb in words(rule, "verbs") {
                permissions.extend(names.iter().map(|name| Permission {
                    account: account.to_owned(),
                    verb: verb.clone(),
                    group: group.clone(),
                    resource: resource.clone(),
                    name: name.clone(),
                    namespace: namespace.map(str::to_owned),
                }));
            }
        }
    }
    permissions
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(rules: &Value, permissions: &[&str], objections: usize) {
        let roles = Roles {
            roles: vec![
                json!({ "metadata": { "name": "r", "namespace": "other" }, "rules": [{ "verbs": ["*"] }] }),
                json!({ "metadata": { "name": "r", "namespace": "here" }, "rules": rules }),
            ],
            bindings: vec![json!({
                "metadata": { "name": "b", "namespace": "here" },
                "roleRef": { "kind": "Role", "name": "r" },
                "subjects": [
                    { "kind": "ServiceAccount", "name": "sa" },
                    { "kind": "ServiceAccount", "name": "stranger", "namespace": "there" },
                ],
            })],
        };
        let (found, said) = granted(&roles, &[account("here", "sa")].into());
        assert_eq!(found.iter().map(ToString::to_string).collect::<Vec<_>>(), permissions, "{rules}");
        assert_eq!(said.len(), objections, "{said:?}");
    }

    #[test]
    fn a_rule_is_taken_apart() {
        let two_verbs = json!([{ "apiGroups": ["storage.k8s.io"], "resources": ["volumeattachments/status"], "verbs": ["get", "patch"] }]);
        check(
            &two_verbs,
            &[
                "sa: get volumeattachments/status.storage.k8s.io",
                "sa: patch volumeattachments/status.storage.k8s.io",
            ],
            0,
        );
        let named = json!([{ "apiGroups": [""], "resources": ["secrets"], "verbs": ["get"], "resourceNames": ["a", "b"] }]);
        check(&named, &["sa: get secrets a", "sa: get secrets b"], 0);
    }

    #[test]
    fn a_wildcard_is_an_objection() {
        check(&json!([{ "apiGroups": ["*"], "resources": ["pods"], "verbs": ["get"] }]), &[], 1);
        check(&json!([{ "apiGroups": [""], "resources": ["pods/*"], "verbs": ["get"] }]), &[], 1);
        check(&json!([{ "apiGroups": [""], "resources": ["pods"], "verbs": ["*"] }]), &[], 1);
        check(&json!([{ "nonResourceURLs": ["/metrics"], "verbs": ["get"] }]), &[], 1);
    }
}
