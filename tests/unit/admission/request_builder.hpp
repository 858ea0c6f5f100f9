// Builds requests for tests.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "admission/request.hpp"

namespace waystation::test {

/// Builds a request and owns the memory of its views. Header fields can be set, added (repeated)
/// and removed.
class RequestBuilder {
 public:
  RequestBuilder() = default;
  explicit RequestBuilder(std::string target) { request_.target = keep(std::move(target)); }

  /// A plain GET from loopback, as a browser sends it for a typed address.
  static RequestBuilder get(std::string target) {
    RequestBuilder builder(std::move(target));
    builder.header("Host", "127.0.0.1:8080");
    return builder;
  }

  /// A valid opening handshake.
  static RequestBuilder upgrade(std::string target) {
    return get(std::move(target))
        .header("Upgrade", "websocket")
        .header("Connection", "keep-alive, Upgrade")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
  }

  RequestBuilder& method(std::string text) { return set(request_.method, std::move(text)); }
  RequestBuilder& query(std::string text) { return set(request_.query, std::move(text)); }
  RequestBuilder& version(std::string text) { return set(request_.version, std::move(text)); }
  RequestBuilder& from(std::string text) { return set(request_.remote_address, std::move(text)); }
  RequestBuilder& body(std::string text) { return set(request_.body, std::move(text)); }
  RequestBuilder& body_from(BodySource source) {
    request_.body_source = source;
    return *this;
  }
  RequestBuilder& truncated() {
    request_.body_truncated = true;
    return *this;
  }
  RequestBuilder& tls() {
    request_.is_tls = true;
    return *this;
  }

  /// The request comes through the door, and its asker names `user`, unless that is empty.
  RequestBuilder& handed_over(std::string user = {}, std::string scopes = {},
                              std::string key = {}) {
    handed_over_ = std::make_shared<HandedOver>(
        HandedOver{keep(std::move(key)), keep(std::move(user)), keep(std::move(scopes))});
    request_.handed_over = handed_over_.get();
    return *this;
  }

  /// Sets the field of that name, or adds another one if `add`.
  RequestBuilder& header(std::string name, std::string value) {
    return without(name).add(std::move(name), std::move(value));
  }
  RequestBuilder& add(std::string name, std::string value) {
    fields_.push_back({keep(std::move(name)), keep(std::move(value))});
    return *this;
  }
  RequestBuilder& without(std::string_view name) {
    std::erase_if(fields_, [&](const HeaderField& field) { return field.name == name; });
    return *this;
  }

  /// Valid until the builder is changed or destroyed.
  Request request() const {
    Request result = request_;
    result.headers = fields_;
    return result;
  }
  operator Request() const { return request(); }  // NOLINT: reads better in calls

 private:
  std::string_view keep(std::string text) { return texts_->emplace_back(std::move(text)); }
  RequestBuilder& set(std::string_view& place, std::string text) {
    place = keep(std::move(text));
    return *this;
  }

  // A deque keeps pointers to its elements valid. Copies of the builder share them.
  std::shared_ptr<std::deque<std::string>> texts_ = std::make_shared<std::deque<std::string>>();
  std::shared_ptr<const HandedOver> handed_over_;
  std::vector<HeaderField> fields_;
  Request request_{.method = "GET",
                   .target = "/",
                   .query = {},
                   .version = "1.1",
                   .headers = {},
                   .remote_address = "127.0.0.1",
                   .remote_port = 50000,
                   .local_port = 8080,
                   .is_tls = false,
                   .origin = nullptr,
                   .handed_over = nullptr,
                   .body = {},
                   .body_truncated = false,
                   .body_source = {}};
};

}  // namespace waystation::test
