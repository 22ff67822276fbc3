"""A thousand computers that answer at once are asked over WMI who is signed on: jims beside impacket's client."""
import json
import os
import re
import socket
import subprocess
import time

from ..process import Failed, Process, command, cpu_of, wait_until
from ..syslog_peers import metrics, wait_for_port
from ..table import Figure, Measure, Target

NAMES = ["pc-probes"]
# Not where the site of other rows listens.
ADDRESS, SYSLOG_PORT, METRICS_PORT = "127.77.62.5", 5514, 9592
COMPUTERS, QUICK_COMPUTERS = 1_000, 200
# Of one network; so many networks from this one on.
IN_NETWORK, NETWORKS = 250, 4
FIRST_NETWORK = 48
IMPACKETS = 16
USER, SHORT, DOMAIN, PASSWORD = "svc-jims", "CORP", "corp.example.com", "a-secret"
# How old a logon is: its logoff time of a minute is over in some seconds.
AGE = 54
GUARD = 300


def run(bench):
    if os.geteuid() != 0:
        raise Failed("computers listen on port 135: run as root")
    count = QUICK_COMPUTERS if bench.quick else COMPUTERS
    python = bench.peers.python()
    rate = Figure(f"{count:,} PC probes, computers that answer at once", "/s", True, Target(ratio_at_least=20))
    of_cpu = Figure("the same, probes of one CPU second of the client", "/CPU s", True)
    peers_cpu = {}
    for _ in range(1 if bench.quick else 2):
        for side, ask in (("jims", _jims), ("impacket", _impacket)):
            with Computers(bench, python, count) as computers:
                before = computers.cpu()
                seconds, used, peak = ask(bench, python, count)
                peers_cpu[side] = (computers.cpu() - before) / seconds
                rate.add(side, Measure(count / seconds, used, peak))
                of_cpu.add(side, Measure(count / max(used, 0.01), used, peak))
    cores = len(os.sched_getaffinity(0))
    for figure in (rate, of_cpu):
        figure.command = f"benches/run {NAMES[0]}"
        figure.note(f"the computers are tests/lab/peers/wmi_peer.py in two processes on the same cores, in Python, which took "
                    f"{peers_cpu['jims'] / cores:.0%} of all {cores} cores while jims asked and {peers_cpu['impacket'] / cores:.0%} while "
                    "impacket did: where that is much, the computers are what limits probes a second, and the second line tells "
                    "what the clients cost")
        figure.note("NTLM, packet privacy, activation, login, the same three queries on both sides; jims asks because sessions "
                    "expired, 256 at once, and counts from the first probe that runs to the last answer in the table; impacket "
                    f"asks in {IMPACKETS} processes from lists, and starting them is not counted")
        yield figure


def _networks(count):
    return [(FIRST_NETWORK + place, min(IN_NETWORK, count - place * IN_NETWORK)) for place in range(NETWORKS) if
            count > place * IN_NETWORK]


def _addresses(count):
    return [f"127.77.{network}.{host}" for network, hosts in _networks(count) for host in range(1, hosts + 1)]


class Computers:
    """All computers, in two processes."""

    def __init__(self, bench, python, count):
        networks = _networks(count)
        halves = [networks[0::2], networks[1::2]] if len(networks) > 1 else [networks]
        self.processes, self.logs = [], []
        for half in halves:
            ranges = ",".join(f"127.77.{network}.1-127.77.{network}.{hosts}" for network, hosts in half)
            words = [python, "-B", "tests/lab/peers/wmi_peer.py", "--addresses", ranges, "--user", f"{USER}:{PASSWORD}",
                     "--mechanisms", "ntlm"]
            self.processes.append(subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        try:
            for process in self.processes:
                line = process.stdout.readline()
                if not line.startswith("ready "):
                    raise Failed(f"the computers said {line!r}")
                # Somebody is at each computer, and nobody else.
                _tell(json.loads(line[6:])["control"], {"cmd": "set", "state": {"console_user": f"{SHORT}\\alice", "sessions": []}})
        except BaseException:
            self.__exit__()
            raise

    def cpu(self):
        return sum(cpu_of(process.pid) for process in self.processes)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in self.processes:
            process.stdin.close()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _tell(control, words):
    with socket.create_connection(tuple(control), timeout=30) as connection:
        stream = connection.makefile("rw")
        stream.write(json.dumps(words) + "\n")
        stream.flush()
        answer = json.loads(stream.readline())
    if not answer.get("ok"):
        raise Failed(f"the computers said {answer}")


def _impacket(bench, python, count):
    """Seconds, seconds of processor time, no memory."""
    first = f"127.77.{FIRST_NETWORK}.1"
    said = command([python, "-B", "benches/impacket_wmi.py", first, str(count), str(IMPACKETS), USER, SHORT, PASSWORD], GUARD)
    asked, seconds, used = map(float, said.split())
    if asked != count:
        raise Failed(f"impacket asked {asked}")
    return seconds, used, None


def _config(folder):
    return f"""schema = 1
[collector]
name = "bench"
state_dir = "{folder}/state"
[session]
logoff_time = "1m"
[control]
socket = "{folder}/control.sock"
[metrics]
listen = ["{ADDRESS}:{METRICS_PORT}"]
[[domain]]
name = "{DOMAIN}"
netbios = "{SHORT}"
[syslog]
udp = []
tcp = ["{ADDRESS}:{SYSLOG_PORT}"]
[[syslog_source]]
name = "portal"
senders = ["127.77.0.0/16"]
templates = ["portal"]
domain = "{DOMAIN}"
time = "message"
timezone = "UTC"
[[syslog_template]]
name = "portal"
[[syslog_template.rule]]
event = "logon"
pattern = '^portal: login user=(?<user>\\S+) ip=(?<address>\\S+)$'
[pc_probe]
networks = ["127.77.{FIRST_NETWORK}.0/22"]
auth = "ntlm"
per_subnet = 256
[[pc_probe.credential]]
user = '{SHORT}\\{USER}'
password_file = "{folder}/password"
domain = "{DOMAIN}"
"""


def _jims(bench, _, count):
    """Sessions of alice expire, and all computers say that she is there."""
    folder = bench.jims_folder("probes", _config, PASSWORD)
    with Process("jims", [bench.jims, "--config", f"{folder}/jims.toml", "run"], f"{folder}/log") as process:
        wait_for_port(process, ADDRESS, SYSLOG_PORT)
        stamp = time.strftime("%b %d %H:%M:%S", time.gmtime(time.time() - AGE))
        with socket.create_connection((ADDRESS, SYSLOG_PORT), source_address=("127.77.62.1", 0)) as sender:
            sender.sendall("".join(f"<134>{stamp} gw01 portal: login user=alice ip={address}\n"
                                   for address in _addresses(count)).encode())
        wait_until(lambda: _number("jims_sessions") >= count, 5, "waiting for the sessions", process)
        wait_until(lambda: _number("jims_probe_running") + _answers() > 0, GUARD, "waiting for the first probe", process, every=0.005)
        begun, before = time.monotonic(), process.cpu()
        wait_until(lambda: _answers() >= count, GUARD, "waiting for the last probe", process)
        took, used, peak = time.monotonic() - begun, process.cpu() - before, process.peak()
        told = {labels: value for (name, labels), value in metrics(ADDRESS, METRICS_PORT).items() if name == "jims_probe_total"}
        well = sum(value for labels, value in told.items() if re.search('answer="same-user"', labels))
        if well != count:
            raise Failed(f"the computers answered {told}")
    bench.forget(folder)
    return took, used, peak


def _number(wanted):
    return sum(value for (name, _), value in metrics(ADDRESS, METRICS_PORT).items() if name == wanted)


def _answers():
    return _number("jims_probe_total")
