"""The scenarios, their servers and their targets."""

from dataclasses import dataclass, field, replace

OURS = "waystation"


@dataclass(frozen=True)
class Scenario:
    name: str
    title: str
    figure: str  # the measured value: see FIGURES
    load: tuple  # the generator's arguments
    variants: tuple  # (server, its arguments to the generator), in the order of the table
    # Targets: (ours, other, at least or at most, the factor); "" and None: comparison only.
    aims: tuple = field(default=())
    seconds: float = 2.5
    warmup: float = 0.5
    least_seconds: float = 0  # the minimum for short runs
    turns: int = 1  # in each round; a percentile of few samples needs several
    peer_aim: tuple = ("", None)  # ours against a server that the caller names

    def is_tls(self):
        return any("_tls" in server for server, _ in self.variants)


def plain(*servers, **more):
    return tuple((server, tuple(more.get(server, ()))) for server in servers)


def node_seconds(report):
    return report["server_user_seconds"] + report["server_system_seconds"]


def engine_seconds(report):
    return report.get("engine_user_seconds", 0) + report.get("engine_system_seconds", 0)


def cpu_seconds(report):
    return node_seconds(report) + engine_seconds(report)


def kernel_seconds(report):
    return report["server_system_seconds"] + report.get("engine_system_seconds", 0)


def audited_push(name, rate, audited, most):
    """Push fallbacks at a rate with and without the audit, evaluated for the median and the 99th
    percentile. The target is the maximum ratio; None: comparison only. A run that lost a row has
    failed."""
    title = f"push, {rate:,} messages/s, audit on"
    if audited == "waystation_guarded_full":
        title += ", its file full"
    variants = plain(audited, OURS)
    aims = ((audited, OURS, "<" if most else "", most),)
    load = ("--route", "push", "--pairs", "100", "--window", "1000", "--rate", str(rate))
    return (
        Scenario(name, title, "p50", load, variants, aims, turns=3),
        Scenario(name + "_p99", title, "p99", (), variants, aims),
    )


def upgrades(name, title, standing):
    """Upgrades and requests for a page that does not exist, in time and in CPU."""
    counted = 2000 if standing else 4000
    load = ("--pairs", "0", "--idle", str(standing + counted), "--standing", str(standing))
    variants = ((OURS, ()), ("waystation_request", ("--request", "/nothing")))
    return (
        Scenario(
            name,
            title,
            "connects",
            (*load, "--parallel", "8"),
            variants,
            ((OURS, "waystation_request", ">", 1 / 1.25),),
            seconds=0,
        ),
        Scenario(
            name + "_cpu",
            title,
            "connect_cpu",
            (),
            variants,
            ((OURS, "waystation_request", "<", 1.25),),
        ),
    )


def against(servers, sense, factor):
    """Aims of the first server, compared with each other one."""
    return tuple((servers[0], other, sense, factor) for other in servers[1:])


def clustered_idle(route, title):
    """The memory of a socket in its node, and in the engine."""
    name = "cluster_idle_" + route
    title = "two nodes, " + title
    load = ("--pairs", "0", "--idle", "8000", "--route", route)
    return (
        Scenario(
            name,
            title,
            "idle",
            load,
            plain(CLUSTER),
            ((CLUSTER, None, "<", 1.6),),
            least_seconds=2.5,  # each is pinged
        ),
        Scenario(name + "_engine", title, "engine_idle", (), plain(CLUSTER), ((CLUSTER, None, "<", 1),)),
    )


def with_p99(scenario):
    """The scenario, and the 99th percentile of its runs: not above that of any peer."""
    servers = tuple(kind for kind, _ in scenario.variants if kind != "floor")
    yield scenario
    yield replace(
        scenario,
        name=scenario.name + "_p99",
        figure="p99",
        load=(),
        variants=plain(*servers),
        aims=against(servers, "<", 1),
        peer_aim=("<", 1),
    )


ALL = (OURS, "ws", "nchan", "channels")
CLUSTER = "waystation_cluster"
CLUSTERS = (CLUSTER, "socketio_cluster", "channels_cluster", "nchan_cluster", "nchan_cluster_stored")
# The bound of these system calls without a relay, with one message in flight.
WITH_FLOOR = (*ALL, "floor")
TLS_OURS = "waystation_tls"
TLS = (TLS_OURS, "ws_tls")
STORM = ("--pairs", "50", "--window", "100", "--rate", "5000", "--parallel", "10000", "--realtime", "1")
THROUGH_NGINX = (OURS, "nginx_handed", "nginx_proxied", "nchan")

# The maximum rounds for servers that need half a minute to open the sockets.
MOST_ROUNDS = {("idle_8000", "channels"): 2, ("connects", "channels"): 2}

# figure: (unit, whether more is better, how to compute it from a report)
FIGURES = {
    "messages": ("messages/s", True, lambda r: r["messages_per_second"]),
    "p50": ("µs, median", False, lambda r: r["latency_us"]["p50"]),
    "p99": ("µs, p99", False, lambda r: r["latency_us"]["p99"]),
    # At the end: every socket was pinged, and has sent and received if the scenario does so.
    "idle": (
        "KiB a socket",
        False,
        lambda r: (r["resident_kib"]["after"] - r["resident_kib"]["before"]) / r["sockets"],
    ),
    "connects": ("connects/s", True, lambda r: r["connects_per_second"]),
    "connect_cpu": (
        "µs of server CPU a connect",
        False,
        lambda r: r["connect_cpu_seconds"] / r["sockets"] * 1e6,
    ),
    "storm": ("seconds", False, lambda r: r["storm_seconds"]),
    "last_thousand": (
        "last 1,000 / first 1,000, time",
        False,
        lambda r: r["last_thousand_seconds"] / r["first_thousand_seconds"],
    ),
    # The least dependent on the machine's load.
    "cpu": (
        "µs of server CPU a message",
        False,
        lambda r: cpu_seconds(r) / max(r["messages"], 1) * 1e6,
    ),
    "kernel": (
        "of it in the kernel",
        False,
        lambda r: kernel_seconds(r) / max(cpu_seconds(r), 0.01),
    ),
    # Of several nodes. Without others than the nodes and the engine, "cpu" is the sum of the two.
    "per_cpu": (
        "messages per CPU second of nodes and engine",
        True,
        lambda r: r["messages"] / max(cpu_seconds(r), 0.01),
    ),
    "node_cpu": (
        "µs of the nodes' CPU a message",
        False,
        lambda r: node_seconds(r) / max(r["messages"], 1) * 1e6,
    ),
    "engine_cpu": (
        "µs of the engine's CPU a message",
        False,
        lambda r: engine_seconds(r) / max(r["messages"], 1) * 1e6,
    ),
    "engine_idle": (
        "KiB of the engine a socket",
        False,
        lambda r: (r["engine_kib"]["after"] - r["engine_kib"]["before"]) / r["sockets"],
    ),
}

SCENARIOS = (
    *with_p99(
        Scenario(
            "pairs_100",
            "100 pairs × 1 in flight, 64 B",
            "messages",
            ("--pairs", "100"),
            plain(*WITH_FLOOR),
            ((OURS, "floor", ">", 0.95), *against(ALL, "", None)),
        )
    ),
    *with_p99(
        Scenario(
            "pairs_50x16",
            "50 pairs × 16 in flight, 64 B",
            "messages",
            ("--pairs", "50", "--window", "16"),
            plain(*ALL),
            against(ALL, ">", 1.1),
            peer_aim=(">", 1.1),
        )
    ),
    *with_p99(
        Scenario(
            "pairs_1000",
            "1,000 pairs × 1 in flight, 64 B",
            "messages",
            ("--pairs", "1000"),
            plain(*WITH_FLOOR),
            ((OURS, "floor", ">", 0.92), *against(ALL, "", None)),
        )
    ),
    *with_p99(
        Scenario(
            "push_100",
            "push, 100 pairs × 1 in flight, 64 B",
            "messages",
            ("--route", "push", "--pairs", "100"),
            plain(OURS, "ws", "channels"),
            ((OURS, "channels", ">", 55), (OURS, "ws", ">", 2.4)),
        )
    ),
    *with_p99(
        Scenario(
            "kib_2",
            "50 pairs × 4 in flight, 2 KiB",
            "messages",
            ("--pairs", "50", "--window", "4", "--bytes", "2048"),
            plain(*ALL),
            ((OURS, "nchan", ">", 24), (OURS, "ws", ">", 7)),
        )
    ),
    *with_p99(
        Scenario(
            "kib_32",
            "10 pairs × 4 in flight, 32 KiB",
            "messages",
            ("--pairs", "10", "--window", "4", "--bytes", "32768"),
            plain(*ALL),
            ((OURS, "ws", ">", 3),),
        )
    ),
    Scenario(
        "one_pair_p50",
        "one pair, 64 B",
        "p50",
        ("--pairs", "1"),
        plain(OURS, "waystation_spin", "ws", "nchan", "channels"),
        ((OURS, "ws", "<", 1.0), ("waystation_spin", "ws", "<", 0.4)),
    ),
    Scenario(
        "one_pair_p99",
        "one pair, 64 B",
        "p99",
        (),  # the same runs, evaluated for another value
        plain(OURS, "waystation_spin", "ws", "nchan", "channels"),
        ((OURS, "ws", "<", 0.9), ("waystation_spin", "ws", "<", 0.5)),
    ),
    Scenario(
        "idle_8000",
        "8,000 idle sockets",
        "idle",
        ("--pairs", "0", "--idle", "8000"),
        plain(*ALL),
        ((OURS, "ws", "<", 0.5),),
        seconds=2.5,
        least_seconds=2.5,  # each is pinged
    ),
    Scenario(
        "idle_15000",
        "15,000 idle sockets, each of which has spoken",
        "idle",
        ("--pairs", "0", "--idle", "15000", "--serve-idle"),
        plain(OURS),
        ((OURS, None, "<", 1.5),),
        seconds=2.5,
        least_seconds=2.5,  # each is pinged
    ),
    Scenario(
        "connects",
        "9,000 connects in a row, 8 at once",
        "connects",
        ("--pairs", "0", "--idle", "9000", "--parallel", "8"),
        plain(*ALL),
        ((OURS, "ws", ">", 1.3),),
        seconds=0,
    ),
    Scenario(
        "connects_last",
        "9,000 connects in a row, 8 at once",
        "last_thousand",
        (),
        plain(*ALL),
        ((OURS, None, "<", 1.0),),
    ),
    *upgrades("upgrades", "4,000 upgrades, 8 at once", 0),
    *upgrades("upgrades_15000", "2,000 upgrades with 15,000 open sockets, 8 at once", 15_000),
    # The clients of a server that was restarted. Those of 50 pairs were faster than the others, and
    # their generator preempts everything, as if it had a machine of its own.
    Scenario(
        "storm",
        "10,000 v1 clients connect at once beside 5,000 messages/s",
        "storm",
        STORM,
        ((OURS, ("--storm", "10000")),),
    ),
    Scenario(
        "storm_p99",
        "10,000 v1 clients connect at once beside 5,000 messages/s",
        "p99",
        STORM,
        ((OURS, ("--storm", "10000")), ("waystation_undisturbed", ())),
        ((OURS, "waystation_undisturbed", "<", 3),),
    ),
    Scenario(
        "stalled",
        "500 pairs × 1, one more receiver stalled time and again",
        "p99",
        ("--pairs", "500"),
        ((OURS, ("--stalled", "1")), ("waystation_undisturbed", ())),
        ((OURS, "waystation_undisturbed", "<", 1.5),),
        seconds=3,
        least_seconds=3,  # it stalls for a second, is closed, and reconnects
    ),
    Scenario(
        "guarded",
        "100 pairs × 1 in flight, 64 B, JWT and audit on",
        "messages",
        ("--pairs", "100"),
        (("waystation_guarded", ()), (OURS, ())),
        (("waystation_guarded", OURS, ">", 0.97),),
    ),
    *audited_push("audited_push", 30_000, "waystation_guarded", 1.1),
    *audited_push("audited_push_50000", 50_000, "waystation_guarded", 1.1),
    *audited_push("audited_push_full", 30_000, "waystation_guarded_full", None),
    Scenario(
        "tls_pairs_100",
        "TLS, 100 pairs × 1 in flight, 64 B",
        "messages",
        ("--pairs", "100"),
        plain(*TLS, "floor_tls", OURS),
        ((TLS_OURS, OURS, "", None), (TLS_OURS, "ws_tls", "", None), (TLS_OURS, "floor_tls", "", None)),
        peer_aim=(">", 0.9),
    ),
    Scenario(
        "tls_pairs_50x16",
        "TLS, 50 pairs × 16 in flight, 64 B",
        "messages",
        ("--pairs", "50", "--window", "16"),
        plain(*TLS, OURS),
        ((TLS_OURS, OURS, "", None), (TLS_OURS, "ws_tls", "", None)),
        peer_aim=(">", 0.9),
    ),
    Scenario(
        "tls_kib_2",
        "TLS, 50 pairs × 4 in flight, 2 KiB",
        "messages",
        ("--pairs", "50", "--window", "4", "--bytes", "2048"),
        plain(*TLS, OURS),
        ((TLS_OURS, OURS, "", None), (TLS_OURS, "ws_tls", "", None)),
        peer_aim=(">", 0.9),
    ),
    Scenario(
        "tls_idle_2000",
        "TLS, 2,000 idle sockets",
        "idle",
        ("--pairs", "0", "--idle", "2000", "--parallel", "8"),
        plain(*TLS, "floor_tls", OURS),
        ((TLS_OURS, None, "<", 15), (TLS_OURS, "floor_tls", "", None), (TLS_OURS, "ws_tls", "", None)),
        seconds=2.5,
        least_seconds=2.5,  # each is pinged
    ),
    # Both need a whole TLS handshake. The rest of an upgrade must not cost much more than that of
    # another request.
    Scenario(
        "tls_connects",
        "TLS, 2,000 connects in a row, 8 at once",
        "connects",
        ("--pairs", "0", "--idle", "2000", "--parallel", "8"),
        plain(*TLS, "waystation_tls_request", waystation_tls_request=("--request", "/nothing")),
        (
            (TLS_OURS, "waystation_tls_request", ">", 1 / 1.1),
            (TLS_OURS, "ws_tls", "", None),
        ),
        seconds=0,
    ),
    Scenario(
        "nginx_pairs",
        "through nginx: 100 pairs × 1 in flight, 64 B",
        "messages",
        ("--pairs", "100"),
        plain(*THROUGH_NGINX),
        (("nginx_handed", OURS, ">", 0.97), ("nginx_handed", "nginx_proxied", "", None)),
    ),
    *(
        Scenario(
            "nginx_pairs_" + figure,
            "through nginx: 100 pairs × 1 in flight, 64 B",
            figure,
            (),
            plain(*THROUGH_NGINX),
            (("nginx_handed", OURS, "", None),),
        )
        for figure in ("p50", "p99")
    ),
    Scenario(
        "nginx_idle",
        "through nginx: 5,000 idle sockets, nginx and relay together",
        "idle",
        ("--pairs", "0", "--idle", "5000"),
        plain(*THROUGH_NGINX),
        (("nginx_handed", "nginx_proxied", "<", 0.2),),
        least_seconds=2.5,  # each is pinged
    ),
    Scenario(
        "nginx_connects",
        "through nginx: 5,000 connects in a row, 8 at once",
        "connects",
        ("--pairs", "0", "--idle", "5000", "--parallel", "8"),
        plain(
            *THROUGH_NGINX, "nginx_handed_request", nginx_handed_request=("--request", "/nothing")
        ),
        (("nginx_handed", OURS, ">", 1.0), ("nginx_handed", "nginx_handed_request", ">", 0.5)),
        seconds=0,
    ),
    # Two nodes over Redis, the users of a pair on different ones.
    Scenario(
        "cluster_pair",
        "two nodes, one pair, 64 B",
        "p50",
        ("--pairs", "1"),
        plain(*CLUSTERS, OURS),
        ((CLUSTER, None, "<", 250), *against(CLUSTERS, "", None)),
    ),
    Scenario(
        "cluster_pair_p99",
        "two nodes, one pair, 64 B",
        "p99",
        (),
        plain(*CLUSTERS, OURS),
        against(CLUSTERS, "<", 1),
    ),
    Scenario(
        "cluster_pairs_100",
        "two nodes, 100 pairs × 1 in flight, 64 B",
        "messages",
        ("--pairs", "100"),
        plain(*CLUSTERS, OURS),
        against(CLUSTERS, "", None),
    ),
    *(
        Scenario(
            "cluster_pairs_100_" + figure,
            "two nodes, 100 pairs × 1 in flight, 64 B",
            figure,
            (),
            plain(*CLUSTERS),
            aims,
        )
        for figure, aims in (
            ("p99", against(CLUSTERS, "<", 1)),
            ("per_cpu", against(CLUSTERS, ">", 3)),
            ("node_cpu", ()),
            ("engine_cpu", ()),
        )
    ),
    *clustered_idle("chat", "8,000 idle sockets"),
    *clustered_idle("push", "8,000 idle sockets, half of them for push"),
    Scenario(
        "nchan_configurations",
        "nchan as it can be configured: 100 pairs × 1 in flight, 64 B",
        "messages",
        ("--pairs", "100"),
        plain("nchan", "nchan_defaults", "nchan_delayed"),
    ),
)
