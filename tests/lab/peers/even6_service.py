"""The EventLog Remoting Protocol's methods over one event log (MS-EVEN6 3.1.4).

Subscriptions and queries live in context handles of the association group. A NextAsync call stays open until
records come; everything else answers at once, or after its time-out.
"""
import asyncio
import secrets
import struct
import xml.etree.ElementTree as ElementTree

from impacket.dcerpc.v5.even6 import MSRPC_UUID_EVEN6

import even6_ndr as ndr
from rpc_server import BAD_STUB, CONTEXT_MISMATCH, OP_RANGE, RpcFault
from xpath import InvalidQuery, TooComplex, compile_query

SUCCESS, ACCESS_DENIED, INVALID_PARAMETER, INSUFFICIENT_BUFFER, NO_MORE_ITEMS = 0, 5, 87, 122, 259
CANCELLED, TIMEOUT, INVALID_OPERATION = 1223, 1460, 4317
INVALID_QUERY, CHANNEL_NOT_FOUND, QUERY_RESULT_STALE, TOO_COMPLEX = 15001, 15007, 15011, 15026
MAX_RECORDS, MAX_BATCH = 1024, 2 << 20
FUTURE, OLDEST, BOOKMARK, TOLERATE, STRICT, PULL = 1, 2, 3, 0x1000, 0x10000, 0x10000000
CHANNELS = ["Application", "Security", "Setup", "System"]


class Status(Exception):
    """A method ends with this Windows error code."""

    def __init__(self, code):
        super().__init__(code)
        self.code = code


def bookmark_record(xml, channel):
    """The record id of a bookmark for the channel (2.2.14)."""
    try:
        root = ElementTree.fromstring(xml)
        if root.tag != "BookmarkList":
            raise ValueError(root.tag)
        marks = [mark for mark in root.findall("Bookmark") if mark.get("Channel", "").lower() == channel.lower()]
        return int(marks[0].get("RecordId"))
    except (ElementTree.ParseError, ValueError, IndexError, TypeError) as error:
        raise Status(INVALID_PARAMETER) from error


class Reader:
    """A position in a log with a filter; what subscriptions and queries have in common."""

    def __init__(self, service, test):
        self.service, self.log, self.test = service, service.log, test
        self.last_id, self.cleared = 0, service.log.cleared
        self.cancelled = False

    def batch(self, wanted, opnum):
        """Up to `wanted` entries after the last one, within the size of a batch."""
        log, entries, size, now = self.log, [], 0, self.log.now()
        if self.cleared != log.cleared:
            self.last_id, self.cleared = 0, log.cleared
        index = log.index_after(self.last_id)
        records, test, faults = log.records, self.test, self.service.faults
        while index < len(records) and len(entries) < wanted:
            record = records[index]
            index += 1
            if not test(record, now):
                self.last_id = record.record_id
                continue
            entry = log.entry(record) if not faults.hostile else self.service.hostile_entry(record, opnum)
            size += len(entry)
            if size > MAX_BATCH and entries:
                break
            self.last_id = record.record_id
            entries.append(entry)
        if entries:
            self.service.stats.sent(len(entries), self.last_id)
        return entries


class Subscription(Reader):
    """A push or pull subscription."""

    def __init__(self, service, test, flags):
        super().__init__(service, test)
        self.pull, self.strict, self.waiting, self.timers = bool(flags & PULL), bool(flags & STRICT), [], {}
        self.scheduled = None
        service.log.listeners.add(self.wake)

    def lost(self):
        """Whether records were overwritten before this subscription saw them."""
        return self.strict and self.cleared == self.log.cleared and self.last_id + 1 < self.log.oldest and self.last_id > 0

    def wait(self, call, wanted, wait_only=False, timeout=None):
        """Keeps the call until there is something to say."""
        self.waiting.append((call, wanted, wait_only))
        call.on_cancel = lambda _call: self.forget(call)
        self.service.stats.held += 1
        if timeout is not None:
            self.timers[call] = asyncio.get_running_loop().call_later(timeout / 1000, self.expire, call)
        self.serve()

    def forget(self, call):
        before = len(self.waiting)
        self.waiting = [entry for entry in self.waiting if entry[0] is not call]
        self.service.stats.held -= before - len(self.waiting)
        timer = self.timers.pop(call, None)
        if timer:
            timer.cancel()

    def expire(self, call):
        wanted = next((entry[1] for entry in self.waiting if entry[0] is call), 0)
        self.forget(call)
        call.reply(ndr.batch_response(self.batch(wanted, call.opnum), TIMEOUT))

    def wake(self):
        """New records; several that come within the batching time are sent together."""
        if not self.waiting or self.scheduled:
            return
        delay = self.service.options["batch_ms"] / 1000
        if delay:
            self.scheduled = asyncio.get_running_loop().call_later(delay, self.serve)
        else:
            self.serve()

    def serve(self):
        self.scheduled = None
        while self.waiting:
            call, wanted, wait_only = self.waiting[0]
            if self.lost():
                self.last_id = self.log.oldest - 1
                self.forget(call)
                call.reply(ndr.batch_response([], QUERY_RESULT_STALE))
                continue
            if wait_only:
                index, now = self.log.index_after(self.last_id), self.log.now()
                if not any(self.test(record, now) for record in self.log.records[index:]):
                    return
                self.forget(call)
                call.reply(struct.pack("<I", SUCCESS))
                continue
            entries = self.batch(wanted, call.opnum)
            if not entries:
                return
            # A pull call with a time-out is answered as soon as there is anything.
            self.forget(call)
            call.reply(ndr.batch_response(entries))

    def stop(self, status):
        """Ends every open call; for Close, Cancel and rundown."""
        self.log.listeners.discard(self.wake)
        for call, _, wait_only in list(self.waiting):
            self.forget(call)
            call.reply(struct.pack("<I", status) if wait_only else ndr.batch_response([], status))


class Query(Reader):
    """The result set of RegisterLogQuery."""

    def __init__(self, service, test, newest_first):
        super().__init__(service, test)
        self.newest_first = newest_first
        self.next_id = self.log.next_id if newest_first else 0

    def matching(self):
        now = self.log.now()
        records = [record for record in self.log.records if self.test(record, now)]
        return records[::-1] if self.newest_first else records

    def batch(self, wanted, opnum):
        if not self.newest_first:
            return super().batch(wanted, opnum)
        entries, size, now = [], 0, self.log.now()
        index = self.log.index_after(self.next_id - 1) - 1
        while index >= 0 and len(entries) < wanted:
            record = self.log.records[index]
            index -= 1
            self.next_id = record.record_id
            if self.test(record, now):
                entry = self.service.hostile_entry(record, opnum)
                size += len(entry)
                if size > MAX_BATCH and entries:
                    self.next_id = record.record_id + 1
                    break
                entries.append(entry)
        if entries:
            self.service.stats.sent(len(entries), self.log.records[index + 1].record_id)
        return entries

    def seek(self, position, flags, bookmark):
        """3.1.4.14: the cursor relative to first, last, current or a bookmark."""
        found, kind = self.matching(), flags & 7
        ids = [record.record_id for record in found]
        if kind == 1:
            target = position
        elif kind == 2:
            target = len(ids) - 1 + position
        elif kind == 3:
            target = sum(1 for one in ids if (one >= self.next_id if self.newest_first else one <= self.last_id)) + position
        elif kind == 4:
            record_id = bookmark_record(bookmark or "", self.log.channel)
            if record_id not in ids and flags & STRICT:
                raise Status(QUERY_RESULT_STALE)
            target = sum(1 for one in ids if (one > record_id if self.newest_first else one < record_id)) + position
        else:
            raise Status(INVALID_PARAMETER)
        target = max(0, min(target, len(ids)))
        if self.newest_first:
            self.next_id = ids[target] + 1 if target < len(ids) else 0
        else:
            self.last_id = ids[target] - 1 if target < len(ids) else self.log.next_id - 1


class Control:
    """An operation control handle: what EvtRpcCancel cancels."""

    def __init__(self, reader):
        self.reader = reader


class LogHandle:
    """What OpenLogHandle gives."""


class Even6Service:
    """The service object for one endpoint."""
    interface = MSRPC_UUID_EVEN6
    needs_auth = True

    def __init__(self, log, faults, stats, options):
        self.log, self.faults, self.stats, self.options = log, faults, stats, options
        self.methods = {0: self.register_subscription, 1: self.next_async, 2: self.next, 3: self.wait_async,
                        5: self.register_query, 11: self.query_next, 12: self.query_seek, 13: self.close,
                        14: self.cancel, 17: self.open_log, 18: self.log_info, 19: self.channel_list}

    def hostile_entry(self, record, opnum):
        from binxml import result_entry
        return result_entry(self.faults.entry(opnum, self.log.document(record)), record.record_id)

    # Handles

    def open(self, group, thing):
        raw = secrets.token_bytes(16)
        group.handles[raw] = thing
        return raw

    def get(self, call, raw, kind):
        thing = call.group.handles.get(raw)
        if not isinstance(thing, kind):
            raise RpcFault(CONTEXT_MISMATCH)
        return thing

    def rundown(self, group):
        for thing in group.handles.values():
            if isinstance(thing, Subscription):
                thing.stop(CANCELLED)
        group.handles.clear()

    # Calls

    def call(self, call, opnum, stub):
        method = self.methods.get(opnum)
        if method is None:
            raise RpcFault(OP_RANGE)
        return method(call, stub)

    def admit(self, path, query_text, mode):
        """The checks of opnums 0 and 5; gives the predicate."""
        if self.faults.denied is not None:
            raise Status(self.faults.denied)
        if mode in self.faults.refused:
            raise Status(self.faults.refused[mode])
        if query_text is None:
            raise Status(INVALID_PARAMETER)
        try:
            channels, test = compile_query(query_text, path)
        except InvalidQuery as error:
            self.stats.note(f"invalid query: {error}")
            raise Status(INVALID_QUERY) from error
        except TooComplex as error:
            self.stats.note(f"query too complex: {error}")
            raise Status(TOO_COMPLEX) from error
        for channel in channels:
            if not channel or channel.lower() != self.log.channel.lower() or self.log.missing:
                raise Status(CHANNEL_NOT_FOUND)
        self.stats.last_query = query_text
        return test

    def register_subscription(self, call, stub):
        request = ndr.RegisterRemoteSubscription(stub)
        path, query_text = ndr.text(request["channelPath"]), ndr.text(request["query"])
        bookmark, flags = ndr.text(request["bookmarkXml"]), request["flags"]
        self.stats.last_subscription = {"flags": flags, "bookmark": bookmark, "query": query_text, "channel": path}
        try:
            test = self.admit(path, query_text, "pull" if flags & PULL else "push")
            start = flags & 3
            if start == 0 or flags & ~(3 | TOLERATE | STRICT | PULL) or (start == BOOKMARK) != bool(bookmark):
                raise Status(INVALID_PARAMETER)
            first = self.log.oldest - 1 if start == OLDEST else self.log.next_id - 1
            if start == BOOKMARK:
                first = self.after_bookmark(bookmark_record(bookmark, path or self.log.channel), flags)
        except Status as status:
            channels = [(path or self.log.channel, status.code)] if status.code == CHANNEL_NOT_FOUND else []
            return ndr.register_response(bytes(16), bytes(16), channels, (status.code, 0, 0), status.code)
        subscription = Subscription(self, test, flags)
        subscription.last_id = first
        handle = self.open(call.group, subscription)
        control = self.open(call.group, Control(subscription))
        return ndr.register_response(handle, control, [(self.log.channel, SUCCESS)])

    def after_bookmark(self, record_id, flags):
        index = self.log.index_after(record_id)
        present = index > 0 and self.log.records[index - 1].record_id == record_id
        if not present and flags & STRICT:
            raise Status(self.options["stale_status"])
        # A bookmark from before the log was cleared points past its end: everything is new.
        return record_id if record_id < self.log.next_id else self.log.oldest - 1

    def next_async(self, call, stub):
        raw, wanted, _ = struct.unpack("<4x16sII", stub)
        subscription = self.get(call, raw, Subscription)
        if not 1 <= wanted <= MAX_RECORDS:
            return ndr.batch_response([], INVALID_PARAMETER)
        if subscription.pull:
            return ndr.batch_response([], INVALID_OPERATION)
        if subscription.cancelled:
            return ndr.batch_response([], CANCELLED)
        subscription.wait(call, wanted)
        return None

    def next(self, call, stub):
        raw, wanted, timeout, _ = struct.unpack("<4x16sIII", stub)
        subscription = self.get(call, raw, Subscription)
        if not 1 <= wanted <= MAX_RECORDS:
            return ndr.batch_response([], INVALID_PARAMETER)
        if not subscription.pull:
            return ndr.batch_response([], INVALID_OPERATION)
        if subscription.cancelled:
            return ndr.batch_response([], CANCELLED)
        if subscription.lost():
            subscription.last_id = self.log.oldest - 1
            return ndr.batch_response([], QUERY_RESULT_STALE)
        entries = subscription.batch(wanted, call.opnum)
        if len(entries) == wanted:
            return ndr.batch_response(entries)
        if entries or timeout == 0:
            return ndr.batch_response(entries, TIMEOUT)
        subscription.wait(call, wanted, timeout=None if timeout == 0xFFFFFFFF else timeout)
        return None

    def wait_async(self, call, stub):
        (raw,) = struct.unpack("<4x16s", stub)
        subscription = self.get(call, raw, Subscription)
        if subscription.cancelled:
            return struct.pack("<I", CANCELLED)
        subscription.wait(call, 0, wait_only=True)
        return None

    def register_query(self, call, stub):
        request = ndr.RegisterLogQuery(stub)
        path, query_text, flags = ndr.text(request["path"]), ndr.text(request["query"]), request["flags"]
        try:
            if flags & 3 not in (1, 2) or flags & 0x300 not in (0, 0x100, 0x200):
                raise Status(INVALID_PARAMETER)
            test = self.admit(path, query_text, "query")
        except Status as status:
            return ndr.register_response(bytes(16), bytes(16), [], (status.code, 0, 0), status.code)
        query = Query(self, test, bool(flags & 0x200))
        handle, control = self.open(call.group, query), self.open(call.group, Control(query))
        return ndr.register_response(handle, control, [(self.log.channel, SUCCESS)])

    def query_next(self, call, stub):
        raw, wanted, _timeout, _ = struct.unpack("<4x16sIII", stub)
        query = self.get(call, raw, Query)
        if not 1 <= wanted <= MAX_RECORDS:
            return ndr.batch_response([], INVALID_PARAMETER)
        if query.cancelled:
            return ndr.batch_response([], CANCELLED)
        entries = query.batch(wanted, call.opnum)
        return ndr.batch_response(entries, SUCCESS if entries else NO_MORE_ITEMS)

    def query_seek(self, call, stub):
        request = ndr.QuerySeek(stub)
        query = self.get(call, bytes(request["logQuery"]["context_handle_uuid"]), Query)
        status = SUCCESS
        try:
            query.seek(request["pos"], request["flags"], ndr.text(request["bookmarkXml"]))
        except Status as failed:
            status = failed.code
        return struct.pack("<IIII", status, 0, 0, status)

    def close(self, call, stub):
        (raw,) = struct.unpack_from("<4x16s", stub)
        thing = call.group.handles.pop(raw, None)
        if thing is None:
            raise RpcFault(CONTEXT_MISMATCH)
        if isinstance(thing, Subscription):
            thing.stop(CANCELLED)
        return bytes(24)

    def cancel(self, call, stub):
        (raw,) = struct.unpack_from("<4x16s", stub)
        reader = self.get(call, raw, Control).reader
        reader.cancelled = True
        if isinstance(reader, Subscription):
            reader.stop(CANCELLED)
        return struct.pack("<I", SUCCESS)

    def open_log(self, call, stub):
        request = ndr.OpenLogHandle(stub)
        status = SUCCESS
        if self.faults.denied is not None:
            status = self.faults.denied
        elif ndr.text(request["channel"]).lower() != self.log.channel.lower() or self.log.missing:
            status = CHANNEL_NOT_FOUND
        raw = bytes(16) if status else self.open(call.group, LogHandle())
        return bytes(4) + raw + struct.pack("<IIII", status, 0, 0, status)

    def log_info(self, call, stub):
        raw, wanted, room = struct.unpack("<4x16sII", stub)
        self.get(call, raw, LogHandle)
        log = self.log
        records = log.records
        first = records[0].filetime if records else log.now()
        last = records[-1].filetime if records else log.now()
        # (value, type): created, accessed, written, size, attributes, records, oldest record, full.
        values = [(first, 17), (last, 17), (last, 17), (len(records) * 1000 + 69632, 10), (32, 8), (len(records), 10),
                  (log.oldest, 10), (0, 13)]
        if wanted >= len(values):
            status, data = INVALID_PARAMETER, b""
        elif room < 16:
            status, data = INSUFFICIENT_BUFFER, b""
        else:
            value, value_type = values[wanted]
            status, data = SUCCESS, struct.pack("<QII", value, 0, value_type)
        if room > MAX_BATCH:
            raise RpcFault(BAD_STUB)
        body = struct.pack("<I", room) + data + bytes(room - min(room, len(data))) + bytes(-room % 4)
        return body + struct.pack("<II", 16, status)

    def channel_list(self, _call, _stub):
        names = [name for name in CHANNELS if not (self.log.missing and name == self.log.channel)]
        reply = ndr.GetChannelListResponse()
        reply["numChannelPaths"] = len(names)
        for name in names:
            entry = ndr.LPWSTR()
            entry["Data"] = name + "\0"
            reply["channelPaths"].append(entry)
        reply["ErrorCode"] = SUCCESS
        return reply.getData()
