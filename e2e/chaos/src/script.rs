//! The script: what happens at each step, drawn from the seed; and the end of it, where everything comes to rest.

use std::time::Duration;

use azure_emulator::Latency;
use fastrand::Rng;
use tokio::time::{Instant, sleep};

use crate::Script;
use crate::callers::Volume;
use crate::faults;
use crate::invariants;
use crate::judge::millis;
use crate::names::VmNo;
use crate::rules::Trouble;
use crate::world::World;

/// How long it may take until everything is at rest, in milliseconds of the worlds' time: the longest operation that
/// the script can draw, and some patience of each caller.
const REST: u64 = 45 * 60_000;
/// Between the generators of two seeds: odd, and far from any number of steps.
const STRIDE: u64 = 0x9E37_79B9_7F4A_7C15;
/// How patient a caller is while the world comes to rest.
const PATIENCE: Duration = Duration::from_mins(1);

/// Plays all steps and comes to rest. How many steps were played: all, unless something broke.
pub(crate) async fn play(world: &mut World, script: &Script) -> usize {
    for step in 0..script.steps {
        // What a step draws does not depend on the others, so that each of them can be left out.
        let number = u64::try_from(step).unwrap_or(u64::MAX);
        let rng = &mut Rng::with_seed(script.seed.wrapping_mul(STRIDE).wrapping_add(number));
        let pause = pause(rng);
        world.learn(false);
        if !script.omitted.contains(&step) {
            act(world, rng).await;
        }
        sleep(pause).await;
        world.judge.look();
        if world.judge.breach().is_some() {
            return step;
        }
    }
    rest(world).await;
    script.steps
}

/// One step.
async fn act(world: &mut World, rng: &mut Rng) {
    match rng.u8(0..100) {
        0..=59 => call(world, rng),
        60..=75 => {
            let Some((name, fault)) = faults::draw(rng, &world.rules) else { return };
            world.judge.note(format_args!("fault: {fault:?}"));
            world.judge.count(name);
            world.azure.script(fault);
        }
        76..=79 if world.rules.allow(Trouble::HangUps) => world.hang_up_one(rng),
        80..=81 if world.rules.allow(Trouble::Kills) => {
            world.judge.count("restart");
            world.restart(rng);
        }
        82..=83 if world.rules.allow(Trouble::SecondController) => {
            world.judge.count("swap");
            world.swap().await;
        }
        84..=90 => {
            world.judge.count("foreign act");
            world.let_foreign_act().await;
        }
        91..=92 if world.rules.allow(Trouble::Power) => {
            world.judge.count("power");
            let actions = ["/powerOff", "/deallocate", "/start", "/start", "/restart"];
            world.own(rng.u8(0..world.manners.vms), "POST", actions[rng.usize(0..actions.len())]).await;
        }
        93..=96 => world.set_latency(rng),
        97 if world.rules.allow(Trouble::VmDeletions) && rng.u8(0..4) == 0 => delete_vm(world, rng).await,
        _ => sleep(Duration::from_millis(rng.u64(0..120_000))).await,
    }
}

/// Some caller goes on.
fn call(world: &mut World, rng: &mut Rng) {
    let index = rng.usize(0..world.volumes.len());
    if world.volumes[index].is_over() {
        world.volumes.remove(index);
        world.add_volume(rng);
        return;
    }
    let manners = world.manners;
    let volume = &mut world.volumes[index];
    let number = volume.number;
    if let Some(verb) = volume.next(rng, manners) {
        world.ask(number, verb, patience(rng));
    }
}

/// One VM stays, or there is nothing to see any more.
async fn delete_vm(world: &mut World, rng: &mut Rng) {
    let vms: Vec<VmNo> = world.judge.facts().vms.into_iter().collect();
    if vms.len() < 2 {
        return;
    }
    world.judge.count("VM deleted");
    let vm = vms[rng.usize(0..vms.len())];
    if rng.bool() {
        return world.own(vm, "DELETE", "").await;
    }
    world.judge.note(format_args!("vm{vm} is gone"));
    let id = world.names.vms[usize::from(vm)].id.clone();
    world.azure.delete_vm(&id);
}

/// How patient a caller is.
fn patience(rng: &mut Rng) -> Duration {
    Duration::from_millis(match rng.u8(0..10) {
        0 => rng.u64(50..3_000),
        1..=7 => 15_000,
        _ => 60_000,
    })
}

/// The time between two steps.
fn pause(rng: &mut Rng) -> Duration {
    Duration::from_millis(match rng.u8(0..10) {
        0..=4 => rng.u64(0..20),
        5..=6 => rng.u64(0..500),
        7..=8 => rng.u64(0..5_000),
        _ => rng.u64(0..30_000),
    })
}

/// Nothing is in the way any more, and everybody asks until all is done and taken down.
async fn rest(world: &mut World) {
    world.judge.note(format_args!("from here on nothing is in the way"));
    world.azure.clear_faults();
    world.azure.set_latency(Latency::fixed(Duration::from_millis(250)));
    let begun = Instant::now();
    loop {
        world.learn(true);
        let is_idle = world.meet_foreign().await;
        for index in 0..world.volumes.len() {
            let volume = &mut world.volumes[index];
            let number = volume.number;
            if let Some(verb) = volume.next_down() {
                world.ask(number, verb, PATIENCE);
            }
        }
        world.judge.look();
        let is_over = is_idle && world.volumes.iter().all(Volume::is_over);
        if !is_over {
            let left = || left(&world.volumes);
            world.judge.found(invariants::rest_is_reached(millis(begun.elapsed()), REST, left));
        }
        if world.judge.breach().is_some() {
            return;
        }
        if is_over {
            // What still runs in Azure may not bring anything back.
            sleep(Duration::from_mins(10)).await;
            world.judge.look();
            world.judge.found(invariants::nothing_leaks(&world.judge.facts()));
            return;
        }
        sleep(Duration::from_millis(500)).await;
    }
}

/// The volumes that are not at their end, in words.
fn left(volumes: &[Volume]) -> String {
    let left = volumes.iter().filter(|one| !one.is_over()).map(|one| format!("{one:?}"));
    left.collect::<Vec<String>>().join(", ")
}
