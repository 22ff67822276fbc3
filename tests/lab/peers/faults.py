"""What a test can do to an endpoint: silence, cuts, faults, refusals, and hostile bytes.

Kept apart so that the server itself reads as a plain server. Each hostile act counts down; afterwards the peer is
well-behaved again, so that a test can watch the client recover.
"""
import random
import struct

HUGE = 0x7FFFFFFF

# Acts on one record's binary XML, on a reply's stub, and on the PDUs of a reply.
DOCUMENT_ACTS = ("binxml_truncated", "binxml_garbage", "binxml_bad_length", "binxml_deep", "binxml_value_overrun",
                 "binxml_name_overrun", "binxml_empty")
STUB_ACTS = ("count_huge", "size_huge", "offset_out", "stub_truncated", "stub_empty", "stub_garbage", "count_mismatch")
PDU_ACTS = ("garbage", "bad_token", "bad_version", "short_length", "long_length", "oversize_fragment", "unprotected_fault",
            "unprotected_reply", "wrong_call", "unknown_type", "missing_last", "reordered", "replayed", "auth_length_over",
            "pad_over")
# Acts on the answer to a bind or alter_context.
BIND_ACTS = ("bind_nak", "bind_rejects_interface", "bind_token_garbage", "bind_token_truncated", "bind_no_token",
             "bind_garbage")


def broken_document(act, document, random_source):
    """A record's document, broken in one way."""
    if act == "binxml_truncated":
        return document[:random_source.randrange(1, len(document))]
    if act == "binxml_garbage":
        return bytes(random_source.randrange(256) for _ in range(len(document)))
    if act == "binxml_bad_length":
        return document[:22] + struct.pack("<I", HUGE) + document[26:]
    if act == "binxml_deep":
        from binxml import EOF, FRAGMENT_HEADER, name
        start = b"\x01" + struct.pack("<I", HUGE) + name("A") + b"\x02"
        return FRAGMENT_HEADER + start * 20_000 + EOF
    if act == "binxml_value_overrun":
        definition = struct.unpack_from("<I", document, 22)[0]
        at = 26 + definition + 4
        return document[:at] + struct.pack("<H", 0xFFFF) + document[at + 2:]
    if act == "binxml_name_overrun":
        at = document.index(b"E\0v\0e\0n\0t\0") - 2
        return document[:at] + struct.pack("<H", 0xFFFF) + document[at + 2:]
    return b""


class Faults:
    """The faults of one endpoint."""

    def __init__(self, seed=1):
        self.random = random.Random(seed)
        # Silence: which endpoints ("all", "even6", "epm") do not read, and whether they read but do not answer.
        self.muted, self.mute_replies = None, False
        self.drop_after, self.dropped = None, 0
        # Slow answers: a delay, and how many bytes go out at a time.
        self.delay_ms, self.chunk = 0, 0
        self.unregistered = False
        self.faults, self.fault_protection = [], None
        self.denied, self.refused, self.hostile = None, {}, []

    # What the server asks

    def silent(self, endpoint):
        """Whether the endpoint neither reads nor answers."""
        return self.muted == "all" or self.muted == ("even6" if endpoint.is_event_service else "epm")

    def outgoing(self, association, data):
        """Bytes about to be sent; cuts the event service's stream after a budget of bytes."""
        if self.silent(association.endpoint) or self.mute_replies:
            return b""
        if self.drop_after is not None and association.endpoint.is_event_service:
            if len(data) >= self.drop_after:
                data, self.drop_after = data[:self.drop_after], None
                self.dropped += 1
                if data:
                    association.transport.write(data)
                association.transport.close()
                return b""
            self.drop_after -= len(data)
        return data

    def injected_fault(self, service, opnum):
        """The status of a fault ordered for this call, if any."""
        if service is None or not service.needs_auth:
            return None
        for order in self.faults:
            if order["opnum"] in (None, opnum):
                order["times"] -= 1
                if order["times"] <= 0:
                    self.faults.remove(order)
                self.fault_protection = order.get("protected")
                return order["status"]
        return None

    def _act(self, acts, opnum):
        for order in self.hostile:
            if order["what"] in acts and order["opnum"] in (None, opnum):
                order["times"] -= 1
                if order["times"] <= 0:
                    self.hostile.remove(order)
                return order["what"]
        return None

    def bind_act(self):
        """The act ordered for the next answer to a bind."""
        return self._act(BIND_ACTS, None) if self.hostile else None

    def entry(self, opnum, document):
        """The document a record is sent as."""
        act = self._act(DOCUMENT_ACTS, opnum) if self.hostile else None
        return document if act is None else broken_document(act, document, self.random)

    def stub(self, call, stub):
        """The stub of a reply."""
        act = self._act(STUB_ACTS, call.opnum) if self.hostile else None
        if act is None or len(stub) < 4:
            return stub
        count = struct.unpack_from("<I", stub)[0]
        buffer_at = 4 + 2 * (8 + 4 * count)
        if act == "count_huge":
            return struct.pack("<I", HUGE) + stub[4:8] + struct.pack("<I", HUGE) + stub[12:]
        if act == "count_mismatch":
            return struct.pack("<I", count + 1) + stub[4:]
        if act == "size_huge" and call.opnum in (1, 2, 11) and count:
            return stub[:buffer_at] + struct.pack("<I", HUGE) + stub[buffer_at + 4:]
        if act == "offset_out" and call.opnum in (1, 2, 11) and count:
            return stub[:12] + struct.pack("<I", HUGE) + stub[16:]
        if act == "stub_truncated":
            return stub[:self.random.randrange(1, len(stub))]
        if act == "stub_garbage":
            return bytes(self.random.randrange(256) for _ in range(len(stub)))
        return b""

    def pdus(self, call, fragments):
        """The fragments of a reply, joined."""
        act = self._act(PDU_ACTS, call.opnum) if self.hostile else None
        if act is None:
            return b"".join(fragments)
        first = fragments[0]
        header = lambda kind, flags, length, auth_length, call_id: struct.pack(
            "<BBBBIHHI", 5, 0, kind, flags, 0x10, length, auth_length, call_id)
        kind, flags = first[2], first[3]
        length, auth_length, call_id = struct.unpack_from("<HHI", first, 8)
        if act == "garbage":
            return bytes(self.random.randrange(256) for _ in range(max(64, len(first))))
        if act == "bad_token":
            fragments[0] = first[:-1] + bytes([first[-1] ^ 1])
        elif act == "bad_version":
            fragments[0] = b"\x04" + first[1:]
        elif act == "short_length":
            fragments[0] = header(kind, flags, 15, 0, call_id)
        elif act == "long_length":
            fragments[0] = header(kind, flags, 0xFFFF, auth_length, call_id) + first[16:]
        elif act == "oversize_fragment":
            fragments[0] = header(kind, flags, 0xFFF0, auth_length, call_id) + first[16:] + bytes(0xFFF0 - len(first))
        elif act == "unprotected_fault":
            return header(3, 3, 32, 0, call_id) + struct.pack("<IHBBII", 32, call.context_id, 0, 0, 0x1C010002, 0)
        elif act == "unprotected_reply":
            return header(2, 3, 28, 0, call_id) + struct.pack("<IHBBI", 4, call.context_id, 0, 0, 0)
        elif act == "wrong_call":
            fragments = [part[:12] + struct.pack("<I", call_id + 1000) + part[16:] for part in fragments]
        elif act == "unknown_type":
            fragments[0] = first[:2] + b"\x63" + first[3:]
        elif act == "missing_last":
            fragments[-1] = fragments[-1][:3] + bytes([fragments[-1][3] & ~2]) + fragments[-1][4:]
        elif act == "reordered":
            fragments.reverse()
        elif act == "replayed":
            fragments.append(fragments[-1])
        elif act == "auth_length_over":
            fragments[0] = header(kind, flags, length, length, call_id) + first[16:]
        elif act == "pad_over" and auth_length:
            at = len(first) - auth_length - 8 + 2
            fragments[0] = first[:at] + b"\xff" + first[at + 1:]
        return b"".join(fragments)
