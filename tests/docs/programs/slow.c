/* EMBEDDING.md's loop against slow connections: a silent client is ended while others wait. */
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "host.h"

static atomic_int stopping;
static waystation_relay *relay;
static struct mg_context *ctx;

static void *end_slow_connections(void *unused) {
#include "slow.inc"
  return NULL;
}

int main(void) {
  waystation_error error = WAYSTATION_ERROR_INIT;
  waystation_options options;
  struct mg_connection *silent[2];
  char problem[256];
  pthread_t thread;
  int port;
  ctx = start_civetweb(&port);
  waystation_options_init(&options, sizeof options);
  require(waystation_new(&options, &relay, &error) == WAYSTATION_OK, error.message);
  waystation_civetweb_attach(relay, ctx);
  /* As many as CivetWeb has workers: without the loop, the next one waits for request_timeout_ms. */
  for (int i = 0; i < 2; i++) {
    silent[i] = mg_connect_client("127.0.0.1", port, 0, problem, sizeof problem);
    require(silent[i] != NULL, problem);
  }
  require(pthread_create(&thread, NULL, end_slow_connections, NULL) == 0, "no thread");
  require_status(port, "/push/alice/", "", 426);
  atomic_store(&stopping, 1);
  pthread_join(thread, NULL);
  for (int i = 0; i < 2; i++) mg_close_connection(silent[i]);
  mg_stop(ctx);
  waystation_free(relay);
  return 0;
}
