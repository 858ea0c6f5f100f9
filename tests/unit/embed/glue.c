#include <waystation/civetweb.h>
#include <waystation/civetweb_openssl.h>

int attach_from_c(waystation_relay *relay, struct mg_context *context);

int attach_from_c(waystation_relay *relay, struct mg_context *context) {
  return waystation_civetweb_attach(relay, context) + waystation_civetweb_attach_api(relay, context);
}

waystation_status use_openssl_from_c(void);

waystation_status use_openssl_from_c(void) { return waystation_civetweb_use_openssl(NULL); }
