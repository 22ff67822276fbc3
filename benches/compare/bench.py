"""What all rows share: where to write, the built programs, the peers; and what the machine is."""
import contextlib
import datetime
import json
import os
import platform
import shutil
import tempfile

from .peers import Peers
from .process import command

MEMORY = "/dev/shm"
# Not --benches: that also builds the library and the binary as benchmarks.
BENCHES = ["--bench", "load", "--bench", "event_log", "--bench", "core"]


class Bench:
    """A run."""

    def __init__(self, given):
        self.quick = given.quick
        self.rounds = 2 if given.quick else 3
        self.shared = {}
        self._leaving = contextlib.ExitStack()

    def __enter__(self):
        try:
            self.folder = tempfile.mkdtemp(prefix="jims-bench.")
            self._leaving.callback(shutil.rmtree, self.folder, ignore_errors=True)
            # What is written while something is measured must not wait for a disk, on neither side.
            self.memory = tempfile.mkdtemp(prefix="jims-bench.", dir=MEMORY if os.path.isdir(MEMORY) else None)
            self._leaving.callback(shutil.rmtree, self.memory, ignore_errors=True)
            os.chmod(self.memory, 0o755)
            os.chmod(self.folder, 0o755)
            self._build()
            self.peers = Peers(self.folder)
        except BaseException:
            self._leaving.close()
            raise
        return self

    def __exit__(self, *_):
        self._leaving.close()

    def _build(self):
        """The release binary and the benchmarks, by one command so that nothing is compiled twice."""
        print("building", flush=True)
        said = command(["cargo", "build", "--quiet", "--release", "--bins", *BENCHES, "--message-format", "json"], seconds=3600)
        self.programs = {}
        for line in said.splitlines():
            message = json.loads(line)
            if message.get("reason") == "compiler-artifact" and message.get("executable"):
                self.programs[message["target"]["name"], message["target"]["kind"][0]] = message["executable"]
        metadata = json.loads(command(["cargo", "metadata", "--format-version", "1", "--no-deps"]))
        self.target = metadata["target_directory"]
        self.jims = self.programs["jims", "bin"]

    load_name = "cargo bench --bench load --"

    def load(self, words, seconds):
        """Sends lines, and gives what the sender says of itself."""
        said = command([self.programs["load", "bench"], *map(str, words)], seconds)
        return json.loads(said.strip().splitlines()[-1])

    def stays(self, resource):
        """Something that lives until the run ends."""
        return self._leaving.enter_context(resource)

    def path(self, name):
        """A file in memory."""
        return os.path.join(self.memory, name)

    def memory_folder(self, name):
        """A new folder in memory."""
        return tempfile.mkdtemp(prefix=f"{name}.", dir=self.memory)

    def jims_folder(self, name, config, password):
        """A new folder in memory with a configuration of it, a function of its path, and a file with a password."""
        folder = self.memory_folder(name)
        for file, text in (("password", password), ("jims.toml", config(folder))):
            with open(os.path.join(folder, file), "w", encoding="ascii") as written:
                written.write(text)
            os.chmod(os.path.join(folder, file), 0o600)
        return folder

    def forget(self, folder):
        shutil.rmtree(folder, ignore_errors=True)


def _first(path, start):
    with open(path, encoding="utf-8") as file:
        return next((line.split(":", 1)[1].strip() for line in file if line.startswith(start)), "unknown")


def about(bench):
    """Machine, versions, date."""
    with open("/proc/loadavg", encoding="ascii") as file:
        load = file.read().split()[0]
    commit = command(["git", "rev-parse", "--short", "HEAD"]).strip() if os.path.exists(".git") else "unknown"
    with open("/etc/os-release", encoding="utf-8") as file:
        system = next((line.split("=", 1)[1].strip().strip('"') for line in file if line.startswith("PRETTY_NAME")), "Linux")
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "jims": f"{command([bench.jims, '--version']).strip()}, commit {commit}",
        "processor": f"{_first('/proc/cpuinfo', 'model name')}, {len(os.sched_getaffinity(0))} cores",
        "memory": f"{int(_first('/proc/meminfo', 'MemTotal').split()[0]) / 1e6:.0f} GB",
        "system": f"{system}, Linux {platform.release()}",
        "peers": ", ".join(f"{name} {number}" for name, number in sorted(bench.peers.versions.items()) if number),
        "load at the end": load,
        "mode": "quick" if bench.quick else "full",
    }
