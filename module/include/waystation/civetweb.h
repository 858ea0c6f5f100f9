/* The glue between CivetWeb and libwaystation.
 *
 * Every function here is `static inline` and compiled by the host application against its own
 * <civetweb.h>. The library links no CivetWeb, so the host application chooses its version and build
 * options, and whether it is linked or compiled in. C99 or C++11, and CivetWeb 1.14 or later, with or
 * without USE_WEBSOCKET.
 *
 *     struct mg_context *ctx = mg_start(…);
 *     waystation_civetweb_attach(relay, ctx);      // /ws/chat/<group>/ and /push/<user>/
 *     waystation_civetweb_attach_api(relay, ctx);  // optional: /api/v1/… and /healthz
 *
 * What to know
 *   - The relay adopts the descriptor of a socket before anything is answered; CivetWeb keeps a dead
 *     one in its place. No worker waits for an open socket. `websocket_timeout_ms` and the ping-pong
 *     option do not apply to it. mg_stop does not close it.
 *   - CivetWeb's access log shows status -1 for an adopted socket. Its callbacks end_request,
 *     connection_close and connection_closed run at once, not when the chat ends.
 *   - On TLS ports the relay takes the TLS session over with the socket, if you have called
 *     waystation_civetweb_use_openssl (<waystation/civetweb_openssl.h>) before mg_start. Otherwise
 *     upgrades get 501 tls_unsupported there.
 *   - Unix-domain ports are refused. Their connections have no address by which to find the
 *     descriptor.
 *   - The relay answers everything under its paths, also in upper case, since CivetWeb's patterns
 *     ignore case: a path that is not exactly a route gets 404. Your protection of other paths does
 *     not change. The patterns end in a slash, so /pushover stays yours.
 *   - Handlers that CivetWeb calls before ours come first: begin_request, and an auth handler of yours
 *     that was registered earlier for these paths. They may refuse requests; all others reach the
 *     relay. Behind such an auth handler CivetWeb itself refuses a handshake without a key, or with a
 *     version other than 13. It then sends no status line. Without such a handler the relay answers
 *     400 or 426. If CivetWeb was built without USE_WEBSOCKET, nothing runs after your auth handler:
 *     it must not cover /ws/chat/ and /push/.
 *   - Attach before you register a request handler that matches every path, such as "/": CivetWeb
 *     calls the first handler whose pattern matches, and the HTTP API is such a handler. The socket
 *     routes do not depend on the order.
 *   - By default CivetWeb itself answers CORS preflights, for every path and with "*". Set
 *     `access_control_allow_origin` and `access_control_allow_methods` to "" unless pages of other
 *     sites may call the API.
 *   - To detach, free the relay, before or after mg_stop. The handlers stay registered and answer
 *     503: they keep the relay's id, never a pointer. Attach another relay to replace them.
 *   - Set `request_timeout_ms` to a few seconds, such as 5000; the default is 30 seconds. A slow
 *     request header occupies a worker for up to twice that, and a slow body of a permitted caller for
 *     ten seconds more. `tcp_nodelay` matters for your own pages only: the relay sets it itself.
 *   - As many silent connections as CivetWeb has workers keep all others waiting for that time. If
 *     strangers can reach the port, call waystation_civetweb_end_slow_connections twice a second.
 *   - Requests of which CivetWeb hides a part are refused, see waystation_civetweb_check. Every answer
 *     of the relay ends its connection.
 */
#ifndef WAYSTATION_CIVETWEB_H
#define WAYSTATION_CIVETWEB_H

#include <civetweb.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <waystation/waystation.h>

#if !defined(CIVETWEB_VERSION_MAJOR)                                                               \
    || (CIVETWEB_VERSION_MAJOR == 1 && CIVETWEB_VERSION_MINOR < 14)
#error "waystation needs CivetWeb 1.14 or later: earlier versions do not tell a handler its port"
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* The descriptor of a connection whose request is being served, or -1 if you do not know it: the library
 * then searches all descriptors of the process for it. CivetWeb has no call for it. If you know it, for
 * example because you compile CivetWeb's source in, define this macro before you include this header.
 * Upgrades on plain ports then cost less. Never guess: the relay takes the socket that you name. */
#ifndef WAYSTATION_CIVETWEB_DESCRIPTOR
#define WAYSTATION_CIVETWEB_DESCRIPTOR(conn) ((void)(conn), -1)
#endif

/* How much of a body that is too long is still read, so that the client can read its 413. */
#define WAYSTATION_CIVETWEB_DISCARD_BYTES 65536
/* How many listening ports are looked at, see waystation_civetweb_end_slow_connections. */
#define WAYSTATION_CIVETWEB_MAX_PORTS 32

/* A request as the library wants it. It points into CivetWeb's memory and is valid until the handler
 * returns. It also points to itself: do not copy it. */
typedef struct waystation_civetweb_call {
  waystation_request request;
  waystation_header headers[MG_MAX_HEADERS];
  waystation_stream stream;
  int body_begun;
} waystation_civetweb_call;

/* Checks that CivetWeb passed on the whole request header, and that the length of the body is
 * unambiguous. Returns 0, or the status to refuse with: 400 or 431; see waystation_civetweb_reject.
 *
 * CivetWeb drops header fields silently: those after number MG_MAX_HEADERS, and all behind a line that
 * begins with anything but a visible ASCII character, such as a folded one. A dropped X-Forwarded-For
 * would make a stranger look like the proxy, and a dropped length would make a body look like the next
 * request (RFC 9112, section 11.2). Of two lengths CivetWeb uses the first, while a proxy in front may
 * have used the other (section 6.3).
 *
 * Call it in your own handlers too if they judge clients by header fields, and in begin_request if you
 * have one: that covers every path. */
static inline int waystation_civetweb_check(const struct mg_connection *conn) {
  const struct mg_request_info *info = mg_get_request_info(conn);
  const char *value = NULL;
  int lengths = 0;
  int i;
  if (info == NULL) return 400;
  if (info->num_headers >= MG_MAX_HEADERS) return 431;
  for (i = 0; i < info->num_headers; i++) {
    if (info->http_headers[i].name == NULL || info->http_headers[i].value == NULL) return 400;
    value = info->http_headers[i].value;
    if (mg_strcasecmp(info->http_headers[i].name, "Transfer-Encoding") == 0) {
      lengths++;
    } else if (mg_strcasecmp(info->http_headers[i].name, "Content-Length") == 0) {
      size_t digits = strspn(value, "0123456789");
      if (digits == 0 || value[digits + strspn(value + digits, " \t")] != '\0') return 400;
      lengths++;
    }
  }
  if (lengths > 1) return 400;
  /* CivetWeb parses HTTP/1 where it was received: it puts NUL over the line ends that it has passed
   * and over the very last byte. So after the last value, if it was the last, there stand the rest
   * of its line end and the empty line. */
  if (value != NULL && info->http_version != NULL && strncmp(info->http_version, "1.", 2) == 0) {
    value += strlen(value);
    if (value[1] != '\0' || value[2] != '\r' || value[3] != '\0') return 400;
  }
  return 0;
}

/* Reads the next byte of a body, for the library. One at a time: mg_read returns only when it has all
 * that it was asked for, and restarts its timeout with each byte, so that a client could hold it that
 * long for each. Bytes that came with the header cost no system call. */
static inline int waystation_civetweb_read_body(void *body_source, char *buffer, size_t size) {
  waystation_civetweb_call *call = (waystation_civetweb_call *)body_source;
  struct mg_connection *conn = (struct mg_connection *)call->request.connection;
  if (size == 0) return 0;
  if (!call->body_begun && mg_get_header(conn, "Expect") != NULL) {
    (void)mg_write(conn, "HTTP/1.1 100 Continue\r\n\r\n", 25); /* CivetWeb sends none by itself */
  }
  call->body_begun = 1;
  return mg_read(conn, buffer, 1);
}

/* Whether CivetWeb decoded the path in place, which it does unless `decode_url` is "no". Then
 * /ws%2Fchat/alice_bob/ and /push/alice%00junk look like routes. A decoded path is shorter: the query
 * or the version no longer follows its end. */
static inline int waystation_civetweb_was_decoded(const struct mg_request_info *info) {
  const char *end;
  if (info->request_uri == NULL || info->http_version == NULL) return 0;
  if (strncmp(info->http_version, "1.", 2) != 0) return 0; /* another version is parsed elsewhere */
  end = info->request_uri + strlen(info->request_uri) + 1;
  if (info->query_string != NULL) return info->query_string != end;
  while (*end == '\0' && (uintptr_t)end < (uintptr_t)info->http_version) end++;
  return end + 5 != info->http_version; /* "HTTP/" */
}

/* Fills in a request from CivetWeb's. The body is read when the library asks for it. Repeated header
 * fields stay repeated. */
static inline void waystation_civetweb_request(struct mg_connection *conn,
                                               waystation_civetweb_call *call) {
  const struct mg_request_info *info = mg_get_request_info(conn);
  int i;
  memset(call, 0, sizeof *call);
  call->request.size = sizeof call->request;
  call->request.descriptor = -1;
  call->request.headers = call->headers;
  call->request.connection = conn;
  call->request.read_body = waystation_civetweb_read_body;
  call->request.body_source = call;
  if (info == NULL) return;
  call->request.method = info->request_method;
  /* Not local_uri, which was normalised: /x/../push/alice is no route. A decoded path is no route
   * either, whatever it looks like. */
  call->request.target = waystation_civetweb_was_decoded(info) ? "" : info->request_uri;
  call->request.query = info->query_string;
  call->request.version = info->http_version;
  call->request.remote_address = info->remote_addr;
  call->request.remote_port = (uint16_t)info->remote_port;
  call->request.local_port = (uint16_t)info->server_port;
  call->request.is_tls = info->is_ssl;
  for (i = 0; i < info->num_headers && i < MG_MAX_HEADERS; i++) {
    if (info->http_headers[i].name == NULL || info->http_headers[i].value == NULL) continue;
    call->headers[call->request.header_count].name = info->http_headers[i].name;
    call->headers[call->request.header_count].value = info->http_headers[i].value;
    call->request.header_count++;
  }
}

/* Sends a refusal without the library: it had no memory, or declined the path. 400, 404, 431, or 500
 * for any other `status`. HEAD gets no body (RFC 9110, section 9.3.2). Returns the status that was
 * sent. */
static inline int waystation_civetweb_refuse(struct mg_connection *conn, int status) {
  const char *reason = "Internal Server Error";
  const char *code = "internal";
  const char *detail = "the server cannot answer this request";
  char body[160];
  char head[256];
  if (status == 400) {
    reason = "Bad Request";
    code = "bad_request";
    detail = "the request is not well-formed";
  } else if (status == 404) {
    reason = "Not Found";
    code = "not_found";
    detail = "there is no such route";
  } else if (status == 431) {
    reason = "Request Header Fields Too Large";
    code = "too_many_fields";
    detail = "the request has too many header fields";
  } else {
    status = 500;
  }
  (void)snprintf(body, sizeof body, "{\"error\":{\"code\":\"%s\",\"detail\":\"%s\"}}", code, detail);
  (void)snprintf(head, sizeof head,
                 "HTTP/1.1 %d %s\r\nContent-Type: application/json\r\nContent-Length: %u\r\n"
                 "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n"
                 "Connection: close\r\n\r\n",
                 status, reason, (unsigned)strlen(body));
  (void)mg_write(conn, head, strlen(head));
  if (strcmp(mg_get_request_info(conn)->request_method, "HEAD") != 0) {
    (void)mg_write(conn, body, strlen(body));
  }
  mg_disable_connection_keep_alive(conn);
  return status;
}

/* Sends the library's response and clears it. Returns the HTTP status, 101 for an adopted socket. */
static inline int waystation_civetweb_answer(struct mg_connection *conn,
                                             waystation_response *response) {
  int status = response->status;
  if (response->action == WAYSTATION_REPLY && response->bytes != NULL) {
    (void)mg_write(conn, response->bytes, response->length);
  } else if (response->action == WAYSTATION_DECLINED) {
    status = waystation_civetweb_refuse(conn, 404);
  } else if (response->action != WAYSTATION_ADOPTED) {
    status = waystation_civetweb_refuse(conn, 500);
  }
  waystation_response_clear(response);
  return status > 0 ? status : 500;
}

/* Refuses a request that waystation_civetweb_check found incomplete, with the status it returned. The
 * relay counts and logs the refusal. Returns the status that was sent. */
static inline int waystation_civetweb_reject(struct mg_connection *conn, uint32_t relay_id,
                                             int status) {
  waystation_civetweb_call call;
  waystation_response response;
  waystation_civetweb_request(conn, &call);
  memset(&response, 0, sizeof response);
  response.size = sizeof response;
  if (waystation_refuse(relay_id, status, &call.request, &response) != WAYSTATION_OK) {
    return waystation_civetweb_refuse(conn, status);
  }
  mg_disable_connection_keep_alive(conn);
  return waystation_civetweb_answer(conn, &response);
}

static inline int waystation_civetweb_upgrade(struct mg_connection *conn, void *relay_id) {
  waystation_civetweb_call call;
  waystation_response response;
  waystation_status done;
  int refused = waystation_civetweb_check(conn);
  if (refused != 0) {
    return waystation_civetweb_reject(conn, (uint32_t)(uintptr_t)relay_id, refused);
  }
  waystation_civetweb_request(conn, &call);
  call.request.descriptor = WAYSTATION_CIVETWEB_DESCRIPTOR(conn);
  call.stream.size = sizeof call.stream;
  if (call.request.is_tls && waystation_stream_find(conn, &call.stream)) {
    call.request.stream = &call.stream;
  }
  memset(&response, 0, sizeof response);
  response.size = sizeof response;
  done = waystation_upgrade((uint32_t)(uintptr_t)relay_id, &call.request, &response);
  if (done != WAYSTATION_OK && response.action == WAYSTATION_DECLINED) {
    return waystation_civetweb_refuse(conn, 500);
  }
  /* One request per connection: bytes that a refused client sent behind its request would be read as
   * the next one. */
  mg_disable_connection_keep_alive(conn);
  return waystation_civetweb_answer(conn, &response);
}

/* Runs for every request on our paths, before CivetWeb checks the handshake: it would answer a missing
 * key or a wrong version without a status line. The result 0, "not authorized", tells CivetWeb that
 * the request is done. */
static inline int waystation_civetweb_on_auth(struct mg_connection *conn, void *relay_id) {
  (void)waystation_civetweb_upgrade(conn, relay_id);
  return 0;
}

/* Runs where an auth handler of the host application hides ours. Non-zero: no handshake. */
static inline int waystation_civetweb_on_connect(const struct mg_connection *conn,
                                                 void *relay_id) {
  (void)waystation_civetweb_upgrade((struct mg_connection *)(uintptr_t)conn, relay_id);
  return 1;
}

static inline int waystation_civetweb_on_request(struct mg_connection *conn, void *relay_id) {
  return waystation_civetweb_upgrade(conn, relay_id);
}

/* Reads on for a moment after a body that was too long: closing with unread bytes resets the
 * connection, and the client would lose the answer. Byte by byte, see waystation_civetweb_read_body. */
static inline void waystation_civetweb_discard_body(struct mg_connection *conn) {
  char byte;
  time_t start = time(NULL);
  size_t discarded = 0;
  while (discarded < WAYSTATION_CIVETWEB_DISCARD_BYTES && mg_read(conn, &byte, 1) == 1
         && difftime(time(NULL), start) < 2) {
    discarded++;
  }
}

static inline int waystation_civetweb_on_api(struct mg_connection *conn, void *relay_id) {
  waystation_civetweb_call call;
  waystation_response response;
  waystation_status done;
  int status = waystation_civetweb_check(conn);

  if (status != 0) return waystation_civetweb_reject(conn, (uint32_t)(uintptr_t)relay_id, status);
  waystation_civetweb_request(conn, &call);
  memset(&response, 0, sizeof response);
  response.size = sizeof response;
  done = waystation_http((uint32_t)(uintptr_t)relay_id, &call.request, &response);
  /* The answer says that it is the last. Otherwise CivetWeb itself would read the rest of the body,
   * for as long as the client likes. */
  mg_disable_connection_keep_alive(conn);
  if (done != WAYSTATION_OK && response.action == WAYSTATION_DECLINED) {
    return waystation_civetweb_refuse(conn, 500);
  }
  status = waystation_civetweb_answer(conn, &response);
  /* Only callers with permission get this far. */
  if (status == 413) waystation_civetweb_discard_body(conn);
  return status;
}

/* Registers both socket routes, /ws/chat/<group>/ and /push/<user>/, with the context's default
 * domain. Returns 0, or -1 if `relay` or `ctx` is NULL. Call it before you publish the address, since
 * CivetWeb already listens. */
static inline int waystation_civetweb_attach(waystation_relay *relay, struct mg_context *ctx) {
  /* Not "/push": it would match /pushover too, and remove the host application's protection of it. */
  static const char *const paths[] = {"/ws/chat/**", "/push/**"};
  void *id = (void *)(uintptr_t)waystation_id(relay);
  size_t i;
  if (relay == NULL || ctx == NULL) return -1;
  for (i = 0; i < sizeof paths / sizeof paths[0]; i++) {
    mg_set_auth_handler(ctx, paths[i], waystation_civetweb_on_auth, id);
    mg_set_websocket_handler(ctx, paths[i], waystation_civetweb_on_connect, NULL, NULL, NULL, id);
    mg_set_request_handler(ctx, paths[i], waystation_civetweb_on_request, id);
  }
  return 0;
}

/* Registers the HTTP API: /api/v1/… and /healthz. The relay checks the caller's permission (operators
 * or scopes); an auth handler of the host application comes first. Returns as above. */
static inline int waystation_civetweb_attach_api(waystation_relay *relay, struct mg_context *ctx) {
  void *id = (void *)(uintptr_t)waystation_id(relay);
  if (relay == NULL || ctx == NULL) return -1;
  mg_set_request_handler(ctx, "/api/v1/**", waystation_civetweb_on_api, id);
  /* Ended by '$', so that /healthzone stays the host application's. */
  mg_set_request_handler(ctx, "/healthz$|/healthz/$", waystation_civetweb_on_api, id);
  return 0;
}

/* Ends connections that keep CivetWeb's workers waiting: silent clients, and clients that do not read
 * their answers. `num_threads` of them would otherwise block all others for `request_timeout_ms`,
 * again and again. Call it about twice a second from a thread of your own, until mg_stop. See
 * waystation_end_slow_connections for what it does, and for the hosts that must not call it. mg_write
 * may fail in your handlers for a client that does not read. Returns how many were ended. */
static inline size_t waystation_civetweb_end_slow_connections(waystation_relay *relay,
                                                              const struct mg_context *ctx) {
  struct mg_server_port opened[WAYSTATION_CIVETWEB_MAX_PORTS];
  uint16_t ports[WAYSTATION_CIVETWEB_MAX_PORTS];
  const char *workers = mg_get_option(ctx, "num_threads");
  int count = mg_get_server_ports(ctx, WAYSTATION_CIVETWEB_MAX_PORTS, opened);
  int i;
  if (relay == NULL || workers == NULL) return 0;
  for (i = 0; i < count; i++) ports[i] = (uint16_t)opened[i].port;
  return waystation_end_slow_connections(waystation_id(relay), ports, count < 0 ? 0 : (size_t)count,
                                         (size_t)strtoul(workers, NULL, 10));
}

#ifdef __cplusplus
}
#endif

#endif
