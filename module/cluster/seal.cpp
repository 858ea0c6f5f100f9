#include "cluster/seal.hpp"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>

#include <algorithm>
#include <limits>
#include <new>
#include <optional>
#include <tuple>
#include <utility>

#include "base/base64.hpp"

namespace waystation {
namespace {

constexpr std::size_t kNonceBytes = 12;
constexpr std::string_view kInfo = "waystation cluster 1: ";
constexpr std::string_view kIdInfo = "waystation cluster key id 1: ";
constexpr std::size_t kIdBytes = 8;

using Bytes = std::array<unsigned char, SealKeys::kKeyBytes>;

const unsigned char* data_of(std::string_view text) noexcept {
  return reinterpret_cast<const unsigned char*>(text.data());
}

void require(bool condition) {
  if (!condition) throw std::bad_alloc();
}

std::uint32_t id_of(const Bytes& key) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  require(EVP_Digest(key.data(), key.size(), digest.data(), nullptr, EVP_sha256(), nullptr) == 1);
  return std::uint32_t{digest[0]} << 24U | std::uint32_t{digest[1]} << 16U |
         std::uint32_t{digest[2]} << 8U | digest[3];
}

struct KdfFree {
  void operator()(EVP_PKEY_CTX* context) const noexcept { EVP_PKEY_CTX_free(context); }
};

/// HKDF-SHA256. An empty salt is the default one of RFC 5869.
Bytes hkdf(const Bytes& key, std::string_view salt, const std::string& info) {
  const std::unique_ptr<EVP_PKEY_CTX, KdfFree> kdf(EVP_PKEY_CTX_new_id(EVP_PKEY_HKDF, nullptr));
  require(kdf != nullptr);
  Bytes derived{};
  auto size = derived.size();
  require(EVP_PKEY_derive_init(kdf.get()) == 1);
  require(EVP_PKEY_CTX_set_hkdf_md(kdf.get(), EVP_sha256()) == 1);
  require(salt.empty() || EVP_PKEY_CTX_set1_hkdf_salt(kdf.get(), data_of(salt),
                                                      static_cast<int>(salt.size())) == 1);
  require(EVP_PKEY_CTX_set1_hkdf_key(kdf.get(), key.data(), static_cast<int>(key.size())) == 1);
  require(EVP_PKEY_CTX_add1_hkdf_info(kdf.get(), data_of(info), static_cast<int>(info.size())) ==
          1);
  require(EVP_PKEY_derive(kdf.get(), derived.data(), &size) == 1);
  return derived;
}

/// A context for one direction, with the key of one incarnation.
Cipher derive(const Bytes& key, std::string_view cluster, const Incarnation& incarnation,
              bool seals) {
  auto derived = hkdf(key, incarnation.view(), std::string(kInfo) + std::string(cluster));
  Cipher cipher(EVP_CIPHER_CTX_new());
  const bool is_made =
      cipher != nullptr && EVP_CipherInit_ex(cipher.get(), EVP_aes_256_gcm(), nullptr,
                                             derived.data(), nullptr, seals ? 1 : 0) == 1;
  OPENSSL_cleanse(derived.data(), derived.size());
  require(is_made);
  return cipher;
}

/// The nonce of a sequence number: 4 bytes of zero, then the number (RFC 5116 section 3.2).
std::array<unsigned char, kNonceBytes> nonce_of(std::uint64_t sequence) noexcept {
  std::array<unsigned char, kNonceBytes> nonce{};
  for (std::size_t i = 0; i < sizeof sequence; ++i) {
    nonce[kNonceBytes - 1 - i] = static_cast<unsigned char>(sequence >> (8 * i));
  }
  return nonce;
}

/// Starts a text and adds what is authenticated only.
bool begin(EVP_CIPHER_CTX* cipher, std::uint64_t sequence, std::string_view header) noexcept {
  const auto nonce = nonce_of(sequence);
  int size = 0;
  return EVP_CipherInit_ex(cipher, nullptr, nullptr, nullptr, nonce.data(), -1) == 1 &&
         EVP_CipherUpdate(cipher, nullptr, &size, data_of(header),
                          static_cast<int>(header.size())) == 1;
}

bool fits_int(std::size_t size) noexcept {
  return size <= static_cast<std::size_t>(std::numeric_limits<int>::max());
}

/// Parses one line of a key file.
std::optional<Bytes> parse_key(std::string_view line) {
  auto decoded = decode_base64(line);
  if (!decoded) return std::nullopt;
  std::optional<Bytes> key;
  if (decoded->size() == SealKeys::kKeyBytes) {
    key.emplace();
    std::ranges::copy(*decoded, key->begin());
  }
  OPENSSL_cleanse(decoded->data(), decoded->size());
  return key;
}

std::string_view without_blanks(std::string_view line) noexcept {
  const auto first = line.find_first_not_of(" \t\r");
  if (first == std::string_view::npos) return {};
  return line.substr(first, line.find_last_not_of(" \t\r") - first + 1);
}

void wipe(SealKeys::Key& key) noexcept {
  OPENSSL_cleanse(key.bytes.data(), key.bytes.size());
}

}  // namespace

void CipherFree::operator()(evp_cipher_ctx_st* context) const noexcept {
  EVP_CIPHER_CTX_free(context);
}

Result<std::shared_ptr<const SealKeys>, std::string> SealKeys::parse(std::string_view file) {
  struct Wiped {
    std::vector<Key> keys;
    ~Wiped() { std::ranges::for_each(keys, wipe); }
  } read;
  read.keys.reserve(kMaxKeys);  // a vector that grows leaves copies in freed memory
  std::size_t number = 0;
  const auto at_line = [&number](std::string_view problem) {
    return "line " + std::to_string(number) + ": " + std::string(problem);
  };
  while (!file.empty()) {
    ++number;
    const auto end = std::min(file.find('\n'), file.size());
    const auto line = without_blanks(file.substr(0, end));
    file.remove_prefix(std::min(end + 1, file.size()));
    if (line.empty() || line.front() == '#') continue;
    auto bytes = parse_key(line);
    if (!bytes) {
      return at_line("not base64 of 32 bytes; `openssl rand -base64 32` makes a key");
    }
    if (read.keys.size() == kMaxKeys) return at_line("over 8 keys");
    Key key{id_of(*bytes), *bytes};
    OPENSSL_cleanse(bytes->data(), bytes->size());
    const bool is_repeated =
        std::ranges::any_of(read.keys, [&key](const Key& other) { return other.id == key.id; });
    if (!is_repeated) read.keys.push_back(key);
    wipe(key);
    if (is_repeated) return at_line("the same key again");
  }
  if (read.keys.empty()) return "it holds no key";
  return std::make_shared<const SealKeys>(std::exchange(read.keys, {}));
}

SealKeys::~SealKeys() {
  std::ranges::for_each(keys_, wipe);
}

const SealKeys::Key* SealKeys::find(std::uint32_t id) const noexcept {
  const auto found = std::ranges::find(keys_, id, &Key::id);
  return found == keys_.end() ? nullptr : &*found;
}

std::string SealKeys::ids(std::string_view cluster) const {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string ids;
  for (const auto& key : keys_) {
    if (!ids.empty()) ids += ',';
    auto derived = hkdf(key.bytes, {}, std::string(kIdInfo) + std::string(cluster));
    for (std::size_t i = 0; i < kIdBytes; ++i) {
      ids += kDigits[derived[i] >> 4U];
      ids += kDigits[derived[i] & 0xFU];
    }
    OPENSSL_cleanse(derived.data(), derived.size());
  }
  return ids;
}

Sealer::Sealer(const SealKeys& keys, std::string_view cluster, const Incarnation& incarnation)
    : key_id_(keys.keys().front().id),
      incarnation_(incarnation),
      cipher_(derive(keys.keys().front().bytes, cluster, incarnation, true)) {}

void Sealer::seal(std::string& out, std::size_t header_begin, std::string_view text) {
  const auto sequence = ++sequence_;  // also if this fails: a nonce is never used twice
  require(fits_int(text.size()));
  const auto header_end = out.size();
  out.resize(header_end + text.size() + kTagBytes);
  auto* const sealed = reinterpret_cast<unsigned char*>(out.data() + header_end);
  auto* const cipher = cipher_.get();
  int size = 0;
  int last = 0;
  const auto header = std::string_view(out).substr(header_begin, header_end - header_begin);
  const bool is_sealed =
      begin(cipher, sequence, header) &&
      EVP_EncryptUpdate(cipher, sealed, &size, data_of(text), static_cast<int>(text.size())) == 1 &&
      EVP_EncryptFinal_ex(cipher, sealed + size, &last) == 1 &&
      EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_AEAD_GET_TAG, static_cast<int>(kTagBytes),
                          sealed + text.size()) == 1;
  if (is_sealed) return;
  out.resize(header_end);
  throw std::bad_alloc();
}

struct Opener::Peer {
  Incarnation incarnation;
  std::uint32_t key_id;
  Cipher cipher;
  std::uint64_t used = 0;      // the value of uses_
  std::uint64_t sequence = 0;  // the last that was opened
  unsigned copies = 0;         // of it

  auto name() const noexcept { return std::tie(incarnation, key_id); }
  /// Whether it was not opened before.
  bool take(std::uint64_t number, Copy copy) noexcept {
    const auto bit = static_cast<unsigned>(copy);
    if (number < sequence || (number == sequence && (copies & bit) != 0)) return false;
    copies = number == sequence ? copies | bit : bit;
    sequence = number;
    return true;
  }
};

Opener::Opener(std::shared_ptr<const SealKeys> keys, std::string_view cluster)
    : keys_(std::move(keys)), cluster_(cluster) {}

Opener::~Opener() = default;

std::size_t Opener::peer_count() const noexcept {
  return peers_.size();
}

Opener::Peer* Opener::find(std::uint32_t key_id, const Incarnation& origin) noexcept {
  const auto name = std::tie(origin, key_id);
  const auto at = std::ranges::lower_bound(peers_, name, {}, &Peer::name);
  return at != peers_.end() && at->name() == name ? &*at : nullptr;
}

Opener::Peer& Opener::add(Peer peer) {
  if (peers_.size() >= kMaxPeers) {
    peers_.erase(std::ranges::min_element(peers_, {}, &Peer::used));
  }
  const auto at = std::ranges::lower_bound(peers_, peer.name(), {}, &Peer::name);
  return *peers_.insert(at, std::move(peer));
}

bool Opener::open(std::uint32_t key_id, const Incarnation& origin, std::uint64_t sequence,
                  Copy copy, std::string_view header, std::string_view sealed, std::string& text) {
  text.clear();
  if (sealed.size() < Sealer::kTagBytes || !fits_int(sealed.size()) || !fits_int(header.size())) {
    return false;
  }
  auto* peer = find(key_id, origin);
  std::optional<Peer> stranger;  // kept only if it can seal: anyone can invent incarnations
  if (peer == nullptr) {
    const auto* const key = keys_->find(key_id);
    if (key == nullptr) return false;
    peer = &stranger.emplace(Peer{origin, key_id, derive(key->bytes, cluster_, origin, false)});
  }
  const auto body = sealed.substr(0, sealed.size() - Sealer::kTagBytes);
  std::array<unsigned char, Sealer::kTagBytes> tag;
  std::copy_n(sealed.end() - Sealer::kTagBytes, tag.size(), tag.begin());
  text.resize(body.size());
  auto* const opened = reinterpret_cast<unsigned char*>(text.data());
  auto* const cipher = peer->cipher.get();
  int size = 0;
  int last = 0;
  const bool is_authentic =
      begin(cipher, sequence, header) &&
      EVP_DecryptUpdate(cipher, opened, &size, data_of(body), static_cast<int>(body.size())) == 1 &&
      EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_AEAD_SET_TAG, static_cast<int>(tag.size()),
                          tag.data()) == 1 &&
      EVP_DecryptFinal_ex(cipher, opened + size, &last) == 1;
  if (is_authentic && stranger) peer = &add(std::move(*stranger));
  peer->used = ++uses_;
  if (is_authentic && peer->take(sequence, copy)) return true;
  text.clear();
  return false;
}

}  // namespace waystation
