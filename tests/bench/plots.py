"""Bar charts as SVG, for light and dark pages: one per kind of result."""

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
    "socketio": "#8f6bb0",
    "floor": "#9a9a9a",
}
OTHER = "#5b7fa6"  # servers that the caller named
WIDTH, LABEL, BAR, GAP = 860, 230, 16, 14
STYLE = """<style>
.paper { fill: #ffffff } text { fill: #1f2328 }
@media (prefers-color-scheme: dark) { .paper { fill: #0d1117 } text { fill: #e6edf3 } }
</style>"""

# Scales: one for all groups, a logarithmic one for all, or one for each group.
LINEAR, LOG, EACH = "", ", logarithmic", ", each group with its own scale"


def colour_of(kind):
    for ending in ("_tls", "_cluster"):
        kind = kind.split(ending)[0]
    return COLOURS.get(kind, OTHER)


def chart(title, groups, names, scale):
    """`groups` is [(title, [(variant, value)])]."""
    values = [value for _, bars in groups for _, value in bars if value > 0]
    least = min(values) / 2 if scale == LOG else 0
    room = WIDTH - LABEL - 110

    def length(value, bars):
        if value <= 0:
            return 0
        most = max(value for _, value in bars) if scale == EACH else max(values)
        if scale == LOG:
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
                f'<rect x="{LABEL}" y="{y}" width="{length(value, bars):.1f}" height="{BAR - 2}" '
                f'fill="{colour_of(kind)}"/>'
            )
            shown = f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
            parts.append(f'<text x="{LABEL + length(value, bars) + 6:.1f}" y="{y + 12}">{shown}</text>')
            y += BAR
        y += GAP
    if len(groups) == 1 and scale == EACH:
        scale = LINEAR
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y}" '
        f'font-family="sans-serif" font-size="12">\n'
        f'{STYLE}\n<rect class="paper" width="100%" height="100%"/>\n'
        f'<text x="10" y="22" font-size="15">{escape(title + scale)}</text>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def write_all(out, table, scenarios, figures, names):
    kinds = {
        "throughput": (("messages",), "Messages a second", LOG),
        "latency": (("p50", "p99"), "Latency in µs", LOG),
        "memory": (("idle",), "Resident KiB an idle socket", LINEAR),
        "connects": (("connects",), "Connects a second", LINEAR),
    }
    for name, (wanted, title, scale) in kinds.items():
        groups = []
        for scenario in scenarios:
            if scenario.figure not in wanted:
                continue
            bars = [(k, r["value"]) for k, r in table.get(scenario.name, {}).items() if "value" in r]
            if bars:
                unit = f" ({figures[scenario.figure][0]})" if len(wanted) > 1 else ""
                groups.append((scenario.title + unit, bars))
        if groups:
            (out / f"{name}.svg").write_text(chart(title, groups, names, scale))
