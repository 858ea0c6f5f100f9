/* EMBEDDING.md's token: the relay takes the token that the block signs. */
#include <sys/stat.h>

#include "host.h"

int main(void) {
  waystation_error error = WAYSTATION_ERROR_INIT;
  waystation_options options;
  waystation_relay *relay;
  FILE *keys;
  int port;
  struct mg_context *ctx = start_civetweb(&port);
  char header[8300];
  waystation_options_init(&options, sizeof options);
  umask(077);
  keys = fopen(DOCS_FOLDER "/etc/waystation/keys", "w");
  require(keys != NULL, "the key file cannot be written");
  fputs("7JH0MdPuSDyhBKB4hEcJ7C5zPYFNsOPwJzQVSyEONdA=\n", keys);
  fclose(keys);
#include "token.inc"
  require(waystation_new(&options, &relay, &error) == WAYSTATION_OK, error.message);
  waystation_civetweb_attach(relay, ctx);
  snprintf(header, sizeof header, "Cookie: waystation_token=%s\r\n", token);
  require_status(port, "/push/alice/", header, 426);
  require_status(port, "/push/bob/", header, 403);
  require_status(port, "/push/alice/", "", 401);
  mg_stop(ctx);
  waystation_free(relay);
  return 0;
}
