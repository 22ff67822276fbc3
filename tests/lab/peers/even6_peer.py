#!/usr/bin/env python3
"""An independent stand-in for the Event Log service of Windows domain controllers, for tests.

It listens on loopback addresses, each with its own Security log, endpoint mapper and RPC server, and shares no code
with the collector: formats come from the specifications, structures and cryptography from impacket. A test drives
it over the control socket (see control.py). It prints one line `ready {json}` and ends on SIGTERM or when its
standard input closes, so that a dead test leaves nothing behind.

    even6_peer.py --addresses 127.77.0.40 --computer evt1.corp.example.com --user svc-jims:secret --generate 1000
"""
import argparse
import asyncio
import ipaddress
import json
import resource
import signal
import sys

from auth import Realm
from control import Control, Stats
from even6_service import Even6Service
from eventlog import EventLog
from faults import Faults
from mapper import Mapper
from rpc_server import Endpoint

DEFAULTS = {
    "addresses": "127.77.0.40", "epm_port": 135, "port": 0, "control": "127.0.0.1:0", "computer": "evt1.corp.example.com",
    "channel": "Security", "domain": "CORP", "dns_domain": "corp.example.com", "users": [], "keytab": None,
    "mechanisms": ["kerberos", "ntlm"], "events": None, "generate": 0, "first_record": 1, "waste": 0, "epm": True,
    "max_records": 1_000_000,
    # Options that the control socket may change.
    "header_signing": True, "fault_protection": True, "require_privacy": True, "max_fragment": 5840, "batch_ms": 0,
    "stale_status": 15011,
}
OPTIONS = ("header_signing", "fault_protection", "require_privacy", "max_fragment", "batch_ms", "stale_status")


def expand(text):
    """`127.77.1.1-127.77.1.100,127.77.0.40` as a list."""
    result = []
    for part in text if isinstance(text, list) else text.split(","):
        first, _, last = part.partition("-")
        start, end = int(ipaddress.ip_address(first)), int(ipaddress.ip_address(last or first))
        result += [str(ipaddress.ip_address(number)) for number in range(start, end + 1)]
    return result


def parse_arguments(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", help="JSON file with the same names as the flags")
    parser.add_argument("--addresses", help="addresses and ranges, separated by commas")
    parser.add_argument("--epm-port", type=int, help="port of the endpoint mapper (135)")
    parser.add_argument("--no-epm", dest="epm", action="store_const", const=False, help="no endpoint mapper")
    parser.add_argument("--port", type=int, help="port of the event service (0: any)")
    parser.add_argument("--control", help="ADDRESS:PORT of the control socket (port 0: any)")
    parser.add_argument("--computer", help="name in the records and in NTLM; %%d is the number of the address from 1")
    parser.add_argument("--channel")
    parser.add_argument("--domain", help="NetBIOS domain")
    parser.add_argument("--dns-domain")
    parser.add_argument("--user", dest="users", action="append", metavar="NAME:PASSWORD", help="may come in by NTLM")
    parser.add_argument("--keytab", help="AES keys of the server's account; without it no Kerberos")
    parser.add_argument("--mechanisms", type=lambda text: text.split(","), help="kerberos,ntlm")
    parser.add_argument("--events", help="file of events, one JSON object a line: {\"id\": 4768, \"data\": {...}}")
    parser.add_argument("--generate", type=int, help="events to begin with")
    parser.add_argument("--first-record", type=int)
    parser.add_argument("--max-records", type=int, help="how many records a log keeps (1,000,000)")
    parser.add_argument("--waste", type=int, help="bytes after the end of each template definition, inside its length")
    parser.add_argument("--no-header-signing", dest="header_signing", action="store_const", const=False)
    parser.add_argument("--plain-faults", dest="fault_protection", action="store_const", const=False)
    parser.add_argument("--allow-integrity", dest="require_privacy", action="store_const", const=False)
    parser.add_argument("--max-fragment", type=int)
    parser.add_argument("--batch-ms", type=int, help="how long new records are gathered before a push")
    given = {key: value for key, value in vars(parser.parse_args(arguments)).items() if value is not None}
    config = dict(DEFAULTS)
    if path := given.pop("config", None):
        with open(path, encoding="utf-8") as file:
            loaded = json.load(file)
        if unknown := set(loaded) - set(DEFAULTS):
            parser.error(f"{path}: unknown {sorted(unknown)}")
        config.update(loaded)
    config.update(given)
    config["users"] = [user if isinstance(user, dict) else dict(zip(("user", "password"), user.split(":", 1)))
                       for user in config["users"]]
    return config


def make_log(config, number):
    computer = config["computer"].replace("%d", str(number)) if "%d" in config["computer"] else config["computer"]
    log = EventLog(computer, config["channel"], config["waste"], config["first_record"])
    log.max_records = config["max_records"]
    if config["events"]:
        with open(config["events"], encoding="utf-8") as file:
            for line in file:
                if line.strip():
                    event = json.loads(line)
                    log.append(event["id"], event.get("data", {}), event.get("at_ms"), event.get("record_id"),
                               age_ms=event.get("age_ms", 0), notify=False)
    log.generate(config["generate"], notify=False)
    return log


async def run(config):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(soft, 8192), hard), hard))
    realm = Realm(config["users"], config["domain"], config["dns_domain"], config["keytab"], config["mechanisms"])
    peers, ready = {}, {}
    for number, address in enumerate(expand(config["addresses"]), 1):
        log, faults, stats = make_log(config, number), Faults(number), Stats()
        options = {key: config[key] for key in OPTIONS}
        events = Endpoint(log, realm, faults, stats, options)
        events.add(Even6Service(log, faults, stats, options))
        await events.listen(address, config["port"])
        endpoints, entry = [events], {"even6": events.port, "computer": log.computer}
        if config["epm"]:
            mapper = Endpoint(log, realm, faults, stats, options)
            mapper.add(Mapper({Even6Service.interface: events.port}, address, faults))
            await mapper.listen(address, config["epm_port"])
            endpoints.append(mapper)
            entry["epm"] = mapper.port
        peers[address] = (log, faults, stats, endpoints)
        ready[address] = entry
    host, _, port = config["control"].rpartition(":")
    control = await Control(peers).listen(host, int(port))
    ready = {"control": list(control.sockets[0].getsockname()), "addresses": ready}
    print("ready " + json.dumps(ready), flush=True)
    await ended()
    for _, _, _, endpoints in peers.values():
        for endpoint in endpoints:
            endpoint.shut()


async def ended():
    """Returns on a signal or when standard input closes."""
    loop, done = asyncio.get_running_loop(), asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, done.set)

    def readable():
        if not sys.stdin.buffer.raw.read(4096):
            loop.remove_reader(sys.stdin)
            done.set()
    try:
        loop.add_reader(sys.stdin, readable)
    except (PermissionError, OSError, ValueError):
        # A file or /dev/null cannot be watched: then only a signal ends us.
        pass
    await done.wait()


if __name__ == "__main__":
    asyncio.run(run(parse_arguments()))
