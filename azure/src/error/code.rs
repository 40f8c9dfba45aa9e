//! The one table from Azure's codes to [`ErrorKind`]. Nowhere else is a code compared, and a message only in
//! `words`, before this table. A code that is not here falls back to the class of the HTTP status.

use std::time::Duration;

use super::body::Fault;
use super::{Error, ErrorKind, words};

/// The kind of a refused request: HTTP 429 first, since its code is shared with other refusals.
pub(crate) fn kind(status: u16, fault: &Fault, retry_after: Option<Duration>) -> ErrorKind {
    if status == 429 {
        return ErrorKind::Throttled { retry_after };
    }
    if status >= 500 || status == 408 {
        return ErrorKind::Transient;
    }
    match by_code(fault) {
        Some(kind) => kind,
        // Azure always says what it did not find. Without a word it is somebody on the way: nobody may take
        // a disk, or a VM, for gone on that.
        None if status == 404 && fault.code.is_none() => ErrorKind::Transient,
        None => by_status(status),
    }
}

/// The kind of an operation that ended as failed or cancelled, whose HTTP status is 200.
pub(crate) fn failed_operation(fault: &Fault, is_canceled: bool) -> ErrorKind {
    match by_code(fault) {
        Some(kind) => kind,
        None if is_canceled => ErrorKind::Preempted,
        None => ErrorKind::Transient,
    }
}

/// Whether the Resource Manager itself refused for its own count, and not the provider behind it.
pub(crate) fn is_by_arm(fault: &Fault) -> bool {
    fault.code.as_deref() == Some("SubscriptionRequestsThrottled")
}

/// Whether Azure refused the *action* and not the resource that it is on: the identity has no right to it, or this
/// Azure does not know it. `AuthorizationFailed` does not say which right is missing: what is tried instead tells.
pub(crate) fn is_refused_action(error: &Error) -> bool {
    let is_about_action = match (error.status(), error.code()) {
        (Some(403), code) => code == Some("AuthorizationFailed"),
        (Some(404), Some(_)) => !is_resource_missing(error.code()),
        (Some(405), _) => true,
        _ => false,
    };
    is_about_action && error.is_definite_refusal()
}

fn is_resource_missing(code: Option<&str>) -> bool {
    let fault = Fault { code: code.map(str::to_owned), ..Fault::default() };
    by_code(&fault) == Some(ErrorKind::NotFound)
}

fn by_code(fault: &Fault) -> Option<ErrorKind> {
    let code = fault.code.as_deref()?;
    if let Some(kind) = words::kind(fault) {
        return Some(kind);
    }
    let kind = match code {
        "ResourceNotFound"
        | "ResourceGroupNotFound"
        | "ParentResourceNotFound"
        | "NotFound"
        | "VMNotFound"
        | "SubscriptionNotFound" => ErrorKind::NotFound,
        "Conflict" | "AnotherOperationInProgress" | "RetryableError" => ErrorKind::Conflict,
        "OperationPreempted" | "OperationPreemptedByMoreRecentOperation" => ErrorKind::Preempted,
        "ConflictingUserInput" => ErrorKind::AttachedElsewhere,
        "AttachDiskWhileBeingDetached" => ErrorKind::BeingDetached,
        "QuotaExceeded" | "SnapshotsLimitReached" | "ResourceCountExceedsLimitDueToTemplate" => {
            ErrorKind::Quota
        }
        "SkuNotAvailable"
        | "AllocationFailed"
        | "ZonalAllocationFailed"
        | "OverconstrainedAllocationRequest" => ErrorKind::Capacity,
        "TooManyRequests" | "SubscriptionRequestsThrottled" | "ResourceRequestsThrottled" => {
            ErrorKind::Throttled { retry_after: None }
        }
        "InvalidAuthenticationToken"
        | "ExpiredAuthenticationToken"
        | "InvalidAuthenticationTokenTenant"
        | "AuthenticationFailed" => ErrorKind::Unauthenticated,
        "AuthorizationFailed" | "LinkedAuthorizationFailed" => ErrorKind::Forbidden,
        "RequestDisallowedByPolicy" => ErrorKind::Policy,
        "ScopeLocked" => ErrorKind::Locked,
        "PreconditionFailed" => ErrorKind::EtagMismatch,
        "OperationNotAllowed" => return Some(not_allowed(fault)),
        "InvalidParameter" => return Some(invalid_parameter(fault)),
        "DataDisksForceDetached" | "DiskProcessingError" | "DiskPreparationError" => ErrorKind::NotAllowed,
        "InternalServerError"
        | "InternalOperationError"
        | "InternalExecutionError"
        | "ServerTimeout"
        | "AcquireDiskLeaseFailed"
        | "ResourceUpdateBlockedOnPlatformUpdate"
        | "RegistrationInProgress" => ErrorKind::Transient,
        _ => return None,
    };
    Some(kind)
}

/// One code for many refusals: the target or the inner code tells them apart.
fn not_allowed(fault: &Fault) -> ErrorKind {
    match (fault.target.as_deref(), fault.inner.as_deref()) {
        (Some("dataDisks"), _) => ErrorKind::AttachLimit,
        (_, Some("QuotaExceeded")) => ErrorKind::Quota,
        (_, Some("TooManyRequestsReceived")) => ErrorKind::Throttled { retry_after: None },
        _ => ErrorKind::NotAllowed,
    }
}

fn invalid_parameter(fault: &Fault) -> ErrorKind {
    match fault.target.as_deref() {
        // The instance was deleted: "not an active Virtual Machine Scale Set VM instanceId".
        Some("instanceIds") => ErrorKind::NotFound,
        Some("managedDisk.storageAccountType" | "dataDisk.managedDisk.storageAccountType") => {
            ErrorKind::Unsuitable
        }
        _ => ErrorKind::Invalid,
    }
}

fn by_status(status: u16) -> ErrorKind {
    match status {
        401 => ErrorKind::Unauthenticated,
        403 => ErrorKind::Forbidden,
        404 => ErrorKind::NotFound,
        409 => ErrorKind::Conflict,
        412 => ErrorKind::EtagMismatch,
        400..=499 => ErrorKind::Invalid,
        _ => ErrorKind::Protocol,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Effect;

    #[test]
    fn codes_have_their_kinds() {
        let plain = |code: &str| Fault { code: Some(code.to_owned()), ..Fault::default() };
        let with = |code: &str, target: &str, inner: &str| Fault {
            target: Some(target.to_owned()).filter(|text| !text.is_empty()),
            inner: Some(inner.to_owned()).filter(|text| !text.is_empty()),
            ..plain(code)
        };
        let throttled = ErrorKind::Throttled { retry_after: Some(Duration::from_secs(7)) };
        let rows = [
            (404, plain("ResourceNotFound"), ErrorKind::NotFound),
            (404, Fault::default(), ErrorKind::Transient),
            (404, plain("Unheard"), ErrorKind::NotFound),
            (400, plain("ResourceGroupNotFound"), ErrorKind::NotFound),
            (409, plain("ConflictingUserInput"), ErrorKind::AttachedElsewhere),
            (409, plain("AttachDiskWhileBeingDetached"), ErrorKind::BeingDetached),
            (409, with("OperationNotAllowed", "dataDisks", ""), ErrorKind::AttachLimit),
            (
                409,
                with("OperationNotAllowed", "", "ChangeDiskSizeWhileAttachedNotAllowed"),
                ErrorKind::NotAllowed,
            ),
            (409, plain("OperationNotAllowed"), ErrorKind::NotAllowed),
            (429, plain("OperationNotAllowed"), throttled),
            (409, plain("Unheard"), ErrorKind::Conflict),
            (400, with("InvalidParameter", "instanceIds", ""), ErrorKind::NotFound),
            (400, with("InvalidParameter", "managedDisk.storageAccountType", ""), ErrorKind::Unsuitable),
            (400, plain("InvalidParameter"), ErrorKind::Invalid),
            (403, plain("RequestDisallowedByPolicy"), ErrorKind::Policy),
            (403, plain("AuthorizationFailed"), ErrorKind::Forbidden),
            (409, plain("ScopeLocked"), ErrorKind::Locked),
            (412, plain("PreconditionFailed"), ErrorKind::EtagMismatch),
            (503, plain("ResourceNotFound"), ErrorKind::Transient),
            (401, Fault::default(), ErrorKind::Unauthenticated),
            (301, Fault::default(), ErrorKind::Protocol),
        ];
        for (status, fault, expected) in rows {
            assert_eq!(kind(status, &fault, Some(Duration::from_secs(7))), expected, "{status} {fault:?}");
        }
    }

    #[test]
    fn a_refused_action_is_told_from_a_missing_vm() {
        let rows = [
            (403, "AuthorizationFailed", true),
            (403, "LinkedAuthorizationFailed", false),
            (403, "RequestDisallowedByPolicy", false),
            (403, "", false),
            (404, "InvalidResourceType", true),
            (404, "ResourceNotFound", false),
            (404, "ParentResourceNotFound", false),
            (404, "NotFound", false),
            (404, "", false),
            (405, "", true),
            (405, "MethodNotAllowed", true),
            (400, "InvalidResourceType", false),
            (409, "Conflict", false),
        ];
        for (status, code, expected) in rows {
            for effect in [Effect::None, Effect::Possible] {
                let code = Some(code.to_owned()).filter(|code| !code.is_empty());
                let error = Error::new(ErrorKind::Invalid, "change", "vm", "", effect).with_answer(
                    Some(status),
                    code.clone(),
                    None,
                    None,
                    None,
                );
                let is_refused = expected && effect == Effect::None;
                assert_eq!(is_refused_action(&error), is_refused, "{status} {code:?} {effect:?}");
            }
        }
    }

    #[test]
    fn a_failed_operation_is_read_by_its_code() {
        let coded = Fault { code: Some("OperationPreempted".to_owned()), ..Fault::default() };
        assert_eq!(failed_operation(&coded, false), ErrorKind::Preempted);
        assert_eq!(failed_operation(&Fault::default(), true), ErrorKind::Preempted);
        assert_eq!(failed_operation(&Fault::default(), false), ErrorKind::Transient);
    }
}
