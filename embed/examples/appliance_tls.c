/* An appliance that serves HTTPS gains chat on the same port, as wss.
 *
 * appliance.c explains what Waystation adds to a host application. With TLS it is one call more, marked
 * "wss". The certificate, the keys and OpenSSL stay the appliance's own. CivetWeb must be linked with
 * OpenSSL 1.1.1 or later. Debian 12's package is not, and cannot load OpenSSL 3: civetweb.o below is
 * civetweb.c, compiled with -DNO_SSL_DL and -DOPENSSL_API_1_1 (1.14, 1.15) or -DOPENSSL_API_3_0.
 *
 *     openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=localhost \
 *         -keyout device.pem -out certificate.pem && cat certificate.pem >> device.pem
 *     cc appliance_tls.c civetweb.o -lwaystation -lssl -lcrypto -lm -o appliance_tls
 *     ./appliance_tls 8443 device.pem
 */
#define _POSIX_C_SOURCE 200809L /* for sigwait, in strict C */

#include <signal.h>
#include <stdio.h>
#include <string.h>

#include <civetweb.h>
#include <waystation/civetweb.h>
#include <waystation/civetweb_openssl.h> /* wss */

static const char page[] = "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n"
                           "Content-Length: 50\r\n\r\n"
                           "<!doctype html><title>Boiler</title><p>61 \302\260C</p>\n";

static int show_page(struct mg_connection* conn, void* unused) {
  (void)unused;
  mg_write(conn, page, sizeof page - 1);
  return 200;
}

int main(int argc, char** argv) {
  char port[32];
  const char* settings[] = {"listening_ports", port, "ssl_certificate", argc > 2 ? argv[2] : "device.pem",
                            "request_timeout_ms", "5000", NULL};
  struct mg_callbacks callbacks;
  struct mg_context* ctx;
  struct mg_server_port opened;
  sigset_t ending;
  int received;
  waystation_options options;
  waystation_relay* relay;
  waystation_error error = WAYSTATION_ERROR_INIT;

  sigemptyset(&ending);
  sigaddset(&ending, SIGINT);
  sigaddset(&ending, SIGTERM);
  sigprocmask(SIG_BLOCK, &ending, NULL);

  /* Without this check, a CivetWeb that cannot load OpenSSL crashes with the first TLS connection. */
  if (!(mg_init_library(MG_FEATURES_TLS) & MG_FEATURES_TLS)) {
    fprintf(stderr, "appliance_tls: no wss: CivetWeb cannot load OpenSSL\n");
    return 1;
  }
  waystation_options_init(&options, sizeof options);
  if (waystation_civetweb_use_openssl(&error) != WAYSTATION_OK /* wss: before mg_start */
      || waystation_new(&options, &relay, &error) != WAYSTATION_OK) {
    fprintf(stderr, "appliance_tls: %s\n", error.message);
    return 1;
  }
  snprintf(port, sizeof port, "127.0.0.1:%ss", argc > 1 ? argv[1] : "8443"); /* "s": TLS */
  memset(&callbacks, 0, sizeof callbacks);
  ctx = mg_start(&callbacks, NULL, settings);
  if (ctx == NULL) {
    fprintf(stderr, "appliance_tls: cannot listen on %s with the certificate %s\n", port, settings[3]);
    waystation_free(relay);
    return 1;
  }
  mg_set_request_handler(ctx, "/$", show_page, NULL);
  waystation_civetweb_attach(relay, ctx);

  mg_get_server_ports(ctx, 1, &opened);
  printf("https://127.0.0.1:%d\n", opened.port);
  fflush(stdout);

  sigwait(&ending, &received);
  waystation_drain(relay, 1000);
  mg_stop(ctx);
  waystation_free(relay);
  mg_exit_library();
  return 0;
}
