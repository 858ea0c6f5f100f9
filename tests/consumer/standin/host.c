/* A program that has a CivetWeb of its own inside, with hidden symbols. */
#include <waystation/civetweb.h>

#include "../talk.h"

int main(void) {
  struct mg_context *ctx = mg_start(NULL, NULL, NULL);
  waystation_options options;
  waystation_relay *relay;
  char error[256];
  waystation_options_init(&options, sizeof options);
  if (waystation_new(&options, &relay, error, sizeof error) != WAYSTATION_OK) talk_fail(error);
  if (waystation_civetweb_attach(relay, ctx) != 0) talk_fail("cannot attach");
  talk_scene(standin_open(ctx));
  mg_stop(ctx);
  waystation_free(relay);
  printf("CivetWeb's layout of 1.%d inside: hello arrived\n", CIVETWEB_VERSION_MINOR);
  return 0;
}
