/* EMBEDDING.md's audit: a relay that keeps one, and a notification that reaches nobody. */
#include "host.h"

int main(void) {
  waystation_error error = WAYSTATION_ERROR_INIT;
  waystation_options options;
  waystation_relay *relay;
  waystation_options_init(&options, sizeof options);
#include "audit.inc"
  require(waystation_new(&options, &relay, &error) == WAYSTATION_OK, error.message);
  require(waystation_push(relay, "alice", "1", 1, 1000, NULL) == WAYSTATION_OK, "no push");
  waystation_drain(relay, 1000);
  waystation_free(relay);
  return 0;
}
