//! The driver is killed with SIGKILL before and after each ARM request and each child process of every
//! mutating step of a volume's life, started again, and the step repeated: it converges, the data is there,
//! and nothing is left at the end. Real processes, real devices, real mounts.
//!
//! The life is cut into chapters, so that a kill near its end need not live through all of it again. A
//! chapter first runs undisturbed, to count what each of its steps does; then once for every kill.

use e2e::Failure;
use e2e::story::{self, Growth, Placed};
use e2e::tools::Moment;
use e2e::volume;
use e2e::world::{Options, World};

/// Says it past the test runner, which keeps what a passing test prints to itself.
macro_rules! say {
    ($($text:tt)*) => {{
        use std::io::Write as _;
        writeln!(std::io::stderr(), $($text)*)?;
    }};
}

/// Bytes of the file that must survive.
const FILE: usize = 1 << 20;

/// Around what the driver dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Around {
    /// An ARM request of the controller.
    Request,
    /// A tool that a node starts.
    Tool,
}

/// One kill: at the `n`-th thing of one kind in one step of a chapter.
#[derive(Clone, Copy, Debug)]
struct Kill {
    step: usize,
    around: Around,
    n: usize,
    moment: Moment,
}

/// What one step did when nobody disturbed it.
#[derive(Clone, Debug)]
struct Deeds {
    step: &'static str,
    requests: usize,
    tools: Vec<String>,
}

/// Watches the steps of one run of a chapter.
struct Watch {
    kill: Option<Kill>,
    deeds: Vec<Deeds>,
    killed: bool,
}

impl Watch {
    fn new(kill: Option<Kill>) -> Watch {
        Watch { kill, deeds: Vec::new(), killed: false }
    }

    /// Before a step of the driver with number `node`, or of the controller: arms the kill if it is due.
    async fn before(&mut self, world: &World, node: Option<usize>) -> Result<(), Failure> {
        let tools = world.tools.as_ref().ok_or("the tools are not wrapped")?;
        world.azure.reset().await?;
        tools.disarm()?;
        let Some(kill) = self.kill.filter(|kill| kill.step == self.deeds.len()) else { return Ok(()) };
        match kill.around {
            Around::Request => {
                let driver = node.map_or(&world.controller, |node| &world.nodes[node]);
                world.azure.kill_at(driver.pid()?, kill.n, kill.moment).await
            }
            Around::Tool => tools.kill_at(kill.n, kill.moment),
        }
    }

    /// After a step: notes what it did, and whether the driver died in it.
    async fn after(&mut self, world: &World, step: &'static str, deaths: usize) -> Result<(), Failure> {
        let tools = world.tools.as_ref().ok_or("the tools are not wrapped")?;
        let deeds = Deeds { step, requests: world.azure.requests().await?, tools: tools.started()? };
        if self.kill.is_some_and(|kill| kill.step == self.deeds.len()) {
            self.killed = count_deaths(world) > deaths;
        }
        self.deeds.push(deeds);
        world.azure.reset().await?;
        tools.disarm()
    }
}

fn count_deaths(world: &World) -> usize {
    world.nodes.iter().chain([&world.controller]).map(e2e::world::Driver::deaths).sum()
}

/// A step under watch: `step!(watch, world, who, "name", future)`.
macro_rules! step {
    ($watch:ident, $world:ident, $node:expr, $name:literal, $work:expr) => {{
        let deaths = count_deaths($world);
        $watch.before($world, $node).await?;
        let outcome = $work.await.map_err(|failure| format!("{}: {failure}", $name))?;
        $watch.after($world, $name, deaths).await?;
        outcome
    }};
}

/// A chapter of a volume's life.
#[derive(Clone, Copy, Debug)]
enum Chapter {
    FileSystem,
    Snapshot,
    Expansion,
    Block,
}

impl Chapter {
    async fn live(self, world: &mut World, watch: &mut Watch, name: &str) -> Result<(), Failure> {
        match self {
            Chapter::FileSystem => file_system(world, watch, name).await,
            Chapter::Snapshot => snapshot(world, watch, name).await,
            Chapter::Expansion => expansion(world, watch, name).await,
            Chapter::Block => block(world, watch, name).await,
        }
    }
}

/// Create, attach, format, mount, write, unmount, detach, mount on the other node, delete.
async fn file_system(world: &mut World, watch: &mut Watch, name: &str) -> Result<(), Failure> {
    let mount = volume::mounted("ext4");
    let request = volume::create(name, 1, &mount, None);
    let disk = step!(watch, world, None, "create", story::create(world, request));
    let context = step!(watch, world, None, "attach", story::attach(world, &disk, 0, &mount));
    let placed = story::place(world, name, 0, context)?;
    step!(watch, world, Some(0), "stage a blank disk", story::stage(world, &disk, &placed, &mount));
    step!(watch, world, Some(0), "publish", story::publish(world, &disk, &placed, &mount));
    let sum = write(&placed)?;
    step!(watch, world, Some(0), "unpublish", story::unpublish(world, &disk.volume_id, &placed));
    step!(watch, world, Some(0), "unstage", story::unstage(world, &disk.volume_id, &placed));
    step!(watch, world, None, "detach", story::detach(world, &disk.volume_id, 0));

    let context = step!(watch, world, None, "attach elsewhere", story::attach(world, &disk, 1, &mount));
    let placed = story::place(world, name, 1, context)?;
    step!(watch, world, Some(1), "stage a used disk", story::stage(world, &disk, &placed, &mount));
    story::publish(world, &disk, &placed, &mount).await?;
    unchanged(&placed, &sum)?;
    story::take_away(world, &disk.volume_id, &placed).await?;
    step!(watch, world, None, "delete", story::delete(world, &disk.volume_id));
    Ok(())
}

/// A snapshot, a new disk from it, and both deleted.
async fn snapshot(world: &mut World, watch: &mut Watch, name: &str) -> Result<(), Failure> {
    let mount = volume::mounted("ext4");
    let disk = story::create(world, volume::create(name, 1, &mount, None)).await?;
    let placed = story::bring(world, name, &disk, 0, &mount).await?;
    let sum = write(&placed)?;
    let image =
        step!(watch, world, None, "snapshot", story::snapshot(world, &format!("{name}-s"), &disk.volume_id));
    story::take_away(world, &disk.volume_id, &placed).await?;

    let restored = format!("{name}-r");
    let source = Some(volume::from_snapshot(&image.snapshot_id));
    let request = volume::create(&restored, 2, &mount, source);
    let copy = step!(watch, world, None, "restore", story::create(world, request));
    let context = story::attach(world, &copy, 1, &mount).await?;
    let placed = story::place(world, &restored, 1, context)?;
    step!(watch, world, Some(1), "stage a larger copy", story::stage(world, &copy, &placed, &mount));
    story::publish(world, &copy, &placed, &mount).await?;
    unchanged(&placed, &sum)?;
    fills(&placed, 2)?;
    story::take_away(world, &copy.volume_id, &placed).await?;
    step!(watch, world, None, "delete the snapshot", story::delete_snapshot(world, &image.snapshot_id));
    story::delete(world, &copy.volume_id).await?;
    story::delete(world, &disk.volume_id).await
}

/// Expansion in use, grown by the kernel or at the next stage.
async fn expansion(world: &mut World, watch: &mut Watch, name: &str) -> Result<(), Failure> {
    let mount = volume::mounted("ext4");
    let disk = story::create(world, volume::create(name, 1, &mount, None)).await?;
    let placed = story::bring(world, name, &disk, 0, &mount).await?;
    let sum = write(&placed)?;
    step!(watch, world, None, "expand", story::expand(world, &disk.volume_id, 2, &mount));
    let growth = step!(watch, world, Some(0), "grow", story::grow(world, &disk.volume_id, 2, &placed));
    if growth == Growth::Online {
        fills(&placed, 2)?;
    }
    story::unpublish(world, &disk.volume_id, &placed).await?;
    story::unstage(world, &disk.volume_id, &placed).await?;
    step!(watch, world, Some(0), "stage and grow", story::stage(world, &disk, &placed, &mount));
    story::publish(world, &disk, &placed, &mount).await?;
    unchanged(&placed, &sum)?;
    fills(&placed, 2)?;
    story::take_away(world, &disk.volume_id, &placed).await?;
    story::delete(world, &disk.volume_id).await
}

/// A raw block volume.
async fn block(world: &mut World, watch: &mut Watch, name: &str) -> Result<(), Failure> {
    let block = volume::block();
    let request = volume::create(name, 1, &block, None);
    let disk = step!(watch, world, None, "create for block", story::create(world, request));
    let context = step!(watch, world, None, "attach for block", story::attach(world, &disk, 0, &block));
    let placed = story::place(world, name, 0, context)?;
    step!(watch, world, Some(0), "stage block", story::stage(world, &disk, &placed, &block));
    step!(watch, world, Some(0), "publish block", story::publish(world, &disk, &placed, &block));
    story::write_noise(&placed.target, FILE, 3)?;
    let sum = story::checksum(&placed.target, Some(FILE as u64))?;
    step!(watch, world, Some(0), "unpublish block", story::unpublish(world, &disk.volume_id, &placed));
    story::publish(world, &disk, &placed, &block).await?;
    if story::checksum(&placed.target, Some(FILE as u64))? != sum {
        return Err("the raw block volume changed".into());
    }
    story::unpublish(world, &disk.volume_id, &placed).await?;
    step!(watch, world, Some(0), "unstage block", story::unstage(world, &disk.volume_id, &placed));
    step!(watch, world, None, "detach block", story::detach(world, &disk.volume_id, 0));
    step!(watch, world, None, "delete block", story::delete(world, &disk.volume_id));
    Ok(())
}

fn write(placed: &Placed) -> Result<String, Failure> {
    let file = placed.target.join("file");
    story::write_noise(&file, FILE, 4)?;
    story::checksum(&file, None)
}

fn unchanged(placed: &Placed, sum: &str) -> Result<(), Failure> {
    let now = story::checksum(&placed.target.join("file"), None)?;
    if now == sum { Ok(()) } else { Err(format!("the file changed: {now} instead of {sum}").into()) }
}

fn fills(placed: &Placed, gib: u64) -> Result<(), Failure> {
    let bytes = story::file_system_bytes(&placed.target)?;
    if bytes > (gib << 30) / 100 * 90 { Ok(()) } else { Err(format!("{bytes} bytes of {gib} GiB").into()) }
}

/// Every kill that the deeds of an undisturbed run call for.
fn kills(deeds: &[Deeds]) -> Vec<Kill> {
    let mut kills = Vec::new();
    for (step, deed) in deeds.iter().enumerate() {
        for (around, last) in [(Around::Request, deed.requests), (Around::Tool, deed.tools.len())] {
            for n in 1..=last {
                kills.extend([Moment::Before, Moment::After].map(|moment| Kill { step, around, n, moment }));
            }
        }
    }
    kills
}

async fn chapter(chapter: Chapter) -> Result<(), Failure> {
    if !nix::unistd::geteuid().is_root() {
        say!("skipped: needs root for loop devices and mounts");
        return Ok(());
    }
    let mut world = World::start(Options { wrap_tools: true, ..Options::default() }).await?;
    let mut calm = Watch::new(None);
    chapter.live(&mut world, &mut calm, "calm").await?;
    world.nothing_left().await?;

    let kills = kills(&calm.deeds);
    assert!(!kills.is_empty());
    for (number, kill) in kills.iter().enumerate() {
        let step = calm.deeds[kill.step].step;
        let mut watch = Watch::new(Some(*kill));
        // As the calm run began: with nothing remembered, so that the same requests are made.
        for driver in world.nodes.iter_mut().chain([&mut world.controller]) {
            driver.restart().await?;
        }
        let context = |failure: Failure| format!("{chapter:?}, {step}, {kill:?}: {failure}");
        chapter.live(&mut world, &mut watch, &format!("kill-{number}")).await.map_err(context)?;
        assert!(watch.killed, "{chapter:?}, {step}, {kill:?}: the driver did not die");
        world.nothing_left().await.map_err(context)?;
    }
    for deed in &calm.deeds {
        say!("  {}: {} requests, tools {:?}", deed.step, deed.requests, deed.tools);
    }
    say!("{chapter:?}: {} kills, each converged, nothing left", kills.len());
    let left = world.stop().await?;
    assert_eq!((left.disks, left.loops, left.mounts), (0, 0, 0));
    Ok(())
}

#[tokio::test]
async fn a_file_system_volume_survives_every_kill() {
    chapter(Chapter::FileSystem).await.unwrap();
}

#[tokio::test]
async fn a_snapshot_and_its_copy_survive_every_kill() {
    chapter(Chapter::Snapshot).await.unwrap();
}

#[tokio::test]
async fn an_expansion_survives_every_kill() {
    chapter(Chapter::Expansion).await.unwrap();
}

#[tokio::test]
async fn a_block_volume_survives_every_kill() {
    chapter(Chapter::Block).await.unwrap();
}
