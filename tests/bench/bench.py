"""Runs the scenarios on every server in turn and writes down what came of it."""

import argparse
import base64
import json
import os
import platform
import re
import shutil
import signal
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import plots
from scenarios import FIGURES, OURS, SCENARIOS

HERE = Path(__file__).resolve().parent
SECRET = b"a secret of thirty-two bytes, no less"

# Every limit is on, and raised so that the load passes.
LIMITS = {
    "max_connections": 20000,
    "max_connections_per_address": 20000,
    "max_connections_per_user": 1000,
    "messages_per_second": 1000000,
    "message_burst": 1000000,
}

NAMES = {
    OURS: "waystation",
    "waystation_spin": "waystation, spinning 100 µs",
    "waystation_undisturbed": "waystation, undisturbed",
    "waystation_guarded": "waystation, JWT and audit",
    "ws": "Node ws",
    "nchan": "nchan",
    "channels": "Django Channels",
}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """One server, running from construction to stop()."""

    def __init__(self, kind, build, scratch):
        self.kind = kind
        self.port = free_port()
        self.scratch = Path(tempfile.mkdtemp(dir=scratch))
        self.audit = None
        if kind.startswith(OURS):
            command = self.waystation(build)
        else:
            command = [str(HERE / "peers" / kind / "start.sh"), str(self.port)]
        self.log = open(self.scratch / "log", "w+b")
        self.process = subprocess.Popen(
            command,
            stdout=self.log,
            stderr=self.log,
            env={**os.environ, "TMPDIR": str(self.scratch)},
        )
        self.wait_until_up()

    def waystation(self, build):
        command = [str(build / "embed" / "waystation"), "serve", "--www", ""]
        command += ["--listen", f"127.0.0.1:{self.port}", "--log-level", "warning"]
        for key, value in LIMITS.items():
            command += ["--" + key.replace("_", "-"), str(value)]
        if self.kind == "waystation_spin":
            command += ["--busy-poll-microseconds", "100"]
        if self.kind == "waystation_guarded":
            key = self.scratch / "keys"
            key.touch(mode=0o600)
            key.write_bytes(base64.b64encode(SECRET) + b"\n")
            self.audit = self.scratch / "audit.db"
            command += ["--auth", "jwt", "--jwt-key-file", str(key), "--audit", str(self.audit)]
        return command

    def wait_until_up(self):
        for _ in range(300):
            if self.process.poll() is not None:
                break
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                time.sleep(0.1)
                return
            except OSError:
                time.sleep(0.05)
        self.log.seek(0)
        text = self.log.read().decode(errors="replace")
        self.stop()
        raise RuntimeError(f"{self.kind} did not start: {text[-500:]}")

    def stop(self):
        if self.process.returncode is not None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()

    def rows_audited(self):
        """How many pushes the audit knows of; after stop()."""
        database = sqlite3.connect(self.audit)
        query = "SELECT count(*) FROM deliveries WHERE outcome = 'pushed'"
        (count,) = database.execute(query).fetchone()
        database.close()
        return count


def measure(build, scratch, scenario, kind, more, scale):
    server = Server(kind, build, scratch)
    try:
        command = [str(build / "tests/bench/load/waystation-load")]
        command += ["--port", str(server.port), "--pid", str(server.process.pid)]
        command += ["--seconds", str(scenario.seconds * scale)]
        command += ["--warmup", str(scenario.warmup * scale), *scenario.load]
        if kind == "nchan":
            command += ["--reply", "as_sent"]
        if kind == "waystation_guarded":
            secret = server.scratch / "secret"
            secret.write_bytes(SECRET)
            command += ["--token-key", str(secret)]
        # What only one server is asked for replaces what all are.
        for option, value in zip(more[::2], more[1::2]):
            if option in command:
                command[command.index(option) + 1] = value
            else:
                command += [option, value]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        if done.returncode != 0:
            return {"failed": done.stderr.strip()[-400:]}
        report = json.loads(done.stdout)
        if report["pairs"] and not report["messages"]:
            return {"failed": "no message came back in the measured time"}
        if server.audit and report["route"] == "push":
            server.stop()
            rows = server.rows_audited()
            if rows != report["messages_in_all"]:
                return {"failed": f"{rows} rows of {report['messages_in_all']} messages"}
        return report
    except subprocess.TimeoutExpired:
        return {"failed": "not done in five minutes"}
    finally:
        server.stop()
        shutil.rmtree(server.scratch, ignore_errors=True)


def has_audit(build):
    help_text = subprocess.run(
        [build / "embed" / "waystation", "serve", "--help"], capture_output=True, text=True
    ).stdout
    return "--audit" in help_text


def medians(raw):
    """{scenario: {variant: {figure: median}}}, and why where there is none."""
    table = {}
    last = None
    for scenario in SCENARIOS:
        source = scenario if scenario.load else last
        last = source
        row = {}
        for kind, _ in scenario.variants:
            runs = [r for r in raw if r["scenario"] == source.name and r["server"] == kind]
            good = [r["report"] for r in runs if "failed" not in r["report"]]
            if not runs:
                continue
            if not good:
                row[kind] = {"failed": runs[0]["report"]["failed"]}
                continue
            _, _, read = FIGURES[scenario.figure]
            values = [read(report) for report in good]
            row[kind] = {
                "value": statistics.median(values),
                "least": min(values),
                "most": max(values),
                "failures": len(runs) - len(good),
            }
            if good[0]["messages"]:
                row[kind]["cpu_us"] = statistics.median(map(FIGURES["cpu"][2], good))
                row[kind]["p99_us"] = statistics.median(map(FIGURES["p99"][2], good))
        if row:
            table[scenario.name] = row
    return table


def verdicts(table):
    for scenario in SCENARIOS:
        row = table.get(scenario.name, {})
        for ours, other, sense, factor in scenario.aims:
            if "value" not in row.get(ours, {}):
                continue
            if other is None:
                ratio = row[ours]["value"]
            elif "value" in row.get(other, {}):
                ratio = row[ours]["value"] / row[other]["value"]
            else:
                continue
            reached = ratio >= factor if sense == ">" else ratio <= factor
            yield scenario, ours, other, sense, factor, ratio, reached


def number(value):
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if value >= 10 else f"{value:.2f}"


def markdown(table):
    lines = ["| scenario | server | median | least to most | CPU µs a message | p99 µs |"]
    lines.append("|---|---|--:|--:|--:|--:|")
    for scenario in SCENARIOS:
        unit = FIGURES[scenario.figure][0]
        for kind, row in table.get(scenario.name, {}).items():
            if "failed" in row:
                lines.append(f"| {scenario.title} | {NAMES[kind]} | failed: {row['failed']} | | | |")
                continue
            cpu = number(row["cpu_us"]) if "cpu_us" in row else ""
            p99 = number(row["p99_us"]) if "p99_us" in row else ""
            lines.append(
                f"| {scenario.title} | {NAMES[kind]} | {number(row['value'])} {unit} "
                f"| {number(row['least'])} to {number(row['most'])} | {cpu} | {p99} |"
            )
    lines += ["", "| scenario | of | against | aim | ratio | |", "|---|---|---|--:|--:|---|"]
    for scenario, ours, other, sense, factor, ratio, reached in verdicts(table):
        against = NAMES[other] if other else FIGURES[scenario.figure][0]
        sign = "≥" if sense == ">" else "≤"
        lines.append(
            f"| {scenario.title}, {FIGURES[scenario.figure][0]} | {NAMES[ours]} | {against} "
            f"| {sign} {factor:g} | {number(ratio)} | {'reached' if reached else 'missed'} |"
        )
    return "\n".join(lines)


def versions():
    def first_line(*command):
        try:
            done = subprocess.run(command, capture_output=True, text=True)
        except OSError:
            return "not there"
        return (done.stdout or done.stderr).strip().splitlines()[0]

    def package(name):
        return first_line("dpkg-query", "--show", "--showformat=${Version}", name)

    cpu = re.search(r"model name\s*:\s*(.*)", Path("/proc/cpuinfo").read_text())
    memory = re.search(r"MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text())
    lock = json.loads((HERE / "peers/ws/package-lock.json").read_text())
    return {
        "machine": f"{os.cpu_count()} × {cpu.group(1) if cpu else platform.processor()}, "
        f"{int(memory.group(1)) // 1048576} GiB",
        "kernel": platform.release(),
        "compiler": first_line("c++", "--version"),
        "waystation": first_line("git", "-C", str(HERE), "rev-parse", "--short", "HEAD"),
        "civetweb": package("libcivetweb1"),
        "node": first_line("node", "--version"),
        "ws": lock["packages"]["node_modules/ws"]["version"],
        "nginx": package("nginx"),
        "nchan": package("libnginx-mod-nchan"),
        "python3-django-channels": package("python3-django-channels"),
        "daphne": package("daphne"),
        "python3": platform.python_version(),
    }


def put_into_page(page, text):
    """Replaces what stands between the page's two marks."""
    begin, end = "<!-- results -->\n", "<!-- end of results -->\n"
    old = page.read_text()
    head, rest = old.split(begin)
    page.write_text(head + begin + text + end + rest.split(end)[1])


def main():
    parser = argparse.ArgumentParser(prog="tests/bench/run.sh")
    parser.add_argument("--build", type=Path, required=True, help=argparse.SUPPRESS)
    parser.add_argument("--quick", action="store_true", help="one short round, nothing kept")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scale", type=float, default=1, help="of the time each run takes")
    parser.add_argument("--only", action="append", help="a scenario; may be given several times")
    parser.add_argument("--out", type=Path, help="where to write; default: tests/bench/results")
    parser.add_argument("--add", action="store_true", help="to the results that are there")
    parser.add_argument("--page", action="store_true", help="only write the page from results/")
    options = parser.parse_args()
    out = options.out or (
        options.build.parent / "bench-quick" if options.quick else HERE / "results"
    )
    out.mkdir(parents=True, exist_ok=True)
    rounds, scale = (1, 0.25) if options.quick else (options.rounds, options.scale)

    raw_file = out / "raw.jsonl"
    if options.page:
        raw = [json.loads(line) for line in raw_file.read_text().splitlines()]
        facts = json.loads((out / "summary.json").read_text())["versions"]
    else:
        kept = raw_file.read_text() if options.add and raw_file.exists() else ""
        raw = [json.loads(line) for line in kept.splitlines()]
        with open(raw_file, "w") as file:
            file.write(kept)
            for run in run_all(options, rounds, scale):
                raw.append(run)
                file.write(json.dumps(run) + "\n")
                file.flush()
        facts = versions()

    table = medians(raw)
    summary = {
        "versions": facts,
        "rounds": rounds,
        "medians": table,
        "ratios": [
            {
                "scenario": scenario.name,
                "of": ours,
                "against": other,
                "aim": f"{sense} {factor}",
                "ratio": round(ratio, 3),
                "reached": reached,
            }
            for scenario, ours, other, sense, factor, ratio, reached in verdicts(table)
        ],
    }
    (out / "summary.json").write_text(json.dumps(summary, indent=1, ensure_ascii=False) + "\n")
    plots.write_all(out, table, SCENARIOS, FIGURES, NAMES)
    print(markdown(table))
    if out == HERE / "results":
        facts_table = "\n".join(f"| {name} | {value} |" for name, value in facts.items())
        pictures = "\n".join(f"![{p.stem}](results/{p.name})" for p in sorted(out.glob("*.svg")))
        put_into_page(
            HERE / "RESULTS.md",
            f"\n{markdown(table)}\n\n{pictures}\n\n| what | version |\n|---|---|\n{facts_table}\n\n",
        )


def run_all(options, rounds, scale):
    """Runs what was asked for, round by round, and says each figure as it comes."""
    scratch = tempfile.mkdtemp(prefix="waystation-bench.")
    audited = has_audit(options.build)
    try:
        for turn in range(rounds):
            for scenario in SCENARIOS:
                if not scenario.load or options.only and scenario.name not in options.only:
                    continue
                for kind, more in scenario.variants:
                    if kind == "waystation_guarded" and not audited:
                        continue
                    report = measure(options.build, scratch, scenario, kind, more, scale)
                    unit, _, read = FIGURES[scenario.figure]
                    said = report.get("failed") or f"{number(read(report))} {unit}"
                    print(f"{turn + 1} {scenario.name} {kind}: {said}", file=sys.stderr)
                    yield {
                        "scenario": scenario.name,
                        "server": kind,
                        "round": turn,
                        "report": report,
                    }
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    main()
