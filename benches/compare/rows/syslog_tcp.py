"""Syslog over TCP: how many lines, from ten senders, become sessions."""
import socket
import threading
import time

from ..lines import Lines, shown
from ..process import Failed, wait_until
from ..syslog_peers import ADDRESS, ALL, PORT, Rsyslog
from ..table import Figure, Measure, Target

NAMES = ["syslog-tcp"]
LINES, QUICK_LINES = 1_000_000, 200_000
SENDERS, FROM = 10, "127.77.62.1"
SINK = ("127.77.61.2", 5515)
# For all lines of a round to have arrived.
GUARD = 90


def run(bench):
    lines = Lines(bench.path("lines"), QUICK_LINES if bench.quick else LINES)
    words = ["tcp", "--to", f"{ADDRESS}:{PORT}", "--from", FROM, "--senders", SENDERS, "--file", lines.path]
    per_cpu = Figure("syslog over TCP, lines of one CPU second", "lines", True, Target(ratio_at_least=1.5))
    wall = Figure("syslog over TCP, lines a second", "lines/s", True)
    other = Figure("the same beside rsyslog without regular expressions, lines of one CPU second", "lines", True)
    for figure in (wall, per_cpu, other):
        figure.command = "benches/run syslog-tcp"
    for _ in range(bench.rounds):
        for side in ALL:
            with side(bench, "tcp") as hearer:
                took, used, sent = _round(bench, hearer, words, lines)
                peak = hearer.process.peak()
                wall.add(side.name, Measure(lines.count / took, used, peak))
                if side is not Rsyslog:
                    per_cpu.add(side.name, Measure(lines.count / used, used, peak))
                if side.name in ("jims", Rsyslog.name):
                    other.add(side.name, Measure(lines.count / used, used, peak))
                for figure in (wall, per_cpu):
                    figure.note(f"{side.name}: {hearer.check(lines)}" if side.name == "jims" else "")
    rate = _alone(bench, words, lines)
    limit = Figure("limit: the same lines into a reader that discards them", "lines/s", True, command=wall.command)
    limit.add("loopback", Measure(rate))
    for figure in (wall, per_cpu):
        figure.note(f"{lines.count:,} lines of {lines.bytes / lines.count:.0f} bytes, eight rules, RFC 5424 and RFC 3164 in "
                    f"turn, {SENDERS} connections; rsyslog: imptcp, and two re_extract for a line or mmnormalize; syslog-ng: network and db-parser")
        figure.note(f"the sender is `{bench.load_name} {shown(words, lines)}`; the last time it took {sent['cpu_seconds']:.2f} "
                    f"CPU seconds for a round, and into a reader that discards it sends {rate:,.0f} lines/s")
    yield wall
    yield per_cpu
    yield other
    yield limit


def _round(bench, hearer, words, lines):
    before, begun = hearer.process.cpu(), time.monotonic()
    sent = bench.load(words, GUARD)
    wait_until(lambda: hearer.arrived(lines) >= lines.count, GUARD, f"waiting for all lines at {hearer.name}", hearer.process)
    took = time.monotonic() - begun
    hearer.process.settle()
    if hearer.name != "jims" and hearer.written() != lines.count:
        raise Failed(f"{hearer.name} wrote {hearer.written()} whole lines of {lines.count}")
    return took, hearer.process.cpu() - before, sent


def _alone(bench, words, lines):
    """What the sender can do: lines a second into a reader that looks at nothing."""
    listener = socket.create_server(SINK)
    listener.settimeout(GUARD)

    def discard(connection):
        with connection:
            while connection.recv(1 << 20):
                pass
    readers = []

    def accept():
        for _ in range(SENDERS):
            connection, _ = listener.accept()
            reader = threading.Thread(target=discard, args=(connection,), daemon=True)
            reader.start()
            readers.append(reader)
    accepting = threading.Thread(target=accept, daemon=True)
    accepting.start()
    words = list(words)
    words[2] = f"{SINK[0]}:{SINK[1]}"
    sent = bench.load(words, GUARD)
    accepting.join(GUARD)
    for reader in readers:
        reader.join(GUARD)
    listener.close()
    return lines.count / sent["seconds"]
