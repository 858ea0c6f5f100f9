/* EMBEDDING.md's callback: a known session may open a socket, another may not. A user whose name is too
 * long does not become the user whose name is its first 64 characters. */
#include "host.h"

#define NAME_OF_64 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

struct login {
  const char *name;
  int is_admin;
  int64_t expires_ms;
};

static const struct login *find_login(void *logins, void *connection) {
  const char *cookie = mg_get_header((struct mg_connection *)connection, "Cookie");
  char session[8];
  int number = mg_get_cookie(cookie, "session", session, sizeof session) > 0 ? atoi(session) : 0;
  return number == 1 || number == 2 ? (const struct login *)logins + number - 1 : NULL;
}

#include "identify.inc"

int main(void) {
  struct login logins[] = {{"alice", 1, 0}, {NAME_OF_64 "0", 0, 0}};
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
  require_status(port, "/push/alice/", "Cookie: session=3\r\n", 401);
  require_status(port, "/push/" NAME_OF_64 "/", "Cookie: session=2\r\n", 401);
  require_status(port, "/api/v1/presence/bob", "Cookie: session=1\r\n", 200);
  mg_stop(ctx);
  waystation_free(relay);
  return 0;
}
