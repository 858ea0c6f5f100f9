// Tokens: any text of a client, and any header and claims with a valid signature.
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "admission/token.hpp"
#include "fuzz/one_input.hpp"

using namespace waystation;

namespace {

constexpr std::int64_t kNow = 1'700'000'000'000;

void must(bool holds) {
  if (!holds) std::abort();
}

std::string base64url(std::string_view text) {
  std::string out(text.size() * 2 + 8, '\0');
  const int size = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(out.data()),
                                   reinterpret_cast<const unsigned char*>(text.data()),
                                   static_cast<int>(text.size()));
  out.resize(static_cast<std::size_t>(size));
  while (out.ends_with('=')) out.pop_back();
  std::ranges::replace(out, '+', '-');
  std::ranges::replace(out, '/', '_');
  return out;
}

}  // namespace

int fuzz_one_input(const std::uint8_t* data, std::size_t size) {
  static const std::string kSecret(32, 's');
  static const auto kKeys = *KeyRing::parse("k:c3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3Nzc3M=");
  const std::string_view text(reinterpret_cast<const char*>(data), size);

  // No input can guess a signature.
  must(!verify_token(*kKeys, {}, text, kNow));

  // The header ends at the first line end; the claims follow.
  const std::size_t split = std::min(text.find('\n'), text.size());
  const std::string input =
      base64url(text.substr(0, split)) + "." +
      base64url(split < text.size() ? text.substr(split + 1) : std::string_view());
  std::array<unsigned char, EVP_MAX_MD_SIZE> mac{};
  unsigned int mac_size = 0;
  HMAC(EVP_sha256(), kSecret.data(), static_cast<int>(kSecret.size()),
       reinterpret_cast<const unsigned char*>(input.data()), input.size(), mac.data(), &mac_size);
  const std::string token =
      input + "." + base64url({reinterpret_cast<const char*>(mac.data()), mac_size});
  const auto checked = verify_token(*kKeys, {"", {}}, token, kNow);
  if (checked) {
    must(checked->expires_at_ms > kNow);
    must(text.substr(0, split).find("HS256") != std::string_view::npos ||
         text.substr(0, split).find("\\u") != std::string_view::npos);
  }
  return 0;
}
