/* An appliance that already runs CivetWeb gains chat.
 *
 * The program stands for a device with its own web page: CivetWeb, one handler, a few options. The
 * lines marked "chat" are all that Waystation adds. Install the library (module/EMBEDDING.md), then
 * build and run the program:
 *
 *     cc appliance.c -lwaystation -lcivetweb -o appliance
 *     ./appliance 8080
 *
 * Connect two users, for example with the `websockets` program of python3-websockets:
 *
 *     python3 -m websockets "ws://127.0.0.1:8080/ws/chat/alice_bob/?user=alice"
 *     python3 -m websockets "ws://127.0.0.1:8080/ws/chat/alice_bob/?user=bob"
 *     > {"message": "hello"}
 *
 * This example has no authentication: any client on this machine can be any user. A real appliance
 * sets `options.auth` to WAYSTATION_AUTH_CALLBACK. Its `options.identify` function checks the
 * session cookie, as its pages do.
 */
#define _POSIX_C_SOURCE 200809L /* for sigwait, in strict C */

#include <signal.h>
#include <stdio.h>
#include <string.h>

#include <civetweb.h>
#include <waystation/civetweb.h> /* chat */

static const char page[] =
    "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: 50\r\n\r\n"
    "<!doctype html><title>Boiler</title><p>61 \302\260C</p>\n";

static int show_page(struct mg_connection* conn, void* unused) {
  (void)unused;
  mg_write(conn, page, sizeof page - 1);
  return 200;
}

/* chat: a message could not be delivered, because its receiver has no open socket. A real appliance
 * might flash a lamp or send a mail. The event does not contain the message. */
static void on_event(void* unused, const waystation_event* event) {
  (void)unused;
  if (event->outcome == WAYSTATION_UNDELIVERED && event->from != NULL) {
    printf("%s wrote to %s, who is offline\n", event->from, event->to);
    fflush(stdout);
  }
}

int main(int argc, char** argv) {
  char port[32];
  const char* settings[] = {"listening_ports",    port,   "num_threads", "4", "tcp_nodelay", "1",
                            "request_timeout_ms", "5000", NULL};
  struct mg_callbacks callbacks;
  struct mg_context* ctx;
  struct mg_server_port opened;
  sigset_t ending;
  int received;

  waystation_options options; /* chat */
  waystation_relay* relay;
  waystation_error error = WAYSTATION_ERROR_INIT;

  /* sigwait() below receives the signals. Block them before other threads start. */
  sigemptyset(&ending);
  sigaddset(&ending, SIGINT);
  sigaddset(&ending, SIGTERM);
  sigprocmask(SIG_BLOCK, &ending, NULL);

  waystation_options_init(&options, sizeof options); /* chat: defaults */
  options.on_event = on_event;                       /* chat: undelivered messages */
  if (waystation_new(&options, &relay, &error) != WAYSTATION_OK) {
    fprintf(stderr, "appliance: %s\n", error.message);
    return 1;
  }

  snprintf(port, sizeof port, "127.0.0.1:%s", argc > 1 ? argv[1] : "8080");
  memset(&callbacks, 0, sizeof callbacks);
  mg_init_library(0);
  ctx = mg_start(&callbacks, NULL, settings);
  if (ctx == NULL) {
    fprintf(stderr, "appliance: cannot listen on %s\n", port);
    waystation_free(relay); /* chat */
    return 1;
  }
  mg_set_request_handler(ctx, "/$", show_page, NULL);
  waystation_civetweb_attach(relay, ctx);     /* chat: /ws/chat/<group>/ and /push/<user>/ */
  waystation_civetweb_attach_api(relay, ctx); /* chat: /api/v1/… and /healthz, optional */

  mg_get_server_ports(ctx, 1, &opened);
  printf("http://127.0.0.1:%d\n", opened.port);
  fflush(stdout);

  sigwait(&ending, &received);
  waystation_drain(relay, 1000); /* chat: closes the open sockets with 1001 */
  mg_stop(ctx);
  waystation_free(relay); /* chat: before or after mg_stop */
  mg_exit_library();
  return 0;
}
