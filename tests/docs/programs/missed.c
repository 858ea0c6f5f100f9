/* EMBEDDING.md's question what a user missed: one notification. */
#include "host.h"

#include "show.inc"

int main(void) {
  waystation_error error = WAYSTATION_ERROR_INIT;
  waystation_options options;
  waystation_relay *relay;
  waystation_call_result pushed = WAYSTATION_CALL_RESULT_INIT;
  waystation_options_init(&options, sizeof options);
  options.audit_file = "missed.db";
  require(waystation_new(&options, &relay, &error) == WAYSTATION_OK, error.message);
  require(waystation_push(relay, "alice", "1", 1, 1000, &pushed) == WAYSTATION_OK, "no push");
  require(pushed.sockets == 0, "alice is there");
#include "missed.inc"
  require(error.message[0] == '\0', error.message);
  require(missed.notifications == 1 && missed.next[0] != '\0', "the notification is expected");
  waystation_free(relay);
  return 0;
}
