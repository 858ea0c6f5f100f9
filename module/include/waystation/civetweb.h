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
 *     away; the ones it lets through reach the relay. (Where CivetWeb was built without
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
 *   - Set `tcp_nodelay` to 1 and a short `request_timeout_ms` for your own pages' sake; the
 *     relay's sockets need neither.
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

/* How long a client may take to send a body, in seconds, before it gets 408. */
#define WAYSTATION_CIVETWEB_BODY_SECONDS 10

/* How much of a body that is too long is still read, so that the client gets to read its 413. */
#define WAYSTATION_CIVETWEB_DISCARD_BYTES 65536

/* A request in the library's words. It points into CivetWeb's memory and is good until the handler
 * returns; `request.headers` points at `headers`, so the struct must not be copied. */
typedef struct waystation_civetweb_call {
  waystation_request request;
  waystation_header headers[MG_MAX_HEADERS];
} waystation_civetweb_call;

/* Describes CivetWeb's request, without its body. CivetWeb drops header fields after the
 * MG_MAX_HEADERSth without a word; repeated ones it keeps, and they are handed on repeated. */
static inline void waystation_civetweb_request(struct mg_connection *conn,
                                               waystation_civetweb_call *call) {
  const struct mg_request_info *info = mg_get_request_info(conn);
  int i;
  memset(call, 0, sizeof *call);
  call->request.size = sizeof call->request;
  call->request.descriptor = -1; /* CivetWeb does not tell; the library finds it by the addresses */
  call->request.headers = call->headers;
  call->request.connection = conn;
  if (info == NULL) return;
  call->request.method = info->request_method;
  /* Not local_uri, which was tidied up: /x/../push/alice is no route of ours. */
  call->request.target = info->request_uri;
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

/* Sends what the library cannot: it had no memory, or said that the path is not its own. */
static inline int waystation_civetweb_refuse(struct mg_connection *conn, int status) {
  const char *reason = "Internal Server Error";
  const char *code = "internal";
  const char *detail = "the relay could not answer";
  char body[160];
  char head[192];
  if (status == 400) {
    reason = "Bad Request";
    code = "bad_request";
    detail = "the body broke off before its end";
  } else if (status == 404) {
    reason = "Not Found";
    code = "not_found";
    detail = "there is no such route";
  } else if (status == 408) {
    reason = "Request Timeout";
    code = "timeout";
    detail = "the body took too long to arrive";
  } else {
    status = 500;
  }
  (void)snprintf(body, sizeof body, "{\"error\":{\"code\":\"%s\",\"detail\":\"%s\"}}", code, detail);
  (void)snprintf(head, sizeof head,
                 "HTTP/1.1 %d %s\r\nContent-Type: application/json\r\nContent-Length: %u\r\n"
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

/* Reads a body of at most `limit` bytes into memory that the caller frees. Returns 0, or the status
 * to refuse with: 400 (it broke off), 408 (it came too slowly), 500 (no memory). A longer body is
 * cut at `limit`, *truncated says so.
 *
 * In small steps, because CivetWeb starts its timeout anew with each byte that arrives and comes
 * back only when all that was asked for is there: a client that sends a byte every few seconds
 * would hold the worker for hours. Bodies that arrive with their header cost no system call. */
static inline int waystation_civetweb_read_body(struct mg_connection *conn, size_t limit,
                                                char **body, size_t *size, int *truncated) {
  const struct mg_request_info *info = mg_get_request_info(conn);
  const char *expect = mg_get_header(conn, "Expect");
  long long announced = info->content_length; /* -1: not announced; chunked, or none */
  time_t start = time(NULL);
  size_t capacity = 1024;
  size_t room;
  char *grown;
  int got;

  *size = 0;
  *truncated = 0;
  if (announced > (long long)limit) {
    *truncated = 1;
    *body = NULL;
    return 0;
  }
  *body = (char *)malloc(capacity);
  if (*body == NULL) return 500;
  if (expect != NULL && announced != 0) {
    (void)mg_write(conn, "HTTP/1.1 100 Continue\r\n\r\n", 25); /* CivetWeb sends none by itself */
  }
  for (;;) {
    if (announced >= 0 && *size == (size_t)announced) return 0;
    if (*size == capacity) {
      capacity *= 2;
      grown = (char *)realloc(*body, capacity);
      if (grown == NULL) return 500;
      *body = grown;
    }
    room = capacity - *size < 16 ? capacity - *size : 16;
    if (announced >= 0 && (size_t)announced - *size < room) room = (size_t)announced - *size;
    got = mg_read(conn, *body + *size, room);
    if (got < 0) return 400;
    if (got == 0) return announced < 0 ? 0 : 408; /* the last chunk; or nothing came in time */
    *size += (size_t)got;
    if (*size > limit) {
      *size = limit;
      *truncated = 1;
      return 0;
    }
    if (difftime(time(NULL), start) > WAYSTATION_CIVETWEB_BODY_SECONDS) return 408;
  }
}

/* Reads on for a while where a body was not read to its end, so that closing does not reset the
 * connection under the answer; then lets CivetWeb close it instead of reading the rest itself,
 * which it would do for as long as the client likes. */
static inline void waystation_civetweb_discard_body(struct mg_connection *conn) {
  char buffer[16];
  time_t start = time(NULL);
  size_t discarded = 0;
  int got;
  do {
    got = mg_read(conn, buffer, sizeof buffer);
    if (got > 0) discarded += (size_t)got;
  } while (got > 0 && discarded < WAYSTATION_CIVETWEB_DISCARD_BYTES
           && difftime(time(NULL), start) < 2);
  mg_disable_connection_keep_alive(conn);
}

static inline int waystation_civetweb_on_api(struct mg_connection *conn, void *relay_id) {
  uint32_t id = (uint32_t)(uintptr_t)relay_id;
  waystation_civetweb_call call;
  waystation_response response;
  waystation_status done;
  uint64_t limit = waystation_max_body_bytes(id);
  char *body = NULL;
  int unread = 0;
  int status;

  waystation_civetweb_request(conn, &call);
  if (call.request.method != NULL && strcmp(call.request.method, "POST") == 0) {
    if (limit > 0x7fffffff) limit = 0x7fffffff;
    status = waystation_civetweb_read_body(conn, (size_t)limit, &body, &call.request.body_size,
                                           &call.request.body_truncated);
    if (status != 0) {
      free(body);
      return waystation_civetweb_refuse(conn, status);
    }
    call.request.body = body;
    unread = call.request.body_truncated;
  } else {
    /* Bodies nobody asked for: never read. */
    unread = mg_get_request_info(conn)->content_length > 0
             || mg_get_header(conn, "Transfer-Encoding") != NULL;
  }

  memset(&response, 0, sizeof response);
  response.size = sizeof response;
  done = waystation_http(id, &call.request, &response);
  free(body);
  if (done != WAYSTATION_OK && response.action == WAYSTATION_NOT_OURS) {
    status = waystation_civetweb_refuse(conn, 500);
  } else {
    status = waystation_civetweb_answer(conn, &response);
  }
  if (unread) waystation_civetweb_discard_body(conn);
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

#ifdef __cplusplus
}
#endif

#endif
