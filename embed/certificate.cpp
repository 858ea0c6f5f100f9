#include "embed/certificate.hpp"

#include <openssl/asn1.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <sys/stat.h>

#include <array>
#include <ctime>
#include <optional>
#include <utility>

#include "embed/small_file.hpp"
#include "embed/tls_context.hpp"

namespace waystation::server {
namespace {

constexpr std::string_view kCertificate = "tls_certificate";
constexpr std::string_view kKey = "tls_key";
constexpr std::string_view kCertificateAllowed =
    "allowed: a PEM file with the certificate, then its intermediate certificates";
constexpr std::string_view kKeyAllowed =
    "allowed: a PEM file with the private key of tls_certificate, without a passphrase";

struct FreeBio {
  void operator()(BIO* bio) const { BIO_free(bio); }
};
using BioHandle = std::unique_ptr<BIO, FreeBio>;

/// OpenSSL's reason for its latest error. Empties its queue of errors.
std::string openssl_reason() {
  const char* const reason = ERR_reason_error_string(ERR_peek_last_error());
  ERR_clear_error();
  return reason != nullptr ? reason : "unknown error";
}

/// Whether PEM_read_…() failed because the text has no further block of that kind.
bool is_at_end() {
  const auto error = ERR_peek_last_error();
  return ERR_GET_LIB(error) == ERR_LIB_PEM && ERR_GET_REASON(error) == PEM_R_NO_START_LINE;
}

/// OpenSSL's default would ask for a passphrase on the terminal.
int no_passphrase(char*, int, int, void* was_asked) {
  *static_cast<bool*>(was_asked) = true;
  return -1;
}

BioHandle reader_of(const std::string& text) {
  return BioHandle{BIO_new_mem_buf(text.data(), static_cast<int>(text.size()))};
}

/// Nothing if the certificate has another text in place of a time.
std::optional<Certificate::Time> time_of(const ASN1_TIME* time) {
  std::tm parts{};
  if (ASN1_TIME_to_tm(time, &parts) != 1) return std::nullopt;
  return Certificate::Time{std::chrono::seconds{timegm(&parts)}};
}

/// As for the file of jwt_key_file: the group may read root's file, because a service reads root's
/// files through its group, and systemd's credentials look like that.
bool is_private(const SmallFile& file) {
  const mode_t allowed = file.owner == 0 ? mode_t{S_IRWXU | S_IRGRP} : mode_t{S_IRWXU};
  return (file.mode & (S_IRWXU | S_IRWXG | S_IRWXO) & ~allowed) == 0;
}

}  // namespace

std::string to_text(Certificate::Time time) {
  const std::time_t seconds = time.time_since_epoch().count();
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  std::array<char, 32> text{};
  std::strftime(text.data(), text.size(), "%Y-%m-%d %H:%M UTC", &parts);
  return text.data();
}

std::variant<std::shared_ptr<const Certificate>, std::vector<Certificate::Mistake>>
Certificate::read(const std::string& certificate_file, const std::string& key_file, Time now) {
  struct Made : Certificate {};  // with access to the constructor
  const auto result = std::make_shared<Made>();
  std::vector<Mistake> mistakes;
  const auto add = [&](std::string_view option, const std::string& problem,
                       std::string_view allowed) {
    mistakes.push_back({option, problem + "; " + std::string{allowed}});
  };
  ERR_clear_error();

  auto file = read_small_file(certificate_file);
  if (const auto* problem = std::get_if<std::string>(&file)) {
    add(kCertificate, *problem, kCertificateAllowed);
  } else {
    const auto in = reader_of(std::get<SmallFile>(file).text);
    result->own_ = PEM_read_bio_X509(in.get(), nullptr, nullptr, nullptr);
    if (result->own_ == nullptr) {
      add(kCertificate, is_at_end() ? "no certificate in PEM in it" : openssl_reason(),
          kCertificateAllowed);
    } else {
      if (X509_digest(result->own_, EVP_sha256(), result->fingerprint_.data(), nullptr) != 1) {
        add(kCertificate, openssl_reason(), kCertificateAllowed);
      }
      result->intermediates_ = sk_X509_new_null();
      while (auto* const next = PEM_read_bio_X509(in.get(), nullptr, nullptr, nullptr)) {
        sk_X509_push(result->intermediates_, next);
      }
      if (!is_at_end()) {
        const auto number = sk_X509_num(result->intermediates_) + 2;
        add(kCertificate, "certificate " + std::to_string(number) + ": " + openssl_reason(),
            kCertificateAllowed);
      }
      const auto begins = time_of(X509_get0_notBefore(result->own_));
      const auto expires = time_of(X509_get0_notAfter(result->own_));
      if (!begins || !expires) {
        add(kCertificate, "its notBefore or its notAfter is not a valid time",
            "allowed: a valid certificate");
      } else if (now >= *expires) {
        add(kCertificate, "it expired on " + to_text(*expires), "allowed: a valid certificate");
      } else if (now < *begins) {
        add(kCertificate, "it is not valid before " + to_text(*begins),
            "allowed: a valid certificate; check the clock of this machine too");
      }
      result->expires_ = expires.value_or(Time{});
    }
  }
  ERR_clear_error();

  file = read_small_file(key_file);
  if (const auto* problem = std::get_if<std::string>(&file)) {
    add(kKey, *problem, kKeyAllowed);
  } else {
    auto& key = std::get<SmallFile>(file);
    bool has_passphrase = false;
    const auto in = reader_of(key.text);
    result->key_ = PEM_read_bio_PrivateKey(in.get(), nullptr, no_passphrase, &has_passphrase);
    if (!is_private(key)) {
      add(kKey, "other users may read it",
          "allowed: a file for its owner only (chmod 600), or of root and for its group (chmod "
          "640)");
    }
    if (has_passphrase) {
      add(kKey, "it is encrypted", kKeyAllowed);
    } else if (result->key_ == nullptr) {
      add(kKey, "no private key in PEM in it", kKeyAllowed);
    }
    OPENSSL_cleanse(key.text.data(), key.text.size());
  }
  ERR_clear_error();

  if (result->own_ != nullptr && result->key_ != nullptr) {
    if (X509_check_private_key(result->own_, result->key_) != 1) {
      std::string problem = "it does not belong to tls_certificate";
      for (int i = 0; i < sk_X509_num(result->intermediates_); ++i) {
        if (X509_check_private_key(sk_X509_value(result->intermediates_, i), result->key_) != 1) {
          continue;
        }
        problem = "it belongs to certificate " + std::to_string(i + 2) +
                  " of tls_certificate, which must be the first";
      }
      add(kKey, problem, kKeyAllowed);
    } else if (const TlsContext trial{result};
               SSL_CTX_use_cert_and_key(trial.get(), result->own_, result->key_,
                                        result->intermediates_, 1) != 1) {
      // For example, a key that is too short for the security level of openssl.cnf.
      add(kCertificate, "OpenSSL refuses it: " + openssl_reason(), kCertificateAllowed);
    }
  }
  ERR_clear_error();
  if (!mistakes.empty()) return mistakes;
  return result;
}

Certificate::~Certificate() {
  X509_free(own_);
  sk_X509_pop_free(intermediates_, X509_free);
  EVP_PKEY_free(key_);
}

bool Certificate::use_in(ssl_st* connection) const noexcept {
  return SSL_use_cert_and_key(connection, own_, key_, intermediates_, 1) == 1;
}

}  // namespace waystation::server
