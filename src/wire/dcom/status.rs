//! HRESULTs of DCOM and of WMI: their names, and what they mean in plain words (MS-ERREF 2.1.1, MS-WMI 2.2.11).
//!
//! Calls of WMI end with either kind, so both are in one table. What to do about them is not known here.

/// The account may not use DCOM, or not this class (`E_ACCESSDENIED`).
pub const ACCESS_DENIED: u32 = 0x8007_0005;
/// The host is out of memory (`E_OUTOFMEMORY`).
pub const OUT_OF_MEMORY: u32 = 0x8007_000e;
/// Nobody listens (`RPC_S_SERVER_UNAVAILABLE` as an HRESULT).
pub const SERVER_UNAVAILABLE: u32 = 0x8007_06ba;
/// There is no such class of objects (`REGDB_E_CLASSNOTREG`).
pub const CLASS_NOT_REGISTERED: u32 = 0x8004_0154;
/// The process that holds the objects did not start (`CO_E_SERVER_EXEC_FAILURE`).
pub const SERVER_EXECUTION_FAILED: u32 = 0x8008_0005;
/// The object is gone (`RPC_E_DISCONNECTED`).
pub const DISCONNECTED: u32 = 0x8001_0108;

/// All is well, and there may be more (`WBEM_S_NO_ERROR`).
pub const WBEM_NO_ERROR: u32 = 0;
/// All is well, and this was all (`WBEM_S_FALSE`).
pub const WBEM_FALSE: u32 = 1;
/// Not everything came in time, and there is more (`WBEM_S_TIMEDOUT`).
pub const WBEM_TIMED_OUT: u32 = 0x0004_0004;
/// There is no more (`WBEM_S_NO_MORE_DATA`).
pub const WBEM_NO_MORE_DATA: u32 = 0x0004_0005;
/// The host failed (`WBEM_E_FAILED`).
pub const WBEM_FAILED: u32 = 0x8004_1001;
/// The account may not use the namespace from afar (`WBEM_E_ACCESS_DENIED`).
pub const WBEM_ACCESS_DENIED: u32 = 0x8004_1003;
/// There is no such namespace (`WBEM_E_INVALID_NAMESPACE`).
pub const WBEM_INVALID_NAMESPACE: u32 = 0x8004_100e;
/// There is no such class (`WBEM_E_INVALID_CLASS`).
pub const WBEM_INVALID_CLASS: u32 = 0x8004_1010;
/// The query is wrong (`WBEM_E_INVALID_QUERY`).
pub const WBEM_INVALID_QUERY: u32 = 0x8004_1017;
/// The host is shutting down (`WBEM_E_SHUTTING_DOWN`).
pub const WBEM_SHUTTING_DOWN: u32 = 0x8004_1033;
/// Too many queries or objects at once (`WBEM_E_QUOTA_VIOLATION`).
pub const WBEM_QUOTA: u32 = 0x8004_106c;

/// Number, name and meaning.
const KNOWN: &[(u32, &str, &str)] = &[
    (WBEM_NO_ERROR, "WBEM_S_NO_ERROR", "success"),
    (WBEM_FALSE, "WBEM_S_FALSE", "there is no more"),
    (
        WBEM_TIMED_OUT,
        "WBEM_S_TIMEDOUT",
        "not everything came in time",
    ),
    (WBEM_NO_MORE_DATA, "WBEM_S_NO_MORE_DATA", "there is no more"),
    (
        0x0004_0010,
        "WBEM_S_PARTIAL_RESULTS",
        "the account may not see everything that was asked for",
    ),
    (
        0x8000_4001,
        "E_NOTIMPL",
        "the function is not implemented there",
    ),
    (
        0x8000_4002,
        "E_NOINTERFACE",
        "the object has no such interface",
    ),
    (0x8000_4005, "E_FAIL", "the host failed without saying why"),
    (0x8000_ffff, "E_UNEXPECTED", "the host failed unexpectedly"),
    (
        0x8001_0105,
        "RPC_E_SERVERFAULT",
        "the server threw an exception",
    ),
    (DISCONNECTED, "RPC_E_DISCONNECTED", "the object is gone"),
    (
        0x8001_0110,
        "RPC_E_VERSION_MISMATCH",
        "the host speaks another version of DCOM",
    ),
    (
        0x8001_011d,
        "RPC_E_INVALID_OBJREF",
        "the host does not understand the reference",
    ),
    (
        CLASS_NOT_REGISTERED,
        "REGDB_E_CLASSNOTREG",
        "the class is not registered: WMI is not installed there",
    ),
    (WBEM_FAILED, "WBEM_E_FAILED", "WMI failed on the host"),
    (0x8004_1002, "WBEM_E_NOT_FOUND", "WMI found no such object"),
    (
        WBEM_ACCESS_DENIED,
        "WBEM_E_ACCESS_DENIED",
        "the account may not use the WMI namespace remotely",
    ),
    (
        0x8004_1004,
        "WBEM_E_PROVIDER_FAILURE",
        "a WMI provider failed on the host",
    ),
    (
        0x8004_1006,
        "WBEM_E_OUT_OF_MEMORY",
        "WMI is out of memory on the host",
    ),
    (
        0x8004_1008,
        "WBEM_E_INVALID_PARAMETER",
        "WMI does not accept an argument",
    ),
    (
        0x8004_100a,
        "WBEM_E_CRITICAL_ERROR",
        "WMI failed badly on the host",
    ),
    (
        WBEM_INVALID_NAMESPACE,
        "WBEM_E_INVALID_NAMESPACE",
        "there is no such WMI namespace",
    ),
    (
        WBEM_INVALID_CLASS,
        "WBEM_E_INVALID_CLASS",
        "there is no such WMI class",
    ),
    (
        0x8004_1011,
        "WBEM_E_PROVIDER_NOT_FOUND",
        "a WMI provider is missing on the host",
    ),
    (
        0x8004_1013,
        "WBEM_E_PROVIDER_LOAD_FAILURE",
        "a WMI provider cannot be loaded on the host",
    ),
    (
        0x8004_1015,
        "WBEM_E_TRANSPORT_FAILURE",
        "WMI cannot reach its own service on the host",
    ),
    (
        WBEM_INVALID_QUERY,
        "WBEM_E_INVALID_QUERY",
        "WMI does not accept the query",
    ),
    (
        0x8004_1018,
        "WBEM_E_INVALID_QUERY_TYPE",
        "WMI does not know the query language",
    ),
    (
        0x8004_1032,
        "WBEM_E_CALL_CANCELLED",
        "WMI cancelled the call",
    ),
    (
        WBEM_SHUTTING_DOWN,
        "WBEM_E_SHUTTING_DOWN",
        "WMI is shutting down on the host",
    ),
    (
        WBEM_QUOTA,
        "WBEM_E_QUOTA_VIOLATION",
        "WMI is over its quota on the host",
    ),
    (
        ACCESS_DENIED,
        "E_ACCESSDENIED",
        "the account may not use DCOM on the host",
    ),
    (OUT_OF_MEMORY, "E_OUTOFMEMORY", "the host is out of memory"),
    (
        0x8007_0057,
        "E_INVALIDARG",
        "the host does not accept an argument",
    ),
    (
        SERVER_UNAVAILABLE,
        "RPC_S_SERVER_UNAVAILABLE",
        "the RPC server is unavailable",
    ),
    (
        0x8007_06be,
        "RPC_S_CALL_FAILED",
        "the RPC call failed on the host",
    ),
    (
        0x8007_0721,
        "RPC_S_SEC_PKG_ERROR",
        "the host's security package refused the client",
    ),
    (
        SERVER_EXECUTION_FAILED,
        "CO_E_SERVER_EXEC_FAILURE",
        "the WMI service did not start on the host",
    ),
];

fn find(hresult: u32) -> Option<&'static (u32, &'static str, &'static str)> {
    KNOWN.iter().find(|(known, _, _)| *known == hresult)
}

/// Its name as Microsoft prints it; `None` for what is not known here.
#[must_use]
pub fn name(hresult: u32) -> Option<&'static str> {
    find(hresult).map(|(_, name, _)| *name)
}

/// What it means, with name and number; the number alone if it is not known.
#[must_use]
pub fn words(hresult: u32) -> String {
    match find(hresult) {
        Some((_, name, words)) => format!("{words} ({name}, {hresult:#010x})"),
        None => format!("status {hresult:#010x}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_have_words_or_at_least_a_number() {
        assert_eq!(
            words(WBEM_ACCESS_DENIED),
            "the account may not use the WMI namespace remotely (WBEM_E_ACCESS_DENIED, 0x80041003)"
        );
        assert_eq!(words(0x8765_4321), "status 0x87654321");
        assert_eq!(
            words(WBEM_FALSE),
            "there is no more (WBEM_S_FALSE, 0x00000001)"
        );
        assert_eq!(name(0x8007_06ba), Some("RPC_S_SERVER_UNAVAILABLE"));
        assert_eq!(name(77), None);
    }

    #[test]
    fn every_status_is_listed_once_and_in_order() {
        assert!(KNOWN.is_sorted_by_key(|(number, _, _)| number));
        let mut numbers: Vec<u32> = KNOWN.iter().map(|(number, _, _)| *number).collect();
        numbers.dedup();
        assert_eq!(numbers.len(), KNOWN.len());
    }

    #[test]
    fn what_operators_meet_has_a_name() {
        let met = [
            (0x8004_1003, "WBEM_E_ACCESS_DENIED"),
            (0x8004_100e, "WBEM_E_INVALID_NAMESPACE"),
            (0x8004_1010, "WBEM_E_INVALID_CLASS"),
            (0x8004_1017, "WBEM_E_INVALID_QUERY"),
            (0x8007_0005, "E_ACCESSDENIED"),
            (0x8007_06ba, "RPC_S_SERVER_UNAVAILABLE"),
            (0x8004_0154, "REGDB_E_CLASSNOTREG"),
            (0x8004_1001, "WBEM_E_FAILED"),
            (0x8004_1033, "WBEM_E_SHUTTING_DOWN"),
            (0x8007_000e, "E_OUTOFMEMORY"),
            (0x8004_1006, "WBEM_E_OUT_OF_MEMORY"),
            (0x8008_0005, "CO_E_SERVER_EXEC_FAILURE"),
            (0x8004_106c, "WBEM_E_QUOTA_VIOLATION"),
        ];
        for (number, expected) in met {
            assert_eq!(name(number), Some(expected), "{number:#x}");
        }
    }
}
