// Certificates and keys for tests, made with libcrypto.
#pragma once

#include <openssl/bio.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <string_view>

namespace waystation::server::test {

inline std::chrono::sys_seconds now() {
  return std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now());
}

using Key = std::shared_ptr<EVP_PKEY>;
using X509Handle = std::shared_ptr<X509>;

inline Key ec_key() {
  return {EVP_EC_gen("P-256"), EVP_PKEY_free};
}
inline Key rsa_key(unsigned bits) {
  return {EVP_RSA_gen(bits), EVP_PKEY_free};
}

/// A certificate from one day before to `days` after now, for `key`. Signed by `issuer`, or by
/// itself.
inline X509Handle certificate(const std::string& name, const Key& key, int days,
                              const X509Handle& issuer = {}, const Key& issuer_key = {}) {
  constexpr long kDay = 24L * 60 * 60;
  X509Handle result{X509_new(), X509_free};
  X509_set_version(result.get(), X509_VERSION_3);
  ASN1_INTEGER_set(X509_get_serialNumber(result.get()), 1);
  X509_gmtime_adj(X509_getm_notBefore(result.get()), -kDay);
  X509_gmtime_adj(X509_getm_notAfter(result.get()), days * kDay);
  X509_set_pubkey(result.get(), key.get());
  auto* const subject = X509_get_subject_name(result.get());
  X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC,
                             reinterpret_cast<const unsigned char*>(name.c_str()), -1, -1, 0);
  X509_set_issuer_name(result.get(), issuer ? X509_get_subject_name(issuer.get()) : subject);
  X509_sign(result.get(), issuer ? issuer_key.get() : key.get(), EVP_sha256());
  return result;
}

inline std::string text_of(BIO* bio) {
  char* data = nullptr;
  const auto size = BIO_get_mem_data(bio, &data);
  std::string text(data, static_cast<std::size_t>(size));
  BIO_free(bio);
  return text;
}

inline std::string pem(const X509Handle& certificate) {
  BIO* const out = BIO_new(BIO_s_mem());
  PEM_write_bio_X509(out, certificate.get());
  return text_of(out);
}

/// With a passphrase if `passphrase` is not empty.
inline std::string pem(const Key& key, std::string_view passphrase = {}) {
  BIO* const out = BIO_new(BIO_s_mem());
  PEM_write_bio_PKCS8PrivateKey(out, key.get(), passphrase.empty() ? nullptr : EVP_aes_128_cbc(),
                                passphrase.data(), static_cast<int>(passphrase.size()), nullptr,
                                nullptr);
  return text_of(out);
}

/// A folder for files, removed by the destructor.
class Folder {
 public:
  Folder() {
    std::string name = std::filesystem::temp_directory_path() / "waystation-XXXXXX";
    path_ = mkdtemp(name.data());
  }
  ~Folder() { std::filesystem::remove_all(path_); }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;

  std::string path(const std::string& name) const { return (path_ / name).string(); }

  /// Writes a file, and returns its path.
  std::string write(const std::string& name, std::string_view text, mode_t mode = 0600) const {
    std::ofstream{path(name), std::ios::binary} << text;
    chmod(path(name).c_str(), mode);
    return path(name);
  }

 private:
  std::filesystem::path path_;
};

}  // namespace waystation::server::test
