#include "embed/tls_options.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "unit/embed/test_certificates.hpp"

using namespace waystation::server;
using namespace std::chrono_literals;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Pair;
using testing::StartsWith;

namespace {

class TlsOptions : public testing::Test {
 protected:
  void set(const std::string& key, const std::string& value) { sources_.flags[key] = {value}; }

  void set_all(const std::string& listen = "https://127.0.0.1:8443") {
    set("listen", listen);
    set("tls_certificate", certificate_file_);
    set("tls_key", key_file_);
  }

  /// The certificate, or null. Fills in `mistakes_` and `warnings_`.
  std::shared_ptr<const Certificate> check() {
    auto configuration = read_configuration(sources_);
    check_configuration(configuration);
    warnings_.clear();
    auto certificate = check_tls(configuration, now_, warnings_);
    mistakes_ = configuration.mistakes;
    settings_ = configuration.settings;
    return certificate;
  }

  std::string expiry() { return expiry_warning(settings_, *check(), now_); }

  ConfigurationSources sources_;
  std::multimap<std::string, std::string> mistakes_;
  std::vector<std::string> warnings_;
  Settings settings_;
  Certificate::Time now_ = test::now();
  test::Folder folder_;
  test::Key key_ = test::ec_key();
  std::string certificate_file_ =
      folder_.write("certificate.pem", test::pem(test::certificate("a", key_, 15)));
  std::string key_file_ = folder_.write("key.pem", test::pem(key_));
};

}  // namespace

TEST_F(TlsOptions, AreNotNeededWithoutTls) {
  EXPECT_EQ(check(), nullptr);
  EXPECT_THAT(mistakes_, IsEmpty());
  EXPECT_THAT(warnings_, IsEmpty());
}

TEST_F(TlsOptions, NameTheCertificateOfTlsListeners) {
  set_all("127.0.0.1:8080, https://127.0.0.1:8443");
  EXPECT_NE(check(), nullptr);
  EXPECT_THAT(mistakes_, IsEmpty());
  EXPECT_THAT(warnings_, IsEmpty());
}

TEST_F(TlsOptions, AreNeededForTls) {
  set("listen", "http://127.0.0.1:8080, https://127.0.0.1:8443");
  EXPECT_EQ(check(), nullptr);
  EXPECT_THAT(mistakes_, ElementsAre(Pair("listen",
                                          "listen = \"https://127.0.0.1:8443\": TLS "
                                          "needs a certificate; allowed: set "
                                          "tls_certificate and tls_key, or remove "
                                          "https:// (--listen)")));
}

TEST_F(TlsOptions, AreBothSetOrNone) {
  set_all();
  set("tls_key", "");
  EXPECT_EQ(check(), nullptr);
  EXPECT_THAT(mistakes_, ElementsAre(Pair("tls_key",
                                          "tls_key = \"\": tls_certificate is set and "
                                          "needs it; allowed: both or none "
                                          "(--tls-key)")));
  set_all("127.0.0.1:8080");
  set("tls_certificate", "");
  EXPECT_EQ(check(), nullptr);
  EXPECT_THAT(mistakes_, ElementsAre(Pair("tls_certificate", HasSubstr("tls_key is set"))));
}

TEST_F(TlsOptions, AreReportedWhereNothingUsesThem) {
  set_all("http://127.0.0.1:8080");
  EXPECT_EQ(check(), nullptr);
  EXPECT_THAT(mistakes_, IsEmpty());
  EXPECT_THAT(warnings_, ElementsAre(AllOf(StartsWith("tls_certificate = "),
                                           HasSubstr("it is not used; write https://"))));
}

TEST_F(TlsOptions, ReportEveryMistakeInTheFiles) {
  set_all();
  folder_.write("certificate.pem", "");
  folder_.write("key.pem", "");
  EXPECT_EQ(check(), nullptr);
  EXPECT_THAT(mistakes_,
              ElementsAre(Pair("tls_certificate", AllOf(StartsWith("tls_certificate = \"/"),
                                                        HasSubstr("certificate.pem\": no "))),
                          Pair("tls_key", AllOf(StartsWith("tls_key = \"/"),
                                                HasSubstr("key.pem\": no private key")))));
}

TEST_F(TlsOptions, ShowNoPastedKey) {
  set_all();
  const auto pasted = test::pem(key_);
  set("tls_key", pasted);
  EXPECT_EQ(check(), nullptr);
  EXPECT_THAT(mistakes_, ElementsAre(Pair("tls_key", StartsWith("tls_key = (withheld"))));
  auto configuration = read_configuration(sources_);
  check_configuration(configuration);
  EXPECT_THAT(show_configuration(configuration), Not(HasSubstr("BEGIN")));
}

TEST_F(TlsOptions, WarnTwoWeeksBeforeTheCertificateExpires) {
  set_all();
  const auto expires = check()->expires();
  EXPECT_EQ(expiry(), "");
  now_ = expires - 14 * 24h;
  EXPECT_THAT(expiry(), AllOf(StartsWith("tls_certificate = \"/"),
                              HasSubstr("\": it expires on " + to_text(expires) + "; renew it")));
  const auto certificate = check();
  EXPECT_THAT(expiry_warning(settings_, *certificate, expires), HasSubstr(": it expired on "));
}

TEST_F(TlsOptions, WarnOfNoCertificateThatEndsInTheYear9999) {
  const auto certificate = test::certificate("a", key_, 0);
  ASSERT_EQ(ASN1_TIME_set_string(X509_getm_notAfter(certificate.get()), "99991231235959Z"), 1);
  ASSERT_GT(X509_sign(certificate.get(), key_.get(), EVP_sha256()), 0);
  folder_.write("certificate.pem", test::pem(certificate));
  set_all();
  ASSERT_NE(check(), nullptr) << mistakes_.begin()->second;
  EXPECT_EQ(expiry(), "");
}
