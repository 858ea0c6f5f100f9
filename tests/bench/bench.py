"""Runs the scenarios on all servers in turn and stores the results."""

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import datetime, timezone
from pathlib import Path

import gains
import machine
import micro
import plots
import profiles
import quotes
from scenarios import FIGURES, MOST_ROUNDS, SCENARIOS
from servers import NAMES, PING_SECONDS, Server, add_peers, parse_peer, with_peers

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
ROUNDS = 5
# The maximum load by other processes for results that are kept.
QUIET = 0.05


def loaded_variants(scenario, turn):
    """Rotates the order: each server comes first, second and so on equally often."""
    first = turn % len(scenario.variants)
    for kind, more in scenario.variants[first:] + scenario.variants[:first]:
        if turn < MOST_ROUNDS.get((scenario.name, kind), turn + 1):
            yield kind, more


def seconds_of(scenario, scale):
    return max(scenario.seconds * scale, scenario.least_seconds), scenario.warmup * scale


def measure(build, scratch, scenario, kind, more, scale):
    """One run's report, or {"failed": reason}."""
    server = None
    try:
        server = Server(kind, build, scratch)
        server.fill_audit(build)
        seconds, warmup = seconds_of(scenario, scale)
        command = [str(build / "tests/bench/load/waystation-load"), *server.load_options()]
        command += ["--seconds", str(seconds), "--warmup", str(warmup), *scenario.load, *more]
        others = machine.Others(server.pids())
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        if done.returncode != 0:
            return {"failed": done.stderr.strip()[-400:]}
        report = json.loads(done.stdout)
        report["others"] = round(others.share(), 3)
        report["failed"] = validate(server, report)
        return report if not report["failed"] else {"failed": report["failed"]}
    except subprocess.TimeoutExpired:
        return {"failed": "not done in five minutes"}
    except (RuntimeError, subprocess.CalledProcessError) as problem:
        return {"failed": str(problem)}
    finally:
        if server:
            server.stop()
            shutil.rmtree(server.scratch, ignore_errors=True)


def validate(server, report):
    """The reason why a run is not valid although every reply was correct; empty if it is valid."""
    if report["pairs"] and not report["messages"]:
        return "no reply in the measured time"
    if report["realtime"] and report["late"]:
        return f"{report['late']} messages were not sent in time"
    if server.is_ours() and report["seconds"] > PING_SECONDS and not report["pings"]:
        return "no ping received"
    if server.is_ours():
        # The server may have closed receivers that stalled at the end, and they have not read it
        # yet.
        unheard = server.closed_slow() - report["stalled_ended"]
        if not 0 <= unheard <= report["stalled"]:
            return f"{unheard} sockets were closed as slow and must not be"
    if server.audit and report["route"] == "push":
        lost = server.rows_lost()
        server.stop()
        given, _, strange = server.rows_audited()
        rows = given - server.rows_before
        if lost or strange or rows != report["messages_in_all"]:
            return (
                f"{rows} rows of {report['messages_in_all']} messages, {lost} lost, "
                f"{strange} not of a push"
            )
    return ""


def expected_seconds(options, rounds, scale):
    """The estimated duration, from the time that servers take to start and sockets to open."""
    start = {"channels": 3, "channels_cluster": 6, "waystation_guarded_full": 4}
    sockets_a_second = {"channels": 350}
    total = 0
    for turn in range(rounds):
        for scenario in chosen(options):
            for kind, more, _ in loaded_in(scenario, turn):
                load = dict(zip(scenario.load[::2], scenario.load[1::2]))
                sockets = 2 * int(load["--pairs"]) + int(load.get("--idle", 0))
                total += sum(seconds_of(scenario, scale)) + start.get(kind, 0.8) + 0.5
                total += sockets / sockets_a_second.get(kind, 5000)
    if not options.only:
        # Measurements without a server, and the profile.
        total += 15 if options.quick else 150
    return total


def chosen(options):
    return [s for s in SCENARIOS if s.load and (not options.only or s.name in options.only)]


def loaded_in(scenario, turn):
    """The servers of a scenario in one round, in order: server, its arguments, and the number of
    this turn of the scenario over all rounds."""
    for nth in range(turn * scenario.turns, (turn + 1) * scenario.turns):
        for kind, more in loaded_variants(scenario, nth):
            yield kind, more, nth


def run_all(options, rounds, scale):
    """Runs the selected scenarios round by round and prints each result."""
    scratch = tempfile.mkdtemp(prefix="waystation-bench.")
    began = time.monotonic()
    try:
        for turn in range(rounds):
            for scenario in chosen(options):
                for kind, more, nth in loaded_in(scenario, turn):
                    report = measure(options.build, scratch, scenario, kind, more, scale)
                    unit, _, read = FIGURES[scenario.figure]
                    said = "FAILED: " + report["failed"]
                    if not report["failed"]:
                        said = f"{number(read(report))} {unit}"
                    print(f"{turn + 1} {scenario.name} {kind}: {said}", file=sys.stderr)
                    yield {
                        "scenario": scenario.name,
                        "server": kind,
                        "round": nth,
                        "report": report,
                    }
            minutes = (time.monotonic() - began) / 60
            print(f"round {turn + 1} of {rounds} is done, {minutes:.1f} minutes in", file=sys.stderr)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


# ---- results


def tabulate(raw):
    """{scenario: {variant: its results}}. A failed run fails its row: a server must not gain from
    the rounds in which it worked."""
    table = {}
    source = None
    for scenario in SCENARIOS:
        source = scenario if scenario.load else source
        row = {}
        for kind, _ in scenario.variants:
            runs = [r for r in raw if r["scenario"] == source.name and r["server"] == kind]
            if not runs:
                continue
            bad = [r for r in runs if r["report"]["failed"]]
            if bad:
                why = bad[0]["report"]["failed"]
                row[kind] = {"failed": f"{len(bad)} of {len(runs)} rounds: {why}"}
                continue
            reports = [r["report"] for r in runs]
            values = {r["round"]: FIGURES[scenario.figure][2](r["report"]) for r in runs}
            row[kind] = {
                "value": statistics.median(values.values()),
                "least": min(values.values()),
                "most": max(values.values()),
                "rounds": values,
            }
            if reports[0]["messages"]:
                for key, figure in (("cpu_us", "cpu"), ("kernel", "kernel"), ("p99_us", "p99")):
                    row[kind][key] = statistics.median(map(FIGURES[figure][2], reports))
        if row:
            table[scenario.name] = row
    return table


def compare_with_aims(table):
    """Each target with the ratio of every round in which both were measured: both had the same
    machine load."""
    for scenario in SCENARIOS:
        row = table.get(scenario.name, {})
        for ours, other, sense, factor in scenario.aims:
            if ours not in row or other is not None and other not in row:
                continue
            found = {
                "scenario": scenario,
                "of": ours,
                "against": other,
                "sense": sense,
                "factor": factor,
                "ratio": None,
                "reached": False,
            }
            mine = row[ours].get("rounds", {})
            theirs = row[other].get("rounds", {}) if other else dict.fromkeys(mine, 1)
            ratios = [mine[turn] / theirs[turn] for turn in mine if turn in theirs]
            if ratios:
                ratio = statistics.median(ratios)
                found["ratio"], found["least"], found["most"] = ratio, min(ratios), max(ratios)
                if sense:
                    found["reached"] = ratio >= factor if sense == ">" else ratio <= factor
            yield found


def number(value):
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if value >= 10 else f"{value:.2f}"


def markdown(table):
    lines = [
        "| scenario | server | median | least to most | rounds | CPU µs a message | in the kernel "
        "| p99 µs |",
        "|---|---|--:|--:|--:|--:|--:|--:|",
    ]
    for scenario in SCENARIOS:
        unit = FIGURES[scenario.figure][0]
        for kind, row in table.get(scenario.name, {}).items():
            if "failed" in row:
                why = row["failed"].replace("|", "\\|").replace("\n", " ")
                lines.append(f"| {scenario.title} | {NAMES[kind]} | failed: {why} | | | | | |")
                continue
            cpu = number(row["cpu_us"]) if "cpu_us" in row else ""
            kernel = f"{row['kernel']:.0%}" if "kernel" in row else ""
            p99 = number(row["p99_us"]) if "p99_us" in row else ""
            lines.append(
                f"| {scenario.title} | {NAMES[kind]} | {number(row['value'])} {unit} "
                f"| {number(row['least'])} to {number(row['most'])} | {len(row['rounds'])} "
                f"| {cpu} | {kernel} | {p99} |"
            )
    lines += [
        "",
        "| scenario | of | against | aim | ratio, the rounds' median | least to most | |",
        "|---|---|---|--:|--:|--:|---|",
    ]
    for v in compare_with_aims(table):
        unit = FIGURES[v["scenario"].figure][0]
        against = NAMES[v["against"]] if v["against"] else unit
        aim = f"{'≥' if v['sense'] == '>' else '≤'} {v['factor']:g}" if v["sense"] else ""
        begin = f"| {v['scenario'].title}, {unit} | {NAMES[v['of']]} | {against} | {aim} "
        if v["ratio"] is None:
            lines.append(begin + "| none | | a run failed |")
            continue
        reached = "reached" if v["reached"] else "**missed**"
        reached = reached if v["sense"] else ""
        lines.append(
            begin + f"| {number(v['ratio'])} | {number(v['least'])} to {number(v['most'])} "
            f"| {reached} |"
        )
    return "\n".join(lines)


def summary_of(facts, table, micro_table):
    return {
        "facts": facts,
        "figures": table,
        "ratios": [
            {
                "scenario": v["scenario"].name,
                "of": v["of"],
                "against": v["against"],
                "aim": f"{v['sense']} {v['factor']}",
                **{key: round(v[key], 3) for key in ("ratio", "least", "most") if v.get(key)},
                "reached": v["reached"],
            }
            for v in compare_with_aims(table)
        ],
        "micro": micro_table,
        "micro_aims": list(micro.compare_with_aims(micro_table)) if micro_table else [],
    }


# ---- the page


def page_text(out, facts, table, micro_table):
    parts = [markdown(table)]
    plotted = [p for p in sorted(out.glob("*.svg")) if not p.name.startswith("gain-")]
    parts += ["\n".join(f"![{p.stem}](results/{p.name})" for p in plotted)]
    if micro_table:
        parts += [micro.markdown(micro_table)]
    audit = out / "audit.txt"
    if audit.exists():
        parts += ["What the audit takes and finds, by itself:\n\n```\n" + audit.read_text() + "```"]
    if (out / "profile.txt").exists():
        parts += ["Where waystation's time went, by perf: [results/profile.txt](results/profile.txt)"]
    rows = [f"| {name} | {value} |" for name, value in facts.items()]
    parts += ["| what | |\n|---|---|\n" + "\n".join(rows)]
    return "\n" + "\n\n".join(parts) + "\n\n"


def replace_between(page, name, text):
    """Replaces the text between the two marks of that name."""
    begin, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->\n"
    head, rest = page.read_text().split(begin)
    page.write_text(head + begin + text + end + rest.split(end)[1])


def draw(out, table):
    plots.write_all(out, table, SCENARIOS, FIGURES, NAMES)
    gains.write_plots(out, table, SCENARIOS)


def write_page(page=HERE / "RESULTS.md", results=RESULTS, root=HERE.parents[1]):
    """Writes the page and the plots from the results of the last kept run, and its figures into the
    documents below `root` that quote them."""
    kept = json.loads((results / "summary.json").read_text())
    raw = [json.loads(line) for line in (results / "raw.jsonl").read_text().splitlines()]
    table = tabulate(raw)
    draw(results, table)
    replace_between(page, "gains", gains.text(table))
    replace_between(page, "results", page_text(results, kept["facts"], table, kept["micro"]))
    quotes.write(root, table, number)


def arguments():
    parser = argparse.ArgumentParser(
        prog="tests/bench/run.sh",
        description="Compares waystation with other servers. A whole run on a quiet machine is stored in "
        "tests/bench/results/ and RESULTS.md; other runs in build/.",
    )
    parser.add_argument(
        "--build", type=lambda text: Path(text).resolve(), required=True, help=argparse.SUPPRESS
    )
    parser.add_argument("--quick", action="store_true", help="one short round, as a check")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"default: {ROUNDS}")
    parser.add_argument("--scale", type=float, default=1, help="of the time each run takes")
    parser.add_argument("--only", action="append", help="a scenario; may be given several times")
    parser.add_argument("--list", action="store_true", help="the scenarios and the duration")
    parser.add_argument("--out", type=Path, help="the folder for the results")
    parser.add_argument(
        "--even-if-busy",
        action="store_true",
        help="keep the results although others use the machine, and note it in them",
    )
    parser.add_argument(
        "--profile", action="store_true", help="only print waystation's profile (perf)"
    )
    parser.add_argument("--page", action="store_true", help="only write the page, its plots and the quoted figures from results/")
    parser.add_argument(
        "--peer",
        action="append",
        default=[],
        metavar="NAME=COMMAND",
        help="also measure this server, wherever `ws` is measured; may be given several times, and the results "
        "are not kept. COMMAND is run with a port, where the others speak TLS also with the files of a "
        "certificate and its key. It serves the original protocol on 127.0.0.1 until SIGTERM: see "
        "tests/bench/peers/README.md",
    )
    options = parser.parse_args()
    try:
        for text in options.peer:
            add_peers([parse_peer(text)])
    except ValueError as problem:
        parser.error(f"--peer {problem}")
    if options.peer:
        global SCENARIOS
        SCENARIOS = tuple(map(with_peers, SCENARIOS))
    known = [scenario.name for scenario in SCENARIOS if scenario.load]
    for name in options.only or ():
        if name not in known:
            parser.error(f"unknown scenario {name}; there are: {', '.join(known)}")
    if options.rounds < 1 or options.scale <= 0:
        parser.error("--rounds and --scale must be positive")
    return options


def raise_descriptor_limit():
    """For the servers that it starts: 15,000 sockets are open at once."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def main():
    options = arguments()
    if options.page:
        return write_page()
    rounds, scale = (1, 0.25) if options.quick else (options.rounds, options.scale)
    minutes = expected_seconds(options, rounds, scale) / 60
    if options.list:
        print("\n".join(f"{s.name:22} {s.title}" for s in chosen(options)))
        print(f"about {minutes:.0f} minutes with {rounds} rounds")
        return None
    raise_descriptor_limit()
    if options.profile:
        with tempfile.TemporaryDirectory(prefix="waystation-bench.") as scratch:
            profiles.write(options.build, scratch, Path(scratch) / "profile.txt", options.only)
            print((Path(scratch) / "profile.txt").read_text())
        return None
    is_whole = not (options.quick or options.only)
    is_kept = is_whole and not (options.out or options.peer) and scale == 1 and rounds >= 3

    load_before = os.getloadavg()
    others_before = machine.share_of_others()
    print(
        f"load {load_before[0]:.1f}, others use {others_before:.0%} of the processors; "
        f"this takes about {minutes:.0f} minutes on a quiet machine",
        file=sys.stderr,
    )
    if is_kept and others_before > QUIET and not options.even_if_busy:
        print(
            "The machine is busy, and the results of a whole run are kept. Wait, or use --even-if-busy, "
            "which is noted in the results, or --quick, --only or --out, which keep none.",
            file=sys.stderr,
        )
        return 2

    facts = machine.versions()
    began = time.monotonic()
    when = datetime.now(timezone.utc)
    working = options.out or options.build.parent / (
        "bench-run" if is_kept else "bench-quick" if options.quick else "bench-part"
    )
    shutil.rmtree(working, ignore_errors=True)
    working.mkdir(parents=True)
    raw = []
    with open(working / "raw.jsonl", "w") as file:
        for run in run_all(options, rounds, scale):
            raw.append(run)
            file.write(json.dumps(run, ensure_ascii=False) + "\n")
            file.flush()
    micro_table = {}
    if not options.only:
        micro_report = micro.run(options.build, options.quick)
        (working / "micro.json").write_text(json.dumps(micro_report, indent=1) + "\n")
        micro_table = micro.medians(micro_report)
    if is_whole:
        with tempfile.TemporaryDirectory(prefix="waystation-bench.") as scratch:
            (working / "audit.txt").write_text(micro.audit(options.build, scratch, options.quick))
            profiles.write(options.build, scratch, working / "profile.txt")

    shares = [r["report"]["others"] for r in raw if "others" in r["report"]] or [1]
    others = statistics.median(shares)
    facts |= {
        "begun": when.strftime("%Y-%m-%d %H:%M UTC"),
        "took": f"{(time.monotonic() - began) / 60:.0f} minutes, {rounds} rounds",
        "load average before": ", ".join(f"{load:.2f}" for load in load_before),
        "others' part of the processors": f"{others_before:.1%} before; in a run {others:.1%} in the "
        f"median, {max(shares):.1%} at most",
    }
    if machine.commit() != facts["waystation"]:
        facts["waystation"] += f", and {machine.commit()} when it ended"
    table = tabulate(raw)
    summary = summary_of(facts, table, micro_table)
    (working / "summary.json").write_text(json.dumps(summary, indent=1, ensure_ascii=False) + "\n")
    draw(working, table)
    print(page_text(working, facts, table, micro_table))

    if is_kept and others > QUIET and not options.even_if_busy:
        print(f"Others used {others:.0%} of the processors: left in {working}", file=sys.stderr)
        return 2
    if is_kept:
        shutil.rmtree(RESULTS, ignore_errors=True)
        shutil.copytree(working, RESULTS)
        write_page()
    failed = [r for r in raw if r["report"]["failed"]]
    if failed:
        print(f"{len(failed)} of {len(raw)} runs failed", file=sys.stderr)
    print(f"written to {RESULTS if is_kept else working}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
