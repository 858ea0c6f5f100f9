"""A client of TLS that does what Python's ssl module does not: it updates keys and renegotiates. It uses
OpenSSL's own library."""

import ctypes
import ctypes.util
import ssl

_crypto = ctypes.CDLL(ctypes.util.find_library("crypto"))
_ssl = ctypes.CDLL(ctypes.util.find_library("ssl"))


def _declare(library, name, result, *arguments):
    function = getattr(library, name)
    function.restype, function.argtypes = result, arguments
    return function


_p, _i, _l = ctypes.c_void_p, ctypes.c_int, ctypes.c_long
_BIO_new = _declare(_crypto, "BIO_new", _p, _p)
_BIO_s_mem = _declare(_crypto, "BIO_s_mem", _p)
_BIO_read = _declare(_crypto, "BIO_read", _i, _p, ctypes.c_char_p, _i)
_BIO_write = _declare(_crypto, "BIO_write", _i, _p, ctypes.c_char_p, _i)
_ERR_clear_error = _declare(_crypto, "ERR_clear_error", None)
_TLS_client_method = _declare(_ssl, "TLS_client_method", _p)
_SSL_CTX_new = _declare(_ssl, "SSL_CTX_new", _p, _p)
_SSL_CTX_free = _declare(_ssl, "SSL_CTX_free", None, _p)
_SSL_CTX_ctrl = _declare(_ssl, "SSL_CTX_ctrl", _l, _p, _i, _l, _p)
_SSL_new = _declare(_ssl, "SSL_new", _p, _p)
_SSL_free = _declare(_ssl, "SSL_free", None, _p)
_SSL_set_bio = _declare(_ssl, "SSL_set_bio", None, _p, _p, _p)
_SSL_connect = _declare(_ssl, "SSL_connect", _i, _p)
_SSL_do_handshake = _declare(_ssl, "SSL_do_handshake", _i, _p)
_SSL_read = _declare(_ssl, "SSL_read", _i, _p, ctypes.c_char_p, _i)
_SSL_write = _declare(_ssl, "SSL_write", _i, _p, ctypes.c_char_p, _i)
_SSL_get_error = _declare(_ssl, "SSL_get_error", _i, _p, _i)
_SSL_key_update = _declare(_ssl, "SSL_key_update", _i, _p, _i)
_SSL_renegotiate = _declare(_ssl, "SSL_renegotiate", _i, _p)
_SSL_shutdown = _declare(_ssl, "SSL_shutdown", _i, _p)

_SET_MIN_VERSION, _SET_MAX_VERSION = 123, 124  # SSL_CTRL_SET_MIN_PROTO_VERSION and …MAX…
_WANT_READ, _ZERO_RETURN = 2, 6                # SSL_ERROR_…


class OpenSSLClient:
    """A TLS connection without a socket: `feed` takes what arrived, `take` returns what is to be
    sent. Not verified: the tests that use Python's ssl module verify the certificate."""

    def __init__(self, version):
        self._context = _SSL_CTX_new(_TLS_client_method())
        for control in (_SET_MIN_VERSION, _SET_MAX_VERSION):
            assert _SSL_CTX_ctrl(self._context, control, int(version), None) == 1
        self._ssl = _SSL_new(self._context)
        self._in, self._out = _BIO_new(_BIO_s_mem()), _BIO_new(_BIO_s_mem())
        _SSL_set_bio(self._ssl, self._in, self._out)

    def free(self):
        _SSL_free(self._ssl)
        _SSL_CTX_free(self._context)
        self._ssl = self._context = None

    __del__ = free

    def feed(self, data):
        assert _BIO_write(self._in, data, len(data)) == len(data)

    def take(self):
        data, buffer = b"", ctypes.create_string_buffer(65536)
        while (size := _BIO_read(self._out, buffer, len(buffer))) > 0:
            data += buffer.raw[:size]
        return data

    def _failed(self, result):
        """None if more must arrive first, b"" at close_notify."""
        error = _SSL_get_error(self._ssl, result)
        _ERR_clear_error()
        if error == _WANT_READ:
            return None
        if error == _ZERO_RETURN:
            return b""
        raise ssl.SSLError(error, "OpenSSL ended the connection")

    def handshake(self):
        """True when it is finished."""
        result = _SSL_connect(self._ssl)
        return result == 1 or self._failed(result) is not None

    def read(self):
        buffer = ctypes.create_string_buffer(65536)
        size = _SSL_read(self._ssl, buffer, len(buffer))
        return buffer.raw[:size] if size > 0 else self._failed(size)

    def write(self, data):
        """Encrypts: one record for up to 16 KiB."""
        for at in range(0, len(data), 16384):
            piece = data[at:at + 16384]
            assert _SSL_write(self._ssl, piece, len(piece)) == len(piece)

    def key_update(self, ask_for_theirs):
        assert _SSL_key_update(self._ssl, int(ask_for_theirs)) == 1
        assert _SSL_do_handshake(self._ssl) == 1

    def renegotiate(self):
        assert _SSL_renegotiate(self._ssl) == 1
        return _SSL_do_handshake(self._ssl)

    def close_notify(self):
        _SSL_shutdown(self._ssl)
