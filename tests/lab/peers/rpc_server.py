"""A DCE/RPC server over TCP, connection-oriented version 5.0 (C706 chapter 12, MS-RPCE).

One `Association` is one TCP connection: bind, alter_context, auth3, fragments both ways, several calls in flight.
Services are objects with `interface` (20 bytes: UUID and version), `call(call, opnum, stub)` and `rundown(group)`;
`call` may keep the call and answer later. Context handles belong to the association group, as on Windows, so that
a second connection can use them.
"""
import asyncio
import struct
import time

from impacket.dcerpc.v5.rpcrt import CtxItemResult, MSRPCRelayBind

import auth

REQUEST, RESPONSE, FAULT, BIND, BIND_ACK, BIND_NAK, ALTER, ALTER_RESPONSE, AUTH3, CANCEL, ORPHANED = \
    0, 2, 3, 11, 12, 13, 14, 15, 16, 18, 19
FIRST, LAST, PENDING_CANCEL, CONC_MPX, DID_NOT_EXECUTE, OBJECT = 1, 2, 4, 16, 32, 128
SUPPORT_HEADER_SIGN = 4
NDR = bytes.fromhex("045d888aeb1cc9119fe808002b10486002000000")
FEATURES = bytes.fromhex("2c1cb76c12984045")
MAX_FRAGMENT, MAX_REQUEST, MAX_CALLS = 5840, 4 << 20, 64
INTEGRITY, PRIVACY = 5, 6
ACCESS_DENIED, OP_RANGE, CONTEXT_MISMATCH, CANCELLED, PROTOCOL_ERROR, UNKNOWN_INTERFACE = \
    5, 0x1C010002, 0x1C00001A, 0x1C00000D, 0x1C01000B, 0x1C010003
BAD_STUB = 0x6F7


class RpcFault(Exception):
    """Raised by a service: the call ends in a fault with this status."""

    def __init__(self, status):
        super().__init__(hex(status))
        self.status = status


class Group:
    """An association group: context handles and the connections that may use them."""

    def __init__(self, identifier):
        self.identifier, self.connections, self.handles = identifier, 0, {}


class Endpoint:
    """One listening address: its services, its realm, its faults and its numbers."""
    # What a connection is; None: an `Association`.
    connection = None

    def __init__(self, log, realm, faults, stats, options):
        self.log, self.realm, self.faults, self.stats, self.options = log, realm, faults, stats, options
        self.services, self.groups, self.associations, self.port, self.address, self.server = {}, {}, set(), 0, None, None
        self.next_group = 0x10000 + (int(time.time()) & 0xFFFF)

    def add(self, service):
        self.services[service.interface] = service

    async def listen(self, address, port):
        """Opens the port (0: any)."""
        self.address = address
        self.server = await asyncio.get_running_loop().create_server(lambda: (self.connection or Association)(self), address, port, backlog=512)
        self.port = self.server.sockets[0].getsockname()[1]

    def shut(self):
        """Closes the port and every connection, as a server that goes down."""
        self.server.close()
        for association in list(self.associations):
            association.transport.abort()

    @property
    def is_event_service(self):
        """Whether this is the event service's port and not the endpoint mapper's."""
        return any(service.needs_auth for service in self.services.values())

    def group(self, wanted):
        """The group a client asks for (0: a new one), or None when it does not exist."""
        if wanted == 0:
            self.next_group += 1
            wanted = self.next_group
            self.groups[wanted] = Group(wanted)
        return self.groups.get(wanted)

    def leave(self, group):
        group.connections -= 1
        if group.connections == 0:
            self.groups.pop(group.identifier, None)
            for service in self.services.values():
                service.rundown(group)


class AuthContext:
    """One security context of an association, while it is negotiated and after."""

    def __init__(self, acceptor, level, identifier):
        self.acceptor, self.level, self.identifier = acceptor, level, identifier
        self.failed = None

    @property
    def context(self):
        return None if self.failed else self.acceptor.context


class Call:
    """One request while it is received, executed, or held."""

    def __init__(self, association, call_id, context_id, opnum, auth_context):
        self.association, self.call_id, self.context_id, self.opnum = association, call_id, context_id, opnum
        self.auth_context, self.stub, self.finished, self.on_cancel = auth_context, bytearray(), False, None
        # The object UUID of the request: of which object a DCOM client calls a method.
        self.object = None

    @property
    def group(self):
        return self.association.group

    @property
    def principal(self):
        return self.auth_context.context.principal if self.auth_context and self.auth_context.context else None

    def reply(self, stub):
        """Ends the call with results."""
        if not self.finished:
            self._finish()
            self.association.respond(self, stub)

    def fault(self, status, protected=None):
        """Ends the call with a fault."""
        if not self.finished:
            self._finish()
            self.association.send_fault(self, status, protected)

    def abandon(self):
        """Forgets the call: nobody waits for it."""
        if not self.finished:
            self._finish()
            if self.on_cancel:
                self.on_cancel(None)

    def _finish(self):
        self.finished = True
        self.association.calls.pop(self.call_id, None)


class Association(asyncio.Protocol):
    """One TCP connection and everything negotiated on it."""

    def __init__(self, endpoint):
        self.endpoint, self.transport, self.group = endpoint, None, None
        self.buffer, self.calls, self.contexts, self.auth = bytearray(), {}, {}, {}
        self.header_signing, self.send_limit, self.queue, self.pumping = False, MAX_FRAGMENT, bytearray(), None

    # asyncio's side

    def connection_made(self, transport):
        self.transport = transport
        self.endpoint.associations.add(self)
        self.endpoint.stats.connected(self)

    def connection_lost(self, _error):
        self.endpoint.associations.discard(self)
        self.endpoint.stats.disconnected(self)
        for call in list(self.calls.values()):
            call.abandon()
        if self.group:
            self.endpoint.leave(self.group)
            self.group = None

    def data_received(self, data):
        self.buffer += data
        try:
            while len(self.buffer) >= 16:
                length = struct.unpack_from("<H", self.buffer, 8)[0]
                if self.buffer[0] != 5 or not 16 <= length <= max(MAX_FRAGMENT, self.send_limit):
                    return self.abort(f"bad PDU header {bytes(self.buffer[:16]).hex()}")
                if len(self.buffer) < length:
                    return
                pdu = bytes(self.buffer[:length])
                del self.buffer[:length]
                self.receive(pdu)
        except (auth.AuthError, struct.error, IndexError, ValueError, KeyError) as error:
            self.abort(f"{type(error).__name__}: {error}")

    def abort(self, reason):
        self.endpoint.stats.note(f"aborted: {reason}")
        self.buffer.clear()
        self.transport.abort()

    def write(self, data):
        """Everything sent passes here: a test may mute or cut the stream."""
        data = self.endpoint.faults.outgoing(self, data)
        faults = self.endpoint.faults
        if not data or self.transport.is_closing():
            return
        if faults.delay_ms or faults.chunk or self.queue:
            self.queue += data
            if self.pumping is None:
                self.pumping = asyncio.get_running_loop().call_later(faults.delay_ms / 1000, self.pump)
        else:
            self.transport.write(data)

    def pump(self):
        """Sends what was held back, a piece at a time."""
        faults, self.pumping = self.endpoint.faults, None
        size = faults.chunk or len(self.queue)
        if not self.transport.is_closing():
            self.transport.write(bytes(self.queue[:size]))
            del self.queue[:size]
            if self.queue:
                self.pumping = asyncio.get_running_loop().call_later(faults.delay_ms / 1000, self.pump)

    # PDUs

    def receive(self, pdu):
        if self.endpoint.faults.silent(self.endpoint):
            return
        kind, flags, auth_length, call_id = pdu[2], pdu[3], *struct.unpack_from("<HI", pdu, 10)
        body, trailer, token = pdu[16:], b"", b""
        if auth_length:
            trailer, token = pdu[-auth_length - 8:-auth_length], pdu[-auth_length:]
            body = pdu[16:-auth_length - 8]
        if kind == REQUEST:
            self.request(pdu, flags, call_id, trailer, token)
        elif kind in (BIND, ALTER):
            self.bind(kind, flags, call_id, body, trailer, token)
        elif kind == AUTH3:
            self.authenticate(trailer, token)
        elif kind == CANCEL:
            call = self.calls.get(call_id)
            if call and call.on_cancel:
                call.on_cancel(call)
                call.fault(CANCELLED)
        elif kind == ORPHANED:
            call = self.calls.get(call_id)
            if call:
                call.abandon()
        else:
            self.abort(f"PDU type {kind}")

    def authenticate(self, trailer, token):
        """One token of one security context; returns (context, reply token)."""
        kind, level, _, _, identifier = struct.unpack("<BBBBI", trailer)
        state = self.auth.get(identifier)
        if state is None or state.failed or state.acceptor.done:
            acceptor = auth.ACCEPTORS.get(kind)
            if acceptor is None:
                raise auth.AuthError(f"auth type {kind}")
            state = self.auth[identifier] = AuthContext(acceptor(self.endpoint.realm, self.endpoint.log), level, identifier)
        try:
            reply = state.acceptor.step(token)
        except auth.AuthError as error:
            state.failed = error
            self.endpoint.stats.auth_failed(str(error))
            return state, error.token
        if state.acceptor.done:
            self.endpoint.stats.authenticated(state)
        return state, reply

    def bind(self, kind, flags, call_id, body, trailer, token):
        request = MSRPCRelayBind(body)
        if kind == BIND:
            group = self.endpoint.group(request["assoc_group"])
            if group is None or self.group is not None:
                return self.write(self.pdu(BIND_NAK, call_id, struct.pack("<HBBB", 0, 1, 5, 0)))
            group.connections += 1
            self.group = group
            self.send_limit = max(1432, min(MAX_FRAGMENT, request["max_rfrag"], self.endpoint.options["max_fragment"]))
            self.header_signing = bool(flags & SUPPORT_HEADER_SIGN) and self.endpoint.options["header_signing"]
        elif self.group is None:
            return self.abort("alter_context before bind")
        act = self.endpoint.faults.bind_act() if self.endpoint.is_event_service else None
        if act == "bind_nak":
            return self.write(self.pdu(BIND_NAK, call_id, struct.pack("<HBBB", 2, 1, 5, 0)))
        results = self.present(request["ctx_num"], body[12:])
        if act == "bind_rejects_interface":
            for result in results:
                result["Result"], result["Reason"], result["TransferSyntax"] = 2, 1, bytes(20)
        reply, trailer_out = b"", b""
        if token:
            state, reply = self.authenticate(trailer, token)
            if state.failed and kind == ALTER:
                return self.send_fault_pdu(call_id, 0, ACCESS_DENIED, None)
            if state.failed and not reply:
                return self.write(self.pdu(BIND_NAK, call_id, struct.pack("<HBBB", 8, 1, 5, 0)))
            if reply or state.acceptor.auth_type == auth.SPNEGO:
                trailer_out = trailer[:2] + b"\0\0" + trailer[4:]
        ack = struct.pack("<HHI", self.send_limit, self.endpoint.options["max_fragment"], self.group.identifier)
        address = str(self.endpoint.port).encode() + b"\0" if kind == BIND else b""
        ack += struct.pack("<H", len(address)) + address
        ack += bytes(-len(ack) % 4) + struct.pack("<BBH", len(results), 0, 0)
        ack += b"".join(result.getData() for result in results)
        random_bytes = self.endpoint.faults.random.randbytes
        if act == "bind_token_garbage":
            reply = random_bytes(len(reply))
        elif act == "bind_token_truncated":
            reply = reply[:len(reply) // 2]
        elif act == "bind_no_token":
            reply, trailer_out = b"", b""
        elif act == "bind_garbage":
            ack = random_bytes(len(ack))
        self.write(self.pdu(BIND_ACK if kind == BIND else ALTER_RESPONSE, call_id, ack, trailer_out, reply,
                            SUPPORT_HEADER_SIGN if self.header_signing else 0))

    def present(self, count, items):
        """Answers the presentation contexts; remembers those accepted."""
        results = []
        at = 0
        for _ in range(count):
            context_id, syntaxes = struct.unpack_from("<HB", items, at)
            interface = items[at + 4:at + 24]
            offered = [items[at + 24 + 20 * n:at + 44 + 20 * n] for n in range(syntaxes)]
            at += 24 + 20 * syntaxes
            result = CtxItemResult()
            result["TransferSyntax"] = bytes(20)
            service = self.endpoint.services.get(interface)
            if any(syntax[:8] == FEATURES for syntax in offered):
                # Bind time feature negotiation (MS-RPCE 2.2.2.14): none is offered.
                result["Result"], result["Reason"] = 3, 0
            elif service is None:
                result["Result"], result["Reason"] = 2, 1
            elif NDR not in offered:
                result["Result"], result["Reason"] = 2, 2
            else:
                result["Result"], result["Reason"], result["TransferSyntax"] = 0, 0, NDR
                self.contexts[context_id] = service
            results.append(result)
        return results

    def request(self, pdu, flags, call_id, trailer, token):
        offset = 40 if flags & OBJECT else 24
        _, context_id, opnum = struct.unpack_from("<IHH", pdu, 16)
        stub, state = pdu[offset:], None
        if token:
            kind, level, padding, _, identifier = struct.unpack("<BBBBI", trailer)
            state = self.auth.get(identifier)
            if state is None or state.context is None:
                call = Call(self, call_id, context_id, opnum, None)
                self.endpoint.stats.note("request without a security context")
                return call.fault(ACCESS_DENIED) if flags & FIRST else None
            stub = pdu[offset:len(pdu) - len(token) - 8]
            stub = state.context.unseal(pdu[:offset], stub, trailer, token, self.header_signing, level == PRIVACY)
            if padding > len(stub):
                return self.abort("padding longer than the stub")
            stub = stub[:len(stub) - padding]
        if flags & FIRST:
            if call_id in self.calls or len(self.calls) >= MAX_CALLS:
                return self.abort(f"call id {call_id} is in use, or too many calls")
            call = self.calls[call_id] = Call(self, call_id, context_id, opnum, state)
            call.object = pdu[24:40] if flags & OBJECT else None
        else:
            call = self.calls.get(call_id)
            if call is None:
                return self.abort(f"fragment of unknown call {call_id}")
        call.stub += stub
        if len(call.stub) > MAX_REQUEST:
            return self.abort("request too large")
        if flags & LAST:
            self.execute(call)

    def execute(self, call):
        service = self.contexts.get(call.context_id)
        self.endpoint.stats.called(service, call.opnum)
        status = self.endpoint.faults.injected_fault(service, call.opnum)
        if service is None:
            return call.fault(UNKNOWN_INTERFACE)
        if status is not None:
            return call.fault(status, self.endpoint.faults.fault_protection)
        if service.needs_auth and (call.auth_context is None
                                   or call.auth_context.level < (PRIVACY if self.endpoint.options["require_privacy"] else INTEGRITY)):
            return call.fault(ACCESS_DENIED)
        try:
            reply = service.call(call, call.opnum, bytes(call.stub))
        except RpcFault as fault:
            return call.fault(fault.status)
        except Exception as error:
            self.endpoint.stats.note(f"opnum {call.opnum}: {type(error).__name__}: {error}")
            return call.fault(BAD_STUB)
        if reply is not None:
            call.reply(reply)

    # Sending

    @staticmethod
    def pdu(kind, call_id, body, trailer=b"", token=b"", more_flags=0):
        length = 16 + len(body) + len(trailer) + len(token)
        return struct.pack("<BBBBIHHI", 5, 0, kind, FIRST | LAST | more_flags, 0x10, length, len(token), call_id) \
            + body + trailer + token

    def respond(self, call, stub):
        """The reply in fragments, each protected for itself."""
        state = call.auth_context
        overhead = 24 + (8 + state.context.token_length if state else 0)
        room = (self.send_limit - overhead) & ~15
        faults, out, at, total = self.endpoint.faults, [], 0, len(stub)
        stub = faults.stub(call, stub)
        total = len(stub)
        while True:
            part = stub[at:at + room]
            flags = (FIRST if at == 0 else 0) | (LAST if at + room >= total else 0)
            out.append(self.fragment(RESPONSE, flags, call, struct.pack("<IHBB", total - at, call.context_id, 0, 0), part, state))
            at += room
            if at >= total:
                break
        self.write(faults.pdus(call, out))

    def fragment(self, kind, flags, call, fixed, part, state):
        if state is None:
            return struct.pack("<BBBBIHHI", 5, 0, kind, flags, 0x10, 16 + len(fixed) + len(part), 0, call.call_id) + fixed + part
        context, padding = state.context, -len(part) % 16
        part += bytes(padding)
        token_length = context.token_length
        header = struct.pack("<BBBBIHHI", 5, 0, kind, flags, 0x10, 16 + len(fixed) + len(part) + 8 + token_length,
                             token_length, call.call_id) + fixed
        trailer = struct.pack("<BBBBI", state.acceptor.auth_type, state.level, padding, 0, state.identifier)
        sealed, token = context.seal(header, part, trailer, self.header_signing, state.level == PRIVACY)
        return b"".join((header, sealed, trailer, token))

    def send_fault(self, call, status, protected=None):
        state = call.auth_context
        if protected is None:
            protected = self.endpoint.options["fault_protection"]
        self.send_fault_pdu(call.call_id, call.context_id, status, state if protected else None, call)

    def send_fault_pdu(self, call_id, context_id, status, state, call=None):
        """The status stands in the header of a fault (C706 12.6.4.7); the stub that could be sealed is empty."""
        fixed = struct.pack("<IHBBII", 32, context_id, 0, 0, status, 0)
        call = call or Call(self, call_id, context_id, 0, None)
        self.write(self.fragment(FAULT, FIRST | LAST | DID_NOT_EXECUTE, call, fixed, b"", state))
