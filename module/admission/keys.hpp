// The keys that tokens are signed with, and the file they come from.
//
// A key file is text. Empty lines and lines that begin with '#' are passed over. The rest are keys,
// each with or without a key id, by which a token's `kid` finds it:
//
//     # an HMAC secret (HS256): base64 of at least 32 random bytes, alone or behind its id
//     c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0IHNlY3JldCBzZWNyZXQ=
//     2024-05:7JH0MdPuSDyhBKB4hEcJ7C5zPYFNsOPwJzQVSyEONdA=
//
//     # an RSA key of 2048 bits or more (RS256) or a P-256 key (ES256) in PEM, its id before it
//     2024-06:
//     -----BEGIN PUBLIC KEY-----
//     …
//     -----END PUBLIC KEY-----
//
// A private key ("BEGIN PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", without a passphrase)
// checks tokens as its public half does, and can issue them too. The algorithm follows from the
// key and is never taken from a token (RFC 8725, section 3.1).
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace waystation {

enum class Algorithm : std::uint8_t { hs256, rs256, es256 };
std::string_view algorithm_name(Algorithm algorithm) noexcept;  // "HS256"

/// One key.
struct Key {
  std::string id;  // empty: none
  Algorithm algorithm = Algorithm::hs256;
  std::string verify;  // the secret, or the public key in PEM
  std::string sign;    // the secret, or the private key in PEM; empty: cannot issue
};

/// Whether a file of this mode and owner keeps its keys from everyone but its owner: neither its
/// group nor others may read or write it. Only where root owns it may its group, a service's, read
/// it.
bool is_private_key_file(mode_t mode, uid_t owner) noexcept;

/// Whether a text that stands for the path of a key file is the content of one: it names no file,
/// and it has several lines, a line "BEGIN …" of PEM, or a secret of the size that a key file
/// needs. Such a text must not be shown.
bool is_pasted_key(const std::string& path);

/// The keys of one file. Immutable; any thread. The bytes of secrets are wiped at the end.
class KeyRing {
 public:
  KeyRing() = default;
  explicit KeyRing(std::vector<Key> keys) : keys_(std::move(keys)) {}
  KeyRing(const KeyRing&) = delete;
  KeyRing& operator=(const KeyRing&) = delete;
  ~KeyRing();

  const std::vector<Key>& keys() const noexcept { return keys_; }

  /// Reads a key file's text. The error is a clause that names the line, never the key.
  static std::variant<std::shared_ptr<const KeyRing>, std::string> parse(std::string_view text);

  /// Reads a key file. Refused as well: what is not a regular file, is larger than 1 MiB, or is not
  /// private (is_private_key_file).
  static std::variant<std::shared_ptr<const KeyRing>, std::string> load(const std::string& path);

 private:
  std::vector<Key> keys_;
};

}  // namespace waystation
