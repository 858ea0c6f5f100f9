/* A program that runs CivetWeb and embeds the relay, with handlers that may conflict with the
 * glue: an auth handler for all paths that is registered first, a page under /pushover, a page for
 * all paths. It reads commands from standard input, one per line:
 *
 *     drain     waystation_drain while the server runs
 *     detach    waystation_free while the server runs
 *     attach    a new relay for the same server
 *     closed    prints the number of connections that CivetWeb has closed
 *     stop      mg_stop while the relay lives
 *     end       frees everything and exits
 *
 * Started with "auth" it registers that auth handler, which refuses requests with X-Refuse.
 */
#define _POSIX_C_SOURCE 200809L

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include <waystation/civetweb.h>

static atomic_int connections_closed;

static int is_authorized(struct mg_connection *conn, void *unused) {
  static const char answer[] = "HTTP/1.1 403 Forbidden\r\nContent-Length: 9\r\n"
                               "Connection: close\r\n\r\nstranger\n";
  (void)unused;
  if (mg_get_header(conn, "X-Refuse") == NULL) return 1;
  mg_write(conn, answer, sizeof answer - 1);
  return 0;
}

static int own_page(struct mg_connection *conn, void *text) {
  char head[128];
  snprintf(head, sizeof head, "HTTP/1.1 200 OK\r\nContent-Length: %u\r\n\r\n",
           (unsigned)strlen((const char *)text));
  mg_write(conn, head, strlen(head));
  mg_write(conn, text, strlen((const char *)text));
  return 200;
}

static void on_closed(const struct mg_connection *conn) {
  (void)conn;
  atomic_fetch_add(&connections_closed, 1);
}

static waystation_relay *new_relay(void) {
  waystation_options options;
  waystation_relay *relay;
  waystation_error error = WAYSTATION_ERROR_INIT;
  waystation_options_init(&options, sizeof options);
  options.allowed_origins = "https://page.example";
  if (waystation_new(&options, &relay, &error) == WAYSTATION_OK) return relay;
  fprintf(stderr, "host: %s\n", error.message);
  return NULL;
}

static void say(const char *text) {
  printf("%s\n", text);
  fflush(stdout);
}

int main(int argc, char **argv) {
  const char *settings[] = {"listening_ports", "127.0.0.1:0", "num_threads", "3",
                            "request_timeout_ms", "2000", NULL};
  static char own[] = "the host's own\n";
  struct mg_callbacks callbacks;
  struct mg_server_port opened;
  char command[32];
  waystation_relay *relay = new_relay();
  struct mg_context *ctx;

  memset(&callbacks, 0, sizeof callbacks);
  callbacks.connection_close = on_closed;
  mg_init_library(0);
  ctx = mg_start(&callbacks, NULL, settings);
  if (relay == NULL || ctx == NULL) return 1;
  if (argc > 1 && strcmp(argv[1], "auth") == 0) {
    mg_set_auth_handler(ctx, "/", is_authorized, NULL);
  }
  mg_set_request_handler(ctx, "/pushover", own_page, own);
  mg_set_request_handler(ctx, "/healthzone", own_page, own);
  if (waystation_civetweb_attach(relay, ctx) != 0) return 1;
  if (waystation_civetweb_attach_api(relay, ctx) != 0) return 1;
  if (waystation_civetweb_attach(NULL, ctx) != -1) return 1;
  if (waystation_civetweb_attach_api(relay, NULL) != -1) return 1;
  mg_set_request_handler(ctx, "/", own_page, own); /* last: it matches everything */

  mg_get_server_ports(ctx, 1, &opened);
  printf("%d\n", opened.port);
  fflush(stdout);

  while (fgets(command, sizeof command, stdin) != NULL) {
    command[strcspn(command, "\n")] = '\0';
    if (strcmp(command, "drain") == 0) {
      waystation_drain(relay, 5000);
    } else if (strcmp(command, "detach") == 0) {
      waystation_free(relay);
      relay = NULL;
    } else if (strcmp(command, "attach") == 0) {
      relay = new_relay();
      waystation_civetweb_attach(relay, ctx);
      waystation_civetweb_attach_api(relay, ctx);
    } else if (strcmp(command, "stop") == 0) {
      mg_stop(ctx);
      ctx = NULL;
    } else if (strcmp(command, "end slow") == 0) {
      printf("%d\n", (int)waystation_civetweb_end_slow_connections(relay, ctx));
      fflush(stdout);
      continue;
    } else if (strcmp(command, "closed") == 0) {
      printf("%d\n", atomic_load(&connections_closed));
      fflush(stdout);
      continue;
    } else {
      break;
    }
    say("done");
  }
  if (ctx != NULL) mg_stop(ctx);
  waystation_free(relay);
  mg_exit_library();
  return 0;
}
