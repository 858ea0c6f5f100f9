/* EMBEDDING.md's callback: a known session may open a socket, another may not. */
#include "host.h"

struct login {
  const char *name;
  int is_admin;
  int64_t expires_ms;
};

static const struct login *find_login(void *logins, void *connection) {
  const char *cookie = mg_get_header((struct mg_connection *)connection, "Cookie");
  return cookie != NULL && strcmp(cookie, "session=1") == 0 ? (const struct login *)logins : NULL;
}

#include "identify.inc"

int main(void) {
  struct login logins = {"alice", 1, 0};
  waystation_error error = WAYSTATION_ERROR_INIT;
  waystation_options options;
  waystation_relay *relay;
  int port;
  struct mg_context *ctx = start_civetweb(&port);
  waystation_options_init(&options, sizeof options);
#include "callback.inc"
  require(waystation_new(&options, &relay, &error) == WAYSTATION_OK, error.message);
  waystation_civetweb_attach(relay, ctx);
  waystation_civetweb_attach_api(relay, ctx);
  require_status(port, "/push/alice/", "Cookie: session=1\r\n", 426);
  require_status(port, "/push/bob/", "Cookie: session=1\r\n", 403);
  require_status(port, "/push/alice/", "Cookie: session=2\r\n", 401);
  require_status(port, "/api/v1/presence/bob", "Cookie: session=1\r\n", 200);
  mg_stop(ctx);
  waystation_free(relay);
  return 0;
}
