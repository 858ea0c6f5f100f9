// The messages between a web server and the relay: module/HANDOVER.md.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "admission/refusal.hpp"
#include "admission/request.hpp"
#include "base/result.hpp"

namespace waystation {

/// The limits of messages. See module/HANDOVER.md.
struct HandoverLimits {
  static constexpr std::size_t kAskBytes = 65'536;
  static constexpr std::size_t kRefuseBytes = 16'384;
  static constexpr std::size_t kEarlyBytes = 65'535;
  static constexpr std::size_t kHereHeader = 8;
  static constexpr std::size_t kAskFields = 256;
  static constexpr std::size_t kRefuseFields = 32;
  static constexpr std::size_t kKey = 256;
  static constexpr std::size_t kAddress = 64;
  static constexpr std::size_t kMethod = 32;
  static constexpr std::size_t kUser = 256;
  static constexpr std::size_t kScopes = 1024;
};

/// An ASK: a request, and what the asker says about its client. Immutable, at one address.
class Ask {
  struct Private {
    explicit Private() = default;
  };

 public:
  /// Parses a message, of which a copy is kept. Refused with bad_handover, or too_many_fields if
  /// there are too many bytes or fields; the reason is in log_detail. Throws std::bad_alloc.
  static Result<std::unique_ptr<const Ask>, Refusal> parse(std::span<const char> message);

  explicit Ask(Private) {}
  Ask(const Ask&) = delete;
  Ask& operator=(const Ask&) = delete;
  /// Overwrites the message, which may hold a key.
  ~Ask();

  /// Its views are valid as long as this object. `handed_over` is set.
  const Request& request() const noexcept { return request_; }

 private:
  /// What is wrong, or empty.
  std::string_view read();

  std::vector<char> bytes_;
  std::vector<HeaderField> fields_;
  std::array<char, 3> version_{};
  HandedOver handed_over_;
  Request request_;
};

/// A HERE, whose early bytes are a view into the message.
struct Here {
  bool is_pumped = false;
  std::string_view early;

  /// The error is a clause.
  static Result<Here, std::string> parse(std::span<const char> message);
};

/// The refusal of an asker. The client gets no details; the log gets `problem`, a clause.
Refusal bad_handover(std::string problem);

/// The message GIVE.
std::string give_message();

/// The message REFUSE. `code` is empty for a response that is no refusal. Header fields with a line
/// break are left out. If it is too long, it is a refusal without details.
std::string refuse_message(std::string_view code, const HttpResponse& response);

}  // namespace waystation
