"""Restart with a million sessions: from the start of the process to the first answer about one of them."""
import ssl
import time

from ..process import Failed
from ..site import GUARD, address, shared
from ..table import Figure, Measure, Target

NAMES = ["restart"]


def run(bench):
    site = shared(bench)
    clean = Figure("restart, start to first answer over TLS", "s", False, Target(at_most=2.0), command="benches/run restart")
    killed = Figure("the same after kill -9", "s", False, command="benches/run restart")
    for _ in range(bench.rounds):
        for figure, ending in ((clean, 15), (killed, 9)):
            token = site.token()
            site.process.settle()
            site.process.end(ending, 60)
            _start(site, token, figure)
    clean.note(f"{site.sessions:,} sessions of {site.users:,} users; asked in a loop from outside: connect, TLS, IP query; CPU is "
               "what the process has used until then; the files are in memory")
    clean.note("the directory is an LDIF file of " f"{site.users:,} users with 20 groups each, read again meanwhile")
    yield clean
    yield killed


def _start(site, token, figure):
    begun = time.monotonic()
    site.start()
    path = f"/api/user_query/v2/ip/{address(site.sessions // 2)}"
    while True:
        if time.monotonic() - begun > GUARD or site.process.ended():
            raise Failed(f"no answer after a restart: {site.process.tail()}")
        try:
            client = site.client()
            client.request("GET", path, headers={"Authorization": f"Bearer {token}"})
            answer = client.getresponse()
            body = answer.read()
            client.close()
        except (OSError, ssl.SSLError):
            time.sleep(0.005)
            continue
        if answer.status == 401:
            # After a crash tokens of the last moments are gone.
            token = site.token()
        elif answer.status == 200 and b"u0" in body:
            break
        time.sleep(0.005)
    figure.add("jims", Measure(time.monotonic() - begun, site.process.cpu(), site.process.peak()))
