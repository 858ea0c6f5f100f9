// The keys that verify tokens, and their file.
//
// A key file is text. Empty lines and lines that begin with '#' are ignored. All others are keys,
// each with or without a key id. A token's `kid` selects the key with that id:
//
//     # an HMAC secret (HS256): base64 of at least 32 random bytes, with or without an id
//     c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0IHNlY3JldCBzZWNyZXQ=
//     2024-05:7JH0MdPuSDyhBKB4hEcJ7C5zPYFNsOPwJzQVSyEONdA=
//
//     # an RSA key of 2048 bits or more (RS256) or a P-256 key (ES256) in PEM, after its id
//     2024-06:
//     -----BEGIN PUBLIC KEY-----
//     …
//     -----END PUBLIC KEY-----
//
// A private key ("BEGIN PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", without a passphrase)
// verifies tokens like its public key, and can also issue them. The key determines the algorithm,
// never the token (RFC 8725, section 3.1).
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.hpp"
#include "base/result.hpp"

namespace waystation {

enum class Algorithm : std::uint8_t { hs256, rs256, es256 };
std::string_view algorithm_name(Algorithm algorithm) noexcept;  // "HS256"

struct Key {
  std::string id;  // empty: none
  Algorithm algorithm = Algorithm::hs256;
  std::string verify;  // the secret, or the public key in PEM
  std::string sign;    // the secret, or the private key in PEM; empty: cannot issue
};

/// Whether only the owner may read or write a file with this mode and owner. The group of a service
/// may read a file that root owns.
bool is_private_key_file(mode_t mode, uid_t owner) noexcept;

/// A text whose bytes are overwritten when it is destroyed.
struct SecretString {
  std::string text;
  SecretString() = default;
  SecretString(const SecretString&) = delete;
  SecretString& operator=(const SecretString&) = delete;
  ~SecretString();

  /// Takes the same time for every text of the same length.
  bool equals(std::string_view other) const noexcept;
};

/// Reads a key file into `file`, which must be empty. It must be a regular file of at most 1 MiB,
/// and private (is_private_key_file). Returns the problem as a clause, or an empty text.
std::string read_private_file(const std::string& path, SecretString& file);

/// Whether a text that stands for the path of a key file is the content of one: it names no file,
/// and it has several lines, a line "BEGIN …" of PEM, or a secret of the size that a key file
/// needs. Such a text must not be shown.
bool is_pasted_key(const std::string& path);

/// The same for a file whose key may be any text: whether a text names no file, and is not an
/// absolute path that does not look like a key.
bool is_pasted_text(const std::string& path);

/// The error for such a text, which is not shown. A missing path can look like a key, too.
Error withheld_path(std::string_view option, std::string_view allowed);

/// The keys of one file. Immutable; any thread. The destructor overwrites the secrets.
class KeyRing {
 public:
  KeyRing() = default;
  explicit KeyRing(std::vector<Key> keys) : keys_(std::move(keys)) {}
  KeyRing(const KeyRing&) = delete;
  KeyRing& operator=(const KeyRing&) = delete;
  ~KeyRing();

  const std::vector<Key>& keys() const noexcept { return keys_; }

  /// Parses the text of a key file. The error is a clause that names the line, never the key.
  static Result<std::shared_ptr<const KeyRing>, std::string> parse(std::string_view text);

  /// Reads a key file with read_private_file(). The error is a clause.
  static Result<std::shared_ptr<const KeyRing>, std::string> load(const std::string& path);

 private:
  std::vector<Key> keys_;
};

}  // namespace waystation
