"""The endpoint mapper: says on which port an interface listens (C706 appendix O, MS-RPCE 3.1.2.5).

Built from impacket's tower and NDR structures. Answers ept_map for the interfaces it was told; anything else is
"not registered".
"""
import socket
import struct

from impacket.dcerpc.v5 import epm

from rpc_server import RpcFault, OP_RANGE

NOT_REGISTERED = 0x16C9A0D6


class Mapper:
    """The service object of the endpoint mapper; `ports` maps interface (20 bytes) to a TCP port."""
    interface = epm.MSRPC_UUID_PORTMAP
    needs_auth = False

    def __init__(self, ports, address, faults):
        self.ports, self.address, self.faults = ports, address, faults

    def rundown(self, group):
        """The mapper keeps nothing."""

    def call(self, _call, opnum, stub):
        if opnum != 3:
            raise RpcFault(OP_RANGE)
        request = epm.ept_map(stub)
        tower = epm.EPMTower(b"".join(request["map_tower"]["tower_octet_string"]))
        wanted = epm.EPMRPCInterface(tower["Floors"][0].getData())
        interface = wanted["InterfaceUUID"] + struct.pack("<HH", wanted["MajorVersion"], wanted["MinorVersion"])
        port = None if self.faults.unregistered else self.ports.get(interface)
        handle = epm.ept_lookup_handle_t()
        if port is None:
            return handle.getData() + struct.pack("<IIIII", 0, request["max_towers"], 0, 0, NOT_REGISTERED)
        answer = self.tower(tower, port)
        # One tower: counts, the pointer, then tower length twice (conformance and length) and its bytes.
        reply = handle.getData() + struct.pack("<IIIII", 1, request["max_towers"], 0, 1, 0x20000)
        reply += struct.pack("<II", len(answer), len(answer)) + answer
        return reply + bytes(-len(reply) % 4) + struct.pack("<I", 0)

    def tower(self, asked, port):
        """The asked tower with this server's port and address in its last floors."""
        port_floor = epm.EPMPortAddr()
        port_floor["IpPort"] = port
        host_floor = epm.EPMHostAddr()
        host_floor["Ip4addr"] = socket.inet_aton(self.address)
        answer = epm.EPMTower()
        answer["NumberOfFloors"] = 5
        answer["Floors"] = b"".join(floor.getData() for floor in asked["Floors"][:3]) \
            + port_floor.getData() + host_floor.getData()
        return answer.getData()
