#include "embed/certificate.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "embed/small_file.hpp"
#include "unit/embed/test_certificates.hpp"

using namespace waystation::server;
using namespace std::chrono_literals;
using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

namespace {

using test::ec_key;

class CertificateTest : public testing::Test {
 protected:
  using Result =
      std::variant<std::shared_ptr<const Certificate>, std::vector<Certificate::Mistake>>;

  Result read(Certificate::Time now = test::now()) const {
    return Certificate::read(certificate_file_, key_file_, now);
  }

  /// The mistakes as lines "option: text"; empty if the files are good.
  std::string mistakes(Certificate::Time now = test::now()) const {
    const auto result = read(now);
    std::string lines;
    const auto* list = std::get_if<std::vector<Certificate::Mistake>>(&result);
    if (list == nullptr) return lines;
    for (const auto& mistake : *list) {
      lines += std::string{mistake.option} + ": " + mistake.text + "\n";
    }
    return lines;
  }

  /// A certificate that is valid until `time`, in ASN.1's GeneralizedTime.
  test::X509Handle ending(const char* time) const {
    auto result = test::certificate("a", key_, 10);
    EXPECT_EQ(ASN1_TIME_set_string(X509_getm_notAfter(result.get()), time), 1);
    EXPECT_GT(X509_sign(result.get(), key_.get(), EVP_sha256()), 0);
    return result;
  }

  test::Folder folder_;
  test::Key key_ = ec_key();
  std::string certificate_file_ =
      folder_.write("certificate.pem", test::pem(test::certificate("a", key_, 10)), 0644);
  std::string key_file_ = folder_.write("key.pem", test::pem(key_));
};

}  // namespace

TEST_F(CertificateTest, IsReadWithItsKey) {
  const auto result = read();
  const auto* certificate = std::get_if<std::shared_ptr<const Certificate>>(&result);
  ASSERT_NE(certificate, nullptr) << mistakes();
  const auto left = (*certificate)->expires() - test::now();
  EXPECT_GT(left, 9 * 24h);
  EXPECT_LE(left, 10 * 24h);
  EXPECT_TRUE((*certificate)->is_same(**certificate));
}

TEST_F(CertificateTest, IsAnotherOneAfterARenewal) {
  const auto before = std::get<0>(read());
  folder_.write("certificate.pem", test::pem(test::certificate("a", key_, 20)), 0644);
  EXPECT_FALSE(before->is_same(*std::get<0>(read())));
}

TEST_F(CertificateTest, IsReadWithTextAroundItsBlocks) {
  folder_.write("certificate.pem",
                "subject = a\n\n" + test::pem(test::certificate("a", key_, 10)) + "\nthe end\n");
  EXPECT_EQ(mistakes(), "");
}

TEST_F(CertificateTest, NamesAFileThatCannotBeRead) {
  certificate_file_ = folder_.path("absent");
  key_file_ = folder_.path("");
  EXPECT_THAT(mistakes(), AllOf(HasSubstr("tls_certificate: cannot be read: No such file"),
                                HasSubstr("tls_key: a directory; allowed: ")));
}

TEST_F(CertificateTest, NamesAFileOfAnotherKind) {
  folder_.write("certificate.pem", "\x30\x82\x01\x0a");
  folder_.write("key.pem", "secret");
  EXPECT_THAT(mistakes(),
              AllOf(HasSubstr("tls_certificate: no certificate in PEM in it; allowed: "),
                    HasSubstr("tls_key: no private key in PEM in it; allowed: ")));
  EXPECT_THAT(mistakes(), Not(HasSubstr("secret")));
}

TEST_F(CertificateTest, NamesABrokenCertificateOfTheChain) {
  auto text = test::pem(test::certificate("a", key_, 10));
  std::string broken = text;
  broken.replace(broken.find('\n') + 1, 8, "AAAAAAAA");
  folder_.write("certificate.pem", text + broken);
  EXPECT_THAT(mistakes(), StartsWith("tls_certificate: certificate 2: "));
  folder_.write("certificate.pem", broken);
  EXPECT_THAT(mistakes(), AllOf(StartsWith("tls_certificate: "), HasSubstr("; allowed: ")));
}

TEST_F(CertificateTest, IsRefusedOutsideOfItsValidity) {
  const auto now = test::now();
  const auto expires = std::get<0>(read())->expires();
  EXPECT_EQ(mistakes(expires - 1s), "");
  EXPECT_THAT(mistakes(expires), StartsWith("tls_certificate: it expired on " + to_text(expires)));
  EXPECT_THAT(mistakes(now - 25h), StartsWith("tls_certificate: it is not valid before "));
}

TEST_F(CertificateTest, MayEndInAnyYear) {
  // RFC 5280, section 4.1.2.5: the end of a certificate without one, such as a device's.
  folder_.write("certificate.pem", test::pem(ending("99991231235959Z")));
  ASSERT_EQ(mistakes(), "");
  const auto certificate = std::get<0>(read());
  EXPECT_EQ(certificate->expires(), std::chrono::sys_days{9999y / 12 / 31} + 24h - 1s);
  EXPECT_EQ(to_text(certificate->expires()), "9999-12-31 23:59 UTC");
  folder_.write("certificate.pem", test::pem(ending("22630101000000Z")));
  EXPECT_EQ(mistakes(), "");
  folder_.write("certificate.pem", test::pem(ending("00010101000000Z")));
  EXPECT_THAT(mistakes(), StartsWith("tls_certificate: it expired on "));
}

TEST_F(CertificateTest, NeedsValidTimes) {
  const auto certificate = test::certificate("a", key_, 10);
  auto* const end = X509_getm_notAfter(certificate.get());
  ASSERT_EQ(ASN1_STRING_set(end, "261332000000Z", -1), 1);  // month 13
  X509_sign(certificate.get(), key_.get(), EVP_sha256());
  folder_.write("certificate.pem", test::pem(certificate));
  EXPECT_THAT(mistakes(), StartsWith("tls_certificate: its notBefore or its notAfter is "
                                     "not a valid time; allowed: "));
}

TEST_F(CertificateTest, NeedsItsOwnKey) {
  folder_.write("key.pem", test::pem(ec_key()));
  EXPECT_THAT(mistakes(), StartsWith("tls_key: it does not belong to tls_certificate; allowed: "));
  folder_.write("key.pem", test::pem(test::rsa_key(2048)));
  EXPECT_THAT(mistakes(), StartsWith("tls_key: it does not belong to tls_certificate; allowed: "));
}

TEST_F(CertificateTest, MustStandBeforeItsIntermediates) {
  folder_.write("certificate.pem", test::pem(test::certificate("ca", ec_key(), 10)) +
                                       test::pem(test::certificate("a", key_, 10)));
  EXPECT_THAT(mistakes(), StartsWith("tls_key: it belongs to certificate 2 of tls_certificate, "
                                     "which must be the first"));
}

TEST_F(CertificateTest, NeedsAKeyWithoutAPassphrase) {
  folder_.write("key.pem", test::pem(key_, "open sesame"));
  EXPECT_THAT(mistakes(), StartsWith("tls_key: it is encrypted; allowed: "));
}

TEST_F(CertificateTest, NeedsAKeyThatIsPrivate) {
  const bool is_root = getuid() == 0;
  for (const mode_t mode : {0600U, 0400U}) {
    chmod(key_file_.c_str(), mode);
    EXPECT_EQ(mistakes(), "") << mode;
  }
  for (const mode_t mode : {0604U, 0602U, 0601U, 0660U, 0610U}) {
    chmod(key_file_.c_str(), mode);
    EXPECT_THAT(mistakes(), StartsWith("tls_key: other users may read it; allowed: ")) << mode;
  }
  chmod(key_file_.c_str(), 0640);
  EXPECT_EQ(mistakes().empty(), is_root) << "only root's file may be for its group";
  if (!is_root) return;
  ASSERT_EQ(chown(key_file_.c_str(), 12345, 12345), 0);
  EXPECT_THAT(mistakes(), StartsWith("tls_key: other users may read it; allowed: "));
}

TEST_F(CertificateTest, MustBeStrongEnoughForOpenssl) {
  const auto weak = test::rsa_key(1024);
  folder_.write("certificate.pem", test::pem(test::certificate("a", weak, 10)));
  folder_.write("key.pem", test::pem(weak));
  EXPECT_THAT(mistakes(), StartsWith("tls_certificate: OpenSSL refuses it: ee key too small"));
}
