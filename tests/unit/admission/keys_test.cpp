#include "admission/keys.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "unit/admission/signing.hpp"

namespace waystation::test {
namespace {

using testing::HasSubstr;
using testing::Not;

const std::string kSecret(32, 's');

using Ring = std::shared_ptr<const KeyRing>;

Ring ring(std::string_view text) {
  auto parsed = KeyRing::parse(text);
  if (!parsed) {
    ADD_FAILURE() << parsed.error();
    return std::make_shared<const KeyRing>();
  }
  return *parsed;
}

std::string problem(std::string_view text) {
  const auto parsed = KeyRing::parse(text);
  return parsed ? "none" : parsed.error();
}

TEST(KeyRing, ReadsSecretsWithAndWithoutAnId) {
  const Ring keys = ring("# comment\n\n" + test::base64(kSecret) +
                         "\r\n  2024:05:" + test::base64url(std::string(33, '\0')) + "  \n");
  ASSERT_EQ(keys->keys().size(), 2U);
  EXPECT_EQ(keys->keys()[0].id, "");
  EXPECT_EQ(keys->keys()[0].algorithm, Algorithm::hs256);
  EXPECT_EQ(keys->keys()[0].verify, kSecret);
  EXPECT_EQ(keys->keys()[0].sign, kSecret);
  EXPECT_EQ(keys->keys()[1].id, "2024:05");
  EXPECT_EQ(keys->keys()[1].verify, std::string(33, '\0'));
}

TEST(KeyRing, ReadsPublicKeysWhichCannotSign) {
  const Ring keys = ring("rsa:\n" + test::public_pem(test::rsa_key()) + "\nec:\n# and why not\n" +
                         test::public_pem(test::ec_key()));
  ASSERT_EQ(keys->keys().size(), 2U);
  EXPECT_EQ(keys->keys()[0].id, "rsa");
  EXPECT_EQ(keys->keys()[0].algorithm, Algorithm::rs256);
  EXPECT_EQ(keys->keys()[0].sign, "");
  EXPECT_EQ(keys->keys()[1].id, "ec");
  EXPECT_EQ(keys->keys()[1].algorithm, Algorithm::es256);
  EXPECT_EQ(keys->keys()[1].sign, "");
}

TEST(KeyRing, ReadsPrivateKeysInEitherForm) {
  for (const auto& pem :
       {test::private_pem(test::rsa_key()), test::traditional_pem(test::rsa_key())}) {
    const Ring keys = ring(pem);
    ASSERT_EQ(keys->keys().size(), 1U);
    EXPECT_EQ(keys->keys()[0].algorithm, Algorithm::rs256);
    EXPECT_EQ(keys->keys()[0].verify, test::public_pem(test::rsa_key()));
    EXPECT_EQ(keys->keys()[0].sign, test::private_pem(test::rsa_key()));
  }
  const auto ec = test::ec_key();
  const Ring keys = ring(
      "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n"
      "-----END EC PARAMETERS-----\n" +
      test::traditional_pem(ec));
  ASSERT_EQ(keys->keys().size(), 1U);
  EXPECT_EQ(keys->keys()[0].verify, test::public_pem(ec));
  EXPECT_EQ(keys->keys()[0].sign, test::private_pem(ec));
}

TEST(KeyRing, RefusesWeakKeys) {
  EXPECT_THAT(problem(test::base64(std::string(31, 's'))),
              HasSubstr("line 1: a secret must have at least 32 bytes, and this one has 31"));
  EXPECT_THAT(problem(test::public_pem(test::hold(EVP_RSA_gen(1024)))), HasSubstr("at least 2048"));
  EXPECT_THAT(problem(test::public_pem(test::ec_key("P-384"))), HasSubstr("P-256"));
  EXPECT_THAT(problem(test::public_pem(test::ec_key("secp256k1"))), HasSubstr("P-256"));
  EXPECT_THAT(problem(test::public_pem(test::hold(EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519")))),
              HasSubstr("RSA or EC"));
}

TEST(KeyRing, NeverAsksForAPassphrase) {
  EXPECT_THAT(problem(test::encrypted_pem(test::rsa_key())), HasSubstr("without a passphrase"));
}

TEST(KeyRing, NamesTheWrongLineWithoutItsContent) {
  struct Case {
    std::string text;
    const char* problem;
  };
  const std::string good = test::base64(kSecret) + "\n";
  for (const auto& [text, expected] : {
           Case{"", "no key"},
           Case{"# only a comment", "no key"},
           Case{good + "hunter2!", "line 2: neither"},
           Case{good + "my id:" + good, "line 2: a key id"},
           Case{good + ":" + good, "line 2: a key id"},
           Case{good + "id:\n", "without a key after it"},
           Case{good + "id:\n" + good, "line 3: a key id alone"},
           Case{good + "-----BEGIN PUBLIC KEY-----\nAAAA\n", "no END line"},
           Case{good + "-----BEGIN PUBLIC KEY\n", "must end in"},
           Case{good + "-----BEGIN -----\n-----END -----\n",
                "line 2: a block \"\" is not supported"},
           Case{good + "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
                "line 2: the public key cannot be read"},
           Case{good + "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
                "line 2: a block \"CERTIFICATE\" is not supported"},
       }) {
    EXPECT_THAT(problem(text), HasSubstr(expected)) << text;
    EXPECT_THAT(problem(text), Not(HasSubstr("hunter2")));
  }
}

TEST(KeyRing, BoundsTheNumberOfKeys) {
  std::string text;
  for (int i = 0; i < 32; ++i) text += test::base64(kSecret) + "\n";
  EXPECT_EQ(ring(text)->keys().size(), 32U);
  EXPECT_THAT(problem(text + test::base64(kSecret)), HasSubstr("more than 32"));
}

TEST(KeyRing, IsLoadedFromAPrivateFileOnly) {
  test::Folder folder;
  const std::string path = folder.file("keys", test::base64(kSecret));
  for (const mode_t mode : {mode_t{0600}, mode_t{0400}}) {
    chmod(path.c_str(), mode);
    EXPECT_TRUE(KeyRing::load(path));
  }
  // The group may read a file of root. If the test runs as root, it uses another user's file.
  if (geteuid() == 0) {
    ASSERT_EQ(chown(path.c_str(), 4711, 4711), 0);
  }
  for (const mode_t mode : {mode_t{0640}, mode_t{0604}, mode_t{0620}, mode_t{0602}, mode_t{0644}}) {
    chmod(path.c_str(), mode);
    const auto loaded = KeyRing::load(path);
    ASSERT_FALSE(loaded) << mode;
    EXPECT_THAT(loaded.error(), HasSubstr("chmod 600"));
  }
}

TEST(KeyFile, HasAPathThatIsNoKey) {
  test::Folder folder;
  const std::string secret = test::base64(kSecret);
  for (const std::string& key :
       {secret, "2024:" + secret, "2024: " + secret + " ", "# mine\n" + secret,
        std::string("-----BEGIN PRIVATE KEY----- MII")}) {
    EXPECT_TRUE(is_pasted_key(key)) << key;
  }
  for (const std::string& path : {std::string(), std::string("keys"), folder.path() + "/none.key",
                                  test::base64(std::string(31, 's'))}) {
    EXPECT_FALSE(is_pasted_key(path)) << path;
  }
  // A file may have any name.
  const std::string path = folder.file("line\nBEGIN ", "");
  EXPECT_FALSE(is_pasted_key(path));
}

TEST(KeyFile, HasAPathThatIsNoTextWhereAKeyMayBeAnyText) {
  test::Folder folder;
  for (const std::string& key :
       {std::string("00112233445566778899aabbccddeeff"), test::base64(std::string(18, 's')),
        std::string("correct horse battery staple"), test::base64(std::string(32, '\xff'))}) {
    EXPECT_TRUE(is_pasted_text(key)) << key;
  }
  EXPECT_FALSE(is_pasted_text(folder.path() + "/none.key"));
  EXPECT_FALSE(is_pasted_text(folder.file("00112233445566778899aabbccddeeff", "")));
  const auto error = withheld_path("handover_key_file", "a file");
  EXPECT_EQ(error.option, "handover_key_file");
  EXPECT_EQ(
      error.message,
      "handover_key_file = (withheld: it may be a key): no such file, or a key instead of the "
      "path of its file; allowed: a file");
}

TEST(KeyFile, IsPrivateIfOnlyItsOwnerOrTheGroupOfRootCanReadIt) {
  struct Case {
    mode_t mode;
    uid_t owner;
    bool is_private;
  };
  constexpr uid_t kRoot = 0;
  constexpr uid_t kService = 990;
  for (const auto& [mode, owner, is_private] : {
           Case{0600, kService, true},
           Case{0400, kService, true},
           Case{0700, kService, true},
           Case{0640, kService, false},
           Case{0604, kService, false},
           Case{0644, kService, false},
           Case{0600, kRoot, true},
           Case{0640, kRoot, true},
           Case{0440, kRoot, true},
           Case{0660, kRoot, false},
           Case{0650, kRoot, false},
           Case{0644, kRoot, false},
           Case{0642, kRoot, false},
       }) {
    EXPECT_EQ(is_private_key_file(S_IFREG | mode, owner), is_private)
        << std::oct << mode << std::dec << " " << owner;
  }
}

TEST(KeyRing, IsLoadedFromARegularFileOnly) {
  test::Folder folder;
  const auto problem_of = [](const std::string& path) {
    const auto loaded = KeyRing::load(path);
    return loaded ? "none" : loaded.error();
  };
  const std::string pipe = folder.forget("pipe");
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  EXPECT_THAT(problem_of(pipe), HasSubstr("not a regular file"));  // and it does not wait
  EXPECT_THAT(problem_of(folder.path()), HasSubstr("not a regular file"));
  EXPECT_THAT(problem_of("/dev/null"), HasSubstr("not a regular file"));
  EXPECT_THAT(problem_of(folder.path() + "/none"), HasSubstr("cannot be opened"));
  EXPECT_THAT(problem_of(folder.file("large", std::string((1 << 20) + 1, '#'))),
              HasSubstr("larger than 1 MiB"));
}

}  // namespace
}  // namespace waystation::test
