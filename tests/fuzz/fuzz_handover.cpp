// Messages of askers at the door. An ASK that is accepted keeps its limits and holds no line break;
// the same bytes as a HERE keep theirs. The first byte is not part of the message: it selects HERE.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "admission/admission.hpp"
#include "fuzz/one_input.hpp"
#include "handover/message.hpp"

using namespace waystation;

namespace {

constexpr std::int64_t kNow = 1'700'000'000'000;

void must(bool holds) {
  if (!holds) std::abort();
}

bool is_one_line(std::string_view text) {
  return text.find_first_of(std::string_view("\r\n\0", 3)) == std::string_view::npos;
}

void try_ask(const std::vector<char>& bytes) {
  static Admission open({});
  const auto ask = Ask::parse(bytes);
  if (!ask) {
    const auto code = ask.error().code;
    must(code == RefusalCode::bad_handover || code == RefusalCode::too_many_fields);
    must(!ask.error().log_detail.empty());
    return;
  }
  const auto& request = (*ask)->request();
  must(bytes.size() <= HandoverLimits::kAskBytes);
  must(request.headers.size() <= HandoverLimits::kAskFields);
  must(!request.method.empty() && is_one_line(request.method) && is_one_line(request.target));
  must(is_one_line(request.remote_address));
  std::size_t size = 24 + request.method.size() + request.target.size() +
                     request.remote_address.size() + request.handed_over->key.size() +
                     request.handed_over->user.size() + request.handed_over->scopes.size();
  for (const auto& field : request.headers) {
    must(!field.name.empty() && is_one_line(field.name) && is_one_line(field.value));
    size += 4 + field.name.size() + field.value.size();
  }
  must(size == bytes.size());
  const auto result = open.snapshot().admit(request, kNow);
  if (std::holds_alternative<Admitted>(result)) {
    must(request.handed_over->user.empty());
    must(request.remote_address.starts_with("127.") || request.remote_address == "::1" ||
         request.remote_address.find(':') != std::string_view::npos);
  } else if (const auto* refusal = std::get_if<Refusal>(&result)) {
    const auto message = refuse_message(info_of(refusal->code).name, to_response(*refusal));
    must(message.size() <= HandoverLimits::kRefuseBytes);
  }
}

void try_here(const std::vector<char>& bytes) {
  const auto here = Here::parse(bytes);
  if (!here) {
    must(!here.error().empty());
    return;
  }
  must(here->early.size() == bytes.size() - HandoverLimits::kHereHeader);
  must(here->early.size() <= HandoverLimits::kEarlyBytes);
}

}  // namespace

int fuzz_one_input(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  // In a separate allocation, so that the sanitizer reports a read beyond the end.
  const std::vector<char> bytes(data + 1, data + size);
  (data[0] & 1U) != 0 ? try_here(bytes) : try_ask(bytes);
  return 0;
}
