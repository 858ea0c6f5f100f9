"""Runs the microbenchmarks and the audit's benchmark, and makes tables of the results."""

import json
import subprocess

# The scanner's target for 2 KiB of each kind of text.
SCANS = ("scan/words/2048", "scan/chinese/2048", "scan/records/2048")
LEAST_GB_PER_SECOND = 1.5


def run(build, quick):
    """Google Benchmark's JSON."""
    options = ["--benchmark_format=json", "--benchmark_report_aggregates_only=true"]
    options += ["--benchmark_repetitions=" + ("2" if quick else "5")]
    options += ["--benchmark_min_time=" + ("0.01" if quick else "0.1")]
    program = build / "tests/bench/micro/waystation_micro"
    done = subprocess.run([program, *options], capture_output=True, text=True, check=True)
    report = json.loads(done.stdout)
    # Results are kept in the repository, where a path of this machine means nothing.
    report["context"]["executable"] = program.name
    return report


def audit(build, scratch, quick):
    """The output of the audit's benchmark, at the rows per second of its target."""
    program = build / "tests/bench/audit_bench"
    command = [program, scratch, "1" if quick else "5", "50000"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def medians(report):
    """{benchmark: {"ns": …, "gb_per_second": … or None, "items_per_second": … or None}}"""
    found = {}
    for each in report["benchmarks"]:
        if each.get("aggregate_name") != "median":
            continue
        rate = each.get("bytes_per_second")
        found[each["run_name"].split("/repeats")[0]] = {
            "ns": each["cpu_time"],
            "gb_per_second": rate and rate / 1e9,
            "items_per_second": each.get("items_per_second"),
        }
    return found


def compare_with_aims(table):
    for name in SCANS:
        value = table[name]["gb_per_second"]
        yield {
            "benchmark": name,
            "aim": f"> {LEAST_GB_PER_SECOND}",
            "gb_per_second": value,
            "reached": value >= LEAST_GB_PER_SECOND,
        }


def markdown(table):
    lines = ["| microbenchmark | ns | GB/s | millions a second |", "|---|--:|--:|--:|"]
    for name, row in table.items():
        rate = f"{row['gb_per_second']:.2f}" if row["gb_per_second"] else ""
        items = f"{row['items_per_second'] / 1e6:.2f}" if row["items_per_second"] else ""
        lines.append(f"| {name} | {row['ns']:,.0f} | {rate} | {items} |")
    lines += ["", "| microbenchmark | aim, GB/s | GB/s | |", "|---|--:|--:|---|"]
    for each in compare_with_aims(table):
        reached = "reached" if each["reached"] else "**missed**"
        lines.append(
            f"| {each['benchmark']} | ≥ {LEAST_GB_PER_SECOND} | {each['gb_per_second']:.2f} "
            f"| {reached} |"
        )
    return "\n".join(lines)
