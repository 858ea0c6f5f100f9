/* A device with its own HTTPS, that lets the relay have wss on the same port. Its CivetWeb and its
 * OpenSSL are its own; see civetweb.sh.
 *
 *     host serve --listen https://127.0.0.1:0 --tls-key FILE [--OPTION VALUE]…
 *
 * FILE has the certificate as well, as CivetWeb wants it. The arguments are those of `waystation
 * serve`, so that the same tests use both. Further arguments:
 *
 *     --openssl CALLS   when to call waystation_civetweb_use_openssl: `first` (the default), `never`,
 *                       `late` (after the server has started) or `twice`
 *     --callback no     no callback of the host's own on the SSL_CTX, which may be of another OpenSSL
 *
 * SIGUSR1 stops CivetWeb, SIGUSR2 frees the relay, SIGHUP drains it; each writes a line to standard
 * error when it is done. SIGTERM does what is left, and ends the program.
 */
#define _POSIX_C_SOURCE 200809L

#include <inttypes.h>
#include <openssl/ssl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <waystation/civetweb.h>
#include <waystation/civetweb_openssl.h>

/* Handshakes that the host's own callback has seen end. */
static atomic_int handshakes;

static void on_info(const SSL *ssl, int where, int result) {
  (void)ssl;
  (void)result;
  if ((where & SSL_CB_HANDSHAKE_DONE) != 0) atomic_fetch_add(&handshakes, 1);
}

/* Settings of the host's own: a callback, and renegotiation, which CivetWeb would refuse. */
static int on_ssl_context(void *context, void *unused) {
  SSL_CTX *settings = (SSL_CTX *)context;
  (void)unused;
  SSL_CTX_set_info_callback(settings, on_info);
  SSL_CTX_clear_options(settings, SSL_OP_NO_RENEGOTIATION);
#ifdef SSL_OP_ALLOW_CLIENT_RENEGOTIATION
  SSL_CTX_set_options(settings, SSL_OP_ALLOW_CLIENT_RENEGOTIATION);
#endif
  return 0;
}

static int send_text(struct mg_connection *conn, const char *text) {
  mg_printf(conn, "HTTP/1.1 200 OK\r\nContent-Length: %u\r\nConnection: keep-alive\r\n\r\n%s",
            (unsigned)strlen(text), text);
  return 200;
}

static int own_page(struct mg_connection *conn, void *unused) {
  (void)unused;
  return send_text(conn, "the host's own\n");
}

static int handshake_count(struct mg_connection *conn, void *unused) {
  char text[16];
  (void)unused;
  snprintf(text, sizeof text, "%d", atomic_load(&handshakes));
  return send_text(conn, text);
}

/* Sets an option by its name on the command line. Returns 0 if the library has no such option. */
static int set_option(waystation_options *options, const char *name, const char *value) {
  size_t index;
  for (index = 0; index < waystation_option_count(); index++) {
    waystation_option_info info = {.size = sizeof info};
    char *field;
    size_t at;
    if (waystation_option_at(index, &info) != WAYSTATION_OK) return 0;
    for (at = 0; info.name[at] != '\0'; at++) {
      if (name[at] != (info.name[at] == '_' ? '-' : info.name[at])) break;
    }
    if (info.name[at] != '\0' || name[at] != '\0') continue;
    field = (char *)options + info.field_offset;
    if (info.type == WAYSTATION_OPTION_TEXT || info.type == WAYSTATION_OPTION_LIST) {
      memcpy(field, &value, sizeof value);
    } else if (info.type == WAYSTATION_OPTION_CHOICE) {
      int choice = 0;
      while (info.choices[choice] != NULL && strcmp(info.choices[choice], value) != 0) choice++;
      memcpy(field, &choice, sizeof choice);
    } else if (info.field_size == sizeof(uint64_t)) {
      const uint64_t number = strtoull(value, NULL, 10);
      memcpy(field, &number, sizeof number);
    } else {
      const uint32_t number = strcmp(value, "true") == 0 ? 1 : (uint32_t)strtoul(value, NULL, 10);
      memcpy(field, &number, sizeof number);
    }
    return 1;
  }
  return 0;
}

static void use_openssl(void) {
  waystation_error error = WAYSTATION_ERROR_INIT;
  if (waystation_civetweb_use_openssl(&error) != WAYSTATION_OK) {
    fprintf(stderr, "host: %s\n", error.message);
    exit(1);
  }
}

static void report(const char *what) {
  fprintf(stderr, "host: %s\n", what);
  fflush(stderr);
}

int main(int argc, char **argv) {
  static const char scheme[] = "https://";
  const char *openssl = "first";
  const char *key = NULL;
  int has_callback = 1;
  char port[64] = "";
  waystation_options options;
  waystation_error error = WAYSTATION_ERROR_INIT;
  waystation_relay *relay;
  struct mg_callbacks callbacks;
  struct mg_context *ctx;
  struct mg_server_port opened;
  sigset_t signals;
  int received = 0;
  int i;

  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGHUP);
  sigaddset(&signals, SIGUSR1);
  sigaddset(&signals, SIGUSR2);
  sigprocmask(SIG_BLOCK, &signals, NULL);

  waystation_options_init(&options, sizeof options);
  for (i = 2; i < argc; i++) {
    /* --name value, or --name=value. */
    char *name = argv[i] + 2;
    char *const equals = strchr(name, '=');
    const char *value = equals != NULL ? equals + 1 : argv[++i];
    if (equals != NULL) *equals = '\0';
    if (value == NULL) break;
    if (strcmp(name, "listen") == 0 && strncmp(value, scheme, sizeof scheme - 1) == 0) {
      snprintf(port, sizeof port, "%ss", value + sizeof scheme - 1); /* "s": TLS, for CivetWeb */
    } else if (strcmp(name, "tls-key") == 0) {
      key = value;
    } else if (strcmp(name, "openssl") == 0) {
      openssl = value;
    } else if (strcmp(name, "callback") == 0) {
      has_callback = strcmp(value, "no") != 0;
    } else if (strcmp(name, "www") != 0 && strcmp(name, "tls-certificate") != 0
               && !set_option(&options, name, value)) {
      fprintf(stderr, "host: --%s: unknown option\n", name);
      return 2;
    }
  }
  if (port[0] == '\0' || key == NULL) {
    fprintf(stderr, "usage: %s serve --listen https://ADDRESS:PORT --tls-key FILE\n", argv[0]);
    return 2;
  }
  if (waystation_new(&options, &relay, &error) != WAYSTATION_OK) {
    fprintf(stderr, "host: %s\n", error.message);
    return 1;
  }

  {
    const char *settings[] = {"listening_ports", port, "ssl_certificate", key,
                              "num_threads", "16", "tcp_nodelay", "1",
                              "request_timeout_ms", "5000", "enable_keep_alive", "yes",
                              "keep_alive_timeout_ms", "20000", "listen_backlog", "1000", NULL};
    memset(&callbacks, 0, sizeof callbacks);
    if (has_callback) callbacks.init_ssl = on_ssl_context;
    mg_init_library(MG_FEATURES_SSL);
    if (strcmp(openssl, "first") == 0 || strcmp(openssl, "twice") == 0) use_openssl();
    if (strcmp(openssl, "twice") == 0) use_openssl();
    ctx = mg_start(&callbacks, NULL, settings);
  }
  if (ctx == NULL) {
    fprintf(stderr, "host: cannot listen on %s\n", port);
    return 1;
  }
  if (strcmp(openssl, "late") == 0) use_openssl();
  waystation_civetweb_attach(relay, ctx);
  waystation_civetweb_attach_api(relay, ctx);
  mg_set_request_handler(ctx, "/own/handshakes$", handshake_count, NULL);
  mg_set_request_handler(ctx, "/own$", own_page, NULL);
  mg_get_server_ports(ctx, 1, &opened);
  printf("waystation: listening on https://127.0.0.1:%d\n", opened.port);
  fflush(stdout);

  for (;;) {
    sigwait(&signals, &received);
    if (received == SIGHUP && relay != NULL) {
      waystation_drain(relay, 5000);
      report("drained");
    } else if (received == SIGUSR1 && ctx != NULL) {
      mg_stop(ctx);
      ctx = NULL;
      report("stopped");
    } else if (received == SIGUSR2 && relay != NULL) {
      waystation_free(relay);
      relay = NULL;
      report("freed");
    } else if (received == SIGTERM || received == SIGINT) {
      break;
    }
  }
  if (relay != NULL) waystation_drain(relay, 5000);
  if (ctx != NULL) mg_stop(ctx);
  waystation_free(relay);
  mg_exit_library();
  return 0;
}
