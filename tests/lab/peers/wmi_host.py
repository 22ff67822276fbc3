"""One Windows host: its name, who is signed on, who may ask, its live objects, its numbers.

What a test may change stands in `state`; everything else follows from it.
"""
import secrets

import auth
from eventlog import EventLog

EXECUTABLES = 3
DEFAULT_STATE = {
    "computer": "pc%d.corp.example.com", "domain": "CORP", "dns_domain": "corp.example.com", "console_user": "CORP\\alice",
    "sessions": [{"user": "alice", "domain": "CORP", "type": 2, "alive": True}], "noise": True, "accounts": None,
    "bindings": ["name", "address"], "batch": 0, "version": [5, 7], "access": {}, "projection": "keys", "authn_hint": 6,
    "error_info": False, "public_refs": 5,
}
STARTED = "20260101080000.000000+060"
# What every desktop has besides people: user, domain (None: the computer), type, logon id, how many processes.
NOISE = [("SYSTEM", None, 0, 999, 20), ("LOCAL SERVICE", None, 5, 997, 9), ("NETWORK SERVICE", None, 5, 996, 4),
         ("DWM-1", "Window Manager", 2, 65120, 1), ("DWM-1", "Window Manager", 2, 65093, 0),
         ("UMFD-0", "Font Driver Host", 2, 44060, 1), ("UMFD-1", "Font Driver Host", 2, 44084, 1),
         ("ANONYMOUS LOGON", None, 3, 180224, 0), ("svc-backup", "CORP", 3, 7340032, 0), ("stale", "CORP", 2, 5242880, 0),
         ("stale", "CORP", 10, 5242881, 0), ("gone", "CORP", 2, 5242882, 0)]


def check_state(state):
    """Refuses what a host cannot be told."""
    if unknown := set(state) - set(DEFAULT_STATE):
        raise ValueError(f"unknown {sorted(unknown)}; known are {sorted(DEFAULT_STATE)}")
    for session in state.get("sessions", ()):
        if unknown := set(session) - {"user", "domain", "type", "alive", "logon_id", "package", "start", "processes"}:
            raise ValueError(f"unknown {sorted(unknown)} in a session")
    if unknown := set(state.get("bindings", ())) - set(BINDINGS):
        raise ValueError(f"bindings are {sorted(BINDINGS)}")
    if state.get("projection", "keys") not in ("keys", "named", "all"):
        raise ValueError("projection is keys, named or all")
    if unknown := set(state.get("access", {}).values()) - {"ok", "no_dcom", "no_namespace"}:
        raise ValueError(f"unknown access {sorted(unknown)}")
    return state


BINDINGS = {
    "name": lambda host: host.name, "fqdn": lambda host: host.computer, "address": lambda host: host.address,
    # Addresses that exist for the host itself, not for who asks.
    "ipv6": lambda _: "fe80::5c1d:7e2f:9a00:1", "other": lambda _: "192.0.2.1",
}


class Realm:
    """Who may come in at one host; what does not differ comes from the realm of the process."""

    def __init__(self, host, common):
        self.host, self.common = host, common
        self.mechanisms = list(common.mechanisms)

    @property
    def users(self):
        if self.host.faults.refuses_passwords:
            return {}
        accounts = self.host.state["accounts"]
        if accounts is None:
            return self.common.users
        return {name.lower(): {"user": name, "password": password} for name, password in accounts.items()}

    @property
    def keys(self):
        return [] if self.host.faults.refuses_passwords else self.common.keys

    @property
    def domain(self):
        return self.host.state["domain"]

    @property
    def dns_domain(self):
        return self.host.state["dns_domain"]


class Object:
    """Something a client holds references to."""

    def __init__(self, interface, refs, more=None):
        self.interface, self.refs, self.more = interface, refs, more
        self.oid, self.ipid = secrets.randbits(63), secrets.token_bytes(16)


class Host:
    """The host at one address; stands in for the log that the security contexts ask for name and time."""
    clock_offset_ms = 0
    now = EventLog.now

    def __init__(self, number, address, state, faults, stats):
        self.number, self.address, self.initial, self.faults, self.stats = number, address, state, faults, stats
        self.state = dict(state)
        self.oxid, self.unknown = secrets.randbits(63), secrets.token_bytes(16)
        self.objects, self.dcom_port = {}, 0

    def numbered(self, text):
        """`%d` in names is the number of the host."""
        return text.replace("%d", str(self.number)) if text else text

    @property
    def computer(self):
        return self.numbered(self.state["computer"])

    @property
    def name(self):
        return self.computer.split(".")[0].upper()

    @property
    def dns_domain(self):
        return self.state["dns_domain"]

    @property
    def console_user(self):
        return self.numbered(self.state["console_user"])

    def logons(self):
        """Every logon session, the noise first, as Windows lists them."""
        result = []
        if self.state["noise"]:
            for index, (user, domain, kind, logon_id, processes) in enumerate(NOISE):
                result.append({"user": user, "domain": domain or self.name, "type": kind, "logon_id": logon_id,
                               "package": "NTLM" if kind == 3 else "Negotiate", "start": STARTED,
                               "processes": [4 + 4 * (index * 50 + n) for n in range(processes)],
                               # An account whose session is gone: only the reference is left.
                               "dangling": user == "gone"})
        for index, session in enumerate(self.state["sessions"]):
            count = session.get("processes", EXECUTABLES) if session.get("alive", True) else 0
            result.append({"user": self.numbered(session["user"]), "domain": session.get("domain", self.state["domain"]),
                           "type": session.get("type", 2), "logon_id": session.get("logon_id", 300_000 + 1111 * index),
                           "package": session.get("package", "Kerberos"), "start": session.get("start", STARTED),
                           "processes": [8000 + 4 * (index * 1000 + n) for n in range(count)]})
        return result

    # References

    def create(self, interface, more=None):
        item = Object(interface, self.state["public_refs"], more)
        self.objects[item.ipid] = item
        self.stats.gave(item.refs)
        return item

    def release(self, ipid, refs):
        """Gives public references back; False if there are none such."""
        item = self.objects.get(ipid)
        if item is None:
            return False
        refs = min(refs, item.refs)
        item.refs -= refs
        self.stats.took(refs)
        if item.refs == 0:
            del self.objects[ipid]
        return True

    # Addresses

    def bindings(self, port=None):
        """String bindings; without a port, as the object resolver writes them."""
        return [BINDINGS[kind](self) + (f"[{port}]" if port else "") for kind in self.state["bindings"]]

    def right(self, principal):
        """What this account may do."""
        return self.state["access"].get(account(principal), "ok")

    def reset(self):
        """As it was at the start: nobody holds anything."""
        self.state = dict(self.initial)
        for item in self.objects.values():
            self.stats.took(item.refs)
        self.objects.clear()


def account(principal):
    """`svc-jims` of CORP\\svc-jims and of svc-jims@CORP.EXAMPLE.COM."""
    return (principal or "").rpartition("\\")[2].partition("@")[0].lower()


class Stats:
    """Numbers of one host."""

    def __init__(self):
        self.open = self.most_open = 0
        self.counts = {}
        self.clear()

    def clear(self):
        """Begins anew; what is open or live still is."""
        live = self.counts.get("references", 0)
        self.counts = dict.fromkeys(("connections", "scm_connections", "binds", "activations", "logins", "queries", "nexts",
                                     "releases", "released", "references", "refused"), 0)
        self.counts["references"] = live
        self.calls, self.auth, self.accounts, self.texts, self.notes, self.failures = {}, {}, {}, [], [], []
        self.level, self.most_open = None, self.open

    def add(self, name, count=1):
        self.counts[name] += count

    def gave(self, refs):
        self.add("references", refs)

    def took(self, refs):
        self.add("references", -refs)
        self.add("released", refs)

    # What the RPC server reports

    def connected(self, association):
        self.add("connections")
        self.add("scm_connections", 1 if association.endpoint.is_scm else 0)
        self.open += 1
        self.most_open = max(self.most_open, self.open)

    def disconnected(self, _association):
        self.open -= 1

    def called(self, service, opnum):
        name = f"{service.name if service else 'none'}/{opnum}"
        self.calls[name] = self.calls.get(name, 0) + 1

    def called_at(self, level):
        self.level = level if self.level is None else min(level, self.level)

    def authenticated(self, state):
        name = ("negotiate/" if state.acceptor.auth_type == auth.SPNEGO else "") + state.acceptor.mechanism
        self.auth[name] = self.auth.get(name, 0) + 1
        self._account(state.context.principal)["ok"] += 1

    def refused_account(self, principal):
        self._account(principal)["failed"] += 1

    def _account(self, principal):
        return self.accounts.setdefault(account(principal) or "?", {"ok": 0, "failed": 0})

    def auth_failed(self, reason):
        self.failures = self.failures[-99:] + [reason]

    def note(self, text):
        self.notes = self.notes[-99:] + [text]

    def asked(self, text):
        self.texts = self.texts[-19:] + [text]

    def report(self):
        return self.counts | {
            "open": self.open, "most_open": self.most_open, "auth": self.auth, "accounts": self.accounts,
            "calls": dict(sorted(self.calls.items())), "level": self.level, "query_texts": self.texts,
            "last_query": self.texts[-1] if self.texts else None, "notes": self.notes, "auth_failures": self.failures}
