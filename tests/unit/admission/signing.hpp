// Keys and tokens for tests, made with libcrypto only, so that the tested code does not check its
// own tokens.
#pragma once

#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <unistd.h>

#include <array>
#include <fstream>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>
#include <sys/stat.h>

namespace waystation::test {

using KeyHandle = std::shared_ptr<EVP_PKEY>;

inline KeyHandle hold(EVP_PKEY* key) {
  return {key, EVP_PKEY_free};
}

/// RSA keys are slow to generate: one key of each size per run.
inline KeyHandle rsa_key() {
  static const KeyHandle key = hold(EVP_RSA_gen(2048));
  return key;
}
inline KeyHandle other_rsa_key() {
  static const KeyHandle key = hold(EVP_RSA_gen(2048));
  return key;
}
inline KeyHandle ec_key(const char* curve = "P-256") {
  return hold(EVP_EC_gen(curve));
}

inline std::string bio_text(BIO* bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  std::string text(data, static_cast<std::size_t>(size));
  BIO_free(bio);
  return text;
}
inline std::string public_pem(const KeyHandle& key) {
  BIO* bio = BIO_new(BIO_s_mem());
  PEM_write_bio_PUBKEY(bio, key.get());
  return bio_text(bio);
}
inline std::string private_pem(const KeyHandle& key) {
  BIO* bio = BIO_new(BIO_s_mem());
  PEM_write_bio_PKCS8PrivateKey(bio, key.get(), nullptr, nullptr, 0, nullptr, nullptr);
  return bio_text(bio);
}
/// "RSA PRIVATE KEY" or "EC PRIVATE KEY".
inline std::string traditional_pem(const KeyHandle& key) {
  BIO* bio = BIO_new(BIO_s_mem());
  PEM_write_bio_PrivateKey_traditional(bio, key.get(), nullptr, nullptr, 0, nullptr, nullptr);
  return bio_text(bio);
}
inline std::string encrypted_pem(const KeyHandle& key) {
  BIO* bio = BIO_new(BIO_s_mem());
  PEM_write_bio_PKCS8PrivateKey(bio, key.get(), EVP_aes_128_cbc(), "pass", 4, nullptr, nullptr);
  return bio_text(bio);
}

inline std::string base64(std::string_view data) {
  std::string out(data.size() * 2 + 8, '\0');
  const int size = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(out.data()),
                                   reinterpret_cast<const unsigned char*>(data.data()),
                                   static_cast<int>(data.size()));
  out.resize(static_cast<std::size_t>(size));
  return out;
}
inline std::string base64url(std::string_view data) {
  std::string out = base64(data);
  while (out.ends_with('=')) out.pop_back();
  for (char& c : out) c = c == '+' ? '-' : c == '/' ? '_' : c;
  return out;
}

inline std::string hmac(std::string_view secret, std::string_view text,
                        const EVP_MD* digest = EVP_sha256()) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> mac{};
  unsigned int size = 0;
  HMAC(digest, secret.data(), static_cast<int>(secret.size()),
       reinterpret_cast<const unsigned char*>(text.data()), text.size(), mac.data(), &size);
  return {mac.begin(), mac.begin() + size};
}

/// An RSA or EC signature in the format of JWS (RFC 7518, sections 3.3 and 3.4).
inline std::string signature(const KeyHandle& key, std::string_view text) {
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  std::size_t size = 0;
  const auto* data = reinterpret_cast<const unsigned char*>(text.data());
  EVP_DigestSignInit(context, nullptr, EVP_sha256(), nullptr, key.get());
  EVP_DigestSign(context, nullptr, &size, data, text.size());
  std::string der(size, '\0');
  EVP_DigestSign(context, reinterpret_cast<unsigned char*>(der.data()), &size, data, text.size());
  EVP_MD_CTX_free(context);
  der.resize(size);
  if (EVP_PKEY_get_base_id(key.get()) != EVP_PKEY_EC) return der;
  const auto* at = reinterpret_cast<const unsigned char*>(der.data());
  ECDSA_SIG* pair = d2i_ECDSA_SIG(nullptr, &at, static_cast<long>(der.size()));
  const int half = (EVP_PKEY_get_bits(key.get()) + 7) / 8;
  std::string raw(static_cast<std::size_t>(2 * half), '\0');
  auto* out = reinterpret_cast<unsigned char*>(raw.data());
  BN_bn2binpad(ECDSA_SIG_get0_r(pair), out, half);
  BN_bn2binpad(ECDSA_SIG_get0_s(pair), out + half, half);
  ECDSA_SIG_free(pair);
  return raw;
}

/// The signed text: header and claims, as JSON texts.
inline std::string signing_input(std::string_view header, std::string_view claims) {
  return base64url(header) + "." + base64url(claims);
}
inline std::string hs256_token(std::string_view secret, std::string_view claims,
                               std::string_view header = R"({"alg":"HS256","typ":"JWT"})") {
  const std::string input = signing_input(header, claims);
  return input + "." + base64url(hmac(secret, input));
}
inline std::string signed_token(const KeyHandle& key, std::string_view claims,
                                std::string_view header) {
  const std::string input = signing_input(header, claims);
  return input + "." + base64url(signature(key, input));
}

/// An object of one member whose value nests `levels` deep, written before the other members.
inline std::string with_nested(std::string_view object, std::size_t levels,
                               std::string_view open = "[", std::string_view close = "]") {
  std::string text = "{\"x\":";
  for (std::size_t i = 0; i < levels; ++i) text += open;
  text += '0';
  for (std::size_t i = 0; i < levels; ++i) text += close;
  return text + "," + std::string(object.substr(1));
}

/// A temporary folder, removed by the destructor.
class Folder {
 public:
  Folder() {
    path_ = testing::TempDir() + "waystation-XXXXXX";
    if (mkdtemp(path_.data()) == nullptr) ADD_FAILURE() << "no temporary folder";
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  ~Folder() {
    for (const std::string& file : files_) unlink(file.c_str());
    rmdir(path_.c_str());
  }

  const std::string& path() const { return path_; }

  /// Writes a file and returns its path.
  std::string file(const std::string& name, std::string_view text, mode_t mode = 0600) {
    std::string path = forget(name);
    {
      std::ofstream out(path, std::ios::binary | std::ios::trunc);
      out << text;
    }
    chmod(path.c_str(), mode);
    return path;
  }

  /// Also removes this file, which other code created.
  std::string forget(const std::string& name) {
    files_.push_back(path_ + "/" + name);
    return files_.back();
  }

 private:
  std::string path_;
  std::vector<std::string> files_;
};

}  // namespace waystation::test
