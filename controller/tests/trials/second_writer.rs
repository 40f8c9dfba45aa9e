//! Another program writes the same VMs, with lists of all their disks, and VMs go and come back: nobody's disk is lost,
//! nobody's comes back, and no VM does unless it is made anew.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::Duration;

use azure::FirstWay;
use azure_emulator::{Emulator, Habits, Latency};
use fastrand::Rng;
use futures::future::join_all;
use http::Method;
use serde_json::{Map, Value};
use tokio::time::sleep;

use crate::world::{Exchange, World, azure, count, until_ok};

const NODES: [&str; 2] = ["node-a", "node-b"];
const VOLUMES: usize = 6;
/// After so many rounds a VM goes; it stays away for [`AWAY`] of them.
const LIFE: usize = 25;
const AWAY: usize = 4;

/// Where a volume is, after what its caller was told.
#[derive(Clone, Debug, PartialEq)]
enum Told {
    Free,
    /// On this node, at this LUN.
    On(&'static str, String),
    /// A call about it is not answered, or its VM went: it may be on this node.
    Open(&'static str),
}

/// What both sides know.
struct Scene {
    world: World,
    told: RefCell<BTreeMap<String, Told>>,
    /// How many VMs of each name have gone so far.
    gone: RefCell<BTreeMap<&'static str, usize>>,
    /// The name of which there is no VM now.
    away: Cell<Option<&'static str>>,
    is_over: Cell<bool>,
}

/// Volumes that are not where their callers were told that they are.
fn misplaced(attached: &Map<String, Value>, told: &BTreeMap<String, Told>) -> Vec<String> {
    let places = |volume: &str| -> Vec<(String, String)> {
        let luns = attached.iter().flat_map(|(vm, luns)| {
            let node = vm.rsplit('/').next().unwrap();
            luns.as_object().unwrap().iter().map(move |(lun, disk)| (node, lun, disk))
        });
        let own = luns.filter(|(_, _, disk)| disk.as_str().unwrap().eq_ignore_ascii_case(volume));
        own.map(|(node, lun, _)| (node.to_owned(), lun.clone())).collect()
    };
    let is_wrong = |volume: &str, told: &Told| match told {
        Told::Free => !places(volume).is_empty(),
        Told::On(node, lun) => places(volume) != [((*node).to_owned(), lun.clone())],
        Told::Open(_) => places(volume).len() > 1,
    };
    let wrong = told.iter().filter(|(volume, told)| is_wrong(volume, told));
    wrong.map(|(volume, told)| format!("{volume} is on {:?}, told {told:?}", places(volume))).collect()
}

/// VMs that are there again though nobody made them.
fn resurrected(azure: &Emulator, away: Option<&str>) -> Vec<String> {
    away.filter(|node| azure.has_vm(node)).map(str::to_owned).into_iter().collect()
}

/// Lists of disks that would have made a VM, had there been none.
fn unconditional(ledger: &[Exchange]) -> Vec<String> {
    let lists =
        ledger.iter().filter(|one| one.method == Method::PUT && one.path.contains("/virtualMachines/"));
    lists.filter(|one| !one.has_if_match).map(|one| one.path.clone()).collect()
}

impl Scene {
    fn check(&self, when: &str) {
        let azure = &self.world.azure;
        assert_eq!(misplaced(&azure.attached(), &self.told.borrow()), Vec::<String>::new(), "{when}");
        assert_eq!(resurrected(azure, self.away.get()), Vec::<String>::new(), "{when}");
    }

    fn tell(&self, volume: &str, told: Told) {
        self.told.borrow_mut().insert(volume.to_owned(), told);
    }

    fn lives(&self, node: &'static str) -> usize {
        self.gone.borrow().get(node).copied().unwrap_or_default()
    }

    /// The caller of one volume: it is published and unpublished until the trial is over, and is free then.
    async fn caller(&self, volume: &str, mut random: Rng) -> usize {
        let mut calls = 0;
        loop {
            sleep(Duration::from_millis(random.u64(0..8000))).await;
            let told = self.told.borrow()[volume].clone();
            calls += 1;
            match told {
                Told::Free if self.is_over.get() => return calls,
                Told::Free => {
                    let node = NODES[random.usize(0..NODES.len())];
                    let life = self.lives(node);
                    self.tell(volume, Told::Open(node));
                    match self.world.publish(volume, node).await {
                        Ok(lun) if self.lives(node) == life => self.tell(volume, Told::On(node, lun)),
                        _ => continue,
                    }
                }
                Told::On(node, _) | Told::Open(node) => {
                    self.tell(volume, Told::Open(node));
                    until_ok(async || self.world.unpublish(volume, node).await).await;
                    self.tell(volume, Told::Free);
                }
            }
            self.check(&format!("after call {calls} about {volume}"));
        }
    }

    /// The last VM goes, as if its host had been taken away.
    fn take_away(&self, node: &'static str) {
        for told in self.told.borrow_mut().values_mut() {
            if matches!(told, Told::On(on, _) if *on == node) {
                *told = Told::Open(node);
            }
        }
        *self.gone.borrow_mut().entry(node).or_default() += 1;
        self.world.azure.delete_vm(node);
        self.away.set(Some(node));
    }

    fn bring_back(&self, node: &'static str) {
        self.away.set(None);
        self.world.azure.add_vm(node, "Standard_D4s_v5", "").unwrap();
    }
}

async fn run(seed: u64, rounds: usize, first_way: FirstWay) {
    let azure = azure();
    let world = World::on(&azure, first_way, |_, _| ());
    for node in NODES {
        azure.add_vm(node, "Standard_D4s_v5", "").unwrap();
    }
    let pause = Duration::from_secs(4);
    let habits = Habits { careful: 100, pause, ..Habits::default() };
    let mut writer = azure.second_writer(seed, habits).await.unwrap();
    let names = (0..VOLUMES).map(|number| format!("pvc-{number}"));
    let volumes = join_all(names.map(async |name| world.volume(&name).await)).await;
    azure.set_latency(Latency {
        accept: Duration::from_millis(100),
        operation: Duration::from_secs(2),
        ..Latency::default()
    });
    world.reset();
    let scene = Scene {
        world: world.clone(),
        told: RefCell::new(volumes.iter().map(|volume| (volume.clone(), Told::Free)).collect()),
        gone: RefCell::default(),
        away: Cell::new(None),
        is_over: Cell::new(false),
    };
    let foreign = async {
        let mut done = 0;
        for round in 1..=rounds {
            let act = writer.act().await;
            done += usize::from(act.is_done);
            scene.check(&format!("after round {round}: {act:?}"));
            assert!(writer.surprises().is_empty(), "round {round}: {:?}", writer.surprises());
            match round % LIFE {
                0 => scene.take_away("node-b"),
                AWAY if round > LIFE => scene.bring_back("node-b"),
                _ => {}
            }
        }
        if let Some(node) = scene.away.get() {
            scene.bring_back(node);
        }
        scene.is_over.set(true);
        done
    };
    let random = |index: usize| Rng::with_seed(seed ^ ((index as u64 + 1) << 32));
    let callers = volumes.iter().enumerate().map(|(index, volume)| scene.caller(volume, random(index)));
    let (done, calls) = tokio::join!(foreign, join_all(callers));
    let ledger = world.ledger();
    let of = |is: &dyn Fn(&Exchange) -> bool| ledger.iter().filter(|one| is(one)).count();
    println!(
        "{first_way:?}: {rounds} rounds, {done} done; {} calls, {} requests ({} lists, {} refused with 412); refused {:?}",
        calls.iter().sum::<usize>(),
        ledger.len(),
        of(&|one| one.method == Method::PUT),
        of(&|one| one.status == 412),
        world.refusals()
    );
    assert_eq!(unconditional(&ledger), Vec::<String>::new());
    assert!(done * 3 > rounds, "the other writer hardly came to write");
    assert!(calls.iter().sum::<usize>() > rounds, "we hardly did");
}

/// `TRIAL_ROUNDS`: how often the other one acts.
#[tokio::test(start_paused = true)]
async fn beside_another_writer_nothing_is_lost_by_single_changes() {
    run(1, count("TRIAL_ROUNDS", 400), FirstWay::Delta).await;
}

/// `TRIAL_ROUNDS`: how often the other one acts.
#[tokio::test(start_paused = true)]
async fn beside_another_writer_nothing_is_lost_by_whole_lists() {
    run(1, count("TRIAL_ROUNDS", 400), FirstWay::FullList).await;
}
