// A C++ program outside Waystation's tree that runs CivetWeb and attaches the relay to it.
#include <waystation/civetweb.h>

#include <array>
#include <iostream>
#include <memory>
#include <string>

#include "talk.h"

namespace {

struct FreeRelay {
  void operator()(waystation_relay* relay) const { waystation_free(relay); }
};

struct StopServer {
  void operator()(mg_context* context) const { mg_stop(context); }
};

}  // namespace

int main() {
  waystation_options options;
  waystation_options_init(&options, sizeof options);
  waystation_relay* made = nullptr;
  waystation_error error = WAYSTATION_ERROR_INIT;
  if (waystation_new(&options, &made, &error) != WAYSTATION_OK) {
    talk_fail(error.message);
  }
  const std::unique_ptr<waystation_relay, FreeRelay> relay{made};

  mg_init_library(0);
  std::array<const char*, 5> settings{"listening_ports", "127.0.0.1:0", "num_threads", "2",
                                      nullptr};
  const mg_callbacks callbacks{};
  const std::unique_ptr<mg_context, StopServer> server{
      mg_start(&callbacks, nullptr, settings.data())};
  mg_server_port port{};
  if (server == nullptr || mg_get_server_ports(server.get(), 1, &port) != 1) {
    talk_fail("CivetWeb did not start");
  }
  if (waystation_civetweb_attach(relay.get(), server.get()) != 0 ||
      waystation_civetweb_attach_api(relay.get(), server.get()) != 0) {
    talk_fail("cannot attach");
  }
  talk_scene(port.port);
  std::cout << "libwaystation " << waystation_version() << " in C++: hello arrived\n";
}
