"""Tests the benchmarks' page, plots and arguments. Nothing is measured."""

import json
import shutil
import tempfile
import unittest
import xml.etree.ElementTree as xml
from pathlib import Path

import bench
import gains
import plots
import quotes
import servers
from scenarios import CLUSTER, FIGURES, OURS, SCENARIOS

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]


def report(**more):
    """A generator's report, of a run in which nothing failed."""
    return {
        "failed": "",
        "messages": 1000,
        "messages_per_second": 500.0,
        "sockets": 10,
        "latency_us": {"p50": 100.0, "p99": 200.0},
        "server_user_seconds": 0.1,
        "server_system_seconds": 0.3,
        "engine_user_seconds": 0.05,
        "engine_system_seconds": 0.05,
        "resident_kib": {"before": 1000, "after": 1020},
        "engine_kib": {"before": 500, "after": 505},
        **more,
    }


def runs(scenario, **reports):
    return [{"scenario": scenario, "server": kind, "round": 0, "report": each} for kind, each in reports.items()]


class ThePage(unittest.TestCase):
    def test_is_what_the_stored_results_say(self):
        """RESULTS.md and its plots are not edited by hand, and not older than the program. Other
        documents quote the same figures."""
        with tempfile.TemporaryDirectory() as folder:
            page, results, root = Path(folder, "RESULTS.md"), Path(folder, "results"), Path(folder)
            shutil.copy(HERE / "RESULTS.md", page)
            for document in quotes.DOCUMENTS:
                (root / document).parent.mkdir(exist_ok=True)
                shutil.copy(ROOT / document, root / document)
            shutil.copytree(HERE / "results", results)
            for plot in results.glob("*.svg"):
                plot.unlink()
            bench.write_page(page, results, root)
            self.assertEqual(page.read_text(), (HERE / "RESULTS.md").read_text(), "run tests/bench/run.sh --page")
            for document in quotes.DOCUMENTS:
                with self.subTest(document):
                    written = (root / document).read_text()
                    self.assertEqual(written, (ROOT / document).read_text(), "run tests/bench/run.sh --page")
            self.assertEqual(
                {plot.name: plot.read_text() for plot in results.glob("*.svg")},
                {plot.name: plot.read_text() for plot in (HERE / "results").glob("*.svg")},
            )

    def test_begins_with_gains_and_two_plots(self):
        first = (HERE / "RESULTS.md").read_text().splitlines()[:10]
        self.assertGreaterEqual(sum(line.startswith("- **") for line in first), 5)
        self.assertEqual(sum(line.count(".svg)") for line in first), 2)
        self.assertFalse([line for line in first if line.startswith("|")])

    def test_has_room_for_the_gain_of_a_cluster(self):
        raw = [json.loads(line) for line in (HERE / "results/raw.jsonl").read_text().splitlines()]
        raw = [run for run in raw if not run["scenario"].startswith("cluster_")]
        before = list(gains.lines(bench.tabulate(raw)))
        raw += runs("cluster_pair", waystation_cluster=report(), nchan_cluster=report())
        raw += runs("cluster_pairs_100", waystation_cluster=report(), nchan_cluster=report(messages=3000))
        added = [line for line in gains.lines(bench.tabulate(raw)) if line not in before]
        self.assertEqual(
            added,
            ["**Two nodes.** A message arrives after 100 µs (median). A CPU second relays 2,000; nchan 6,000."],
        )
        self.assertLessEqual(len(before) + 1, 6)


class Figures(unittest.TestCase):
    def test_of_nodes_and_engine(self):
        expected = {"cpu": 500, "node_cpu": 400, "engine_cpu": 100, "per_cpu": 2000, "kernel": 0.7}
        expected |= {"idle": 2, "engine_idle": 0.5}
        for figure, value in expected.items():
            with self.subTest(figure):
                self.assertAlmostEqual(FIGURES[figure][2](report()), value)

    def test_a_failed_round_fails_the_row(self):
        raw = runs("cluster_pair", waystation_cluster=report(), nchan_cluster={"failed": "lost a message"})
        row = bench.tabulate(raw)["cluster_pair"]
        self.assertEqual(row[CLUSTER]["value"], 100)
        self.assertIn("lost a message", row["nchan_cluster"]["failed"])

    def test_the_99th_percentile_is_that_of_the_row_above(self):
        raw = runs("pairs_100", waystation=report(), nchan=report(latency_us={"p50": 1.0, "p99": 150.0}))
        found = [v for v in bench.compare_with_aims(bench.tabulate(raw)) if v["scenario"].name == "pairs_100_p99"]
        self.assertEqual([(v["against"], v["ratio"] > 1, v["reached"]) for v in found], [("nchan", True, False)])


class Scenarios(unittest.TestCase):
    def test_have_names_of_their_own_and_known_servers(self):
        names = [scenario.name for scenario in SCENARIOS]
        self.assertEqual(len(names), len(set(names)))
        for scenario in SCENARIOS:
            kinds = {kind for kind, _ in scenario.variants}
            self.assertLessEqual(kinds, servers.NAMES.keys(), scenario.name)
            for ours, other, _, _ in scenario.aims:
                self.assertLessEqual({ours, other} - {None}, kinds, scenario.name)


class Peers(unittest.TestCase):
    def setUp(self):
        names = dict(servers.NAMES)
        self.addCleanup(lambda: (servers.NAMES.clear(), servers.NAMES.update(names)))

    def test_are_a_name_and_a_command(self):
        name, command = servers.parse_peer("my-relay.2=sh -c 'exit 0'")
        self.assertEqual(name, "my-relay.2")
        self.assertEqual(command[1:], ["-c", "exit 0"])
        self.assertTrue(Path(command[0]).is_absolute())

    def test_with_a_fault_are_refused_with_the_reason(self):
        for text, reason in {
            "": "no name",
            "=true": "no name",
            "my_relay=true": "no name",
            "relay": "no such command",
            "relay=": "no such command",
            "relay=/no/such/file": "no such command",
            "relay='": "cannot be read",
            "nchan=true": "choose another one",
        }.items():
            with self.subTest(text), self.assertRaisesRegex(ValueError, reason):
                servers.parse_peer(text)

    def test_take_part_wherever_ws_does_with_the_aim_of_the_row(self):
        servers.add_peers([servers.parse_peer("relay=true")])
        self.addCleanup(servers.PEERS.clear)
        for scenario in SCENARIOS:
            before, after = [{kind for kind, _ in s.variants} for s in (scenario, servers.with_peers(scenario))]
            added = {"relay"} if "ws" in before else {"relay_tls"} if "ws_tls" in before else set()
            self.assertEqual(after - before, added, scenario.name)
        aims = {s.name: servers.with_peers(s).aims for s in SCENARIOS}
        self.assertIn((OURS, "relay", ">", 1.1), aims["pairs_50x16"])
        self.assertIn((OURS, "relay", "<", 1), aims["pairs_50x16_p99"])
        self.assertIn(("waystation_tls", "relay_tls", ">", 0.9), aims["tls_kib_2"])


class Plots(unittest.TestCase):
    def test_are_xml_with_bars_in_proportion_and_colours_for_dark_pages(self):
        groups = [("one & two", [("waystation", 200), ("ws", 100)]), ("three", [("nchan", 10)])]
        for scale, third in ((plots.LINEAR, 1 / 20), (plots.EACH, 1)):
            text = plots.chart("title", groups, servers.NAMES, scale)
            bars = [float(each.get("width")) for each in xml.fromstring(text) if each.get("fill")]
            self.assertEqual([round(bar / bars[0], 2) for bar in bars], [1, 0.5, third])
            self.assertIn("prefers-color-scheme: dark", text)


if __name__ == "__main__":
    unittest.main()
