#include <waystation/civetweb.h>
#include <waystation/civetweb_openssl.h>

int attach_from_cxx(waystation_relay* relay, mg_context* context);

int attach_from_cxx(waystation_relay* relay, mg_context* context) {
  return waystation_civetweb_attach(relay, context) + waystation_civetweb_attach_api(relay, context);
}

waystation_status use_openssl_from_cxx();

waystation_status use_openssl_from_cxx() { return waystation_civetweb_use_openssl(nullptr); }
