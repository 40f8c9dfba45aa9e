//! Whom the next read is for, row by row; and that nobody is forgotten, overtaken or told by a list he did not wait for.

use super::*;

const DISKS: &str = "/disks";
const LISTS: Option<Duration> = Some(BETWEEN);

type Told = Vec<oneshot::Receiver<Result<(), Error>>>;

/// Those who wait for these resources; they hang up when the second part is dropped.
fn waiting(keys: impl IntoIterator<Item = String>) -> (Gathering<()>, Told) {
    let (mut gathering, mut told) = (Gathering::default(), Vec::new());
    for key in keys {
        let (waiter, receiver) = waiter(&key, 60);
        gathering.join(DISKS, waiter);
        told.push(receiver);
    }
    (gathering, told)
}

fn waiter(key: &str, seconds: u64) -> (Waiter<()>, oneshot::Receiver<Result<(), Error>>) {
    let (tell, told) = oneshot::channel();
    let deadline = Instant::now() + Duration::from_secs(seconds);
    (Waiter { path: key.to_uppercase(), key: key.to_owned(), deadline, tell }, told)
}

fn different(count: usize) -> impl Iterator<Item = String> {
    (0..count).map(|number| format!("disk-{number}"))
}

fn keys(next: Option<Next<()>>) -> (&'static str, Vec<String>) {
    let of = |waiters: Vec<Waiter<()>>| waiters.into_iter().map(|waiter| waiter.key).collect();
    match next {
        None => ("nobody", Vec::new()),
        Some(Next::One(waiters)) => ("one", of(waiters)),
        Some(Next::All(waiters)) => ("all", of(waiters)),
        Some(Next::Later(_)) => ("nobody yet", Vec::new()),
    }
}

#[tokio::test(start_paused = true)]
async fn a_list_is_read_where_it_saves_reads() {
    // Resources, pages known, whether reads are scarce, whether lists are taken.
    let rows = [
        (1, 1, false, true, "one"),
        (FEW, 1, false, true, "one"),
        (FEW + 1, 1, false, true, "all"),
        (FEW + 1, 1, false, false, "one"),
        (39, 10, false, true, "one"),
        (40, 10, false, true, "all"),
        (2, 1, true, true, "one"),
        (3, 1, true, true, "all"),
        (11, 10, true, true, "one"),
        (12, 10, true, true, "all"),
        (12, 10, true, false, "one"),
    ];
    for (resources, pages, is_scarce, may_list, expected) in rows {
        let (mut gathering, _told) = waiting(different(resources));
        gathering.listed(DISKS, pages, Vec::new());
        let (how, who) = keys(gathering.next(DISKS, may_list.then_some(BETWEEN), is_scarce, Instant::now()));
        assert_eq!(how, expected, "{resources} of {pages} pages, scarce: {is_scarce}, lists: {may_list}");
        assert_eq!(who.len(), if how == "all" { resources } else { 1 });
    }
}

#[tokio::test(start_paused = true)]
async fn one_read_is_for_all_who_wait_for_the_same() {
    let same = ["a", "b", "a", "a"].map(str::to_owned);
    let (mut gathering, _told) = waiting(same);
    let next = |gathering: &mut Gathering<()>| keys(gathering.next(DISKS, LISTS, false, Instant::now()));
    assert_eq!(next(&mut gathering), ("one", vec!["a".into(), "a".into(), "a".into()]));
    assert_eq!(next(&mut gathering), ("one", vec!["b".into()]));
    assert_eq!(next(&mut gathering), ("nobody", vec![]));
    // And many who wait for a few do not make a list worth it.
    let (mut gathering, _told) = waiting((0..40).map(|number| format!("disk-{}", number % FEW)));
    assert_eq!(next(&mut gathering).0, "one");
}

#[tokio::test(start_paused = true)]
async fn what_a_list_does_not_show_is_read_by_itself_and_first() {
    let (mut gathering, _told) = waiting(different(20));
    let Some(Next::All(mut waiters)) = gathering.next(DISKS, LISTS, false, Instant::now()) else {
        panic!("no list")
    };
    gathering.listed(DISKS, 1, waiters.split_off(19));
    let told: Told = different(30)
        .map(|key| {
            let (waiter, told) = waiter(&key, 60);
            gathering.join(DISKS, waiter);
            told
        })
        .collect();
    let now = Instant::now();
    assert_eq!(keys(gathering.next(DISKS, LISTS, false, now)).1[0], "disk-19");
    assert_eq!(keys(gathering.next(DISKS, LISTS, false, now)).0, "nobody yet", "one list at a time");
    let scarce = Some(SOON);
    assert_eq!(keys(gathering.next(DISKS, scarce, false, now)).0, "one", "the next list is far");
    assert_eq!(keys(gathering.next(DISKS, LISTS, false, now + BETWEEN)).0, "all");
    drop(told);
}

#[tokio::test(start_paused = true)]
async fn after_a_refused_list_each_is_read_by_itself_for_a_while() {
    let (mut gathering, _told) = waiting(different(20));
    let begun = Instant::now();
    let Some(Next::All(waiters)) = gathering.next(DISKS, LISTS, false, begun) else { panic!("no list") };
    gathering.refused(DISKS, waiters, begun);
    assert_eq!(keys(gathering.next(DISKS, LISTS, true, begun)), ("one", vec!["disk-0".into()]));
    assert_eq!(keys(gathering.next(DISKS, LISTS, true, begun + NO_LISTS)).0, "all");
}

#[tokio::test(start_paused = true)]
async fn a_collection_is_served_by_one_until_nobody_waits() {
    let mut gathering = Gathering::default();
    let (first, told) = waiter("a", 10);
    let (second, told_too) = waiter("b", 20);
    assert!(gathering.join(DISKS, first));
    assert!(!gathering.join(DISKS, second), "it is served already");
    let (other, _told) = waiter("a", 10);
    assert!(gathering.join("/virtualmachines", other), "another collection is not");
    assert_eq!(gathering.last_deadline(DISKS), Some(Instant::now() + Duration::from_secs(20)));
    let late = gathering.impatient(DISKS, Instant::now() + Duration::from_secs(15));
    assert_eq!(late.iter().map(|waiter| waiter.key.as_str()).collect::<Vec<_>>(), ["a"]);
    // Who hangs up is forgotten.
    drop((told, told_too));
    assert_eq!(gathering.last_deadline(DISKS), None);
    let (again, _told) = waiter("a", 10);
    assert!(gathering.join(DISKS, again));
}

#[tokio::test]
async fn few_read_by_themselves_at_once_and_nobody_overtakes_who_waits() {
    let (mut gathering, now) = (Gathering::<()>::default(), Instant::now());
    assert!((0..FEW).all(|_| gathering.enter(DISKS, now)));
    assert!(!gathering.enter(DISKS, now), "{FEW} read already");
    assert!(gathering.enter("/virtualmachines", now), "another collection is not counted");
    gathering.left(DISKS, now);
    assert!(!gathering.enter(DISKS, now), "however quick they are, it is one burst");
    assert!(gathering.enter(DISKS, now + BURST));
    assert!(!gathering.enter(DISKS, now + BURST), "the others still read");
    let (mut gathering, _told) = waiting(different(1));
    assert!(!gathering.enter(DISKS, now));
}
