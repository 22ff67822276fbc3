"""Processes that a row starts: always ended by their own id, with what they used of CPU and memory."""
import os
import signal
import subprocess
import time

TICKS = os.sysconf("SC_CLK_TCK")


class Failed(Exception):
    """A row cannot be measured; the text says why."""


def wait_until(ready, seconds, what, process=None, every=0.02):
    """Waits for a condition, not longer than so many seconds, and not for a process that has ended."""
    end = time.monotonic() + seconds
    while not ready():
        if process is not None and process.ended():
            raise Failed(f"{process.name} ended while {what}:\n{process.tail()}")
        if time.monotonic() > end:
            raise Failed(f"{what}: not within {seconds} s" + (f":\n{process.tail()}" if process else ""))
        time.sleep(every)


def command(words, seconds=600, statuses=(0,), **how):
    """Runs a command to its end and gives what it printed; another exit status is a failure."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=seconds, stdin=subprocess.DEVNULL, **how)
    except subprocess.TimeoutExpired:
        raise Failed(f"{words[0]}: not within {seconds} s") from None
    except OSError as error:
        raise Failed(f"{words[0]}: {error}") from None
    if done.returncode not in statuses:
        raise Failed(f"{' '.join(map(str, words))}: status {done.returncode}\n{(done.stdout + done.stderr)[-2000:]}")
    return done.stdout


def _fields(pid):
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rsplit(")", 1)[1].split()


def tree(pid):
    """The process and its children."""
    found = [pid]
    for parent in found:
        try:
            for thread in os.listdir(f"/proc/{parent}/task"):
                with open(f"/proc/{parent}/task/{thread}/children") as file:
                    found += [int(word) for word in file.read().split()]
        except OSError:
            continue
    return found


def cpu_of(pid):
    """Seconds of processor time, user and system, of a process and its children."""
    used = 0
    for one in tree(pid):
        try:
            used += sum(int(field) for field in _fields(one)[11:13])
        except OSError:
            continue
    return used / TICKS


class Process:
    """A peer, or jims: it writes to a log, and is ended on leaving."""

    def __init__(self, name, words, log, env=None, cwd=None):
        self.name, self.log = name, log
        self.words = [str(word) for word in words]
        with open(log, "ab") as output:
            self.child = subprocess.Popen(self.words, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                                          start_new_session=True, env={**os.environ, **(env or {})}, cwd=cwd)
        self.pid = self.child.pid

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()

    def ended(self):
        return self.child.poll() is not None

    def tail(self):
        with open(self.log, "rb") as file:
            return file.read()[-2000:].decode(errors="replace")

    def cpu(self):
        """Seconds of processor time, user and system, of it and its children."""
        return cpu_of(self.pid)

    def peak(self):
        """The most memory that was resident, in bytes, of it and its children together."""
        most = 0
        for pid in tree(self.pid):
            try:
                with open(f"/proc/{pid}/status") as file:
                    most += next((int(line.split()[1]) for line in file if line.startswith("VmHWM")), 0)
            except OSError:
                continue
        return most * 1024

    def settle(self, seconds=10):
        """Waits until it has nothing to do any more: what is left over from before does not count as this round's."""
        end, before = time.monotonic() + seconds, self.cpu()
        while time.monotonic() < end:
            time.sleep(0.2)
            now = self.cpu()
            if now - before <= 0.01:
                return
            before = now

    def end(self, with_signal=signal.SIGTERM, seconds=20):
        """Asks it to end, and ends it if it does not."""
        if self.ended():
            return
        family = tree(self.pid)
        self.child.send_signal(with_signal)
        try:
            self.child.wait(seconds)
        except subprocess.TimeoutExpired:
            for pid in family:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            self.child.wait()
