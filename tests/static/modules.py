#!/usr/bin/env python3
"""Checks the dependency rule of module/README.md: which module may include which, and which module
may use a third-party library.

    tests/static/modules.py [ROOT]    ROOT: the repository, by default the one of this script

Prints a line `FILE:LINE: <what is wrong>` for each violation, and exits with 1 if there is one.
"""
import pathlib
import re
import sys

# A module may include its own headers and those of the modules listed here.
MAY_INCLUDE = {
    "base": set(),
    "relay": {"base"},
    "websocket": {"base"},
    "admission": {"base", "relay", "websocket"},
    "audit": {"base", "relay"},
    "reactor": {"base", "relay", "websocket"},
    "http": {"base", "relay", "admission", "audit"},
    "handover": {"base", "admission", "reactor"},
    "cluster": {"base", "relay", "reactor"},
    "api": {"base", "relay", "websocket", "admission", "audit", "reactor", "http", "handover",
            "cluster", "waystation"},
    "include": {"waystation"},
}
# Third-party headers, and the only modules that may include them.
ONLY_IN = {
    r"sqlite3\.h": {"audit"},
    r"jwt\.h": {"admission"},
    r"cjson/": {"base", "admission", "http"},
    r"hiredis/": {"cluster"},
    r"openssl/": {"base", "websocket", "admission", "cluster", "include"},  # include: civetweb_openssl.h
    r"sys/epoll\.h": {"reactor"},
    r"civetweb\.h": {"include"},
}
# The server uses only the public interface.
EMBED_MAY_INCLUDE = {"embed", "waystation"}

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')


def included(path):
    """(line number, whether in quotes, name) of each include directive of a file."""
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        found = INCLUDE.match(line)
        if found:
            yield number, found[1] == '"', found[2]


def violations(root):
    modules = [folder for folder in sorted((root / "module").iterdir()) if folder.is_dir()]
    for folder in modules:
        module = folder.name
        if module not in MAY_INCLUDE:
            yield f"{folder}: the module has no entry in tests/static/modules.py; add one"
            continue
        allowed = MAY_INCLUDE[module] | {module}
        for path in sources(folder):
            for line, is_quoted, name in included(path):
                other = name.split("/")[0]
                if is_quoted and "/" in name and other not in allowed:
                    yield f"{path}:{line}: {module} must not include {name}"
                for pattern, users in ONLY_IN.items():
                    if not is_quoted and re.match(pattern, name) and module not in users:
                        yield (f"{path}:{line}: <{name}> belongs to {', '.join(sorted(users))}; "
                               f"{module} must not include it")
    for path in sources(root / "embed"):
        for line, is_quoted, name in included(path):
            if is_quoted and name.split("/")[0] not in EMBED_MAY_INCLUDE:
                yield f"{path}:{line}: the server must not include {name}; use <waystation/…>"


def sources(folder):
    return sorted(path for path in folder.rglob("*") if path.suffix in {".cpp", ".hpp", ".h"})


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else __file__).resolve()
    root = root if root.is_dir() else root.parents[2]
    found = list(violations(root))
    for line in found:
        print(line.replace(f"{root}/", ""))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
