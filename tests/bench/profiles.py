"""The profile of waystation in each scenario, sampled by perf, including the kernel."""

import re
import signal
import subprocess
import time

from scenarios import OURS, SCENARIOS
from servers import Server

PROFILED = ("pairs_100", "pairs_50x16", "pairs_1000", "push_100", "kib_2", "kib_32", "connects")
RECORD = ("perf", "record", "--quiet", "--event", "cpu-clock", "--freq", "1999", "--call-graph", "fp")
VIEWS = (
    ("whose code it is", ("--no-children", "--sort", "dso", "--percent-limit", "1")),
    ("functions by their own time", ("--no-children", "--sort", "dso,symbol", "--percent-limit", "1.5")),
    ("functions with all that they call", ("--children", "--sort", "symbol", "--percent-limit", "5")),
)


def report(data, options, lines):
    command = ["perf", "report", "--input", data, "--stdio", "--call-graph", "none", *options]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    kept = [line.rstrip() for line in text.splitlines() if line.strip() and line[0] != "#"]
    return "\n".join(re.sub(r"[\s-]+$", "", line)[:110] for line in kept[:lines])


def profile_one(build, scratch, scenario, seconds):
    server = Server(OURS, build, scratch)
    data = server.scratch / "perf.data"
    perf = None
    try:
        command = [build / "tests/bench/load/waystation-load", *server.load_options()]
        command += ["--seconds", str(seconds), "--warmup", "0.5", *scenario.load]
        perf = subprocess.Popen(
            [*RECORD, "--output", data, "--pid", str(server.nodes[0].pid)],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        )
        time.sleep(0.5)  # until perf is attached
        subprocess.run(command, capture_output=True, timeout=120, check=True)
        perf.send_signal(signal.SIGINT)
        _, problem = perf.communicate(timeout=60)
        if not data.exists():
            raise RuntimeError(f"perf: {problem.strip()[-300:]}")
        parts = [f"== {scenario.title}"]
        parts += [f"{title}:\n{report(data, options, 22)}" for title, options in VIEWS]
        return "\n\n".join(parts) + "\n"
    finally:
        if perf and perf.poll() is None:
            perf.kill()
            perf.wait()
        server.stop()


def write(build, scratch, file, only=None):
    """Writes the reason if perf is not available."""
    parts = []
    try:
        for scenario in SCENARIOS:
            if scenario.name in (only or PROFILED) and scenario.load:
                parts.append(profile_one(build, scratch, scenario, 3))
    except (OSError, RuntimeError, subprocess.SubprocessError) as problem:
        parts.append(f"no profile: {problem}\n")
    file.write_text("\n".join(parts))
