/* EMBEDDING.md's socket for the handover, which the relay must accept. */
#define HANDOVER_PATH "handover"
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "host.h"

int main(void) {
  waystation_error error = WAYSTATION_ERROR_INIT;
  waystation_options options;
  waystation_relay *relay;
  waystation_options_init(&options, sizeof options);
  require(waystation_new(&options, &relay, &error) == WAYSTATION_OK, error.message);
#include "door.inc"
  require(error.status == WAYSTATION_OK, error.message);
  waystation_free(relay);
  unlink(HANDOVER_PATH);
  return 0;
}
