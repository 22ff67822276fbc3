"""jims with a directory and a table of a million sessions, which firewalls ask over TLS; filled once for all rows."""
import http.client
import json
import os
import shutil
import signal
import ssl
import subprocess
import time
import urllib.parse
import urllib.request

from .lines import DOMAIN
from .process import Failed, Process, command, cpu_of, wait_until
from .syslog_peers import ADDRESS as SYSLOG, METRICS_PORT, PORT as SYSLOG_PORT, metrics, wait_for_port
from .table import Measure

ADDRESS, PORT = "127.77.60.1", 8443
NGINX = "127.77.60.2"
SESSIONS, QUICK_SESSIONS = 1_000_000, 100_000
USERS, QUICK_USERS = 50_000, 5_000
GROUPS, GROUPS_OF_USER = 1_000, 20
# One point whose network holds all addresses that wrk calls from; each address may ask 100 times a second
# (src/access/pace.rs), so the load comes from as many addresses as connections.
CALLERS, FIRST_CALLER = "127.77.64.0/18", "127.77.64.1"
SECRET = "the-secret-of-a-point"
FIRST = 0x0A400001
# For wrk to open all connections.
LEAD_MOST = 30
GUARD = 180


def address(number):
    value = FIRST + number
    return f"{value >> 24}.{value >> 16 & 255}.{value >> 8 & 255}.{value & 255}"


def _ldif(path, users):
    base = "DC=corp,DC=example,DC=com"
    with open(path, "w", encoding="ascii") as file:
        file.write(f"dn: {base}\nobjectClass: domain\n\n")
        for user in range(users):
            file.write(f"dn: CN=User {user},{base}\nobjectClass: user\nsAMAccountName: u{user:06d}\nuserAccountControl: 512\n\n")
        members = [[] for _ in range(GROUPS)]
        for user in range(users):
            for place in range(GROUPS_OF_USER):
                members[(user + place * 47) % GROUPS].append(user)
        for group, inside in enumerate(members):
            file.write(f"dn: CN=Group {group},{base}\nobjectClass: group\nsAMAccountName: Department-of-{group:04d}\n")
            file.writelines(f"member: CN=User {user},{base}\n" for user in inside)
            file.write("\n")


class Site:
    """The running Server; `shared` fills it when first asked for."""

    def __init__(self, bench):
        self.bench = bench
        self.sessions = QUICK_SESSIONS if bench.quick else SESSIONS
        self.users = QUICK_USERS if bench.quick else USERS
        self.folder = bench.memory_folder("site")
        self.process, self.full = None, False
        _ldif(self.path("directory.ldif"), self.users)
        with open(self.path("secret"), "w", encoding="ascii") as file:
            file.write(SECRET)
        os.chmod(self.path("secret"), 0o600)
        with open(self.path("jims.toml"), "w", encoding="ascii") as file:
            file.write(self._config())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process:
            self.process.end()

    def path(self, name):
        return os.path.join(self.folder, name)

    def _config(self):
        text = f"""schema = 1
[collector]
name = "bench"
state_dir = "state"
[control]
socket = "control.sock"
[metrics]
listen = ["{SYSLOG}:{METRICS_PORT}"]
[server]
listen = ["{ADDRESS}:{PORT}"]
certificate_names = ["jims.example.com"]
[[directory_service]]
name = "corp"
domain = "{DOMAIN}"
ldif_file = "directory.ldif"
[syslog]
udp = []
tcp = ["{SYSLOG}:{SYSLOG_PORT}"]
[[syslog_source]]
name = "portal"
senders = ["127.77.0.0/16"]
templates = ["portal"]
domain = "{DOMAIN}"
[[syslog_template]]
name = "portal"
[[syslog_template.rule]]
event = "logon"
pattern = '^portal: login user=(?<user>\\S+) ip=(?<address>\\S+)$'
"""
        text += (f'[[enforcement_point]]\nname = "fw"\naddresses = ["{CALLERS}"]\nclient_id = "fw"\n'
                 'client_secret_file = "secret"\n')
        return text

    def start(self):
        words = [self.bench.jims, "--config", self.path("jims.toml"), "run"]
        self.process = Process("jims", words, self.path("log"))

    def fill(self):
        """Starts it and gives it all sessions by syslog."""
        self.start()
        wait_for_port(self.process, SYSLOG, SYSLOG_PORT)
        wait_until(self.ready, GUARD, "waiting for the directory", self.process, every=0.2)
        with open(self.path("lines"), "w", encoding="ascii") as file:
            file.writelines(f"<134>{time.strftime('%b %d %H:%M:%S')} gw01 portal: login user=u{number % self.users:06d} "
                            f"ip={address(number)}\n" for number in range(self.sessions))
        self.bench.load(["tcp", "--to", f"{SYSLOG}:{SYSLOG_PORT}", "--from", "127.77.62.1", "--senders", 10,
                         "--file", self.path("lines")], GUARD)
        os.remove(self.path("lines"))
        wait_until(lambda: metrics().get(("jims_sessions", ""), 0) >= self.sessions, GUARD, "waiting for the sessions",
                   self.process, every=0.5)
        self.process.settle()

    def ready(self):
        """Whether it says that its answers can be trusted."""
        client = self.client()
        try:
            client.request("GET", "/readyz")
            return client.getresponse().status == 200
        except OSError:
            return False
        finally:
            client.close()

    def answered(self):
        """Queries that were answered well."""
        return sum(value for (name, labels), value in metrics().items()
                   if name == "jims_queries_total" and 'outcome="ok"' in labels)

    def certificate(self):
        return self.path("state/tls/server.pem"), self.path("state/tls/server.key")

    def client(self, where=ADDRESS):
        """A kept-alive connection; it trusts nothing but looks at nothing either, as wrk."""
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return http.client.HTTPSConnection(where, PORT, timeout=30, context=context,
                                           source_address=(FIRST_CALLER, 0))

    def token(self):
        client = self.client()
        body = urllib.parse.urlencode({"grant_type": "client_credentials", "client_id": "fw", "client_secret": SECRET})
        client.request("POST", "/api/oauth_token/oauth", body, {"Content-Type": "application/x-www-form-urlencoded"})
        answer = client.getresponse()
        text = answer.read()
        client.close()
        if answer.status != 200:
            raise Failed(f"no token: {answer.status} {text[:300]!r}")
        return json.loads(text)["access_token"]


def shared(bench):
    """The site of this run, filled."""
    if "site" not in bench.shared:
        # Kept before it is filled: what fails is not tried again for each row.
        bench.shared["site"] = site = bench.stays(Site(bench))
        site.fill()
        site.full = True
    if not bench.shared["site"].full:
        raise Failed("the table could not be filled, see above")
    return bench.shared["site"]


class Nginx:
    """nginx with the Server's certificate and one answer in a file, whatever is asked for."""

    def __init__(self, bench, site, body, gzip=False):
        self.bench, self.folder = bench, bench.memory_folder("nginx")
        with open(os.path.join(self.folder, "answer.json"), "wb") as file:
            file.write(body)
        for name, path in zip(("server.pem", "server.key"), site.certificate()):
            shutil.copy(path, os.path.join(self.folder, name))
        user = "user root;" if os.geteuid() == 0 else ""
        packed = "gzip on; gzip_comp_level 1; gzip_types application/json; gzip_min_length 1;" if gzip else ""
        path = os.path.join(self.folder, "nginx.conf")
        with open(path, "w", encoding="ascii") as file:
            file.write(f"""{user}
worker_processes {len(os.sched_getaffinity(0))};
pid {self.folder}/pid;
error_log {self.folder}/error.log warn;
daemon off;
events {{ worker_connections 4096; }}
http {{
  access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000000; keepalive_timeout 75;
  open_file_cache max=10 inactive=1h; default_type application/json; {packed}
  client_body_temp_path {self.folder}/b; proxy_temp_path {self.folder}/p; fastcgi_temp_path {self.folder}/f;
  uwsgi_temp_path {self.folder}/u; scgi_temp_path {self.folder}/s;
  server {{ listen {NGINX}:8080; location = /count {{ stub_status; }} }}
  server {{
    listen {NGINX}:{PORT} ssl;
    ssl_certificate {self.folder}/server.pem; ssl_certificate_key {self.folder}/server.key;
    ssl_protocols TLSv1.2 TLSv1.3;
    root {self.folder};
    location / {{ rewrite ^ /answer.json break; }}
  }}
}}
""")
        self.process = Process("nginx", ["nginx", "-c", path, "-p", self.folder, "-e", f"{self.folder}/error.log"],
                               os.path.join(self.folder, "log"))
        wait_for_port(self.process, NGINX, PORT)

    def answered(self):
        """Requests, by its own count."""
        with urllib.request.urlopen(f"http://{NGINX}:8080/count", timeout=10) as answer:
            return int(answer.read().split(b"requests")[1].split()[2])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.end()
        self.bench.forget(self.folder)


class Wrk:
    """wrk asking for many paths in turn with a token."""

    def __init__(self, bench, site, paths, connections, headers=None):
        self.bench, self.connections = bench, connections
        self.script = bench.path("wrk.lua")
        library = bench.path("from_many.so")
        if not os.path.exists(library):
            source = os.path.join(os.path.dirname(__file__), "from_many.c")
            command(["cc", "-O2", "-shared", "-fPIC", "-o", library, source, "-ldl"])
        self.environment = {**os.environ, "LD_PRELOAD": library, "FROM_FIRST": FIRST_CALLER, "FROM_COUNT": str(connections)}
        lines = {"Authorization": f"Bearer {site.token()}", **(headers or {})}
        quoted = ", ".join(f'["{name}"] = "{value}"' for name, value in lines.items())
        with open(self.script, "w", encoding="ascii") as file:
            file.write("local paths = {\n" + "".join(f'  "{path}",\n' for path in paths) + "}\n")
            file.write(f"""local headers = {{ {quoted} }}
local requests = {{}}
local at = 0
function init()
  for place, path in ipairs(paths) do requests[place] = wrk.format("GET", path, headers) end
end
function request()
  at = at % #requests + 1
  return requests[at]
end
""")

    def words(self, where, seconds):
        return ["wrk", "-t2", f"-c{self.connections}", f"-d{seconds}s", "-s", self.script, f"https://{where}:{PORT}"]

    def run(self, where, seconds, server):
        """What is answered in a window that begins when all connections are there, by the server's own count."""
        words = self.words(where, LEAD_MOST + seconds + 1)
        with subprocess.Popen(words, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as wrk:
            try:
                wait_until(lambda: established(where) >= self.connections, LEAD_MOST, f"waiting for wrk's connections to {where}",
                           server.process, every=0.1)
                # Handshakes that are still under way.
                time.sleep(1)
                cpu, own = server.process.cpu(), cpu_of(wrk.pid)
                count, begun = server.answered(), time.monotonic()
                time.sleep(seconds)
                count, took = server.answered() - count, time.monotonic() - begun
                cpu, own = server.process.cpu() - cpu, cpu_of(wrk.pid) - own
                if wrk.poll() is not None:
                    raise Failed(f"wrk ended too early: {wrk.stdout.read()}")
                wrk.send_signal(signal.SIGINT)
                text = wrk.communicate(timeout=60)[0]
            except subprocess.TimeoutExpired:
                raise Failed("wrk does not end") from None
            finally:
                wrk.kill()
        for bad in ("Non-2xx", "connect ", "unable"):
            if bad in text and "connect 0, read 0, write 0, timeout 0" not in text:
                raise Failed(f"wrk against {server.process.name}: {text}")
        if count < 1 or cpu <= 0:
            raise Failed(f"{server.process.name} answered {count} requests: {text}")
        return {"rate": count / took, "total": count, "cpu": cpu, "seconds": took, "wrk_cpu": own}


def established(where):
    """Connections to the port there, as the kernel has them."""
    wanted = "".join(f"{int(part):02X}" for part in reversed(where.split("."))) + f":{PORT:04X}"
    with open("/proc/net/tcp", encoding="ascii") as file:
        return sum(1 for words in map(str.split, file) if words[1] == wanted and words[3] == "01")


def compare(bench, figures, site, wrk, body, gzip=False):
    """Both in turn; `figures` are requests a second, and requests of one CPU second."""
    rate, of_cpu = figures
    seconds = 2 if bench.quick else 6
    with Nginx(bench, site, body, gzip) as nginx:
        sides = [("jims", ADDRESS, site), ("nginx", NGINX, nginx)]
        for _ in range(bench.rounds):
            for name, where, server in sides:
                process = server.process
                process.settle(3)
                done = wrk.run(where, seconds, server)
                rate.add(name, _measure(done["rate"], done, process))
                of_cpu.add(name, _measure(done["total"] / max(done["cpu"], 0.01), done, process))
                share = done["wrk_cpu"] / done["seconds"] / len(os.sched_getaffinity(0))
                last = f"{name}: the server took {done['cpu']:.1f} and wrk {done['wrk_cpu']:.1f} CPU seconds of {done['seconds']:.1f} s " \
                       f"({share:.0%} of the cores are wrk's)"
                bench.shared[f"share {name}"] = last
        for figure in figures:
            figure.command = f"wrk -t2 -c{wrk.connections} -d{seconds}s -s PATHS.lua https://{ADDRESS}:{PORT}"
            figure.note(f"jims and nginx: {tls(site, ADDRESS)} and {tls(site, NGINX)}; {len(body):,} bytes of body; {wrk.connections} "
                        f"connections, kept alive; {site.sessions:,} sessions")
            for name, _, _ in sides:
                figure.note(bench.shared[f"share {name}"])
            figure.note("wrk and the server share the cores, so that requests a second tell what both cost together; requests of "
                        "one CPU second of the server do not hang on wrk")
            figure.note("each connection has an address of its own (from_many.c, on both sides): jims answers one address 100 times "
                        "a second")


def _measure(value, done, process):
    return Measure(value, done["cpu"], process.peak())


def tls(site, where):
    client = site.client(where)
    client.connect()
    cipher = client.sock.cipher()
    client.close()
    return f"{cipher[1]} {cipher[0]}"
