"""What calls of DCOM are made of: NDR (C706 chapter 14), ORPC headers, object references, bindings (MS-DCOM 2.2).

Written from the specifications. Requests are read strictly: what does not fit is a fault of the client and is told so.
"""
import struct
import uuid

COM_VERSION = (5, 7)
NTLM, NEGOTIATE, KERBEROS = 10, 9, 16
TCP = 7
MEOW = 0x574F454D
STANDARD, CUSTOM = 1, 4
HUGE = 0x7FFFFFFF


class Malformed(Exception):
    """A request that no server would understand."""


def guid(text):
    """The 16 bytes of a UUID as they stand in a call."""
    return uuid.UUID(text).bytes_le


def interface(text):
    """A UUID with version 0.0, as all DCOM interfaces have."""
    return guid(text) + bytes(4)


class Reader:
    """Reads a stub; alignment counts from its first byte."""

    def __init__(self, data, base=0):
        self.data, self.at, self.base = data, base, base

    def align(self, size):
        self.at += -(self.at - self.base) % size

    def take(self, layout, size):
        self.align(size)
        if self.at + size > len(self.data):
            raise Malformed(f"the request ends at {len(self.data)}, before {self.at + size}")
        value = struct.unpack_from("<" + layout, self.data, self.at)[0]
        self.at += size
        return value

    def u16(self):
        return self.take("H", 2)

    def u32(self):
        return self.take("I", 4)

    def i32(self):
        return self.take("i", 4)

    def guid(self):
        self.align(4)
        return self.raw(16)

    def raw(self, size):
        if self.at + size > len(self.data):
            raise Malformed(f"{size} bytes at {self.at} of {len(self.data)}")
        value = self.data[self.at:self.at + size]
        self.at += size
        return value

    def text(self):
        """A unique pointer's wide string: counts, characters, NUL."""
        most, offset, count = self.u32(), self.u32(), self.u32()
        if offset or count > most or not count:
            raise Malformed(f"string counts {most}, {offset}, {count}")
        raw = self.raw(2 * count)
        if raw[-2:] != b"\0\0":
            raise Malformed("a string without its NUL")
        return raw[:-2].decode("utf-16-le")

    def optional_text(self):
        return self.text() if self.u32() else None

    def bstr(self):
        """A BSTR (MS-OAUT 2.2.23), with or without a NUL at its end: clients differ."""
        if not self.u32():
            return None
        units, size, again = self.u32(), self.u32(), self.u32()
        if units != again or size not in (2 * units, 0xFFFFFFFF):
            raise Malformed(f"BSTR counts {units}, {size}, {again}")
        return self.raw(2 * units).decode("utf-16-le").rstrip("\0")

    def interface_pointer(self):
        """An MInterfacePointer (2.2.14): the bytes of an OBJREF."""
        most, count = self.u32(), self.u32()
        if most != count:
            raise Malformed(f"MInterfacePointer of {count} in an array of {most}")
        return self.raw(count)

    def orpc_this(self):
        """ORPCTHIS (2.2.13.3): (version, flags)."""
        version, flags = (self.u16(), self.u16()), self.u32()
        if self.u32():
            raise Malformed("ORPCTHIS reserved1 is not 0")
        self.guid()
        if self.u32():
            raise Malformed("no client of this server sends extensions")
        return version, flags

    def end(self):
        """Nothing but padding may follow."""
        if len(self.data) - self.at > 7:
            raise Malformed(f"{len(self.data) - self.at} bytes after the parameters")


class Writer:
    """Writes a stub."""

    def __init__(self):
        self.data, self.referent = bytearray(), 0x20000

    def align(self, size):
        self.data += bytes(-len(self.data) % size)
        return self

    def u16(self, *values):
        self.align(2)
        self.data += struct.pack(f"<{len(values)}H", *values)
        return self

    def u32(self, *values):
        self.align(4)
        self.data += struct.pack(f"<{len(values)}I", *values)
        return self

    def u64(self, *values):
        self.align(8)
        self.data += struct.pack(f"<{len(values)}Q", *values)
        return self

    def raw(self, value):
        self.data += value
        return self

    def pointer(self, present=True):
        """A referent id, or null."""
        self.u32(self.referent if present else 0)
        self.referent += 4 if present else 0
        return self

    def orpc_that(self, error_info=False):
        """ORPCTHAT (2.2.13.4); with an extension as servers send it beside an error (2.2.21.1)."""
        self.u32(0).pointer(error_info)
        if error_info:
            # One extent in an array rounded up to two.
            data = struct.pack("<8sII", b"\x04\0\0\0MEOW", 0, 0) + bytes(24)
            self.u32(1, 0).pointer().u32(2).pointer().u32(0)
            self.u32(len(data)).raw(guid("0000031c-0000-0000-c000-000000000046")).u32(len(data)).raw(data)
        return self

    def interface_pointer(self, objref, act=None):
        """An MInterfacePointer behind its referent; `act` breaks it."""
        self.u32(HUGE if act == "count_huge" else len(objref))
        return self.u32(HUGE if act == "length_huge" else len(objref)).raw(objref)

    def bytes(self):
        return bytes(self.data)


def serialized(body):
    """Type serialization version 1 (MS-RPCE 2.2.6): the two headers, and padding to eight."""
    body += bytes(-len(body) % 8)
    return struct.pack("<BBHIII", 1, 0x10, 8, 0xCCCCCCCC, len(body), 0) + body


def string_array(bindings):
    """A DUALSTRINGARRAY's 16-bit units (2.2.19): string bindings, security bindings; and where the latter begin."""
    strings = b"".join(struct.pack("<H", TCP) + text.encode("utf-16-le") + b"\0\0" for text in bindings)
    # An empty array has two terminators too.
    strings += b"\0\0" if strings else b"\0\0\0\0"
    security = b"".join(struct.pack("<HHH", service, 0xFFFF, 0) for service in (NTLM, KERBEROS, NEGOTIATE)) + b"\0\0"
    return strings + security, len(strings) // 2


def dual_string_array(bindings):
    """The packed form, at the end of an OBJREF."""
    units, security = string_array(bindings)
    return struct.pack("<HH", len(units) // 2, security) + units


def standard(iid, refs, oxid, oid, ipid, resolver, kind=STANDARD):
    """OBJREF_STANDARD (2.2.18.4)."""
    return struct.pack("<II16sIIQQ16s", MEOW, kind, iid, 0, refs, oxid, oid, ipid) + dual_string_array(resolver)


def custom(iid, clsid, data):
    """OBJREF_CUSTOM (2.2.18.6)."""
    return struct.pack("<II16s16sII", MEOW, CUSTOM, iid, clsid, 0, len(data) + 8) + data


def read_custom(objref, iid, clsid):
    """The data of an OBJREF_CUSTOM that must be of this interface and class."""
    if len(objref) < 48:
        raise Malformed("an OBJREF that is too short")
    signature, kind, found, by, extension, _ = struct.unpack_from("<II16s16sII", objref)
    if (signature, kind, found, by, extension) != (MEOW, CUSTOM, iid, clsid, 0):
        raise Malformed(f"OBJREF {objref[:48].hex()}")
    return objref[48:]
