/* Tests the whole C interface as a host application in C uses it. */
#define _GNU_SOURCE

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <waystation/waystation.h>

#include "check.h"
#include "support/small_stack.h"

/* ---- a minimal web server -------------------------------------------------------------------- */

typedef struct connection {
  int client;
  int server;
  uint16_t client_port;
  uint16_t server_port;
} connection;

static connection connected(void) {
  connection c = {-1, -1, 0, 0};
  struct sockaddr_in address;
  socklen_t size = sizeof address;
  int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  memset(&address, 0, sizeof address);
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  CHECK(bind(listener, (struct sockaddr *)&address, size) == 0 && listen(listener, 1) == 0);
  CHECK(getsockname(listener, (struct sockaddr *)&address, &size) == 0);
  c.server_port = ntohs(address.sin_port);
  c.client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  CHECK(connect(c.client, (struct sockaddr *)&address, size) == 0);
  c.server = accept(listener, (struct sockaddr *)&address, &size);
  CHECK(c.server >= 0);
  c.client_port = ntohs(address.sin_port);
  close(listener);
  return c;
}

static void disconnect(connection *c) {
  close(c->client);
  close(c->server);
}

static const waystation_header upgrade_headers[] = {
    {"Host", "localhost"},
    {"Connection", "Upgrade"},
    {"Upgrade", "websocket"},
    {"Sec-WebSocket-Version", "13"},
    {"Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="},
};

static waystation_request upgrade_of(const connection *c, const char *target, const char *query) {
  waystation_request request;
  memset(&request, 0, sizeof request);
  request.size = sizeof request;
  request.method = "GET";
  request.target = target;
  request.query = query;
  request.version = "1.1";
  request.headers = upgrade_headers;
  request.header_count = sizeof upgrade_headers / sizeof upgrade_headers[0];
  request.remote_address = "127.0.0.1";
  request.remote_port = c->client_port;
  request.local_port = c->server_port;
  request.descriptor = -1;
  return request;
}

/* The same path without an upgrade. */
static waystation_request plain_get_of(const connection *c, const char *target) {
  static const waystation_header headers[] = {{"Host", "localhost"}};
  waystation_request request = upgrade_of(c, target, NULL);
  request.headers = headers;
  request.header_count = 1;
  return request;
}

static waystation_response empty_response(void) {
  waystation_response response;
  memset(&response, 0, sizeof response);
  response.size = sizeof response;
  return response;
}

static void receive(int fd, char *text, size_t size) {
  size_t got = 0;
  while (got + 1 < size) {
    ssize_t count = recv(fd, text + got, 1, 0);
    if (count <= 0) break;
    got++;
    if (got >= 4 && memcmp(text + got - 4, "\r\n\r\n", 4) == 0) break;
  }
  text[got] = '\0';
}

/* Opens a socket of the relay. */
static connection open_socket(uint32_t id, const char *target, const char *query) {
  connection c = connected();
  waystation_request request = upgrade_of(&c, target, query);
  waystation_response response = empty_response();
  char head[1024];
  char byte;
  CHECK(waystation_upgrade(id, &request, &response) == WAYSTATION_OK);
  CHECK(response.action == WAYSTATION_ADOPTED && response.status == 101);
  CHECK(response.bytes == NULL && response.length == 0);
  waystation_response_clear(&response);
  CHECK(recv(c.server, &byte, 1, 0) == 0);
  receive(c.client, head, sizeof head);
  CHECK(strncmp(head, "HTTP/1.1 101 ", 13) == 0);
  return c;
}

/* Checks the status and the error code of the response to a request. */
static void expect_refusal(uint32_t id, const waystation_request *request, int status,
                           const char *code) {
  waystation_response response = empty_response();
  char quoted[64];
  CHECK(waystation_upgrade(id, request, &response) == WAYSTATION_OK);
  CHECK(response.action == WAYSTATION_REPLY && response.status == status);
  snprintf(quoted, sizeof quoted, "\"%s\"", code);
  CHECK(strstr(response.bytes, quoted) != NULL);
  /* The bytes are also a C string, although `length` is authoritative. */
  CHECK(response.bytes[response.length] == '\0' && strlen(response.bytes) == response.length);
  waystation_response_clear(&response);
}

typedef waystation_status (*answering)(uint32_t id, const waystation_request *request,
                                       waystation_response *response);

static void expect_declined(answering answer, uint32_t id, const waystation_request *request) {
  waystation_response response = empty_response();
  CHECK(answer(id, request, &response) == WAYSTATION_OK);
  CHECK(response.action == WAYSTATION_DECLINED && response.status == 0 && response.bytes == NULL);
}

/* Without a relay, its own paths get 503. All others stay the host application's. */
static void expect_gone(uint32_t id, const waystation_request *of) {
  static const char *const sockets[] = {"/push/alice/", "/ws/chat/alice_bob/?user=alice", "/push/A"};
  static const char *const api[] = {"/healthz", "/api/v1/presence/bob", "/api/elsewhere"};
  static const char *const others[] = {"/", "/index.html", "/pushover", "/healthzone", "/apiary", ""};
  waystation_request request = *of;
  waystation_response response = empty_response();
  size_t i;
  for (i = 0; i < sizeof sockets / sizeof sockets[0]; i++) {
    request.target = sockets[i];
    expect_refusal(id, &request, 503, "stopped");
    expect_declined(waystation_http, id, &request);
    expect_declined(waystation_origin_check, id, &request);
  }
  for (i = 0; i < sizeof api / sizeof api[0]; i++) {
    request.target = api[i];
    CHECK(waystation_http(id, &request, &response) == WAYSTATION_OK);
    CHECK(response.action == WAYSTATION_REPLY && response.status == 503);
    CHECK(strstr(response.bytes, "\"stopped\"") != NULL);
    waystation_response_clear(&response);
    expect_declined(waystation_upgrade, id, &request);
    expect_declined(waystation_origin_check, id, &request);
  }
  for (i = 0; i < sizeof others / sizeof others[0]; i++) {
    request.target = others[i];
    expect_declined(waystation_upgrade, id, &request);
    expect_declined(waystation_http, id, &request);
    expect_declined(waystation_origin_check, id, &request);
  }
}

static void expect_frame(int fd, const char *text) {
  char frame[256];
  size_t length = strlen(text);
  CHECK(recv(fd, frame, length + 2, MSG_WAITALL) == (ssize_t)length + 2);
  CHECK(frame[0] == (char)0x81 && frame[1] == (char)length);
  CHECK(memcmp(frame + 2, text, length) == 0);
}

/* ---- the tests ------------------------------------------------------------------------------- */

static waystation_relay *started(waystation_options *options) {
  waystation_relay *relay = NULL;
  waystation_error error = WAYSTATION_ERROR_INIT;
  CHECK(waystation_new(options, &relay, &error) == WAYSTATION_OK);
  CHECK(strcmp(error.message, "") == 0);
  return relay;
}

static void descriptions(void) {
  int status;
  CHECK(strcmp(waystation_version(), "") != 0);
  for (status = WAYSTATION_OK; status <= WAYSTATION_INTERNAL; status++) {
    CHECK(strlen(waystation_status_text((waystation_status)status)) > 3);
  }
  CHECK(waystation_status_text((waystation_status)4711) != NULL);
}

static void defaults(void) {
  waystation_options options;
  _Alignas(waystation_options) unsigned char room[sizeof options + 16];
  size_t i;
  waystation_options_init(&options, sizeof options);
  CHECK(options.size == sizeof options);
  CHECK(options.auth == WAYSTATION_AUTH_OPEN && options.jwt_key_file == NULL);
  CHECK(strcmp(options.identity_header, "X-Forwarded-User") == 0);
  CHECK(strcmp(options.operators, "127.0.0.0/8,::1") == 0);
  CHECK(options.max_connections == 10000 && options.max_connections_per_user == 16);
  CHECK(options.max_connections_per_address == 64);
  CHECK(options.messages_per_second == 50 && options.message_burst == 200);
  CHECK(options.max_message_bytes == 65536 && options.max_queue_bytes == 1048576);
  CHECK(options.max_total_queue_bytes == 268435456);
  CHECK(options.ping_interval_seconds == 25 && options.busy_poll_microseconds == 0);
  CHECK(options.show_reachable == 1);
  CHECK(options.identify == NULL && options.on_event == NULL && options.on_log == NULL);

  /* Nothing is written beyond the caller's size, however small. */
  waystation_options_init(NULL, sizeof options);
  for (i = 0; i <= sizeof options; i += 4) {
    memset(room, 0xA5, sizeof room);
    waystation_options_init((waystation_options *)(void *)room, i);
    CHECK(room[i] == 0xA5 && room[i + 8] == 0xA5);
  }
}

static void options_of_an_older_header(void) {
  /* Allocates exactly the older struct, so that a sanitizer reports a read beyond it. */
  size_t sizes[3];
  size_t i;
  sizes[0] = offsetof(waystation_options, busy_poll_microseconds);
  sizes[1] = offsetof(waystation_options, max_connections);
  sizes[2] = sizeof(size_t);
  for (i = 0; i < 3; i++) {
    waystation_options *options = malloc(sizes[i]);
    waystation_relay *relay;
    waystation_options_init(options, sizes[i]);
    CHECK(options->size == sizes[i]);
    relay = started(options);
    CHECK(waystation_max_body_bytes(waystation_id(relay)) == 65536);
    waystation_free(relay);
    free(options);
  }
}

static void wrong_options(void) {
  waystation_options options;
  waystation_relay *relay = (waystation_relay *)&options;
  waystation_error error = WAYSTATION_ERROR_INIT;
  struct {
    size_t size;
    waystation_status status;
    char canary;
  } older = {offsetof(waystation_error, option), WAYSTATION_OK, 'x'};
  waystation_options_init(&options, sizeof options);

  CHECK(waystation_new(&options, NULL, &error) == WAYSTATION_INVALID);
  CHECK(waystation_new(NULL, &relay, &error) == WAYSTATION_INVALID);
  CHECK(relay == NULL && strstr(error.message, "waystation_options_init") != NULL);
  options.size = 1;
  CHECK(waystation_new(&options, &relay, &error) == WAYSTATION_INVALID);
  options.size = sizeof options;

  options.auth = 17;
  CHECK(waystation_new(&options, &relay, &error) == WAYSTATION_INVALID);
  CHECK(relay == NULL && error.status == WAYSTATION_INVALID);
  CHECK(strcmp(error.option, "auth") == 0);
  CHECK(strcmp(error.message,
               "auth = 17: unknown value; allowed: open, jwt, header or callback") == 0);
  CHECK(waystation_new(&options, &relay, NULL) == WAYSTATION_INVALID);
  /* A caller with a shorter struct, and one that did not set the size. */
  CHECK(waystation_new(&options, &relay, (waystation_error *)(void *)&older) ==
        WAYSTATION_INVALID);
  CHECK(older.size == offsetof(waystation_error, option) && older.status == WAYSTATION_INVALID);
  CHECK(older.canary == 'x');
  older.size = 0;
  older.status = WAYSTATION_OK;
  CHECK(waystation_new(&options, &relay, (waystation_error *)(void *)&older) ==
        WAYSTATION_INVALID);
  CHECK(older.size == 0 && older.status == WAYSTATION_OK);

  options.auth = WAYSTATION_AUTH_CALLBACK;
  CHECK(waystation_new(&options, &relay, &error) == WAYSTATION_INVALID);
  CHECK(strstr(error.message, "identify") != NULL);
  options.auth = WAYSTATION_AUTH_JWT;
  options.jwt_key_file = "/nowhere/at/all";
  CHECK(waystation_new(&options, &relay, &error) == WAYSTATION_INVALID);
  CHECK(strcmp(error.option, "jwt_key_file") == 0);
  CHECK(strstr(error.message, "/nowhere/at/all") != NULL);

#define REFUSED(field, value)                                                    \
  waystation_options_init(&options, sizeof options);                             \
  options.field = value;                                                         \
  CHECK(waystation_new(&options, &relay, &error) == WAYSTATION_INVALID);         \
  CHECK(strcmp(error.option, #field) == 0);                                      \
  CHECK(strncmp(error.message, #field " = ", strlen(#field " = ")) == 0);        \
  CHECK(waystation_options_check(&options, &error) == WAYSTATION_INVALID);       \
  CHECK(strcmp(error.option, #field) == 0);
  REFUSED(max_queue_bytes, 65536)
  REFUSED(max_total_queue_bytes, 1048575)
  REFUSED(trusted_proxies, "not an address")
  REFUSED(trusted_proxies, "0.0.0.0/1,128.0.0.0/1")
  REFUSED(operators, "127.0.0.1/99")
  REFUSED(allowed_origins, "no scheme")
  REFUSED(allowed_hosts, "no host!")
  REFUSED(scopes_header, "no field name")
  REFUSED(node_name, "no name")
  REFUSED(audit_file, "/nowhere/at/all")
}

/* Writes a number into the field that a row of the table names. */
static void put(waystation_options *options, const waystation_option_info *info, uint64_t number) {
  uint32_t narrow = (uint32_t)number;
  memcpy((char *)options + info->field_offset,
         info->field_size == sizeof number ? (const void *)&number : &narrow, info->field_size);
}

/* Checks that one number is refused, and that the error names option, value and range. */
static void expect_out_of_range(const waystation_option_info *info, uint64_t number) {
  waystation_options options;
  waystation_error error = WAYSTATION_ERROR_INIT;
  char expected[200];
  if (info->field_size == sizeof(uint32_t) && number > UINT32_MAX) return;
  waystation_options_init(&options, sizeof options);
  put(&options, info, number);
  snprintf(expected, sizeof expected, "%s = %llu: out of range; allowed: %s", info->name,
           (unsigned long long)number, info->allowed);
  CHECK(waystation_options_check(&options, &error) == WAYSTATION_INVALID);
  CHECK(strcmp(error.option, info->name) == 0 && strcmp(error.message, expected) == 0);
}

/* The table's defaults and ranges are those that the library uses. */
static void option_table(void) {
  waystation_options defaults, options;
  waystation_option_info info;
  struct {
    size_t size;
    const char *name;
    const char *canary;
  } older = {offsetof(waystation_option_info, group), NULL, "x"};
  size_t i;
  memset(&info, 0, sizeof info);
  CHECK(waystation_option_at(0, NULL) == WAYSTATION_INVALID);
  CHECK(waystation_option_at(0, &info) == WAYSTATION_INVALID);
  info.size = sizeof info;
  CHECK(waystation_option_at(waystation_option_count(), &info) == WAYSTATION_INVALID);
  CHECK(waystation_option_at(0, (waystation_option_info *)(void *)&older) == WAYSTATION_OK);
  CHECK(strcmp(older.name, "auth") == 0 && strcmp(older.canary, "x") == 0);
  waystation_options_init(&defaults, sizeof defaults);
  CHECK(waystation_option_count() == 33);
  for (i = 0; i < waystation_option_count(); i++) {
    const char *field;
    CHECK(waystation_option_at(i, &info) == WAYSTATION_OK);
    field = (const char *)&defaults + info.field_offset;
    CHECK(strlen(info.name) < sizeof((waystation_error){0}).option);
    CHECK(*info.group != '\0' && *info.allowed != '\0' && strlen(info.help) > 20);
    CHECK(info.help[strlen(info.help) - 1] == '.');
    if (info.type == WAYSTATION_OPTION_TEXT || info.type == WAYSTATION_OPTION_LIST) {
      const char *text;
      memcpy(&text, field, sizeof text);
      CHECK(info.field_size == sizeof text);
      CHECK(strcmp(text == NULL ? "" : text, info.default_text) == 0);
    } else if (info.field_size == sizeof(uint64_t)) {
      CHECK(memcmp(field, &info.default_number, sizeof(uint64_t)) == 0);
    } else {
      uint32_t number = (uint32_t)info.default_number;
      CHECK(info.field_size == sizeof number && memcmp(field, &number, sizeof number) == 0);
    }
    if (info.type == WAYSTATION_OPTION_CHOICE) {
      CHECK(info.choices[info.default_number] != NULL && info.choices[info.maximum + 1] == NULL);
    }
    if (info.type != WAYSTATION_OPTION_NUMBER) continue;
    expect_out_of_range(&info, info.maximum + 1);
    if (info.minimum > 0) expect_out_of_range(&info, info.minimum - 1);
    options = defaults;
    put(&options, &info, 0);
    CHECK((waystation_options_check(&options, NULL) == WAYSTATION_OK)
          == (info.minimum == 0 || info.zero_allowed));
  }
}

/* The results of waystation_options_check_all. */
typedef struct findings {
  size_t mistakes;
  size_t warnings;
  char options[1000];
  size_t most;
} findings;

static int note_finding(void *user_data, waystation_log_level severity,
                        const waystation_error *problem) {
  findings *found = user_data;
  size_t length = strlen(found->options);
  CHECK(problem->size == sizeof *problem && problem->message[0] != '\0');
  CHECK(severity == WAYSTATION_LOG_ERROR || severity == WAYSTATION_LOG_WARNING);
  CHECK((problem->status == WAYSTATION_INVALID) == (severity == WAYSTATION_LOG_ERROR));
  if (severity == WAYSTATION_LOG_ERROR) found->mistakes++;
  if (severity == WAYSTATION_LOG_WARNING) found->warnings++;
  snprintf(found->options + length, sizeof found->options - length, "%s ", problem->option);
  return found->mistakes + found->warnings != found->most;
}

static void check_all_reports_every_mistake(void) {
  waystation_options options;
  findings found = {0, 0, "", 0};
  waystation_options_init(&options, sizeof options);
  CHECK(waystation_options_check_all(NULL, note_finding, &found) == WAYSTATION_INVALID);
  CHECK(waystation_options_check_all(&options, NULL, &found) == WAYSTATION_INVALID);
  CHECK(waystation_options_check_all(&options, note_finding, &found) == WAYSTATION_OK);
  CHECK(found.mistakes == 0 && found.warnings == 0);

  options.jwt_key_file = "/nowhere/at/all";
  CHECK(waystation_options_check_all(&options, note_finding, &found) == WAYSTATION_OK);
  CHECK(found.mistakes == 0 && found.warnings == 1);

  options.auth = WAYSTATION_AUTH_JWT;
  options.trusted_proxies = "a, 192.0.2.1, b";
  options.allowed_origins = "c";
  options.ping_interval_seconds = 0;
  options.max_message_bytes = 1;
  options.message_burst = 0;
  options.audit_max_bytes = 5;
  options.log_level = -1;
  options.allow_query_token = 1;
  memset(&found, 0, sizeof found);
  CHECK(waystation_options_check_all(&options, note_finding, &found) == WAYSTATION_INVALID);
  CHECK(found.mistakes == 8 && found.warnings == 2);
  /* In the order of the table; warnings are last. */
  CHECK(strcmp(found.options,
               "jwt_key_file trusted_proxies trusted_proxies allowed_origins message_burst "
               "ping_interval_seconds audit_max_bytes log_level jwt_audience allow_query_token ")
        == 0);
  memset(&found, 0, sizeof found);
  found.most = 3;
  CHECK(waystation_options_check_all(&options, note_finding, &found) == WAYSTATION_INVALID);
  CHECK(found.mistakes == 3 && found.warnings == 0);
}

/* Every field of the statistics and every counter has a row. */
static void statistics_tables(void) {
  waystation_stat_info stat;
  waystation_counter_info counter;
  size_t i;
  memset(&stat, 0, sizeof stat);
  memset(&counter, 0, sizeof counter);
  CHECK(waystation_stat_at(0, &stat) == WAYSTATION_INVALID);
  CHECK(waystation_counter_at(WAYSTATION_COUNTER_ERRORS_SENT, &counter) == WAYSTATION_INVALID);
  stat.size = sizeof stat;
  counter.size = sizeof counter;
  CHECK(waystation_stat_count() == (sizeof(waystation_stats) - sizeof(size_t)) / sizeof(uint64_t));
  CHECK(waystation_stat_at(waystation_stat_count(), &stat) == WAYSTATION_INVALID);
  for (i = 0; i < waystation_stat_count(); i++) {
    CHECK(waystation_stat_at(i, &stat) == WAYSTATION_OK);
    CHECK(stat.field_offset == sizeof(size_t) + i * sizeof(uint64_t) && stat.divisor > 0);
    CHECK(*stat.name != '\0' && stat.help[strlen(stat.help) - 1] == '.');
  }
  CHECK(waystation_counter_at((waystation_counter)waystation_counter_count(), &counter)
        == WAYSTATION_INVALID);
  CHECK(waystation_counter_at((waystation_counter)-1, &counter) == WAYSTATION_INVALID);
  for (i = 0; i < waystation_counter_count(); i++) {
    CHECK(waystation_counter_at((waystation_counter)i, &counter) == WAYSTATION_OK);
    CHECK(strncmp(counter.metric, "waystation_", 11) == 0 && *counter.label != '\0');
  }
}

/* The label to search for, and its count. */
typedef struct part {
  const char *name;
  uint64_t count;
  int parts;
} part;

static int count_part(void *user_data, const char *name, uint64_t count) {
  part *wanted = user_data;
  wanted->parts++;
  if (strcmp(name, wanted->name) != 0) return 1;
  wanted->count = count;
  return 0;
}

static uint64_t counted(const waystation_relay *relay, waystation_counter which, const char *name) {
  part wanted = {name, UINT64_MAX, 0};
  CHECK(waystation_counter_read(relay, which, count_part, &wanted) == WAYSTATION_OK);
  CHECK(wanted.parts > 0 && wanted.parts < 40 && wanted.count != UINT64_MAX);
  return wanted.count;
}

typedef struct users {
  int count;
  char user[65];
  uint64_t push_sockets;
  uint64_t groups;
  uint64_t nodes;
} users;

static int note_user(void *user_data, const waystation_user *user) {
  users *here = user_data;
  CHECK(user->size == sizeof *user);
  here->count++;
  snprintf(here->user, sizeof here->user, "%s", user->user);
  here->push_sockets = user->push_sockets;
  here->groups = user->groups;
  here->nodes = user->nodes;
  return 1;
}

static void null_arguments(void) {
  waystation_request request;
  waystation_response response = empty_response();
  waystation_stats stats;
  uint64_t number = 7;
  connection c = {-1, -1, 1, 2};
  waystation_options options;
  waystation_error error = WAYSTATION_ERROR_INIT;
  request = upgrade_of(&c, "/push/alice/", NULL);
  waystation_options_init(&options, sizeof options);
  memset(&stats, 0, sizeof stats);
  stats.size = sizeof stats;

  waystation_free(NULL);
  waystation_response_clear(NULL);
  waystation_response_clear(&response);
  CHECK(waystation_id(NULL) == 0);
  CHECK(waystation_reconfigure(NULL, &options, &error) == WAYSTATION_INVALID);
  CHECK(error.message[0] != '\0');
  CHECK(waystation_drain(NULL, 0) == WAYSTATION_INVALID);
  CHECK(waystation_push(NULL, "bob", "1", 1, 0, NULL) == WAYSTATION_INVALID);
  CHECK(waystation_presence(NULL, "bob", 0, NULL) == WAYSTATION_INVALID);
  CHECK(waystation_end_sessions(NULL, "bob", 0, NULL) == WAYSTATION_INVALID);
  CHECK(waystation_presence_list(NULL, NULL, 1, 0, note_user, &number, NULL) == WAYSTATION_INVALID);
  CHECK(waystation_stats_read(NULL, &stats) == WAYSTATION_INVALID);
  CHECK(waystation_counter_read(NULL, WAYSTATION_COUNTER_ERRORS_SENT, count_part, &number) ==
        WAYSTATION_INVALID);
  CHECK(number == 7);

  /* The relay does not exist any more: handlers may outlive it. */
  CHECK(waystation_max_body_bytes(0) == 0 && waystation_max_body_bytes(0xFFFFFFFF) == 0);
  CHECK(waystation_is_operator(0xFFFFFFFF, &request) == 0);
  CHECK(waystation_end_slow_connections(0xFFFFFFFF, &request.local_port, 1, 1) == 0);
  CHECK(waystation_upgrade(0xFFFFFFFF, &request, &response) == WAYSTATION_OK);
  CHECK(response.action == WAYSTATION_REPLY && response.status == 503);
  CHECK(response.length > 13 && memcmp(response.bytes, "HTTP/1.1 503 ", 13) == 0);
  waystation_response_clear(&response);
  waystation_response_clear(&response);
  CHECK(response.bytes == NULL && response.length == 0);
  expect_gone(0xFFFFFFFF, &request);
}

static void wrong_requests(void) {
  waystation_options options;
  waystation_relay *relay;
  waystation_response response = empty_response();
  waystation_request request;
  connection c = connected();
  uint32_t id;
  waystation_options_init(&options, sizeof options);
  relay = started(&options);
  id = waystation_id(relay);
  request = upgrade_of(&c, "/push/alice/", NULL);

  CHECK(waystation_upgrade(id, NULL, &response) == WAYSTATION_INVALID);
  CHECK(waystation_upgrade(id, &request, NULL) == WAYSTATION_INVALID);
  CHECK(waystation_http(id, NULL, &response) == WAYSTATION_INVALID);
  CHECK(waystation_http(id, &request, NULL) == WAYSTATION_INVALID);
  CHECK(waystation_is_operator(id, NULL) == 0);
  CHECK(waystation_end_slow_connections(id, NULL, 1, 1) == 0);
  CHECK(waystation_end_slow_connections(id, &request.local_port, 1, 0) == 0);
  request.size = 0;
  CHECK(waystation_upgrade(id, &request, &response) == WAYSTATION_INVALID);
  CHECK(waystation_is_operator(id, &request) == 0);
  request.size = sizeof request;
  response.size = sizeof response - 1;
  CHECK(waystation_upgrade(id, &request, &response) == WAYSTATION_INVALID);
  response.size = sizeof response;
  request.headers = NULL;
  CHECK(waystation_upgrade(id, &request, &response) == WAYSTATION_INVALID);
  CHECK(waystation_is_operator(id, &request) == 0);
  request = upgrade_of(&c, "/push/alice/", NULL);
  request.body_size = 5;
  CHECK(waystation_http(id, &request, &response) == WAYSTATION_INVALID);

  /* Nothing but a size: no method, path or address. */
  memset(&request, 0, sizeof request);
  request.size = sizeof request;
  CHECK(waystation_upgrade(id, &request, &response) == WAYSTATION_OK);
  CHECK(response.action != WAYSTATION_ADOPTED);
  waystation_response_clear(&response);
  request.size = sizeof(size_t);
  CHECK(waystation_http(id, &request, &response) == WAYSTATION_OK);
  waystation_response_clear(&response);

  /* A path of another application. */
  request = upgrade_of(&c, "/elsewhere", NULL);
  CHECK(waystation_upgrade(id, &request, &response) == WAYSTATION_OK);
  CHECK(response.action == WAYSTATION_DECLINED && response.bytes == NULL);
  CHECK(waystation_http(id, &request, &response) == WAYSTATION_OK);
  CHECK(response.action == WAYSTATION_DECLINED);

  /* An invalid descriptor, and a connection over the web server's own TLS. */
  request = upgrade_of(&c, "/push/alice/", NULL);
  request.remote_port = (uint16_t)(c.client_port ^ 1);
  CHECK(waystation_upgrade(id, &request, &response) == WAYSTATION_OK);
  CHECK(response.action == WAYSTATION_REPLY && response.status == 503);
  waystation_response_clear(&response);
  request = upgrade_of(&c, "/push/alice/", NULL);
  request.is_tls = 1;
  CHECK(waystation_upgrade(id, &request, &response) == WAYSTATION_OK);
  CHECK(response.action == WAYSTATION_REPLY && response.status == 501);
  waystation_response_clear(&response);

  /* An older header has no descriptor; the library must not read it as 0. */
  {
    waystation_request *older = malloc(offsetof(waystation_request, descriptor));
    connection other = connected();
    request = upgrade_of(&other, "/push/alice/", NULL);
    request.size = offsetof(waystation_request, descriptor);
    memcpy(older, &request, request.size);
    CHECK(waystation_upgrade(id, older, &response) == WAYSTATION_OK);
    CHECK(response.action == WAYSTATION_ADOPTED);
    waystation_response_clear(&response);
    free(older);
    disconnect(&other);
  }
  waystation_free(relay);
  disconnect(&c);
}

static int seen;
static void count_event(void *user_data, const waystation_event *event) {
  CHECK(user_data == &seen);
  CHECK(event->size == sizeof *event);
  CHECK(event->outcome == WAYSTATION_PUSHED || event->outcome == WAYSTATION_UNDELIVERED
        || event->outcome == WAYSTATION_DROPPED);
  CHECK(event->at > 0 && event->to != NULL);
  CHECK(event->group == NULL && event->from == NULL && event->message_id == NULL);
  if (event->outcome != WAYSTATION_DROPPED) seen++;
}

static void lifecycle(void) {
  static const char *const reasons[] = {"closed",  "slow",      "dead",       "ended",
                                        "expired", "violation", "going_away", "failed"};
  static const char *const codes[] = {"bad_json", "bad_envelope", "not_a_member", "rate_limited",
                                      "bad_token"};
  size_t i;
  waystation_options options;
  waystation_relay *relay;
  waystation_stats stats;
  struct {
    size_t size;
    uint64_t chat_sockets;
    uint64_t canary;
  } older = {sizeof older - sizeof(uint64_t), 0, 0xA5A5};
  users here;
  waystation_call_result result = WAYSTATION_CALL_RESULT_INIT;
  uint32_t limit;
  connection push, chat, late;
  waystation_request request;
  waystation_response response = empty_response();
  const waystation_header elsewhere = {"Host", "elsewhere.example"};
  uint32_t id;
  waystation_error error = WAYSTATION_ERROR_INIT;
  char byte;

  waystation_options_init(&options, sizeof options);
  options.on_event = count_event;
  options.user_data = &seen;
  relay = started(&options);
  id = waystation_id(relay);
  CHECK(id != 0);
  push = open_socket(id, "/push/bob/", NULL);
  chat = open_socket(id, "/ws/chat/alice_bob/", "user=bob");

  CHECK(waystation_push(relay, "bob", "{\"n\": 1e400}", 12, 20000, &result) == WAYSTATION_OK);
  CHECK(result.sockets == 1);
  expect_frame(push.client, "{\"event\":{\"message\":{\"n\": 1e400},\"group\":null}}");
  CHECK(waystation_push(relay, "bob", "1", 1, 20000, NULL) == WAYSTATION_OK);
  expect_frame(push.client, "{\"event\":{\"message\":1,\"group\":null}}");
  CHECK(waystation_push(relay, "nobody", "1", 1, 20000, &result) == WAYSTATION_OK);
  CHECK(result.sockets == 0);
  CHECK(waystation_push(relay, "Bob", "1", 1, 20000, &result) == WAYSTATION_INVALID);
  CHECK(waystation_push(relay, NULL, "1", 1, 20000, &result) == WAYSTATION_INVALID);
  CHECK(waystation_push(relay, "bob", NULL, 1, 20000, &result) == WAYSTATION_INVALID);
  CHECK(waystation_push(relay, "bob", "", 0, 20000, &result) == WAYSTATION_INVALID);
  CHECK(waystation_push(relay, "bob", "[01]", 4, 20000, &result) == WAYSTATION_INVALID);
  CHECK(waystation_push(relay, "bob", "\"\xff\"", 3, 20000, &result) == WAYSTATION_INVALID);
  CHECK(waystation_push(relay, "bob", "1", 65537, 20000, &result) == WAYSTATION_INVALID);

  CHECK(waystation_presence(relay, "bob", 20000, &result) == WAYSTATION_OK);
  CHECK(result.sockets == 1 && result.groups == 1);
  CHECK(waystation_presence(relay, "bob", 20000, NULL) == WAYSTATION_OK);
  CHECK(waystation_presence(relay, "a_b", 20000, &result) == WAYSTATION_INVALID);
  CHECK(waystation_presence(relay, "", 20000, &result) == WAYSTATION_INVALID);
  CHECK(waystation_presence(relay, NULL, 20000, &result) == WAYSTATION_INVALID);

  memset(&here, 0, sizeof here);
  CHECK(waystation_presence_list(relay, NULL, 1000, 20000, note_user, &here, &result) ==
        WAYSTATION_OK);
  CHECK(here.count == 1 && !result.has_more && strcmp(here.user, "bob") == 0);
  CHECK(here.push_sockets == 1 && here.groups == 1 && here.nodes == 1);
  CHECK(waystation_presence_list(relay, "bob", 1, 20000, note_user, &here, NULL) == WAYSTATION_OK);
  CHECK(waystation_presence_list(relay, "", 1, 20000, note_user, &here, NULL) == WAYSTATION_OK);
  CHECK(here.count == 2);
  for (limit = 0; limit <= 1001; limit += 1001) {
    CHECK(waystation_presence_list(relay, "", limit, 20000, note_user, &here, NULL) ==
          WAYSTATION_INVALID);
  }
  CHECK(waystation_presence_list(relay, "Bob", 1, 20000, note_user, &here, NULL) ==
        WAYSTATION_INVALID);
  CHECK(waystation_presence_list(relay, "", 1, 20000, NULL, &here, NULL) == WAYSTATION_INVALID);
  CHECK(here.count == 2);

  memset(&result, 0xff, sizeof result);
  result.size = sizeof result;
  CHECK(waystation_presence(relay, "bob", 20000, &result) == WAYSTATION_OK);
  CHECK(result.sockets == 1 && result.groups == 1 && !result.partial && !result.has_more);
  CHECK(waystation_presence_list(relay, "", 1, 20000, note_user, &here, &result) ==
        WAYSTATION_OK);
  CHECK(result.sockets == 0 && !result.partial && !result.has_more && here.count == 3);
  CHECK(waystation_push(relay, "bob", "1", 1, 20000, &result) == WAYSTATION_OK);
  CHECK(result.sockets == 1 && !result.partial);
  expect_frame(push.client, "{\"event\":{\"message\":1,\"group\":null}}");
  CHECK(waystation_end_sessions(relay, "nobody", 20000, &result) == WAYSTATION_OK);
  CHECK(result.sockets == 0 && waystation_presence(relay, "bob", 20000, NULL) == WAYSTATION_OK);
  /* A caller with a shorter struct. */
  memset(&result, 0xff, sizeof result);
  result.size = offsetof(waystation_call_result, partial);
  CHECK(waystation_presence(relay, "bob", 20000, &result) == WAYSTATION_OK);
  CHECK(result.sockets == 1 && result.partial == -1);
  result.size = 0;
  CHECK(waystation_presence(relay, "bob", 20000, &result) == WAYSTATION_INVALID);
  CHECK(waystation_end_sessions(relay, "bob", 20000, &result) == WAYSTATION_INVALID);
  CHECK(waystation_push(relay, "bob", "1", 1, 20000, &result) == WAYSTATION_INVALID);
  CHECK(waystation_presence_list(relay, "", 1, 20000, note_user, &here, &result) ==
        WAYSTATION_INVALID);
  result.size = sizeof result;

  memset(&stats, 0, sizeof stats);
  CHECK(waystation_stats_read(relay, NULL) == WAYSTATION_INVALID);
  CHECK(waystation_stats_read(relay, &stats) == WAYSTATION_INVALID);
  stats.size = sizeof stats;
  CHECK(waystation_stats_read(relay, &stats) == WAYSTATION_OK);
  CHECK(stats.size == sizeof stats);
  CHECK(stats.push_sockets == 1 && stats.chat_sockets == 1 && stats.groups == 1);
  CHECK(stats.upgrades_accepted == 2 && stats.notifications == 4);
  CHECK(waystation_stats_read(relay, (waystation_stats *)(void *)&older) == WAYSTATION_OK);
  CHECK(older.size == sizeof older - sizeof(uint64_t) && older.chat_sockets == 1);
  CHECK(older.canary == 0xA5A5);

  CHECK(waystation_is_operator(id, &(waystation_request){0}) == 0);
  request = upgrade_of(&push, "/healthz", NULL);
  CHECK(waystation_is_operator(id, &request) == 1);
  CHECK(waystation_http(id, &request, &response) == WAYSTATION_OK);
  CHECK(response.action == WAYSTATION_REPLY && response.status == 200);
  waystation_response_clear(&response);
  request.remote_address = "192.0.2.1";
  CHECK(waystation_is_operator(id, &request) == 0);

  /* Counters with labels: all labels are reported, including those with count 0. */
  CHECK(counted(relay, WAYSTATION_COUNTER_HTTP_REFUSED, "not_an_operator") == 0);
  CHECK(waystation_http(id, &request, &response) == WAYSTATION_OK && response.status == 403);
  waystation_response_clear(&response);
  CHECK(counted(relay, WAYSTATION_COUNTER_HTTP_REFUSED, "not_an_operator") == 1);
  CHECK(counted(relay, WAYSTATION_COUNTER_HTTP_REFUSED, "unauthenticated") == 0);
  request = upgrade_of(&push, "/push/Alice/", NULL);
  CHECK(waystation_upgrade(id, &request, &response) == WAYSTATION_OK && response.status == 400);
  waystation_response_clear(&response);
  CHECK(counted(relay, WAYSTATION_COUNTER_UPGRADES_REFUSED, "bad_user") == 1);
  CHECK(counted(relay, WAYSTATION_COUNTER_HTTP_REFUSED, "bad_user") == 0);
  for (i = 0; i < sizeof reasons / sizeof reasons[0]; i++) {
    CHECK(counted(relay, WAYSTATION_COUNTER_DELIVERIES_DROPPED, reasons[i]) == 0);
  }
  for (i = 0; i < sizeof codes / sizeof codes[0]; i++) {
    CHECK(counted(relay, WAYSTATION_COUNTER_ERRORS_SENT, codes[i]) == 0);
  }
  CHECK(waystation_counter_read(relay, (waystation_counter)4711, count_part, NULL) ==
        WAYSTATION_INVALID);
  CHECK(waystation_counter_read(relay, WAYSTATION_COUNTER_ERRORS_SENT, NULL, NULL) ==
        WAYSTATION_INVALID);

  /* A page of another origin is refused on any path. */
  CHECK(waystation_origin_check(id, NULL, &response) == WAYSTATION_INVALID);
  CHECK(waystation_origin_check(id, &request, NULL) == WAYSTATION_INVALID);
  request = plain_get_of(&push, "/page.html");
  CHECK(waystation_origin_check(id, &request, &response) == WAYSTATION_OK);
  CHECK(response.action == WAYSTATION_ALLOWED && response.bytes == NULL);
  request.headers = &elsewhere;
  CHECK(waystation_origin_check(id, &request, &response) == WAYSTATION_OK);
  CHECK(response.action == WAYSTATION_REPLY && response.status == 403);
  CHECK(strstr(response.bytes, "\"bad_host\"") != NULL);
  waystation_response_clear(&response);
  expect_declined(waystation_origin_check, 0, &request);

  /* The relay refuses and counts a request that the web server could not parse. */
  request = plain_get_of(&push, "/push/alice/");
  CHECK(waystation_refuse(id, 431, &request, &response) == WAYSTATION_OK);
  CHECK(response.action == WAYSTATION_REPLY && response.status == 431);
  CHECK(strstr(response.bytes, "\"too_many_fields\"") != NULL);
  waystation_response_clear(&response);
  CHECK(counted(relay, WAYSTATION_COUNTER_UPGRADES_REFUSED, "too_many_fields") == 1);
  CHECK(counted(relay, WAYSTATION_COUNTER_HTTP_REFUSED, "too_many_fields") == 0);
  request = plain_get_of(&push, "/page.html");
  CHECK(waystation_refuse(id, 400, &request, &response) == WAYSTATION_OK);
  CHECK(response.status == 400);
  waystation_response_clear(&response);
  CHECK(counted(relay, WAYSTATION_COUNTER_HTTP_REFUSED, "bad_request") == 1);
  CHECK(waystation_refuse(id, 402, &request, &response) == WAYSTATION_INVALID);
  CHECK(waystation_refuse(id, 400, NULL, &response) == WAYSTATION_INVALID);
  CHECK(waystation_refuse(0, 404, &request, &response) == WAYSTATION_OK);
  CHECK(response.action == WAYSTATION_REPLY && response.status == 404);
  waystation_response_clear(&response);

  /* Wrong options change nothing; valid ones do. */
  options.max_message_bytes = 0;
  CHECK(waystation_reconfigure(relay, &options, &error) == WAYSTATION_INVALID);
  CHECK(strcmp(error.option, "max_message_bytes") == 0);
  CHECK(waystation_max_body_bytes(id) == 65536);
  CHECK(waystation_reconfigure(relay, NULL, &error) == WAYSTATION_INVALID);
  options.max_message_bytes = 1000;
  options.on_event = NULL;
  options.user_data = NULL;
  CHECK(waystation_reconfigure(relay, &options, &error) == WAYSTATION_OK);
  CHECK(error.message[0] == '\0' && waystation_max_body_bytes(id) == 1000);
  CHECK(waystation_push(relay, "bob", "1", 1, 20000, NULL) == WAYSTATION_OK);
  expect_frame(push.client, "{\"event\":{\"message\":1,\"group\":null}}");

  /* A plain GET returns the result that an upgrade would have. */
  late = connected();
  request = plain_get_of(&late, "/push/bob/");
  expect_refusal(id, &request, 426, "upgrade_required");
  options.descriptor_reserve = UINT32_MAX;
  CHECK(waystation_reconfigure(relay, &options, &error) == WAYSTATION_OK);
  expect_refusal(id, &request, 503, "full");
  request = upgrade_of(&late, "/push/bob/", NULL);
  expect_refusal(id, &request, 503, "full");
  request.descriptor = late.server;
  expect_refusal(id, &request, 503, "full");
  disconnect(&late);

  CHECK(waystation_end_sessions(relay, "bob", 20000, &result) == WAYSTATION_OK);
  CHECK(result.sockets == 2);
  CHECK(waystation_end_sessions(relay, "nobody", 20000, NULL) == WAYSTATION_OK);
  CHECK(waystation_end_sessions(relay, "?", 20000, NULL) == WAYSTATION_INVALID);
  CHECK(recv(chat.client, &byte, 1, 0) == 1 && byte == (char)0x88);

  CHECK(waystation_drain(relay, 50) == WAYSTATION_OK);
  CHECK(waystation_drain(relay, 0) == WAYSTATION_OK);
  late = connected();
  request = upgrade_of(&late, "/push/bob/", NULL);
  expect_refusal(id, &request, 503, "stopping");
  request = plain_get_of(&late, "/push/bob/");
  expect_refusal(id, &request, 503, "stopping");
  disconnect(&late);
  /* A drained relay still answers; it has no sockets left. */
  CHECK(waystation_push(relay, "bob", "1", 1, 20000, &result) == WAYSTATION_OK);
  CHECK(result.sockets == 0);
  CHECK(waystation_presence(relay, "bob", 20000, &result) == WAYSTATION_OK);
  CHECK(result.sockets == 0 && result.groups == 0);
  disconnect(&push);
  disconnect(&chat);
  waystation_free(relay);
  CHECK(seen == 6);
  expect_gone(id, &request);
}

static int who(void *user_data, const waystation_request *request, waystation_identity *identity) {
  CHECK(identity->size == sizeof *identity && request->connection == user_data);
  if (request->query == NULL) return 0;
  (void)snprintf(identity->user, sizeof identity->user, "%s", request->query);
  return 1;
}

static void identity_callback(void) {
  waystation_options options;
  waystation_relay *relay;
  waystation_response response = empty_response();
  waystation_request request;
  connection c = connected();
  int refused[] = {401, 403, 403};
  const char *names[] = {NULL, "mallory", "Not A User"};
  size_t i;
  waystation_options_init(&options, sizeof options);
  options.auth = WAYSTATION_AUTH_CALLBACK;
  options.identify = who;
  options.user_data = &options;
  relay = started(&options);
  for (i = 0; i < 3; i++) {
    request = upgrade_of(&c, "/ws/chat/alice_bob/", names[i]);
    request.connection = &options;
    CHECK(waystation_upgrade(waystation_id(relay), &request, &response) == WAYSTATION_OK);
    CHECK(response.status == refused[i]);
    waystation_response_clear(&response);
  }
  request = upgrade_of(&c, "/ws/chat/alice_bob/", "alice");
  request.connection = &options;
  request.descriptor = c.server;
  CHECK(waystation_upgrade(waystation_id(relay), &request, &response) == WAYSTATION_OK);
  CHECK(response.action == WAYSTATION_ADOPTED);
  waystation_free(relay);
  disconnect(&c);
}

/* Writes a key file that only its owner may read. */
static void write_keys(const char *path, const char *text) {
  int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  CHECK(file >= 0 && write(file, text, strlen(text)) == (ssize_t)strlen(text));
  close(file);
}

#ifdef WAYSTATION_HAS_CLUSTER
static int note_node(void *user_data, const waystation_node *node) {
  CHECK(node->size == sizeof *node && !node->ready && node->self && node->last_seen > 0);
  snprintf(user_data, 65, "%s", node->name);
  return 1;
}

/* A node that never reaches its engine answers alone. */
static void partial_answers(void) {
  char path[] = "/tmp/waystation-keys-XXXXXX";
  waystation_options options;
  waystation_call_result result = WAYSTATION_CALL_RESULT_INIT;
  waystation_relay *relay;
  users here;
  int temporary = mkstemp(path);
  CHECK(temporary >= 0);
  close(temporary);
  write_keys(path, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n");
  waystation_options_init(&options, sizeof options);
  options.cluster = "unix:///nowhere/redis.sock";
  options.cluster_key_file = path;
  options.node_name = "n0";
  relay = started(&options);
  memset(&here, 0, sizeof here);
  memset(&result, 0, sizeof result);
  result.size = sizeof result;
  CHECK(waystation_push(relay, "bob", "1", 1, 20000, &result) == WAYSTATION_OK);
  CHECK(result.partial == 1);
  result.partial = 0;
  CHECK(waystation_presence(relay, "bob", 20000, &result) == WAYSTATION_OK);
  CHECK(result.partial == 1);
  result.partial = 0;
  CHECK(waystation_presence_list(relay, "", 1, 20000, note_user, &here, &result) ==
        WAYSTATION_OK);
  CHECK(result.partial == 1 && here.count == 0);
  result.partial = 0;
  CHECK(waystation_end_sessions(relay, "bob", 20000, &result) == WAYSTATION_OK);
  CHECK(result.partial == 1);
  result.partial = 0;
  CHECK(waystation_node_list(relay, 20000, note_node, here.user, &result) == WAYSTATION_OK);
  CHECK(result.partial == 1 && strcmp(here.user, "n0") == 0);
  CHECK(waystation_node_list(relay, 20000, NULL, NULL, &result) == WAYSTATION_INVALID);
  CHECK(waystation_node_list(NULL, 20000, note_node, here.user, &result) == WAYSTATION_INVALID);
  waystation_free(relay);
  unlink(path);
}
#endif

static void tokens(void) {
  static const char keys[] = "old:c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0IHNlY3JldCBzZWNyZXQ=\n"
                             "new:d2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0IHNlY3JldCBzZWNyZXQ=\n";
  char path[] = "/tmp/waystation-keys-XXXXXX";
  char token[8192];
  char short_token[16];
  char bearer[8300];
  waystation_error error = WAYSTATION_ERROR_INIT;
  waystation_options options;
  waystation_token_request asked;
  waystation_relay *relay;
  waystation_response response = empty_response();
  waystation_request request;
  waystation_header headers[8];
  connection c = connected();
  size_t i;
  int temporary = mkstemp(path);
  CHECK(temporary >= 0);
  close(temporary);
  write_keys(path, keys);
  waystation_options_init(&options, sizeof options);
  options.auth = WAYSTATION_AUTH_JWT;
  options.jwt_key_file = path;
  options.jwt_issuer = "here";
  options.jwt_audience = "chat,panel";
  memset(&asked, 0, sizeof asked);
  asked.size = sizeof asked;
  asked.user = "alice";
  asked.key_id = "new";

  CHECK(waystation_token_issue(&options, &asked, token, sizeof token, &error) ==
        WAYSTATION_OK);
  relay = started(&options);
  for (i = 0; i < sizeof upgrade_headers / sizeof *upgrade_headers; i++) {
    headers[i] = upgrade_headers[i];
  }
  (void)snprintf(bearer, sizeof bearer, "Bearer %s", token);
  headers[i].name = "Authorization";
  headers[i].value = bearer;
  request = upgrade_of(&c, "/push/bob/", NULL);
  request.headers = headers;
  request.header_count = i + 1;
  CHECK(waystation_upgrade(waystation_id(relay), &request, &response) == WAYSTATION_OK);
  CHECK(response.status == 403); /* the token is valid, but not bob's */
  waystation_response_clear(&response);
  request = upgrade_of(&c, "/push/alice/", NULL);
  request.headers = headers;
  request.header_count = i + 1;
  CHECK(waystation_upgrade(waystation_id(relay), &request, &response) == WAYSTATION_OK);
  CHECK(response.action == WAYSTATION_ADOPTED);
  waystation_free(relay);
  disconnect(&c);

  CHECK(waystation_token_issue(&options, &asked, short_token, sizeof short_token, &error) == WAYSTATION_INVALID);
  CHECK(strstr(error.message, "token_size = 16") != NULL && *short_token == '\0');
  asked.key_id = "lost";
  CHECK(waystation_token_issue(&options, &asked, token, sizeof token, &error) ==
        WAYSTATION_INVALID);
  CHECK(strstr(error.message, "lost") != NULL && *token == '\0');
  asked.key_id = NULL;
  asked.user = "Alice";
  CHECK(waystation_token_issue(&options, &asked, token, sizeof token, &error) ==
        WAYSTATION_INVALID);
  CHECK(strstr(error.message, "user = \"Alice\"") != NULL);
  asked.user = "alice";
  asked.scopes = "push rule";
  CHECK(waystation_token_issue(&options, &asked, token, sizeof token, &error) ==
        WAYSTATION_INVALID);
  CHECK(strstr(error.message, "push rule") != NULL);
  CHECK(waystation_token_issue(NULL, &asked, token, sizeof token, NULL) == WAYSTATION_INVALID);
  CHECK(waystation_token_issue(&options, NULL, token, sizeof token, NULL) ==
        WAYSTATION_INVALID);
  CHECK(waystation_token_issue(&options, &asked, NULL, 0, NULL) == WAYSTATION_INVALID);
  CHECK(chmod(path, 0644) == 0);
  CHECK(waystation_token_issue(&options, &asked, token, sizeof token, &error) ==
        WAYSTATION_INVALID);
  CHECK(strstr(error.message, "jwt_key_file") != NULL);
  (void)remove(path);
}

static int run(void) {
  descriptions();
  defaults();
  options_of_an_older_header();
  wrong_options();
  option_table();
  check_all_reports_every_mistake();
  statistics_tables();
  null_arguments();
  wrong_requests();
  lifecycle();
  identity_callback();
  tokens();
#ifdef WAYSTATION_HAS_CLUSTER
  partial_answers();
#endif
  if (failures != 0) fprintf(stderr, "%d checks failed\n", failures);
  return failures == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

int main(void) {
  return run_on_small_stacks(run);
}
