"""The beginning of RESULTS.md: what a user gains, and two plots. The figures are from the last kept run."""

import statistics

import plots
from scenarios import OURS
from servers import NAMES

PEERS = ("nchan", "ws", "channels")
CLUSTER = "waystation_cluster"
CLUSTER_PEERS = ("nchan_cluster", "socketio_cluster", "channels_cluster")
SPEED = ("pairs_100", "pairs_50x16", "push_100")


def rounded(value):
    """Three digits."""
    value = float(f"{value:.3g}")
    return f"{value:,.0f}" if value >= 100 else f"{value:g}"


def values(table, scenario, figure="value"):
    """{server: one of its results}, without servers that failed."""
    return {kind: row[figure] for kind, row in table.get(scenario, {}).items() if figure in row}


def peers_of(found, servers, unit=""):
    parts = [f"{NAMES[kind].removesuffix(', two nodes')} {rounded(found[kind])}{unit}"
             for kind in servers if kind in found]
    return ", ".join(parts)


def lines(table):
    """One sentence or two for each gain that was measured."""
    wide = values(table, "pairs_50x16")
    if OURS in wide:
        yield (
            f"**Speed.** With 16 messages in flight for each pair, one thread relays {rounded(wide[OURS])} a second; "
            f"{peers_of(wide, PEERS)}."
        )
    pair, pair_p99 = values(table, "one_pair_p50"), values(table, "one_pair_p99")
    if OURS in pair and OURS in pair_p99:
        yield (
            f"**Latency.** A message arrives after {rounded(pair[OURS])} µs (median). 99% arrive within "
            f"{rounded(pair_p99[OURS])} µs; {peers_of(pair_p99, PEERS, ' µs')}."
        )
    idle = values(table, "idle_8000")
    if OURS in idle:
        mib = {kind: value * 10_000 / 1024 for kind, value in idle.items()}
        yield f"**Memory.** 10,000 idle users cost {rounded(mib[OURS])} MiB; {peers_of(mib, PEERS, ' MiB')}."
    guarded = values(table, "guarded", "rounds")
    if "waystation_guarded" in guarded and OURS in guarded:
        plain = guarded[OURS]
        ratios = [value / plain[turn] for turn, value in guarded["waystation_guarded"].items() if turn in plain]
        yield f"**Login and audit.** Chat with both has {statistics.median(ratios):.0%} of the speed without them."
    connects = values(table, "connects")
    if OURS in connects:
        yield (
            f"**Reconnects.** {rounded(connects[OURS])} users connect in a second; "
            f"{peers_of(connects, PEERS)}."
        )
    far, far_cpu = values(table, "cluster_pair"), values(table, "cluster_pairs_100_per_cpu")
    if CLUSTER in far and CLUSTER in far_cpu:
        yield (
            f"**Two nodes.** A message arrives after {rounded(far[CLUSTER])} µs (median). A CPU second relays "
            f"{rounded(far_cpu[CLUSTER])}; {peers_of(far_cpu, CLUSTER_PEERS)}."
        )


def text(table):
    """At most six points, and the plots."""
    points = "\n".join(f"- {line}" for line in lines(table))
    return f"{points}\n\n![Messages a second](results/gain-speed.svg) ![Memory](results/gain-memory.svg)\n"


def write_plots(out, table, scenarios):
    """Both plots, of the rows that were measured."""
    titles = {scenario.name: scenario.title for scenario in scenarios}
    for name, title, shown in (
        ("speed", "Messages a second (longer is better)", SPEED),
        ("memory", "KiB of server memory for an idle connection (shorter is better)", ("idle_8000",)),
    ):
        groups = []
        for scenario in shown:
            found = values(table, scenario)
            bars = [(kind, found[kind]) for kind in (OURS, *PEERS) if kind in found]
            if bars:
                groups.append((titles[scenario], bars))
        if groups:
            (out / f"gain-{name}.svg").write_text(plots.chart(title, groups, NAMES, plots.EACH))
