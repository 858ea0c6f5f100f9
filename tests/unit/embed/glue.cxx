#include <waystation/civetweb.h>

int attach_from_cxx(waystation_relay* relay, mg_context* context);

int attach_from_cxx(waystation_relay* relay, mg_context* context) {
  return waystation_civetweb_attach(relay, context) + waystation_civetweb_attach_api(relay, context);
}
