/* EMBEDDING.md's door, which must be one. */
#define DOOR "door"
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
  unlink(DOOR);
  return 0;
}
