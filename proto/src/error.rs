//! The one error that becomes a gRPC status, and the one table from kind to code.
//!
//! A code is part of the protocol: sidecars forget, park or reschedule by it (CSI 1.13 "Error Scheme").
//! So a cause is given a [`Kind`] where it is known, and nobody else builds a `Status`. A message is one
//! line for an operator: which disk, which VM, what Azure said, what to do.

use std::fmt;
use std::sync::Arc;

use tonic::Code;

/// Why a call failed, in the words that CSI gives a code to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The request, or a parameter in it, is wrong; repeating it as it is never helps.
    Invalid,
    /// A size outside what is possible.
    OutOfRange,
    /// A volume, snapshot, source or node that does not exist.
    NotFound,
    /// The name, or the path, is taken by something incompatible.
    Exists,
    /// Azure refuses the driver's identity this action.
    Denied,
    /// Azure does not accept the driver's credentials.
    Unauthenticated,
    /// No room: LUNs of the VM, quota, or capacity of a SKU or zone. Never throttling.
    Exhausted,
    /// The state of the volume forbids it: attached elsewhere, in use.
    Precondition,
    /// Something else is going on with the same volume here.
    Busy,
    /// Could not be done now: throttled, 5xx, transport, shutting down. Repeating may help.
    Unavailable,
    /// It outlives the call; repeating joins it.
    Timeout,
    /// Not offered.
    Unimplemented,
    /// A broken invariant or an answer nobody can read; never "not classified".
    Internal,
}

impl Kind {
    /// Every kind, for tables in tests and metrics.
    pub const ALL: [Kind; 13] = [
        Kind::Invalid,
        Kind::OutOfRange,
        Kind::NotFound,
        Kind::Exists,
        Kind::Denied,
        Kind::Unauthenticated,
        Kind::Exhausted,
        Kind::Precondition,
        Kind::Busy,
        Kind::Unavailable,
        Kind::Timeout,
        Kind::Unimplemented,
        Kind::Internal,
    ];

    /// The gRPC code of this kind.
    pub fn code(self) -> Code {
        match self {
            Kind::Invalid => Code::InvalidArgument,
            Kind::OutOfRange => Code::OutOfRange,
            Kind::NotFound => Code::NotFound,
            Kind::Exists => Code::AlreadyExists,
            Kind::Denied => Code::PermissionDenied,
            Kind::Unauthenticated => Code::Unauthenticated,
            Kind::Exhausted => Code::ResourceExhausted,
            Kind::Precondition => Code::FailedPrecondition,
            Kind::Busy => Code::Aborted,
            Kind::Unavailable => Code::Unavailable,
            Kind::Timeout => Code::DeadlineExceeded,
            Kind::Unimplemented => Code::Unimplemented,
            Kind::Internal => Code::Internal,
        }
    }

    /// Whether the sidecars take the code as the end of the story and may forget what they asked for
    /// (external-provisioner `checkError`; the others agree but for `Exhausted`).
    pub fn is_final(self) -> bool {
        !matches!(self, Kind::Busy | Kind::Unavailable | Kind::Timeout)
    }
}

/// A failed call. Cheap to clone: callers that joined one piece of work share its error.
#[derive(Clone, Debug)]
pub struct Error {
    kind: Kind,
    message: String,
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// An error of `kind`; `message` is one line for an operator.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Error { kind, message: message.into(), source: None }
    }

    /// Keeps the cause for the log.
    #[must_use]
    pub fn caused_by(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.source = Some(Arc::new(source));
        self
    }

    /// Why.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The line for the operator.
    pub fn message(&self) -> &str {
        &self.message
    }
}

/// One constructor per kind, so that a call site reads as the rule it applies.
macro_rules! constructors {
    ($($(#[$doc:meta])* $name:ident => $kind:ident;)*) => {
        impl Error {
            $($(#[$doc])* pub fn $name(message: impl Into<String>) -> Self { Error::new(Kind::$kind, message) })*
        }
    };
}

constructors! {
    /// [`Kind::Invalid`].
    invalid => Invalid;
    /// [`Kind::OutOfRange`].
    out_of_range => OutOfRange;
    /// [`Kind::NotFound`].
    not_found => NotFound;
    /// [`Kind::Exists`].
    exists => Exists;
    /// [`Kind::Exhausted`].
    exhausted => Exhausted;
    /// [`Kind::Precondition`].
    precondition => Precondition;
    /// [`Kind::Busy`].
    busy => Busy;
    /// [`Kind::Unavailable`].
    unavailable => Unavailable;
    /// [`Kind::Timeout`].
    timeout => Timeout;
    /// [`Kind::Unimplemented`].
    unimplemented => Unimplemented;
    /// [`Kind::Internal`].
    internal => Internal;
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|cause| &**cause as &(dyn std::error::Error + 'static))
    }
}

impl From<Error> for tonic::Status {
    /// A message is one line: CSI hands it to people, and some sidecars cut at the first break.
    #[expect(clippy::disallowed_methods, reason = "this is the one place")]
    fn from(error: Error) -> Self {
        let line = error.message.split_whitespace().collect::<Vec<_>>().join(" ");
        let mut status = tonic::Status::new(error.kind.code(), line);
        if let Some(cause) = error.source {
            status.set_source(cause); // stays in the process: for the log line of the failed call
        }
        status
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_code_of_its_own() {
        let codes: std::collections::BTreeSet<i32> =
            Kind::ALL.iter().map(|kind| kind.code() as i32).collect();
        assert_eq!(codes.len(), Kind::ALL.len());
        assert!(!codes.contains(&(Code::Ok as i32)) && !codes.contains(&(Code::Unknown as i32)));
    }

    #[test]
    fn only_what_may_still_be_running_is_not_final() {
        let open: Vec<Kind> = Kind::ALL.into_iter().filter(|kind| !kind.is_final()).collect();
        assert_eq!(open, [Kind::Busy, Kind::Unavailable, Kind::Timeout]);
    }

    #[test]
    fn a_status_message_is_one_line() {
        let status = tonic::Status::from(Error::internal("disk a:\n  broken\r\nreply"));
        assert_eq!((status.code(), status.message()), (Code::Internal, "disk a: broken reply"));
    }

    #[test]
    fn a_status_keeps_the_cause_for_the_log() {
        let error = Error::internal("disk a").caused_by(std::io::Error::other("torn"));
        let status = tonic::Status::from(error);
        assert_eq!(std::error::Error::source(&status).unwrap().to_string(), "torn");
    }
}
