#include "token.hpp"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <array>
#include <ctime>

namespace waystation::load {
namespace {

std::string base64url(std::string_view bytes) {
  std::string text(4 * ((bytes.size() + 2) / 3) + 1, '\0');
  EVP_EncodeBlock(reinterpret_cast<unsigned char*>(text.data()),
                  reinterpret_cast<const unsigned char*>(bytes.data()),
                  static_cast<int>(bytes.size()));
  text.resize(text.find_first_of(std::string_view("=\0", 2)));
  for (auto& c : text) c = c == '+' ? '-' : c == '/' ? '_' : c;
  return text;
}

}  // namespace

std::string sign_token(std::string_view key, std::string_view user) {
  const auto claims = R"({"sub":")" + std::string(user) + R"(","exp":)" +
                      std::to_string(std::time(nullptr) + 3600) + "}";
  auto token = base64url(R"({"alg":"HS256","typ":"JWT"})") + "." + base64url(claims);
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned int size = 0;
  HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()),
       reinterpret_cast<const unsigned char*>(token.data()), token.size(), digest.data(), &size);
  return token + "." + base64url({reinterpret_cast<const char*>(digest.data()), size});
}

}  // namespace waystation::load
