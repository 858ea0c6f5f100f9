// A certificate and its private key, as the https listeners use them.
#pragma once

#include <array>
#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

struct evp_pkey_st;
struct ssl_st;
struct stack_st_X509;
struct x509_st;

namespace waystation::server {

/// Immutable; any thread.
class Certificate {
 public:
  /// In seconds: devices have certificates that end in the year 9999, and system_clock's own
  /// nanoseconds end in 2262.
  using Time = std::chrono::sys_seconds;

  /// What is wrong with one of the two files.
  struct Mistake {
    std::string_view option;  // "tls_certificate" or "tls_key"
    std::string text;         // "<problem>; <what is allowed>"
  };

  /// Reads a certificate, followed by its intermediate certificates, and its key, both as PEM.
  /// Returns every mistake in the files: unreadable, not PEM, not valid at `now`, not a pair, and a
  /// key that other users may read.
  static std::variant<std::shared_ptr<const Certificate>, std::vector<Mistake>> read(
      const std::string& certificate_file, const std::string& key_file, Time now);

  Certificate(const Certificate&) = delete;
  Certificate& operator=(const Certificate&) = delete;
  ~Certificate();

  /// The end of its validity.
  Time expires() const noexcept { return expires_; }

  /// Whether it is the same certificate, whatever its key and intermediates.
  bool is_same(const Certificate& other) const noexcept {
    return fingerprint_ == other.fingerprint_;
  }

  /// Makes one connection's handshake use it. False if memory runs out.
  bool use_in(ssl_st* connection) const noexcept;

 private:
  Certificate() = default;

  x509_st* own_ = nullptr;
  stack_st_X509* intermediates_ = nullptr;
  evp_pkey_st* key_ = nullptr;
  std::array<unsigned char, 32> fingerprint_{};  // SHA-256 of own_
  Time expires_;
};

/// A time for people: "2026-11-28 21:15 UTC".
std::string to_text(Certificate::Time time);

}  // namespace waystation::server
