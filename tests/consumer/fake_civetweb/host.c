/* A program with its own CivetWeb compiled in, with hidden symbols. */
#include <waystation/civetweb.h>

#include "../talk.h"

/* A request with more header fields than CivetWeb passes on is refused, whatever its last field
 * contains. */
static void send_too_many_fields(int port) {
  int fd = talk_connect(port);
  const char *line = "GET /push/alice/ HTTP/1.1\r\nHost: 127.0.0.1\r\n";
  int i;
  talk_write(fd, line, strlen(line));
  for (i = 0; i < MG_MAX_HEADERS; i++) talk_write(fd, "X: 1\r\n", 6);
  line = "X-Forwarded-For: 192.0.2.1\r\n\r\n";
  talk_write(fd, line, strlen(line));
  if (talk_status(fd) != 431) talk_fail("a truncated header was not refused");
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
  port = fake_civetweb_open(ctx);
  talk_scene(port);
  send_too_many_fields(port);
  mg_stop(ctx);
  waystation_free(relay);
  printf("CivetWeb compiled in, layout of 1.%d: hello arrived\n", CIVETWEB_VERSION_MINOR);
  return 0;
}
