#!/usr/bin/env python3
"""Proves the test peer with independent clients, so that the peer can prove the collector.

impacket's own RPC client (NTLM with packet privacy, Kerberos inside SPNEGO when a ticket cache is given), its
endpoint mapper client and its EVEN6 calls talk to a peer that this program starts; the binary XML is checked
against the specification's own example and read back by a small decoder written from the grammar (MS-EVEN6 2.2.12).
Exits non-zero on the first difference.

    check_peer.py [--keytab FILE --ccache FILE] [--bulk 100000]
"""
import argparse
import json
import os
import socket
import struct
import subprocess
import sys
import time
import uuid

from impacket.dcerpc.v5 import epm, even6, transport
from impacket.dcerpc.v5.rpcrt import RPC_C_AUTHN_GSS_NEGOTIATE, RPC_C_AUTHN_LEVEL_PKT_PRIVACY, DCERPCException

from impacket.krb5.kerberosv5 import KerberosError

import binxml
import even6_ndr

HERE = os.path.dirname(os.path.abspath(__file__))
HOST = "evt1.corp.example.com"
# MS-EVEN6 4.7: <Event><Element1>abc</Element1>... as the specification prints it.
EXAMPLE = bytes.fromhex("""
0f 01 01 00 01 f2 00 00 00 ba 0c 05 00 45 00 76 00 65 00 6e 00 74 00 00 00 02 01 22 00 00 00 b5 79 08 00 45 00 6c 00
65 00 6d 00 65 00 6e 00 74 00 31 00 00 00 02 05 01 03 00 61 00 62 00 63 00 04 01 44 00 00 00 b6 79 08 00 45 00 6c 00
65 00 6d 00 65 00 6e 00 74 00 32 00 00 00 02 45 01 05 00 20 00 64 00 65 00 66 00 20 00 49 24 fb 03 00 61 00 6d 00 70
00 00 00 48 3c 00 05 01 05 00 20 00 67 00 68 00 69 00 20 00 04 41 6b 00 00 00 b7 79 08 00 45 00 6c 00 65 00 6d 00 65
00 6e 00 74 00 33 00 00 00 50 00 00 00 46 90 d8 05 00 41 00 74 00 74 00 72 00 41 00 00 00 05 01 03 00 61 00 62 00 63
00 06 91 d8 05 00 41 00 74 00 74 00 72 00 42 00 00 00 45 01 03 00 64 00 65 00 66 00 49 24 fb 03 00 61 00 6d 00 70 00
00 00 48 3c 00 05 01 03 00 67 00 68 00 69 00 03 04 00""")


class Difference(Exception):
    """Something is not as it must be."""


def expect(what, got, wanted):
    if got != wanted:
        raise Difference(f"{what}: got {repr(got)[:300]}, wanted {repr(wanted)[:300]}")


class Decoder:
    """Reads a document into nested (name, attributes, children); enough of the grammar for what Windows sends."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, layout):
        values = struct.unpack_from("<" + layout, self.data, self.at)
        self.at += struct.calcsize("<" + layout)
        return values if len(values) > 1 else values[0]

    def name(self):
        _, count = self.take("HH")
        text = self.data[self.at:self.at + 2 * count].decode("utf-16-le")
        self.at += 2 * count + 2
        return text

    def document(self):
        root = self.fragment()
        expect("end token", self.take("B"), 0)
        expect("end of document", self.at, len(self.data))
        return root

    def fragment(self):
        while self.data[self.at] == 0x0F:
            self.at += 4
        if self.data[self.at] & 0xBF == 0x01:
            return self.element(False, None)
        expect("template token", self.take("BB"), (0x0C, 0))
        self.at += 16
        length = self.take("I")
        definition, self.at = self.at, self.at + length
        count = self.take("I")
        specs = [self.take("HBB") for _ in range(count)]
        values = []
        for size, kind, _ in specs:
            values.append(self.value(kind, self.data[self.at:self.at + size]))
            self.at += size
        after, self.at = self.at, definition
        while self.data[self.at] == 0x0F:
            self.at += 4
        root = self.element(True, values)
        expect("end of template", self.take("B"), 0)
        expect("template length", self.at <= definition + length, True)
        self.at = after
        return root

    def element(self, in_template, values):
        token = self.take("B")
        expect("element token", token & 0xBF, 0x01)
        if in_template:
            self.take("H")
        length = self.take("I")
        end = self.at + length
        tag, attributes, children = self.name(), {}, []
        if token & 0x40:
            size = self.take("I")
            stop = self.at + size
            while self.at < stop:
                expect("attribute token", self.take("B") & 0xBF, 0x06)
                key = self.name()
                attributes[key] = self.content(values)[1]
            expect("attribute list length", self.at, stop)
        closing = self.take("B")
        if closing == 0x02:
            while self.data[self.at] != 0x04:
                if self.data[self.at] & 0xBF == 0x01:
                    children.append(self.element(in_template, values))
                else:
                    children.append(self.content(values)[1])
            self.at += 1
        else:
            expect("closing token", closing, 0x03)
        expect(f"length of {tag}", self.at, end)
        return tag, attributes, children

    def content(self, values):
        token = self.take("B")
        if token & 0xBF == 0x05:
            _, count = self.take("BH")
            text = self.data[self.at:self.at + 2 * count].decode("utf-16-le")
            self.at += 2 * count
            return token, text
        if token in (0x0D, 0x0E):
            index, _ = self.take("HB")
            return token, values[index]
        expect("content token", token, "text or substitution")

    @staticmethod
    def value(kind, raw):
        if kind == 0x21:
            return Decoder(raw).document()
        if kind == 0x01:
            return raw.decode("utf-16-le")
        if kind == 0x0F:
            return str(uuid.UUID(bytes_le=raw))
        if kind == 0x13:
            return "S-%d-%d" % (raw[0], int.from_bytes(raw[2:8], "big")) + "".join(
                "-%d" % part for part in struct.unpack(f"<{raw[1]}I", raw[8:]))
        return None if kind == 0 else int.from_bytes(raw, "little")


def flatten(tree):
    """(System values by element or Element.Attribute, EventData by name)."""
    expect("root", tree[0], "Event")
    system, data = {}, {}
    for tag, attributes, children in tree[2][0][2]:
        system[tag] = children[0] if children else None
        system.update({f"{tag}.{key}": value for key, value in attributes.items()})
    for tag, attributes, children in tree[2][1][2]:
        data[attributes["Name"]] = children[0] if children else None
    return system, data


def entries(stub):
    """(status, [(record id of the bookmark, document)]) of a reply of opnum 1, 2 or 11, by impacket's structure."""
    status = struct.unpack("<I", stub[-4:])[0]
    if stub[:4] == bytes(4):
        return status, []
    reply = even6.EvtRpcRemoteSubscriptionNextResponse(stub)
    buffer = b"".join(reply["ResultBuffer"])
    expect("buffer size", len(buffer), reply["ResultBufferSize"])
    result = []
    for offset, size in zip((item["Data"] for item in reply["EventDataIndices"]), (item["Data"] for item in reply["EventDataSizes"])):
        one = buffer[offset:offset + size]
        total, header, event, mark, length = struct.unpack_from("<IIIII", one)
        expect("entry", (total, header, event, mark), (size, 0x10, 0x10, 0x14 + length + 4))
        result.append((struct.unpack_from("<Q", one, mark + 0x18)[0], one[0x14:0x14 + length]))
    return status, result


class Client:
    """impacket's client on one association."""

    def __init__(self, address, port, user=None, password=None, kerberos=None):
        self.transport = transport.DCERPCTransportFactory(f"ncacn_ip_tcp:{address}[{port}]")
        if kerberos:
            self.transport.setRemoteName(kerberos)
            self.transport.set_credentials("", "", "", "", "")
            self.transport.set_kerberos(True)
        elif user:
            self.transport.set_credentials(user, password, "CORP", "", "")
        self.rpc = self.transport.get_dce_rpc()
        if kerberos:
            self.rpc.set_auth_type(RPC_C_AUTHN_GSS_NEGOTIATE)
        if user or kerberos:
            self.rpc.set_auth_level(RPC_C_AUTHN_LEVEL_PKT_PRIVACY)
        self.rpc.connect()
        self.rpc.bind(even6.MSRPC_UUID_EVEN6)

    def send(self, request):
        self.rpc.call(request.opnum, request)

    def ask(self, request):
        self.send(request)
        return self.rpc.recv()

    def subscribe(self, query, flags, bookmark=None):
        request = even6.EvtRpcRegisterRemoteSubscription()
        request["channelPath"], request["query"] = "Security\0", query + "\0"
        request["bookmarkXml"] = bookmark + "\0" if bookmark else even6.NULL
        request["Flags"] = flags
        reply = even6_ndr.RegisterResponse(self.ask(request))
        return reply["ErrorCode"], reply["Handle"], reply["Control"]

    def next_async(self, handle, count):
        request = even6_ndr.RemoteSubscriptionNextAsync()
        request["handle"], request["numRequestedRecords"], request["flags"] = handle, count, 0
        self.send(request)

    def next(self, handle, count, timeout):
        request = even6.EvtRpcRemoteSubscriptionNext()
        request["Handle"], request["NumRequestedRecords"], request["TimeOut"], request["Flags"] = handle, count, timeout, 0
        return entries(self.ask(request))

    def query(self, query, flags=0x101):
        return even6.hEvtRpcRegisterLogQuery(self.rpc, "Security", flags, query)["Handle"]

    def query_next(self, handle, count, parse=True):
        request = even6.EvtRpcQueryNext()
        request["LogQuery"], request["NumRequestedRecords"], request["TimeOutEnd"], request["Flags"] = handle, count, 1000, 0
        stub = self.ask(request)
        return entries(stub) if parse else stub

    def close(self):
        self.rpc.disconnect()


class Peer:
    """A peer of our own and its control socket."""

    def __init__(self, *flags):
        self.process = subprocess.Popen([sys.executable, os.path.join(HERE, "even6_peer.py"), *flags],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        expect("ready", line[:6], "ready ")
        self.ready = json.loads(line[6:])
        self.control = socket.create_connection(tuple(self.ready["control"])).makefile("rw")

    def __call__(self, cmd, **arguments):
        self.control.write(json.dumps({"cmd": cmd, **arguments}) + "\n")
        self.control.flush()
        reply = json.loads(self.control.readline())
        expect(f"{cmd} {arguments}: {reply.get('error')}", reply["ok"], True)
        return reply

    def stop(self):
        self.process.stdin.close()
        expect("exit code when standard input closes", self.process.wait(10), 0)


def check_formats():
    tree = binxml.FRAGMENT_HEADER + binxml.element("Event", (), b"".join([
        binxml.element("Element1", (), binxml.text_value("abc"), None),
        binxml.element("Element2", (), binxml.text_value(" def ", True) + binxml.entity("amp", True)
                       + binxml.char_ref(60, True) + binxml.text_value(" ghi "), None),
        binxml.element("Element3", [("AttrA", binxml.text_value("abc")), ("AttrB", binxml.text_value(
            "def", True) + binxml.entity("amp", True) + binxml.char_ref(60, True) + binxml.text_value("ghi"))], None, None),
    ]), None) + binxml.EOF
    expect("the specification's example", tree.hex(), EXAMPLE.hex())
    # The hand-packed reply against impacket's structure: reading it back and packing it again gives the same bytes.
    packed = even6_ndr.batch_response([b"abcd", b"efgh1234"], 0)
    again = even6.EvtRpcRemoteSubscriptionNextResponse(packed).getData()
    blank = lambda stub: [word for number, word in enumerate(struct.unpack(f"<{len(stub) // 4}I", stub)) if number not in (1, 5, 10)]
    expect("reply packing", blank(packed), blank(again))


def check_mapper(peer, address):
    entry = peer.ready["addresses"][address]
    connection = transport.DCERPCTransportFactory(f"ncacn_ip_tcp:{address}[{entry['epm']}]").get_dce_rpc()
    connection.connect()
    binding = epm.hept_map(address, even6.MSRPC_UUID_EVEN6, protocol="ncacn_ip_tcp", dce=connection)
    expect("endpoint mapper", binding, f"ncacn_ip_tcp:{address}[{entry['even6']}]")
    connection.disconnect()


def check_query(client, total):
    handle = client.query("*")
    status, first = client.query_next(handle, 5)
    expect("query status", (status, [number for number, _ in first]), (0, [1, 2, 3, 4, 5]))
    for number, document in first:
        system, data = flatten(Decoder(document).document())
        expect("EventRecordID", system["EventRecordID"], number)
        expect("Computer", system["Computer"], HOST)
        expect("Channel", system["Channel"], "Security")
        expect("Provider", system["Provider.Name"], "Microsoft-Windows-Security-Auditing")
        expect("age", abs(system["TimeCreated.SystemTime"] / 1e7 - 11_644_473_600 - time.time()) < 600, True)
        expect("event", (system["EventID"], data["TargetUserName"]), (4768, f"u{number - 1:06d}"))
        expect("address", data["IpAddress"], f"::ffff:10.0.{(number - 1) >> 8}.{(number - 1) & 255}")
        expect("sid", data["TargetSid"], f"S-1-5-21-1004336348-1177238915-682003330-{1103 + number}")
    handle = client.query("*[System[EventID=4769] and EventData[Data[@Name='TargetUserName']='u000007@CORP.EXAMPLE.COM']]")
    status, found = client.query_next(handle, 1024)
    expect("filtered", [flatten(Decoder(document).document())[1]["TargetUserName"] for _, document in found],
           ["u000007@CORP.EXAMPLE.COM"] * len(found))
    expect("filtered count", len(found) > 0, True)
    expect("no more items", client.query_next(handle, 10), (259, []))
    status, newest = client.query_next(client.query("*", 0x201), 3)
    expect("newest first", [number for number, _ in newest], [total, total - 1, total - 2])
    reply = even6_ndr.GetChannelListResponse(client.ask(channel_list_request()))
    expect("channels", [even6_ndr.text(item["Data"]) for item in reply["channelPaths"]], ["Application", "Security", "Setup", "System"])
    try:
        client.query("*[System[")
        expect("bad query", "accepted", "refused")
    except DCERPCException as error:
        expect("bad query", error.get_error_code(), 15001)


def channel_list_request():
    request = even6.EvtRpcGetChannelList()
    request["Flags"] = 0
    return request


def check_push(peer, client):
    status, handle, control = client.subscribe("*[System[(EventID=4624 or EventID=4768)]]", 1)
    expect("subscribe", status, 0)
    client.next_async(handle, 100)
    time.sleep(0.1)
    # The open call must not block others on the same connection.
    expect("query during push", client.query_next(client.query("*"), 1)[0], 0)
    events = [{"id": 4624, "data": {"TargetUserName": "ålice\u0001", "IpAddress": "10.9.8.7", "LogonType": 10}},
              {"id": 5140}, {"id": 4768, "data": {"TargetUserName": "bob", "Status": "0x12"}}]
    last = peer("inject", events=events)["last_record"]
    status, pushed = entries(client.rpc.recv())
    read = [flatten(Decoder(document).document()) for _, document in pushed]
    expect("pushed", (status, [(system["EventID"], data["TargetUserName"]) for system, data in read]),
           (0, [(4624, "ålice\u0001"), (4768, "bob")]))
    expect("typed value", (read[0][1]["LogonType"], read[1][1]["Status"]), (10, 0x12))
    expect("failure keyword", read[1][0]["Keywords"], 0x8010000000000000)
    newest = max(last.values())
    mark = "<BookmarkList><Bookmark Channel='Security' RecordId='%d' IsCurrent='true'/></BookmarkList>"
    status, after, _ = client.subscribe("*", 3 | 0x10000, mark % (newest - 1))
    client.next_async(after, 100)
    expect("after bookmark", [number for number, _ in entries(client.rpc.recv())[1]], [newest])
    # Cancel ends the open call.
    client.next_async(handle, 100)
    time.sleep(0.05)
    request = even6_ndr.HandleCall()
    request["handle"] = control
    client.rpc.call(14, request)
    expect("cancelled", entries(client.rpc.recv()), (1223, []))
    expect("cancel", client.rpc.recv(), bytes(4))
    status, pull, _ = client.subscribe("*", 1 | 0x10000000)
    expect("pull time-out", client.next(pull, 10, 50), (1460, []))
    peer("inject", events=[{"id": 4634}])
    expect("pull", [number for number, _ in client.next(pull, 10, 1000)[1]], [newest + 1])
    # A subscription outlives the clearing of the log.
    status, live, _ = client.subscribe("*", 1 | 0x10000)
    peer("clear")
    client.next_async(live, 10)
    peer("inject", events=[{"id": 4647}, {"id": 4770}])
    expect("after clearing", [number for number, _ in entries(client.rpc.recv())[1]], [1, 2])
    peer("inject", events=[{"id": 4776, "record_id": 500}])
    peer("wrap", keep=1)
    expect("stale", client.subscribe("*", 3 | 0x10000, mark % 1)[0], 15011)
    expect("not strict", client.subscribe("*", 3, mark % 1)[0], 0)
    peer("channel_missing")
    expect("channel", client.subscribe("*", 1)[0], 15007)
    peer("calm")
    peer("deny")
    expect("denied", client.subscribe("*", 1)[0], 5)
    peer("calm")


def check_refusals(address, port):
    for user, password in (("svc-jims", "wrong"), ("nobody", "secret")):
        client = Client(address, port, user, password)
        try:
            client.query("*")
            expect("wrong password", "accepted", "refused")
        except DCERPCException as error:
            expect("refusal", "access_denied" in str(error).lower(), True)
    client = Client(address, port)
    try:
        client.query("*")
        expect("anonymous", "accepted", "refused")
    except DCERPCException as error:
        expect("refusal", "access_denied" in str(error).lower(), True)


def check_forms(peer, client):
    """The less usual shapes of real logs read as the usual one."""
    handle = client.subscribe("*", 1)[1]
    for form in ("no_header", "size_t", "no_template"):
        peer("inject", events=[{"id": 4624, "form": form, "data": {"TargetUserName": "carol", "TargetLogonId": 77}}])
        client.next_async(handle, 10)
        status, found = entries(client.rpc.recv())
        system, data = flatten(Decoder(found[0][1]).document())
        expect(form, (status, int(system["EventID"]), data["TargetUserName"], int(data["TargetLogonId"])), (0, 4624, "carol", 77))


def check_hostile(peer, address):
    """Every act breaks a client or its records, and only once."""
    acts = peer("acts")
    acts.pop("ok")
    for name in (act for kind in acts.values() for act in kind):
        peer("hostile", what=name, opnum=None if name.startswith("bind") else 11)
        harmed = False
        client = None
        try:
            port = peer.ready["addresses"][address]["even6"]
            client = Client(address, port, "svc-jims", "secret")
            client.transport.get_socket().settimeout(0.3)
            found = client.query_next(client.query("*"), 3)
            read = [flatten(Decoder(document).document())[0]["EventRecordID"] for _, document in found[1]]
            harmed = found[0] != 0 or len(read) != 3 or read != [number for number, _ in found[1]]
            client.rpc.get_rpc_transport().get_socket().settimeout(0.3)
            harmed = harmed or bool(client.transport.get_socket().recv(1))
        except Exception:
            harmed = True
        # impacket does not verify signatures, nor padding: these it swallows.
        if name not in ("bad_token", "pad_over", "wrong_call", "bad_version", "reordered", "long_length"):
            expect(f"harm by {name}", harmed, True)
        client = Client(address, peer.ready["addresses"][address]["even6"], "svc-jims", "secret")
        expect(f"recovery after {name}", len(client.query_next(client.query("*"), 3)[1]), 3)
        client.close()


def check_faults(peer, address):
    """Cuts, silence and restarts."""
    port = peer.ready["addresses"][address]["even6"]
    connect = lambda: Client(address, port, "svc-jims", "secret")
    def fails(what, action):
        try:
            action()
        except Exception:
            return
        raise Difference(f"{what}: worked, should have failed")
    peer("fault", opnum=5, status=0x1C010002)
    fails("fault", lambda: connect().query("*"))
    peer("drop", after_bytes=3000)
    client = connect()
    fails("drop", lambda: client.query_next(client.query("*"), 100))
    peer("slow", ms=1, chunk=700)
    client = connect()
    expect("slow", len(client.query_next(client.query("*"), 5)[1]), 5)
    peer("slow")
    peer("refuse", mode="push", status=50)
    expect("push refused", client.subscribe("*", 1)[0], 50)
    expect("pull works", client.subscribe("*", 1 | 0x10000000)[0], 0)
    peer("refuse", mode="push", status=None)
    peer("down")
    fails("down", connect)
    port = peer("up", port=0)["even6"][address]
    peer.ready["addresses"][address]["even6"] = port
    check_mapper(peer, address)
    client = connect()
    peer("drop")
    fails("dropped", lambda: client.query("*"))
    peer("option", set={"header_signing": False, "max_fragment": 2000})
    client = connect()
    expect("small fragments", len(client.query_next(client.query("*"), 20)[1]), 20)
    peer("option", set={"header_signing": True, "max_fragment": 5840})


def check_bulk(client, count):
    handle, read, size, started = client.query("*"), 0, 0, time.monotonic()
    while True:
        stub = client.query_next(handle, 1024, parse=False)
        number = struct.unpack("<I", stub[:4])[0]
        if not number:
            break
        read, size = read + number, size + len(stub)
    expect("bulk", read >= count, True)
    seconds = time.monotonic() - started
    print(f"bulk: {read} records, {size / 1e6:.0f} MB in {seconds:.1f} s, {read / seconds:.0f} a second")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--address", default="127.77.0.40")
    parser.add_argument("--epm-port", default="135")
    parser.add_argument("--keytab")
    parser.add_argument("--ccache", help="holds a ticket for host/" + HOST)
    parser.add_argument("--bulk", type=int, default=0)
    arguments = parser.parse_args()
    check_formats()
    flags = ["--addresses", arguments.address, "--epm-port", arguments.epm_port, "--computer", HOST,
             "--user", "svc-jims:secret", "--generate", str(max(3000, arguments.bulk))]
    if arguments.keytab:
        flags += ["--keytab", arguments.keytab]
    peer = Peer(*flags)
    try:
        port = peer.ready["addresses"][arguments.address]["even6"]
        check_mapper(peer, arguments.address)
        client = Client(arguments.address, port, "svc-jims", "secret")
        check_query(client, max(3000, arguments.bulk))
        if arguments.bulk:
            check_bulk(client, arguments.bulk)
        check_refusals(arguments.address, port)
        if arguments.ccache:
            os.environ["KRB5CCNAME"] = arguments.ccache
            check_query(Client(arguments.address, port, kerberos=HOST), max(3000, arguments.bulk))
            peer("skew", clock_ms=900_000)
            try:
                Client(arguments.address, port, kerberos=HOST)
                raise Difference("a client whose clock is 15 minutes off came in")
            except KerberosError as error:
                expect("clock skew", error.getErrorCode(), 37)
            peer("skew", clock_ms=0)
            expect("kerberos", peer("stats")["stats"][arguments.address]["auth"].get("negotiate/kerberos"), 1)
        check_forms(peer, client)
        check_hostile(peer, arguments.address)
        check_faults(peer, arguments.address)
        client = Client(arguments.address, peer.ready["addresses"][arguments.address]["even6"], "svc-jims", "secret")
        check_push(peer, client)
        stats = peer("stats")
        print("auth:", stats["stats"][arguments.address]["auth"], "calls:", stats["stats"][arguments.address]["calls"],
              "peer's CPU:", stats["cpu_seconds"], "s")
    finally:
        peer.stop()
    print("the peer is sound" + ("" if arguments.ccache else " (Kerberos not tried: no --ccache)"))


if __name__ == "__main__":
    try:
        main()
    except Difference as difference:
        print(f"FAILED {difference}", file=sys.stderr)
        sys.exit(1)
