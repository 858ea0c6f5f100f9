"""Certificates for tests, made with the program openssl."""

import datetime
import pathlib
import ssl
import subprocess
import tempfile

ADDRESSES = "subjectAltName=DNS:localhost,IP:127.0.0.1,IP:127.0.0.2"

AUTHORITY = """\
[ca]
database = {folder}/index
new_certs_dir = {folder}
serial = {folder}/serial
default_md = sha256
policy = any
unique_subject = no
[any]
commonName = supplied
[authority]
basicConstraints = critical, CA:TRUE
[server]
{addresses}
"""


def openssl(*arguments):
    done = subprocess.run(["openssl", *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


class Authority:
    """A root certificate, an intermediate one, and server certificates of the latter. Use it in a
    `with` block; the files are deleted at its end."""

    def __enter__(self):
        self._folder = tempfile.TemporaryDirectory()
        self.folder = pathlib.Path(self._folder.name)
        (self.folder / "index").touch()
        (self.folder / "serial").write_text("1000\n")
        (self.folder / "ca").write_text(AUTHORITY.format(folder=self.folder, addresses=ADDRESSES))
        self.root = self._issue("root", ["-selfsign", "-extensions", "authority"])
        self.intermediate = self._issue("intermediate", self._signed_by("root", "authority"))
        return self

    def __exit__(self, *_):
        self._folder.cleanup()

    def path(self, name):
        return str(self.folder / name)

    def _signed_by(self, name, extensions):
        return ["-cert", self.path(f"{name}.crt"), "-keyfile", self.path(f"{name}.key"),
                "-extensions", extensions]

    def _issue(self, name, options, begins=-1, ends=100):
        now = datetime.datetime.now(datetime.timezone.utc)
        begin, end = ((now + datetime.timedelta(days)).strftime("%Y%m%d%H%M%SZ")
                      for days in (begins, ends))
        openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                "-subj", f"/CN={name}", "-keyout", self.path(f"{name}.key"),
                "-out", self.path(f"{name}.csr"))
        openssl("ca", "-batch", "-notext", "-config", self.path("ca"), "-name", "ca", "-keyfile",
                self.path(f"{name}.key"), *options, "-startdate", begin, "-enddate", end,
                "-in", self.path(f"{name}.csr"), "-out", self.path(f"{name}.crt"))
        return self.path(f"{name}.crt")

    def issue(self, name, begins=-1, ends=100):
        """Makes NAME.pem, a certificate for loopback with its chain, and NAME.key. `begins` and
        `ends` are days from now."""
        own = self._issue(name, self._signed_by("intermediate", "server"), begins, ends)
        chain = pathlib.Path(own).read_text() + pathlib.Path(self.intermediate).read_text()
        pathlib.Path(self.path(f"{name}.pem")).write_text(chain)

    def options(self, name):
        """The server's options for a certificate."""
        return ("--tls-certificate", self.path(f"{name}.pem"), "--tls-key", self.path(f"{name}.key"))

    def client(self, version=None):
        """The context of a client that trusts the root only."""
        context = ssl.create_default_context(cafile=self.root)
        if version is not None:
            context.minimum_version = context.maximum_version = version
        return context
