"""The real nginx in a folder, for tests. NGINX names the program (default: /usr/sbin/nginx)."""
import contextlib
import os
import pathlib
import re
import signal
import socket
import subprocess
import time

PROGRAM = os.environ.get("NGINX", "/usr/sbin/nginx")

# nginx takes a variable of this name for the sockets of a binary upgrade.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "NGINX"}

# The timeout of every wait, in seconds. A passing test never reaches it.
PATIENCE = 60 if os.environ.get("WAYSTATION_SANITIZED") else 20


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until(what, condition, patience=PATIENCE):
    """Waits until a condition is true."""
    end = time.monotonic() + patience
    while not condition():
        if time.monotonic() > end:
            raise AssertionError("in vain waited for " + what)
        time.sleep(0.01)


def can_connect(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False


class Nginx:
    """The real nginx, with everything it writes in `folder`. Its errors are in `error.log`."""

    def __init__(self, folder, http, port, main="", events="worker_connections 256;", workers=2,
                 daemon=False):
        """Runs with the configuration `http` of its http block, and returns when it listens on
        `port`. `main` is configuration outside of all blocks. Only a daemon can change its binary."""
        self.folder = folder
        self.worker_count = workers
        if "ASAN_OPTIONS" in os.environ:
            main += " env ASAN_OPTIONS;"  # a binary upgrade keeps no other variables
        (folder / "nginx.conf").write_text(f"""
            {main}
            worker_processes {workers};
            pid {folder}/nginx.pid;
            error_log {folder}/error.log notice;
            events {{ {events} }}
            http {{
              access_log {folder}/access.log;
              client_body_temp_path {folder}/body;
              proxy_temp_path {folder}/proxy;
              fastcgi_temp_path {folder}/fastcgi;
              uwsgi_temp_path {folder}/uwsgi;
              scgi_temp_path {folder}/scgi;
              {http}
            }}
            """)
        checked = self.check(folder)
        if checked.returncode != 0:
            raise AssertionError("nginx does not take the configuration:\n" + checked.stderr)
        self.warnings = [line for line in checked.stderr.splitlines() if "[warn]" in line]
        self.process = subprocess.Popen(
            [*self.command(folder), "-g", f"daemon {'on' if daemon else 'off'};"],
            stderr=subprocess.DEVNULL, env=ENVIRONMENT)
        wait_until("nginx", lambda: can_connect(port))
        wait_until("its workers", lambda: len(self.workers()) == workers)

    @staticmethod
    def command(folder):
        return [PROGRAM, "-p", str(folder), "-c", str(folder / "nginx.conf"),
                "-e", str(folder / "error.log")]

    @staticmethod
    def check(folder):
        """`nginx -t` of the nginx.conf in a folder."""
        return subprocess.run([*Nginx.command(folder), "-t"], capture_output=True, text=True,
                              env=ENVIRONMENT, check=False)

    @property
    def master(self):
        """The process id of the master. A binary upgrade changes it."""
        return int((self.folder / "nginx.pid").read_text())

    def log(self):
        return (self.folder / "error.log").read_text()

    def serious(self):
        """The lines of the log that nginx writes for its own defects."""
        return [line for line in self.log().splitlines()
                if re.search(r"\[(alert|crit|emerg)\]|Sanitizer|runtime error", line)]

    def workers(self):
        try:
            master = self.master
        except (FileNotFoundError, ValueError):  # it is just starting
            return set()
        children = pathlib.Path(f"/proc/{master}/task/{master}/children")
        return set(children.read_text().split())

    def reload(self):
        """Returns when every old worker has been told to exit, and new workers exist."""
        ended = self.log().count("gracefully shutting down")
        before = self.workers()
        os.kill(self.master, signal.SIGHUP)
        wait_until("new workers", lambda: len(self.workers() - before) >= self.worker_count)
        wait_until("old workers", lambda: self.log().count("gracefully shutting down")
                   >= ended + self.worker_count)
        return before

    def stop(self):
        with contextlib.suppress(FileNotFoundError):
            os.kill(self.master, signal.SIGTERM)
        wait_until("the end of nginx", lambda: not (self.folder / "nginx.pid").exists())
        self.process.wait(PATIENCE)
