//! The one table of Azure's words, for refusals that Azure gives the code of another: who reads the code alone takes
//! a VM that is being deleted for one that only does not want to now. Each row has the code, the part of the message
//! that does not vary, and where the text was recorded. Nowhere else is a message looked into.

use super::ErrorKind;
use super::body::Fault;

/// Code, unvarying part of the message, kind.
const TABLE: [(&str, &str, ErrorKind); 3] = [
    // "Operation '{0}' is not allowed on VM '{1}' since the VM is marked for deletion. You can only retry the
    // Delete operation (or wait for an ongoing one to complete)." (Azure's list of error messages of VMs)
    ("OperationNotAllowed", "since the VM is marked for deletion", ErrorKind::NotFound),
    // "'Put on Virtual Machine Scale Set VM Instance' is not allowed on Virtual Machine Scale Set '…' since it is
    // marked for deletion." (known to the Kubernetes cloud provider by beginning and end)
    ("OperationNotAllowed", "since it is marked for deletion", ErrorKind::NotFound),
    // "The provided instanceId 1181 is not an active Virtual Machine Scale Set VM instanceId.", where the target
    // `instanceIds` is left out (known to the Kubernetes cloud provider by these words)
    ("InvalidParameter", "is not an active Virtual Machine Scale Set VM instanceId", ErrorKind::NotFound),
];

/// The kind of a refusal that its code does not tell.
pub(super) fn kind(fault: &Fault) -> Option<ErrorKind> {
    let code = fault.code.as_deref()?;
    let row = TABLE.iter().find(|(wanted, words, _)| code == *wanted && fault.message.contains(words));
    row.map(|(.., kind)| *kind)
}

#[cfg(test)]
mod tests {
    use crate::error::{ErrorKind, body, code};

    /// The answers to an update of a VM that is not there any more, as they were recorded.
    const GONE: [(u16, &str); 8] = [
        (
            404,
            r#"{"error":{"code":"ResourceNotFound","message":"The Resource 'Microsoft.Compute/virtualMachines/vm' under resource group 'rg' was not found. For more details please go to https://aka.ms/ARMResourceNotFoundFix"}}"#,
        ),
        (
            404,
            r#"{"error":{"code":"ParentResourceNotFound","message":"Can not perform requested operation on nested resource. Parent resource 'set' not found."}}"#,
        ),
        (
            404,
            r#"{"error":{"code":"ResourceGroupNotFound","message":"Resource group 'rg' could not be found."}}"#,
        ),
        (
            404,
            r#"{"error":{"code":"NotFound","message":"The entity was not found in this Azure location."}}"#,
        ),
        (404, r#"{"error":{"code":"VMNotFound","message":"The VM 'vm' cannot be found."}}"#),
        (
            400,
            r#"{"error":{"code":"InvalidParameter","message":"The provided instanceId 1181 is not an active Virtual Machine Scale Set VM instanceId.","target":"instanceIds"}}"#,
        ),
        (
            409,
            r#"{"error":{"code":"OperationNotAllowed","message":"Operation 'attachDetachDataDisks' is not allowed on VM 'vm' since the VM is marked for deletion. You can only retry the Delete operation (or wait for an ongoing one to complete)."}}"#,
        ),
        (
            409,
            r#"{"code":"OperationNotAllowed","message":"'Put on Virtual Machine Scale Set VM Instance' is not allowed on Virtual Machine Scale Set 'set' since it is marked for deletion."}"#,
        ),
    ];

    #[test]
    fn a_vm_that_is_gone_is_not_found_in_whatever_words() {
        for (status, text) in GONE {
            let fault = body::read(text.as_bytes());
            assert_eq!(code::kind(status, &fault, None), ErrorKind::NotFound, "{text}");
            assert_eq!(code::failed_operation(&fault, false), ErrorKind::NotFound, "{text}");
        }
        let untargeted = GONE[5].1.replace(r#","target":"instanceIds""#, "");
        assert_eq!(code::kind(400, &body::read(untargeted.as_bytes()), None), ErrorKind::NotFound);
    }

    #[test]
    fn other_refusals_with_these_codes_or_words_are_not_taken_for_it() {
        let rows = [
            (
                409,
                r#"{"error":{"code":"OperationNotAllowed","message":"Operation 'x' is not allowed on VM 'vm' since another operation is in progress."}}"#,
                ErrorKind::NotAllowed,
            ),
            (
                400,
                r#"{"error":{"code":"InvalidParameter","message":"Virtual Machine Scale Set VM instanceId must be a number.","target":"instanceId"}}"#,
                ErrorKind::Invalid,
            ),
            (
                409,
                r#"{"error":{"code":"Conflict","message":"since the VM is marked for deletion"}}"#,
                ErrorKind::Conflict,
            ),
            (
                503,
                r#"{"error":{"code":"OperationNotAllowed","message":"since the VM is marked for deletion"}}"#,
                ErrorKind::Transient,
            ),
            (404, "<html>since the VM is marked for deletion</html>", ErrorKind::Transient),
        ];
        for (status, text, expected) in rows {
            assert_eq!(code::kind(status, &body::read(text.as_bytes()), None), expected, "{text}");
        }
    }

    #[test]
    fn policies_and_locks_have_their_kinds() {
        let policy = r#"{"error":{"code":"RequestDisallowedByPolicy","target":"pvc-1","message":"Resource 'pvc-1' was disallowed by policy. Policy identifiers: '[…]'."}}"#;
        let lock = r#"{"error":{"code":"ScopeLocked","message":"The scope '…' cannot perform delete operation because following scope(s) are locked: '…'. Please remove the lock and try again."}}"#;
        for (status, text, expected) in [(403, policy, ErrorKind::Policy), (409, lock, ErrorKind::Locked)] {
            let fault = body::read(text.as_bytes());
            assert_eq!(code::kind(status, &fault, None), expected, "{text}");
            assert_eq!(code::failed_operation(&fault, false), expected, "{text}");
        }
    }
}
