/* EMBEDDING.md's wss: the call for OpenSSL, before a CivetWeb that then serves plain HTTP as before. */
#include <stdio.h>

#include "wss.inc"

#include "host.h"

int main(void) {
  waystation_options options;
  waystation_relay *relay;
  waystation_error error = WAYSTATION_ERROR_INIT;
  struct mg_context *ctx;
  int port;
  require(use_openssl() == 0, "the call failed");
  ctx = start_civetweb(&port);
  waystation_options_init(&options, sizeof options);
  require(waystation_new(&options, &relay, &error) == WAYSTATION_OK, error.message);
  waystation_civetweb_attach(relay, ctx);
  require_status(port, "/push/alice/", "", 426);
  mg_stop(ctx);
  waystation_free(relay);
  return 0;
}
