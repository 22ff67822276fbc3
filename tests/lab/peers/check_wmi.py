#!/usr/bin/env python3
"""Proves the WMI hosts with an independent client, so that they can prove the collector.

impacket's own DCOM and WMI client (NTLM, and Kerberos inside SPNEGO when a ticket cache is given, with packet privacy)
asks hosts that this program starts. Their objects are also read by a strict decoder written from the grammar of MS-WMIO,
which reads the specification's own example. Exits non-zero on the first difference.

    check_wmi.py [--keytab FILE --ccache FILE]
"""
import argparse
import json
import os
import socket
import struct
import subprocess
import sys
import time

from impacket.dcerpc.v5 import dcomrt, transport
from impacket.dcerpc.v5.dcom import wmi
from impacket.dcerpc.v5.dtypes import NULL
from impacket.dcerpc.v5.rpcrt import DCERPCException
from impacket.uuid import generate

import no_delay  # noqa: F401
from check_peer import Difference, expect
from wmi_decoder import Decoder, EXAMPLE
from wmi_objects import Property, Shape, unit

HERE = os.path.dirname(os.path.abspath(__file__))
HOSTS, FIRST = 50, "127.77.29.1"
HOLE = "127.77.29.200"
NAME = "pc1.corp.example.com"
USER, PASSWORD = "svc-jims", "secret"
# How long a client waits that is not answered.
PATIENCE = 0.15
SESSIONS = "SELECT LogonId, LogonType FROM Win32_LogonSession WHERE LogonType = 2 OR LogonType = 10 OR LogonType = 11"


class Peer:
    """Hosts of our own and their control socket."""

    def __init__(self, *flags):
        self.process = subprocess.Popen([sys.executable, os.path.join(HERE, "wmi_peer.py"), *flags],
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

    def stats(self, address=FIRST):
        return self("stats", address=address)["stats"][address]

    def stop(self):
        self.process.stdin.close()
        expect("exit code when standard input closes", self.process.wait(10), 0)


class Session:
    """impacket's client at one host."""

    def __init__(self, address=FIRST, user=USER, password=PASSWORD, kerberos=None, level=6, patience=10):
        self.patience = transport.DCERPCTransport.get_connect_timeout = lambda _: patience
        self.target = kerberos or address
        if kerberos:
            user = password = ""
        self.dcom = dcomrt.DCOMConnection(self.target, user, password, "" if kerberos else "CORP", authLevel=level,
                                          doKerberos=bool(kerberos), remoteHost=address if kerberos else None)
        self.login = self.services = None

    def activate(self, class_id=wmi.CLSID_WbemLevel1Login):
        self.login = wmi.IWbemLevel1Login(self.dcom.CoCreateInstanceEx(class_id, wmi.IID_IWbemLevel1Login))
        return self

    def enter(self, namespace="//./root/cimv2"):
        if self.login is None:
            self.activate()
        self.services = self.login.NTLMLogin(namespace, NULL, NULL)
        return self

    def start(self, wql, flags=0x30):
        if self.services is None:
            self.enter()
        return self.services.ExecQuery(wql, flags)

    def batch(self, enumerator, count):
        """(status, objects) of one Next; impacket raises for success other than 0."""
        try:
            return 0, enumerator.Next(0xFFFFFFFF, count)
        except DCERPCException as error:
            if error.get_error_code() not in (1, 0x40004):
                raise
            status, packet = error.get_error_code(), error.get_packet()
            objects = [wmi.IWbemClassObject(dcomrt.INTERFACE(enumerator.get_cinstance(), b"".join(item["abData"]),
                                                             enumerator.get_ipidRemUnknown(), oxid=enumerator.get_oxid(),
                                                             target=enumerator.get_target()), self.services)
                       for item in packet["apObjects"]]
            expect("puReturned", packet["puReturned"], len(objects))
            return status, objects

    def query(self, wql, count=100, flags=0x30):
        """Every object of a query as (class, values), read by impacket; a strict decoder must agree."""
        enumerator, result, status = self.start(wql, flags), [], 0
        while status != 1:
            status, objects = self.batch(enumerator, count)
            result += [agreed(item) for item in objects]
        self.release(enumerator)
        return result

    def values(self, wql, **more):
        return [values for _, values in self.query(wql, **more)]

    def release(self, *items):
        """Gives all references back at once, which impacket itself does one by one."""
        request = dcomrt.RemRelease()
        request["cInterfaceRefs"] = len(items)
        for item in items:
            entry = dcomrt.REMINTERFACEREF()
            entry["ipid"], entry["cPublicRefs"] = item.get_iPid(), 5
            request["InterfaceRefs"].append(entry)
        items[0].request(request, dcomrt.IID_IRemUnknown, items[0].get_ipidRemUnknown())

    def close(self):
        connections = dcomrt.INTERFACE.CONNECTIONS.pop(self.target, {})
        for thread in connections.values():
            for entry in thread.values():
                entry["dce"].disconnect()
        self.dcom.disconnect()


def agreed(item):
    """(class, values) of an object, by both readers."""
    name, parents, decoration, strict = Decoder(dcomrt.OBJREF_CUSTOM(item.get_objRef())["pObjectData"]).unit()
    expect("impacket's class", item.getClassName(), name)
    for key, found in item.getProperties().items():
        kind, value = strict[key]
        text = {0: "False", 0xFFFF: "True"}.get(value) if kind == 11 else value
        # impacket takes the filling of a null number for a value, but knows that it is null.
        expect(f"{name}.{key}", None if found["null_default"] else found["value"], text)
    expect("namespace", decoration[1], "root\\cimv2")
    expect("superclasses", bool(parents), True)
    return name, {key: value for key, (_, value) in strict.items()}


def raises(what, wanted, action):
    """The action must end in this error: a status in the reply, or words of impacket, as for a fault; or any ("")."""
    try:
        action()
    except Exception as error:
        code = error.get_error_code() if isinstance(error, DCERPCException) else None
        if wanted in ("", code) or isinstance(wanted, str) and code is None and wanted in str(error).lower():
            return
        wanted = wanted if isinstance(wanted, str) else hex(wanted)
        raise Difference(f"{what}: {type(error).__name__} {error}, wanted {wanted}") from error
    raise Difference(f"{what}: no error, wanted {wanted}")


def check_formats():
    name, parents, decoration, values = Decoder(EXAMPLE).unit()
    expect("the specification's example", (name, parents, decoration), ("MyClass", ["Base"], ("DPRAVAT-DEV", "ROOT")))
    expect("its values", values, {"Array": (19, [1, 2, 3]), "Data1": (8, "StringField"), "Data2": (8, "defaultValue"),
                                  "Id": (3, 123)})
    # The same object, encoded: only qualifiers are not ours.
    shape = Shape("MyClass", ("Base",), [Property("Id", "sint32", key=True, level=0), Property("Data1"),
                                         Property("Data2", default="defaultValue")])
    again = Decoder(unit(shape.block({"Id": 123, "Data1": "StringField"}, "DPRAVAT-DEV", "ROOT"))).unit()
    expect("the example again", again, (name, parents, decoration, {key: values[key] for key in ("Data1", "Data2", "Id")}))


def check_queries(session):
    """What a host says as it is at the start."""
    expect("computer", session.query("SELECT Name, DNSHostName, Domain, UserName FROM Win32_ComputerSystem"), [(
        "Win32_ComputerSystem", {"Name": "PC1", "DNSHostName": "pc1", "Domain": "corp.example.com", "UserName": "CORP\\alice"})])
    everything = session.values("select * from win32_computersystem")[0]
    expect("everything", (everything["Status"], everything["PartOfDomain"], everything["Roles"], everything["InstallDate"],
                          everything["TotalPhysicalMemory"], everything["CurrentTimeZone"], everything["Model"]),
           ("OK", 0xFFFF, ["LM_Workstation", "LM_Server", "NT"], None, 17 << 30, -60, "Desktop 7™"))
    expect("sessions", {(row["LogonId"], row["LogonType"]) for row in session.values(SESSIONS)},
           {("300000", 2), ("5242880", 2), ("5242881", 10), ("65120", 2), ("65093", 2), ("44060", 2), ("44084", 2)})
    expect("a type nobody has", session.values(" SELECT  *  FROM Win32_LogonSession\nWHERE LogonType=11 "), [])
    row = session.values("SELECT StartTime,AuthenticationPackage,LogonType FROM Win32_LogonSession WHERE LogonType = 0")
    expect("SYSTEM", row, [{"LogonId": "999", "LogonType": 0, "StartTime": "20260101080000.000000+060",
                            "AuthenticationPackage": "Negotiate"}])
    rows = session.values("SELECT Antecedent, Dependent FROM Win32_LoggedOnUser")
    pairs = [(row["Antecedent"], row["Dependent"]) for row in rows]
    path = "\\\\.\\root\\cimv2:{}".format
    for domain, user, logon in (("CORP", "alice", "300000"), ("Window Manager", "DWM-1", "65120"), ("PC1", "SYSTEM", "999"),
                                ("Font Driver Host", "UMFD-1", "44084"), ("CORP", "gone", "5242882")):
        expect(f"{user} is signed on", (path(f'Win32_Account.Domain="{domain}",Name="{user}"'),
                                        path(f'Win32_LogonSession.LogonId="{logon}"')) in pairs, True)
    processes = session.values("SELECT * FROM Win32_SessionProcess")
    count = lambda logon: sum(row["Antecedent"] == path(f'Win32_LogonSession.LogonId="{logon}"') for row in processes)
    expect("processes", (count(300000), count(5242880), count(65120), count(999)), (3, 0, 1, 20))
    expect("a process", processes[-1]["Dependent"], path('Win32_Process.Handle="8008"'))
    for wql in ("SELECT * FROM Win32_Process", "SELECT Nothing FROM Win32_ComputerSystem", "SELECT FROM Win32_LoggedOnUser",
                "SELECT * FROM Win32_LoggedOnUser WHERE LogonType = 2",
                "SELECT * FROM Win32_LogonSession WHERE LogonType = 2 AND LogonType = 3",
                "SELECT * FROM Win32_LogonSession WHERE LogonType = 2 OR", "ASSOCIATORS OF {Win32_LogonSession.LogonId=999}", ""):
        raises(f"{wql!r} at once", 0x80041017, lambda wql=wql: session.query(wql))
        raises(f"{wql!r}", 0x80041017, lambda wql=wql: session.start(wql, 0))


def check_batches(peer, session):
    for count in (1, 3, 7, 8, 100):
        expect(f"batches of {count}", len(session.values(SESSIONS, count=count)), 7)
    enumerator = session.start(SESSIONS)
    expect("exact batch", [(status, len(objects)) for status, objects in (session.batch(enumerator, 7) for _ in range(3))],
           [(0, 7), (1, 0), (1, 0)])
    session.release(enumerator)
    peer("set", address=FIRST, state={"batch": 3})
    enumerator = session.start(SESSIONS)
    expect("slow batch", [(status, len(objects)) for status, objects in (session.batch(enumerator, 100) for _ in range(3))],
           [(0x40004, 3), (0x40004, 3), (1, 1)])
    session.release(enumerator)
    peer("set", address=FIRST, state={"batch": 0})
    peer("option", address=FIRST, set={"max_fragment": 2000})
    other = Session()
    expect("many fragments", len(other.values("SELECT * FROM Win32_SessionProcess")), 39)
    other.close()
    peer("option", address=FIRST, set={"max_fragment": 5840})


def check_state(peer):
    peer("set", address=FIRST, state={
        "computer": "Empfang-7.corp.example.com", "console_user": None, "noise": False, "domain": "CORP", "sessions": [
            {"user": "Жанна", "domain": "CORP", "type": 10, "logon_id": 4294967299},
            {"user": 'q"u\\o', "domain": "EMPFANG-7", "alive": False},
            {"user": "åsa", "type": 11, "processes": 1}]})
    session = Session()
    expect("computer", session.values("SELECT Name, UserName FROM Win32_ComputerSystem"),
           [{"Name": "EMPFANG-7", "UserName": None}])
    expect("users", [row["Antecedent"].partition(":")[2] for row in session.values("SELECT * FROM Win32_LoggedOnUser")], [
        'Win32_Account.Domain="CORP",Name="Жанна"', 'Win32_Account.Domain="EMPFANG-7",Name="q\\"u\\\\o"',
        'Win32_Account.Domain="CORP",Name="åsa"'])
    expect("sessions", [(row["LogonId"], row["LogonType"]) for row in session.values(SESSIONS)],
           [("4294967299", 10), ("301111", 2), ("302222", 11)])
    expect("processes", len(session.values("SELECT * FROM Win32_SessionProcess")), 4)
    session.close()
    for projection, wanted in (("named", {"UserName": None}), ("keys", {"Name": "EMPFANG-7", "UserName": None})):
        peer("set", address=FIRST, state={"projection": projection})
        session = Session()
        expect(projection, session.values("SELECT UserName FROM Win32_ComputerSystem"), [wanted])
        session.close()
    peer("set", address=FIRST, state={"projection": "all", "console_user": "CORP\\user%d"})
    session = Session()
    row = session.values("SELECT UserName FROM Win32_ComputerSystem")[0]
    expect("all", [row[key] for key in ("UserName", "Name", "Domain", "NumberOfLogicalProcessors")],
           ["CORP\\user1", "EMPFANG-7", None, None])
    session.close()
    peer("reset", address=FIRST)


def check_bindings(peer):
    port = peer.ready["addresses"][FIRST]["port"]
    peer("set", address=FIRST, state={"bindings": ["ipv6", "other", "fqdn", "name", "address"]})
    session = Session().activate()
    expect("bindings", [item["aNetworkAddr"].rstrip("\0") for item in session.login.get_cinstance().get_string_bindings()],
           [f"{host}[{port}]" for host in ("fe80::5c1d:7e2f:9a00:1", "192.0.2.1", NAME, "PC1", FIRST)])
    expect("login", session.login.EstablishPosition(), 0x409)
    session.close()
    connection = transport.DCERPCTransportFactory(f"ncacn_ip_tcp:{FIRST}").get_dce_rpc()
    alive = dcomrt.IObjectExporter(connection).ServerAlive2()
    expect("ServerAlive2", [item["aNetworkAddr"].rstrip("\0") for item in alive],
           ["fe80::5c1d:7e2f:9a00:1", "192.0.2.1", NAME, "PC1", FIRST])
    connection.disconnect()
    peer("set", address=FIRST, state={"bindings": []})
    raises("no bindings", "stringbinding", lambda: Session().activate().login.EstablishPosition())
    peer("reset", address=FIRST)


def check_references(peer):
    """What is given is counted until it is given back."""
    peer("reset", address=FIRST)
    session = Session().enter()
    enumerator = session.start(SESSIONS)
    stats = peer.stats()
    expect("live", (stats["references"], stats["objects"]), (15, 3))
    expect("calls", stats["calls"], {"activator/4": 1, "login/6": 1, "services/20": 1})
    expect("last query", stats["last_query"], SESSIONS)
    session.login.RemAddRef()
    peer("clear_stats", address=FIRST)
    expect("one more", peer.stats()["references"], 16)
    session.login.RemRelease()
    enumerator.RemRelease()
    expect("one less", peer.stats()["references"], 14)
    session.release(session.login, session.services, enumerator)
    stats = peer.stats()
    expect("released", (stats["references"], stats["objects"], stats["released"], stats["releases"]), (0, 0, 16, 3))
    raises("a released object", "disconnected", lambda: enumerator.Next(0, 1))
    session.close()
    session = Session().enter()
    enumerator = session.start(SESSIONS)
    enumerator.set_iPid(session.services.get_iPid())
    raises("an object of another interface", "invalid_ipid", lambda: enumerator.Next(0, 1))
    session.close()
    session = Session().enter()
    session.services.set_iPid(generate())
    raises("an object that never was", "disconnected", lambda: session.start(SESSIONS))
    session.close()
    expect("calls since then", stats["calls"], {"unknown/5": 3})
    expect("lowest level", stats["level"], 6)


def check_refusals(peer):
    """Every way a host says no, in Windows' words."""
    one = lambda **more: Session(**more).enter()
    raises("wrong password", "access_denied", lambda: one(password="wrong"))
    raises("unknown user", "access_denied", lambda: one(user="nobody"))
    stats = peer.stats()
    expect("accounts", (stats["accounts"]["svc-jims"]["failed"], stats["accounts"]["nobody"]), (1, {"ok": 0, "failed": 1}))
    peer("set", address=FIRST, state={"accounts": {"svc-other": "pa:ss"}})
    raises("another account only", "access_denied", one)
    one(user="svc-other", password="pa:ss").close()
    raises("no identification at all", "access_denied", lambda: one(level=1))
    raises("protection of the connection only", "access_denied", lambda: one(user="svc-other", password="pa:ss", level=2))
    peer("reset", address=FIRST)
    session = Session(level=5).enter()
    session.close()
    peer("refuse", address=FIRST, step="bind")
    raises("every password", "access_denied", one)
    peer("refuse", address=FIRST, step="bind", how="nak", times=1)
    raises("bind_nak", "", one)
    one().close()
    for step, status, how in [
            ("activation", 0x80070005, "result"), ("activation", 0x80040154, "result"), ("activation", 0x800706BA, "result"),
            ("login", 0x80041003, "result"), ("login", 0x8004100E, "result"), ("query", 0x80041003, "result"),
            ("query", 0x80041010, "result"), ("next", 0x80041003, "result"), ("next", 0x80041010, "result"),
            ("next", 0x80041001, "result"),
            ("activation", 5, "fault"), ("login", 5, "fault"), ("query", 0x1C010003, "fault"), ("next", 0x80010108, "fault")]:
        peer("set", address=FIRST, state={"error_info": step in ("login", "query")})
        peer("refuse", address=FIRST, step=step, status=status, how=how, times=1)
        wanted = {5: "access_denied", 0x1C010003: "unk_if", 0x80010108: "disconnected"}.get(status, status)
        session = Session()
        raises(f"{step} {status:#x} {how}", wanted, lambda session=session: session.query(SESSIONS))
        if step == "activation" or how == "fault":
            # impacket would bind a second time on this connection; and it loses its place after a sealed fault.
            session.close()
            session = Session()
        expect(f"after {step} {status:#x}", len(session.values(SESSIONS)), 7)
        session.close()
    peer("set", address=FIRST, state={"access": {"svc-jims": "no_dcom"}})
    raises("no rights in DCOM", 0x80070005, one)
    peer("set", address=FIRST, state={"access": {"svc-jims": "no_namespace"}})
    raises("no rights in the namespace", 0x80041003, one)
    peer("reset", address=FIRST)
    raises("another namespace", 0x8004100E, lambda: Session().enter("//./root/nothing"))
    raises("another class", 0x80040154, lambda: Session().activate(generate()))
    raises("another interface", 0x80004002,
           lambda: Session().dcom.CoCreateInstanceEx(wmi.CLSID_WbemLevel1Login, wmi.IID_IWbemServices))
    dcomrt.COMVERSION.set_default_version(5, 6)
    raises("an old COM", "version", one)
    dcomrt.COMVERSION.set_default_version(5, 7)
    peer("mechanisms", address=FIRST, list=["kerberos"])
    raises("NTLM switched off", "", one)
    peer("mechanisms", address=FIRST, list=["kerberos", "ntlm"])


def whole(patience=10):
    """A whole visit: every step once."""
    session = Session(patience=patience)
    try:
        result = session.values("SELECT UserName FROM Win32_ComputerSystem")
        session.release(session.services, session.login)
        return result
    finally:
        session.close()


def check_interference(peer):
    """Silence, cuts and delays at each step; closed ports."""
    steps = peer("acts")["steps"]
    for step in steps:
        peer("mute", address=FIRST, step=step)
        raises(f"silence at {step}", "timed out", lambda: whole(PATIENCE))
        peer("calm", address=FIRST)
        for reset in (False, True):
            peer("drop", address=FIRST, step=step, reset=reset)
            raises(f"cut at {step}", "", whole)
            expect(f"after a cut at {step}", len(whole()), 1)
        peer("delay", address=FIRST, step=step, ms=40)
        begin = time.monotonic()
        whole()
        expect(f"delay at {step}", time.monotonic() - begin >= 0.04, True)
        peer("calm", address=FIRST)
    peer("mute", address=FIRST)
    raises("silence", "timed out", lambda: whole(PATIENCE))
    peer("calm", address=FIRST)
    for where in ("dcom", "scm", "all"):
        peer("down", address=FIRST, where=where)
        raises(f"{where} down", "refused", whole)
        peer("up", address=FIRST)
        expect(f"{where} up", len(whole()), 1)
    session = Session().enter()
    expect("closed now", peer("drop", address=FIRST)["closed"] >= 2, True)
    raises("a closed connection", "", lambda: session.query(SESSIONS))
    before = peer("stats")["black_holes"][HOLE]
    raises("a black hole", "timed out", lambda: Session(HOLE, patience=PATIENCE).activate())
    expect("connections of the black hole", peer("stats")["black_holes"][HOLE], before + 1)


def check_hostile(peer):
    """Every act changes a reply at the steps it is for, and does so once; the host stays well."""
    acts = peer("acts")["acts"]
    references = ("count_huge", "length_huge", "objref_garbage", "objref_unknown_kind")
    addresses = ("no_bindings", "bindings_garbage", "bad_version")
    # impacket verifies no signatures and does not look at these.
    unseen = ("bad_version", "pdu_bad_token", "pdu_pad_over", "pdu_wrong_call", "pdu_bad_version",
              "pdu_reordered", "pdu_replayed", "pdu_unknown_type", "count_huge", "length_huge", "bind_token_garbage")
    for act in acts:
        if act.startswith("bind_"):
            steps = ["bind"]
        elif act in addresses:
            steps = ["activation"]
        elif act.startswith(("blob_", "endless", "many", "wrong_", "control_", "pdu_")):
            steps = ["next"]
        else:
            steps = ["activation", "login", "query"] + ([] if act in references[1:] else ["next"])
        for step in steps:
            peer("hostile", address=FIRST, what=act, step=step, times=1)
            try:
                harmed = not visit_is_normal()
            except Exception:
                harmed = True
            expect(f"{act} done at {step}", peer.stats()["hostile"].pop(act, 0), steps.index(step) + 1)
            if act not in unseen:
                expect(f"harm by {act} at {step}", harmed, True)
        expect(f"after {act}", len(whole()), 1)
    peer("hostile", address=FIRST, what="endless")
    session = Session()
    enumerator = session.start(SESSIONS)
    expect("endless", [session.batch(enumerator, 9)[0] for _ in range(5)], [0] * 5)
    session.close()
    peer("reset", address=FIRST)


def visit_is_normal():
    """A visit whose replies are only looked at as bytes where they may be large."""
    session = Session(patience=PATIENCE)
    try:
        enumerator = session.start(SESSIONS)
        request = wmi.IEnumWbemClassObject_Next()
        request["lTimeout"], request["uCount"] = 0xFFFFFFFF, 100
        request["ORPCthis"] = enumerator.get_cinstance().get_ORPCthis()
        request["ORPCthis"]["flags"] = 0
        enumerator.connect(wmi.IID_IEnumWbemClassObject)
        connection = enumerator.get_dce_rpc()
        connection.call(request.opnum, request, enumerator.get_iPid())
        stub = connection.recv()
        if len(stub) > 100_000 or struct.unpack_from("<III", stub, 8) != (100, 0, 7):
            return False
        found = wmi.IEnumWbemClassObject_NextResponse(stub)
        units = [Decoder(dcomrt.OBJREF_CUSTOM(b"".join(item["abData"]))["pObjectData"]).unit() for item in found["apObjects"]]
        return [kind for kind, _, _, _ in units] == ["Win32_LogonSession"] * 7 and r"\x1b" not in str(units)
    finally:
        session.close()


def check_many(peer):
    """All hosts, each with its own name; nobody else was touched meanwhile."""
    addresses = list(peer.ready["addresses"])
    expect("hosts", len(addresses), HOSTS)
    peer("reset")
    untouched = addresses.pop()
    for number, address in enumerate(addresses, 1):
        session = Session(address)
        expect(address, session.values("SELECT Name FROM Win32_ComputerSystem"), [{"Name": f"PC{number}"}])
        session.release(session.services, session.login)
        session.close()
    reply = peer("stats")
    total, quiet = reply["total"], reply["stats"][untouched]
    keys = ("connections", "scm_connections", "activations", "logins", "queries", "references", "objects")
    expect("total", [total[key] for key in keys], [2 * len(addresses), *[len(addresses)] * 4, 0, 0])
    # impacket signs on again whenever it turns to another interface.
    expect("accounts of all", total["accounts"], {USER: {"ok": 5 * len(addresses), "failed": 0}})
    expect("an untouched host", {key: value for key, value in quiet.items() if value and key != "computer"}, {})
    expect("notes", {address: stats["notes"] for address, stats in reply["stats"].items() if stats["notes"]}, {})
    return reply["cpu_seconds"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--keytab")
    parser.add_argument("--ccache", help="holds a ticket for host/" + NAME)
    arguments = parser.parse_args()
    begin = time.monotonic()
    check_formats()
    last = FIRST.rpartition(".")[0] + f".{HOSTS}"
    peer = Peer("--addresses", f"{FIRST}-{last}", "--black-holes", HOLE, "--user", f"{USER}:{PASSWORD}",
                *(["--keytab", arguments.keytab] if arguments.keytab else []))
    try:
        session = Session()
        check_queries(session)
        check_batches(peer, session)
        session.close()
        if arguments.ccache:
            os.environ["KRB5CCNAME"] = arguments.ccache
            session = Session(kerberos=NAME)
            check_queries(session)
            session.close()
            expect("kerberos", peer.stats()["auth"].get("negotiate/kerberos", 0) >= 2, True)
            peer("refuse", address=FIRST, step="bind")
            raises("every ticket", "", lambda: Session(kerberos=NAME).activate())
            peer("calm", address=FIRST)
        check_state(peer)
        check_bindings(peer)
        check_references(peer)
        check_refusals(peer)
        check_interference(peer)
        check_hostile(peer)
        cpu = check_many(peer)
    finally:
        peer.stop()
    print(f"the hosts are sound, in {time.monotonic() - begin:.1f} s ({cpu} s of the peer's CPU)"
          + ("" if arguments.ccache else "; Kerberos not tried: no --ccache"))


if __name__ == "__main__":
    try:
        main()
    except Difference as difference:
        print(f"FAILED {difference}", file=sys.stderr)
        sys.exit(1)
