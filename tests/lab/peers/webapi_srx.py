#!/usr/bin/python3
"""The Web API of a firewall, strictly by its documentation: webapi_srx.py --address IP --port N --certificate FILE --key FILE

HTTPS, `POST /api/userfw/v1/post-entry` only, HTTP Basic, `application/xml`, a well-formed document of `userfw-entry`
without DOCTYPE, every element once at most, required elements present, values of the documented kinds, at most 200 roles.
A document is taken as a whole or refused as a whole with 400. It shares no code with jims; Python 3.11, standard library.

It prints `ready {"port": N}`. Orders are JSON, one a line, on standard input, answered by one line each:

    {"cmd": "table"}                                    who is where
    {"cmd": "counters"}                                 documents, entries, refusals and their reasons
    {"cmd": "fail", "how": "500", "times": 3}           also "hang", "reset", "401", "413"; then it works again
    {"cmd": "restart"}                                  the table is empty, all connections are closed

It ends when standard input does. `--self-test` proves its own strictness and ends.
"""
import argparse
import base64
import collections
import http.server
import ipaddress
import json
import re
import socket
import ssl
import struct
import sys
import threading
import xml.etree.ElementTree
import xml.parsers.expat

PATH = "/api/userfw/v1/post-entry"
LARGEST_DOCUMENT = 1 << 20
MOST_ROLES = 200
TIMESTAMP = re.compile(r"\d{4}-[01]\d-[0-3]\dT[0-2]\d:[0-5]\d:[0-6]\d(\.\d+)?Z\Z")
POSTURES = {"Healthy", "Checkup", "Transition", "Quarantine", "Infected", "Unknown"}
# The elements of an entry, and those of a device.
ENTRY = {"source", "timestamp", "operation", "IP", "domain", "user", "role-list", "posture", "end-user-attribute"}
REQUIRED = {"source", "timestamp", "operation", "IP"}
DEVICE = {"device-identity", "device-category", "device-vendor", "device-model", "device-os", "device-os-version"}
HANG_S = 60


class Refused(Exception):
    """The document is not what the documentation says."""


def require(holds, why):
    if not holds:
        raise Refused(why)


def children(element, allowed):
    """The elements in an element by name, each once; nothing else may be there."""
    require(not element.attrib, f"{element.tag} has attributes")
    require(not (element.text or "").strip(), f"text in {element.tag}")
    found = {}
    for child in element:
        require(child.tag in allowed, f"{child.tag} in {element.tag}")
        require(child.tag not in found, f"{child.tag} twice in {element.tag}")
        require(not (child.tail or "").strip(), f"text behind {child.tag}")
        found[child.tag] = child
    return found


def text_of(element):
    require(not element.attrib and len(element) == 0, f"{element.tag} holds more than text")
    text = element.text or ""
    require(text.strip() == text and text, f"{element.tag} is {text!r}")
    require(text.isprintable(), f"{element.tag} holds what cannot be printed")
    return text


def list_of(element, name):
    require(not element.attrib and not (element.text or "").strip(), f"{element.tag} holds more than {name}")
    for child in element:
        require(child.tag == name and not (child.tail or "").strip(), f"{child.tag} in {element.tag}")
    return [text_of(child) for child in element]


def document(body):
    """The entries of a document."""
    parser = xml.parsers.expat.ParserCreate()

    def doctype(*_):
        raise Refused("a DOCTYPE")

    parser.StartDoctypeDeclHandler = doctype
    try:
        parser.Parse(body, True)
        root = xml.etree.ElementTree.fromstring(body)
    except (xml.parsers.expat.ExpatError, xml.etree.ElementTree.ParseError) as error:
        raise Refused(f"not well-formed: {error}") from error
    require(root.tag == "userfw-entries" and not root.attrib, f"the root is {root.tag}")
    require(len(root) > 0, "no entry")
    require(not (root.text or "").strip(), "text between entries")
    entries = []
    for child in root:
        require(child.tag == "userfw-entry" and not (child.tail or "").strip(), f"{child.tag} among entries")
        entries.append(entry(child))
    return entries


def entry(element):
    found = children(element, ENTRY)
    require(REQUIRED <= set(found), f"an entry of {sorted(found)}")
    text_of(found["source"])
    operation = text_of(found["operation"])
    require(operation in ("logon", "logoff"), f"operation {operation!r}")
    stamp = text_of(found["timestamp"])
    require(TIMESTAMP.match(stamp), f"timestamp {stamp!r}")
    address = text_of(found["IP"])
    try:
        require(str(ipaddress.ip_address(address)) == address, f"IP {address!r}")
    except ValueError as error:
        raise Refused(f"IP {address!r}") from error
    if operation == "logoff":
        require(set(found) == REQUIRED, f"a logoff of {sorted(found)}")
        return {"operation": operation, "address": address}
    roles = list_of(found["role-list"], "role") if "role-list" in found else []
    require(len(roles) <= MOST_ROLES, f"{len(roles)} roles")
    require(len(set(map(str.casefold, roles))) == len(roles), "a role twice")
    if "posture" in found:
        posture = text_of(found["posture"])
        require(posture in POSTURES, f"posture {posture!r}")
    user = text_of(found["user"]) if "user" in found else None
    domain = text_of(found["domain"]) if "domain" in found else None
    name = device(found["end-user-attribute"]) if "end-user-attribute" in found else None
    require(user is not None or name is not None, "a logon of nobody")
    return {"operation": operation, "address": address, "user": user, "domain": domain, "roles": sorted(roles), "device": name}


def device(element):
    found = children(element, DEVICE)
    for name in set(found) - {"device-identity"}:
        text_of(found[name])
    if "device-identity" not in found:
        return None
    identity = children(found["device-identity"], {"value", "groups"})
    require("value" in identity, "a device without a name")
    if "groups" in identity:
        list_of(identity["groups"], "group")
    return text_of(identity["value"])


class Firewall:
    """Its table, its moods, and what it noticed."""

    def __init__(self, credentials):
        self.expected = "Basic " + base64.b64encode(credentials.encode()).decode()
        self.lock = threading.Lock()
        self.table = {}
        self.refusals = collections.deque(maxlen=100)
        self.counters = collections.Counter()
        self.how, self.times = None, 0
        self.connections = set()

    def mood(self):
        """What goes wrong with the request in hand, if anything."""
        with self.lock:
            if self.times == 0:
                return None
            self.times -= 1
            self.counters["failed"] += 1
            return self.how

    def refuse(self, why):
        with self.lock:
            self.counters["refused"] += 1
            self.refusals.append(why)

    def take(self, entries):
        """Takes the entries of a document over, in order."""
        with self.lock:
            table = dict(self.table)
            for one in entries:
                address = one["address"]
                if one["operation"] == "logoff":
                    table.pop(address, None)
                    continue
                held = table.get(address)
                if held is not None and held["user"] is not None:
                    require(one["user"] is not None, f"an empty user over {held['user']} at {address}")
                table[address] = {key: one[key] for key in ("user", "domain", "roles", "device")}
            self.table = table
            self.counters["documents"] += 1
            self.counters["entries"] += len(entries)

    def order(self, order):
        command = order["cmd"]
        with self.lock:
            if command == "table":
                return {"table": self.table}
            if command == "counters":
                return {**self.counters, "refusals": list(self.refusals)}
            if command == "fail":
                self.how, self.times = order["how"], order.get("times", 1)
                return {}
            if command == "restart":
                self.table = {}
                for connection in self.connections:
                    cut(connection)
                return {}
        return {"error": f"no such order: {command}"}


def cut(connection):
    """Closes by RST, as a machine that has just come up does."""
    try:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        socket.socket.shutdown(connection, socket.SHUT_RDWR)
    except OSError:
        pass


class Handler(http.server.BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    timeout = 60
    firewall = None

    def setup(self):
        super().setup()
        self.firewall.connections.add(self.request)

    def finish(self):
        self.firewall.connections.discard(self.request)
        try:
            super().finish()
        except OSError:
            pass

    def log_message(self, *_):
        pass

    def answer(self, status, headers=()):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def deny(self, status, why, headers=()):
        self.firewall.refuse(why)
        self.close_connection = True
        self.answer(status, [*headers, ("Connection", "close")])

    def do_POST(self):
        how = self.firewall.mood()
        if how == "hang":
            threading.Event().wait(HANG_S)
            self.close_connection = True
            return
        if how == "reset":
            cut(self.request)
            self.close_connection = True
            return
        if self.path != PATH:
            return self.deny(404, f"path {self.path}")
        if self.headers.get("Authorization") != self.firewall.expected:
            return self.deny(401, "credentials", [("WWW-Authenticate", 'Basic realm="webapi"')])
        if self.headers.get("Content-Type", "").split(";")[0].strip() != "application/xml":
            return self.deny(415, f"type {self.headers.get('Content-Type')}")
        length = self.headers.get("Content-Length", "")
        if not length.isdigit() or "Transfer-Encoding" in self.headers:
            return self.deny(411, "no length")
        if int(length) > LARGEST_DOCUMENT:
            return self.deny(413, f"{length} bytes")
        body = self.rfile.read(int(length))
        if how is not None:
            self.close_connection = True
            return self.answer(int(how), [("Connection", "close")])
        try:
            self.firewall.take(document(body))
        except Refused as why:
            return self.deny(400, str(why))
        return self.answer(200)

    def refuse_method(self):
        self.deny(405, f"method {self.command}", [("Allow", "POST")])

    do_GET = do_PUT = do_DELETE = do_HEAD = do_PATCH = refuse_method


def serve(options):
    firewall = Firewall(options.credentials)
    handler = type("Handler", (Handler,), {"firewall": firewall})
    server = http.server.ThreadingHTTPServer((options.address, options.port), handler)
    server.daemon_threads = True
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(options.certificate, options.key)
    # The handshake is made by the connection's thread, so that nobody can hold the accept loop.
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    server.handle_error = lambda *_: None
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print("ready", json.dumps({"port": server.server_address[1]}), flush=True)
    for line in sys.stdin:
        print(json.dumps(firewall.order(json.loads(line))), flush=True)
    return 0


def self_test():
    good = ("<userfw-entry><source>jims</source><timestamp>2026-01-17T15:29:37Z</timestamp><operation>logon</operation>"
            "<IP>10.1.2.50</IP><domain>corp.example.com</domain><user>alice</user><role-list><role>A</role></role-list>"
            "<posture>Healthy</posture><end-user-attribute><device-identity><value>ws</value><groups><group>W</group></groups>"
            "</device-identity><device-os>Windows</device-os></end-user-attribute></userfw-entry>")

    def whole(text):
        return f'<?xml version="1.0" encoding="UTF-8"?>\n<userfw-entries>{text}</userfw-entries>'.encode()

    assert document(whole(good))[0]["user"] == "alice"
    logoff = re.sub("<domain>.*</end-user-attribute>", "", good).replace("logon", "logoff")
    assert document(whole(logoff)) == [{"operation": "logoff", "address": "10.1.2.50"}]
    many = "".join(f"<role>r{n}</role>" for n in range(MOST_ROLES + 1))
    spoilt = [
        whole(""), whole(good)[:-3], b"<!DOCTYPE a>" + whole(good).split(b"\n")[1], whole(good + "text"), b"<other/>", b"",
        whole(good.replace("<role>A</role>", many)), whole(good.replace("Healthy", "healthy")),
        whole(good.replace("10.1.2.50", "10.1.2.500")), whole(good.replace("10.1.2.50", "::FFFF:1.2.3.4")),
        whole(good.replace("logon", "login")), whole(good.replace("37Z", "37")), whole(good.replace("alice", "")),
        whole(good.replace("<user>", "<user a='b'>")), whole(good.replace("<user>alice</user>", "<user>a</user>" * 2)),
        whole(good.replace("<source>jims</source>", "")), whole(good.replace("logon", "logoff")),
        whole(good.replace("<posture>", "<unknown/><posture>")), whole(good.replace("ws</value>", "</value>")),
    ]
    for body in spoilt:
        try:
            document(body)
        except Refused:
            continue
        raise AssertionError(f"taken: {body!r}")
    firewall = Firewall("a:b")
    firewall.take(document(whole(good)))
    empty = good.replace("<user>alice</user>", "").replace("<role-list><role>A</role></role-list>", "")
    try:
        firewall.take(document(whole(empty)))
    except Refused:
        print(f"{len(spoilt) + 1} spoilt documents refused")
        return 0
    raise AssertionError("an empty user over a valid one was taken")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--self-test", action="store_true")
    parser.add_argument("--address", default="127.77.0.31")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--certificate")
    parser.add_argument("--key")
    parser.add_argument("--credentials", default="jims:secret", help="USER:PASSWORD")
    options = parser.parse_args()
    return self_test() if options.self_test else serve(options)


if __name__ == "__main__":
    sys.exit(main())
