#include "admission/keys.hpp"

#include <fcntl.h>
#include <openssl/bio.h>
#include <openssl/crypto.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <new>
#include <system_error>
#include <utility>

#include "admission/request.hpp"
#include "base/base64.hpp"
#include "base/error.hpp"
#include "base/file_descriptor.hpp"

namespace waystation {
namespace {

constexpr std::size_t kMinSecretBytes = 32;  // RFC 7518, section 3.2
constexpr int kMinRsaBits = 2048;            // RFC 7518, section 3.3
constexpr std::size_t kMaxKeys = 32;         // a token without `kid` may try all of them
constexpr std::size_t kMaxFileBytes = 1 << 20;
constexpr std::size_t kMaxIdBytes = 128;

constexpr std::string_view kBegin = "-----BEGIN ";
constexpr std::string_view kEnd = "-----END ";
constexpr std::string_view kDashes = "-----";

struct BioFree {
  void operator()(BIO* bio) const noexcept { BIO_free_all(bio); }
};
struct KeyFree {
  void operator()(EVP_PKEY* key) const noexcept { EVP_PKEY_free(key); }
};
using Bio = std::unique_ptr<BIO, BioFree>;
using KeyHandle = std::unique_ptr<EVP_PKEY, KeyFree>;

/// Prevents OpenSSL from asking for a passphrase on the terminal, as it does by default.
int no_passphrase(char*, int, int, void*) {
  return -1;
}

std::string contents(BIO* bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  return size > 0 ? std::string(data, static_cast<std::size_t>(size)) : std::string();
}

/// The algorithm that a key is for, or what is wrong with the key.
Result<Algorithm, std::string> algorithm_of(const EVP_PKEY* key) {
  switch (EVP_PKEY_get_base_id(key)) {
    case EVP_PKEY_RSA:
      if (EVP_PKEY_get_bits(key) < kMinRsaBits) {
        return "an RSA key must have at least 2048 bits, and this one has " +
               std::to_string(EVP_PKEY_get_bits(key));
      }
      return Algorithm::rs256;
    case EVP_PKEY_EC: {
      std::array<char, 64> group{};
      std::size_t length = 0;
      if (EVP_PKEY_get_group_name(key, group.data(), group.size(), &length) != 1 ||
          std::string_view(group.data(), length) != "prime256v1") {
        return "an EC key must be on the curve P-256 (prime256v1)";
      }
      return Algorithm::es256;
    }
    default:
      return "a key must be RSA or EC";
  }
}

/// Parses one PEM block. `label` is the text after BEGIN.
Result<Key, std::string> parse_pem(std::string_view block, std::string_view label) {
  const bool is_public = label == "PUBLIC KEY";
  const bool is_private =
      label == "PRIVATE KEY" || label == "RSA PRIVATE KEY" || label == "EC PRIVATE KEY";
  if (!is_public && !is_private) {
    return "a block " + in_quotes(label) +
           " is not supported; allowed are PUBLIC KEY and PRIVATE KEY (without a passphrase)";
  }
  const Bio in(BIO_new_mem_buf(block.data(), static_cast<int>(block.size())));
  const KeyHandle key(!in ? nullptr
                      : is_public
                          ? PEM_read_bio_PUBKEY(in.get(), nullptr, no_passphrase, nullptr)
                          : PEM_read_bio_PrivateKey(in.get(), nullptr, no_passphrase, nullptr));
  if (!key) {
    ERR_clear_error();
    return std::string(is_public ? "the public key cannot be read"
                                 : "the private key cannot be read, or has a passphrase");
  }
  auto algorithm = algorithm_of(key.get());
  if (!algorithm) return std::move(algorithm.error());
  Key result;
  result.algorithm = *algorithm;
  const Bio out(BIO_new(BIO_s_mem()));
  if (!out || PEM_write_bio_PUBKEY(out.get(), key.get()) != 1) throw std::bad_alloc();
  result.verify = contents(out.get());
  if (is_private) {
    // Normalizes the three PEM forms to PKCS #8.
    const Bio pem(BIO_new(BIO_s_secmem()));
    if (!pem || PEM_write_bio_PKCS8PrivateKey(pem.get(), key.get(), nullptr, nullptr, 0, nullptr,
                                              nullptr) != 1) {
      throw std::bad_alloc();
    }
    result.sign = contents(pem.get());
  }
  return result;
}

bool is_key_id(std::string_view id) noexcept {
  return !id.empty() && id.size() <= kMaxIdBytes &&
         std::ranges::all_of(id, [](char c) { return c > ' ' && c <= '~'; });
}

/// Parses a secret. `id` is the text before the last ':' of its line.
Result<Key, std::string> parse_secret(std::string_view id, std::string_view secret) {
  auto decoded = decode_base64(secret);
  if (!decoded) return "neither a comment, nor a key in PEM, nor a secret in base64";
  Key key;
  key.id = id;
  key.algorithm = Algorithm::hs256;
  key.verify = std::move(*decoded);
  key.sign = key.verify;
  if (key.verify.size() < kMinSecretBytes) {
    return "a secret must have at least 32 bytes, and this one has " +
           std::to_string(key.verify.size()) + "; `openssl rand -base64 32` makes a good one";
  }
  return key;
}

bool names_file(const std::string& path) noexcept {
  struct stat status {};
  return stat(path.c_str(), &status) == 0;
}

void wipe(Key& key) noexcept {
  OPENSSL_cleanse(key.verify.data(), key.verify.size());
  OPENSSL_cleanse(key.sign.data(), key.sign.size());
}

/// Parses a key file line by line.
class KeyFileReader {
 public:
  explicit KeyFileReader(std::string_view text) : rest_(text) {}
  KeyFileReader(const KeyFileReader&) = delete;
  KeyFileReader& operator=(const KeyFileReader&) = delete;
  ~KeyFileReader() { std::ranges::for_each(keys_, wipe); }

  Result<std::shared_ptr<const KeyRing>, std::string> read() {
    while (!rest_.empty()) {
      const char* begin = rest_.data();
      const std::string_view line = next_line();
      if (line.empty() || line.starts_with('#')) continue;
      auto taken = line.starts_with(kBegin) ? take_pem(begin, line) : take_line(line);
      if (!taken) return std::move(taken.error());
    }
    if (!pending_id_.empty()) return at_line("a key id without a key after it");
    if (keys_.empty()) return "it holds no key";
    return std::make_shared<const KeyRing>(std::move(keys_));
  }

 private:
  std::string_view next_line() noexcept {
    ++line_number_;
    std::string_view line = rest_.substr(0, rest_.find('\n'));
    rest_.remove_prefix(std::min(line.size() + 1, rest_.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    return without_blanks(line);
  }

  std::string at_line(std::string_view problem) const {
    return "line " + std::to_string(line_number_) + ": " + std::string(problem);
  }

  Result<void, std::string> take_pem(const char* begin, std::string_view first) {
    if (!first.ends_with(kDashes) || first.size() < kBegin.size() + kDashes.size()) {
      return at_line("a BEGIN line must end in \"-----\"");
    }
    const std::string_view label =
        first.substr(kBegin.size(), first.size() - kBegin.size() - kDashes.size());
    const std::size_t first_line = line_number_;
    std::string_view line;
    do {
      if (rest_.empty()) return at_line("the block that began before has no END line");
      line = next_line();
    } while (!line.starts_with(kEnd));
    // `openssl ecparam -genkey` writes the curve as a separate block before the key. The key names
    // the curve, too.
    if (label == "EC PARAMETERS") return {};
    const std::string_view block(begin,
                                 static_cast<std::size_t>(line.data() + line.size() - begin));
    auto key = parse_pem(block, label);
    if (!key) return "line " + std::to_string(first_line) + ": " + key.error();
    key->id = std::exchange(pending_id_, {});
    return add(std::move(*key));
  }

  Result<void, std::string> take_line(std::string_view line) {
    if (!pending_id_.empty()) {
      return at_line("a key id alone on its line must be followed by a key in PEM");
    }
    const std::size_t colon = line.rfind(':');
    const bool has_id = colon != std::string_view::npos;
    const std::string_view id = has_id ? line.substr(0, colon) : std::string_view();
    if (has_id && !is_key_id(id)) {
      return at_line("a key id is 1 to 128 printable characters without spaces");
    }
    const std::string_view secret = has_id ? without_blanks(line.substr(colon + 1)) : line;
    if (has_id && secret.empty()) {
      pending_id_ = id;
      return {};
    }
    auto key = parse_secret(id, secret);
    if (!key) return at_line(key.error());
    return add(std::move(*key));
  }

  Result<void, std::string> add(Key key) {
    if (keys_.size() == kMaxKeys) {
      wipe(key);
      return at_line("there are more than 32 keys");
    }
    keys_.push_back(std::move(key));
    return {};
  }

  std::string_view rest_;
  std::size_t line_number_ = 0;
  std::string pending_id_;  // of the PEM block that must follow
  std::vector<Key> keys_;
};

}  // namespace

std::string_view algorithm_name(Algorithm algorithm) noexcept {
  switch (algorithm) {
    case Algorithm::hs256:
      return "HS256";
    case Algorithm::rs256:
      return "RS256";
    default:
      return "ES256";
  }
}

bool is_private_key_file(mode_t mode, uid_t owner) noexcept {
  // A service reads root's files through its group, and the credentials of systemd through an
  // access control list, which fstat(2) reports as group permissions. The result does not depend on
  // the calling user, because root may check a configuration that another user will read.
  const mode_t allowed = owner == 0 ? mode_t{S_IRWXU | S_IRGRP} : mode_t{S_IRWXU};
  return (mode & (S_IRWXU | S_IRWXG | S_IRWXO) & ~allowed) == 0;
}

bool is_pasted_key(const std::string& path) {
  if (names_file(path)) return false;
  if (path.find('\n') != std::string::npos || path.find("BEGIN ") != std::string::npos) return true;
  const std::string_view text = path;
  // A key id may stand in front.
  const auto secret = decode_base64(without_blanks(text.substr(text.rfind(':') + 1)));
  return secret && secret->size() >= kMinSecretBytes;
}

bool is_pasted_text(const std::string& path) {
  if (path.starts_with('/')) return is_pasted_key(path);
  return !names_file(path);
}

Error withheld_path(std::string_view option, std::string_view allowed) {
  return option_error(option, "(withheld: it may be a key)",
                      "no such file, or a key instead of the path of its file", allowed);
}

KeyRing::~KeyRing() {
  std::ranges::for_each(keys_, wipe);
}

Result<std::shared_ptr<const KeyRing>, std::string> KeyRing::parse(std::string_view text) {
  return KeyFileReader(text).read();
}

SecretString::~SecretString() {
  OPENSSL_cleanse(text.data(), text.size());
}

bool SecretString::equals(std::string_view other) const noexcept {
  return other.size() == text.size() && CRYPTO_memcmp(other.data(), text.data(), other.size()) == 0;
}

std::string read_private_file(const std::string& path, SecretString& file) {
  const auto system_error = [] { return std::generic_category().message(errno); };
  // O_NONBLOCK: opening a pipe must not wait for its other end.
  const FileDescriptor opened(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (!opened) return "it cannot be opened: " + system_error();

  struct stat status {};
  if (fstat(opened.get(), &status) != 0) return "its status cannot be read: " + system_error();
  if (!S_ISREG(status.st_mode)) return "it is not a regular file";
  if (!is_private_key_file(status.st_mode, status.st_uid)) {
    return "other users can read or change it; run chmod 600 " + in_quotes(path);
  }
  if (status.st_size > static_cast<off_t>(kMaxFileBytes)) return "it is larger than 1 MiB";

  // Allocated once, since a string that grows leaves copies of the secrets in freed memory.
  file.text.resize(static_cast<std::size_t>(status.st_size));
  std::size_t size = 0;
  while (size < file.text.size()) {
    const ssize_t got = ::read(opened.get(), file.text.data() + size, file.text.size() - size);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return "it cannot be read: " + system_error();
    if (got == 0) break;
    size += static_cast<std::size_t>(got);
  }
  file.text.resize(size);
  return {};
}

Result<std::shared_ptr<const KeyRing>, std::string> KeyRing::load(const std::string& path) {
  SecretString file;
  if (auto problem = read_private_file(path, file); !problem.empty()) return problem;
  return parse(file.text);
}

}  // namespace waystation
