//! What went wrong with a request to Azure, in kinds that a caller can act on.
//!
//! A kind is decided once, from Azure's code (`error/code.rs`) or the HTTP status; from the words of a message
//! only where Azure leaves no other way (`error/words.rs`). Whether a failed write can still take effect is part of the error: the callers' answers to the
//! CO hang on it.

pub(crate) mod body;
pub(crate) mod code;
mod words;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Why a request failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The resource, its group or its parent does not exist, or is being deleted for good.
    NotFound,
    /// Another write on the same resource is in the way; it passes.
    Conflict,
    /// An accepted operation was ended by a newer one on the same VM.
    Preempted,
    /// The disk belongs to another VM.
    AttachedElsewhere,
    /// The disk is still being detached, or its last detach failed.
    BeingDetached,
    /// The VM takes no more data disks.
    AttachLimit,
    /// A quota of the subscription is used up.
    Quota,
    /// Azure has no room for this SKU or size in this place.
    Capacity,
    /// Too many requests.
    Throttled {
        /// When to come again, if Azure said so.
        retry_after: Option<Duration>,
    },
    /// The credentials could not be had, or Azure does not accept them.
    Unauthenticated,
    /// The identity may not do this.
    Forbidden,
    /// A policy of the subscription forbids it.
    Policy,
    /// A lock on the scope forbids it.
    Locked,
    /// The request is wrong: a value or a combination that Azure does not take.
    Invalid,
    /// Disk and VM are in different zones, or the VM cannot use this SKU.
    Unsuitable,
    /// The state of the resource does not allow it now: attached, in use, not deallocated.
    NotAllowed,
    /// The resource changed since it was read (HTTP 412).
    EtagMismatch,
    /// 5xx, or no answer: repeating may help.
    Transient,
    /// The caller's time is over; what was accepted goes on.
    Timeout,
    /// An answer that cannot be understood.
    Protocol,
}

impl ErrorKind {
    /// One of each, for exhaustive tables in tests.
    pub const ALL: [ErrorKind; 20] = [
        ErrorKind::NotFound,
        ErrorKind::Conflict,
        ErrorKind::Preempted,
        ErrorKind::AttachedElsewhere,
        ErrorKind::BeingDetached,
        ErrorKind::AttachLimit,
        ErrorKind::Quota,
        ErrorKind::Capacity,
        ErrorKind::Throttled { retry_after: None },
        ErrorKind::Unauthenticated,
        ErrorKind::Forbidden,
        ErrorKind::Policy,
        ErrorKind::Locked,
        ErrorKind::Invalid,
        ErrorKind::Unsuitable,
        ErrorKind::NotAllowed,
        ErrorKind::EtagMismatch,
        ErrorKind::Transient,
        ErrorKind::Timeout,
        ErrorKind::Protocol,
    ];
}

/// Whether a failed request can still take effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// It did not and will not: Azure refused it, or it was never sent.
    None,
    /// Nobody knows.
    Possible,
}

/// A failed request.
#[derive(Clone, Debug)]
pub struct Error(Box<Parts>);

#[derive(Clone, Debug)]
struct Parts {
    kind: ErrorKind,
    operation: &'static str,
    resource: String,
    status: Option<u16>,
    code: Option<String>,
    target: Option<String>,
    message: String,
    request_id: Option<String>,
    correlation_id: Option<String>,
    effect: Effect,
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// An error of `operation` on `resource`. `message` is Azure's, or ours where Azure said nothing.
    pub(crate) fn new(
        kind: ErrorKind,
        operation: &'static str,
        resource: &str,
        message: impl Into<String>,
        effect: Effect,
    ) -> Error {
        Error(Box::new(Parts {
            kind,
            operation,
            resource: resource.to_owned(),
            status: None,
            code: None,
            target: None,
            message: message.into(),
            request_id: None,
            correlation_id: None,
            effect,
            source: None,
        }))
    }

    pub(crate) fn caused_by(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Error {
        self.0.source = Some(Arc::new(source));
        self
    }

    /// Takes back that nothing was done: an earlier try may have got through.
    pub(crate) fn possibly_done(mut self) -> Error {
        self.0.effect = Effect::Possible;
        self
    }

    pub(crate) fn with_answer(
        mut self,
        status: Option<u16>,
        code: Option<String>,
        target: Option<String>,
        request_id: Option<String>,
        correlation_id: Option<String>,
    ) -> Error {
        let parts = &mut *self.0;
        (parts.status, parts.code, parts.target) = (status, code, target);
        (parts.request_id, parts.correlation_id) = (request_id, correlation_id);
        self
    }

    /// Why.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// What was tried, in words: "attach and detach disks".
    pub fn operation(&self) -> &'static str {
        self.0.operation
    }

    /// The id, or scope, that it was tried on.
    pub fn resource(&self) -> &str {
        &self.0.resource
    }

    /// The HTTP status, if an answer came.
    pub fn status(&self) -> Option<u16> {
        self.0.status
    }

    /// Azure's own code, if it gave one.
    pub fn code(&self) -> Option<&str> {
        self.0.code.as_deref()
    }

    /// The part of the request that Azure named: a property, or the id of a disk.
    pub fn target(&self) -> Option<&str> {
        self.0.target.as_deref()
    }

    /// Azure's message, or ours.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// `x-ms-request-id`.
    pub fn request_id(&self) -> Option<&str> {
        self.0.request_id.as_deref()
    }

    /// `x-ms-correlation-request-id`: what Azure's support asks for.
    pub fn correlation_id(&self) -> Option<&str> {
        self.0.correlation_id.as_deref()
    }

    /// Of a write: whether Azure surely did not do it and will not. An accepted create or attach that failed
    /// is not that: it leaves a failed disk behind, or an entry in the VM's list.
    pub fn is_definite_refusal(&self) -> bool {
        self.0.effect == Effect::None
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = &*self.0;
        write!(f, "{} {}: ", parts.operation, parts.resource)?;
        match (&parts.code, parts.status) {
            (Some(code), _) => write!(f, "{code}: ")?,
            (None, Some(status)) => write!(f, "HTTP {status}: ")?,
            (None, None) => {}
        }
        f.write_str(parts.message.trim_end())?;
        if let ErrorKind::Throttled { retry_after: Some(wait) } = parts.kind {
            write!(f, " (come again in {} s)", wait.as_millis().div_ceil(1000))?;
        }
        if let Some(id) = &parts.correlation_id {
            write!(f, " (correlation id {id})")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_ref().map(|cause| &**cause as &(dyn std::error::Error + 'static))
    }
}
