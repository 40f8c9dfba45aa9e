//! What breaks in a cluster, one thing after the other, while a pod writes to a volume. After each: the pods run again,
//! nothing that was told as synced is lost, no disk was ever on two VMs, and nothing is left.

mod api_server;
mod controller;
mod kubelet;
mod node_pod;
mod scene;
mod vm;

use self::scene::Scene;
use super::Options;
use super::report::Report;
use super::world::World;
use crate::Failure;

/// One thing that breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Break {
    KubeletKilled,
    NodePodKilled,
    ControllerKilled,
    VmStopped,
    VmDeleted,
    VmReplaced,
    VmGivenUp,
    ApiServerDown,
}

impl Break {
    const ALL: [Break; 8] = [
        Break::KubeletKilled,
        Break::NodePodKilled,
        Break::ControllerKilled,
        Break::VmStopped,
        Break::VmDeleted,
        Break::VmReplaced,
        Break::VmGivenUp,
        Break::ApiServerDown,
    ];

    /// The name of the test and of its namespace.
    fn name(self) -> &'static str {
        match self {
            Break::KubeletKilled => "kubelet-killed",
            Break::NodePodKilled => "node-pod-killed",
            Break::ControllerKilled => "controller-killed",
            Break::VmStopped => "vm-stopped",
            Break::VmDeleted => "vm-deleted",
            Break::VmReplaced => "vm-replaced",
            Break::VmGivenUp => "vm-given-up",
            Break::ApiServerDown => "api-server-down",
        }
    }

    /// Whether `options` want it. What waits for Kubernetes' own six minutes is only done when asked for.
    fn is_wanted(self, options: &Options) -> bool {
        let is_asked = options.only.as_deref() == Some(self.name());
        is_asked || (self != Break::VmGivenUp && options.wants(self.name()))
    }

    /// The nodes, that of the writer first: where a machine goes, it is the last one.
    fn order(self, [first, last]: [&str; 2]) -> [&str; 2] {
        if self.name().starts_with("vm-") { [last, first] } else { [first, last] }
    }

    async fn happen(self, scene: &Scene<'_>, report: &mut Report) -> Result<(), Failure> {
        match self {
            Break::KubeletKilled => kubelet::killed(scene, report).await,
            Break::NodePodKilled => node_pod::killed(scene, report).await,
            Break::ControllerKilled => controller::killed(scene, report).await,
            Break::VmStopped => vm::stopped(scene, report).await,
            Break::VmDeleted => vm::deleted(scene, report).await,
            Break::VmReplaced => vm::replaced(scene, report).await,
            Break::VmGivenUp => vm::given_up(scene, report).await,
            Break::ApiServerDown => api_server::down(scene, report).await,
        }
    }
}

/// Breaks everything that `options` want, on two nodes. What one break left does not keep the next from its turn; the
/// report knows what failed.
pub async fn run(
    world: &World,
    nodes: [&str; 2],
    options: &Options,
    report: &mut Report,
) -> Result<(), Failure> {
    for what in Break::ALL.into_iter().filter(|what| what.is_wanted(options)) {
        report.begin(what.name());
        let scene = Scene::open(world, what.name(), what.order(nodes));
        let Ok(scene) = report.step("a pod writes to a volume and tells what is synced", scene).await else {
            continue;
        };
        let broken = what.happen(&scene, report).await;
        // The report has it already; what was told must be there all the same.
        if broken.is_err() {
            report.note("the break ended badly; what was written is judged all the same");
        }
        _ = scene.close(report).await;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_many_minutes_is_done_only_when_asked_for() {
        for (only, count) in [(None, 7), (Some("vm-"), 3), (Some("vm-given-up"), 1), (Some("nothing"), 0)] {
            let only_it = only.map(str::to_owned);
            let options = Options { parts: Vec::new(), rounds: 1, only: only_it, audits: Vec::new() };
            let wanted = Break::ALL.into_iter().filter(|what| what.is_wanted(&options)).count();
            assert_eq!(wanted, count, "{only:?}");
        }
    }

    #[test]
    fn every_break_is_a_namespace_of_its_own() {
        let names: std::collections::BTreeSet<_> = Break::ALL.iter().map(|what| what.name()).collect();
        assert_eq!(names.len(), Break::ALL.len());
        let is_label = |name: &&str| name.chars().all(|c| c.is_ascii_lowercase() || c == '-');
        assert!(names.iter().all(is_label), "{names:?}");
    }
}
