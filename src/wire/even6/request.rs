//! Arguments of the calls (MS-EVEN6 3.1.4).

use crate::wire::ndr::{ContextHandle, Writer};

/// Properties of a log (MS-EVEN6 3.1.4.15).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogProperty {
    /// How many records it holds.
    Records = 5,
    /// The number of the oldest one.
    OldestRecord = 6,
}

/// The size of the buffer for a property of a log: one variant (MS-EVEN6 2.2.18).
pub const PROPERTY_BYTES: usize = 16;

/// `EvtRpcRegisterRemoteSubscription` (3.1.4.8): a subscription to the records of a channel that the query selects.
#[must_use]
pub fn register_subscription(
    channel: &str,
    query: &str,
    bookmark: Option<&str>,
    flags: u32,
) -> Vec<u8> {
    let mut stub = Writer::new();
    stub.unique_wide_string(Some(channel))
        .align(4)
        .wide_string(query)
        .align(4)
        .unique_wide_string(bookmark)
        .u32(flags);
    stub.into_bytes()
}

/// `EvtRpcRemoteSubscriptionNextAsync` (3.1.4.9): answered when there are records.
#[must_use]
pub fn subscription_next_async(subscription: &ContextHandle, records: u32) -> Vec<u8> {
    let mut stub = Writer::new();
    stub.handle(subscription).u32(records).u32(0);
    stub.into_bytes()
}

/// `EvtRpcRemoteSubscriptionNext` (3.1.4.10): answered when there are records, or after `wait_ms`.
#[must_use]
pub fn subscription_next(subscription: &ContextHandle, records: u32, wait_ms: u32) -> Vec<u8> {
    let mut stub = Writer::new();
    stub.handle(subscription).u32(records).u32(wait_ms).u32(0);
    stub.into_bytes()
}

/// `EvtRpcRegisterLogQuery` (3.1.4.12): a query of the records that a channel has now.
#[must_use]
pub fn register_query(channel: &str, query: &str, flags: u32) -> Vec<u8> {
    let mut stub = Writer::new();
    stub.unique_wide_string(Some(channel))
        .align(4)
        .wide_string(query)
        .u32(flags);
    stub.into_bytes()
}

/// `EvtRpcQueryNext` (3.1.4.13): answered with what there is, or after `wait_ms`.
#[must_use]
pub fn query_next(query: &ContextHandle, records: u32, wait_ms: u32) -> Vec<u8> {
    subscription_next(query, records, wait_ms)
}

/// `EvtRpcClose` (3.1.4.33): one handle.
#[must_use]
pub fn handle(handle: &ContextHandle) -> Vec<u8> {
    let mut stub = Writer::new();
    stub.handle(handle);
    stub.into_bytes()
}

/// `EvtRpcOpenLogHandle` (3.1.4.19): a channel's log.
#[must_use]
pub fn open_log(channel: &str) -> Vec<u8> {
    let mut stub = Writer::new();
    stub.wide_string(channel).u32(super::flag::CHANNEL);
    stub.into_bytes()
}

/// `EvtRpcGetLogFileInfo` (3.1.4.15): a property of a log.
#[must_use]
pub fn log_info(log: &ContextHandle, property: LogProperty) -> Vec<u8> {
    let mut stub = Writer::new();
    stub.handle(log).u32(property as u32).length(PROPERTY_BYTES);
    stub.into_bytes()
}

/// `EvtRpcGetChannelList` (3.1.4.20): the names of all channels.
#[must_use]
pub fn channel_list() -> Vec<u8> {
    let mut stub = Writer::new();
    stub.u32(0);
    stub.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hexadecimal as impacket 0.13.1 packs the same arguments, its random referents written as ours.
    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
        let pair = |pair: &[u8]| {
            u8::from_str_radix(std::str::from_utf8(pair).expect("text"), 16).expect("digits")
        };
        digits.chunks(2).map(pair).collect()
    }

    #[test]
    fn a_subscription_is_asked_for_as_impacket_does() {
        let ours = register_subscription("Sec", "*", Some("<b/>"), 0x10003);
        let theirs = "04000200 04000000 00000000 04000000 5300650063000000 \
                      02000000 00000000 02000000 2a000000 \
                      08000200 05000000 00000000 05000000 3c0062002f003e000000 0000 03000100";
        assert_eq!(ours, bytes(theirs));
    }

    #[test]
    fn a_query_is_asked_for_as_impacket_does() {
        let ours = register_query("Sec", "*", 0x101);
        let theirs = "04000200 04000000 00000000 04000000 5300650063000000 \
                      02000000 00000000 02000000 2a000000 01010000";
        assert_eq!(ours, bytes(theirs));
        let handle = ContextHandle([9; 20]);
        let ours = query_next(&handle, 5, 1000);
        assert_eq!(ours[..20], [9; 20]);
        assert_eq!(ours[20..], bytes("05000000 e8030000 00000000"));
    }
}
