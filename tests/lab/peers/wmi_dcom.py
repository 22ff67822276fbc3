"""DCOM's side of a Windows host: the activator and the object resolver on port 135, and the objects on another port.

IRemoteSCMActivator, IObjectExporter, IRemUnknown (MS-DCOM 3.1) and the three interfaces of WMI that a query needs
(MS-WMI 3.1.4). Objects are addressed by the object UUID of a request. Refusals, silence and the like come from the host's
`faults`, at the step that a call is.
"""
import asyncio
import struct

import auth
import wmi_faults
import wmi_ndr
from rpc_server import Association, Endpoint, RpcFault, BAD_STUB, BIND, OP_RANGE
from wmi_ndr import Malformed, Reader, Writer, guid, interface
from wmi_query import INVALID_QUERY, InvalidQuery, Query

ACTIVATOR = interface("000001a0-0000-0000-c000-000000000046")
EXPORTER = interface("99fcfec4-5260-101b-bbcb-00aa0021347a")
UNKNOWN = interface("00000131-0000-0000-c000-000000000046")
UNKNOWN2 = interface("00000143-0000-0000-c000-000000000046")
LOGIN = interface("f309ad18-d86a-11d0-a075-00c04fb68820")
SERVICES = interface("9556dc99-828c-11cf-a37e-00aa003240c7")
ENUMERATOR = interface("027947e1-d731-11ce-a357-000000000001")
LOGIN_CLASS = guid("8bc3f05e-d86b-11d0-a075-00c04fb68820")
OBJECT, OBJECT_CLASS = guid("dc12a681-737f-11cf-884d-00aa004b2e24"), guid("4590f812-1d3a-11d0-891f-00aa004b2e24")
IUNKNOWN = guid("00000000-0000-0000-c000-000000000046")
PROPERTIES_IN, PROPERTIES_IN_CLASS = guid("000001a2-0000-0000-c000-000000000046"), guid("00000338-0000-0000-c000-000000000046")
PROPERTIES_OUT, PROPERTIES_OUT_CLASS = guid("000001a3-0000-0000-c000-000000000046"), guid("00000339-0000-0000-c000-000000000046")
INSTANTIATION, SCM_REQUEST = guid("000001ab-0000-0000-c000-000000000046"), guid("000001aa-0000-0000-c000-000000000046")
SCM_REPLY = guid("000001b6-0000-0000-c000-000000000046")
ACTIVATION_CONTEXT, LOCATION = guid("000001a5-0000-0000-c000-000000000046"), guid("000001a4-0000-0000-c000-000000000046")

E_NOINTERFACE, E_ACCESSDENIED, E_INVALIDARG = 0x80004002, 0x80070005, 0x80070057
CLASS_NOT_REGISTERED, VERSION_MISMATCH, DISCONNECTED, INVALID_IPID = 0x80040154, 0x80010110, 0x80010108, 0x80010113
WBEM_ACCESS_DENIED, WBEM_INVALID_NAMESPACE, WBEM_INVALID_PARAMETER, WBEM_INVALID_QUERY_TYPE = \
    0x80041003, 0x8004100E, 0x80041008, 0x80041018
S_OK, S_FALSE, WBEM_TIMED_OUT = 0, 1, 0x40004
RETURN_IMMEDIATELY, FORWARD_ONLY = 0x10, 0x20
MAX_IDS = 64


class HostEndpoint(Endpoint):
    """A port of a host."""

    def __init__(self, host, realm, options, is_scm):
        super().__init__(host, realm, host.faults, host.stats, options)
        self.host, self.is_scm, self.connection = host, is_scm, HostAssociation

    @property
    def is_event_service(self):
        """Faults on binds are for every port of a host."""
        return True


class HostAssociation(Association):
    """A connection on which a test can interfere at each step."""
    silent = False

    def receive(self, pdu):
        if not self.silent:
            super().receive(pdu)

    def authenticate(self, trailer, token):
        state, reply = super().authenticate(trailer, token)
        if state.failed:
            self.endpoint.stats.refused_account(state.failed.principal)
            if self.endpoint.faults.refuses_passwords:
                self.endpoint.faults.refusal("bind")
        return state, reply

    def bind(self, kind, flags, call_id, body, trailer, token):
        self.endpoint.stats.add("binds", 1 if kind == BIND else 0)
        self.at("bind", super().bind, kind, flags, call_id, body, trailer, token)

    def execute(self, call):
        service = self.contexts.get(call.context_id)
        call.step = service.steps.get(call.opnum) if service else None
        if service is not None and service.needs_auth:
            self.endpoint.stats.called_at(call.auth_context.level if call.auth_context else 0)
        self.at(call.step, super().execute, call)

    def at(self, step, action, *arguments):
        """Does it, unless the test wants something else at this step."""
        faults = self.endpoint.faults
        if step in faults.mute_steps:
            self.silent = True
            return
        order = faults.drop(step)
        if order is not None:
            (self.transport.abort if order["reset"] else self.transport.close)()
            return
        delay = faults.delay(step)
        if delay:
            self.later(delay, action, arguments)
        else:
            action(*arguments)

    def later(self, delay, action, arguments):
        def act():
            if self.transport.is_closing():
                return
            try:
                action(*arguments)
            except (auth.AuthError, struct.error, IndexError, ValueError, KeyError) as error:
                self.abort(f"{type(error).__name__}: {error}")
        asyncio.get_running_loop().call_later(delay, act)

    def send_fault(self, call, status, protected=None):
        self.endpoint.stats.add("refused")
        super().send_fault(call, status, protected)


class Service:
    """An interface: what its methods have in common."""
    needs_auth = True
    steps = {}

    def __init__(self, host):
        self.host, self.faults, self.stats = host, host.faults, host.stats

    def rundown(self, group):
        """References outlive connections: a client that forgets them leaks them until its pings end."""

    def call(self, call, opnum, stub):
        method = self.methods.get(opnum)
        if method is None:
            raise RpcFault(OP_RANGE)
        order = self.faults.refusal(call.step) if call.step else None
        if order is not None and order["how"] == "fault":
            raise RpcFault(order["status"])
        try:
            status = order["status"] if order is not None else None
            return method(self, call, Reader(stub), status)
        except Malformed as error:
            self.stats.note(f"{self.name}/{opnum}: {error}: {stub.hex()}")
            raise RpcFault(BAD_STUB) from error

    def version(self, reader):
        """ORPCTHIS; refuses what the host is too new for."""
        version, flags = reader.orpc_this()
        if version[0] != 5 or list(version) < list(self.host.state["version"]):
            raise RpcFault(VERSION_MISMATCH)
        return flags

    def that(self, status):
        """The head of a reply."""
        if status >> 31:
            self.stats.add("refused")
        return Writer().orpc_that(error_info=bool(status >> 31) and self.host.state["error_info"])

    def reference(self, step, item):
        """An OBJREF to a live object, broken if the test says so; and the act."""
        act = self.faults.act(step, wmi_faults.REFERENCE_ACTS) if self.faults.hostile else None
        kind = 0x40 if act == "objref_unknown_kind" else wmi_ndr.STANDARD
        objref = wmi_ndr.standard(item.interface[:16], item.refs, self.host.oxid, item.oid, item.ipid, self.host.bindings(), kind)
        return self.faults.random.randbytes(len(objref)) if act == "objref_garbage" else objref, act

    def pointer_reply(self, step, status, item):
        """One interface pointer and a status: what most methods answer."""
        writer = self.that(status)
        if item is None:
            return writer.pointer(False).u32(status).bytes()
        objref, act = self.reference(step, item)
        return writer.pointer().interface_pointer(objref, act).u32(status).bytes()


class Activator(Service):
    """IRemoteSCMActivator (3.1.2.5.2.2), what makes the first object."""
    interface, name, steps = ACTIVATOR, "activator", {4: "activation"}

    def create_instance(self, call, reader, refused):
        self.stats.add("activations")
        flags = self.version(reader)
        if reader.u32():
            raise Malformed("pUnkOuter must be null")
        if not reader.u32():
            raise Malformed("no activation properties")
        objref = reader.interface_pointer()
        reader.end()
        if flags not in (0, 1):
            raise Malformed(f"ORPCTHIS flags {flags}")
        class_id, wanted = self.request(wmi_ndr.read_custom(objref, PROPERTIES_IN, PROPERTIES_IN_CLASS))
        status = refused or S_OK
        if not status and self.host.right(call.principal) == "no_dcom":
            status = E_ACCESSDENIED
        if not status and class_id != LOGIN_CLASS:
            status = CLASS_NOT_REGISTERED
        if not status and LOGIN[:16] not in wanted:
            status = E_NOINTERFACE
        if status:
            return self.pointer_reply("activation", status, None)
        return self.created(wanted)

    @staticmethod
    def request(blob):
        """(class, interfaces) of an activation properties BLOB (2.2.22), all of it checked."""
        size, reserved = struct.unpack_from("<II", blob)
        if reserved or size > len(blob) - 8:
            raise Malformed(f"BLOB of {size} bytes in {len(blob)}")
        header = typed(blob[8:])
        total, header_size, _, _, count = (header.u32() for _ in range(5))
        header.guid()
        pointers = [header.u32() for _ in range(3)]
        if total != size or not 1 <= count <= 10 or not pointers[0] or not pointers[1] or pointers[2]:
            raise Malformed(f"CustomHeader {total}, {count}, {pointers}")
        if header.u32() != count:
            raise Malformed("count of property identifiers")
        names = [header.guid() for _ in range(count)]
        if header.u32() != count:
            raise Malformed("count of property sizes")
        sizes = [header.u32() for _ in range(count)]
        if header_size + sum(sizes) != total or any(length % 8 for length in sizes):
            raise Malformed(f"property sizes {header_size} + {sizes} of {total}")
        found, at = {}, 8 + header_size
        for name, length in zip(names, sizes):
            found[name], at = blob[at:at + length], at + length
        for name, word in ((INSTANTIATION, "InstantiationInfo"), (SCM_REQUEST, "ScmRequestInfo"),
                           (ACTIVATION_CONTEXT, "ActivationContextInfo"), (LOCATION, "ServerLocationInfo")):
            if name not in found:
                raise Malformed(f"no {word}")
        protocols(typed(found[SCM_REQUEST]))
        return instantiation(typed(found[INSTANTIATION]), len(found[INSTANTIATION]))

    def created(self, wanted):
        """The reply: where the object is and what it is called."""
        item = self.host.create(LOGIN)
        objref, act = self.reference("activation", item)
        results = Writer().u32(len(wanted)).pointer().pointer().pointer()
        results.u32(len(wanted))
        for iid in wanted:
            results.raw(iid)
        good = [iid == LOGIN[:16] for iid in wanted]
        results.u32(len(wanted), *(S_OK if fine else E_NOINTERFACE for fine in good)).u32(len(wanted))
        for fine in good:
            results.pointer(fine)
        results.interface_pointer(objref, act)
        bindings = [] if act == "no_bindings" else self.host.bindings(self.host.dcom_port)
        units, security = wmi_ndr.string_array(bindings)
        if act == "bindings_garbage":
            units = self.faults.random.randbytes(len(units))
        major, minor = (4, 0) if act == "bad_version" else wmi_ndr.COM_VERSION
        place = Writer().u32(0).pointer().u64(self.host.oxid).pointer().raw(self.host.unknown)
        place.u32(self.host.state["authn_hint"]).u16(major, minor).u32(len(units) // 2)
        place.u16(len(units) // 2, security).raw(units)
        blob = activation_blob([(PROPERTIES_OUT_CLASS, results.bytes()), (SCM_REPLY, place.bytes())])
        objref = wmi_ndr.custom(PROPERTIES_OUT, PROPERTIES_OUT_CLASS, blob)
        return self.that(S_OK).pointer().interface_pointer(objref).u32(S_OK).bytes()

    methods = {4: create_instance}


def typed(data):
    """A reader behind the two headers of type serialization (MS-RPCE 2.2.6); alignment counts from behind them."""
    if len(data) < 16 or data[:4] != b"\x01\x10\x08\x00" or struct.unpack_from("<I", data, 8)[0] > len(data) - 16:
        raise Malformed(f"type serialization {data[:16].hex()}")
    return Reader(data, 16)


def instantiation(reader, size):
    """InstantiationInfoData (2.2.22.2.1); clients may leave its own size 0."""
    class_id = reader.guid()
    _, _, _, count, _, pointer, this_size = (reader.u32() for _ in range(7))
    version = reader.u16(), reader.u16()
    if not pointer or not 1 <= count <= MAX_IDS or reader.u32() != count or version[0] != 5 or this_size not in (0, size):
        raise Malformed(f"InstantiationInfo: {count} interfaces, version {version}, {this_size} of {size} bytes")
    return class_id, [reader.guid() for _ in range(count)]


def protocols(reader):
    """ScmRequestInfoData (2.2.22.2.4): the client must speak RPC over TCP."""
    if reader.u32() or not reader.u32():
        raise Malformed("ScmRequestInfo without remoteRequest")
    reader.u32()
    count = reader.u16()
    if not reader.u32() or reader.u32() != count or wmi_ndr.TCP not in [reader.u16() for _ in range(min(count, MAX_IDS))]:
        raise Malformed("the client does not speak TCP")


def activation_blob(properties):
    """The activation properties BLOB (2.2.22)."""
    bodies = [wmi_ndr.serialized(body) for _, body in properties]

    def header(header_size, total):
        writer = Writer().u32(total, header_size, 0, 2, len(properties)).raw(bytes(16)).pointer().pointer().pointer(False)
        writer.u32(len(properties))
        for name, _ in properties:
            writer.raw(name)
        return wmi_ndr.serialized(writer.u32(len(bodies), *map(len, bodies)).bytes())
    size = len(header(0, 0))
    total = size + sum(map(len, bodies))
    return struct.pack("<II", total, 0) + header(size, total) + b"".join(bodies)


class Exporter(Service):
    """IObjectExporter (3.1.2.5.1), the object resolver: whether it lives, where objects are, pings."""
    interface, name, needs_auth = EXPORTER, "exporter", False

    def alive(self, _call, _reader, _refused):
        return struct.pack("<I", 0)

    def alive2(self, _call, _reader, _refused):
        return Writer().u16(*wmi_ndr.COM_VERSION).pointer().raw(self.strings(None)).align(4).u32(0, 0).bytes()

    def resolve(self, _call, reader, _refused):
        reader.align(8)
        oxid = struct.unpack("<Q", reader.raw(8))[0]
        if oxid != self.host.oxid:
            return Writer().pointer(False).raw(bytes(16)).u32(0).u16(0, 0).u32(0x6F7 if oxid == 0 else 1910).bytes()
        writer = Writer().pointer().raw(self.strings(self.host.dcom_port)).align(4).raw(self.host.unknown)
        return writer.u32(self.host.state["authn_hint"]).u16(*wmi_ndr.COM_VERSION).u32(0).bytes()

    def ping(self, _call, _reader, _refused):
        return struct.pack("<I", 0)

    def complex_ping(self, _call, _reader, _refused):
        return struct.pack("<QHHI", 1, 0, 0, 0)

    def strings(self, port):
        units, security = wmi_ndr.string_array(self.host.bindings(port))
        return struct.pack("<IHH", len(units) // 2, len(units) // 2, security) + units

    methods = {1: ping, 2: complex_ping, 3: alive, 4: resolve, 5: alive2}


class ObjectService(Service):
    """An interface of objects: which one, the object UUID says."""

    def item(self, call):
        """The object that is called."""
        item = self.host.objects.get(call.object)
        if item is None:
            raise RpcFault(DISCONNECTED)
        if item.interface != self.interface:
            raise RpcFault(INVALID_IPID)
        return item

    def begin(self, call, reader):
        """What every call to an object begins with."""
        item = self.item(call)
        if self.version(reader):
            raise Malformed("flags of a call must be 0")
        return item


class RemUnknown(ObjectService):
    """IRemUnknown and IRemUnknown2 (3.1.1.5.6): references."""
    steps = {5: "release"}

    def __init__(self, host, iid):
        super().__init__(host)
        self.interface, self.name = iid, "unknown" if iid == UNKNOWN else "unknown2"

    def item(self, call):
        if call.object != self.host.unknown:
            raise RpcFault(DISCONNECTED if call.object not in self.host.objects else INVALID_IPID)

    def query_interface(self, call, reader, _refused):
        self.begin(call, reader)
        item, refs, count = self.host.objects.get(reader.guid()), reader.u32(), reader.u16()
        if reader.u32() != count or not 1 <= count <= MAX_IDS:
            raise Malformed("count of interfaces")
        wanted = [reader.guid() for _ in range(count)]
        reader.end()
        if item is None:
            return self.pointer_reply(None, E_INVALIDARG, None)
        writer = self.that(S_OK).pointer().u32(count)
        for iid in wanted:
            fine = iid in (item.interface[:16], IUNKNOWN)
            writer.align(8).u32(S_OK if fine else E_NOINTERFACE).align(8)
            writer.u32(0, refs if fine else 0).u64(self.host.oxid, item.oid).raw(item.ipid if fine else bytes(16))
            self.more(item, refs if fine else 0)
        return writer.u32(S_OK).bytes()

    def more(self, item, refs):
        item.refs += refs
        self.stats.gave(refs)

    def pairs(self, reader):
        """The references of RemAddRef and RemRelease."""
        count = reader.u16()
        if reader.u32() != count or count > 0x8000:
            raise Malformed("count of references")
        result = [(reader.guid(), reader.i32(), reader.i32()) for _ in range(count)]
        reader.end()
        if any(public < 0 or private for _, public, private in result):
            raise Malformed(f"references {result}")
        return result

    def add_ref(self, call, reader, _refused):
        self.begin(call, reader)
        results = []
        for ipid, public, _ in self.pairs(reader):
            item = self.host.objects.get(ipid)
            results.append(S_OK if item else E_INVALIDARG)
            if item:
                self.more(item, public)
        return self.that(S_OK).u32(len(results), *results, S_OK).bytes()

    def release(self, call, reader, refused):
        self.begin(call, reader)
        self.stats.add("releases")
        pairs = self.pairs(reader)
        if refused:
            return self.that(refused).u32(refused).bytes()
        known = [self.host.release(ipid, public) for ipid, public, _ in pairs]
        return self.that(S_OK).u32(S_OK if all(known) else E_INVALIDARG).bytes()

    methods = {3: query_interface, 4: add_ref, 5: release}


class Login(ObjectService):
    """IWbemLevel1Login (MS-WMI 3.1.4.1)."""
    interface, name, steps = LOGIN, "login", {6: "login"}

    def position(self, call, reader, _refused):
        """EstablishPosition: nothing but a version."""
        self.begin(call, reader)
        return self.that(S_OK).u32(0x409, S_OK).bytes()

    def ntlm_login(self, call, reader, refused):
        self.begin(call, reader)
        self.stats.add("logins")
        namespace, _locale, flags, context = reader.optional_text(), reader.optional_text(), reader.i32(), reader.u32()
        if context:
            raise Malformed("a context is not expected")
        reader.end()
        status = refused or S_OK
        if not status and (namespace is None or flags):
            status = WBEM_INVALID_PARAMETER
        if not status and namespace.replace("/", "\\").removeprefix("\\\\.\\").lower() != "root\\cimv2":
            status = WBEM_INVALID_NAMESPACE
        if not status and self.host.right(call.principal) == "no_namespace":
            status = WBEM_ACCESS_DENIED
        return self.pointer_reply("login", status, None if status else self.host.create(SERVICES))

    methods = {3: position, 6: ntlm_login}


class Results:
    """What a query will give, and how far it is read."""

    def __init__(self, query, rows, status):
        self.query, self.rows, self.status, self.at = query, rows, status, 0


class Services(ObjectService):
    """IWbemServices (MS-WMI 3.1.4.3): one namespace."""
    interface, name, steps = SERVICES, "services", {20: "query"}

    def exec_query(self, call, reader, refused):
        self.begin(call, reader)
        self.stats.add("queries")
        language, text, flags, context = reader.bstr(), reader.bstr(), reader.u32(), reader.u32()
        if context:
            raise Malformed("a context is not expected")
        reader.end()
        self.stats.asked(text)
        status, results = refused or S_OK, None
        if not status and (language or "").upper() != "WQL":
            status = WBEM_INVALID_QUERY_TYPE
        if not status and (text is None or flags & ~(RETURN_IMMEDIATELY | FORWARD_ONLY)):
            status = WBEM_INVALID_PARAMETER
        if not status:
            try:
                query = Query(text, self.host.state["projection"])
                results = Results(query, query.instances(self.host), S_OK)
            except InvalidQuery:
                # A query that returns at once is refused by its first Next.
                status = S_OK if flags & RETURN_IMMEDIATELY else INVALID_QUERY
                results = Results(None, [], INVALID_QUERY)
        return self.pointer_reply("query", status, None if status else self.host.create(ENUMERATOR, results))

    methods = {20: exec_query}


class Enumerator(ObjectService):
    """IEnumWbemClassObject (MS-WMI 3.1.4.4): the results of one query."""
    interface, name, steps = ENUMERATOR, "enumerator", {4: "next"}

    def next(self, call, reader, refused):
        item = self.begin(call, reader)
        self.stats.add("nexts")
        _timeout, count = reader.i32(), reader.u32()
        reader.end()
        results = item.more
        status = refused or results.status
        if status or not count:
            # The capacity is there although nothing is in it.
            return self.that(status or WBEM_INVALID_PARAMETER).u32(count, 0, 0, 0, status or WBEM_INVALID_PARAMETER).bytes()
        act = self.faults.act("next", wmi_faults.RESULT_ACTS + wmi_faults.OBJECT_ACTS) if self.faults.hostile else None
        if act == "endless_empty":
            return self.that(S_OK).u32(count, 0, 0, 0, WBEM_TIMED_OUT).bytes()
        most = min(count, self.host.state["batch"] or count)
        rows = results.rows[results.at:results.at + most]
        results.at += len(rows)
        ended = results.at >= len(results.rows) and len(rows) < count
        status = S_FALSE if ended else S_OK if len(rows) == count else WBEM_TIMED_OUT
        if act in ("endless", "many") and results.rows:
            wanted = wmi_faults.MANY if act == "many" else count
            rows = (results.rows * (wanted // len(results.rows) + 1))[:wanted]
            count, status = max(count, wanted), S_OK
        return self.batch(rows, count, status, act, results.query.shape)

    def batch(self, rows, count, status, act, shape):
        """The objects, each marshaled by value."""
        writer = self.that(S_OK).u32(wmi_ndr.HUGE if act == "count_huge" else count, 0,
                                     wmi_ndr.HUGE if act == "count_huge" else len(rows))
        for _ in rows:
            writer.pointer()
        for index, values in enumerate(rows):
            unit = self.faults.unit(act if index == 0 or act in ("wrong_class", "control_characters") else None,
                                    shape, values, self.host)
            writer.interface_pointer(wmi_ndr.custom(OBJECT, OBJECT_CLASS, unit))
        return writer.u32(len(rows), status).bytes()

    methods = {4: next}


def object_services(host):
    """What listens on the port of the objects."""
    return [RemUnknown(host, UNKNOWN), RemUnknown(host, UNKNOWN2), Login(host), Services(host), Enumerator(host)]
