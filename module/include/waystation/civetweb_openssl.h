/* wss on a host application's own CivetWeb port: the glue between CivetWeb's OpenSSL sessions and
 * libwaystation.
 *
 * Every function here is `static inline` and compiled by the host application against its own
 * <civetweb.h> and OpenSSL; the library itself links no libssl. C99 or C++11, CivetWeb 1.14 or later,
 * OpenSSL 1.1.1, 3.0 or later. The host application links libssl and libcrypto, the same copies that
 * its CivetWeb uses.
 *
 *     if (!(mg_init_library(MG_FEATURES_TLS) & MG_FEATURES_TLS)) …   // CivetWeb cannot load OpenSSL
 *     waystation_civetweb_use_openssl(&error);     // once, before mg_start
 *     struct mg_context *ctx = mg_start(…);        // with ports such as 443s
 *     waystation_civetweb_attach(relay, ctx);      // as without TLS; <waystation/civetweb.h>
 *
 * Where the call was not made, or CivetWeb uses another copy of OpenSSL or another TLS library,
 * upgrades on TLS ports get 501 tls_unsupported.
 *
 * What to know
 *   - Only public functions of CivetWeb and OpenSSL are used. Nothing of your SSL_CTX changes, and
 *     callbacks that you set on it stay.
 *   - Which thread uses a session, and when: CivetWeb's worker, until it has ended the upgrade
 *     request; then the relay's thread, to the end. Your callbacks on the SSL_CTX, and free functions
 *     for data at an SSL, run on that thread too. The callbacks end_request, connection_close and
 *     connection_closed run on the worker before the client gets its 101: a slow one delays the 101.
 *   - Do not keep an SSL of CivetWeb's beyond its connection_close. In connection_close and
 *     end_request, read from it at most, such as the peer's certificate.
 *   - For an adopted session renegotiation is off. The relay expects a close_notify at the end of the
 *     session. Key updates and session tickets work as before. Sessions with kernel TLS are refused
 *     with 501.
 *   - A client must wait for the 101 before it sends frames (RFC 6455, section 4.1). Frames that share
 *     a TLS record with the request are lost, since CivetWeb has read them.
 *   - The check of mg_init_library is needed: a CivetWeb that loads OpenSSL at run time may fail to
 *     and still start. It then crashes with the first TLS connection. Debian 12's does.
 *   - Not supported: CivetWeb with mbedTLS or GnuTLS, or built with HTTP/2; LibreSSL, BoringSSL and
 *     AWS-LC.
 */
#ifndef WAYSTATION_CIVETWEB_OPENSSL_H
#define WAYSTATION_CIVETWEB_OPENSSL_H

#include <civetweb.h>
#include <errno.h>
#include <limits.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>

#include <waystation/waystation.h>

#if defined(LIBRESSL_VERSION_NUMBER) || defined(OPENSSL_IS_BORINGSSL) || defined(OPENSSL_IS_AWSLC)
#error "waystation can take TLS sessions over from OpenSSL only; put a TLS proxy in front instead"
#elif OPENSSL_VERSION_NUMBER < 0x10101000L
#error "waystation needs OpenSSL 1.1.1 or later to take TLS sessions over"
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Encrypted bytes that are received at once: a little more than the longest record. */
#define WAYSTATION_OPENSSL_CHUNK_BYTES 17408
/* How often the socket is received from, and how many records are read, in one call. */
#define WAYSTATION_OPENSSL_RECEIVES 4
#define WAYSTATION_OPENSSL_RECORDS 32
/* While more encrypted bytes are held, nothing is read: the answers to key updates pile up there. */
#define WAYSTATION_OPENSSL_HELD_BYTES 65536
/* How much is encrypted in one call. */
#define WAYSTATION_OPENSSL_WRITE_BYTES 262144

/* A held session, and what its BIO needs. */
typedef struct waystation_openssl_link {
  SSL *ssl; /* a reference of its own */
  BIO *bio; /* the session's from `begin` on */
  int descriptor;
  unsigned char *received; /* received, but not yet taken by OpenSSL; NULL: nothing */
  size_t received_at, received_end;
  unsigned char *held; /* to be sent; NULL: nothing */
  size_t held_at, held_end, held_size;
  int receives; /* how often the BIO may still receive in this call of `read` */
  int begun;    /* `begin` was called */
  int fresh;    /* nothing was read yet: OpenSSL may hold bytes that CivetWeb has made it read */
  int more;     /* `read` may return bytes although the descriptor is not readable */
  int ended;    /* our close_notify was sent or is held */
  int eof;      /* TCP has ended */
} waystation_openssl_link;

/* ---- the BIO: never blocks OpenSSL in a write, and receives many records at once */

static inline size_t waystation_openssl_held(const void *object) {
  const waystation_openssl_link *link = (const waystation_openssl_link *)object;
  return link->held_end - link->held_at;
}

/* Appends to the held bytes. Returns 0, or -1 without memory. */
static inline int waystation_openssl_keep(waystation_openssl_link *link, const unsigned char *bytes,
                                          size_t size) {
  size_t kept = waystation_openssl_held(link);
  if (link->held_size - link->held_end < size) {
    size_t needed = 2 * kept + size;
    unsigned char *larger = (unsigned char *)malloc(needed);
    if (larger == NULL) return -1;
    if (kept != 0) memcpy(larger, link->held + link->held_at, kept);
    free(link->held);
    link->held = larger;
    link->held_size = needed;
    link->held_at = 0;
    link->held_end = kept;
  }
  memcpy(link->held + link->held_end, bytes, size);
  link->held_end += size;
  return 0;
}

/* Sends. Returns the number of bytes that the kernel took, or -1 if the connection is broken. */
static inline ssize_t waystation_openssl_send(int descriptor, const unsigned char *bytes,
                                              size_t size) {
  ssize_t sent = send(descriptor, bytes, size, MSG_NOSIGNAL | MSG_DONTWAIT);
  if (sent >= 0) return sent;
  return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR ? 0 : -1;
}

/* Sends held bytes. Returns 0, or -1 if the connection is broken. */
static inline int waystation_openssl_flush(waystation_openssl_link *link) {
  ssize_t sent;
  if (link->held == NULL) return 0;
  sent = waystation_openssl_send(link->descriptor, link->held + link->held_at,
                                 waystation_openssl_held(link));
  if (sent < 0) return -1;
  link->held_at += (size_t)sent;
  if (link->held_at == link->held_end) {
    free(link->held);
    link->held = NULL;
    link->held_at = link->held_end = link->held_size = 0;
  }
  return 0;
}

static inline int waystation_openssl_bio_write(BIO *bio, const char *bytes, int size) {
  waystation_openssl_link *link = (waystation_openssl_link *)BIO_get_data(bio);
  const unsigned char *data = (const unsigned char *)bytes;
  ssize_t sent = 0;
  BIO_clear_retry_flags(bio);
  if (size <= 0) return 0;
  /* A record is always taken whole: after a part, OpenSSL would insist on the same bytes again, and
   * could not answer a key update meanwhile. */
  if (link->held == NULL) sent = waystation_openssl_send(link->descriptor, data, (size_t)size);
  if (sent < 0) return -1;
  if (sent < size && waystation_openssl_keep(link, data + sent, (size_t)(size - sent)) != 0) {
    return -1;
  }
  return size;
}

static inline void waystation_openssl_drop_received(waystation_openssl_link *link) {
  free(link->received);
  link->received = NULL;
}

static inline int waystation_openssl_bio_read(BIO *bio, char *bytes, int size) {
  waystation_openssl_link *link = (waystation_openssl_link *)BIO_get_data(bio);
  size_t taken;
  BIO_clear_retry_flags(bio);
  if (size <= 0) return 0;
  if (link->received == NULL) {
    ssize_t got;
    if (link->receives == 0) {
      BIO_set_retry_read(bio);
      return -1;
    }
    link->receives--;
    link->received = (unsigned char *)malloc(WAYSTATION_OPENSSL_CHUNK_BYTES);
    if (link->received == NULL) return -1;
    got = recv(link->descriptor, link->received, WAYSTATION_OPENSSL_CHUNK_BYTES, MSG_DONTWAIT);
    /* Less than there is room for: the kernel has no more. */
    if (got < WAYSTATION_OPENSSL_CHUNK_BYTES) link->receives = 0;
    if (got <= 0) {
      int again = got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR);
      waystation_openssl_drop_received(link);
      if (again) BIO_set_retry_read(bio);
      if (got == 0) link->eof = 1;
      return got == 0 ? 0 : -1;
    }
    link->received_at = 0;
    link->received_end = (size_t)got;
  }
  taken = link->received_end - link->received_at;
  if (taken > (size_t)size) taken = (size_t)size;
  memcpy(bytes, link->received + link->received_at, taken);
  link->received_at += taken;
  if (link->received_at == link->received_end) waystation_openssl_drop_received(link);
  return (int)taken;
}

static inline long waystation_openssl_bio_ctrl(BIO *bio, int command, long number, void *pointer) {
  const waystation_openssl_link *link = (const waystation_openssl_link *)BIO_get_data(bio);
  (void)number;
  (void)pointer;
  if (command == BIO_CTRL_FLUSH) return 1;
  if (command == BIO_CTRL_EOF) return link->eof;
  return 0;
}

/* Where the one BIO_METHOD is kept. Written by `watch` only. */
static inline BIO_METHOD **waystation_openssl_method(void) {
  static BIO_METHOD *method = NULL;
  return &method;
}

/* ---- the functions that the library is lent; see waystation_stream_functions */

static inline const waystation_stream_functions *waystation_openssl_functions(void);

static inline const void *waystation_openssl_library(void) { return TLS_method(); }

static inline void waystation_openssl_on_new(void *parent, void *pointer, CRYPTO_EX_DATA *data,
                                             int index, long number, void *argument) {
  (void)pointer, (void)data, (void)index, (void)number, (void)argument;
  /* The object is not complete: nothing is asked of it. */
  waystation_stream_made(waystation_openssl_functions(), parent);
}

static inline void waystation_openssl_on_free(void *parent, void *pointer, CRYPTO_EX_DATA *data,
                                              int index, long number, void *argument) {
  (void)pointer, (void)data, (void)index, (void)number, (void)argument;
  waystation_stream_gone(parent);
}

static inline int waystation_openssl_watch(void) {
  int type = BIO_get_new_index();
  BIO_METHOD *method;
  if (type == -1) return -1;
  method = BIO_meth_new(type | BIO_TYPE_SOURCE_SINK, "waystation");
  if (method == NULL) return -1;
  if (!BIO_meth_set_write(method, waystation_openssl_bio_write)
      || !BIO_meth_set_read(method, waystation_openssl_bio_read)
      || !BIO_meth_set_ctrl(method, waystation_openssl_bio_ctrl)
      || SSL_get_ex_new_index(0, NULL, waystation_openssl_on_new, NULL, waystation_openssl_on_free)
             < 0) {
    BIO_meth_free(method);
    return -1;
  }
  *waystation_openssl_method() = method;
  return 0;
}

static inline int waystation_openssl_is_of(const void *session, const void *connection) {
  /* CivetWeb sets its connection as the application's data, right after SSL_new. */
  return SSL_get_app_data((const SSL *)session) == connection;
}

static inline int waystation_openssl_descriptor(const void *session) {
  return SSL_get_fd((const SSL *)session);
}

/* Whether the kernel encrypts or decrypts for the session: it would need its own BIO. */
static inline int waystation_openssl_has_kernel_tls(SSL *ssl) {
#if defined(BIO_get_ktls_send) && defined(BIO_get_ktls_recv)
  return BIO_get_ktls_send(SSL_get_wbio(ssl)) || BIO_get_ktls_recv(SSL_get_rbio(ssl));
#else
  (void)ssl;
  return 0;
#endif
}

static inline void *waystation_openssl_hold(void *session, const char **problem) {
  SSL *ssl = (SSL *)session;
  waystation_openssl_link *link;
  if (SSL_is_dtls(ssl) || !SSL_is_init_finished(ssl) || SSL_get_shutdown(ssl) != 0) {
    *problem = "it is not established";
    return NULL;
  }
  if (SSL_pending(ssl) != 0) {
    /* CivetWeb has the rest of that record, and no call hands it out. */
    *problem = "the client sent more in the record of its request, before the 101 (RFC 6455, 4.1)";
    return NULL;
  }
  if (waystation_openssl_has_kernel_tls(ssl)) {
    *problem = "it uses kernel TLS (SSL_OP_ENABLE_KTLS)";
    return NULL;
  }
  *problem = "memory ran out";
  link = (waystation_openssl_link *)calloc(1, sizeof *link);
  if (link == NULL) return NULL;
  link->bio = BIO_new(*waystation_openssl_method());
  if (link->bio == NULL || !SSL_up_ref(ssl)) {
    (void)BIO_free(link->bio);
    free(link);
    return NULL;
  }
  BIO_set_data(link->bio, link);
  BIO_set_init(link->bio, 1);
  link->ssl = ssl;
  waystation_stream_gone(ssl);
  /* SSL_shutdown sends nothing now, SSL_write fails, and SSL_read returns the end. */
  SSL_set_shutdown(ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
  return link;
}

static inline void waystation_openssl_release(void *object) {
  waystation_openssl_link *link = (waystation_openssl_link *)object;
  if (link->begun) {
    SSL_set_bio(link->ssl, NULL, NULL); /* frees the BIO, also where others hold the session */
  } else {
    (void)BIO_free(link->bio);
  }
  SSL_free(link->ssl);
  free(link->received);
  free(link->held);
  free(link);
}

static inline void waystation_openssl_unhold(void *object) {
  waystation_openssl_link *link = (waystation_openssl_link *)object;
  SSL_set_shutdown(link->ssl, 0);
  waystation_stream_made(waystation_openssl_functions(), link->ssl);
  waystation_openssl_release(link);
}

static inline int waystation_openssl_begin(void *object, int descriptor) {
  waystation_openssl_link *link = (waystation_openssl_link *)object;
  SSL *ssl = link->ssl;
  link->descriptor = descriptor;
  SSL_set_bio(ssl, link->bio, link->bio); /* CivetWeb's BIO does not close its descriptor */
  SSL_set_app_data(ssl, NULL);
  SSL_set_shutdown(ssl, 0);
  SSL_set_options(ssl, SSL_OP_NO_RENEGOTIATION);
#ifdef SSL_OP_IGNORE_UNEXPECTED_EOF
  SSL_clear_options(ssl, SSL_OP_IGNORE_UNEXPECTED_EOF);
#endif
#ifdef SSL_OP_ENABLE_KTLS
  SSL_clear_options(ssl, SSL_OP_ENABLE_KTLS);
#endif
  SSL_set_mode(ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER
                        | SSL_MODE_RELEASE_BUFFERS);
  /* With it, key updates of one client could keep the thread in one call of SSL_read. */
  SSL_clear_mode(ssl, SSL_MODE_AUTO_RETRY);
  SSL_set_read_ahead(ssl, 0); /* the BIO reads ahead, and its bytes can be counted */
  link->begun = link->fresh = link->more = 1;
  return 0;
}

/* After our close_notify: the client's bytes do not matter, only its end. */
static inline ptrdiff_t waystation_openssl_discard(const waystation_openssl_link *link, char *buffer,
                                                   size_t size) {
  ssize_t got = recv(link->descriptor, buffer, size, MSG_DONTWAIT);
  if (got == 0) return WAYSTATION_STREAM_ENDED;
  if (got > 0 || errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) {
    return WAYSTATION_STREAM_WANT_READ;
  }
  return WAYSTATION_STREAM_BROKEN;
}

static inline ptrdiff_t waystation_openssl_read(void *object, char *buffer, size_t size) {
  waystation_openssl_link *link = (waystation_openssl_link *)object;
  ptrdiff_t failure = WAYSTATION_STREAM_WANT_READ;
  size_t total = 0;
  int records;
  if (link->ended) return waystation_openssl_discard(link, buffer, size);
  if (waystation_openssl_held(link) > WAYSTATION_OPENSSL_HELD_BYTES) {
    if (waystation_openssl_flush(link) != 0) return WAYSTATION_STREAM_BROKEN;
    if (waystation_openssl_held(link) > WAYSTATION_OPENSSL_HELD_BYTES) {
      return WAYSTATION_STREAM_WANT_WRITE;
    }
  }
  link->receives = WAYSTATION_OPENSSL_RECEIVES;
  link->more = 1; /* unless OpenSSL and the BIO say that there is nothing left */
  for (records = 0; records < WAYSTATION_OPENSSL_RECORDS && total < size; records++) {
    int error;
    int got;
    ERR_clear_error();
    got = SSL_read(link->ssl, buffer + total, size - total > INT_MAX ? INT_MAX : (int)(size - total));
    if (got > 0) {
      total += (size_t)got;
      if (link->received != NULL || link->receives != 0 || link->fresh) continue;
      if (SSL_pending(link->ssl) != 0) continue;
      link->more = 0; /* known without asking again */
      break;
    }
    error = SSL_get_error(link->ssl, got);
    if (error == SSL_ERROR_WANT_READ) {
      if (link->received != NULL) continue; /* a record without data, such as a key update */
      link->fresh = link->more = 0;
      break;
    }
    /* The same comes again if it is asked for again, after the bytes before it. */
    failure = error == SSL_ERROR_ZERO_RETURN ? WAYSTATION_STREAM_ENDED : WAYSTATION_STREAM_BROKEN;
    break;
  }
  link->receives = 0;
  return total > 0 ? (ptrdiff_t)total : failure;
}

static inline ptrdiff_t waystation_openssl_write(void *object, const char *bytes, size_t size) {
  waystation_openssl_link *link = (waystation_openssl_link *)object;
  size_t total = 0;
  if (waystation_openssl_flush(link) != 0) return WAYSTATION_STREAM_BROKEN;
  if (link->held != NULL) return WAYSTATION_STREAM_WANT_WRITE;
  while (total < size && total < WAYSTATION_OPENSSL_WRITE_BYTES && link->held == NULL) {
    size_t part = size - total;
    int put;
    if (part > SSL3_RT_MAX_PLAIN_LENGTH) part = SSL3_RT_MAX_PLAIN_LENGTH;
    ERR_clear_error();
    put = SSL_write(link->ssl, bytes + total, (int)part);
    if (put <= 0) {
      /* The BIO takes every record. But a handshake message of the client may have come in part. */
      if (SSL_get_error(link->ssl, put) != SSL_ERROR_WANT_READ) return WAYSTATION_STREAM_BROKEN;
      return total > 0 ? (ptrdiff_t)total : (ptrdiff_t)WAYSTATION_STREAM_WANT_READ;
    }
    total += (size_t)put;
  }
  return (ptrdiff_t)total;
}

static inline int waystation_openssl_pending(const void *object) {
  return ((const waystation_openssl_link *)object)->more;
}

static inline void waystation_openssl_end(void *object) {
  waystation_openssl_link *link = (waystation_openssl_link *)object;
  if (link->ended) return;
  link->ended = 1;
  link->more = 0;
  waystation_openssl_drop_received(link);
  ERR_clear_error();
  (void)SSL_shutdown(link->ssl); /* fails after an error of the connection, which is known already */
  ERR_clear_error();
}

static inline const waystation_stream_functions *waystation_openssl_functions(void) {
  static const waystation_stream_functions functions = {
      sizeof(waystation_stream_functions), waystation_openssl_library, waystation_openssl_watch,
      waystation_openssl_is_of,            waystation_openssl_descriptor, waystation_openssl_hold,
      waystation_openssl_unhold,           waystation_openssl_begin,   waystation_openssl_read,
      waystation_openssl_write,            waystation_openssl_pending, waystation_openssl_held,
      waystation_openssl_end,              waystation_openssl_release};
  return &functions;
}

/* ---- the call of the host application */

static inline waystation_status waystation_openssl_refuse(waystation_error *error,
                                                          const char *message) {
  if (error != NULL && error->size >= sizeof *error) {
    error->status = WAYSTATION_INVALID;
    error->option[0] = '\0';
    strncpy(error->message, message, sizeof error->message - 1);
    error->message[sizeof error->message - 1] = '\0';
  }
  return WAYSTATION_INVALID;
}

/* Lets relays take TLS sessions over from CivetWeb, in all contexts and for all relays of the process.
 * Call it before mg_start: the relay knows only sessions that are made afterwards. It may be called
 * again, also from another translation unit, and costs no more.
 *
 * Errors: WAYSTATION_INVALID (CivetWeb was built without TLS or with HTTP/2), WAYSTATION_FAILED
 * (OpenSSL has no memory), WAYSTATION_EXHAUSTED. Upgrades then get 501 tls_unsupported. */
static inline waystation_status waystation_civetweb_use_openssl(waystation_error *error) {
  if (!mg_check_feature(0x2 /* MG_FEATURES_TLS */)) {
    return waystation_openssl_refuse(
        error, "CivetWeb: it was built without TLS; build it with OpenSSL, and without NO_SSL");
  }
  if (mg_check_feature(0x400 /* MG_FEATURES_HTTP2 */)) {
    return waystation_openssl_refuse(
        error, "CivetWeb: it was built with HTTP/2, whose connections cannot be taken over; build it "
               "without USE_HTTP2");
  }
  return waystation_stream_use(waystation_openssl_functions(), error);
}

#ifdef __cplusplus
}
#endif

#endif
