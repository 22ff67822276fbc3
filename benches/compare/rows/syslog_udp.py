"""Syslog over UDP: how many datagrams are lost at a rate, and whether they are counted."""
import socket
import time

from ..lines import Lines, shown
from ..process import Failed, wait_until
from ..syslog_peers import ADDRESS, PORT, Jims, RsyslogRegex, SyslogNg, kernel_drops
from ..table import Figure, Measure, Target

NAMES = ["syslog-udp"]
SECONDS, QUICK_SECONDS = 5, 2
SENDERS, FROM = 10, "127.77.62.1"
# Lines a second; no loss at the first is the target, beyond it every loss must be counted.
RATES = [(200_000, Target(at_most=0)), (300_000, None)]
# The sender may be this much slower than it was told.
NEARLY = 0.95
GUARD = 60


def run(bench):
    for rate, target in RATES:
        figure = Figure(f"syslog over UDP, lost at {rate:,}/s", "%", False, target, command="benches/run syslog-udp")
        count = rate * (QUICK_SECONDS if bench.quick else SECONDS)
        lines = Lines(bench.path("lines"), count)
        words = ["udp", "--to", f"{ADDRESS}:{PORT}", "--from", FROM, "--senders", SENDERS, "--file", lines.path,
                 "--rate", rate]
        for _ in range(min(bench.rounds, 3)):
            for side in (Jims, RsyslogRegex, SyslogNg):
                with side(bench, "udp") as hearer:
                    _round(bench, hearer, words, lines, figure)
        figure.note(f"{lines.count:,} datagrams of {lines.bytes / lines.count - 1:.0f} bytes, the lines and rules of syslog-tcp, "
                    f"{SENDERS} senders; sent by `{bench.load_name} {shown(words, lines)}`")
        figure.note("the sender itself says how many a second it sent; with less than 95 % of what it was told to send, the "
                    "row fails")
        yield figure


def _round(bench, hearer, words, lines, figure):
    rate = words[-1]
    before = hearer.process.cpu()
    sent = bench.load(words, GUARD)
    offered = lines.count / sent["seconds"]
    if offered < NEARLY * rate:
        raise Failed(f"the sender came to {offered:,.0f}/s of {rate:,}/s: the machine is too slow or busy")
    hearer.process.settle()
    arrived, dropped = _arrived(hearer, lines)
    if hearer.name == "jims":
        dropped = _told(hearer, lines, dropped)
    lost = lines.count - arrived
    in_kernel = kernel_drops(ADDRESS, PORT)
    figure.add(hearer.name, Measure(100 * lost / lines.count, hearer.process.cpu() - before, hearer.process.peak(),
                                    f"offered {offered:,.0f}/s, lost {lost}, in the kernel {in_kernel}"))
    if hearer.name == "jims" and dropped != lost:
        raise Failed(f"jims lost {lost} lines and counted {dropped} (the kernel says {in_kernel})")


def _arrived(hearer, lines):
    """How many arrived, waited for as long as more come; and what the hearer itself says was lost."""
    count = _count(hearer)
    end = time.monotonic() + GUARD
    while count < lines.count and time.monotonic() < end:
        time.sleep(0.5)
        again = _count(hearer)
        if again == count:
            break
        count = again
    return count, hearer.own_drops() if hearer.name == "jims" else None


def _told(hearer, lines, before):
    """What jims says was lost after one more datagram, which is not counted: only with it the kernel tells the last drops."""
    count = _count(hearer)
    with open(lines.path, "rb") as file, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.bind((FROM, 0))
        sender.sendto(file.readline().rstrip(), (ADDRESS, PORT))
    wait_until(lambda: _count(hearer) > count, GUARD, "waiting for one more datagram", hearer.process)
    return max(before, hearer.own_drops())


def _count(hearer):
    return hearer.arrived(None) if hearer.name == "jims" else hearer.written()
