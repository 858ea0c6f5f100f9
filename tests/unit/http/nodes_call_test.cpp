#include "http/nodes_call.hpp"

#include <gtest/gtest.h>

#include "unit/http/fake_relay.hpp"

namespace waystation::test {
namespace {

/// The response, also for a refusal.
HttpResponse answer(RelayCalls& relay) {
  auto answered = answer_nodes(relay, 1'767'225'600'000);
  return answered ? std::move(*answered) : to_response(answered.error());
}

TEST(NodesCall, WritesTheNodes) {
  FakeRelay relay;
  EXPECT_EQ(answer(relay).body, R"({"nodes":[]})");
  relay.known = NodeList{{{"n0", "01ab45cd", true, true, 120}, {"n1", "", false, false, 0}}, true};
  const auto response = answer(relay);
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.content_type, "application/json");
  EXPECT_EQ(response.body,
            R"({"nodes":[{"node":"n0","incarnation":"01ab45cd","ready":true,"self":true,)"
            R"("last_seen":1767225599880},{"node":"n1","incarnation":"","ready":false,)"
            R"("self":false,"last_seen":1767225600000}],"partial":true})");
}

TEST(NodesCall, ExplainsFailures) {
  FakeRelay relay;
  relay.known = CallFailure{CallFailure::Cause::timeout};
  EXPECT_EQ(answer(relay).status, 504);
}

}  // namespace
}  // namespace waystation::test
