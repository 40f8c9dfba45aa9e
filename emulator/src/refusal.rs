//! Azure's refusals: status, code and text. The texts follow what the real service was seen to say.
//!
//! A refusal is decided before anything is written, so a refused call leaves the model as it was.

use http::StatusCode;
use serde_json::{Value, json};

use crate::answer::Answer;

/// Why a call is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) code: String,
    pub(crate) message: String,
    pub(crate) target: Option<String>,
    /// `innererror.internalErrorCode`, which the disk provider adds.
    pub(crate) inner: Option<String>,
    pub(crate) gateway: bool,
}

impl Refusal {
    pub(crate) fn new(status: u16, code: &str, message: impl Into<String>) -> Self {
        Self {
            status,
            code: code.to_owned(),
            message: message.into(),
            target: None,
            inner: None,
            gateway: false,
        }
    }

    fn at_gateway(status: u16, code: &str, message: impl Into<String>) -> Self {
        Self { gateway: true, ..Self::new(status, code, message) }
    }

    pub(crate) fn target(mut self, target: &str) -> Self {
        self.target = Some(target.to_owned());
        self
    }

    pub(crate) fn inner(mut self, code: &str) -> Self {
        self.inner = Some(code.to_owned());
        self
    }

    /// A property value that Azure does not take.
    pub(crate) fn invalid(target: &str, message: impl Into<String>) -> Self {
        Self::new(400, "InvalidParameter", message).target(target)
    }

    /// A well-formed request that the present state forbids.
    pub(crate) fn not_allowed(message: impl Into<String>) -> Self {
        Self::new(409, "OperationNotAllowed", message)
    }

    /// `kind` is `Microsoft.Compute/disks`, `name` as the caller spelled it.
    pub(crate) fn no_resource(kind: &str, name: &str, group: &str) -> Self {
        Self::at_gateway(
            404,
            "ResourceNotFound",
            format!(
                "The Resource '{kind}/{name}' under resource group '{group}' was not found. For more details please go to https://aka.ms/ARMResourceNotFoundFix"
            ),
        )
    }

    /// The scale set of an instance is gone.
    pub(crate) fn no_parent(kind: &str, name: &str) -> Self {
        Self::at_gateway(
            404,
            "ParentResourceNotFound",
            format!(
                "Failed to perform the operation on resource(s) of type '{kind}/virtualMachines', because the parent resource '{name}' could not be found."
            ),
        )
    }

    /// The caller may not do `action`.
    pub(crate) fn no_right(action: &str, scope: &str) -> Self {
        Self::at_gateway(
            403,
            "AuthorizationFailed",
            format!(
                "The client 'emulator' with object id 'emulator' does not have authorization to perform action '{action}' over scope '{scope}' or the scope is invalid. If access was recently granted, please refresh your credentials."
            ),
        )
    }

    /// The caller may do `action` on its scope, and not `missing` on what it names there.
    pub(crate) fn no_link(action: (&str, &str), missing: &str, linked: &str) -> Self {
        let (action, scope) = action;
        Self::at_gateway(
            403,
            "LinkedAuthorizationFailed",
            format!(
                "The client 'emulator' with object id 'emulator' has permission to perform action '{action}' on scope '{scope}'; however, it does not have permission to perform action(s) '{missing}' on the linked scope(s) '{linked}' (respectively) or the linked scope(s) are invalid."
            ),
        )
    }

    pub(crate) fn no_group(group: &str) -> Self {
        Self::at_gateway(
            404,
            "ResourceGroupNotFound",
            format!("Resource group '{group}' could not be found."),
        )
    }

    pub(crate) fn no_subscription(subscription: &str) -> Self {
        Self::at_gateway(
            404,
            "SubscriptionNotFound",
            format!("The subscription '{subscription}' could not be found."),
        )
    }

    pub(crate) fn no_token() -> Self {
        Self::at_gateway(
            401,
            "InvalidAuthenticationToken",
            "The access token is missing or invalid: send an 'Authorization: Bearer' header.",
        )
    }

    pub(crate) fn no_api_version() -> Self {
        Self::at_gateway(
            400,
            "MissingApiVersionParameter",
            "The api-version query parameter (?api-version=) is required for all requests.",
        )
    }

    pub(crate) fn bad_api_version(version: &str) -> Self {
        Self::at_gateway(
            400,
            "InvalidApiVersionParameter",
            format!("The api-version '{version}' is invalid."),
        )
    }

    pub(crate) fn malformed(message: impl Into<String>) -> Self {
        Self::at_gateway(400, "InvalidRequestContent", message)
    }

    pub(crate) fn no_route(path: &str) -> Self {
        Self::at_gateway(404, "InvalidResourceType", format!("This emulator does not serve '{path}'."))
    }

    pub(crate) fn no_method(method: &str, path: &str) -> Self {
        Self::at_gateway(405, "MethodNotAllowed", format!("'{method}' is not served on '{path}'."))
    }

    pub(crate) fn wrong_etag(given: &str, etag: u64) -> Self {
        Self::new(
            412,
            "PreconditionFailed",
            format!(
                "Etag provided in if-match header \"{given}\" does not match etag \"{etag}\" of resource."
            ),
        )
    }

    /// The body as Azure wraps it.
    pub(crate) fn body(&self) -> Value {
        let mut error = json!({ "code": self.code, "message": self.message });
        if let Some(target) = &self.target {
            error["target"] = json!(target);
        }
        if let Some(inner) = &self.inner {
            error["innererror"] = json!({ "internalErrorCode": inner });
        }
        json!({ "error": error })
    }

    /// The refusal as an answer; the caller adds its provider's headers.
    pub(crate) fn answer(&self) -> Answer {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let answer = Answer::json(status, self.body());
        if self.gateway { answer.gateway() } else { answer }
    }
}
