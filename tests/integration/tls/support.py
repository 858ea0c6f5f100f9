"""Clients of TLS that decide which bytes leave in which record and segment, update keys and
renegotiate."""

import os
import pathlib
import socket
import ssl
import struct
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from harness import PATIENCE, RawSocket  # noqa: E402
from openssl_client import OpenSSLClient  # noqa: E402
from tls_socket import TlsSocket  # noqa: E402,F401

LONG = bool(os.environ.get("WAYSTATION_LONG"))
VERSIONS = (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)

def raw(server, version=ssl.TLSVersion.TLSv1_3, record=16384, **options):
    """A RawSocket over an OpenSSLClient. Each record has at most `record` bytes."""
    made = RawSocket(server, tls=OpenSSLClient(version), **options)
    made.socket.record = record
    return made


def plain_socket(server, source=None):
    """A TCP connection, before TLS."""
    made = socket.socket()
    made.settimeout(PATIENCE)
    if source is not None:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(("127.0.0.1", source))
    made.connect(("127.0.0.1", server.port))
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made


def reset(made):
    """Ends a TCP connection with a reset."""
    made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    made.close()
