//! The two kinds of 429, with the bodies that were recorded.
//!
//! The resource manager says `SubscriptionRequestsThrottled`; for a bucket that all principals share it says so in the older
//! words that were on record too, which is an assumption. A provider says `OperationNotAllowed`, a code that it also has
//! for refusals that no waiting helps: Azure's pages show its body without the `error` wrapper, the field has seen it
//! wrapped with an inner error. Which is sent when was not recorded; here the page's form is for a subscription's bucket,
//! the other one for a resource's, so that a client meets both.

use http::StatusCode;
use serde_json::json;

use crate::answer::Answer;
use crate::call::Call;
use crate::refusal::Refusal;
use crate::throttle::policy::{Per, Policy};

/// An empty bucket of the resource manager.
pub(crate) fn by_gateway(call: &Call, policy: &Policy, principal: &str, seconds: u64) -> Answer {
    let subscription = call.segment(1);
    let message = if policy.per == Per::Principal {
        let kind = policy.short_name().trim_start_matches("subscription-").trim_end_matches('s');
        format!(
            "Number of '{kind}' requests for subscription '{subscription}' actor '{principal}' exceeded. Please try again after '{seconds}' seconds after additional tokens are available. Refer to https://aka.ms/arm-throttling for additional information."
        )
    } else {
        let operation = format!("{}{}", call.method, call.path.to_uppercase());
        format!(
            "Number of requests for subscription '{subscription}' and operation '{operation}' exceeded the backend storage limit. Please try again after '{seconds}' seconds."
        )
    };
    let refusal = Refusal { gateway: true, ..Refusal::new(429, "SubscriptionRequestsThrottled", message) };
    refusal.answer().with("retry-after", seconds.to_string())
}

/// An empty bucket of a provider. `period` is its begin and the present.
pub(crate) fn by_provider(
    call: &Call,
    policy: &Policy,
    period: &(String, String),
    measured: u64,
    seconds: u64,
) -> Answer {
    // The pages name the group of calls, the headers the bucket.
    let group = ["SubscriptionMaximum", "Resource"].iter().find_map(|end| policy.name.strip_suffix(end));
    let group = group.unwrap_or(policy.name);
    let facts = json!({
        "operationGroup": group, "startTime": period.0, "endTime": period.1,
        "allowedRequestCount": policy.capacity, "measuredRequestCount": measured,
    });
    let mut body = json!({
        "code": "OperationNotAllowed",
        "message": "The server rejected the request because too many requests have been received for this subscription.",
        "details": [{ "code": "TooManyRequests", "target": group, "message": facts.to_string() }],
    });
    if policy.per == Per::Resource {
        body["innererror"] = json!({ "internalErrorCode": "TooManyRequestsReceived" });
        body = json!({ "error": body });
    }
    let answer = Answer::json(StatusCode::TOO_MANY_REQUESTS, body).with("retry-after", seconds.to_string());
    if call.lower.iter().any(|segment| segment.starts_with("virtualmachine")) {
        answer.compute()
    } else {
        answer
    }
}
