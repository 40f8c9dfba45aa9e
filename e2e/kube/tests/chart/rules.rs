//! What holds for every installation: one container per node, nobody may do more than its part needs, and what
//! is named is there.

use serde_json::{Value, json};

use super::rendered::Rendered;

/// Every rule that is broken, in words.
pub(crate) fn complaints(rendered: &Rendered) -> Vec<String> {
    let mut complaints = permissions(rendered);
    complaints.extend(bindings(rendered));
    for workload in rendered.workloads() {
        let name = format!("{}/{}", text(&workload["kind"]), text(&workload["metadata"]["name"]));
        let pod = &workload["spec"]["template"]["spec"];
        let found = [pod_rules(workload, pod), container_rules(workload, pod), volumes(pod)].concat();
        complaints.extend(found.into_iter().map(|complaint| format!("{name}: {complaint}")));
    }
    complaints
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn is_node(workload: &Value) -> bool {
    workload["kind"] == "DaemonSet"
}

fn permissions(rendered: &Rendered) -> Vec<String> {
    let roles = [rendered.all("ClusterRole"), rendered.all("Role")].concat();
    let rules = roles.iter().flat_map(|role| list(&role["rules"]).iter().map(move |rule| (role, rule)));
    rules
        .filter_map(|(role, rule)| {
            let name = text(&role["metadata"]["name"]);
            let words = ["apiGroups", "resources", "verbs"].iter().flat_map(|key| list(&rule[key]));
            let words: Vec<&str> = words.map(text).collect();
            let is_wide = words.iter().any(|word| word.contains('*'));
            let leaks = words.contains(&"secrets") || words.contains(&"pods");
            let strays = role["kind"] == "ClusterRole" && words.contains(&"leases");
            (is_wide || leaks || strays).then(|| format!("{name} may too much: {rule}"))
        })
        .collect()
}

fn bindings(rendered: &Rendered) -> Vec<String> {
    let bindings = [rendered.all("ClusterRoleBinding"), rendered.all("RoleBinding")].concat();
    let accounts = rendered.all("ServiceAccount");
    let used: Vec<&Value> = rendered
        .workloads()
        .iter()
        .map(|workload| &workload["spec"]["template"]["spec"]["serviceAccountName"])
        .collect();
    let mut complaints = Vec::new();
    for account in accounts {
        if account["automountServiceAccountToken"] != false {
            complaints.push(format!("{} gives its token to every container", account["metadata"]["name"]));
        }
        if !used.contains(&&account["metadata"]["name"]) {
            complaints.push(format!("nothing runs as {}", account["metadata"]["name"]));
        }
    }
    for binding in bindings {
        let name = &binding["metadata"]["name"];
        let role = &binding["roleRef"];
        if rendered.find(text(&role["kind"]), text(&role["name"])).is_none() {
            complaints.push(format!("{name} binds no role"));
        }
        for subject in list(&binding["subjects"]) {
            if subject["name"] == "csi-azuredisk-node-sa" || !used.contains(&&subject["name"]) {
                complaints.push(format!("{name} gives {} what it needs not", subject["name"]));
            }
        }
    }
    complaints
}

fn pod_rules(workload: &Value, pod: &Value) -> Vec<String> {
    let mut complaints = Vec::new();
    if pod["automountServiceAccountToken"] != false {
        complaints.push("the token is given to every container".to_owned());
    }
    if pod["securityContext"]["seccompProfile"]["type"] != "RuntimeDefault" {
        complaints.push("no seccomp profile".to_owned());
    }
    // A file of the node that only root reads is the one reason to be root.
    let reads_node = list(&pod["volumes"]).iter().any(|volume| volume["hostPath"].is_object());
    if !reads_node && pod["securityContext"]["runAsNonRoot"] != true {
        complaints.push("runs as root".to_owned());
    }
    if is_node(workload) && (list(&pod["containers"]).len(), &pod["initContainers"]) != (1, &Value::Null) {
        complaints.push("a node has more than one container".to_owned());
    }
    if !text(&pod["priorityClassName"]).starts_with("system-") {
        complaints.push("may be pushed out by workloads that need it".to_owned());
    }
    complaints
}

fn container_rules(workload: &Value, pod: &Value) -> Vec<String> {
    let mut complaints = Vec::new();
    for container in list(&pod["containers"]) {
        let name = text(&container["name"]);
        let security = &container["securityContext"];
        let confined = json!({"allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
            "capabilities": {"drop": ["ALL"]}});
        let node = json!({"privileged": true, "runAsUser": 0, "readOnlyRootFilesystem": true});
        if *security != if is_node(workload) { node } else { confined } {
            complaints.push(format!("{name} may more than it needs: {security}"));
        }
        let image = text(&container["image"]);
        if !image.rsplit_once(':').is_some_and(|(path, tag)| !path.is_empty() && !tag.is_empty()) {
            complaints.push(format!("{name} has no image: {image:?}"));
        }
        if container["resources"]["requests"].is_null() || container["resources"]["limits"].is_null() {
            complaints.push(format!("{name} takes what it likes of the machine"));
        }
        let has_token = list(&container["volumeMounts"]).iter().any(|mount| mount["name"] == "api-access");
        if has_token == is_node(workload) {
            complaints.push(format!("{name}: the API is for controllers, not for nodes"));
        }
        let is_driver = name == "azuredisk";
        if is_driver && (container["livenessProbe"].is_null() || container["readinessProbe"].is_null()) {
            complaints.push(format!("{name} is never asked whether it lives"));
        }
        if !is_driver && !list(&container["args"]).contains(&json!("--leader-election")) {
            complaints.push(format!("{name}: two of it would work at once"));
        }
    }
    complaints
}

/// A volume that nobody mounts is a right that nobody uses; a mount without its volume is refused by the API.
fn volumes(pod: &Value) -> Vec<String> {
    let declared: Vec<&Value> = list(&pod["volumes"]).iter().map(|volume| &volume["name"]).collect();
    let containers = list(&pod["containers"]).iter();
    let mounted: Vec<&Value> = containers
        .flat_map(|container| list(&container["volumeMounts"]))
        .map(|mount| &mount["name"])
        .collect();
    let idle =
        declared.iter().filter(|name| !mounted.contains(name)).map(|name| format!("{name} is never mounted"));
    let absent = mounted
        .iter()
        .filter(|name| !declared.contains(name))
        .map(|name| format!("there is no volume {name}"));
    idle.chain(absent).collect()
}
