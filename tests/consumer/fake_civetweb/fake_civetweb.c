/* The server behind the fake header: one thread, one request per connection, no request bodies. */
#include <pthread.h>
#include <stdlib.h>
#include <strings.h>

#include <civetweb.h>

#include "../talk.h"

struct handler {
  char prefix[32];
  mg_authorization_handler authorize;
  void *data;
};

struct mg_context {
  int listener;
  int port;
  pthread_t thread;
  struct handler handlers[8];
  int handler_count;
};

struct mg_connection {
  int fd;
  char text[4096];
  struct mg_request_info info;
};

void mg_set_auth_handler(struct mg_context *ctx, const char *uri, mg_authorization_handler authorize,
                         void *data) {
  struct handler *handler = &ctx->handlers[ctx->handler_count++];
  size_t length = strcspn(uri, "*");
  memcpy(handler->prefix, uri, length);
  handler->prefix[length] = '\0';
  handler->authorize = authorize;
  handler->data = data;
}

/* CivetWeb calls the authorization handler first, and the glue answers every request in it. */
void mg_set_request_handler(struct mg_context *ctx, const char *uri, mg_request_handler handler,
                            void *data) {
  (void)ctx, (void)uri, (void)handler, (void)data;
}

void mg_set_websocket_handler(struct mg_context *ctx, const char *uri,
                              mg_websocket_connect_handler on_connect,
                              mg_websocket_ready_handler on_ready,
                              mg_websocket_data_handler on_data,
                              mg_websocket_close_handler on_close, void *data) {
  (void)ctx, (void)uri, (void)on_connect, (void)on_ready, (void)on_data, (void)on_close, (void)data;
}

const struct mg_request_info *mg_get_request_info(const struct mg_connection *conn) {
  return &conn->info;
}

const char *mg_get_header(const struct mg_connection *conn, const char *name) {
  int i;
  for (i = 0; i < conn->info.num_headers; i++) {
    if (strcasecmp(conn->info.http_headers[i].name, name) == 0) {
      return conn->info.http_headers[i].value;
    }
  }
  return NULL;
}

int mg_strcasecmp(const char *a, const char *b) { return strcasecmp(a, b); }

int mg_read(struct mg_connection *conn, void *buffer, size_t size) {
  (void)conn, (void)buffer, (void)size;
  return 0;
}

int mg_write(struct mg_connection *conn, const void *bytes, size_t size) {
  return (int)send(conn->fd, bytes, size, MSG_NOSIGNAL);
}

void mg_disable_connection_keep_alive(struct mg_connection *conn) { (void)conn; }

static int parse(struct mg_connection *conn) {
  struct mg_request_info *info = &conn->info;
  char *line = strstr(conn->text, "\r\n");
  char *end;
  conn->text[strlen(conn->text) - 1] = '\0'; /* as CivetWeb does */
  *line = '\0';
  info->request_method = conn->text;
  if ((end = strchr(conn->text, ' ')) == NULL) return -1;
  *end++ = '\0';
  info->request_uri = info->local_uri_raw = info->local_uri = end;
  if ((end = strchr(end, ' ')) == NULL || strncmp(end, " HTTP/", 6) != 0) return -1;
  *end = '\0';
  info->http_version = end + 6;
  if ((end = strchr((char *)info->request_uri, '?')) != NULL) {
    *end = '\0';
    info->query_string = end + 1;
  }
  /* CivetWeb silently drops the fields that exceed its array. */
  for (line += 2; info->num_headers < MG_MAX_HEADERS && (end = strstr(line, "\r\n")) != NULL
                  && end != line;
       line = end + 2) {
    char *colon = strchr(line, ':');
    end[0] = end[1] = '\0';
    if (colon == NULL) return -1;
    *colon = '\0';
    info->http_headers[info->num_headers].name = line;
    info->http_headers[info->num_headers].value = colon + 1 + strspn(colon + 1, " ");
    info->num_headers++;
  }
  return 0;
}

static void serve(struct mg_context *ctx, int fd) {
  struct mg_connection *conn = calloc(1, sizeof *conn);
  struct sockaddr_in peer;
  socklen_t length = sizeof peer;
  size_t read = 0;
  int i;
  conn->fd = fd;
  while (read < 4 || memcmp(conn->text + read - 4, "\r\n\r\n", 4) != 0) {
    if (read == sizeof conn->text - 1 || recv(fd, conn->text + read, 1, 0) != 1) goto end;
    read++;
  }
  if (parse(conn) != 0 || getpeername(fd, (struct sockaddr *)&peer, &length) != 0) goto end;
  inet_ntop(AF_INET, &peer.sin_addr, conn->info.remote_addr, sizeof conn->info.remote_addr);
#ifdef FAKE_CIVETWEB_LAYOUT_117
  strcpy(conn->info.server_addr, "127.0.0.1");
#endif
  conn->info.remote_port = ntohs(peer.sin_port);
  conn->info.server_port = ctx->port;
  conn->info.content_length = -1;
  for (i = 0; i < ctx->handler_count; i++) {
    const struct handler *handler = &ctx->handlers[i];
    if (strncmp(conn->info.local_uri, handler->prefix, strlen(handler->prefix)) != 0) continue;
    handler->authorize(conn, handler->data);
    break;
  }
end:
  close(fd);
  free(conn);
}

static void *accept_all(void *data) {
  struct mg_context *ctx = data;
  int fd;
  while ((fd = accept(ctx->listener, NULL, NULL)) >= 0) serve(ctx, fd);
  return NULL;
}

struct mg_context *mg_start(const struct mg_callbacks *callbacks, void *data,
                            const char **options) {
  struct mg_context *ctx = calloc(1, sizeof *ctx);
  struct sockaddr_in address = talk_loopback(0);
  socklen_t length = sizeof address;
  (void)callbacks, (void)data, (void)options;
  ctx->listener = socket(AF_INET, SOCK_STREAM, 0);
  if (bind(ctx->listener, (struct sockaddr *)&address, sizeof address) != 0
      || listen(ctx->listener, 8) != 0
      || getsockname(ctx->listener, (struct sockaddr *)&address, &length) != 0) {
    talk_fail("cannot listen");
  }
  ctx->port = ntohs(address.sin_port);
  return ctx;
}

/* Starts to accept requests and returns the port. Handlers must be registered before this call. */
int fake_civetweb_open(struct mg_context *ctx) {
  if (pthread_create(&ctx->thread, NULL, accept_all, ctx) != 0) {
    talk_fail("cannot start a thread");
  }
  return ctx->port;
}

void mg_stop(struct mg_context *ctx) {
  shutdown(ctx->listener, SHUT_RDWR);
  pthread_join(ctx->thread, NULL);
  close(ctx->listener);
  free(ctx);
}
