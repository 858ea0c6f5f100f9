"""Bar charts as SVG: one per kind of result, with a logarithmic scale if suitable."""

import math
from xml.sax.saxutils import escape

COLOURS = {
    "waystation": "#1f6f5c",
    "waystation_spin": "#4fae93",
    "waystation_undisturbed": "#8fcfbd",
    "waystation_guarded": "#4fae93",
    "waystation_guarded_full": "#2f8e74",
    "ws": "#c98b2b",
    "nginx_handed": "#2f8e74",
    "nginx_proxied": "#a9b665",
    "nchan": "#6a6fb5",
    "nchan_defaults": "#8d91c9",
    "nchan_delayed": "#b0b3dd",
    "channels": "#b3564d",
    "floor": "#9a9a9a",
}
OTHER = "#5b7fa6"  # servers that the caller named
WIDTH, LABEL, BAR, GAP = 860, 230, 16, 14


def chart(title, groups, names, log):
    """`groups` is [(title, [(variant, value)])]."""
    values = [value for _, bars in groups for _, value in bars if value > 0]
    most = max(values)
    least = min(values) / 2 if log else 0
    room = WIDTH - LABEL - 110

    def length(value):
        if value <= 0:
            return 0
        if log:
            return room * (math.log(value) - math.log(least)) / (math.log(most) - math.log(least))
        return room * value / most

    parts = []
    y = 40
    for group, bars in groups:
        parts.append(f'<text x="10" y="{y + 12}" font-weight="bold">{escape(group)}</text>')
        y += BAR + 4
        for kind, value in bars:
            parts.append(f'<text x="{LABEL - 8}" y="{y + 12}" text-anchor="end">{escape(names[kind])}</text>')
            parts.append(
                f'<rect x="{LABEL}" y="{y}" width="{length(value):.1f}" height="{BAR - 2}" '
                f'fill="{COLOURS.get(kind.split("_tls")[0], OTHER)}"/>'
            )
            shown = f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
            parts.append(f'<text x="{LABEL + length(value) + 6:.1f}" y="{y + 12}">{shown}</text>')
            y += BAR
        y += GAP
    scale = ", logarithmic" if log else ""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y}" '
        f'font-family="sans-serif" font-size="12">\n'
        f'<rect width="100%" height="100%" fill="white"/>\n'
        f'<text x="10" y="22" font-size="15">{escape(title + scale)}</text>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def write_all(out, table, scenarios, figures, names):
    kinds = {
        "throughput": (("messages",), "Messages a second", True),
        "latency": (("p50", "p99"), "Latency in µs", True),
        "memory": (("idle",), "Resident KiB an idle socket", False),
        "connects": (("connects",), "Connects a second", False),
    }
    for name, (wanted, title, log) in kinds.items():
        groups = []
        for scenario in scenarios:
            if scenario.figure not in wanted:
                continue
            bars = [(k, r["value"]) for k, r in table.get(scenario.name, {}).items() if "value" in r]
            if bars:
                unit = f" ({figures[scenario.figure][0]})" if len(wanted) > 1 else ""
                groups.append((scenario.title + unit, bars))
        if groups:
            (out / f"{name}.svg").write_text(chart(title, groups, names, log))
