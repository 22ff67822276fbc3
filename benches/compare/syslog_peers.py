"""rsyslog in two ways, syslog-ng and jims, each hearing the same lines; the peers write to a file in memory, as jims keeps its state."""
import json
import os
import re
import urllib.request

from .lines import DOMAIN, jims_template, rsyslog_regexes, rsyslog_rules, syslog_ng_patterns
from .process import Failed, Process, command, wait_until

ADDRESS = "127.77.61.1"
PORT, METRICS_PORT = 5514, 9592
# Asked for by all three; the kernel gives what net.core.rmem_max allows, or all of it to root.
RECEIVE_BYTES = 32 << 20


def wait_for_port(process, address, port, seconds=30, kind="tcp"):
    """Waits until the process listens, without connecting to it."""
    parts = address.split(".")
    wanted = "".join(f"{int(part):02X}" for part in reversed(parts)) + f":{port:04X}"
    state = {"tcp": "0A", "udp": "07"}[kind]

    def listens():
        with open(f"/proc/net/{kind}", encoding="ascii") as file:
            return any(words[1] == wanted and words[3] == state for words in map(str.split, file))
    wait_until(listens, seconds, f"waiting for {process.name} to listen", process)


def kernel_drops(address, port):
    """Datagrams that the kernel had no room for, of all sockets at the port; lost with the socket."""
    wanted = "".join(f"{int(part):02X}" for part in reversed(address.split("."))) + f":{port:04X}"
    with open("/proc/net/udp", encoding="ascii") as file:
        return sum(int(words[-1]) for words in map(str.split, file) if words[1] == wanted)


def metrics(address=ADDRESS, port=METRICS_PORT):
    """Numbers of the metrics page: (name, labels) -> value."""
    with urllib.request.urlopen(f"http://{address}:{port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    found = {}
    for line in text.splitlines():
        match = re.fullmatch(r"(\w+)(?:\{(.*)\})? ([0-9.e+-]+)", line)
        if match:
            found[match[1], match[2] or ""] = float(match[3])
    return found


def events(page, *outcomes):
    """How many events there were; all, or those that came to something."""
    chosen = [f'outcome="{outcome}"' for outcome in outcomes]
    return sum(value for (name, labels), value in page.items()
               if name == "jims_events_total" and (not chosen or any(one in labels for one in chosen)))


class Hearer:
    """One of the three, for one round, in a folder of its own in memory."""

    def __init__(self, bench, kind):
        self.bench, self.kind = bench, kind
        self.folder = bench.memory_folder(type(self).__name__)
        self.process = Process(self.name, self.words(), os.path.join(self.folder, "log"))

    def __enter__(self):
        try:
            wait_for_port(self.process, ADDRESS, PORT, kind=self.kind)
            self.process.settle(3)
        except BaseException:
            self.process.end()
            raise
        return self

    def __exit__(self, *_):
        self.process.end()
        self.bench.forget(self.folder)

    def path(self, name):
        return os.path.join(self.folder, name)

    def write(self, name, text, mode=0o644):
        with open(self.path(name), "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(self.path(name), mode)
        return self.path(name)


class Jims(Hearer):
    name = "jims"

    def words(self):
        listen = {"tcp": ("[]", f'["{ADDRESS}:{PORT}"]'), "udp": (f'["{ADDRESS}:{PORT}"]', "[]")}[self.kind]
        config = f"""schema = 1
[collector]
name = "bench"
state_dir = "state"
[control]
socket = "control.sock"
[metrics]
listen = ["{ADDRESS}:{METRICS_PORT}"]
[syslog]
udp = {listen[0]}
tcp = {listen[1]}
[[syslog_source]]
name = "gateways"
senders = ["127.77.0.0/16"]
templates = ["gateways"]
domain = "{DOMAIN}"
""" + jims_template()
        return [self.bench.jims, "--config", self.write("jims.toml", config), "run"]

    def arrived(self, lines):
        """How many lines became events that were applied."""
        return int(events(metrics()))

    def check(self, lines):
        """The page tells totals every few seconds."""
        def sessions():
            return metrics().get(("jims_sessions", ""), 0)
        wait_until(lambda: sessions() >= lines.count / 2, 30, "waiting for the sessions of the lines", self.process, every=0.5)
        return f"{sessions():,.0f} sessions"

    def own_drops(self):
        """What jims itself says was lost, in the kernel and in its queue."""
        status = command([self.bench.jims, "--config", self.path("jims.toml"), "status", "--json"], statuses=(0, 1))
        return sum(sum(source["dropped"].values()) for source in json.loads(status)["producers"])


class Writer(Hearer):
    """A peer, which writes a line for each."""

    def output_bytes(self):
        try:
            return os.stat(self.path("out")).st_size
        except FileNotFoundError:
            return 0

    def arrived(self, lines):
        """All, if the file is as long as it must be; else what it holds is counted by `check`."""
        return lines.count if self.output_bytes() >= lines.output_bytes else 0

    def check(self, lines):
        return f"{self.written():,} lines written"

    def written(self):
        """Lines with a user and an address."""
        whole = re.compile(rb"^[0-9A-Za-z.-]+ [0-9.]+$", re.M)
        with open(self.path("out"), "rb") as file:
            return len(whole.findall(file.read()))


class Rsyslog(Writer):
    """With its own parser of rules, which knows no regular expressions."""
    name = "rsyslog, mmnormalize"

    def extracting(self):
        """What is loaded, and what takes user and address out of a line."""
        rules = self.write("rules", rsyslog_rules())
        return 'module(load="mmnormalize")', f'action(type="mmnormalize" ruleBase="{rules}")'

    def words(self):
        modules = os.path.dirname(self.bench.peers.under("usr/lib/*/rsyslog/imtcp.so"))
        loaded, extracting = self.extracting()
        listener = {
            "tcp": 'module(load="imptcp" threads="2")\n'
                   f'input(type="imptcp" address="{ADDRESS}" port="{PORT}" ruleset="all")',
            "udp": 'module(load="imudp" threads="2" batchSize="128")\n'
                   f'input(type="imudp" address="{ADDRESS}" port="{PORT}" rcvbufSize="{RECEIVE_BYTES >> 1}" ruleset="all")',
        }[self.kind]
        config = f"""global(workDirectory="{self.folder}" net.enableDNS="off")
{loaded}
{listener}
template(name="pair" type="list") {{
  property(name="$!user") constant(value=" ") property(name="$!address") constant(value="\\n")
}}
ruleset(name="all" queue.type="FixedArray" queue.size="500000" queue.dequeueBatchSize="2048" queue.workerThreads="2"
        queue.workerThreadMinimumMessages="20000") {{
  {extracting}
  action(type="omfile" file="{self.path('out')}" template="pair" asyncWriting="off" ioBufferSize="256k"
         flushOnTXEnd="on")
}}
"""
        path = self.write("rsyslog.conf", config)
        program = self.bench.peers.under("usr/sbin/rsyslogd")
        return [program, "-n", "-f", path, "-i", self.path("pid"), "-M", modules]


class RsyslogRegex(Rsyslog):
    """With two regular expressions for a line, chosen by its program."""
    name = "rsyslog, regex"

    def extracting(self):
        return "", rsyslog_regexes()


class SyslogNg(Writer):
    name = "syslog-ng, patterndb"

    def words(self):
        library = os.path.dirname(self.bench.peers.under("usr/lib/syslog-ng/libsyslog-ng-*.so.0"))
        modules = os.path.dirname(self.bench.peers.under("usr/lib/syslog-ng/*/libdbparser.so"))
        number = os.path.basename(modules)
        patterns = self.write("patterns.xml", syslog_ng_patterns())
        source = {
            "tcp": f'network(ip("{ADDRESS}") port({PORT}) transport("tcp") flags(syslog-protocol) max-connections(20)'
                   " log-iw-size(200000) log-fetch-limit(2000) keep-hostname(yes) use-dns(no))",
            "udp": f'network(ip("{ADDRESS}") port({PORT}) transport("udp") flags(syslog-protocol)'
                   f" so-rcvbuf({RECEIVE_BYTES}) log-iw-size(200000) log-fetch-limit(2000) keep-hostname(yes) use-dns(no))",
        }[self.kind]
        config = f"""@version: {number}
options {{ threaded(yes); stats-freq(0); use-dns(no); keep-hostname(yes); time-reopen(1); log-fifo-size(1000000); }};
source s {{ {source}; }};
parser p {{ db-parser(file("{patterns}")); }};
destination d {{ file("{self.path('out')}" template("${{user}} ${{address}}\\n") flush-lines(1000) log-fifo-size(1000000)); }};
log {{ source(s); parser(p); destination(d); flags(flow-control); }};
"""
        path = self.write("syslog-ng.conf", config)
        program = self.bench.peers.under("usr/sbin/syslog-ng")
        self.environment = {"LD_LIBRARY_PATH": library}
        return ["env", f"LD_LIBRARY_PATH={library}", program, "-F", "--no-caps", "-f", path,
                "--module-path", modules, "--persist-file", self.path("persist"), "--pidfile", self.path("pid"),
                "--control", self.path("ctl")]


ALL = [Jims, RsyslogRegex, SyslogNg, Rsyslog]
