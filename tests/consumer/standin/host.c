/* A program that has a CivetWeb of its own inside, with hidden symbols. */
#include <waystation/civetweb.h>

#include "../talk.h"

/* A request with more fields than CivetWeb hands over is refused, whatever the last of them said. */
static void crowd(int port) {
  int fd = talk_connect(port);
  const char *line = "GET /push/alice/ HTTP/1.1\r\nHost: 127.0.0.1\r\n";
  int i;
  talk_write(fd, line, strlen(line));
  for (i = 0; i < MG_MAX_HEADERS; i++) talk_write(fd, "X: 1\r\n", 6);
  line = "X-Forwarded-For: 192.0.2.1\r\n\r\n";
  talk_write(fd, line, strlen(line));
  if (talk_answer(fd) != 431) talk_fail("a header was judged of which a part was missing");
  close(fd);
}

int main(void) {
  int port;
  struct mg_context *ctx = mg_start(NULL, NULL, NULL);
  waystation_options options;
  waystation_relay *relay;
  waystation_error error = WAYSTATION_ERROR_INIT;
  waystation_options_init(&options, sizeof options);
  if (waystation_new(&options, &relay, &error) != WAYSTATION_OK) talk_fail(error.message);
  if (waystation_civetweb_attach(relay, ctx) != 0) talk_fail("cannot attach");
  port = standin_open(ctx);
  talk_scene(port);
  crowd(port);
  mg_stop(ctx);
  waystation_free(relay);
  printf("CivetWeb's layout of 1.%d inside: hello arrived\n", CIVETWEB_VERSION_MINOR);
  return 0;
}
