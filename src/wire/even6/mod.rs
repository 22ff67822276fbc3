//! EventLog Remoting Protocol version 6 (MS-EVEN6): the calls that reading a log needs.
//!
//! Requests are encoded in `request`, replies decoded in `reply`, statuses named in `status`, and the texts that a server
//! parses (bookmarks, queries) written in `text`. What travels on the wire and nothing else: no connection, no decision,
//! and of what records say only where each begins ([`crate::wire::binxml`] reads them).

pub mod reply;
pub mod request;
pub mod status;
pub mod text;

use super::dcerpc::SyntaxId;

/// The interface, `f6beaff7-1e19-4fbb-9f8f-b89e2018337c` version 1.0 (MS-EVEN6 2.1).
pub const INTERFACE: SyntaxId = SyntaxId::new(0xf6be_aff7_1e19_4fbb_9f8f_b89e_2018_337c, 1, 0);

/// Numbers of the functions (MS-EVEN6 3.1.4).
pub mod opnum {
    /// `EvtRpcRegisterRemoteSubscription`, 3.1.4.8.
    pub const REGISTER_SUBSCRIPTION: u16 = 0;
    /// `EvtRpcRemoteSubscriptionNextAsync`, 3.1.4.9.
    pub const SUBSCRIPTION_NEXT_ASYNC: u16 = 1;
    /// `EvtRpcRemoteSubscriptionNext`, 3.1.4.10.
    pub const SUBSCRIPTION_NEXT: u16 = 2;
    /// `EvtRpcRegisterLogQuery`, 3.1.4.12.
    pub const REGISTER_QUERY: u16 = 5;
    /// `EvtRpcQueryNext`, 3.1.4.13.
    pub const QUERY_NEXT: u16 = 11;
    /// `EvtRpcClose`, 3.1.4.33.
    pub const CLOSE: u16 = 13;
    /// `EvtRpcOpenLogHandle`, 3.1.4.19.
    pub const OPEN_LOG: u16 = 17;
    /// `EvtRpcGetLogFileInfo`, 3.1.4.15.
    pub const LOG_INFO: u16 = 18;
    /// `EvtRpcGetChannelList`, 3.1.4.20.
    pub const CHANNEL_LIST: u16 = 19;
}

/// Flags of subscriptions (MS-EVEN6 3.1.4.8) and queries (3.1.4.12).
pub mod flag {
    /// A subscription to what is written from now on.
    pub const FUTURE: u32 = 0x0000_0001;
    /// A subscription from the oldest record on.
    pub const OLDEST: u32 = 0x0000_0002;
    /// A subscription to what follows the bookmark.
    pub const AFTER_BOOKMARK: u32 = 0x0000_0003;
    /// A subscription fails when what follows the bookmark is gone.
    pub const STRICT: u32 = 0x0001_0000;
    /// A subscription that the client asks, instead of being told.
    pub const PULL: u32 = 0x1000_0000;
    /// A query of a channel, not of a file.
    pub const CHANNEL: u32 = 0x0000_0001;
    /// A query from the oldest record to the newest.
    pub const FORWARD: u32 = 0x0000_0100;
    /// A query from the newest record to the oldest.
    pub const BACKWARD: u32 = 0x0000_0200;
}

/// Most records in one reply (MS-EVEN6 appendix A: `MAX_RPC_RECORD_COUNT`).
pub const MAX_RECORDS: usize = 1024;
/// Most bytes of records in one reply (`MAX_RPC_BATCH_SIZE`).
pub const MAX_BATCH_BYTES: usize = 2 << 20;
/// Most bytes of a whole reply: records, their two tables, and what is around them.
pub const MAX_REPLY_BYTES: usize = MAX_BATCH_BYTES + 8 * MAX_RECORDS + 256;
/// Most channels that a reply may tell of (`MAX_RPC_QUERY_CHANNEL_SIZE`).
pub const MAX_QUERY_CHANNELS: usize = 512;
/// Longest name of a channel in UTF-16 units (`MAX_RPC_CHANNEL_NAME_LENGTH`).
pub const MAX_CHANNEL_UNITS: usize = 512;
