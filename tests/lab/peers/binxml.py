"""Binary XML as the event service sends it over the wire (MS-EVEN6 2.2.12), written from the specification.

The wire form differs from .evtx files: names stand inline and every event brings its template. An event is a
template instance for <Event> whose last value is itself a template instance for <EventData>, exactly as real
domain controllers write them. Template bytes are built once; an event only packs its values.
This encoder shares nothing with the collector's decoder: one proves the other.
"""
import struct
import uuid

# Value types (MS-EVEN6 2.2.12, value type list).
NULL, STRING, UINT8, UINT16, UINT32, UINT64 = 0x00, 0x01, 0x04, 0x06, 0x08, 0x0A
BOOL, BINARY, GUID, SIZE_T, FILETIME, SID = 0x0D, 0x0E, 0x0F, 0x10, 0x11, 0x13
HEX32, HEX64, BINXML = 0x14, 0x15, 0x21

EOF, CLOSE_START, CLOSE_EMPTY, END_ELEMENT = b"\x00", b"\x02", b"\x03", b"\x04"
FRAGMENT_HEADER = b"\x0f\x01\x01\x00"
NO_DEPENDENCY = 0xFFFF
NAMESPACE = "http://schemas.microsoft.com/win/2004/08/events/event"


def name_hash(text):
    """The 16-bit hash that precedes every name."""
    value = 0
    for unit in struct.unpack(f"<{len(text.encode('utf-16-le')) // 2}H", text.encode("utf-16-le")):
        value = (value * 65599 + unit) & 0xFFFFFFFF
    return value & 0xFFFF


def name(text):
    """NameHash NameNumChars NullTerminatedUnicodeString."""
    raw = text.encode("utf-16-le")
    return struct.pack("<HH", name_hash(text), len(raw) // 2) + raw + b"\0\0"


def text_value(text, more=False):
    """A literal string: ValueTextToken StringType LengthPrefixedUnicodeString."""
    raw = text.encode("utf-16-le")
    return struct.pack("<BBH", 0x45 if more else 0x05, STRING, len(raw) // 2) + raw


def entity(text, more=False):
    """An entity reference such as &amp; (its name without the signs)."""
    return bytes([0x49 if more else 0x09]) + name(text)


def char_ref(code, more=False):
    """A character reference such as &#60;."""
    return struct.pack("<BH", 0x48 if more else 0x08, code)


def substitution(index, value_type, optional):
    """A place in a template that takes value number `index`."""
    return struct.pack("<BHB", 0x0E if optional else 0x0D, index, value_type)


def element(tag, attributes=(), content=None, dependency=NO_DEPENDENCY):
    """One element; `dependency` None leaves the dependency id out, as outside template definitions."""
    body = name(tag)
    if attributes:
        listed = b""
        for number, (key, value) in enumerate(attributes):
            more = number + 1 < len(attributes)
            listed += bytes([0x46 if more else 0x06]) + name(key) + value
        body += struct.pack("<I", len(listed)) + listed
    body += CLOSE_EMPTY if content is None else CLOSE_START + content + END_ELEMENT
    head = bytes([0x41 if attributes else 0x01])
    if dependency is not None:
        head += struct.pack("<H", dependency)
    return head + struct.pack("<I", len(body)) + body


def template_definition(identifier, root, waste=b""):
    """TemplateInstanceToken and an inline definition; `waste` follows its end inside the length."""
    definition = FRAGMENT_HEADER + root + EOF + waste
    return b"\x0c\x00" + identifier.bytes_le + struct.pack("<I", len(definition)) + definition


def system_element(computer):
    """<System> as Windows' own template for manifest events has it, the computer's name literal."""
    def leaf(tag, index, value_type, dependency=None):
        content = substitution(index, value_type, True)
        return element(tag, (), content, index if dependency is None else dependency)

    def sub(index, value_type):
        return substitution(index, value_type, True)

    return element("System", (), b"".join([
        element("Provider", [("Name", sub(14, STRING)), ("Guid", sub(15, GUID))]),
        element("EventID", [("Qualifiers", sub(4, UINT16))], sub(3, UINT16), 3),
        leaf("Version", 11, UINT8), leaf("Level", 0, UINT8), leaf("Task", 2, UINT16), leaf("Opcode", 1, UINT8),
        leaf("Keywords", 5, HEX64),
        element("TimeCreated", [("SystemTime", sub(6, FILETIME))]),
        leaf("EventRecordID", 10, UINT64),
        element("Correlation", [("ActivityID", sub(7, GUID)), ("RelatedActivityID", sub(13, GUID))]),
        element("Execution", [("ProcessID", sub(8, UINT32)), ("ThreadID", sub(9, UINT32))]),
        leaf("Channel", 16, STRING),
        element("Computer", (), text_value(computer)),
        element("Security", [("UserID", sub(12, SID))]),
    ]))


def sid(text):
    """S-1-5-... as bytes (MS-DTYP 2.4.2.2)."""
    parts = text.split("-")
    authority, subs = int(parts[2]), [int(part) for part in parts[3:]]
    return struct.pack(">BBQ", int(parts[1]), len(subs), authority)[:2] + authority.to_bytes(6, "big") + \
        struct.pack(f"<{len(subs)}I", *subs)


def _number(value, width):
    if isinstance(value, str):
        value = int(value, 0)
    return (value & ((1 << (8 * width)) - 1)).to_bytes(width, "little")


_SID_CACHE = {}


def _sid_cached(value):
    raw = _SID_CACHE.get(value)
    if raw is None:
        if len(_SID_CACHE) > 200_000:
            _SID_CACHE.clear()
        raw = _SID_CACHE[value] = sid(value)
    return raw


ENCODERS = {
    STRING: lambda value: str(value).encode("utf-16-le", "surrogatepass"),
    UINT8: lambda value: _number(value, 1),
    UINT16: lambda value: _number(value, 2),
    UINT32: lambda value: _number(value, 4),
    UINT64: lambda value: _number(value, 8),
    HEX32: lambda value: _number(value, 4),
    HEX64: lambda value: _number(value, 8),
    FILETIME: lambda value: _number(value, 8),
    GUID: lambda value: uuid.UUID(value).bytes_le,
    SID: _sid_cached,
}


class DataTemplate:
    """<EventData> of one event id: named values with types, ready to be filled in."""

    def __init__(self, label, fields, waste=b""):
        self.names = [field for field, _ in fields]
        self.types = [value_type for _, value_type in fields]
        self.encoders = [ENCODERS[value_type] for value_type in self.types]
        content = b"".join(
            element("Data", [("Name", text_value(field))], substitution(index, value_type, False))
            for index, (field, value_type) in enumerate(fields))
        identifier = uuid.uuid5(uuid.NAMESPACE_URL, f"jims-peer/{label}/" + "/".join(self.names))
        self.head = FRAGMENT_HEADER + template_definition(identifier, element("EventData", (), content), waste) \
            + struct.pack("<I", len(fields))
        self.spec = struct.Struct("<" + "HBx" * len(fields))

    def encode(self, values, form=None):
        """The nested template instance, with its end token. A value of None is sent as null.

        Real logs differ, and a test may ask for it: form "no_header" leaves the inner fragment header out, "size_t"
        sends 64-bit hexadecimal values as pointer-sized ones.
        """
        raw, spec = [], []
        for encode, value_type, value in zip(self.encoders, self.types, values):
            if value is None:
                spec += (0, NULL)
                continue
            data = encode(value)
            raw.append(data)
            spec += (len(data), SIZE_T if form == "size_t" and value_type == HEX64 else value_type)
        head = self.head[4:] if form == "no_header" else self.head
        return b"".join((head, self.spec.pack(*spec), *raw, EOF))


class EventTemplate:
    """<Event> of one computer and channel: everything but the values is built once."""

    def __init__(self, computer, channel, waste=b""):
        root = element(
            "Event", [("xmlns", text_value(NAMESPACE))],
            system_element(computer) + substitution(17, BINXML, True), 17)
        identifier = uuid.uuid5(uuid.NAMESPACE_URL, f"jims-peer/{computer}/{channel}")
        provider = "Microsoft-Windows-Security-Auditing".encode("utf-16-le")
        provider_guid = uuid.UUID("54849625-5478-4994-a5ba-3e3b0328c30d").bytes_le
        channel_raw = channel.encode("utf-16-le")
        sizes = [(1, UINT8), (1, UINT8), (2, UINT16), (2, UINT16), (0, NULL), (8, HEX64), (8, FILETIME), (0, NULL),
                 (4, UINT32), (4, UINT32), (8, UINT64), (1, UINT8), (0, NULL), (0, NULL), (len(provider), STRING),
                 (16, GUID), (len(channel_raw), STRING)]
        self.head = FRAGMENT_HEADER + template_definition(identifier, root, waste) + struct.pack("<I", len(sizes) + 1) \
            + b"".join(struct.pack("<HBx", size, value_type) for size, value_type in sizes)
        # The last entry's length, its type, then every fixed value up to the constant strings.
        self.values = struct.Struct("<HBxBBHHQQIIQB")
        self.tail = provider + provider_guid + channel_raw

    def encode(self, event_id, version, task, keywords, filetime, record_id, process, thread, data):
        """One whole event document."""
        return b"".join((
            self.head,
            self.values.pack(len(data), BINXML, 0, 0, task, event_id, keywords, filetime, process, thread, record_id,
                             version),
            self.tail, data, EOF))


def plain_document(computer, channel, event_id, version, task, filetime_text, record_id, data):
    """An event without any template: every value stands as text, as forwarded and rendered events have it."""
    def leaf(tag, value):
        return element(tag, (), text_value(str(value)), None)

    system = b"".join([
        element("Provider", [("Name", text_value("Microsoft-Windows-Security-Auditing"))], None, None),
        leaf("EventID", event_id), leaf("Version", version), leaf("Level", 0), leaf("Task", task), leaf("Opcode", 0),
        element("TimeCreated", [("SystemTime", text_value(filetime_text))], None, None),
        leaf("EventRecordID", record_id), leaf("Channel", channel), leaf("Computer", computer)])
    fields = b"".join(element("Data", [("Name", text_value(key))], text_value(str(value)), None) for key, value in data)
    return FRAGMENT_HEADER + element("Event", [("xmlns", text_value(NAMESPACE))], element("System", (), system, None)
                                     + element("EventData", (), fields, None), None) + EOF


def bookmark(record_id, direction=0):
    """The binary bookmark of a result entry (MS-EVEN6 2.2.16), one channel."""
    return struct.pack("<IIIIIIQ", 0x20, 0x18, 1, 0, direction, 0x18, record_id)


def result_entry(document, record_id):
    """One entry of a result set (MS-EVEN6 2.2.17)."""
    mark = bookmark(record_id)
    after = 0x14 + len(document) + 4
    return struct.pack("<IIIII", after + len(mark), 0x10, 0x10, after, len(document)) + document + bytes(4) + mark
