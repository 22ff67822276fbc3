//! Windows Management Instrumentation over DCOM (MS-WMI), the client's side: log in, ask a query, read objects.
//!
//! [`request`] encodes the calls, [`reply`] decodes their results, [`object`] reads the objects in them (MS-WMIO),
//! [`path`] the names by which objects refer to each other, [`status`] puts results into words. Only what travels: what
//! the classes mean is not known here.

pub mod object;
pub mod path;
pub mod reply;
pub mod request;

use super::dcerpc::SyntaxId;
use super::windows::Guid;

pub use super::dcom::{ReplyError, status};
pub use object::{Object, Value};
pub use path::Path;

/// `CLSID_WbemLevel1Login`, the class to make (MS-WMI 1.9).
pub const LEVEL1_LOGIN_CLASS: Guid = Guid::from_u128(0x8bc3_f05e_d86b_11d0_a075_00c0_4fb6_8820);
/// `IWbemLevel1Login` (MS-WMI 1.9).
pub const LEVEL1_LOGIN: SyntaxId = SyntaxId::new(0xf309_ad18_d86a_11d0_a075_00c0_4fb6_8820, 0, 0);
/// `IWbemServices` (MS-WMI 1.9).
pub const SERVICES: SyntaxId = SyntaxId::new(0x9556_dc99_828c_11cf_a37e_00aa_0032_40c7, 0, 0);
/// `IEnumWbemClassObject` (MS-WMI 1.9).
pub const ENUM_CLASS_OBJECT: SyntaxId =
    SyntaxId::new(0x0279_47e1_d731_11ce_a357_0000_0000_0001, 0, 0);

/// Numbers of the functions (MS-WMI 3.1.4).
pub mod opnum {
    /// `IWbemLevel1Login::NTLMLogin`, 3.1.4.1.4.
    pub const NTLM_LOGIN: u16 = 6;
    /// `IWbemServices::ExecQuery`, 3.1.4.3.18.
    pub const EXEC_QUERY: u16 = 20;
    /// `IEnumWbemClassObject::Next`, 3.1.4.4.2.
    pub const NEXT: u16 = 4;
}

/// Flags of a query (MS-WMI 2.2.6): the call returns before there are results, and these are read once, in order.
pub const FORWARD_ONLY_AND_AT_ONCE: u32 = 0x30;

/// Most objects that are asked for, and taken, at once.
pub const MAX_OBJECTS: u32 = 128;
/// Most bytes of an object: with the description of its class some 2 kB for a few properties, 12 kB for the largest.
pub const MAX_OBJECT_BYTES: usize = 256 << 10;
/// Most bytes of a whole reply.
pub const MAX_REPLY_BYTES: usize = 2 << 20;

#[cfg(test)]
mod tests;
