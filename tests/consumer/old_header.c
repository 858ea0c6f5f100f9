/* What was built with an older header keeps working: its structs are shorter, and behind them is
 * not even memory. Each is put right before a page that nobody may touch. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <waystation/waystation.h>

/* The options as far as a first version of them might have gone. */
struct old_options {
  size_t size;
  int auth;
  const char *jwt_key_file;
  const char *jwt_issuer;
  const char *jwt_audience;
  const char *identity_header;
};

struct old_figures {
  size_t size;
  uint64_t chat_sockets;
  uint64_t push_sockets;
};

/* Up to `descriptor`: before there was an HTTP API that needs bodies. */
struct old_request {
  size_t size;
  const char *method;
  const char *target;
  const char *query;
  const char *version;
  const waystation_header *headers;
  size_t header_count;
  const char *remote_address;
  uint16_t remote_port;
  uint16_t local_port;
  int is_tls;
  int descriptor;
};

/* As long as a response ever was at least. */
struct old_response {
  size_t size;
  int action;
  int status;
  char *bytes;
  size_t length;
};

static void *before_the_edge(size_t size) {
  size_t page = (size_t)sysconf(_SC_PAGESIZE);
  char *pages = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (pages == MAP_FAILED || mprotect(pages + page, page, PROT_NONE) != 0) {
    perror("mmap");
    exit(1);
  }
  memset(pages, 0xa5, page);
  return pages + page - size;
}

static void expect(int holds, const char *what) {
  if (holds) return;
  fprintf(stderr, "%s\n", what);
  exit(1);
}

int main(void) {
  struct old_options *options = before_the_edge(sizeof *options);
  struct old_figures *figures = before_the_edge(sizeof *figures);
  struct old_request *request = before_the_edge(sizeof *request);
  waystation_header host = {"Host", "127.0.0.1:1"};
  struct old_response *response = before_the_edge(sizeof *response);
  waystation_relay *relay;
  waystation_error error = WAYSTATION_ERROR_INIT;

  waystation_options_init((waystation_options *)options, sizeof *options);
  expect(options->size == sizeof *options, "the size is not the caller's");
  expect(options->auth == WAYSTATION_AUTH_OPEN, "auth is not its default");
  expect(strcmp(options->identity_header, "X-Forwarded-User") == 0,
         "identity_header is not its default");
  if (waystation_new((const waystation_options *)options, &relay, &error)
      != WAYSTATION_OK) {
    fprintf(stderr, "%s\n", error.message);
    return 1;
  }
  expect(waystation_reconfigure(relay, (const waystation_options *)options, &error)
             == WAYSTATION_OK,
         "old options cannot be put in force again");

  memset(figures, 0, sizeof *figures);
  figures->size = sizeof *figures;
  expect(waystation_stats_read(relay, (waystation_stats *)figures) == WAYSTATION_OK,
         "old figures cannot be read");
  expect(figures->size == sizeof *figures && figures->chat_sockets == 0,
         "old figures are not what they were");

  memset(request, 0, sizeof *request);
  request->size = sizeof *request;
  request->method = "GET";
  request->target = "/healthz";
  request->version = "1.1";
  request->headers = &host;
  request->header_count = 1;
  request->remote_address = "127.0.0.1";
  request->descriptor = -1;
  memset(response, 0, sizeof *response);
  response->size = sizeof *response;
  expect(waystation_http(waystation_id(relay), (const waystation_request *)request,
                         (waystation_response *)response) == WAYSTATION_OK,
         "an old request is not taken");
  expect(response->size == sizeof *response, "a response's size is not the caller's");
  expect(response->action == WAYSTATION_REPLY && response->status == 200 && response->length > 0,
         "an old request is not answered");
  waystation_response_clear((waystation_response *)response);
  expect(response->bytes == NULL && response->length == 0, "an old response is not cleared");
  expect(waystation_upgrade(waystation_id(relay), (const waystation_request *)request,
                            (waystation_response *)response) == WAYSTATION_OK
             && response->action == WAYSTATION_DECLINED,
         "an old request for an upgrade is not taken");
  waystation_response_clear((waystation_response *)response);

  /* The shortest of all. A default that nobody set is in force. */
  options = before_the_edge(sizeof options->size);
  options->size = sizeof options->size;
  waystation_free(relay);
  expect(waystation_new((const waystation_options *)options, &relay, &error)
             == WAYSTATION_OK,
         "options that hold their size alone are not taken");
  expect(waystation_max_body_bytes(waystation_id(relay)) > 0, "a default is not in force");
  waystation_free(relay);

  options->size = 1;
  expect(waystation_new((const waystation_options *)options, &relay, &error)
             == WAYSTATION_INVALID && relay == NULL,
         "options shorter than their own size are taken");
  printf("old structs: taken\n");
  return 0;
}
