// Encrypts what nodes send each other, so that the engine and its files never hold content.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "cluster/incarnation.hpp"

struct evp_cipher_ctx_st;

namespace waystation {

/// The keys of a cluster: the first seals, all open. So a key is changed in three steps: add the
/// new one behind the old one on every node, move it to the front, remove the old one. Immutable;
/// any thread. The destructor overwrites the keys.
class SealKeys {
 public:
  static constexpr std::size_t kKeyBytes = 32;
  static constexpr std::size_t kMaxKeys = 8;

  struct Key {
    std::uint32_t id;  // the beginning of the key's SHA-256: tells keys apart without showing them
    std::array<unsigned char, kKeyBytes> bytes;
  };

  /// Parses a key file: a line per key, base64 of 32 bytes; empty lines and lines that begin with
  /// '#' are ignored. The error is a clause that names the line, never the key.
  static Result<std::shared_ptr<const SealKeys>, std::string> parse(std::string_view file);

  explicit SealKeys(std::vector<Key> keys) : keys_(std::move(keys)) {}
  ~SealKeys();
  SealKeys(const SealKeys&) = delete;
  SealKeys& operator=(const SealKeys&) = delete;

  const std::vector<Key>& keys() const noexcept { return keys_; }
  const Key* find(std::uint32_t id) const noexcept;
  /// Tells keys apart without showing them: 8 bytes of each as hexadecimal digits, separated by
  /// commas, in the order of the file. By HKDF-SHA256 (RFC 5869) with a separate label. The ids
  /// differ between clusters. Throws std::bad_alloc, also where libcrypto fails.
  std::string ids(std::string_view cluster) const;

 private:
  std::vector<Key> keys_;
};

struct CipherFree {
  void operator()(evp_cipher_ctx_st* context) const noexcept;
};
using Cipher = std::unique_ptr<evp_cipher_ctx_st, CipherFree>;

/// Seals with AES-256-GCM. The key is derived for this incarnation by HKDF-SHA256 (RFC 5869). The
/// incarnation is the salt; the info names the cluster. The nonce is a counter. So no two sealers
/// share a key, and no sealer uses a nonce twice. One thread.
class Sealer {
 public:
  static constexpr std::size_t kTagBytes = 16;

  /// Throws std::bad_alloc, also where libcrypto fails.
  Sealer(const SealKeys& keys, std::string_view cluster, const Incarnation& incarnation);

  std::uint32_t key_id() const noexcept { return key_id_; }
  const Incarnation& incarnation() const noexcept { return incarnation_; }
  /// The number that the next seal() uses; 1, 2, 3 and so on.
  std::uint64_t next_sequence() const noexcept { return sequence_ + 1; }

  /// Appends `text`, sealed, and the tag to `out`, and uses up next_sequence(). `out` itself, from
  /// `header_begin` on, is authenticated too (GCM's additional data): open() needs the same bytes.
  /// Throws std::bad_alloc; the number is used up then too.
  void seal(std::string& out, std::size_t header_begin, std::string_view text);

 private:
  std::uint32_t key_id_;
  Incarnation incarnation_;
  Cipher cipher_;
  std::uint64_t sequence_ = 0;
};

/// Opens what the sealers of all nodes have sealed, each once. The engine keeps the order of a
/// sealer, so a number that does not grow is a repetition. Remembers the last kMaxPeers
/// incarnations and their derived keys: a node has one for each engine. One thread.
class Opener {
 public:
  static constexpr std::size_t kMaxPeers = 4096;

  /// A frame may arrive twice: for the receiver's side, and as an echo for the sender's.
  enum class Copy : std::uint8_t { receiver = 1, sender = 2 };

  /// Throws std::bad_alloc.
  Opener(std::shared_ptr<const SealKeys> keys, std::string_view cluster);
  ~Opener();
  Opener(const Opener&) = delete;
  Opener& operator=(const Opener&) = delete;

  /// Replaces `text` by the opened text. False where the key is unknown, anything was changed, or
  /// this copy or a later text of the sealer was opened before: `text` is empty then. Throws
  /// std::bad_alloc.
  bool open(std::uint32_t key_id, const Incarnation& origin, std::uint64_t sequence, Copy copy,
            std::string_view header, std::string_view sealed, std::string& text);

  /// The derived keys that are kept now.
  std::size_t peer_count() const noexcept;

 private:
  struct Peer;

  Peer* find(std::uint32_t key_id, const Incarnation& origin) noexcept;
  Peer& add(Peer peer);

  std::shared_ptr<const SealKeys> keys_;
  std::string cluster_;
  std::vector<Peer> peers_;  // sorted by incarnation and key
  std::uint64_t uses_ = 0;   // counts the calls, to find the peer that was used least recently
};

}  // namespace waystation
