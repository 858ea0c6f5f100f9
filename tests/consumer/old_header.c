/* Programs built with an older header keep working: their structs are shorter. Each struct ends
 * at a protected page, so that an access beyond it ends the program. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <waystation/waystation.h>

/* The options of an assumed first version. */
struct old_options {
  size_t size;
  int auth;
  const char *jwt_key_file;
  const char *jwt_issuer;
  const char *jwt_audience;
  const char *identity_header;
};

struct old_stats {
  size_t size;
  uint64_t chat_sockets;
  uint64_t push_sockets;
};

/* Up to `descriptor`: a header without the HTTP API, which needs bodies. */
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

/* The shortest response that any header declared. */
struct old_response {
  size_t size;
  int action;
  int status;
  char *bytes;
  size_t length;
};

static void *at_page_end(size_t size) {
  size_t page = (size_t)sysconf(_SC_PAGESIZE);
  char *pages = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (pages == MAP_FAILED || mprotect(pages + page, page, PROT_NONE) != 0) {
    perror("mmap");
    exit(1);
  }
  memset(pages, 0xa5, page);
  return pages + page - size;
}

static void expect(int holds, const char *message) {
  if (holds) return;
  fprintf(stderr, "%s\n", message);
  exit(1);
}

int main(void) {
  struct old_options *options = at_page_end(sizeof *options);
  struct old_stats *stats = at_page_end(sizeof *stats);
  struct old_request *request = at_page_end(sizeof *request);
  waystation_header host = {"Host", "127.0.0.1:1"};
  struct old_response *response = at_page_end(sizeof *response);
  waystation_relay *relay;
  waystation_error error = WAYSTATION_ERROR_INIT;

  waystation_options_init((waystation_options *)options, sizeof *options);
  expect(options->size == sizeof *options, "options: the caller's size was changed");
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

  memset(stats, 0, sizeof *stats);
  stats->size = sizeof *stats;
  expect(waystation_stats_read(relay, (waystation_stats *)stats) == WAYSTATION_OK,
         "old statistics cannot be read");
  expect(stats->size == sizeof *stats && stats->chat_sockets == 0,
         "old statistics are not what they were");

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
         "an old request is refused");
  expect(response->size == sizeof *response, "a response's size is not the caller's");
  expect(response->action == WAYSTATION_REPLY && response->status == 200 && response->length > 0,
         "an old request is not answered");
  waystation_response_clear((waystation_response *)response);
  expect(response->bytes == NULL && response->length == 0, "an old response is not cleared");
  expect(waystation_upgrade(waystation_id(relay), (const waystation_request *)request,
                            (waystation_response *)response) == WAYSTATION_OK
             && response->action == WAYSTATION_DECLINED,
         "an old upgrade request is refused");
  waystation_response_clear((waystation_response *)response);

  /* The shortest struct: unset options have their defaults. */
  options = at_page_end(sizeof options->size);
  options->size = sizeof options->size;
  waystation_free(relay);
  expect(waystation_new((const waystation_options *)options, &relay, &error)
             == WAYSTATION_OK,
         "options that consist of their size are refused");
  expect(waystation_max_body_bytes(waystation_id(relay)) > 0, "a default is not in force");
  waystation_free(relay);

  options->size = 1;
  expect(waystation_new((const waystation_options *)options, &relay, &error)
             == WAYSTATION_INVALID && relay == NULL,
         "options shorter than their size member are accepted");
  printf("old structs: accepted\n");
  return 0;
}
