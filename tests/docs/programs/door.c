/* EMBEDDING.md's socket for the handover, which the relay must accept. */
#define HANDOVER_PATH "handover"
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "host.h"

static int is_listened_to(void) {
  struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = HANDOVER_PATH};
  int asker = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  int connected = connect(asker, (struct sockaddr *)&address, sizeof address) == 0;
  close(asker);
  return connected;
}

/* One run of a program. Its end leaves the socket's file. */
static void run(void) {
  waystation_error error = WAYSTATION_ERROR_INIT;
  waystation_options options;
  waystation_relay *relay;
  waystation_options_init(&options, sizeof options);
  require(waystation_new(&options, &relay, &error) == WAYSTATION_OK, error.message);
#include "door.inc"
  require(error.status == WAYSTATION_OK, error.message);
  require(is_listened_to(), "no relay listens on the socket");
  waystation_free(relay);
  require(!is_listened_to(), "a freed relay listens on the socket");
}

int main(void) {
  run();
  run();
  unlink(HANDOVER_PATH);
  return 0;
}
