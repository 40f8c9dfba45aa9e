//! Which requests may go after what Azure said: tables, and any run of answers.

use http::Method;
use proptest::prelude::*;

use super::*;

const VM: &str = "/subscriptions/s/resourceGroups/rg/providers/Microsoft.Compute/virtualMachines";

fn vm(method: &Method, name: &str) -> Draw {
    Draw::of(method, &format!("{VM}/{name}"))
}

fn change(name: &str) -> Draw {
    Draw::of(&Method::POST, &format!("{VM}/{name}/attachDetachDataDisks"))
}

fn refused(seconds: Option<u64>) -> Facts {
    Facts { is_refused: true, retry_after: seconds.map(Duration::from_secs), ..Facts::default() }
}

fn seconds(wait: Option<Duration>) -> Option<u64> {
    wait.map(|wait| wait.as_secs())
}

/// After `facts` about an attach to VM `hot`: how long an attach to it, an attach to another, a read of it and
/// a PUT of it have to wait, and an attach in another subscription.
#[track_caller]
fn check(facts: &Facts, expected: [Option<u64>; 5]) {
    let now = Instant::now();
    let mut gates = Gates::default();
    gates.learn(&change("hot"), facts, now);
    let elsewhere = Draw { subscription: "t".to_owned(), resource: "t/hot".to_owned(), ..change("hot") };
    let draws = [change("hot"), change("cold"), vm(&Method::GET, "hot"), vm(&Method::PUT, "hot"), elsewhere];
    assert_eq!(draws.map(|draw| seconds(gates.wait(&draw, now))), expected, "{facts:?}");
}

#[test]
fn a_refusal_closes_its_own_gate_only() {
    let (one, all) = (Some(Scope::Resource), Some(Scope::Subscription));
    check(&refused(Some(17)), [Some(17), None, None, None, None]);
    check(&refused(None), [Some(60), None, None, None, None]);
    check(&refused(Some(0)), [None; 5]);
    check(&refused(Some(u64::MAX)), [Some(86_400), None, None, None, None]);
    check(&Facts { target: one, ..refused(Some(17)) }, [Some(17), None, None, None, None]);
    check(&Facts { target: all, ..refused(Some(17)) }, [Some(17), Some(17), None, None, None]);
    check(&Facts { empty: vec![all], ..refused(None) }, [Some(60), Some(60), None, None, None]);
    check(&Facts { is_by_arm: true, ..refused(Some(5)) }, [Some(5), Some(5), None, Some(5), None]);
}

#[test]
fn an_empty_bucket_closes_its_gate_though_the_request_went_well() {
    let good = Facts::default();
    check(&good, [None; 5]);
    check(&Facts { empty: vec![None], ..good.clone() }, [Some(60), None, None, None, None]);
    let all = Some(Scope::Subscription);
    check(&Facts { empty: vec![all], ..good.clone() }, [Some(60), Some(60), None, None, None]);
    check(&Facts { is_arm_empty: true, ..good }, [Some(1), Some(1), None, Some(1), None]);
}

#[tokio::test(start_paused = true)]
async fn a_gate_opens_by_time_and_is_forgotten() {
    let mut gates = Gates::default();
    let start = Instant::now();
    gates.learn(&change("hot"), &refused(Some(20)), start);
    gates.learn(&change("hot"), &refused(Some(5)), start);
    gates.learn(&change("hot"), &Facts::default(), start);
    assert_eq!(seconds(gates.wait(&change("hot"), start)), Some(20), "a later answer opens nothing");
    let later = start + Duration::from_secs(20);
    assert_eq!(gates.wait(&change("hot"), later), None);
    gates.learn(&change("cold"), &refused(Some(20)), later);
    assert_eq!(gates.closed.len(), 1, "only closed gates are kept");
}

fn facts() -> impl Strategy<Value = Facts> {
    let scope = || prop::option::of(prop_oneof![Just(Scope::Resource), Just(Scope::Subscription)]);
    let empty = prop::collection::vec(scope(), 0..2);
    (any::<bool>(), prop::option::of(0..200_u64), empty, scope(), any::<bool>(), any::<bool>()).prop_map(
        |(is_refused, pause, empty, target, is_by_arm, is_arm_empty)| Facts {
            is_refused,
            retry_after: pause.map(Duration::from_secs),
            empty,
            target: target.filter(|_| is_refused),
            is_by_arm: is_by_arm && is_refused,
            is_arm_empty,
            ..Facts::default()
        },
    )
}

proptest! {
    /// Whoever waits as told is never sent while a `Retry-After` of its own bucket runs; and one VM's answers
    /// that concern only that VM hold up no other.
    #[test]
    fn no_request_goes_during_a_retry_after(
        run in prop::collection::vec((0..3_usize, facts(), 0..30_u64), 1..40),
    ) {
        let names = ["a", "b", "c"];
        let mut now = Instant::now();
        let (mut gates, mut closed) = (Gates::default(), [now; 3]);
        let mut all_closed = now;
        for (index, facts, passed) in run {
            now += Duration::from_secs(passed);
            let wait = gates.wait(&change(names[index]), now);
            let due = closed[index].max(all_closed);
            prop_assert!(now + wait.unwrap_or_default() >= due, "sent too early");
            prop_assert!(now + wait.unwrap_or_default() <= due.max(now), "held up by another");
            now += wait.unwrap_or_default();
            gates.learn(&change(names[index]), &facts, now);
            let pause = facts.retry_after.unwrap_or(POLICY_WINDOW);
            let scopes: Vec<Scope> =
                facts.empty.iter().map(|scope| scope.unwrap_or(Scope::Resource)).chain(facts.target).collect();
            let (mine, everyone) = match (facts.is_refused, facts.is_by_arm) {
                (true, true) => (None, Some(pause)),
                (true, false) => (
                    (scopes.is_empty() || scopes.contains(&Scope::Resource)).then_some(pause),
                    scopes.contains(&Scope::Subscription).then_some(pause),
                ),
                (false, _) => {
                    let arm = facts.is_arm_empty.then_some(Duration::from_secs(1));
                    let subscription = scopes.contains(&Scope::Subscription).then_some(POLICY_WINDOW);
                    (scopes.contains(&Scope::Resource).then_some(POLICY_WINDOW), arm.max(subscription))
                }
            };
            closed[index] = closed[index].max(now + mine.unwrap_or_default());
            all_closed = all_closed.max(now + everyone.unwrap_or_default());
        }
    }
}
