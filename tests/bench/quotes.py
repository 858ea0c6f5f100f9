"""The figures of the last kept run that other documents quote. They are written together with RESULTS.md."""

import re

from scenarios import OURS

# Each row of the table in the README: the scenario, and the row's first cell in both languages.
COMPARED = (
    ("pairs_100", "Messages/s, 100 pairs, 1 in flight", "消息/秒，100 对，每对 1 条在途"),
    ("pairs_50x16", "Messages/s, 50 pairs, 16 in flight", "消息/秒，50 对，每对 16 条在途"),
    ("idle_8000", "Server memory of an idle socket", "每个空闲连接占用的服务器内存"),
    ("connects", "New connections/s", "新建连接/秒"),
)
# The servers of the columns after that cell. None was measured of Centrifugo; Socket.IO's cell has the
# figure of ws, which it is built on.
COLUMNS = (OURS, "channels", "nchan", None, "ws")
NUMBER = r"([\d,]+(?:\.\d+)?)"


def cell(label, column):
    """Matches the number in a cell of the row that begins with `label`; `column` counts from 0."""
    return rf"^\| {re.escape(label)} \|(?:[^|\n]*\|){{{column}}}[^|\n\d]*{NUMBER}(?: KiB)? \|"


def quotes():
    """(document, pattern whose group is the number, scenario, server)"""
    for scenario, english, chinese in COMPARED:
        for document, label in (("README.md", english), ("README.zh-CN.md", chinese)):
            for column, kind in enumerate(COLUMNS):
                if kind:
                    yield document, cell(label, column), scenario, kind
    guide, packages = "module/EMBEDDING.md", "packaging/README.md"
    yield guide, rf"An idle TLS socket takes {NUMBER} KiB", "tls_idle_2000", "waystation_tls"
    yield guide, rf"of which {NUMBER} KiB are OpenSSL's own", "tls_idle_2000", "floor_tls"
    memory = rf"^\| memory of an idle socket in the server \|[^|]*\| {NUMBER} KiB \|"
    yield packages, memory, "tls_idle_2000", "waystation_tls"
    yield packages, rf"A socket takes 1 KiB in the server, with TLS {NUMBER} KiB", "tls_idle_2000", "waystation_tls"


DOCUMENTS = sorted({document for document, *_ in quotes()})


def write(root, table, number):
    """Writes the figures of `table`, formatted by `number`, into the documents below `root`. Raises ValueError
    if a document does not have the place exactly once, or the run has no such figure."""
    for document in DOCUMENTS:
        text = (root / document).read_text()
        for _, pattern, scenario, kind in (quote for quote in quotes() if quote[0] == document):
            found = list(re.finditer(pattern, text, re.MULTILINE))
            if len(found) != 1:
                raise ValueError(f"{document}: {len(found)} places match {pattern}; expected one")
            row = table.get(scenario, {}).get(kind, {})
            if "value" not in row:
                raise ValueError(f"{document}: {kind} has no figure in {scenario}; the document keeps the old one")
            begin, end = found[0].span(1)
            text = text[:begin] + number(row["value"]) + text[end:]
        (root / document).write_text(text)
