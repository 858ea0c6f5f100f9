/* EMBEDDING.md's calls, for a user who is not there. */
#include "host.h"

int main(void) {
  waystation_error error = WAYSTATION_ERROR_INIT;
  waystation_options options;
  waystation_relay *relay;
  waystation_options_init(&options, sizeof options);
  require(waystation_new(&options, &relay, &error) == WAYSTATION_OK, error.message);
#include "calls.inc"
  require(result.sockets == 0 && result.groups == 0 && !result.partial, "somebody is there");
  waystation_free(relay);
  return 0;
}
