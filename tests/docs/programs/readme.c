/* The README's few lines, in a program that runs CivetWeb. */
#include "host.h"

int main(void) {
  int port;
  struct mg_context *ctx = start_civetweb(&port);
#include "readme.inc"
  require_status(port, "/push/alice/", "", 426);
  mg_stop(ctx);
  waystation_free(relay);
  return 0;
}
