//! A world: an Azure with a few VMs, one or two controllers, callers, and perhaps a second writer.
//!
//! All of it runs on one thread and on a paused clock; whatever is drawn follows from the seed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use azure::FirstWay;
use azure_emulator::{Act, Emulator, Habits, Latency, Options, Races, SecondWriter, Throttling};
use bytes::Bytes;
use fastrand::Rng;
use http::{Request, Response};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::asking::ask;
use crate::callers::{Manners, Volume};
use crate::invariants::Breach;
use crate::judge::{CallNo, Judge};
use crate::ledger::Verb;
use crate::names::{Names, VmName, VmNo, VolumeNo};
use crate::process::Process;
use crate::rules::{Rules, Trouble};
use crate::{Mistake, Script};

/// How many volumes there are at a time.
const VOLUMES: u16 = 5;
/// Between the last call of a sidecar that could not renew its lease and the first of the one that has it next: by the
/// chart the lease lasts 20 s, and a sidecar gives up 10 s after it renewed it last.
const LEASE: Duration = Duration::from_secs(10);

/// See the module.
pub(crate) struct World {
    pub(crate) azure: Emulator,
    pub(crate) names: Arc<Names>,
    pub(crate) judge: Judge,
    pub(crate) rules: Rules,
    pub(crate) manners: Manners,
    pub(crate) volumes: Vec<Volume>,
    processes: Vec<Process>,
    /// Whom callers ask.
    leader: usize,
    first_way: FirstWay,
    calls: BTreeMap<CallNo, JoinHandle<()>>,
    next_volume: VolumeNo,
    seed: u64,
    starts: u64,
    foreign: Foreign,
}

/// The second writer.
enum Foreign {
    None,
    Idle(Box<SecondWriter>),
    Acting(JoinHandle<(Box<SecondWriter>, Act)>),
}

impl World {
    /// The world of `script`; its trace is kept if somebody will read it.
    pub(crate) async fn new(script: &Script, is_kept: bool) -> Result<World, Mistake> {
        let (seed, mut rules) = (script.seed, script.rules.clone());
        let rng = &mut Rng::with_seed(seed);
        // An update that went well and did nothing, and a read from before it: two lies that agree are the truth to
        // whoever can only ask.
        rules.without.push(if rng.bool() { Trouble::StaleReads } else { Trouble::EmptyEnds });
        let races = if rng.bool() { Races::azure() } else { Races::default() };
        let throttling = match rng.u8(0..5) {
            0 if rules.allow(Trouble::Throttling) => Throttling::Real { speed: 4 },
            _ => Throttling::Off,
        };
        let azure = Emulator::new(Options { strict: true, races, throttling, seed, ..Options::default() })?;
        let mut names = Names::default();
        let alone = [("node-a", "Standard_B1s"), ("node-b", "Standard_D2s_v5")];
        for (name, size) in &alone[..rng.usize(1..3)] {
            let id = azure.add_vm(name, size, "")?;
            names.vms.push(VmName { id, node_id: (*name).to_owned() });
        }
        if rng.bool() {
            for id in azure.add_scale_set("pool", "pool", "Standard_B1s", &[], rng.u64(1..3))? {
                names.vms.push(VmName { node_id: computer(&azure, &id), id });
            }
        }
        if rng.u8(0..3) == 0 {
            for id in azure.add_flexible_scale_set("flex", "flex", "Standard_B1s", &[], 1)? {
                // By its ARM id: the name of its computer is for whoever follows Kubernetes.
                names.vms.push(VmName { node_id: id.clone(), id });
            }
        }
        let foreign = if rng.bool() && rules.allow(Trouble::SecondWriter) {
            Foreign::Idle(Box::new(azure.second_writer(seed, habits(rng, &rules)).await?))
        } else {
            Foreign::None
        };
        let names = Arc::new(names);
        let judge = Judge::new(azure.clone(), Arc::clone(&names), is_kept);
        let manners = Manners {
            vms: VmNo::try_from(names.vms.len())?,
            asks_twice: rules.allow(Trouble::AskingTwice) && rng.u8(0..4) == 0,
            is_rude: rules.allow(Trouble::RudeDeletions) && rng.u8(0..3) == 0,
            changes_mind: rules.allow(Trouble::ChangesOfMind) && rng.u8(0..3) == 0,
        };
        for (number, vm) in names.vms.iter().enumerate() {
            judge.note(format_args!("vm{number} is {}", vm.id));
        }
        let first_way = if rng.u8(0..3) == 0 { FirstWay::FullList } else { FirstWay::Delta };
        let mut world = World {
            azure,
            names,
            judge,
            rules,
            manners,
            volumes: Vec::new(),
            processes: Vec::new(),
            leader: 0,
            first_way,
            calls: BTreeMap::new(),
            next_volume: 0,
            seed,
            starts: 0,
            foreign,
        };
        world.start(0);
        (0..VOLUMES).for_each(|_| world.add_volume(rng));
        world.set_latency(rng);
        Ok(world)
    }

    /// One more volume is wanted.
    pub(crate) fn add_volume(&mut self, rng: &mut Rng) {
        let shares = if rng.u8(0..4) == 0 { 2 } else { 1 };
        self.judge.expect(self.next_volume, shares);
        self.volumes.push(Volume::new(self.next_volume, shares));
        self.next_volume += 1;
    }

    /// Starts controller `number`, in the place of the one that was there.
    fn start(&mut self, number: usize) {
        let seed = self.seed.wrapping_mul(31).wrapping_add(self.starts);
        self.starts += 1;
        let process = Process::start(self.azure.clone(), self.judge.clone(), number, seed, self.first_way);
        match self.processes.get_mut(number) {
            Some(place) => *place = process,
            None => self.processes.push(process),
        }
    }

    /// A caller asks, and has so much patience.
    pub(crate) fn ask(&mut self, volume: VolumeNo, verb: Verb, patience: Duration) {
        let shares = self.volumes.iter().find(|one| one.number == volume).map_or(1, |one| one.shares);
        let number = self.judge.began(volume, verb, self.leader, patience);
        let controller = self.processes[self.leader].controller.clone();
        let (judge, names) = (self.judge.clone(), Arc::clone(&self.names));
        let call = tokio::spawn(async move {
            let answer = ask(&controller, &names, volume, shares, verb, patience).await;
            judge.answered(number, answer);
        });
        self.calls.insert(number, call);
    }

    /// Takes in the answers. On the way to nothing, what is refused for good reason is given up.
    pub(crate) fn learn(&mut self, is_going_down: bool) {
        for (call, answer) in self.judge.take_answers() {
            let Some(volume) = self.volumes.iter_mut().find(|one| one.number == call.volume) else {
                continue;
            };
            if is_going_down {
                volume.learn_down(&call, &answer);
            } else {
                volume.learn(&call, &answer);
            }
        }
        self.calls.retain(|_, call| !call.is_finished());
    }

    fn hang_up(&mut self, is_meant: impl Fn(CallNo, usize) -> bool) {
        for (number, call) in self.judge.hang_up(|number, call| is_meant(number, call.process)) {
            if let Some(task) = self.calls.remove(&number) {
                task.abort();
            }
            if let Some(volume) = self.volumes.iter_mut().find(|one| one.number == call.volume) {
                volume.set_asking(call.verb, false);
            }
        }
    }

    /// The caller of one call hangs up.
    pub(crate) fn hang_up_one(&mut self, rng: &mut Rng) {
        let all = self.judge.under_way();
        if let Some(one) = all.get(rng.usize(0..all.len().max(1))).copied() {
            self.hang_up(|number, _| number == one);
        }
    }

    /// SIGKILL for one controller, and a new one in its place.
    pub(crate) fn restart(&mut self, rng: &mut Rng) {
        let number = rng.usize(0..self.processes.len());
        self.judge.note(format_args!("c{number} is killed and started again"));
        self.processes[number].kill();
        self.hang_up(|_, process| process == number);
        self.start(number);
    }

    /// A second controller starts; or callers go to the other one, while the one that they leave works on. They are
    /// silent for as long as a sidecar that lost its lease is before another has it.
    pub(crate) async fn swap(&mut self) {
        if self.processes.len() < 2 {
            self.start(1);
        }
        self.leader = 1 - self.leader;
        let leader = self.leader;
        self.judge.note(format_args!("callers go to c{leader}"));
        self.hang_up(|_, process| process != leader);
        sleep(LEASE).await;
    }

    /// The second writer does something, unless it does so already.
    pub(crate) async fn let_foreign_act(&mut self) {
        self.meet_foreign().await;
        if let Foreign::Idle(_) = &self.foreign
            && let Foreign::Idle(mut writer) = std::mem::replace(&mut self.foreign, Foreign::None)
        {
            self.foreign = Foreign::Acting(tokio::spawn(async move {
                let act = writer.act().await;
                (writer, act)
            }));
        }
    }

    /// Asks the second writer, if it is done, what surprised it. Whether it is idle.
    pub(crate) async fn meet_foreign(&mut self) -> bool {
        if let Foreign::Acting(task) = &mut self.foreign {
            if !task.is_finished() {
                return false;
            }
            let Ok((writer, act)) = task.await else { return true };
            self.judge.note(format_args!("second writer: {} on {}, done: {}", act.what, act.vm, act.is_done));
            if let Some(first) = writer.surprises().first() {
                let found = first.clone();
                self.judge.found(Some(Breach { invariant: "the_second_writer_is_not_surprised", found }));
            }
            self.foreign = Foreign::Idle(writer);
        }
        true
    }

    /// From now on things take as long as is drawn here.
    pub(crate) fn set_latency(&mut self, rng: &mut Rng) {
        let latency = match rng.u8(0..4) {
            0 => Latency::default(),
            1 => Latency::realistic(rng.u64(..)),
            kind => Latency {
                accept: Duration::from_millis(rng.u64(0..300)),
                // Each 0.3 s of it is a poll, and polls are most of what a life costs.
                operation: Duration::from_millis(rng.u64(0..if kind == 2 { 12_000 } else { 1_500 })),
                disk: Some(Duration::from_millis(rng.u64(0..1_000))),
                ..Latency::default()
            },
        };
        self.azure.set_latency(latency);
    }

    /// Its owner switches a VM off or on, or deletes it: an ARM request of somebody else.
    pub(crate) async fn own(&mut self, vm: VmNo, method: &str, action: &str) {
        let Some(name) = self.names.vms.get(usize::from(vm)) else { return };
        self.judge.note(format_args!("the owner of vm{vm}: {method} {action}"));
        let uri = format!("http://azure{}{action}?api-version=2025-04-01", name.id);
        let request = Request::builder().method(method).uri(uri).header("authorization", "Bearer owner");
        let Ok(request) = request.body(Bytes::new()) else { return };
        let answer: Response<Bytes> = self.azure.handle(request).await;
        self.judge.note(format_args!("  {}", answer.status()));
    }
}

/// Careful, and never in the way of its own: what it overwrites by carelessness is not our doing.
fn habits(rng: &mut Rng, rules: &Rules) -> Habits {
    Habits {
        disks: 2,
        pause: Duration::from_secs(3),
        think: Duration::from_secs(2),
        careful: 100,
        switches: rng.bool() && rules.allow(Trouble::Power),
        resizes: rng.bool(),
        ..Habits::default()
    }
}

/// What the computer of a scale set's VM calls itself.
fn computer(azure: &Emulator, vm: &str) -> String {
    let shown = azure.vm(vm).unwrap_or_default();
    shown["properties"]["osProfile"]["computerName"].as_str().unwrap_or_default().to_owned()
}
