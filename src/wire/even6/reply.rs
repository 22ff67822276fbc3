//! Results of the calls (MS-EVEN6 3.1.4), bounded before anything is kept.

use thiserror::Error;

use super::status::Win32;
use super::{MAX_BATCH_BYTES, MAX_CHANNEL_UNITS, MAX_QUERY_CHANNELS, MAX_RECORDS};
use crate::wire::cursor::{Cursor, DecodeError};
use crate::wire::ndr::{ContextHandle, Reader};

/// Most channels in a list (MS-EVEN6 appendix A: `MAX_RPC_CHANNEL_COUNT`).
const MAX_CHANNELS: usize = 8192;
/// Longest path of a channel in a list, in UTF-16 units (`MAX_RPC_CHANNEL_PATH_LENGTH`).
const MAX_PATH_UNITS: usize = 32_768;
/// Smallest result-set entry: its five lengths (MS-EVEN6 2.2.17).
const ENTRY_HEADER_BYTES: usize = 20;

/// Why a call gave no result.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ReplyError {
    /// The server says why.
    #[error("{0}")]
    Status(Win32),
    /// The bytes are not such a reply.
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

impl ReplyError {
    /// The server's status, if it gave one.
    #[must_use]
    pub fn status(&self) -> Option<Win32> {
        match self {
            Self::Status(status) => Some(*status),
            Self::Decode(_) => None,
        }
    }
}

/// A subscription or a query at the server, and the handle that cancels its calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registered {
    /// For the calls that ask for records.
    pub handle: ContextHandle,
    /// For `EvtRpcCancel`.
    pub control: ContextHandle,
}

/// `EvtRpcRegisterRemoteSubscription` and `EvtRpcRegisterLogQuery`: their results have one shape.
///
/// # Errors
/// [`ReplyError`]; the status of a channel counts where the call itself has none.
pub fn registered(stub: &[u8]) -> Result<Registered, ReplyError> {
    let mut reader = Reader::new("the reply to a registration", stub);
    let handle = reader.handle("handle")?;
    let control = reader.handle("control")?;
    let announced = reader.length("queryChannelInfoSize", MAX_QUERY_CHANNELS)?;
    let mut channel_status = 0;
    if reader.pointer("queryChannelInfo")? {
        let count = reader.length("queryChannelInfo", announced)?;
        let mut named = 0;
        for _ in 0..count {
            named += usize::from(reader.pointer("name")?);
            let status = reader.u32("status")?;
            channel_status = if channel_status == 0 {
                status
            } else {
                channel_status
            };
        }
        for _ in 0..named {
            reader.wide_string("name", MAX_CHANNEL_UNITS)?;
        }
    }
    let error = reader.u32("error")?;
    reader.u32("sub error")?;
    reader.u32("sub error parameter")?;
    let status = reader.u32("status")?;
    let first = [status, error, channel_status]
        .into_iter()
        .find(|&s| s != 0);
    if let Some(status) = first {
        return Err(ReplyError::Status(Win32(status)));
    }
    if handle.is_null() {
        return Err(ReplyError::Status(Win32::INVALID_HANDLE));
    }
    Ok(Registered { handle, control })
}

/// Records of one reply, as they came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    bytes: Vec<u8>,
    /// Where the BinXML of each record is.
    places: Vec<(usize, usize)>,
}

impl Batch {
    /// How many records.
    #[must_use]
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// The BinXML of each record, in the log's order.
    pub fn records(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.places
            .iter()
            .map(|&(start, end)| self.bytes.get(start..end).unwrap_or_default())
    }
}

/// `EvtRpcRemoteSubscriptionNextAsync`, `EvtRpcRemoteSubscriptionNext` and `EvtRpcQueryNext`: their results have one
/// shape. Empty if nothing was there in time.
///
/// # Errors
/// [`ReplyError`]
pub fn batch(stub: Vec<u8>) -> Result<Batch, ReplyError> {
    let mut reader = Reader::new("a batch of records", &stub);
    let records = reader.length("numActualRecords", MAX_RECORDS)?;
    let indices: Vec<u32> = table(&mut reader, "eventDataIndices", records)?;
    let sizes: Vec<u32> = table(&mut reader, "eventDataSizes", records)?;
    let announced = reader.length("resultBufferSize", MAX_BATCH_BYTES)?;
    let (start, length) = if reader.pointer("resultBuffer")? {
        let buffer = reader.conformant_bytes("resultBuffer", announced)?;
        (reader.cursor().offset() - buffer.len(), buffer.len())
    } else {
        (0, 0)
    };
    let status = Win32(reader.u32("status")?);
    if status != Win32::SUCCESS && !status.means_nothing_there() {
        return Err(ReplyError::Status(status));
    }
    let buffer = stub.get(start..start + length).unwrap_or_default();
    let mut places = Vec::with_capacity(records);
    for (index, size) in indices.into_iter().zip(sizes) {
        let (from, to) = binxml(buffer, index, size)?;
        places.push((start + from, start + to));
    }
    Ok(Batch {
        bytes: stub,
        places,
    })
}

/// An array of numbers behind a pointer, as long as there are records.
fn table(
    reader: &mut Reader<'_>,
    field: &'static str,
    records: usize,
) -> Result<Vec<u32>, DecodeError> {
    if !reader.pointer(field)? {
        return Ok(Vec::new());
    }
    Ok(reader.conformant_u32s(field, records)?.collect())
}

/// Where the BinXML of an entry is in the buffer (MS-EVEN6 2.2.17).
fn binxml(buffer: &[u8], index: u32, size: u32) -> Result<(usize, usize), DecodeError> {
    const ENTRY: &str = "a result-set entry";
    let whole = Cursor::new(ENTRY, buffer);
    let beyond = || whole.too_much("size", buffer.len());
    let index = usize::try_from(index).map_err(|_| beyond())?;
    let size = usize::try_from(size).map_err(|_| beyond())?;
    let entry = index
        .checked_add(size)
        .and_then(|end| buffer.get(index..end))
        .ok_or_else(beyond)?;
    let mut cursor = Cursor::new(ENTRY, entry);
    cursor.length("total size", entry.len())?;
    cursor.u32("header size")?;
    let offset = cursor.length("event offset", entry.len())?;
    cursor.u32("bookmark offset")?;
    let length = cursor.length("BinXML size", entry.len())?;
    // The offset points at the BinXML's size or behind it: servers and the specification differ, so the size decides.
    let start = offset.max(ENTRY_HEADER_BYTES);
    let end = start.checked_add(length).filter(|&end| end <= entry.len());
    let end = end.ok_or_else(|| cursor.too_much("BinXML size", entry.len()))?;
    Ok((index + start, index + end))
}

/// `EvtRpcClose`: whether the server is content; the null handle says no more.
///
/// # Errors
/// [`ReplyError`]
pub fn closed(stub: &[u8]) -> Result<(), ReplyError> {
    let mut reader = Reader::new("the reply to a close", stub);
    reader.handle("handle")?;
    status(reader.u32("status")?)
}

/// `EvtRpcOpenLogHandle`: the log.
///
/// # Errors
/// [`ReplyError`]
pub fn opened_log(stub: &[u8]) -> Result<ContextHandle, ReplyError> {
    let mut reader = Reader::new("the reply to opening a log", stub);
    let handle = reader.handle("handle")?;
    let error = reader.u32("error")?;
    reader.u32("sub error")?;
    reader.u32("sub error parameter")?;
    status(reader.u32("status")?)?;
    status(error)?;
    Ok(handle)
}

/// `EvtRpcGetLogFileInfo`: the property as a number (a variant, MS-EVEN6 2.2.18: eight bytes of value first).
///
/// # Errors
/// [`ReplyError`]
pub fn log_info(stub: &[u8]) -> Result<u64, ReplyError> {
    let mut reader = Reader::new("a property of a log", stub);
    let buffer = reader.conformant_bytes("value", super::request::PROPERTY_BYTES)?;
    reader.u32("value length")?;
    status(reader.u32("status")?)?;
    Ok(Cursor::new("a property of a log", buffer).u64("value")?)
}

/// `EvtRpcGetChannelList`: the names of channels.
///
/// # Errors
/// [`ReplyError`]
pub fn channel_list(stub: &[u8]) -> Result<Vec<String>, ReplyError> {
    let mut reader = Reader::new("a list of channels", stub);
    let announced = reader.length("numChannelPaths", MAX_CHANNELS)?;
    let mut names = Vec::new();
    if reader.pointer("channelPaths")? {
        let count = reader.length("channelPaths", announced)?;
        let mut named = 0;
        for _ in 0..count {
            named += usize::from(reader.pointer("path")?);
        }
        for _ in 0..named {
            names.push(reader.wide_string("path", MAX_PATH_UNITS)?);
        }
    }
    status(reader.u32("status")?)?;
    Ok(names)
}

fn status(status: u32) -> Result<(), ReplyError> {
    match status {
        0 => Ok(()),
        status => Err(ReplyError::Status(Win32(status))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::ndr::Writer;
    use proptest::prelude::*;

    fn entry(binxml: &[u8]) -> Vec<u8> {
        let mut entry = Vec::new();
        let total = 20 + binxml.len();
        for number in [total, 0x10, 0x10, total, binxml.len()] {
            entry.extend(u32::try_from(number).expect("small").to_le_bytes());
        }
        entry.extend(binxml);
        entry
    }

    fn reply(entries: &[Vec<u8>], status: u32) -> Vec<u8> {
        let mut stub = Writer::new();
        stub.length(entries.len());
        let sizes: Vec<u32> = entries
            .iter()
            .map(|e| u32::try_from(e.len()).expect("small"))
            .collect();
        let mut indices = Vec::new();
        let mut at = 0;
        for size in &sizes {
            indices.push(at);
            at += size;
        }
        stub.pointer(!entries.is_empty());
        if !entries.is_empty() {
            stub.conformant_u32s(&indices);
        }
        stub.pointer(!entries.is_empty());
        if !entries.is_empty() {
            stub.conformant_u32s(&sizes);
        }
        let buffer = entries.concat();
        stub.length(buffer.len()).pointer(!entries.is_empty());
        if !entries.is_empty() {
            stub.conformant_bytes(&buffer);
        }
        stub.u32(status);
        stub.into_bytes()
    }

    #[test]
    fn a_batch_says_where_each_record_is() {
        let batch = batch(reply(&[entry(b"one!"), entry(b"second")], 0)).expect("a batch");
        let records: Vec<&[u8]> = batch.records().collect();
        assert_eq!(records, [&b"one!"[..], b"second"]);
    }

    #[test]
    fn nothing_in_time_is_an_empty_batch_and_any_other_status_an_error() {
        assert!(batch(reply(&[], 1460)).expect("empty").is_empty());
        assert!(batch(reply(&[], 259)).expect("empty").is_empty());
        let error = batch(reply(&[], 5)).expect_err("denied");
        assert_eq!(error.status(), Some(Win32::ACCESS_DENIED));
    }

    #[test]
    fn a_batch_with_few_records_and_a_timeout_keeps_them() {
        let batch = batch(reply(&[entry(b"one!")], 1460)).expect("a batch");
        assert_eq!(batch.len(), 1);
    }

    #[test]
    fn a_registration_gives_its_handles_or_the_first_status() {
        let stub = |handle: u8, channel: u32, status: u32| {
            let mut stub = Writer::new();
            stub.handle(&ContextHandle([handle; 20]))
                .handle(&ContextHandle([2; 20]))
                .u32(1)
                .pointer(true)
                .u32(1)
                .pointer(true)
                .u32(channel)
                .wide_string("Security")
                .u32(0)
                .u32(0)
                .u32(0)
                .u32(status);
            stub.into_bytes()
        };
        let good = registered(&stub(1, 0, 0)).expect("registered");
        assert_eq!(good.handle, ContextHandle([1; 20]));
        let gone = registered(&stub(0, 0, 0x3aa3)).expect_err("stale");
        assert_eq!(gone.status(), Some(Win32::RESULT_STALE));
        let missing = registered(&stub(1, 0x3a9f, 0)).expect_err("missing");
        assert_eq!(missing.status(), Some(Win32::CHANNEL_NOT_FOUND));
    }

    #[test]
    fn replies_cut_anywhere_are_errors() {
        let whole = reply(&[entry(b"one!"), entry(b"second")], 0);
        for length in 0..whole.len() {
            assert!(batch(whole[..length].to_vec()).is_err(), "{length}");
        }
    }

    proptest! {
        #[test]
        fn whatever_comes_nothing_panics(stub: Vec<u8>) {
            let _ = registered(&stub);
            let _ = opened_log(&stub);
            let _ = log_info(&stub);
            let _ = channel_list(&stub);
            let _ = closed(&stub);
            if let Ok(batch) = batch(stub) {
                prop_assert!(batch.len() <= MAX_RECORDS);
                prop_assert_eq!(batch.records().count(), batch.len());
            }
        }

        #[test]
        fn a_batch_with_one_byte_changed_never_panics(at in 0_usize..200, to: u8) {
            let mut stub = reply(&[entry(b"one!"), entry(b"second")], 0);
            let length = stub.len();
            stub[at % length] = to;
            if let Ok(batch) = batch(stub) {
                prop_assert!(batch.records().all(|record| record.len() <= length));
            }
        }
    }
}
