"""The measured machine: its properties, and the load by other processes."""

import json
import os
import platform
import re
import resource
import subprocess
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
TICKS = os.sysconf("SC_CLK_TCK")


def busy_seconds():
    """Busy processor time since boot: of all programs, of interrupts, and time stolen by the
    hypervisor. Without IRQ_TIME_ACCOUNTING a kernel adds an interrupt's time to the interrupted
    program, so a run's time includes its packets. With it, a run's packets count as others'
    load: fewer results are kept, and none is wrong."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, fields[1:9])
    return (user + nice + system + irq + softirq + steal) / TICKS


def tree_seconds(pid):
    """Processor time of a process and its descendants."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        seconds = (int(fields[11]) + int(fields[12])) / TICKS
        for children in Path(f"/proc/{pid}/task").glob("*/children"):
            seconds += sum(tree_seconds(child) for child in children.read_text().split())
    except OSError:
        return 0
    return seconds


def own_seconds():
    """Processor time of this process and of its ended children."""
    use = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in use)


class Others:
    """The share of all processors that others use from construction on, while `pids` run."""

    def __init__(self, pids=()):
        self.pids = pids
        self.began = time.monotonic()
        self.before = self.of_others()

    def of_others(self):
        return busy_seconds() - own_seconds() - sum(map(tree_seconds, self.pids))

    def share(self):
        """Not rounded. Slightly below 0 if no other process ran: processor time is counted in
        ticks, a program's time exactly."""
        took = (time.monotonic() - self.began) * os.cpu_count()
        return (self.of_others() - self.before) / max(took, 0.01)


def share_of_others(seconds=5):
    others = Others()
    time.sleep(seconds)
    return others.share()


def first_line(*command):
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except OSError:
        return "not there"
    return ((done.stdout or done.stderr).strip().splitlines() or ["not there"])[0]


def commit():
    """The measured commit; `-dirty` if files differ from it, other than the results."""
    git = ("git", "-C", str(HERE))
    changed = subprocess.run(
        [*git, "status", "--porcelain", "--untracked-files=no", "--", ":/",
         ":(exclude)results", ":(exclude)RESULTS.md"],
        capture_output=True, text=True,
    ).stdout.strip()
    return first_line(*git, "rev-parse", "--short=12", "HEAD") + ("-dirty" if changed else "")


def versions():
    def package(name):
        return first_line("dpkg-query", "--show", "--showformat=${Version}", name)

    cpu = re.search(r"model name\s*:\s*(.*)", Path("/proc/cpuinfo").read_text())
    memory = re.search(r"MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text())
    def locked(peer, name):
        lock = json.loads((HERE / f"peers/{peer}/package-lock.json").read_text())
        return lock["packages"][f"node_modules/{name}"]["version"]

    return {
        "machine": f"{os.cpu_count()} × {cpu.group(1) if cpu else platform.processor()}, "
        f"{int(memory.group(1)) // 1048576} GiB",
        "kernel": platform.release(),
        "compiler": first_line("c++", "--version"),
        "waystation": commit(),
        "civetweb": package("libcivetweb1"),
        "node": first_line("node", "--version"),
        "ws": locked("ws", "ws"),
        "redis": package("redis-server"),
        **{name: locked("socketio", name) for name in ("socket.io", "@socket.io/redis-adapter", "ioredis")},
        "python3-channels-redis": package("python3-channels-redis"),
        "nginx": package("nginx"),
        "nchan": package("libnginx-mod-nchan"),
        "python3-django-channels": package("python3-django-channels"),
        "daphne": package("daphne"),
        "python3": platform.python_version(),
    }
