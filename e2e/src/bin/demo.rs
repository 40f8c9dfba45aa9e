//! The demo: a disk's whole life on a local Azure, with four programs and real block devices, step by step.
//! It ends with an error if any checksum, size or count differs from what a user would expect.

#![expect(clippy::print_stdout, reason = "a demo talks to a person")]

use std::process::ExitCode;

use csi::v1;
use e2e::story::{self, Growth};
use e2e::volume::{self, GIB};
use e2e::world::{Left, Options, World};
use e2e::{Failure, traces};
use tokio::time::Instant;

/// Bytes of the file that travels through the demo.
const FILE: usize = 32 << 20;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("The demo makes loop devices, file systems and mounts: please run it as root.");
        return ExitCode::FAILURE;
    }
    match demo().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("The demo failed: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// Prints what happens, with the time since the start and the time of the step.
struct Narrator {
    start: Instant,
    step: Instant,
}

impl Narrator {
    fn done(&mut self, what: &str) {
        let now = Instant::now();
        let (since, took) = (now - self.start, now - self.step);
        println!("{:7.2} s  {what}  ({:.0} ms)", since.as_secs_f64(), took.as_secs_f64() * 1000.0);
        self.step = now;
    }

    fn note(text: &str) {
        println!("           {text}");
    }
}

fn same(what: &str, first: &str, second: &str) -> Result<(), Failure> {
    if first == second { Ok(()) } else { Err(format!("{what}: {second} instead of {first}").into()) }
}

async fn demo() -> Result<(), Failure> {
    println!("A disk's whole life on a local Azure, with real block devices\n");
    let mut tell = Narrator { start: Instant::now(), step: Instant::now() };
    Narrator::note("starting the emulated Azure, one controller and two nodes ...");
    let mut world = World::start(Options::default()).await?;
    tell.done("4 programs run: azure-emulator, controller, node-a, node-b");

    let mount = volume::mounted("ext4");
    let disk = story::create(&mut world, volume::create("demo-data", 8, &mount, None)).await?;
    tell.done("created an 8 GiB Premium_LRS disk");
    Narrator::note(&disk.volume_id);

    let context = story::attach(&mut world, &disk, 0, &mount).await?;
    tell.done(&format!("attached it to node-a at LUN {}", context.get("LUN").map_or("?", String::as_str)));
    let on_a = story::place(&world, "demo-data", 0, context)?;
    story::stage(&mut world, &disk, &on_a, &mount).await?;
    tell.done("found the device, proved it blank, formatted it with ext4, mounted it");
    story::publish(&mut world, &disk, &on_a, &mount).await?;
    tell.done("bind-mounted it where a pod would look");

    let file = on_a.target.join("hello.bin");
    story::write_noise(&file, FILE, 1)?;
    let first = story::checksum(&file, None)?;
    tell.done("wrote a file of 32 MiB");
    Narrator::note(&format!("sha256 {first}"));

    let snapshot = story::snapshot(&mut world, "demo-snapshot", &disk.volume_id).await?;
    tell.done("took an incremental snapshot");

    expand(&mut world, &mut tell, &disk, &on_a, &mount).await?;

    story::take_away(&mut world, &disk.volume_id, &on_a).await?;
    tell.done("unmounted it and detached it from node-a");

    let on_b = story::bring(&mut world, "demo-data", &disk, 1, &mount).await?;
    let second = story::checksum(&on_b.target.join("hello.bin"), None)?;
    same("the checksum on node-b", &first, &second)?;
    let bytes = story::file_system_bytes(&on_b.target)?;
    if bytes < 11 << 30 {
        return Err(format!("the file system on node-b has {bytes} bytes, not 12 GiB").into());
    }
    tell.done("attached it to node-b and mounted it: the same file, and the file system fills 12 GiB");
    Narrator::note(&format!("sha256 {second}"));

    restore(&mut world, &mut tell, &snapshot, &mount, &first).await?;
    raw_block(&mut world, &mut tell).await?;

    story::take_away(&mut world, &disk.volume_id, &on_b).await?;
    story::delete(&mut world, &disk.volume_id).await?;
    story::delete_snapshot(&mut world, &snapshot.snapshot_id).await?;
    world.nothing_left().await?;
    tell.done("deleted everything");

    let folder = world.folder().to_owned();
    let left = world.stop().await?;
    tell.done("stopped the programs");
    println!("\n{} disks, {} loop devices, {} mounts left", left.disks, left.loops, left.mounts);
    if left != (Left { disks: 0, loops: 0, mounts: 0 }) {
        return Err(
            format!("something is left in {}: {:?}", folder.display(), traces::mounts(&folder)?).into()
        );
    }
    Ok(())
}

async fn expand(
    world: &mut World,
    tell: &mut Narrator,
    disk: &v1::Volume,
    on_a: &story::Placed,
    mount: &v1::VolumeCapability,
) -> Result<(), Failure> {
    let bytes = story::expand(world, &disk.volume_id, 12, mount).await?;
    if bytes != 12 * GIB {
        return Err(format!("ControllerExpandVolume answered {bytes} bytes, not 12 GiB").into());
    }
    tell.done("expanded the disk to 12 GiB while it is in use");
    match story::grow(world, &disk.volume_id, 12, on_a).await? {
        Growth::Online => tell.done("grew the mounted file system"),
        Growth::AtNextStage(reason) => {
            tell.done("this machine's kernel refuses to grow a mounted ext4; the next stage will");
            Narrator::note(&reason);
        }
    }
    Ok(())
}

async fn restore(
    world: &mut World,
    tell: &mut Narrator,
    snapshot: &v1::Snapshot,
    mount: &v1::VolumeCapability,
    first: &str,
) -> Result<(), Failure> {
    let source = Some(volume::from_snapshot(&snapshot.snapshot_id));
    let disk = story::create(world, volume::create("demo-restored", 8, mount, source)).await?;
    let placed = story::bring(world, "demo-restored", &disk, 0, mount).await?;
    let third = story::checksum(&placed.target.join("hello.bin"), None)?;
    same("the checksum of the restored snapshot", first, &third)?;
    tell.done("restored the snapshot as a new disk on node-a: the same file");
    Narrator::note(&format!("sha256 {third}"));
    story::take_away(world, &disk.volume_id, &placed).await?;
    story::delete(world, &disk.volume_id).await
}

async fn raw_block(world: &mut World, tell: &mut Narrator) -> Result<(), Failure> {
    let block = volume::block();
    let disk = story::create(world, volume::create("demo-block", 4, &block, None)).await?;
    let placed = story::bring(world, "demo-block", &disk, 0, &block).await?;
    story::write_noise(&placed.target, FILE, 2)?;
    let written = story::checksum(&placed.target, Some(FILE as u64))?;
    story::unpublish(world, &disk.volume_id, &placed).await?;
    story::publish(world, &disk, &placed, &block).await?;
    same("the raw block volume", &written, &story::checksum(&placed.target, Some(FILE as u64))?)?;
    tell.done("made a raw block volume of 4 GiB, wrote to it, read it back after a new publish");
    story::take_away(world, &disk.volume_id, &placed).await?;
    story::delete(world, &disk.volume_id).await
}
