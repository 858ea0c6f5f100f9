"""Checks with clang the sources that g++ compiled: clang.py COMPILE_COMMANDS.

Checks module/ and embed/ with the build's warnings and the thread-safety analysis, as errors. Builds
nothing.
"""
import concurrent.futures
import json
import os
import pathlib
import re
import shlex
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
CHECKED = (ROOT / "module", ROOT / "embed")


def sources(entry):
    """The entry; of a unity build, which CMake generates, an entry for each file."""
    if "/Unity/" not in entry["file"]:
        return [entry]
    with open(entry["file"], encoding="utf-8") as file:
        files = re.findall(r'^#include "(.+\.cpp)"$', file.read(), re.MULTILINE)
    if not files:
        sys.exit(f"{entry['file']} includes no source")
    return [{**entry, "file": name, "command": entry["command"].replace(entry["file"], name)}
            for name in files]


def is_checked(entry):
    file = pathlib.Path(entry["file"])
    return file.suffix == ".cpp" and any(folder in file.parents for folder in CHECKED)


def arguments(entry):
    """The compiler's arguments without the object file, which is not written."""
    words = shlex.split(entry["command"])
    compiler = next(i for i, word in enumerate(words) if word.endswith(("c++", "g++")))
    output = words.index("-o", compiler)
    return (entry["directory"], *words[compiler + 1:output], *words[output + 2:])


def judge(folder_and_arguments):
    """Clang's messages; empty if there are none."""
    folder, *words = folder_and_arguments
    command = ["clang++", *words, "-fsyntax-only", "-Wthread-safety", "-Werror"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr if done.returncode else ""


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        entries = [source for entry in json.load(file) for source in sources(entry)]
    # Two targets may compile a file with other options; both forms are checked.
    forms = {arguments(entry): None for entry in entries if is_checked(entry)}
    if not forms:
        sys.exit(f"{sys.argv[1]} no source of module/ or embed/; configure build/release again")
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        warnings = [words for words in pool.map(judge, forms) if words]
    print("".join(warnings), end="")
    sys.exit(1 if warnings else 0)


main()
