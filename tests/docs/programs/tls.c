/* EMBEDDING.md's wss: a socket opens by TLS on the port of CivetWeb. */
#include <stdio.h>

#include "wss.inc"

#include "host.h"

int main(void) {
  waystation_options options;
  waystation_relay *relay;
  waystation_error error = WAYSTATION_ERROR_INIT;
  struct mg_callbacks callbacks;
  struct mg_server_port opened[2];
  memset(&callbacks, 0, sizeof callbacks);
#include "start.inc"
  require(ctx != NULL, "CivetWeb does not start");
  require(mg_get_server_ports(ctx, 2, opened) == 2 && opened[1].is_ssl, "CivetWeb has no port with TLS");
  waystation_options_init(&options, sizeof options);
  require(waystation_new(&options, &relay, &error) == WAYSTATION_OK, error.message);
  waystation_civetweb_attach(relay, ctx);
  require_open(opened[0].port, 0, "/push/alice/");
  require_open(opened[1].port, 1, "/push/alice/");
  mg_stop(ctx);
  waystation_free(relay);
  return 0;
}
