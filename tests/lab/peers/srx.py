#!/usr/bin/python3
"""A firewall that asks identity servers as an SRX does, and believes nothing: srx.py --source IP --ca FILE --server … [--server …]

It shares no code with jims; Python 3.11 and the standard library only. What it does is what Juniper documents: a token
by OAuth2 client credentials; batch queries, the first by timestamp 0, then by the cookie of the answer before; IP queries
for addresses of unknown traffic; user queries after captive portal; always the first server that answers, the second
with its own token and its own cookie when it does not, and back to the first by itself. It keeps an authentication table
as it is told, and knows nothing of fields that only jims explains (`full` is checked, never obeyed).

Orders are JSON, one a line, on standard input; the answer to each is one line of JSON on standard output:

    {"cmd": "batch"}                                   one interval: to the end of the report
    {"cmd": "ip", "address": "10.1.2.50"}              unknown traffic
    {"cmd": "portal", "user": "alice", "domain": "corp.example.com", "address": "10.1.2.50"}
    {"cmd": "filter", "domains": [], "include": [], "exclude": []}
    {"cmd": "secret", "server": 0, "secret": "…"}      what `commit` of another client-secret does
    {"cmd": "table"} {"cmd": "counters"}

Anything that a strict firewall would choke on ends it with status 1 and the reason on standard error.
"""
import argparse
import http.client
import ipaddress
import json
import re
import socket
import ssl
import sys
import time
import urllib.parse

TOKEN_PATH = "/api/oauth_token/oauth"
QUERY_PATH = "/api/user_query/v2"
GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")
COOKIE = re.compile(r"[A-Za-z0-9._-]{1,512}\Z")
LOGIN_REQUIRED = {"ip-address", "domain-name", "roles", "posture", "timestamp", "activity"}
LOGIN_OPTIONAL = {"user-name", "device-name", "device-groups", "device-os", "device-os-version"}
LOGOUT_FIELDS = {"ip-address", "timestamp", "activity"}
POSTURES = {"Healthy", "Checkup", "Transition", "Quarantine", "Infected", "Unknown"}
# A server may be this much ahead of this clock.
CLOCK_SKEW_S = 5
EARLIEST = 1_577_836_800
LONGEST_ANSWER = 8 << 20
# More answers than this in one interval is a report without end.
MOST_ANSWERS = 10_000


class Violation(Exception):
    """The server did something that a strict client does not take."""


class Unreachable(Exception):
    """The server does not serve now; the other one is asked."""


class Unauthorized(Exception):
    """401: the token is not good any more."""


def require(holds, why):
    if not holds:
        raise Violation(why)


def without_twins(pairs):
    """An object of JSON whose names are all different."""
    found = dict(pairs)
    require(len(found) == len(pairs), f"a name stands twice: {[name for name, _ in pairs]}")
    return found


def no_constant(name):
    raise Violation(f"{name} is not JSON")


def parsed(text):
    try:
        return json.loads(text, object_pairs_hook=without_twins, parse_constant=no_constant)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise Violation(f"not JSON: {error}: {text[:200]!r}") from error


class Connection(http.client.HTTPSConnection):
    """From the firewall's address, to an address, with the name that the certificate must have."""

    def __init__(self, server, source, context, timeout):
        super().__init__(server.host, server.port, timeout=timeout, source_address=(source, 0), context=context)
        self.name = server.name
        self.tls = context

    def connect(self):
        plain = socket.create_connection((self.host, self.port), self.timeout, self.source_address)
        self.sock = self.tls.wrap_socket(plain, server_hostname=self.name)


class Server:
    """One configured identity server, and what the firewall knows of it."""

    def __init__(self, text):
        # HOST:PORT,CERTIFICATE-NAME,CLIENT-ID,SECRET
        where, self.name, self.client, self.secret = text.split(",")
        self.host, port = where.rsplit(":", 1)
        self.port = int(port)
        self.connection = None
        self.token = None
        self.expires = 0.0
        self.cookie = None
        self.told_under = None
        self.counters = {"tokens": 0, "requests": 0, "unauthorized": 0, "entries": 0, "connections": 0}

    def forget_connection(self):
        if self.connection is not None:
            self.connection.close()
        self.connection = None


class Srx:
    """The firewall."""

    def __init__(self, options):
        self.source, self.items, self.timeout = options.source, options.items, options.timeout
        self.context = ssl.create_default_context(cafile=options.ca)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.servers = [Server(text) for text in options.server]
        self.active = 0
        self.table = {}
        self.portal = {}
        self.filter = {"domains": [], "include": [], "exclude": []}
        self.fail_overs = 0
        self.reverts = 0

    # Requests.

    def exchange(self, server, method, path, body=None, headers=None):
        """One request over the kept connection; once more over a new one if the kept one was closed meanwhile."""
        kept = server.connection is not None
        try:
            return self.once(server, method, path, body, headers or {})
        except (http.client.HTTPException, OSError) as error:
            server.forget_connection()
            if isinstance(error, ssl.SSLCertVerificationError):
                raise Violation(f"the certificate of {server.host} is not good for {server.name}: {error}") from error
            # A server that says nothing is not asked again; one that closed an idle connection is.
            if kept and not isinstance(error, TimeoutError):
                return self.exchange(server, method, path, body, headers)
            raise Unreachable(f"{server.host}:{server.port}: {error!r}") from error

    def once(self, server, method, path, body, headers):
        if server.connection is None:
            server.connection = Connection(server, self.source, self.context, self.timeout)
            server.counters["connections"] += 1
        server.counters["requests"] += 1
        server.connection.request(method, path, body, headers)
        answer = server.connection.getresponse()
        text = answer.read(LONGEST_ANSWER + 1)
        require(len(text) <= LONGEST_ANSWER, "an answer of more than 8 MiB")
        require(answer.version == 11, f"HTTP version {answer.version}")
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, text

    def log_in(self, server):
        form = urllib.parse.urlencode(
            {"grant_type": "client_credentials", "client_id": server.client, "client_secret": server.secret})
        status, headers, text = self.exchange(
            server, "POST", TOKEN_PATH, form, {"Content-Type": "application/x-www-form-urlencoded"})
        if status in (429, 503):
            require(headers.get("retry-after", "").isdigit(), f"{status} without Retry-After")
            raise Unreachable(f"{server.host}: {status} to a login")
        require(status == 200, f"{status} to a login with the configured secret: {text[:200]!r}")
        require(headers.get("content-type") == "application/json", f"a token of type {headers.get('content-type')}")
        require("no-store" in headers.get("cache-control", ""), "a token that may be cached")
        given = parsed(text)
        require(set(given) == {"access_token", "token_type", "expires_in"}, f"a token answer of {sorted(given)}")
        require(isinstance(given["access_token"], str) and GUID.match(given["access_token"]), "the token is no GUID")
        require(given["token_type"] == "Bearer", f"token_type {given['token_type']!r}")
        require(type(given["expires_in"]) is int and given["expires_in"] > 0, f"expires_in {given['expires_in']!r}")
        server.token, server.expires = given["access_token"], time.monotonic() + given["expires_in"]
        server.counters["tokens"] += 1

    def ask(self, server, path, parameters):
        """A query with a token; a token that is over is replaced once."""
        for attempt in (1, 2):
            if server.token is None or time.monotonic() >= server.expires:
                self.log_in(server)
            try:
                return self.ask_once(server, path, parameters)
            except Unauthorized:
                server.counters["unauthorized"] += 1
                require(attempt == 1, "401 to a token that was just given")
                server.token = None
        raise AssertionError("not reached")

    def ask_once(self, server, path, parameters):
        target = QUERY_PATH + path
        if parameters:
            target += "?" + urllib.parse.urlencode(parameters)
        status, headers, text = self.exchange(
            server, "GET", target, None, {"Authorization": f"Bearer {server.token}", "Accept": "application/json"})
        if status == 401:
            require(headers.get("www-authenticate", "").startswith("Bearer"), "401 without a Bearer challenge")
            raise Unauthorized
        if status == 503:
            require(headers.get("retry-after", "").isdigit(), "503 without Retry-After")
            raise Unreachable(f"{server.host}: not ready")
        require(status == 200, f"{status} to {target}: {text[:200]!r}")
        require(headers.get("content-type") == "application/json", f"an answer of type {headers.get('content-type')}")
        require("no-store" in headers.get("cache-control", ""), "an answer that may be cached")
        require(int(headers.get("content-length", -1)) == len(text), "Content-Length is missing or wrong")
        return parsed(text)

    # Which server.

    def served(self, work):
        """Does the work with the first server, or the second if that fails. `work` gets a server and says its answer."""
        begun = time.monotonic()
        before = self.active
        reasons = []
        for index, server in enumerate(self.servers):
            try:
                answer = work(server)
            except Unreachable as why:
                reasons.append(str(why))
                continue
            if index > before:
                self.fail_overs += 1
            elif index < before:
                self.reverts += 1
            self.active = index
            return {**answer, "server": index, "moved": index - before, "seconds": time.monotonic() - begun}
        raise Violation(f"no server answers: {reasons}")

    # Queries.

    def batch(self):
        return self.served(self.batch_from)

    def batch_from(self, server):
        parameters = []
        # What was told under other filters is told anew; the server must see that by itself.
        for name, key in (("domain", "domains"), ("include-ip", "include"), ("exclude-ip", "exclude")):
            parameters += [(name, value) for value in self.filter[key]]
        by_cookie = server.cookie is not None
        answers, entries, full, told = 0, 0, False, []
        while True:
            start = [("cookie", server.cookie)] if server.cookie is not None else [("begintime", "0")]
            answer = self.ask(server, "/users/endpoints", start + [("entry_count", str(self.items))] + parameters)
            require(set(answer) == {"report_entries", "cookie", "more", "full"}, f"a batch answer of {sorted(answer)}")
            cookie, more = answer["cookie"], answer["more"]
            require(isinstance(cookie, str) and COOKIE.match(cookie), f"the cookie is {cookie!r}")
            require(type(more) is bool and type(answer["full"]) is bool, "more or full is no boolean")
            require(not (answer["full"] and answers), "full in the middle of a report")
            require(answers or by_cookie or answer["full"], "timestamp 0, and not a full report")
            found = answer["report_entries"]
            require(isinstance(found, list) and len(found) <= max(self.items, 2), "more entries than were asked for")
            require(found or not more, "more to come, and nothing here")
            require(cookie != server.cookie or not more, "more to come, and the cookie stands still")
            self.obey(found, self.filter)
            server.cookie, server.told_under = cookie, dict(self.filter)
            full = full or answer["full"]
            answers, entries = answers + 1, entries + len(found)
            told += found[: max(0, 100 - len(told))]
            require(answers < MOST_ANSWERS, "a report without end")
            if not more:
                break
        server.counters["entries"] += entries
        return {"answers": answers, "entries": entries, "full": full, "told": told}

    def ip(self, address):
        return self.served(lambda server: self.ip_from(server, address))

    def ip_from(self, server, address):
        answer = self.ask(server, "/ip/" + urllib.parse.quote(address, safe=""), [])
        entries = self.single(answer)
        require(len(entries) <= 2, "more than two entries for one address")
        for entry in entries:
            require(self.address_of(entry) == address, f"asked for {address}, told of {entry['ip-address']}")
        # An IP query knows no filter of the batch; it is about one address that traffic comes from.
        self.obey(entries, None)
        return {"entries": entries}

    def after_portal(self, user, domain, address):
        return self.served(lambda server: self.user_from(server, user, domain, address))

    def user_from(self, server, user, domain, address):
        parameters = [("id", user), ("domain", domain)]
        if address is not None:
            parameters.append(("ip", address))
        entries = self.single(self.ask(server, "/user", parameters))
        for entry in entries:
            require(entry["activity"] == "login", "a user query that logs somebody out")
            require(entry.get("user-name", "").casefold() == user.casefold(), f"asked for {user}, told of {entry}")
            if address is not None:
                require(self.address_of(entry) == address, f"asked for {user} at {address}, told of {entry}")
        if address is not None and entries:
            self.portal[address] = {"user": user, "roles": entries[0]["roles"]}
        return {"entries": entries}

    def single(self, answer):
        require(set(answer) == {"report_entries"}, f"a single answer of {sorted(answer)}")
        entries = answer["report_entries"]
        require(isinstance(entries, list), "report_entries is no list")
        for entry in entries:
            self.check(entry)
        return entries

    # Entries.

    @staticmethod
    def address_of(entry):
        text = entry["ip-address"]
        require(isinstance(text, str), f"ip-address {text!r}")
        try:
            address = ipaddress.ip_address(text)
        except ValueError as error:
            raise Violation(f"ip-address {text!r}") from error
        require(str(address) == text, f"{text} is not how {address} is written")
        require(getattr(address, "ipv4_mapped", None) is None, f"{text} is an IPv4 address in disguise")
        return text

    def check(self, entry):
        require(isinstance(entry, dict), f"an entry that is no object: {entry!r}")
        activity = entry.get("activity")
        require(activity in ("login", "logout"), f"activity {activity!r}")
        names = set(entry)
        if activity == "logout":
            require(names == LOGOUT_FIELDS, f"a logout of {sorted(names)}")
        else:
            require(LOGIN_REQUIRED <= names <= LOGIN_REQUIRED | LOGIN_OPTIONAL, f"a login of {sorted(names)}")
            self.check_login(entry)
        self.address_of(entry)
        stamp = entry["timestamp"]
        require(type(stamp) is int, f"timestamp {stamp!r}")
        require(EARLIEST < stamp <= time.time() + CLOCK_SKEW_S, f"timestamp {stamp} is not of our time")

    @staticmethod
    def check_login(entry):
        for name in ("domain-name", "user-name", "device-name", "device-os", "device-os-version"):
            if name in entry:
                text = entry[name]
                require(isinstance(text, str) and text.strip() == text and text, f"{name} is {text!r}")
                require(text.isprintable(), f"{name} holds what cannot be printed: {text!r}")
        require("user-name" in entry or "device-name" in entry, f"a login of nobody: {entry}")
        require(entry["posture"] in POSTURES, f"posture {entry['posture']!r}")
        for name in ("roles", "device-groups"):
            groups = entry.get(name, [])
            require(isinstance(groups, list) and all(isinstance(g, str) and g for g in groups), f"{name} {groups!r}")
            require(len(set(map(str.casefold, groups))) == len(groups), f"a group twice in {name}: {groups}")
        require("device-name" in entry or not {"device-groups", "device-os", "device-os-version"} & set(entry),
                f"facts of a device without a name: {entry}")
        require("user-name" in entry or not entry["roles"], f"roles of nobody: {entry}")

    def obey(self, entries, chosen):
        """Takes entries over into the table, in order."""
        seen = {}
        for index, entry in enumerate(entries):
            self.check(entry)
            address, activity = self.address_of(entry), entry["activity"]
            # One change of an address is told in one piece: a login, a logout, or a logout and the login after it.
            if address in seen:
                before, at = seen[address]
                require((before, activity, at) == ("logout", "login", index - 1), f"{address} twice in one answer")
            seen[address] = (activity, index)
            if activity == "logout":
                self.table.pop(address, None)
                continue
            if chosen is not None:
                self.check_chosen(entry, address, chosen)
            held = self.table.get(address)
            if held is not None and held["user"] is not None:
                require("user-name" in entry, f"an empty user over {held['user']} at {address}")
            self.table[address] = {
                "user": entry.get("user-name"), "domain": entry["domain-name"], "roles": sorted(entry["roles"]),
                "device": entry.get("device-name"),
            }

    @staticmethod
    def check_chosen(entry, address, chosen):
        def within(networks):
            return any(ipaddress.ip_address(address) in ipaddress.ip_network(n, strict=False) for n in networks)

        require(not chosen["include"] or within(chosen["include"]), f"{address} was not asked for")
        require(not within(chosen["exclude"]), f"{address} was excluded")
        # A short name of a domain cannot be compared here.
        domains = {d.casefold() for d in chosen["domains"]}
        if domains and all("." in d for d in domains):
            require(entry["domain-name"].casefold() in domains, f"{entry['domain-name']} was not asked for")

    # Orders.

    def order(self, order):
        command = order["cmd"]
        if command == "batch":
            return self.batch()
        if command == "ip":
            return self.ip(order["address"])
        if command == "portal":
            return self.after_portal(order["user"], order["domain"], order.get("address"))
        if command == "filter":
            self.filter = {key: list(order.get(key, [])) for key in ("domains", "include", "exclude")}
            return {}
        if command == "secret":
            self.servers[order["server"]].secret = order["secret"]
            return {}
        if command == "table":
            return {"table": self.table, "portal": self.portal}
        if command == "counters":
            servers = [server.counters for server in self.servers]
            return {"servers": servers, "fail_overs": self.fail_overs, "reverts": self.reverts, "active": self.active}
        raise Violation(f"no such order: {command}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--source", required=True, help="the firewall's own address")
    parser.add_argument("--ca", required=True, help="who may sign the servers' certificates")
    parser.add_argument("--server", action="append", required=True, help="HOST:PORT,CERTIFICATE-NAME,CLIENT-ID,SECRET")
    parser.add_argument("--items", type=int, default=200, help="items-per-batch")
    parser.add_argument("--timeout", type=float, default=10, help="seconds until a server that says nothing is left")
    srx = Srx(parser.parse_args())
    for line in sys.stdin:
        try:
            answer = srx.order(json.loads(line))
        except Violation as why:
            print(f"srx: {why}", file=sys.stderr)
            return 1
        print(json.dumps(answer), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
