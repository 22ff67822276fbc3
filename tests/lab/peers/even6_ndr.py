"""Parameters of the EVEN6 calls as impacket structures (MS-EVEN6 6, full IDL).

impacket defines most requests; what it lacks or has otherwise than the specification (opnums 1, 3, 12, 14, 18, the
arrays in replies) is defined here from the IDL. Replies of the hot calls are packed with `struct` and the check
program compares that packing with these structures.
"""
import struct

from impacket.dcerpc.v5 import even6
from impacket.dcerpc.v5.dtypes import DWORD, LARGE_INTEGER, LPWSTR, NULL, ULONG, WSTR
from impacket.dcerpc.v5.ndr import NDRCALL, NDRPOINTER, NDRSTRUCT, NDRUniConformantArray

HANDLE = even6.handle_t
RpcInfo = even6.RPC_INFO


class QueryChannelInfo(NDRSTRUCT):
    """2.2.11 EvtRpcQueryChannelInfo."""
    structure = (("Name", LPWSTR), ("Status", DWORD))


class QueryChannelInfoArray(NDRUniConformantArray):
    item = QueryChannelInfo


class PQueryChannelInfoArray(NDRPOINTER):
    referent = (("Data", QueryChannelInfoArray),)


class StringArray(NDRUniConformantArray):
    item = LPWSTR


class PStringArray(NDRPOINTER):
    referent = (("Data", StringArray),)


class RegisterRemoteSubscription(NDRCALL):
    """3.1.4.8, opnum 0."""
    opnum = 0
    structure = (("channelPath", LPWSTR), ("query", WSTR), ("bookmarkXml", LPWSTR), ("flags", DWORD))


class RegisterResponse(NDRCALL):
    """Replies of opnums 0 and 5 have one shape."""
    structure = (("Handle", HANDLE), ("Control", HANDLE), ("QueryChannelInfoSize", DWORD),
                 ("QueryChannelInfo", PQueryChannelInfoArray), ("Error", RpcInfo), ("ErrorCode", ULONG))


class RemoteSubscriptionNextAsync(NDRCALL):
    """3.1.4.9, opnum 1."""
    opnum = 1
    structure = (("handle", HANDLE), ("numRequestedRecords", DWORD), ("flags", DWORD))


class RemoteSubscriptionNext(NDRCALL):
    """3.1.4.10, opnum 2."""
    opnum = 2
    structure = (("handle", HANDLE), ("numRequestedRecords", DWORD), ("timeOut", DWORD), ("flags", DWORD))


class RemoteSubscriptionWaitAsync(NDRCALL):
    """3.1.4.11, opnum 3."""
    opnum = 3
    structure = (("handle", HANDLE),)


class RegisterLogQuery(NDRCALL):
    """3.1.4.12, opnum 5."""
    opnum = 5
    structure = (("path", LPWSTR), ("query", WSTR), ("flags", DWORD))


class QueryNext(NDRCALL):
    """3.1.4.13, opnum 11."""
    opnum = 11
    structure = (("logQuery", HANDLE), ("numRequestedRecords", DWORD), ("timeOutEnd", DWORD), ("flags", DWORD))


class QuerySeek(NDRCALL):
    """3.1.4.14, opnum 12."""
    opnum = 12
    structure = (("logQuery", HANDLE), ("pos", LARGE_INTEGER), ("bookmarkXml", LPWSTR), ("timeOut", DWORD),
                 ("flags", DWORD))


class RpcInfoResponse(NDRCALL):
    structure = (("Error", RpcInfo), ("ErrorCode", ULONG))


class HandleCall(NDRCALL):
    """Opnums 13 (3.1.4.33 EvtRpcClose), 14 (3.1.4.34 EvtRpcCancel): one handle in."""
    structure = (("handle", HANDLE),)


class HandleResponse(NDRCALL):
    """Opnum 13 and 4 give a handle back."""
    structure = (("Handle", HANDLE), ("ErrorCode", ULONG))


class StatusResponse(NDRCALL):
    """Opnums 3 and 14 give a status only."""
    structure = (("ErrorCode", ULONG),)


class OpenLogHandle(NDRCALL):
    """3.1.4.19, opnum 17."""
    opnum = 17
    structure = (("channel", WSTR), ("flags", DWORD))


class OpenLogHandleResponse(NDRCALL):
    structure = (("Handle", HANDLE), ("Error", RpcInfo), ("ErrorCode", ULONG))


class GetLogFileInfo(NDRCALL):
    """3.1.4.15, opnum 18."""
    opnum = 18
    structure = (("logHandle", HANDLE), ("propertyId", DWORD), ("propertyValueBufferSize", DWORD))


class GetLogFileInfoResponse(NDRCALL):
    structure = (("propertyValueBuffer", even6.BYTE_ARRAY_CONFORMANT), ("propertyValueBufferLength", DWORD),
                 ("ErrorCode", ULONG))


class GetChannelList(NDRCALL):
    """3.1.4.20, opnum 19."""
    opnum = 19
    structure = (("flags", DWORD),)


class GetChannelListResponse(NDRCALL):
    structure = (("numChannelPaths", DWORD), ("channelPaths", PStringArray), ("ErrorCode", ULONG))


REQUESTS = {0: RegisterRemoteSubscription, 1: RemoteSubscriptionNextAsync, 2: RemoteSubscriptionNext,
            3: RemoteSubscriptionWaitAsync, 5: RegisterLogQuery, 11: QueryNext, 12: QuerySeek, 13: HandleCall,
            14: HandleCall, 17: OpenLogHandle, 18: GetLogFileInfo, 19: GetChannelList}


def text(value):
    """An impacket string parameter without its terminator; None for a null pointer."""
    if value is NULL or value in (b"", None):
        return None
    return value.rstrip("\0") if isinstance(value, str) else bytes(value).decode("utf-16-le").rstrip("\0")


def handle(raw):
    """A context handle: attributes 0 and 16 bytes."""
    result = HANDLE()
    result["context_handle_attributes"] = 0
    result["context_handle_uuid"] = raw
    return result


def register_response(raw_handle, raw_control, channels, error=(0, 0, 0), status=0):
    """Reply of opnums 0 and 5; `channels` is a list of (name, status)."""
    reply = RegisterResponse()
    reply["Handle"], reply["Control"] = handle(raw_handle), handle(raw_control)
    reply["QueryChannelInfoSize"] = len(channels)
    if channels:
        for name, channel_status in channels:
            info = QueryChannelInfo()
            info["Name"], info["Status"] = name + "\0", channel_status
            reply["QueryChannelInfo"].append(info)
    else:
        reply["QueryChannelInfo"] = NULL
    for field, value in zip(("Error", "SubError", "SubErrorParam"), error):
        reply["Error"][field] = value
    reply["ErrorCode"] = status
    return reply.getData()


def batch_response(entries, status=0):
    """Reply of opnums 1, 2 and 11: offsets, sizes and the buffer; null pointers when there is nothing."""
    count = len(entries)
    if not count:
        return struct.pack("<IIIIII", 0, 0, 0, 0, 0, status)
    sizes = [len(entry) for entry in entries]
    offsets, total = [], 0
    for size in sizes:
        offsets.append(total)
        total += size
    array = struct.Struct(f"<II{count}I")
    return b"".join((
        struct.pack("<I", count),
        array.pack(0x20000, count, *offsets), array.pack(0x20004, count, *sizes),
        struct.pack("<III", total, 0x20008, total), *entries, bytes(-total % 4), struct.pack("<I", status)))
