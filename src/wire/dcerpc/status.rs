//! Fault statuses in words (C706 appendix E, MS-ERREF 2.2, MS-RPCE 3.3.3.5).
//!
//! Servers mix the statuses of the DCE with Windows error numbers; both are here. What to do about them is not.

/// Access denied.
pub const ACCESS_DENIED: u32 = 5;
/// The server's security package refused the client (`RPC_S_SEC_PKG_ERROR`).
pub const SEC_PKG_ERROR: u32 = 0x721;
/// The arguments could not be decoded (`RPC_X_BAD_STUB_DATA`).
pub const BAD_STUB_DATA: u32 = 0x6f7;
/// No such function in the interface (`nca_s_op_rng_error`).
pub const OP_RANGE_ERROR: u32 = 0x1c01_0002;
/// No such interface (`nca_s_unk_if`).
pub const UNKNOWN_INTERFACE: u32 = 0x1c01_0003;
/// The context handle is not, or no longer, known (`nca_s_fault_context_mismatch`).
pub const CONTEXT_MISMATCH: u32 = 0x1c00_001a;
/// The server found a protocol error (`nca_s_proto_error`).
pub const PROTOCOL_ERROR: u32 = 0x1c01_000b;
/// The call was cancelled (`nca_s_fault_cancel`).
pub const CANCELLED: u32 = 0x1c00_000d;

const WORDS: &[(u32, &str)] = &[
    (ACCESS_DENIED, "access denied"),
    (8, "the kind of authentication is not recognised"),
    (14, "the server is out of memory"),
    (0x57, "a parameter is wrong"),
    (1223, "the call was cancelled"),
    (1460, "the call timed out on the server"),
    (0x6ba, "the RPC server is unavailable"),
    (0x6bb, "the server is too busy"),
    (0x6be, "the call failed"),
    (0x6bf, "the call failed and was not executed"),
    (0x6c0, "the server found a protocol error"),
    (0x6c6, "an array bound is wrong"),
    (0x6d1, "the procedure number is out of range"),
    (0x6d3, "the kind of authentication is not known"),
    (0x6d4, "the level of authentication is not known"),
    (0x6d8, "the server cannot do this"),
    (
        0x6d9,
        "no more endpoints are available from the endpoint mapper",
    ),
    (0x6e4, "the operation is not supported"),
    (0x6f4, "a null reference was passed to the stub"),
    (BAD_STUB_DATA, "the arguments could not be decoded"),
    (
        SEC_PKG_ERROR,
        "the server's security package refused the client",
    ),
    (0x71a, "the call was cancelled"),
    (0x776, "the client may not be impersonated"),
    (0x1c00_0001, "integer division by zero in the server"),
    (0x1c00_0002, "address error in the server"),
    (0x1c00_0006, "an invalid union tag"),
    (0x1c00_0007, "an invalid array bound"),
    (0x1c00_0008, "the protocol versions do not match"),
    (0x1c00_0009, "the call was rejected without a reason"),
    (0x1c00_000b, "the server could not tell who the client is"),
    (0x1c00_000c, "the manager function was not entered"),
    (CANCELLED, "the call was cancelled"),
    (0x1c00_0012, "the server failed without a reason"),
    (0x1c00_0013, "the server lost a connection of its own"),
    (
        CONTEXT_MISMATCH,
        "the context handle is not known there any more",
    ),
    (0x1c00_001b, "the server is out of memory"),
    (0x1c00_001c, "the presentation context is not known"),
    (0x1c00_001d, "the level of authentication is not supported"),
    (0x1c00_001f, "the checksum is wrong"),
    (0x1c00_0024, "the object was not found"),
    (0x1c01_0001, "communication failed"),
    (OP_RANGE_ERROR, "the function is not implemented there"),
    (UNKNOWN_INTERFACE, "the interface is not known there"),
    (0x1c01_0006, "the server has been restarted"),
    (0x1c01_0009, "the client has been taken for crashed"),
    (PROTOCOL_ERROR, "the server found a protocol error"),
    (0x1c01_0013, "the results are too big"),
    (0x1c01_0014, "the server is too busy"),
    (0x1c01_0017, "the type is not supported"),
    (0x16c9_a0d6, "the endpoint is not registered"),
    (0x8001_0105, "the server threw an exception"),
    (0x8001_0108, "the object is gone"),
    (0x8007_0005, "access denied"),
];

/// A status in words, with its number.
#[must_use]
pub fn words(status: u32) -> String {
    match WORDS.iter().find(|(known, _)| *known == status) {
        Some((_, words)) => format!("{words} ({status:#x})"),
        None => format!("status {status:#x}"),
    }
}
