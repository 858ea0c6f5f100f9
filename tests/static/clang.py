"""Has clang look at what g++ compiled: clang.py COMPILE_COMMANDS.

Judges module/ and embed/, with the warnings that they are built with and those about locks, each as an
error. Nothing is built.
"""
import concurrent.futures
import json
import os
import pathlib
import shlex
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
LOOKED_AT = (ROOT / "module", ROOT / "embed")


def is_ours(entry):
    file = pathlib.Path(entry["file"])
    return file.suffix == ".cpp" and any(folder in file.parents for folder in LOOKED_AT)


def judge(entry):
    """Clang's words, empty where it has none."""
    words = shlex.split(entry["command"])
    compiler = next(i for i, word in enumerate(words) if word.endswith(("c++", "g++")))
    command = ["clang++", *words[compiler + 1:], "-fsyntax-only", "-Wthread-safety", "-Werror"]
    done = subprocess.run(command, cwd=entry["directory"], capture_output=True, text=True, check=False)
    return done.stdout + done.stderr if done.returncode else ""


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        entries = {entry["file"]: entry for entry in json.load(file) if is_ours(entry)}
    if not entries:
        sys.exit(f"{sys.argv[1]} names nothing of module/ or embed/; configure build/release anew")
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        complaints = [words for words in pool.map(judge, entries.values()) if words]
    print("".join(complaints), end="")
    sys.exit(1 if complaints else 0)


main()
