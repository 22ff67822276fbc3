"""Instances as WMI marshals them by value (MS-WMIO): the part of the class that explains them, then their values.

A class is a name, its superclasses and its properties; `Shape` is a class as one query sees it, encoded once, and
makes the instances. Texts are Latin-1 where they can be, UTF-16 elsewhere, as Windows writes them.
"""
import struct

SIGNATURE = 0x12345678
INSTANCE, DECORATION = 2, 4
NOTHING = 0xFFFFFFFF
INHERITED, ARRAY = 0x4000, 0x2000
NULL, DEFAULT = 1, 2
KEY_WORD, CIMTYPE_WORD = 0x80000001, 0x8000000A
# Flavors of qualifiers (2.2.62): passed on to instances and subclasses; not overridable; come from a superclass.
PROPAGATED, FIXED, FROM_ABOVE = 0x03, 0x10, 0x20
# CIM types (2.2.82): number, layout in a value table, name in the qualifier CIMTYPE.
TYPES = {"sint16": (2, "h"), "sint32": (3, "i"), "string": (8, None), "boolean": (11, "H"), "object": (13, None),
         "uint8": (17, "B"), "uint16": (18, "H"), "uint32": (19, "I"), "uint64": (21, "Q"), "datetime": (101, None),
         "reference": (102, None)}


class Property:
    """`level`: which superclass declares it, 0 the topmost; the class itself is the last. `target`: of a reference."""

    def __init__(self, name, kind="string", key=False, level=None, target=None, default=None):
        self.name, self.key, self.level, self.target, self.default = name, key, level, target, default
        self.array = kind.endswith("[]")
        self.kind = kind.removesuffix("[]")
        self.number, layout = TYPES[self.kind]
        self.layout = "I" if self.array or layout is None else layout
        self.width = struct.calcsize("<" + self.layout)


def encoded(text):
    """Encoded-String (2.2.78)."""
    try:
        return b"\0" + text.encode("latin-1") + b"\0"
    except UnicodeEncodeError:
        return b"\x01" + text.encode("utf-16-le") + b"\0\0"


def counted(body):
    """Behind an EncodingLength that counts itself (2.2.73)."""
    return struct.pack("<I", len(body) + 4) + body


class Heap:
    """A heap (2.2.66) while it is filled."""

    def __init__(self):
        self.data = bytearray()

    def add(self, item):
        at = len(self.data)
        self.data += item
        return at

    def encode(self):
        return struct.pack("<I", len(self.data) | 0x80000000) + bytes(self.data)


def nd_table(bits):
    """Two bits a property, in the order of declaration (2.2.26)."""
    table = bytearray((len(bits) - 1) // 4 + 1 if bits else 0)
    for order, value in enumerate(bits):
        table[order // 4] |= value << (2 * (order % 4))
    return bytes(table)


def stored(item, value, heap):
    """A value as a value table has it (2.2.71)."""
    if value is None:
        return b"\xff" * item.width
    if item.array:
        # Elements that are texts stand behind the references to them.
        at = heap.add(struct.pack("<I", len(value)) + bytes(4 * len(value)))
        for index, text in enumerate(value):
            struct.pack_into("<I", heap.data, at + 4 + 4 * index, heap.add(encoded(text)))
        return struct.pack("<I", at)
    if item.kind == "boolean":
        return struct.pack("<H", 0xFFFF if value else 0)
    if item.kind == "object":
        return struct.pack("<I", heap.add(struct.pack("<I", len(value)) + value))
    if item.kind in ("string", "datetime", "reference"):
        return struct.pack("<I", heap.add(encoded(value)))
    return struct.pack("<" + item.layout, value)


class Shape:
    """A class with the properties that a query asked for."""

    def __init__(self, name, parents, properties):
        self.name, self.properties = name, properties
        heap, table, bits, offset, lookups = Heap(), b"", [], 0, {}
        class_name = heap.add(encoded(name))
        for order, item in enumerate(properties):
            reference = heap.add(encoded(item.name))
            lookups[item.name] = (reference, heap.add(self._info(item, order, offset, len(parents), heap)))
            table += stored(item, item.default, heap)
            bits.append((NULL if item.default is None else 0) | (DEFAULT if item.level is not None else 0))
            offset += item.width
        self.tables_length = len(nd_table(bits) + table)
        derivation = b"".join(encoded(parent) + struct.pack("<I", len(encoded(parent))) for parent in parents)
        # The table of properties is sorted by name, the values are not (2.2.21).
        pairs = [lookups[key] for key in sorted(lookups, key=str.lower)]
        body = struct.pack("<BII", 0, class_name, self.tables_length) + counted(derivation) + counted(b"")
        body += struct.pack("<I", len(pairs)) + b"".join(struct.pack("<II", *pair) for pair in pairs)
        self.class_part = counted(body + nd_table(bits) + table + heap.encode())

    @staticmethod
    def _info(item, order, offset, own_level, heap):
        """PropertyInfo (2.2.30) with the qualifiers CIMTYPE and key."""
        kind = item.kind if item.kind != "reference" else f"ref:{item.target}"
        flavor = PROPAGATED | (FROM_ABOVE if item.level is not None else 0)
        qualifiers = struct.pack("<IBII", CIMTYPE_WORD, flavor, TYPES["string"][0], heap.add(encoded(kind)))
        if item.key:
            qualifiers += struct.pack("<IBIH", KEY_WORD, flavor | FIXED, TYPES["boolean"][0], 0xFFFF)
        number = item.number | (ARRAY if item.array else 0) | (INHERITED if item.level is not None else 0)
        level = own_level if item.level is None else item.level
        return struct.pack("<IHII", number, order, offset, level) + counted(qualifiers)

    def block(self, values, server=None, namespace="root\\cimv2", name=None):
        """An ObjectBlock (2.2.5) of an instance; `values` by name, what is missing is null."""
        heap, table, bits = Heap(), b"", []
        class_name = heap.add(encoded(name or self.name))
        for item in self.properties:
            value = values.get(item.name)
            if value is None and item.default is not None:
                bits.append(DEFAULT)
                table += bytes(item.width)
                continue
            bits.append(NULL if value is None else 0)
            table += stored(item, value, heap)
        # No qualifiers of the instance, none of its properties (2.2.57, 2.2.65).
        body = struct.pack("<BI", 0, class_name) + nd_table(bits) + table + counted(b"") + b"\x01" + heap.encode()
        head = bytes([INSTANCE | (DECORATION if server is not None else 0)])
        if server is not None:
            head += encoded(server) + encoded(namespace)
        return head + self.class_part + counted(body)


def unit(block):
    """EncodingUnit (2.2.1)."""
    return struct.pack("<II", SIGNATURE, len(block)) + block
