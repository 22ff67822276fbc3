"""A strict reader of instances (MS-WMIO 2.2), written from the grammar, to check what the hosts send.

It reads the specification's own example, and takes no byte for granted. It shares nothing with the encoder.
"""
import struct

from check_peer import expect

# MS-WMIO 3.1: an instance of MyClass with an array, an inherited key, a default and an own value.
EXAMPLE = bytes.fromhex("""
78 56 34 12 d3 01 00 00 06 00 44 50 52 41 56 41 54 2d 44 45 56 00 00 52 4f 4f 54 00 76 01 00 00 00 00 00 00 00 11 00
00 00 0e 00 00 00 00 42 61 73 65 00 06 00 00 00 11 00 00 00 09 00 00 00 00 08 00 00 00 16 00 00 00 04 00 00 00 27 00
00 00 2e 00 00 00 55 00 00 00 5c 00 00 00 99 00 00 00 a0 00 00 00 c7 00 00 00 cb 00 00 00 47 ff ff ff ff ff ff ff ff
fd 00 00 00 ff ff ff ff 11 01 00 80 00 4d 79 43 6c 61 73 73 00 00 44 65 73 63 72 69 70 74 69 6f 6e 00 00 4d 79 43 6c
61 73 73 20 45 78 61 6d 70 6c 65 00 00 41 72 72 61 79 00 13 20 00 00 03 00 0c 00 00 00 01 00 00 00 11 00 00 00 0a 00
00 80 03 08 00 00 00 4d 00 00 00 00 75 69 6e 74 33 32 00 00 44 61 74 61 31 00 08 00 00 00 01 00 04 00 00 00 01 00 00
00 27 00 00 00 0a 00 00 80 03 08 00 00 00 91 00 00 00 03 00 00 80 00 0b 00 00 00 ff ff 04 00 00 80 00 0b 00 00 00 ff
ff 00 73 74 72 69 6e 67 00 00 44 61 74 61 32 00 08 00 00 00 02 00 08 00 00 00 01 00 00 00 11 00 00 00 0a 00 00 80 03
08 00 00 00 bf 00 00 00 00 73 74 72 69 6e 67 00 00 49 64 00 03 40 00 00 00 00 00 00 00 00 00 00 00 00 1c 00 00 00 0a
00 00 80 23 08 00 00 00 f5 00 00 00 01 00 00 80 33 0b 00 00 00 ff ff 00 73 69 6e 74 33 32 00 00 64 65 66 61 75 6c 74
56 61 6c 75 65 00 00 00 00 00 00 00 49 00 00 00 00 00 00 00 00 20 7b 00 00 00 19 00 00 00 00 00 00 00 09 00 00 00 04
00 00 00 01 26 00 00 80 00 4d 79 43 6c 61 73 73 00 03 00 00 00 01 00 00 00 02 00 00 00 03 00 00 00 00 53 74 72 69 6e
67 46 69 65 6c 64 00""")


class Decoder:
    """Reads an instance (MS-WMIO 2.2); every length must be exact, every table in its order."""
    LAYOUTS = {2: "h", 3: "i", 8: "I", 11: "H", 13: "I", 17: "B", 18: "H", 19: "I", 21: "Q", 101: "I", 102: "I"}

    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, layout):
        values = struct.unpack_from("<" + layout, self.data, self.at)
        self.at += struct.calcsize("<" + layout)
        return values[0] if len(values) == 1 else values

    def text(self):
        flag = self.take("B")
        expect("Encoded-String-Flag", flag in (0, 1), True)
        end, width = self.at, flag + 1
        while self.data[end:end + width] != bytes(width):
            end += width
        raw, self.at = self.data[self.at:end], end + width
        return raw.decode("utf-16-le" if flag else "latin-1")

    def counted(self):
        return Decoder(self.slice(self.take("I") - 4))

    def slice(self, size):
        expect("bytes left", size <= len(self.data) - self.at, True)
        self.at += size
        return self.data[self.at - size:self.at]

    def heap(self):
        length = self.take("I")
        expect("mark of a heap's length", length >> 31, 1)
        return self.slice(length & 0x7FFFFFFF)

    def done(self, what):
        expect(f"bytes after {what}", len(self.data) - self.at, 0)

    def unit(self):
        """(class, superclasses, decoration, {name: (type, value)})."""
        expect("signature", self.take("I"), 0x12345678)
        block = Decoder(self.slice(self.take("I")))
        self.done("the EncodingUnit")
        flags = block.take("B")
        expect("an instance", flags & 3, 2)
        decoration = (block.text(), block.text()) if flags & 4 else None
        part = block.counted()
        expect("ReservedOctet", part.take("B"), 0)
        class_ref, tables = part.take("II")
        derivation, parents = part.counted(), []
        while derivation.at < len(derivation.data):
            begin = derivation.at
            parents.append(derivation.text())
            expect("ClassNameLength", derivation.take("I"), derivation.at - 4 - begin)
        part.counted()
        lookups = [part.take("II") for _ in range(part.take("I"))]
        class_table, class_heap = part.slice(tables), part.heap()
        part.done("the ClassPart")
        own = block.counted()
        block.done("the InstanceType")
        _, name_ref = own.take("BI")
        table = own.slice(tables)
        own.counted()
        expect("no qualifiers of properties", own.take("B"), 1)
        heap = own.heap()
        own.done("the instance")
        name = self.string(heap, name_ref)
        expect("class name", name, self.string(class_heap, class_ref))
        return name, parents, decoration, self.properties(lookups, class_heap, class_table, heap, table)

    @staticmethod
    def string(heap, at):
        decoder = Decoder(heap)
        decoder.at = at
        return decoder.text()

    def properties(self, lookups, class_heap, class_table, heap, table):
        names = [self.string(class_heap, name) for name, _ in lookups]
        expect("order of the PropertyLookupTable", names, sorted(names, key=str.lower))
        infos = [struct.unpack_from("<IHII", class_heap, info) for _, info in lookups]
        expect("DeclarationOrder", sorted(order for _, order, _, _ in infos), list(range(len(infos))))
        bits_size, expected = (len(infos) + 3) // 4, 0
        for kind, _, offset, _ in sorted(infos, key=lambda info: info[1]):
            expect("ValueTableOffset", offset, expected)
            expected += struct.calcsize(self.LAYOUTS[3 if kind & 0x2000 else kind & 0xFFF])
        expect("NdTableValueTableLength", len(table), bits_size + expected)
        result = {}
        for name, (kind, order, offset, _) in zip(names, infos):
            bits = table[order // 4] >> (2 * (order % 4)) & 3
            values, texts = (class_table, class_heap) if bits & 2 else (table, heap)
            null = bits & 1 or values[order // 4] >> (2 * (order % 4)) & 1
            at = bits_size + offset
            result[name] = (kind & 0xFFF, None if null else self.value(kind & 0x2FFF, values, at, texts))
        return result

    def value(self, kind, values, at, heap):
        if kind & 0x2000:
            at = struct.unpack_from("<I", values, at)[0]
            width = struct.calcsize(self.LAYOUTS[kind & 0xFFF])
            count = struct.unpack_from("<I", heap, at)[0]
            return [self.value(kind & 0xFFF, heap, at + 4 + width * index, heap) for index in range(count)]
        number = struct.unpack_from("<" + self.LAYOUTS[kind], values, at)[0]
        return self.string(heap, number) if kind in (8, 101, 102) else number
