/* A host application for the C blocks of the documents: CivetWeb on a free port, and one request to it. */
#ifndef HOST_H
#define HOST_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <waystation/civetweb.h>

/* Ends the program, so that the block fails. */
static inline void require(int holds, const char *what) {
  if (holds) return;
  fprintf(stderr, "%s\n", what);
  exit(1);
}

/* Starts CivetWeb on a free port of loopback. */
static inline struct mg_context *start_civetweb(int *port) {
  const char *settings[] = {"listening_ports", "127.0.0.1:0", "num_threads", "2", NULL};
  struct mg_callbacks callbacks;
  struct mg_server_port opened;
  struct mg_context *ctx;
  memset(&callbacks, 0, sizeof callbacks);
  ctx = mg_start(&callbacks, NULL, settings);
  require(ctx != NULL, "CivetWeb does not start");
  require(mg_get_server_ports(ctx, 1, &opened) == 1, "CivetWeb has no port");
  *port = opened.port;
  return ctx;
}

/* The status of a GET, by TLS or not; `header` holds header fields with their line ends, or is "". */
static inline int status_of(int port, int tls, const char *path, const char *header) {
  char problem[256];
  struct mg_connection *conn =
      mg_download("127.0.0.1", port, tls, problem, sizeof problem,
                  "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n%s\r\n", path, port, header);
  int status;
  require(conn != NULL, problem);
  status = mg_get_response_info(conn)->status_code;
  mg_close_connection(conn);
  return status;
}

/* 426 is the answer to a GET whose upgrade would succeed. */
static inline void require_status(int port, const char *path, const char *header, int expected) {
  int status = status_of(port, 0, path, header);
  if (status == expected) return;
  fprintf(stderr, "%s with %s: %d instead of %d\n", path, header, status, expected);
  exit(1);
}

/* Opens a socket, as user alice. */
static inline void require_open(int port, int tls, const char *path) {
  int status = status_of(port, tls, path,
                         "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                         "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n");
  if (status == 101) return;
  fprintf(stderr, "the upgrade of %s got %d\n", path, status);
  exit(1);
}

#endif
