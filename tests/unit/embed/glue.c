#include <waystation/civetweb.h>

int attach_from_c(waystation_relay *relay, struct mg_context *context);

int attach_from_c(waystation_relay *relay, struct mg_context *context) {
  return waystation_civetweb_attach(relay, context) + waystation_civetweb_attach_api(relay, context);
}
