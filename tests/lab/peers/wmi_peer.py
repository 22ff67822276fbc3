#!/usr/bin/env python3
"""An independent stand-in for Windows desktops that are asked over WMI who is signed on, for tests.

Any number of hosts, each on a loopback address with DCOM's activator on port 135 and its objects on another port, and
with its own name, sessions, rights and faults. It shares no code with the collector: formats come from the
specifications, cryptography from impacket. A test drives it over the control socket (see wmi_control.py). It prints one
line `ready {json}` and ends on SIGTERM or when its standard input closes.

    wmi_peer.py --addresses 127.77.0.50 --user svc-jims:secret --black-holes 127.77.21.0/24
"""
import argparse
import asyncio
import ipaddress
import json
import resource

from auth import Realm as CommonRealm
from even6_peer import ended, expand
from mapper import Mapper
from wmi_control import Control
from wmi_dcom import Activator, Exporter, HostEndpoint, object_services
from wmi_faults import Faults
from wmi_host import DEFAULT_STATE, Host, Realm, Stats, check_state


def addresses(text):
    """Addresses, `a-b` ranges and networks (without their first and last address), separated by commas."""
    result = []
    for part in filter(None, text.split(",")):
        if "/" in part:
            result += map(str, ipaddress.ip_network(part).hosts())
        else:
            result += expand(part)
    return result


def parse_arguments(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--addresses", type=addresses, default=["127.77.0.50"], help="addresses, a-b ranges, networks")
    parser.add_argument("--black-holes", type=addresses, default=[], help="where port 135 accepts and never answers")
    parser.add_argument("--scm-port", type=int, default=135, help="port of the activator (135)")
    parser.add_argument("--port", type=int, default=0, help="port of the objects (0: any)")
    parser.add_argument("--control", default="127.0.0.1:0", help="ADDRESS:PORT of the control socket (port 0: any)")
    parser.add_argument("--computer", help="DNS name; %%d is the number of the address from 1")
    parser.add_argument("--domain", help="NetBIOS domain")
    parser.add_argument("--dns-domain")
    parser.add_argument("--bindings", type=lambda text: [] if text == "none" else text.split(","),
                        help="name, fqdn, address, ipv6, other; or none")
    parser.add_argument("--user", dest="users", action="append", default=[], metavar="NAME:PASSWORD", help="may come in by NTLM")
    parser.add_argument("--keytab", help="AES keys of the hosts' accounts; without it no Kerberos")
    parser.add_argument("--mechanisms", type=lambda text: text.split(","), default=["kerberos", "ntlm"], help="kerberos,ntlm")
    parser.add_argument("--state", help="JSON file with what the command `set` takes, for every host")
    parser.add_argument("--max-fragment", type=int, default=5840)
    return parser.parse_args(arguments)


class BlackHole(asyncio.Protocol):
    """Accepts connections and never says anything."""

    def __init__(self):
        self.connections = 0

    def connection_made(self, transport):
        transport.pause_reading()
        self.connections += 1


def initial_state(flags):
    state = dict(DEFAULT_STATE)
    if flags.state:
        with open(flags.state, encoding="utf-8") as file:
            state.update(check_state(json.load(file)))
    given = {key: getattr(flags, key) for key in ("computer", "domain", "dns_domain", "bindings")}
    state.update({key: value for key, value in given.items() if value is not None})
    return check_state(state)


async def start_host(number, address, state, realm, flags):
    """One host: (host, its ports by name)."""
    host = Host(number, address, state, Faults(number), Stats())
    # Below packet integrity nothing is answered (KB5004442); privacy is the client's own demand.
    options = {"header_signing": True, "fault_protection": True, "require_privacy": False, "max_fragment": flags.max_fragment}
    endpoints = {}
    for name, port in (("dcom", flags.port), ("scm", flags.scm_port)):
        endpoint = endpoints[name] = HostEndpoint(host, Realm(host, realm), options, name == "scm")
        resolver = [Activator(host), Exporter(host), HostMapper({}, address, host.faults)]
        for service in resolver if name == "scm" else object_services(host):
            endpoint.add(service)
        await endpoint.listen(address, port)
    host.dcom_port = endpoints["dcom"].port
    return host, endpoints


class HostMapper(Mapper):
    """The endpoint mapper of a host: DCOM does without, so nothing is registered."""
    name, steps = "mapper", {}


async def run(flags):
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(65536, hard), hard))
    realm, state = CommonRealm(flags.users, "", "", flags.keytab, flags.mechanisms), initial_state(flags)
    hosts, holes, ready = {}, {}, {}
    for number, address in enumerate(flags.addresses, 1):
        host, endpoints = hosts[address] = await start_host(number, address, state, realm, flags)
        ready[address] = {"scm": endpoints["scm"].port, "port": host.dcom_port, "computer": host.computer}
    for address in flags.black_holes:
        hole = holes[address] = BlackHole()
        await asyncio.get_running_loop().create_server(lambda hole=hole: hole, address, flags.scm_port)
    name, _, port = flags.control.rpartition(":")
    control = await Control(hosts, holes).listen(name, int(port))
    print("ready " + json.dumps({"control": list(control.sockets[0].getsockname()), "addresses": ready,
                                 "black_holes": list(holes)}), flush=True)
    await ended()
    for _, endpoints in hosts.values():
        for endpoint in endpoints.values():
            endpoint.shut()


if __name__ == "__main__":
    settings = parse_arguments()
    settings.users = [dict(zip(("user", "password"), user.split(":", 1))) for user in settings.users]
    asyncio.run(run(settings))
