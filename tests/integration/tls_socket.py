"""TLS over a socket, for tests. One thread may send while another receives, which Python's SSLSocket
does not allow."""

import ssl
import threading


class Session:
    """A TLS session without a socket, of Python's ssl module. `feed` takes what arrived; `take`
    returns what is to be sent."""

    def __init__(self, context, resumed=None):
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.object = context.wrap_bio(self._in, self._out, server_hostname="127.0.0.1",
                                       session=resumed)

    def feed(self, data):
        self._in.write(data)

    def take(self):
        return self._out.read()

    def handshake(self):
        """True when it is finished."""
        try:
            self.object.do_handshake()
        except ssl.SSLWantReadError:
            return False
        return True

    def read(self):
        """None if more must arrive first, b"" at close_notify."""
        try:
            return self.object.read(65536)
        except ssl.SSLWantReadError:
            return None
        except ssl.SSLZeroReturnError:
            return b""

    def write(self, data):
        self.object.write(data)

    def free(self):
        pass


class TlsSocket:
    """A session over a connected socket, with the calls that RawSocket makes. Each record has at most
    `record` bytes. While `hold` is true, encrypted bytes wait in `waiting`. A TCP connection that ends
    without close_notify raises ssl.SSLEOFError."""

    def __init__(self, plain, session, record=16384):
        self.plain, self.session, self.record = plain, session, record
        self.hold, self.waiting = False, b""
        self._session_lock, self._send_lock = threading.Lock(), threading.Lock()
        while not session.handshake():
            self.flush()
            self._receive()
        self.flush()

    def _receive(self):
        data = self.plain.recv(65536)
        if not data:
            raise ssl.SSLEOFError("the connection ended without close_notify")
        with self._session_lock:
            self.session.feed(data)

    def flush(self, data=b""):
        """Encrypts `data`, and sends what waits."""
        with self._send_lock:
            with self._session_lock:
                for at in range(0, len(data), self.record):
                    self.session.write(data[at:at + self.record])
                self.waiting += self.session.take()
            if self.hold:
                return
            data, self.waiting = self.waiting, b""
            if data:
                self.plain.sendall(data)

    def sendall(self, data):
        self.flush(data)

    def recv(self, _):
        while True:
            with self._session_lock:
                data = self.session.read()
                answer = self.session.take()
                self.waiting += answer
            if answer:
                self.flush()  # for example the answer to a KeyUpdate
            if data is not None:
                return data
            self._receive()

    def setsockopt(self, *arguments):
        self.plain.setsockopt(*arguments)

    def shutdown(self, how):
        self.plain.shutdown(how)

    def settimeout(self, seconds):
        self.plain.settimeout(seconds)

    def close(self):
        self.plain.close()
        with self._session_lock:
            self.session.free()
