#include "http/body.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <string>

#include "unit/admission/request_builder.hpp"

namespace waystation::test {
namespace {

using test::RequestBuilder;

/// A client that sends `text`, `step` bytes at a time, and then ends as configured.
struct Client {
  std::string text;
  std::size_t step = 1;
  int afterwards = 0;
  std::size_t calls = 0;
  std::size_t most_asked = 0;

  static int read(void* self, char* buffer, std::size_t size) {
    auto& client = *static_cast<Client*>(self);
    ++client.calls;
    client.most_asked = std::max(client.most_asked, size);
    if (client.text.empty()) return client.afterwards;
    const auto taken = std::min({size, client.step, client.text.size()});
    std::memcpy(buffer, client.text.data(), taken);
    client.text.erase(0, taken);
    return static_cast<int>(taken);
  }
};

constexpr BodyLimits kLimits{.max_bytes = 10'000, .timeout = std::chrono::hours(1)};

/// The body that was read, or the status and code of the refusal.
std::string outcome(const RequestBuilder& builder, Client& client, const BodyLimits& limits) {
  Request request = builder;
  request.body_source = {Client::read, &client};
  std::string buffer;
  const auto body = read_body(request, limits, buffer);
  if (body) return std::string(*body);
  return std::to_string(body.error().status()) + " " + std::string(info_of(body.error().code).name);
}

RequestBuilder post(const std::string& length) {
  return RequestBuilder::get("/").method("POST").header("Content-Length", length);
}

TEST(Body, IsReadExactlyToItsEnd) {
  for (const std::size_t step : {1U, 7U, 4096U, 100'000U}) {
    const std::string text(9'999, 'x');
    Client client{.text = text + "the next request", .step = step};
    EXPECT_EQ(outcome(post("9999"), client, kLimits), text) << step;
    EXPECT_EQ(client.text, "the next request") << step;
  }
}

TEST(Body, OfNoBytesIsNotWaitedFor) {
  Client client{.text = "something else"};
  EXPECT_EQ(outcome(RequestBuilder::get("/").method("POST"), client, kLimits), "");
  EXPECT_EQ(outcome(post("0"), client, kLimits), "");
  EXPECT_EQ(client.calls, 0U);
}

TEST(Body, WithoutAValidLengthIsNotRead) {
  Client client{.text = "1"};
  const auto refused = [&](const RequestBuilder& request) {
    return outcome(request, client, kLimits);
  };
  EXPECT_EQ(refused(RequestBuilder::get("/").header("Transfer-Encoding", "chunked")),
            "411 length_required");
  EXPECT_EQ(refused(post("1").header("Transfer-Encoding", "identity")), "411 length_required");
  EXPECT_EQ(refused(post("1").add("content-length", "1")), "400 bad_request");
  for (const char* length : {"", "-1", "+1", "1,1", "0x1", "1 1", "one", "1."}) {
    EXPECT_EQ(refused(post(length)), "400 bad_request") << length;
  }
  for (const char* length :
       {"10001", "4294967297", "18446744073709551617", "99999999999999999999999999999"}) {
    EXPECT_EQ(refused(post(length)), "413 too_large") << length;
  }
  EXPECT_EQ(client.calls, 0U);
}

TEST(Body, EndingEarlyIsRefused) {
  Client client{.text = "12", .afterwards = -1};
  EXPECT_EQ(outcome(post("3"), client, kLimits), "400 bad_request");
}

TEST(Body, NotArrivingTimesOut) {
  Client client{.text = "12", .afterwards = 0};
  EXPECT_EQ(outcome(post("3"), client, kLimits), "408 timeout");
  EXPECT_EQ(client.calls, 3U);
}

TEST(Body, ArrivingByteByByteHasOneDeadline) {
  constexpr BodyLimits kImpatient{.max_bytes = 10'000, .timeout = std::chrono::hours(0)};
  Client client{.text = std::string(9'999, 'x')};
  EXPECT_EQ(outcome(post("9999"), client, kImpatient), "408 timeout");
  EXPECT_EQ(client.calls, 1U);
  // A body that is complete is accepted, however late it is.
  client.text = "1";
  EXPECT_EQ(outcome(post("1"), client, kImpatient), "1");
}

TEST(Body, AllocatesOnlyForBytesThatArrive) {
  constexpr BodyLimits kGenerous{.max_bytes = 1U << 31U, .timeout = std::chrono::hours(1)};
  Client client{.text = "12", .afterwards = -1};
  EXPECT_EQ(outcome(post("2147483648"), client, kGenerous), "400 bad_request");
  EXPECT_LE(client.most_asked, 4096U);
}

}  // namespace
}  // namespace waystation::test
