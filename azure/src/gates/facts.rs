//! What an answer says of Azure's buckets: its status, `Retry-After`, the `x-ms-ratelimit-remaining-*` headers,
//! and of a 429 the body, in its envelope or bare. Pure; what cannot be read says nothing.

use std::time::Duration;

use http::HeaderMap;

use super::draw::Scope;
use crate::error::body;
use crate::error::code;
use crate::retry::retry_after;

/// The part of an answer that the gates learn from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    /// HTTP 429.
    pub(crate) is_refused: bool,
    pub(crate) retry_after: Option<Duration>,
    /// The buckets of the request's policy with nothing left; `None`: its name does not say how far it reaches.
    pub(crate) empty: Vec<Option<Scope>>,
    /// What the buckets of the request's policy hold whose names say how far they reach.
    pub(crate) left: Vec<(Scope, u32)>,
    /// The bucket that the body of a 429 names, if its name says how far it reaches.
    pub(crate) target: Option<Scope>,
    /// A 429 of the Resource Manager itself.
    pub(crate) is_by_arm: bool,
    /// The Resource Manager's own bucket for such requests has nothing left.
    pub(crate) is_arm_empty: bool,
    /// What the Resource Manager still takes of such requests.
    pub(crate) arm_left: Option<u32>,
    /// What is left of the operation's polls.
    pub(crate) polls_left: Option<u32>,
}

/// The Resource Manager's buckets for one identity in one subscription.
const ARM: [&str; 3] = [
    "x-ms-ratelimit-remaining-subscription-reads",
    "x-ms-ratelimit-remaining-subscription-writes",
    "x-ms-ratelimit-remaining-subscription-deletes",
];

impl Facts {
    /// Reads an answer.
    pub(crate) fn read(status: u16, headers: &HeaderMap, answer: &[u8]) -> Facts {
        let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<u32>().ok();
        // An answer has the one of these that its request drew from.
        let arm_left = ARM.iter().filter_map(|name| number(name)).min();
        let mut facts = Facts {
            is_refused: status == 429,
            retry_after: retry_after(headers),
            arm_left,
            is_arm_empty: arm_left == Some(0),
            ..Facts::default()
        };
        for (name, left) in remaining(headers) {
            if name.eq_ignore_ascii_case("GetOperationResource") {
                facts.polls_left = Some(left);
            }
            let scope = reach(name);
            facts.left.extend(scope.map(|scope| (scope, left)));
            if left == 0 {
                facts.empty.push(scope);
            }
        }
        if facts.is_refused {
            let fault = body::read(answer);
            facts.is_by_arm = code::is_by_arm(&fault) || (facts.is_arm_empty && facts.empty.is_empty());
            facts.target = fault.target.as_deref().and_then(reach);
        }
        facts
    }
}

/// `Microsoft.Compute/PutVMResource;11,Microsoft.Compute/…`, in one header or in several: names without their
/// provider, and what is left.
fn remaining(headers: &HeaderMap) -> impl Iterator<Item = (&str, u32)> {
    let lines = headers.get_all("x-ms-ratelimit-remaining-resource");
    lines.iter().filter_map(|line| line.to_str().ok()).flat_map(|line| line.split(',')).filter_map(|pair| {
        let (name, left) = pair.trim().split_once(';')?;
        Some((name.rsplit('/').next().unwrap_or(name), left.trim().parse().ok()?))
    })
}

/// How far a bucket reaches, by the end of its name; those of the disk provider (`…3Min`) and older ones do
/// not say.
fn reach(name: &str) -> Option<Scope> {
    let ends = |ending: &str| {
        name.len()
            .checked_sub(ending.len())
            .and_then(|at| name.get(at..))
            .is_some_and(|end| end.eq_ignore_ascii_case(ending))
    };
    if ends("SubscriptionMaximum") {
        Some(Scope::Subscription)
    } else if ends("Resource") {
        Some(Scope::Resource)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(rows: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in rows {
            headers.append(*name, http::HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn what_is_left_is_read_in_one_header_or_in_several() {
        type Row = (&'static [&'static str], Vec<Option<Scope>>, Option<u32>);
        const LEFT: &str = "x-ms-ratelimit-remaining-resource";
        let (one, all) = (Some(Scope::Resource), Some(Scope::Subscription));
        let rows: [Row; 8] = [
            (
                &["Microsoft.Compute/PutVMSubscriptionMaximum;1496,Microsoft.Compute/PutVMResource;11"],
                vec![],
                None,
            ),
            (
                &["Microsoft.Compute/PutVMSubscriptionMaximum;1496,Microsoft.Compute/PutVMResource;0"],
                vec![one],
                None,
            ),
            (
                &["Microsoft.Compute/PutVMSubscriptionMaximum;0", "Microsoft.Compute/PutVMResource;0"],
                vec![all, one],
                None,
            ),
            (&["Microsoft.Compute/HighCostGet;0"], vec![None], None),
            (
                &["Microsoft.Compute/CreateUpdateDisks3Min;0,Microsoft.Compute/CreateUpdateDisks30Min;9"],
                vec![None],
                None,
            ),
            (
                &[
                    "Microsoft.Compute/GetOperationResource;44,Microsoft.Compute/GetOperationSubscriptionMaximum;14978",
                ],
                vec![],
                Some(44),
            ),
            (&["Microsoft.Compute/PutVMResource;-1", ";", "", "a;,;;;,x;99999999999"], vec![], None),
            (&[], vec![], None),
        ];
        for (lines, empty, polls_left) in rows {
            let lines: Vec<_> = lines.iter().map(|line| (LEFT, *line)).collect();
            let facts = Facts::read(200, &headers(&lines), b"");
            assert_eq!((facts.empty, facts.polls_left), (empty, polls_left), "{lines:?}");
        }
    }

    #[test]
    fn a_refusal_says_whose_bucket_was_empty() {
        // Recorded forms: without the envelope, as the compute provider documents it; in the envelope; the
        // Resource Manager's own.
        let bare = br#"{"code":"OperationNotAllowed","message":"m","details":[{"code":"TooManyRequests","target":"HighCostGet","message":"{}"}]}"#;
        let wrapped = br#"{"error":{"code":"OperationNotAllowed","message":"m","details":[{"code":"TooManyRequests","target":"PutVMSubscriptionMaximum","message":"{}"}]}}"#;
        let arm = br#"{"error":{"code":"SubscriptionRequestsThrottled","message":"Number of 'read' requests for subscription 's' actor 'a' exceeded."}}"#;
        let rows: [(&[u8], Option<Scope>, bool); 5] = [
            (bare, None, false),
            (wrapped, Some(Scope::Subscription), false),
            (arm, None, true),
            (b"<html>", None, false),
            (b"", None, false),
        ];
        for (body, target, is_by_arm) in rows {
            let facts = Facts::read(429, &headers(&[("retry-after", "1200")]), body);
            assert_eq!((facts.is_refused, facts.target, facts.is_by_arm), (true, target, is_by_arm));
            assert_eq!(facts.retry_after, Some(Duration::from_mins(20)));
        }
        assert_eq!(Facts::read(200, &headers(&[]), wrapped).target, None, "only a refusal has such a body");
    }

    #[test]
    fn the_count_of_the_front_door_is_read() {
        let empty = headers(&[("x-ms-ratelimit-remaining-subscription-writes", "0")]);
        assert!(Facts::read(200, &empty, b"").is_arm_empty);
        assert!(Facts::read(429, &empty, b"").is_by_arm);
        let some = headers(&[("x-ms-ratelimit-remaining-subscription-reads", "249")]);
        let facts = Facts::read(200, &some, b"");
        assert_eq!((facts.arm_left, facts.is_arm_empty), (Some(249), false));
    }
}
