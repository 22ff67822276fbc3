//! Arguments of the calls (MS-WMI 3.1.4).

use super::MAX_OBJECTS;
use crate::wire::dcom::orpc;
use crate::wire::ndr::Writer;
use crate::wire::windows::{self, Guid};

/// `NTLMLogin` (3.1.4.1.4): opens a namespace, as `//./root/cimv2`, in the host's own language.
#[must_use]
pub fn ntlm_login(causality: Guid, namespace: &str) -> Vec<u8> {
    let mut stub = orpc::call(orpc::CALL, causality);
    stub.unique_wide_string(Some(namespace))
        .unique_wide_string(None)
        .u32(0)
        .pointer(false);
    stub.into_bytes()
}

/// `ExecQuery` (3.1.4.3.18): asks a query in WQL; flags as [`super::FORWARD_ONLY_AND_AT_ONCE`].
#[must_use]
pub fn exec_query(causality: Guid, wql: &str, flags: u32) -> Vec<u8> {
    let mut stub = orpc::call(orpc::CALL, causality);
    bstr(&mut stub, "WQL");
    bstr(&mut stub, wql);
    stub.u32(flags).pointer(false);
    stub.into_bytes()
}

/// `Next` (3.1.4.4.2): at most `count` objects, and at most [`MAX_OBJECTS`], answered when they are there or after
/// `timeout_ms` with what there is; -1 waits for them all.
#[must_use]
pub fn next(causality: Guid, timeout_ms: i32, count: u32) -> Vec<u8> {
    let mut stub = orpc::call(orpc::CALL, causality);
    stub.u32(timeout_ms.cast_unsigned())
        .u32(count.min(MAX_OBJECTS));
    stub.into_bytes()
}

/// A BSTR (MS-OAUT 2.2.23): a counted string without a NUL.
fn bstr(stub: &mut Writer, text: &str) {
    let bytes = windows::to_utf16(text);
    let units = bytes.len() / 2;
    stub.pointer(true)
        .length(units)
        .length(bytes.len())
        .length(units)
        .raw(&bytes);
}
