//! The machines of the cluster, as a test breaks them: components that are killed, held and let go again, and the driver's
//! containers, wherever Kubernetes runs them.

use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::containers;
use super::wait::{holds, until};
use super::world::World;
use crate::cluster::Cluster;
use crate::{Failure, processes};

/// How long a component that ended may take to be started again.
const AGAIN: Duration = Duration::from_mins(2);

/// The role of one of the driver's pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It speaks with Azure.
    Controller,
    /// It mounts.
    Node,
}

/// While this value lives, a component that ended is not started again.
pub struct Hold<'a> {
    cluster: &'a Cluster,
    component: &'a str,
}

impl<'a> Hold<'a> {
    /// Holds a component; it goes on running until it ends.
    pub fn of(cluster: &'a Cluster, component: &'a str) -> Result<Hold<'a>, Failure> {
        cluster.hold(component)?;
        Ok(Hold { cluster, component })
    }
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        // Where it can't be let go, the next step says what it waits for.
        _ = self.cluster.release(self.component);
    }
}

/// The component that is the kubelet of a node.
pub fn kubelet(node: &str) -> String {
    format!("kubelet@{node}")
}

/// The first process of a component.
pub fn pid(component: &str) -> Result<i32, Failure> {
    let all = processes::all()?;
    let first = processes::of_component(&all, component);
    Ok(first.first().ok_or_else(|| format!("{component} does not run"))?.pid)
}

/// A container of the driver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// Its pod, in kube-system.
    pub pod: String,
    /// The id that the runtime gave it.
    pub id: String,
}

impl World {
    /// The containers with the driver's program in pods of a role; of one node where one is named.
    pub async fn drivers(&self, role: Role, node: Option<&str>) -> Result<Vec<Container>, Failure> {
        let pods = self.kubernetes.list("/api/v1/namespaces/kube-system/pods").await?;
        let is_there = |pod: &&Value| node.is_none_or(|node| pod["spec"]["nodeName"] == node);
        Ok(pods.iter().filter(is_there).filter_map(|pod| driver(pod, role)).collect())
    }

    /// Kills a component and waits until it runs again.
    pub async fn restart(&self, component: &str) -> Result<(), Failure> {
        self.cluster.kill_component(component).await?;
        until(&format!("{component} runs again"), AGAIN, async || pid(component).map(drop)).await
    }

    /// Kills the driver's process in each container; it is an error if there is none.
    pub fn kill_drivers(&self, containers: &[Container]) -> Result<(), Failure> {
        holds(!containers.is_empty(), || "no driver runs".to_owned())?;
        for container in containers {
            let pid = containers::first_of(&container.id)?;
            kill(Pid::from_raw(pid), Signal::SIGKILL).map_err(|error| format!("kill -9 {pid}: {error}"))?;
        }
        Ok(())
    }

    /// Waits until as many drivers run as before, none of them in one of these containers.
    pub async fn drivers_again(
        &self,
        role: Role,
        node: Option<&str>,
        before: &[Container],
    ) -> Result<(), Failure> {
        until("the driver runs again", AGAIN, async || {
            let now = self.drivers(role, node).await?;
            let is_new = now.len() >= before.len() && now.iter().all(|container| !before.contains(container));
            holds(is_new, || format!("{now:?}"))
        })
        .await
    }

    /// Replaces the driver's pods, so that the next kill meets no pause that Kubernetes makes between restarts.
    pub async fn renew_drivers(&self, role: Role, node: Option<&str>) -> Result<(), Failure> {
        let before = self.drivers(role, node).await?;
        let pods: Vec<_> = before.iter().map(|container| format!("pod/{}", container.pod)).collect();
        let pods: Vec<_> = pods.iter().map(String::as_str).collect();
        self.kubernetes.delete("kube-system", &pods).await?;
        self.drivers_again(role, node, &before).await
    }
}

/// The running container of a pod whose arguments give the driver this role.
fn driver(pod: &Value, role: Role) -> Option<Container> {
    let mode = match role {
        Role::Controller => "--mode=controller",
        Role::Node => "--mode=node",
    };
    let containers = pod["spec"]["containers"].as_array()?;
    let has_role = |container: &&Value| {
        container["args"]
            .as_array()
            .is_some_and(|arguments| arguments.iter().any(|argument| argument == mode))
    };
    let name = &containers.iter().find(has_role)?["name"];
    let statuses = pod["status"]["containerStatuses"].as_array()?;
    let status = statuses.iter().find(|status| status["name"] == *name)?;
    status["state"]["running"].as_object()?;
    let id = status["containerID"].as_str()?.rsplit('/').next()?;
    Some(Container { pod: pod["metadata"]["name"].as_str()?.to_owned(), id: id.to_owned() })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(state: &Value, role: Role, expected: Option<&str>) {
        let pod = json!({
            "metadata": { "name": "controller-0" },
            "spec": { "containers": [
                { "name": "sidecar" },
                { "name": "azuredisk", "args": ["--mode=controller"] },
            ] },
            "status": { "containerStatuses": [
                { "name": "azuredisk", "containerID": "containerd://abc", "state": state },
                { "name": "sidecar", "containerID": "containerd://def", "state": { "running": {} } },
            ] },
        });
        assert_eq!(driver(&pod, role).map(|container| container.id).as_deref(), expected);
    }

    #[test]
    fn the_driver_is_found_among_its_sidecars() {
        check(&json!({ "running": {} }), Role::Controller, Some("abc"));
        check(&json!({ "running": {} }), Role::Node, None);
        check(&json!({ "waiting": {} }), Role::Controller, None);
    }
}
