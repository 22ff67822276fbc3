"""The first reading of an Active Directory, beside ldapsearch of the same attributes of the same objects."""
import json
import os
import resource
import shutil
import socket
import subprocess
import time

from ..process import Failed, Process, command, wait_until
from ..table import Figure, Measure, Target

NAMES = ["first-read"]
CONTROLLER, DOMAIN = "127.77.62.10", "corp.example.com"
# So many that filling takes some minutes; 100,000 would take much longer to fill than to read.
USERS, QUICK_USERS = 20_000, 1_000
USER, PASSWORD = f"svc-jims@{DOMAIN}", "Svc-Jims!1"
FILTERS = ["(sAMAccountType=805306368)", "(sAMAccountType=805306369)", "(objectCategory=group)"]
ATTRIBUTES = ["objectClass", "objectGUID", "objectSid", "sAMAccountName", "userPrincipalName", "userAccountControl", "primaryGroupID",
              "dNSHostName", "operatingSystem", "operatingSystemVersion", "member"]
PAGE = 1_000
# As jims asks: members with their identities (MS-ADTS 3.1.1.3.4.1.5).
EXTENDED_NAMES = "!1.2.840.113556.1.4.529=::MAMCAQA="
GUARD = 300


def run(bench):
    if os.geteuid() != 0:
        raise Failed("Samba listens on ports below 1024: run as root")
    users = QUICK_USERS if bench.quick else USERS
    took = Figure(f"first read of a Samba directory, {users:,} users", "s", False, Target(ratio_at_most=1.1))
    used = Figure("the same, CPU seconds of the client", "CPU s", False, Target(at_most=2))
    with Samba(bench, users) as samba:
        for turn in range(2 if bench.quick else 4):
            for side, read in (("jims", _jims), ("ldapsearch", _ldapsearch)):
                seconds, cpu, peak = read(bench, samba, users)
                # The first of each warms Samba's caches.
                if turn:
                    took.add(side, Measure(seconds, cpu, peak))
                    used.add(side, Measure(cpu, cpu, peak))
    for figure in (took, used):
        figure.command = f"benches/run {NAMES[0]}"
        figure.note(f"{users:,} users, {users // 4:,} computers and 12 groups nested ten deep, one of them with everybody in it; "
                    f"filling Samba took {samba.filling:.0f} s, which is why there are not more; simple bind over LDAPS, pages of "
                    f"{PAGE:,}; Samba works on the same cores and takes most of the time on both sides")
        figure.note("jims: from the start of the process until it is ready, everything in its table; ldapsearch: the same three "
                    "searches one after the other, members with their GUIDs as for jims, written to a file in memory")
        yield figure


class Samba:
    """A domain controller of its own, filled."""

    def __init__(self, bench, users):
        # Not in memory: as a directory has it.
        self.folder = os.path.join(bench.folder, "samba")
        os.makedirs(self.folder)
        self.users, self.filling = users, 0.0

    def __enter__(self):
        try:
            command(["tests/lab/ad.sh", "up", self.folder, DOMAIN, CONTROLLER], 120)
            begun = time.monotonic()
            command(["/usr/bin/python3", "-B", "tests/lab/fill.py", self.folder, str(self.users)], 900)
            self.filling = time.monotonic() - begun
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        command(["tests/lab/ad.sh", "down", self.folder], 60)
        shutil.rmtree(self.folder, ignore_errors=True)

    def authority(self):
        return os.path.join(self.folder, "tls/ca.pem")


def _config(folder, samba):
    return f"""schema = 1
[collector]
name = "bench"
state_dir = "{folder}/state"
[control]
socket = "{folder}/control.sock"
[[directory_service]]
name = "corp"
domain = "{DOMAIN}"
hosts = ["{CONTROLLER}"]
ca_file = "{samba.authority()}"
user = "{USER}"
password_file = "{folder}/password"
page_size = {PAGE}
"""


def _jims(bench, samba, users):
    folder = bench.jims_folder("first-read", lambda folder: _config(folder, samba), PASSWORD)
    begun = time.monotonic()
    with Process("jims", [bench.jims, "--config", f"{folder}/jims.toml", "run"], f"{folder}/log") as process:
        wait_until(lambda: os.path.exists(f"{folder}/control.sock"), GUARD, "waiting for the control socket", process)
        with socket.socket(socket.AF_UNIX) as control:
            control.connect(f"{folder}/control.sock")
            stream = control.makefile("rwb")
            stream.readline()
            wait_until(lambda: _is_ready(stream, users), GUARD, "waiting for the directory", process)
        seconds, cpu, peak = time.monotonic() - begun, process.cpu(), process.peak()
    bench.forget(folder)
    return seconds, cpu, peak


def _is_ready(stream, users):
    stream.write(b'{"request": "status"}\n')
    stream.flush()
    status = json.loads(stream.readline())
    status = status.get("status", status)
    return status["collector"]["state"] == "ready" and status["directory"]["users"] >= users


def _ldapsearch(bench, samba, users):
    output = bench.path("ldif")
    base = ",".join(f"DC={label}" for label in DOMAIN.split("."))
    environment = {**os.environ, "LDAPTLS_CACERT": samba.authority()}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begun = time.monotonic()
    with open(output, "wb") as file:
        for wanted in FILTERS:
            words = ["ldapsearch", "-x", "-LLL", "-o", "ldif-wrap=no", "-H", f"ldaps://{CONTROLLER}", "-D", USER, "-w", PASSWORD,
                     "-b", base, "-E", f"pr={PAGE}/noprompt", "-E", EXTENDED_NAMES, wanted, *ATTRIBUTES]
            done = subprocess.run(words, stdout=file, stderr=subprocess.PIPE, env=environment, timeout=GUARD, check=False)
            if done.returncode != 0:
                raise Failed(f"ldapsearch: status {done.returncode} {done.stderr[-500:]!r}")
    seconds = time.monotonic() - begun
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    with open(output, "rb") as file:
        found = sum(1 for line in file if line.startswith(b"sAMAccountName: u0"))
    os.remove(output)
    if found != users:
        raise Failed(f"ldapsearch found {found} users")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return seconds, cpu, None
