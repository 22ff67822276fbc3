"""An event written at its source, until a query shows it, while 10,000 others a second are written."""
import json
import socket
import statistics
import subprocess
import time

from ..process import Failed
from ..site import SYSLOG, SYSLOG_PORT, address, shared
from ..table import Figure, Measure, Target

NAMES = ["visible"]
RATE, SECONDS, QUICK_SECONDS = 10_000, 20, 4
SENDER, OTHERS = "127.77.62.100", "127.77.62.1"
# Where marked users appear: outside of the other sessions.
MARKED = 0x0B000001
GUARD = 5


def run(bench):
    site = shared(bench)
    p50 = Figure(f"event to answer at {RATE:,} events/s, p50", "ms", False, Target(at_most=5), command="benches/run visible")
    p99 = Figure(f"event to answer at {RATE:,} events/s, p99", "ms", False, Target(at_most=50), command="benches/run visible")
    seconds = QUICK_SECONDS if bench.quick else SECONDS
    lines = bench.path("lines")
    with open(lines, "w", encoding="ascii") as file:
        # Users move: each line ends a session and begins another.
        file.writelines(f"<134>{time.strftime('%b %d %H:%M:%S')} gw01 portal: login user=u{(number * 13 + 7) % site.users:06d} "
                        f"ip={address(number * 7919 % site.sessions)}\n" for number in range(RATE * seconds))
    for turn in range(2 if bench.quick else 3):
        before = site.process.cpu()
        words = [bench.programs["load", "bench"], "tcp", "--to", f"{SYSLOG}:{SYSLOG_PORT}", "--from", OTHERS, "--senders", "10",
                 "--file", lines, "--rate", str(RATE)]
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as load:
            try:
                waits = _marks(site, load, seconds, turn)
                said = json.loads(load.communicate(timeout=seconds + 30)[0])
            finally:
                load.kill()
        rate = RATE * seconds / said["seconds"]
        if rate < 0.95 * RATE:
            raise Failed(f"the sender came to {rate:,.0f}/s")
        used, peak = site.process.cpu() - before, site.process.peak()
        waits.sort()
        note = f"{len(waits)} marks, longest {waits[-1]:.1f} ms"
        p50.add("jims", Measure(statistics.median(waits), used, peak, note))
        p99.add("jims", Measure(waits[len(waits) * 99 // 100], used, peak, note))
    for figure in (p50, p99):
        figure.note("measured from outside: a marked line goes out on a TCP connection of its own, then the control socket is asked "
                    "for its address in a loop until the user is there; the clock starts before the line is written")
        figure.note("jims writes a line's event to its table as it comes; the asking process shares the cores and its own round trip "
                    "is in the figure")
    yield p50
    yield p99


def _marks(site, load, seconds, turn):
    sender = socket.socket()
    sender.bind((SENDER, 0))
    sender.connect((SYSLOG, SYSLOG_PORT))
    sender.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    waits = []
    with sender, socket.socket(socket.AF_UNIX) as control:
        control.settimeout(GUARD)
        control.connect(site.path("control.sock"))
        stream = control.makefile("rwb")
        stream.readline()
        time.sleep(0.5)
        end = time.monotonic() + seconds - 1.5
        while time.monotonic() < end and load.poll() is None:
            value = MARKED + turn * 65_536 + len(waits)
            where = f"{value >> 24}.{value >> 16 & 255}.{value >> 8 & 255}.{value & 255}"
            user = f"m{turn}x{len(waits)}"
            question = json.dumps({"request": "query", "who": where}).encode() + b"\n"
            line = f"<134>{time.strftime('%b %d %H:%M:%S')} gw01 portal: login user={user} ip={where}\n"
            begun = time.monotonic()
            sender.sendall(line.encode())
            while True:
                stream.write(question)
                stream.flush()
                answer = stream.readline()
                passed = time.monotonic() - begun
                if user.encode() in answer:
                    break
                if passed > GUARD:
                    raise Failed(f"a marked line is not there after {GUARD} s: {answer[:300]!r}")
            waits.append(passed * 1000)
            # Not in step with anything.
            time.sleep(0.01 + (len(waits) * 7 % 10) / 1000)
    if len(waits) < 50:
        raise Failed(f"only {len(waits)} marks")
    return waits
