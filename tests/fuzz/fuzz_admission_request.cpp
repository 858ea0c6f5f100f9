// Whole requests: a target and any header fields, one per line. No request is admitted from another
// origin or without a signature. No response contains a line that the library did not write.
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "admission/admission.hpp"
#include "fuzz/one_input.hpp"

using namespace waystation;

namespace {

constexpr std::int64_t kNow = 1'700'000'000'000;

void must(bool holds) {
  if (!holds) std::abort();
}

std::string_view next_line(std::string_view& rest) {
  const std::string_view line = rest.substr(0, rest.find('\n'));
  rest.remove_prefix(std::min(line.size() + 1, rest.size()));
  return line;
}

/// Tokens in every place; no input contains a signed one.
AdmissionOptions with_tokens() {
  constexpr std::string_view kKey = "c3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3M=";
  const int file = memfd_create("keys", MFD_CLOEXEC);
  must(file >= 0 && fchmod(file, S_IRUSR | S_IWUSR) == 0);
  must(write(file, kKey.data(), kKey.size()) == static_cast<ssize_t>(kKey.size()));
  AdmissionOptions options;
  options.auth = Auth::jwt;
  options.jwt_key_file = "/proc/self/fd/" + std::to_string(file);
  options.allow_query_token = true;
  return options;
}

}  // namespace

int fuzz_one_input(const std::uint8_t* data, std::size_t size) {
  static Admission open({});
  static Admission jwt(with_tokens());
  std::string_view rest(reinterpret_cast<const char*>(data), size);
  Request request;
  request.method = "GET";
  request.version = "1.1";
  request.target = next_line(rest);
  std::vector<HeaderField> fields;
  while (!rest.empty() && fields.size() < 64) {
    const std::string_view line = next_line(rest);
    const std::size_t colon = std::min(line.find(':'), line.size());
    fields.push_back({line.substr(0, colon), line.substr(std::min(colon + 1, line.size()))});
  }
  request.headers = fields;

  request.remote_address = "203.0.113.9";
  must(!std::holds_alternative<Admitted>(open.snapshot().admit(request, kNow)));
  must(!open.snapshot().authorize(request, Scope::push, kNow));
  must(!open.snapshot().authorize_operator(request));

  request.remote_address = "127.0.0.1";
  must(!std::holds_alternative<Admitted>(jwt.snapshot().admit(request, kNow)));
  must(!jwt.snapshot().authorize(request, Scope::push, kNow));
  const auto result = open.snapshot().admit(request, kNow);
  if (const auto* refusal = std::get_if<Refusal>(&result)) {
    const std::string text = render(*refusal);
    const std::size_t end = text.find("\r\n\r\n");
    must(end != std::string::npos && text.starts_with("HTTP/1.1 "));
    // Status, five fields and those of the refusal.
    must(std::ranges::count(text.substr(0, end), '\n') ==
         5 + static_cast<std::ptrdiff_t>(refusal->headers.size()) +
             (info_of(refusal->code).retry_after_seconds != 0 ? 1 : 0));
  } else if (const auto* admitted = std::get_if<Admitted>(&result)) {
    must(admitted->caller ? is_user_id(*admitted->caller) : admitted->protocol == Protocol::plain);
    must(admitted->kind == SocketKind::push ? admitted->caller == admitted->user
                                            : parse_group(admitted->group).has_value());
    must(admitted->key.size() == 24);
  }
  return 0;
}
