"""The test's hand on the peer: JSON lines over a loopback TCP socket, one reply for each command.

Every command takes `"address"`: one address, a list of them, or nothing for all. Replies are `{"ok": true, ...}` or
`{"ok": false, "error": "..."}`.
"""
import asyncio
import json
import time

from faults import BIND_ACTS, DOCUMENT_ACTS, PDU_ACTS, STUB_ACTS, broken_document

ACTS = DOCUMENT_ACTS + STUB_ACTS + PDU_ACTS + BIND_ACTS


class Control:
    """Commands over all endpoints of the process; `peers` maps address to (log, faults, stats, endpoint)."""

    def __init__(self, peers):
        self.peers, self.generating = peers, {}

    async def listen(self, address, port):
        return await asyncio.start_server(self.serve, address, port, limit=64 << 20)

    async def serve(self, reader, writer):
        try:
            while line := await reader.readline():
                try:
                    result = self.run(json.loads(line))
                    reply = {"ok": True, **((await result if asyncio.iscoroutine(result) else result) or {})}
                except Exception as error:
                    reply = {"ok": False, "error": f"{type(error).__name__}: {error}"}
                writer.write(json.dumps(reply).encode() + b"\n")
                await writer.drain()
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    def chosen(self, command):
        wanted = command.get("address")
        addresses = list(self.peers) if wanted is None else [wanted] if isinstance(wanted, str) else wanted
        return [(address, *self.peers[address]) for address in addresses]

    def run(self, command):
        method = getattr(self, "do_" + command["cmd"], None)
        if method is None:
            raise ValueError(f"no command {command['cmd']}")
        return method(command)

    def do_inject(self, command):
        """events: [{"id": 4768, "data": {...}, "at_ms", "age_ms", "record_id", "keywords", "raw_hex", "broken", "form"}]."""
        last = {}
        for address, log, faults, _, _ in self.chosen(command):
            for event in command["events"]:
                raw = bytes.fromhex(event["raw_hex"]) if "raw_hex" in event else None
                last[address] = log.append(event["id"], event.get("data", {}), event.get("at_ms"), event.get("record_id"),
                                           int(event.get("keywords", log_keywords(event))), raw, event.get("age_ms", 0),
                                           notify=False, form=event.get("form"))
                if "broken" in event:
                    record = log.records[-1]
                    record.raw = broken_document(event["broken"], log.document(record), faults.random)
            log.notify()
        return {"last_record": last}

    def do_generate(self, command):
        """n events at once, or n events at `rate` a second for each address; users, ids and batches as given."""
        count, rate = command["n"], command.get("rate")
        for _, log, _, _, _ in self.chosen(command):
            if "users" in command:
                log.generator.users = command["users"]
            if "ids" in command:
                log.generator.ids = command["ids"]
            if rate:
                task = asyncio.get_running_loop().create_task(self.trickle(log, count, rate, command.get("tick_ms", 50)))
                self.generating.setdefault(log, set()).add(task)
                task.add_done_callback(self.generating[log].discard)
            else:
                log.generate(count)
        return {}

    async def trickle(self, log, count, rate, tick_ms):
        start, made = time.monotonic(), 0
        # Logs of one process start at different moments of a tick, as real servers would.
        await asyncio.sleep((hash(log.computer) % 1000) / 1000 * tick_ms / 1000)
        while made < count:
            due = min(count, int((time.monotonic() - start) * rate) + 1)
            if due > made:
                log.generate(due - made)
                made = due
            await asyncio.sleep(tick_ms / 1000)

    def do_stop_generating(self, command):
        for _, log, _, _, _ in self.chosen(command):
            for task in list(self.generating.get(log, ())):
                task.cancel()

    def do_wrap(self, command):
        """Keeps the newest `keep` records."""
        for _, log, _, _, _ in self.chosen(command):
            log.wrap(command.get("keep", 0))

    def do_clear(self, command):
        """The log was cleared: no records, numbers begin at 1 again."""
        for _, log, _, _, _ in self.chosen(command):
            log.clear()

    def do_drop(self, command):
        """Closes all connections now, or the one that sends the byte `after_bytes` (or a random one below `within`)."""
        closed = 0
        for _, _, faults, _, endpoints in self.chosen(command):
            if "after_bytes" in command:
                faults.drop_after = command["after_bytes"]
            elif "within" in command:
                faults.drop_after = faults.random.randrange(1, command["within"])
            else:
                for endpoint in endpoints:
                    for association in list(endpoint.associations):
                        (association.transport.abort if command.get("reset") else association.transport.close)()
                        closed += 1
        return {"closed": closed}

    def do_fault(self, command):
        """The next `times` calls of `opnum` (null: any) fault with `status`; `protected` false: without a token."""
        for _, _, faults, _, _ in self.chosen(command):
            faults.faults.append({"opnum": command.get("opnum"), "status": int(command["status"]),
                                  "times": command.get("times", 1), "protected": command.get("protected")})

    def do_refuse(self, command):
        """Registrations of `mode` push, pull or query end with `status` until it is null."""
        for _, _, faults, _, _ in self.chosen(command):
            if command.get("status") is None:
                faults.refused.pop(command["mode"], None)
            else:
                faults.refused[command["mode"]] = int(command["status"])

    def do_deny(self, command):
        """Registrations end with access denied (or `status`) while `on`."""
        for _, _, faults, _, _ in self.chosen(command):
            faults.denied = command.get("status", 5) if command.get("on", True) else None

    def do_mute(self, command):
        """While `on`: nothing is read or answered by `where` (all, even6, epm); `replies`: read, never answered."""
        for _, _, faults, _, _ in self.chosen(command):
            on = command.get("on", True)
            if command.get("replies"):
                faults.mute_replies = on
            else:
                faults.muted = command.get("where", "all") if on else None

    def do_slow(self, command):
        """Replies wait `ms` and go out `chunk` bytes at a time, `ms` between them (0 and 0: as usual)."""
        for _, _, faults, _, _ in self.chosen(command):
            faults.delay_ms, faults.chunk = command.get("ms", 0), command.get("chunk", 0)

    def do_unregister(self, command):
        """While `on` the endpoint mapper does not know the event service."""
        for _, _, faults, _, _ in self.chosen(command):
            faults.unregistered = command.get("on", True)

    def do_down(self, command):
        """Closes the ports and all connections: new ones are refused until `up`. The log stays."""
        for _, _, _, _, endpoints in self.chosen(command):
            for endpoint in endpoints:
                endpoint.shut()

    async def do_up(self, command):
        """Opens the ports again; the event service on `port` (default: the same; 0: another)."""
        ports = {}
        for address, _, _, _, endpoints in self.chosen(command):
            for endpoint in endpoints:
                wanted = command.get("port", endpoint.port) if endpoint.is_event_service else endpoint.port
                await endpoint.listen(address, wanted)
            for endpoint in endpoints[1:]:
                for service in endpoint.services.values():
                    service.ports.update({interface: endpoints[0].port for interface in service.ports})
            ports[address] = endpoints[0].port
        return {"even6": ports}

    def do_hostile(self, command):
        """The next `times` replies of `opnum` (null: any) are broken in the way `what` says."""
        if command["what"] not in ACTS:
            raise ValueError(f"hostile acts are {ACTS}")
        for _, _, faults, _, _ in self.chosen(command):
            faults.hostile.append({"what": command["what"], "opnum": command.get("opnum"), "times": command.get("times", 1)})

    def do_acts(self, _command):
        return {"document": DOCUMENT_ACTS, "stub": STUB_ACTS, "pdu": PDU_ACTS, "bind": BIND_ACTS}

    def do_skew(self, command):
        """`created_ms` shifts TimeCreated of new records, `clock_ms` the computer's clock (NTLM, Kerberos, records)."""
        for _, log, _, _, _ in self.chosen(command):
            log.skew_ms = command.get("created_ms", log.skew_ms)
            log.clock_offset_ms = command.get("clock_ms", log.clock_offset_ms)

    def do_channel_missing(self, command):
        """While `on` the channel does not exist."""
        for _, log, _, _, _ in self.chosen(command):
            log.missing = command.get("on", True)

    def do_option(self, command):
        """Changes options of new connections: header_signing, fault_protection, require_privacy, max_fragment, batch_ms, stale_status."""
        for _, _, _, _, endpoints in self.chosen(command):
            for endpoint in endpoints:
                for key, value in command["set"].items():
                    if key not in endpoint.options:
                        raise ValueError(f"options are {sorted(endpoint.options)}")
                    endpoint.options[key] = value

    def do_mechanisms(self, command):
        """Which mechanisms are accepted from now on: ["kerberos", "ntlm"]."""
        for _, _, _, _, endpoints in self.chosen(command):
            for endpoint in endpoints:
                endpoint.realm.mechanisms = list(command["list"])

    def do_calm(self, command):
        """Ends every fault."""
        for _, log, faults, _, _ in self.chosen(command):
            faults.__init__()
            log.missing = False

    def do_stats(self, command):
        result = {}
        for address, log, _, stats, endpoints in self.chosen(command):
            result[address] = stats.report() | {
                "computer": log.computer, "oldest_record": log.oldest, "newest_record": log.next_id - 1,
                "open": sum(len(endpoint.associations) for endpoint in endpoints)}
        return {"stats": result, "cpu_seconds": round(time.process_time(), 3)}


def log_keywords(event):
    """Audit success, or failure for a non-zero Status."""
    status = event.get("data", {}).get("Status", 0)
    return 0x8010000000000000 if int(str(status), 0) else 0x8020000000000000


class Stats:
    """Numbers of one address."""

    def __init__(self):
        self.calls, self.auth, self.failures, self.notes = {}, {}, [], []
        self.connections = self.records = self.highest = self.held = self.map_calls = 0
        self.last_query = self.last_subscription = None
        self.principals = set()

    def connected(self, association):
        if association.endpoint.is_event_service:
            self.connections += 1

    def disconnected(self, _association):
        """Open connections are counted by the endpoint."""

    def called(self, service, opnum):
        if service is not None and service.needs_auth:
            self.calls[opnum] = self.calls.get(opnum, 0) + 1
        else:
            self.map_calls += 1

    def authenticated(self, state):
        outer = {9: "negotiate", 10: "", 16: ""}[state.acceptor.auth_type]
        name = f"{outer}/{state.acceptor.mechanism}" if outer else state.acceptor.mechanism
        self.auth[name] = self.auth.get(name, 0) + 1
        self.principals.add(state.context.principal)

    def auth_failed(self, reason):
        self.failures = self.failures[-99:] + [reason]

    def note(self, text):
        self.notes = self.notes[-99:] + [text]

    def sent(self, count, last):
        self.records += count
        self.highest = max(self.highest, last)

    def report(self):
        return {"connections": self.connections, "calls": {str(key): value for key, value in sorted(self.calls.items())},
                "map_calls": self.map_calls, "records_sent": self.records, "highest_record_sent": self.highest,
                "held": self.held, "auth": self.auth, "auth_failures": self.failures, "notes": self.notes,
                "principals": sorted(self.principals), "last_query": self.last_query,
                "last_subscription": self.last_subscription}
