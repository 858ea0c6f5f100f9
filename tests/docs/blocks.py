"""Runs the code blocks of the documents: blocks.py --prefix FOLDER [DOCUMENT…]

README.md in this folder describes the marks. FOLDER is an installation of the library and the server.
Prints a line for each block and each document's links; the last line is `N passed, N failed`.
"""
import argparse
import dataclasses
import json
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
# Documents with a test of their own, or that describe something else than commands.
EXCLUDED = re.compile(r"tests/transcripts/|tests/docs/broken\.md$|node_modules/")
PORTS = ("8000", "8080", "8443", "9000")  # those of the documents
PICTURES = ("", "text")  # languages of blocks that nobody pastes
PATIENCE_SECONDS = 300  # for one block: the first `embed/run.sh` may have to build the page
MARK = re.compile(r"<!--\s*test:\s*(.*?)\s*-->$")
# What a reader's machine has at these paths, a scene has below its own folder.
SYSTEM_FOLDERS = ("/etc/waystation", "/etc/credstore", "/var/lib/waystation")
CREDENTIALS = "/run/credentials/waystation.service"  # where systemd shows the service /etc/credstore


class Failure(Exception):
    """A block does not do what its document says."""


@dataclasses.dataclass
class Block:
    document: str
    line: int
    language: str
    text: str
    scene: str = ""
    words: tuple = ()  # what the mark says behind the scene
    not_run: str = ""  # why

    def option(self, name):
        """The value of NAME=VALUE in the mark; empty if there is none."""
        return next((word.partition("=")[2] for word in self.words if word.startswith(name + "=")), "")

    def __str__(self):
        return f"{self.document}:{self.line} ({self.language or 'no language'})"


def read_mark(block, mark):
    rule, _, reason = mark.partition("not run:")
    block.not_run = reason.strip()
    if "not run:" in mark and not block.not_run:
        raise Failure("`not run:` needs a reason")
    block.scene, *words = rule.split() or [""]
    block.words = tuple(words)
    known = re.compile(r"(serves|output|(file|in|links|at|with|exit)=\S+)$")
    for word in words:
        if not known.match(word):
            raise Failure(f"the mark holds `{word}`; see tests/docs/README.md for what it may hold")


def blocks_of(document, text):
    """Yields (block, mark or None)."""
    mark, fence, block = None, None, None
    previous, is_list = "", False
    for number, line in enumerate(text.split("\n"), 1):
        if fence:
            if line.strip() == fence[1]:
                yield block, mark
                fence = mark = None
            else:
                block.text += line[len(fence[0]):] + "\n"
            continue
        opened = re.match(r"(\s*)(`{3,})\s*([\w+-]*)\s*$", line)
        found = MARK.match(line.strip())
        if opened:
            fence, block = (opened[1], opened[2]), Block(document, number, opened[3], "")
        elif found:
            mark = found[1]
        elif line.strip():
            if re.match(r"\s*([-*+]|\d+\.)\s", line):
                is_list = True
            elif not line.startswith(" "):
                is_list = False
            if line.startswith("    ") and not previous.strip() and not is_list:
                yield Block(document, number, "indented", line + "\n"), None
            mark = None
        previous = line
    if fence:
        yield Block(document, block.line, "unclosed", block.text), None


def free_port():
    """A port that no system chooses by itself, so that it stays free until the server takes it."""
    while True:
        port = random.randint(20000, 32000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return str(port)
            except OSError:
                continue


def accepts(port):
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", int(port))) == 0


class Scene:
    """Blocks that run one after the other in one folder."""

    def __init__(self, prefix):
        self.holder = tempfile.TemporaryDirectory(prefix="waystation-docs-")
        self.folder = pathlib.Path(self.holder.name)
        self.ports = {port: free_port() for port in PORTS}
        self.servers = []
        self.output = None
        self.log_count = 0
        for folder in SYSTEM_FOLDERS:
            (self.folder / folder[1:]).mkdir(parents=True)
        (self.folder / "src").mkdir()
        (self.folder / "src/waystation").symlink_to(ROOT)
        tools = self.folder / ".tools"
        tools.mkdir()
        sudo = tools / "sudo"
        sudo.write_text('#!/bin/sh\nexec "$@"\n')
        sudo.chmod(0o755)
        library = next(prefix.rglob("waystation.pc")).parent
        self.environment = {
            "HOME": str(self.folder),
            "PATH": f"{tools}:{prefix}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "LANG": "C.UTF-8",
            "TZ": "UTC",
            "PKG_CONFIG_PATH": str(library),
            "CMAKE_PREFIX_PATH": str(prefix),
            # The second folder is where Debian's CivetWeb finds OpenSSL 3.
            "LD_LIBRARY_PATH": f"{library.parent}:{library.parent}/waystation",
            # The default; a block that names 127.0.0.1:8080 gets the same port.
            "WAYSTATION_LISTEN": "127.0.0.1:" + self.ports["8080"],
            # CMake takes make unless told otherwise, and what builds this tree brings Ninja alone.
            **({} if shutil.which("make") else {"CMAKE_GENERATOR": "Ninja"}),
            **{name: os.environ[name] for name in ("CCACHE_DIR", "CI") if name in os.environ},
        }

    def end(self):
        problems = [server.end() for server in reversed(self.servers)]
        self.holder.cleanup()
        return [problem for problem in problems if problem]

    def local(self, text):
        """The text with this scene's ports and folders in place of those of the document."""
        text = text.replace(CREDENTIALS, "/etc/credstore")
        for folder in SYSTEM_FOLDERS:
            text = text.replace(folder, str(self.folder / folder[1:]))
        return re.sub(r"\b(" + "|".join(PORTS) + r")\b", lambda port: self.ports[port[1]], text)

    def run(self, command, cwd=None, environment=None, expected=0):
        done = subprocess.run(command, cwd=cwd or self.folder, env=environment or self.environment, text=True, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=PATIENCE_SECONDS, check=False)
        self.output = done.stdout
        if done.returncode != expected:
            logs = "".join(server.log() for server in self.servers)
            raise Failure(f"exit code {done.returncode}, expected {expected}\n{done.stdout}{logs}")

    def write(self, block, default):
        name = block.option("file") or default
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.local(block.text))
        return path

    # ---- one function for each language

    def run_sh(self, block):
        script = self.local(block.text)
        cwd = ROOT if block.option("at") == "root" else self.folder
        # In the repository, as the person who runs this: with their caches.
        environment = dict(self.environment)
        if cwd == ROOT:
            environment["HOME"] = os.environ.get("HOME", "/")
            del environment["LD_LIBRARY_PATH"]  # what is built there finds its own library
        command = ["bash", "-euo", "pipefail", "-c", script]
        if "serves" in block.words:
            self.servers.append(Background(command, cwd, environment, self))
        else:
            self.run(command, cwd, environment, int(block.option("exit") or 0))

    def run_c(self, block):
        host = block.option("in")
        self.write(block, "block.c")
        if not host:
            if not block.option("file"):
                raise Failure("a C block needs file=NAME, and a shell block that compiles it; or in=PROGRAM of tests/docs/programs")
            return
        flags = subprocess.run(["pkg-config", "--cflags", "--libs", "waystation"], env=self.environment,
                               capture_output=True, text=True, check=True).stdout.split()
        self.run(["cc", "-std=c11", "-D_POSIX_C_SOURCE=200809L", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-Wno-unused-parameter", f"-I{self.folder}", f"-I{HERE}/programs",
                  f'-DDOCS_FOLDER="{self.folder}"', f"{HERE}/programs/{host}", "-o", "program", *flags, "-lcivetweb", "-pthread",
                  *[f"-l{name}" for name in block.option("links").split(",") if name]])
        self.run(["./program"])

    def run_toml(self, block):
        path = self.write(block, "waystation.toml")
        # The file's own `listen` is checked too.
        environment = {name: value for name, value in self.environment.items() if name != "WAYSTATION_LISTEN"}
        self.run(["waystation", "config", "check", "--config", str(path)], environment=environment)

    def run_json(self, block):
        for text in block.text.splitlines() if block.option("file") == "" and is_json_lines(block.text) else [block.text]:
            json.loads(text)
        if block.option("file"):
            self.write(block, "")

    def run_python(self, block):
        self.run(["/usr/bin/python3", str(self.write(block, "block.py"))])

    def run_ts(self, block):
        """Checks the types against the client as it was built; nothing runs."""
        www = ROOT / "www"
        if not (www / "node_modules/.bin/tsc").exists() or not (www / "lib/types").exists():
            raise Failure("the page is not built, and its types are needed; run embed/run.sh first")
        path = self.write(block, "block." + block.language)
        types = {"waystation-client": "waystation/index.d.ts", "waystation-client/vue": "composables/index.d.ts",
                 "/waystation.js": "waystation/index.d.ts"}
        (self.folder / "tsconfig.json").write_text(json.dumps({
            "compilerOptions": {
                "target": "ES2022", "module": "ESNext", "moduleResolution": "Bundler", "lib": ["ES2022", "DOM"], "types": [],
                "strict": True, "noEmit": True, "allowJs": True, "checkJs": True, "skipLibCheck": True, "moduleDetection": "force",
                "paths": {**{name: [str(www / "lib/types" / file)] for name, file in types.items()},
                          "vue": [str(www / "node_modules/vue/dist/vue.d.ts")]},
            },
            "files": [path.name, str(HERE / "programs/globals.d.ts")],
        }))
        self.run([str(www / "node_modules/.bin/tsc"), "-p", str(self.folder)])

    run_js = run_ts

    def run_cmake(self, block):
        if block.option("file") != "CMakeLists.txt":
            raise Failure("a CMake block needs file=CMakeLists.txt, and a shell block that builds it")
        self.write(block, "")

    def run_text(self, block):
        """Output of the block before; `…` stands for anything, within a line or for whole lines."""
        if self.output is None:
            raise Failure("no block has run before it")
        lines = self.local(block.text).rstrip("\n").split("\n")
        expected = "\n".join(".*" if line.strip() == "…" else re.sub("…", "[^\n]*", re.escape(line)) for line in lines)
        if not re.fullmatch(expected, self.output.strip("\n"), re.DOTALL):
            raise Failure(f"the output is another:\n{self.output}")


def is_json_lines(text):
    return len(text.strip().splitlines()) > 1 and all(line.startswith(("{", "[")) for line in text.strip().splitlines()) \
        and text.strip().splitlines()[0].rstrip().endswith(("}", "]"))


class Background:
    """A block that serves until its scene ends."""

    def __init__(self, command, cwd, environment, scene):
        scene.log_count += 1
        self.path = scene.folder / f".server-{scene.log_count}.log"
        self.file = self.path.open("w", encoding="utf-8")
        before = {port for port in scene.ports.values() if accepts(port)}
        # pylint: disable-next=consider-using-with
        self.process = subprocess.Popen(command, cwd=cwd, env=environment, stdin=subprocess.DEVNULL, stdout=self.file,
                                        stderr=subprocess.STDOUT, start_new_session=True)
        end = time.monotonic() + PATIENCE_SECONDS
        while not any(port not in before and accepts(port) for port in scene.ports.values()):
            if self.process.poll() is not None or time.monotonic() > end:
                self.end()
                raise Failure(f"it does not serve on the port of the document (exit code {self.process.returncode})\n{self.log()}")
            time.sleep(0.02)

    def log(self):
        return self.path.read_text(encoding="utf-8", errors="replace")

    def end(self):
        """Ends it as Ctrl-C would; what went wrong, or nothing."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGINT)
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
                return f"it did not end within 15 s of Ctrl-C\n{self.log()}"
        self.file.close()
        if self.process.returncode not in (0, 130, -signal.SIGINT):
            return f"a server ended with {self.process.returncode}\n{self.log()}"
        return ""


def with_audit(scene):
    """An audit file with a row of each kind that a healthy server writes."""
    server = Background(["waystation", "serve", "--www", "", "--audit-file", "audit.db"], scene.folder, scene.environment, scene)
    try:
        scene.run(["/usr/bin/python3", str(HERE / "talk.py"), scene.ports["8080"]])
    finally:
        problem = server.end()
    if problem:
        raise Failure(problem)


FIXTURES = {"audit": with_audit}
# Blocks of these languages are checked for syntax where they cannot run.
SYNTAX = {"sh": ["bash", "-n"], "python": ["/usr/bin/python3", "-m", "py_compile"]}


class Run:
    def __init__(self, prefix):
        self.prefix = prefix
        self.passed = self.failed = 0

    def count(self, what, problem=""):
        if problem:
            self.failed += 1
            print(f"FAILED  {what}: {problem.splitlines()[0]}", flush=True)
            for line in problem.splitlines()[1:][-40:]:
                print(f"        {line}", flush=True)
        else:
            self.passed += 1
            print(f"ok      {what}", flush=True)

    def run_block(self, block, scenes):
        if block.not_run:
            if block.language in SYNTAX:
                with tempfile.NamedTemporaryFile("w", suffix=".txt") as file:
                    file.write(block.text)
                    file.flush()
                    done = subprocess.run([*SYNTAX[block.language], file.name], capture_output=True, text=True, check=False)
                if done.returncode != 0:
                    raise Failure(f"its syntax is wrong\n{done.stderr}")
            return
        runner = getattr(Scene, "run_" + block.language, None)
        if runner is None:
            raise Failure("there is no way to run this language; see tests/docs/README.md")
        if block.language == "text" and "output" not in block.words:
            raise Failure("a marked text block says `output`")
        if block.scene not in scenes:
            scenes[block.scene] = Scene(self.prefix)
        scene = scenes[block.scene]
        if block.option("with"):
            FIXTURES[block.option("with")](scene)
        try:
            runner(scene, block)
        except subprocess.TimeoutExpired:
            raise Failure(f"it did not end within {PATIENCE_SECONDS} s") from None
        except ValueError as error:
            raise Failure(str(error)) from None

    def run_document(self, document):
        text = (ROOT / document).read_text(encoding="utf-8")
        scenes = {}
        for block, mark in blocks_of(document, text):
            if mark is None and block.language in PICTURES:
                continue
            try:
                if block.language in ("indented", "unclosed"):
                    raise Failure("code stands in a fence, ``` and its language, that is closed")
                if mark is None:
                    raise Failure("the block has no mark `<!-- test: … -->` above it")
                read_mark(block, mark)
                self.run_block(block, scenes)
                self.count(f"{block}, syntax only: {block.not_run}" if block.not_run else block)
            except Failure as failure:
                self.count(block, str(failure))
        for name, scene in scenes.items():
            for problem in scene.end():
                self.count(f"{document}, the end of {name}", problem)
        broken = broken_links(document, text)
        for link, problem in broken:
            self.count(f"{document}: the link {link}", problem)
        if not broken and links_of(text):
            self.count(f"{document}: its links")


def links_of(text):
    text = re.sub(r"^(\s*)```.*?^\1```$", "", text, flags=re.DOTALL | re.MULTILINE)
    return re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'(?:src|href)="([^"]+)"', text)


def anchors_of(text):
    """The anchors that GitHub gives to headings."""
    anchors = set()
    for heading in re.findall(r"^#+ +(.*?) *$", re.sub(r"^```.*?^```$", "", text, flags=re.DOTALL | re.MULTILINE), re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        anchors.add(re.sub(r"[^\w\- ]", "", plain).replace(" ", "-"))
    return anchors


def broken_links(document, text):
    broken = []
    for link in links_of(text):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (ROOT / document).parent / urllib.parse.unquote(path) if path else ROOT / document
        if not target.exists():
            broken.append((link, "there is no such file"))
        elif anchor and urllib.parse.unquote(anchor) not in anchors_of(target.read_text(encoding="utf-8")):
            broken.append((link, "there is no such heading"))
    return broken


def documents():
    names = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"], cwd=ROOT,
                           capture_output=True, text=True, check=True).stdout.split()
    return [name for name in names if not EXCLUDED.search(name) and (ROOT / name).exists()]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--prefix", required=True, type=pathlib.Path)
    parser.add_argument("documents", nargs="*")
    options = parser.parse_args()
    # Ctrl-C ends the servers, also if a shell that started this in the background ignores it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    run = Run(options.prefix)
    for document in options.documents or documents():
        run.run_document(document)
    print(f"{run.passed} passed, {run.failed} failed")
    return 0 if run.failed == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
