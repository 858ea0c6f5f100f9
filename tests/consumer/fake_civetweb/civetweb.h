/* A fake CivetWeb that a program has compiled in: the part of its interface that the glue uses.
 * The layout is that of 1.15, or with FAKE_CIVETWEB_LAYOUT_117 that of 1.17, which added the
 * server's address to mg_request_info. The server is in fake_civetweb.c. */
#ifndef FAKE_CIVETWEB_H
#define FAKE_CIVETWEB_H

#include <stddef.h>

#define CIVETWEB_VERSION_MAJOR (1)
#ifdef FAKE_CIVETWEB_LAYOUT_117
#define CIVETWEB_VERSION_MINOR (17)
#else
#define CIVETWEB_VERSION_MINOR (15)
#endif

#ifdef __cplusplus
extern "C" {
#endif

#define MG_MAX_HEADERS (64)

struct mg_context;
struct mg_connection;
struct mg_callbacks;

struct mg_header {
  const char *name;
  const char *value;
};

struct mg_request_info {
  const char *request_method;
  const char *request_uri;
  const char *local_uri_raw;
  const char *local_uri;
  const char *http_version;
  const char *query_string;
  const char *remote_user;
  char remote_addr[48];
#ifdef FAKE_CIVETWEB_LAYOUT_117
  char server_addr[48];
#endif
  long long content_length;
  int remote_port;
  int server_port;
  int is_ssl;
  void *user_data;
  void *conn_data;
  int num_headers;
  struct mg_header http_headers[MG_MAX_HEADERS];
  struct mg_client_cert *client_cert;
  const char *acceptedWebSocketSubprotocol;
};

typedef int (*mg_request_handler)(struct mg_connection *, void *);
typedef int (*mg_authorization_handler)(struct mg_connection *, void *);
typedef int (*mg_websocket_connect_handler)(const struct mg_connection *, void *);
typedef void (*mg_websocket_ready_handler)(struct mg_connection *, void *);
typedef int (*mg_websocket_data_handler)(struct mg_connection *, int, char *, size_t, void *);
typedef void (*mg_websocket_close_handler)(const struct mg_connection *, void *);

struct mg_context *mg_start(const struct mg_callbacks *, void *, const char **);
void mg_stop(struct mg_context *);
int fake_civetweb_open(struct mg_context *);

void mg_set_request_handler(struct mg_context *, const char *, mg_request_handler, void *);
void mg_set_auth_handler(struct mg_context *, const char *, mg_authorization_handler, void *);
void mg_set_websocket_handler(struct mg_context *, const char *, mg_websocket_connect_handler,
                              mg_websocket_ready_handler, mg_websocket_data_handler,
                              mg_websocket_close_handler, void *);
struct mg_server_port {
  int protocol;
  int port;
  int is_ssl;
  int is_redirect;
  int _reserved1, _reserved2, _reserved3, _reserved4;
};
const char *mg_get_option(const struct mg_context *, const char *);
int mg_get_server_ports(const struct mg_context *, int, struct mg_server_port *);
const struct mg_request_info *mg_get_request_info(const struct mg_connection *);
const char *mg_get_header(const struct mg_connection *, const char *);
int mg_strcasecmp(const char *, const char *);
int mg_read(struct mg_connection *, void *, size_t);
int mg_write(struct mg_connection *, const void *, size_t);
void mg_disable_connection_keep_alive(struct mg_connection *);

#ifdef __cplusplus
}
#endif

#endif
