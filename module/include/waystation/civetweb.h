/* The glue between CivetWeb and libwaystation.
 *
 * Everything here is `static inline` and compiled by the host against its own <civetweb.h>: the
 * library links no CivetWeb, so that its version, its build options and whether it is linked or
 * compiled in stay the host's own affair. C99 or C++11 and CivetWeb 1.14 or later, with or without
 * USE_WEBSOCKET.
 *
 *     struct mg_context *ctx = mg_start(…);
 *     waystation_civetweb_attach(relay, ctx);      // /ws/chat/<group>/ and /push/<user>/
 *     waystation_civetweb_attach_api(relay, ctx);  // /api/v1/… and /healthz, if you want them
 *
 * What a host should know
 *   - An open socket is not CivetWeb's any more. The relay takes over its descriptor before
 *     anything was answered, and CivetWeb is left with a dead one in its place: no worker waits for
 *     it, `websocket_timeout_ms` and the ping-pong option do not reach it, mg_stop does not end it.
 *   - Its access log shows status -1 for a socket that was taken over, and its end_request,
 *     connection_close and connection_closed callbacks fire at once, not when the chat ends.
 *   - TLS ports: upgrades get 501 tls_unsupported, because the TLS session would stay CivetWeb's.
 *     Let a TLS proxy in front speak plain HTTP to CivetWeb. Unix-domain ports are refused too:
 *     their connections have no address by which the descriptor could be found.
 *   - The paths belong to the relay from then on, upper case included, since CivetWeb matches
 *     patterns without regard to it: whatever is not exactly a route gets 404. Your own protection
 *     of other paths is not touched: the patterns end in a slash, so /pushover stays yours.
 *   - Handlers that CivetWeb asks before ours go before ours: begin_request, and an auth handler of
 *     yours whose pattern covers these paths and which was registered earlier. It may turn callers
 *     away; the ones it lets through reach the relay. A handshake without a key or with a version
 *     other than 13 CivetWeb then refuses by itself, without a status line: only ahead of that can
 *     the relay give the 400 or 426 that it should be. (Where CivetWeb was built without
 *     USE_WEBSOCKET, such a handler must leave out /ws/chat/ and /push/: nothing runs after it.)
 *   - Attach before you register a request handler that matches everything, such as "/": of several
 *     patterns CivetWeb takes the one that came first, and the API is such a pattern. The socket
 *     routes do not depend on it.
 *   - By default CivetWeb itself answers CORS preflights, for every path and with "*". Set
 *     `access_control_allow_origin` and `access_control_allow_methods` to "" if pages elsewhere
 *     should not be told that they may call the API.
 *   - To detach, free the relay, before or after mg_stop: the handlers stay registered and answer
 *     503. They hold the relay's number, never a pointer. Attaching another relay to the same
 *     context replaces them.
 *   - Set a short `request_timeout_ms`, such as 5000; CivetWeb's default is 30 seconds. A stranger
 *     who dawdles over a header keeps a worker for twice that, and one who may push and dawdles over
 *     a body for ten seconds more than it. `tcp_nodelay` is for your own pages' sake: the relay's
 *     sockets set it themselves.
 *   - As many silent connections as CivetWeb has workers keep everybody else out for that long. Call
 *     waystation_civetweb_end_slow_connections twice a second where strangers reach the port itself.
 *   - Requests of which CivetWeb does not show everything are refused, see
 *     waystation_civetweb_check. Each answer of the relay's ends its connection.
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
#error "waystation needs CivetWeb 1.14 or later: earlier ones do not tell a handler its own port"
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* How much of a body that is too long is still read, so that the client gets to read its 413. */
#define WAYSTATION_CIVETWEB_DISCARD_BYTES 65536
/* How many listening ports are looked at, see waystation_civetweb_end_slow_connections. */
#define WAYSTATION_CIVETWEB_MAX_PORTS 32

/* A request in the library's words. It points into CivetWeb's memory and is good until the handler
 * returns; it also points at itself, so it must not be copied. */
typedef struct waystation_civetweb_call {
  waystation_request request;
  waystation_header headers[MG_MAX_HEADERS];
  int body_begun;
} waystation_civetweb_call;

/* Whether CivetWeb handed over all that the client sent as header, and one way only to tell where
 * the body ends. Returns 0, or the status to refuse with: 431, 400.
 *
 * CivetWeb drops header fields without a word: those after the MG_MAX_HEADERSth, and all behind a
 * line that begins with anything but a visible ASCII character, such as a folded one. Were they the
 * proxy's X-Forwarded-For or the body's length, a stranger would be taken for the proxy, or a body
 * for the next request (RFC 9112, section 11.2). And of two lengths it believes the first, where
 * whoever stands in front may have believed the other (section 6.3).
 *
 * Ask it in your own handlers, too, where they judge clients by header fields, and in begin_request
 * if you have one: it covers every path. */
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

/* The next byte of a body, for the library. One at a time: CivetWeb comes back only when all that it
 * was asked for is there, and starts its timeout anew with each byte until then, so that a client
 * could make it wait that long for each. What came with the header costs no system call. */
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

/* Whether CivetWeb decoded the path where it stands, as it does unless `decode_url` is "no": of
 * /ws%2Fchat/alice_bob/ and of /push/alice%00junk nothing tells then that they are no routes. What
 * followed the path on the request line, the query or the version, no longer follows its end. */
static inline int waystation_civetweb_was_decoded(const struct mg_request_info *info) {
  const char *end;
  if (info->request_uri == NULL || info->http_version == NULL) return 0;
  if (strncmp(info->http_version, "1.", 2) != 0) return 0; /* another version is parsed elsewhere */
  end = info->request_uri + strlen(info->request_uri) + 1;
  if (info->query_string != NULL) return info->query_string != end;
  while (*end == '\0' && (uintptr_t)end < (uintptr_t)info->http_version) end++;
  return end + 5 != info->http_version; /* "HTTP/" */
}

/* Describes CivetWeb's request; its body is read when the library asks for it. Repeated header
 * fields are handed on repeated. */
static inline void waystation_civetweb_request(struct mg_connection *conn,
                                               waystation_civetweb_call *call) {
  const struct mg_request_info *info = mg_get_request_info(conn);
  int i;
  memset(call, 0, sizeof *call);
  call->request.size = sizeof call->request;
  call->request.descriptor = -1; /* CivetWeb does not tell; the library finds it by the addresses */
  call->request.headers = call->headers;
  call->request.connection = conn;
  call->request.read_body = waystation_civetweb_read_body;
  call->request.body_source = call;
  if (info == NULL) return;
  call->request.method = info->request_method;
  /* Not local_uri, which was tidied up: /x/../push/alice is no route of ours. One that was decoded
   * is no route either, whatever it has become. */
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

/* Sends what the library cannot: it had no memory, said that the path is not its own, or was not
 * asked because of the header. Returns the status that was sent, 500 for one it does not know. */
static inline int waystation_civetweb_refuse(struct mg_connection *conn, int status) {
  const char *reason = "Internal Server Error";
  const char *code = "internal";
  const char *detail = "the relay could not answer";
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
  (void)mg_write(conn, body, strlen(body));
  mg_disable_connection_keep_alive(conn);
  return status;
}

/* Sends the library's answer and gives it back. The HTTP status, 101 for a socket taken over. */
static inline int waystation_civetweb_answer(struct mg_connection *conn,
                                             waystation_response *response) {
  int status = response->status;
  if (response->action == WAYSTATION_REPLY && response->bytes != NULL) {
    (void)mg_write(conn, response->bytes, response->length);
  } else if (response->action == WAYSTATION_NOT_OURS) {
    status = waystation_civetweb_refuse(conn, 404);
  } else if (response->action != WAYSTATION_TAKEN) {
    status = waystation_civetweb_refuse(conn, 500);
  }
  waystation_response_clear(response);
  return status > 0 ? status : 500;
}

static inline int waystation_civetweb_upgrade(struct mg_connection *conn, void *relay_id) {
  waystation_civetweb_call call;
  waystation_response response;
  waystation_status done;
  int refused = waystation_civetweb_check(conn);
  if (refused != 0) return waystation_civetweb_refuse(conn, refused);
  waystation_civetweb_request(conn, &call);
  memset(&response, 0, sizeof response);
  response.size = sizeof response;
  done = waystation_upgrade((uint32_t)(uintptr_t)relay_id, &call.request, &response);
  if (done != WAYSTATION_OK && response.action == WAYSTATION_NOT_OURS) {
    return waystation_civetweb_refuse(conn, 500);
  }
  /* One request a connection: a refused client has nothing more to ask of it, and what it may
   * already have sent behind its request would be read as the next one. */
  mg_disable_connection_keep_alive(conn);
  return waystation_civetweb_answer(conn, &response);
}

/* Runs for every request on our paths, before CivetWeb looks at the handshake: a missing key or a
 * wrong version would otherwise be answered without a status line. "Not authorized" is what tells
 * CivetWeb that nothing is left to do. */
static inline int waystation_civetweb_on_auth(struct mg_connection *conn, void *relay_id) {
  (void)waystation_civetweb_upgrade(conn, relay_id);
  return 0;
}

/* Reached where an auth handler of the host's own hides ours. Non-zero: no handshake. */
static inline int waystation_civetweb_on_connect(const struct mg_connection *conn,
                                                 void *relay_id) {
  (void)waystation_civetweb_upgrade((struct mg_connection *)(uintptr_t)conn, relay_id);
  return 1;
}

static inline int waystation_civetweb_on_request(struct mg_connection *conn, void *relay_id) {
  return waystation_civetweb_upgrade(conn, relay_id);
}

/* Reads on for a moment where a body was too long, so that closing does not reset the connection
 * under the answer. Byte by byte, see waystation_civetweb_read_body. */
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

  if (status != 0) return waystation_civetweb_refuse(conn, status);
  waystation_civetweb_request(conn, &call);
  memset(&response, 0, sizeof response);
  response.size = sizeof response;
  done = waystation_http((uint32_t)(uintptr_t)relay_id, &call.request, &response);
  /* The answer says that it is the last. Otherwise CivetWeb itself would read what is left of a
   * body, for as long as the client likes. */
  mg_disable_connection_keep_alive(conn);
  if (done != WAYSTATION_OK && response.action == WAYSTATION_NOT_OURS) {
    return waystation_civetweb_refuse(conn, 500);
  }
  status = waystation_civetweb_answer(conn, &response);
  /* Only those who may push hear of that. */
  if (status == 413) waystation_civetweb_discard_body(conn);
  return status;
}

/* Registers both socket routes, /ws/chat/<group>/ and /push/<user>/, with the context's default
 * domain. Returns 0, or -1 where `relay` or `ctx` is NULL. To be called before clients are told
 * the address, since CivetWeb already listens. */
static inline int waystation_civetweb_attach(waystation_relay *relay, struct mg_context *ctx) {
  /* Not "/push": that would match /pushover as well, and answering for a path that is not ours
   * would lift the host's own protection from it. */
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

/* Registers the HTTP API: /api/v1/… and /healthz. Who may ask it is the relay's affair (its
 * operators or scopes), and an auth handler of the host's own comes first. Returns as above. */
static inline int waystation_civetweb_attach_api(waystation_relay *relay, struct mg_context *ctx) {
  void *id = (void *)(uintptr_t)waystation_id(relay);
  if (relay == NULL || ctx == NULL) return -1;
  mg_set_request_handler(ctx, "/api/v1/**", waystation_civetweb_on_api, id);
  /* Ended by '$', so that /healthzone stays the host's. */
  mg_set_request_handler(ctx, "/healthz$|/healthz/$", waystation_civetweb_on_api, id);
  return 0;
}

/* Ends connections that keep CivetWeb's workers waiting: with `num_threads` connections that say
 * nothing a stranger would otherwise shut everybody else out for `request_timeout_ms`, again and
 * again. Call it about twice a second from a thread of your own, until mg_stop. What it does and for
 * which hosts it is not waystation_end_slow_connections says. Returns how many were ended. */
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
