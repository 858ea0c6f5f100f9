"""Checks with clang the sources that g++ compiled: clang.py COMPILE_COMMANDS.

Checks module/ and embed/ with the build's warnings and the thread-safety analysis, as errors. Builds
nothing.
"""
import concurrent.futures
import json
import os
import pathlib
import shlex
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
CHECKED = (ROOT / "module", ROOT / "embed")


def is_checked(entry):
    file = pathlib.Path(entry["file"])
    return file.suffix == ".cpp" and any(folder in file.parents for folder in CHECKED)


def judge(entry):
    """Clang's messages; empty if there are none."""
    words = shlex.split(entry["command"])
    compiler = next(i for i, word in enumerate(words) if word.endswith(("c++", "g++")))
    command = ["clang++", *words[compiler + 1:], "-fsyntax-only", "-Wthread-safety", "-Werror"]
    done = subprocess.run(command, cwd=entry["directory"], capture_output=True, text=True, check=False)
    return done.stdout + done.stderr if done.returncode else ""


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        entries = {entry["file"]: entry for entry in json.load(file) if is_checked(entry)}
    if not entries:
        sys.exit(f"{sys.argv[1]} no source of module/ or embed/; configure build/release again")
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        warnings = [words for words in pool.map(judge, entries.values()) if words]
    print("".join(warnings), end="")
    sys.exit(1 if warnings else 0)


main()
