#include "embed/configuration.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "embed/configuration_file.hpp"
#include "embed/small_file.hpp"

using namespace waystation::server;
using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::EndsWith;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

namespace {

/// A test's folder, deleted by the destructor.
class ConfigurationTest : public testing::Test {
 protected:
  ConfigurationTest() {
    std::string name = std::filesystem::temp_directory_path() / "waystation-XXXXXX";
    folder_ = mkdtemp(name.data());
    path_ = (folder_ / "site.toml").string();
  }
  ~ConfigurationTest() override { std::filesystem::remove_all(folder_); }

  std::string write(const std::string& name, std::string_view text) {
    const auto path = (folder_ / name).string();
    std::ofstream{path} << text;
    return path;
  }

  /// The error lines for a file with this text; empty if it is accepted.
  std::string refusal(std::string_view text) {
    sources_.file = write("site.toml", text);
    return refusal();
  }

  std::string refusal() {
    try {
      auto configuration = read_configuration(sources_);
      check_configuration(configuration);
      configuration.throw_mistakes();
    } catch (const ConfigurationError& error) {
      for (const auto& line : error.lines()) {
        EXPECT_EQ(line.find('\n'), std::string_view::npos);
      }
      return error.what();
    }
    return {};
  }

  std::filesystem::path folder_;
  std::string path_;  // the file that refusal() writes
  ConfigurationSources sources_;
};

}  // namespace

TEST_F(ConfigurationTest, IsValidWithoutAnySource) {
  const auto configuration = load_configuration(sources_);
  EXPECT_THAT(configuration.settings.list("listen"), ElementsAre("127.0.0.1:8080"));
  EXPECT_EQ(configuration.origin("listen"), "default");
  EXPECT_THAT(configuration.warnings, IsEmpty());
}

TEST_F(ConfigurationTest, ReadsEveryTypeFromAFile) {
  sources_.file = write("site.toml",
                        "# a comment\n"
                        "listen = [\"127.0.0.1:1\", \"127.0.0.2:2\"]\n"
                        "max_connections = 20_000\n"
                        "allow_query_token = true\n"
                        "www = ''\n");
  const auto configuration = load_configuration(sources_);
  EXPECT_THAT(configuration.settings.list("listen"), ElementsAre("127.0.0.1:1", "127.0.0.2:2"));
  EXPECT_EQ(configuration.settings.number("max_connections"), 20000);
  EXPECT_TRUE(configuration.settings.flag("allow_query_token"));
  EXPECT_EQ(configuration.settings.text("www"), "");
  EXPECT_EQ(configuration.origin("max_connections"), *sources_.file + ":3");
  EXPECT_EQ(configuration.origin("max_message_bytes"), "default");
}

TEST_F(ConfigurationTest, AcceptsAnEmptyFile) {
  EXPECT_EQ(refusal(""), "");
}

TEST_F(ConfigurationTest, FlagsOverrideVariablesWhichOverrideTheFile) {
  sources_.file = write("site.toml", "max_connections = 1\nmessage_burst = 2\nwww = 'file'\n");
  sources_.environment = {{"WAYSTATION_MAX_CONNECTIONS", "3"}, {"WAYSTATION_MESSAGE_BURST", "4"}};
  sources_.flags = {{"max_connections", {"5"}}};
  const auto configuration = load_configuration(sources_);
  EXPECT_EQ(configuration.settings.number("max_connections"), 5);
  EXPECT_EQ(configuration.settings.number("message_burst"), 4);
  EXPECT_EQ(configuration.settings.text("www"), "file");
  EXPECT_EQ(configuration.settings.number("max_queue_bytes"), 1048576);
  EXPECT_EQ(configuration.origin("max_connections"), "--max-connections");
  EXPECT_EQ(configuration.origin("message_burst"), "WAYSTATION_MESSAGE_BURST");
  EXPECT_EQ(configuration.origin("www"), *sources_.file + ":3");
}

TEST_F(ConfigurationTest, ReplacesListsOfOtherSources) {
  sources_.file = write("site.toml", "operators = ['10.0.0.1']\n");
  sources_.environment = {{"WAYSTATION_OPERATORS", "10.0.0.2,10.0.0.3"}};
  EXPECT_THAT(load_configuration(sources_).settings.list("operators"),
              ElementsAre("10.0.0.2", "10.0.0.3"));
  sources_.flags = {{"operators", {"10.0.0.4", "10.0.0.5,10.0.0.6"}}};
  EXPECT_THAT(load_configuration(sources_).settings.list("operators"),
              ElementsAre("10.0.0.4", "10.0.0.5", "10.0.0.6"));
}

TEST_F(ConfigurationTest, ReadsAnEmptyVariableAsAnEmptyValue) {
  sources_.environment = {{"WAYSTATION_WWW", ""}, {"WAYSTATION_OPERATORS", ""}};
  const auto configuration = load_configuration(sources_);
  EXPECT_EQ(configuration.settings.text("www"), "");
  EXPECT_THAT(configuration.settings.list("operators"), IsEmpty());
}

TEST_F(ConfigurationTest, NamesFileAndLineOfAnUnknownKey) {
  EXPECT_EQ(refusal("www = ''\nmax_conections = 1\n"),
            path_ + ":2: \"max_conections\" is not an option; did you mean max_connections?");
  EXPECT_THAT(refusal("quite_another = 1\n"), HasSubstr("`waystation config show`"));
  EXPECT_THAT(refusal("[server]\nwww = ''\n"), HasSubstr(":1: \"server\" is not an option"));
}

TEST_F(ConfigurationTest, NamesKeyValueAndLineOfAWrongType) {
  EXPECT_EQ(
      refusal("\nmax_connections = 'many'\n"),
      "max_connections = \"many\": not a whole number; allowed: 0 to 10000000 (" + path_ + ":2)");
  EXPECT_EQ(
      refusal("max_connections = 1_0.5e6 # many\n"),
      "max_connections = 1_0.5e6: not a whole number; allowed: 0 to 10000000 (" + path_ + ":1)");
  EXPECT_THAT(refusal("www = ''\r\n\r\nmax_connections\t=\t1e6\r\n"),
              StartsWith("max_connections = 1e6: not a whole number"));
  EXPECT_THAT(refusal("max_connections = 1." + std::string(99, '0')),
              StartsWith("max_connections = 1." + std::string(38, '0') + "…: not a whole number"));
  EXPECT_THAT(refusal("max_connections = true\n"), HasSubstr("max_connections = true"));
  EXPECT_THAT(refusal("max_connections = -1\n"),
              HasSubstr("max_connections = -1: out of range; allowed: 0 to 10000000"));
  EXPECT_THAT(refusal("max_connections = [1]\n"), HasSubstr("a list with other entries"));
  EXPECT_THAT(refusal("max_connections = 10000001\n"), HasSubstr("max_connections = 10000001"));
  EXPECT_EQ(
      refusal("listen = '127.0.0.1:1'\n"),
      "listen = \"127.0.0.1:1\": not a list; write listen = [\"127.0.0.1:1\"] (" + path_ + ":1)");
  EXPECT_THAT(refusal("listen = [8080]\n"), HasSubstr("not a list of texts"));
  EXPECT_THAT(refusal("allow_open_network = 1\n"), HasSubstr("allowed: true or false"));
  EXPECT_THAT(refusal("www = 2020-01-01 10:00:00\n"),
              StartsWith("www = 2020-01-01 10:00:00: not a text"));
  EXPECT_THAT(refusal("www.root = 'x'\n"), HasSubstr("a table"));
}

TEST_F(ConfigurationTest, NamesTheLineOfATomlSyntaxError) {
  EXPECT_THAT(refusal("www = ''\nlisten = [\n"), HasSubstr("site.toml:"));
  EXPECT_THAT(refusal("www = ''\nlisten = [\n"), HasSubstr("not TOML: "));
  EXPECT_THAT(refusal("www = ''\nwww = ''\n"), HasSubstr(":2: not TOML: "));
  EXPECT_THAT(refusal("www = '\xff'\n"), HasSubstr("not TOML: "));
  EXPECT_THAT(refusal("auth = jwt\n"),
              EndsWith("; allowed: each key once, as KEY = VALUE, texts in "
                       "quotes: auth = \"jwt\""));
}

TEST_F(ConfigurationTest, NamesAnUnreadableFile) {
  sources_.file = (folder_ / "none.toml").string();
  EXPECT_THAT(refusal(), HasSubstr("none.toml\": cannot be read"));
  sources_.file = folder_.string();
  EXPECT_THAT(refusal(), HasSubstr("a directory; allowed: "));
}

TEST_F(ConfigurationTest, ReadsNothingButARegularFile) {
  // To open or to read these would wait for ever.
  sources_.file = (folder_ / "pipe").string();
  ASSERT_EQ(mkfifo(sources_.file->c_str(), 0600), 0);
  EXPECT_THAT(refusal(), HasSubstr("pipe\": not a regular file; allowed: the path of a TOML file, "
                                   "a regular file of at most 1 MiB"));
  sources_.file = "/dev/zero";
  EXPECT_THAT(refusal(), HasSubstr("not a regular file"));
}

TEST_F(ConfigurationTest, ReadsAFileOfAtMostAMebibyte) {
  std::string text(kMaxSmallFileBytes, '\n');
  EXPECT_EQ(refusal(text), "");
  text += '\n';
  EXPECT_THAT(refusal(text), HasSubstr(": too large; allowed: "));
}

TEST_F(ConfigurationTest, RefusesAKeyOfTooManyPartsBeforeItIsParsed) {
  const auto dotted = [](std::size_t parts) {
    std::string key = "a";
    while (--parts != 0) key += " . a";
    return key;
  };
  const auto too_long = path_ + ":2: a key has too many parts; allowed: at most 16";
  EXPECT_THAT(refusal("\n" + dotted(16) + " = 1\n"), HasSubstr("\"a\""));
  EXPECT_EQ(refusal("\n" + dotted(17) + " = 1\n"), too_long);
  EXPECT_EQ(refusal("\n[" + dotted(17) + "]\n"), too_long);
  EXPECT_EQ(refusal("\nx = [{ b = 1, " + dotted(40'000) + " = 1 }]\n"), too_long);
  // No string or comment before the key hides it.
  for (const auto* before : {R"(x = ["""a
"""", {)",
                             R"(x = ['''
''''', {)",
                             R"(# """
x = {)",
                             R"(#
x = { "\"".)",
                             R"(#
x = { '\'.)",
                             R"(#
x = { "" = '', )"}) {
    EXPECT_EQ(refusal(before + dotted(40'000) + " = 1"), too_long) << before;
  }
}

TEST_F(ConfigurationTest, TakesDotsInStringsCommentsAndNumbers) {
  const std::string dots(100, '.');
  std::string text = R"(# DOTS
jwt_issuer = """DOTS
"DOTS"""
www = 'DOTS' # DOTS
jwt_audience = ["\"DOTS", '''DOTS''']
)";
  for (std::size_t at = 0; (at = text.find("DOTS", at)) != std::string::npos;) {
    text.replace(at, 4, dots);
  }
  EXPECT_EQ(refusal(text), "");
  std::string numbers = "x = [1.5";
  for (int i = 0; i < 100; ++i) numbers += ", 1.5";
  EXPECT_NO_THROW(bound_nesting(numbers + "]\n", path_));
}

TEST_F(ConfigurationTest, BoundsTheLevelsThatAFileNests) {
  const auto nested = [&](std::size_t levels) {
    std::string text = "\nwww = ";
    for (std::size_t i = 0; i < levels; ++i) text += "{ a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a = ";
    text += "1";
    for (std::size_t i = 0; i < levels; ++i) text += " }";
    return refusal(text);
  };
  const auto too_deep = path_ + ":2: nested too deeply; allowed: at most 16 levels";
  EXPECT_THAT(nested(16), HasSubstr("www = a table"));
  EXPECT_EQ(nested(17), too_deep);
  EXPECT_EQ(nested(20'000), too_deep);
  EXPECT_EQ(refusal("\nwww = " + std::string(100'000, '[')), too_deep);
}

TEST_F(ConfigurationTest, NamesTheVariableOrFlagOfAnError) {
  sources_.environment = {{"WAYSTATION_AUTH", "none"}};
  EXPECT_EQ(refusal(),
            "auth = \"none\": unknown value; allowed: open, jwt or header (WAYSTATION_AUTH)");
  sources_.flags = {{"auth", {"nobody"}}};
  sources_.environment.clear();
  EXPECT_EQ(refusal(), "auth = \"nobody\": unknown value; allowed: open, jwt or header (--auth)");
}

TEST_F(ConfigurationTest, SaysThatAnIntegerIsOutOfRange) {
  for (const auto* text : {"-5", "99999999999999999999999"}) {
    sources_.flags = {{"max_connections", {text}}};
    EXPECT_EQ(refusal(), "max_connections = \"" + std::string{text} +
                             "\": out of range; allowed: 0 to 10000000 (--max-connections)");
  }
  for (const auto* text : {"", "-", "5-", "1e3", "0x5"}) {
    sources_.flags = {{"max_connections", {text}}};
    EXPECT_THAT(refusal(), HasSubstr(": not a whole number; allowed: 0 to 10000000")) << text;
  }
}

TEST_F(ConfigurationTest, RefusesBytesThatATomlFileCannotContain) {
  sources_.flags["jwt_issuer"] = {"us\xff"};
  EXPECT_EQ(refusal(),
            "jwt_issuer = \"us\xEF\xBF\xBD\": not UTF-8; allowed: any text (--jwt-issuer)");
  sources_.flags["jwt_issuer"] = {"\xC3\xA9"};
  EXPECT_EQ(refusal(), "");
}

TEST_F(ConfigurationTest, RefusesARepeatedFlag) {
  sources_.flags = {{"www", {"a", "b"}}};
  EXPECT_EQ(refusal(), "--www: given 2 times; allowed: once");
}

TEST_F(ConfigurationTest, WarnsOfAVariableThatResemblesAnOption) {
  sources_.environment = {{"WAYSTATION_MAX_CONECTIONS", "1"}, {"WAYSTATION_SOMETHING_ELSE", "1"}};
  EXPECT_THAT(load_configuration(sources_).warnings,
              ElementsAre("the variable WAYSTATION_MAX_CONECTIONS sets no option; did you mean "
                          "WAYSTATION_MAX_CONNECTIONS?"));
}

TEST_F(ConfigurationTest, LimitsOpenModeToLoopbackUnlessAllowed) {
  EXPECT_THAT(refusal("listen = ['127.0.0.1:1', '0.0.0.0:2']\n"),
              HasSubstr("listen = \"0.0.0.0:2\""));
  EXPECT_THAT(refusal("listen = ['192.0.2.7:1']\n"), HasSubstr("allow_open_network"));
  EXPECT_EQ(refusal("listen = ['0.0.0.0:1']\nallow_open_network = true\n"), "");
  EXPECT_EQ(refusal("listen = ['0.0.0.0:1']\nauth = 'header'\ntrusted_proxies = ['10.0.0.1']\n"),
            "");
}

TEST_F(ConfigurationTest, RefusesMissingAndRepeatedListeners) {
  EXPECT_THAT(refusal("listen = []\n"), HasSubstr("listen = []: no address"));
  EXPECT_THAT(refusal("listen = ['127.0.0.1:1', '127.0.0.1:1']\n"), HasSubstr("once"));
  EXPECT_EQ(refusal("listen = ['127.0.0.1:0', '127.0.0.1:0']\n"), "");
}

TEST_F(ConfigurationTest, RefusesToTrustAllAddresses) {
  EXPECT_THAT(refusal("trusted_proxies = ['10.0.0.1', '0.0.0.0/0']\n"), HasSubstr("every address"));
  EXPECT_THAT(refusal("trusted_proxies = ['::/0']\n"), HasSubstr("every address"));
}

TEST_F(ConfigurationTest, RequiresTheOptionsOfTheAuthMode) {
  EXPECT_THAT(refusal("auth = 'header'\n"),
              HasSubstr("trusted_proxies = []: auth = \"header\" needs"));
  EXPECT_EQ(refusal("auth = 'header'\nhandover = '/run/door'\n"), "");
  EXPECT_THAT(refusal("auth = 'jwt'\n"),
              HasSubstr("jwt_key_file = \"\": tokens need a file of keys"));
  EXPECT_THAT(refusal("auth = 'jwt'\njwt_key_file = '/no/such/file'\n"),
              HasSubstr("jwt_key_file = \"/no/such/file\""));
  const auto key = write("key", "c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0IHNlY3JldCBzZWNyZXQ=\n");
  std::filesystem::permissions(key, std::filesystem::perms::owner_read);
  EXPECT_EQ(refusal("auth = 'jwt'\njwt_key_file = '" + key + "'\n"), "");
}

TEST_F(ConfigurationTest, RequiresAQueueThatHoldsAMessage) {
  EXPECT_THAT(refusal("max_queue_bytes = 65536\n"),
              AllOf(HasSubstr("max_queue_bytes = 65536: too small"),
                    HasSubstr("allowed: at least 66560 (" + path_ + ":1)")));
  EXPECT_EQ(refusal("max_queue_bytes = 66560\n"), "");
  EXPECT_THAT(refusal("max_message_bytes = 1048576\n"),
              AllOf(HasSubstr("max_queue_bytes = 1048576: too small"), HasSubstr("(default)")));
  EXPECT_THAT(refusal("max_total_queue_bytes = 1048575\n"), HasSubstr("max_total_queue_bytes"));
}

TEST_F(ConfigurationTest, ShowsAFileWithTheSameMeaning) {
  sources_.file = write("site.toml", "max_connections = 7\nwww = \"a\\\"b\"\n");
  sources_.environment = {{"WAYSTATION_OPERATORS", "10.0.0.2,10.0.0.3"}};
  sources_.flags = {{"log_format", {"json"}}};
  const auto configuration = load_configuration(sources_);
  const auto text = show_configuration(configuration);
  EXPECT_THAT(text, HasSubstr("max_connections = 7  # " + *sources_.file + ":1\n"));
  EXPECT_THAT(text,
              HasSubstr("operators = [\"10.0.0.2\", \"10.0.0.3\"]  # WAYSTATION_OPERATORS\n"));
  EXPECT_THAT(text, HasSubstr("log_format = \"json\"  # --log-format\n"));
  EXPECT_THAT(text, HasSubstr("log_level = \"info\"  # default\n"));

  ConfigurationSources again;
  again.file = write("shown.toml", text);
  const auto same = load_configuration(again);
  for (const auto& option : all_options()) {
    EXPECT_EQ(same.settings.value(option), configuration.settings.value(option)) << option.key;
  }
}

TEST_F(ConfigurationTest, ShowsNoPasswordOfAnEngine) {
  const std::string sentinel = "redis+sentinel://me:pass@a:1,b:2/main";
  sources_.file =
      write("site.toml", "cluster = ['" + sentinel + "', 'redis://:pass@c', 'unix:///x']\n");
  const auto shown =
      R"(cluster = ["redis+sentinel://:***@a:1,b:2/main", "redis://:***@c", "unix:///x"]  # )";
  EXPECT_THAT(show_configuration(load_configuration(sources_)), HasSubstr(shown));
  // A flag is divided at the commas. This password has one.
  sources_.flags = {{"cluster", {"redis://:one,pass@h"}}};
  EXPECT_THAT(show_configuration(load_configuration(sources_)),
              HasSubstr(R"(cluster = ["redis://:***@h"]  # --cluster)"));
  sources_.flags.clear();
  const auto long_entry = "redis://:" + std::string(300, 'p') + "pass@h\\n";
  const std::vector<std::string> values{"'redis://:pass@h'", R"(["redis://:pass@h\n"])",
                                        "[\"" + long_entry + "\"]", "['http://:pass@h']"};
  for (const auto& value : values) {
    const auto problem = refusal("cluster = " + value + "\n");
    EXPECT_THAT(problem, HasSubstr("cluster = "));
    EXPECT_EQ(problem.find("pass@"), std::string::npos) << problem;
    EXPECT_EQ(problem.find("ppp"), std::string::npos) << problem;
  }
}

TEST_F(ConfigurationTest, ReportsAllErrorsWithTheirSources) {
  sources_.file = write("site.toml",
                        "listen = ['127.0.0.1:1']\n\n\n\n\n\n"
                        "max_connections = 'many'\n"
                        "operators = ['x', '::1', 'y']\n"
                        "messages_a_second = 7\n"
                        "messages_a_minute = 7\n"
                        "auth = 'jwt'\n");
  sources_.environment = {{"WAYSTATION_PING_INTERVAL_SECONDS", "0"}};
  sources_.flags = {{"node_name", {"no name"}}, {"listen", {"localhost:1", "127.0.0.1:1,x"}}};
  auto configuration = read_configuration(sources_);
  check_configuration(configuration);
  try {
    configuration.throw_mistakes();
    FAIL();
  } catch (const ConfigurationError& error) {
    // In the order of the file's lines, then of the options.
    EXPECT_THAT(
        error.lines(),
        ElementsAre(AllOf(StartsWith("max_connections = \"many\": "), EndsWith(":7)")),
                    AllOf(StartsWith("operators = \"x\": "), EndsWith(" (" + path_ + ":8)")),
                    AllOf(StartsWith("operators = \"y\": "), EndsWith(" (" + path_ + ":8)")),
                    HasSubstr(":9: \"messages_a_second\" is not an option"),
                    HasSubstr(":10: \"messages_a_minute\" is not an option"),
                    AllOf(StartsWith("listen = \"localhost:1\": "), EndsWith(" (--listen)")),
                    AllOf(StartsWith("listen = \"x\": "), EndsWith(" (--listen)")),
                    AllOf(StartsWith("jwt_key_file = \"\": "), EndsWith(" (default)")),
                    "ping_interval_seconds = 0: out of range; allowed: 1 to 3600 "
                    "(WAYSTATION_PING_INTERVAL_SECONDS)",
                    AllOf(StartsWith("node_name = \"no name\": "), EndsWith(" (--node-name)"))));
  }
}

TEST_F(ConfigurationTest, ReportsAFileThatCannotBeReadWithTheOtherMistakes) {
  sources_.file = "/nowhere/none.toml";
  // Valid only together with values that the file may have.
  sources_.environment = {{"WAYSTATION_AUTH", "jwt"}};
  sources_.flags = {{"max_connections", {"many"}}};
  sources_.mistakes = {"--colour is not an option"};
  auto configuration = read_configuration(sources_);
  EXPECT_THAT(check_configuration(configuration), IsEmpty());
  try {
    configuration.throw_mistakes();
    FAIL();
  } catch (const ConfigurationError& error) {
    EXPECT_THAT(error.lines(),
                ElementsAre(StartsWith("max_connections = \"many\": "), "--colour is not an option",
                            HasSubstr("none.toml\": cannot be read: No such file")));
  }
}

TEST_F(ConfigurationTest, IgnoresErrorsOfOverriddenSources) {
  sources_.environment = {{"WAYSTATION_MAX_CONNECTIONS", "many"}};
  sources_.flags = {{"max_connections", {"3"}}};
  EXPECT_EQ(refusal(), "");
}

TEST_F(ConfigurationTest, ReturnsTheLibrarysWarningsWithTheirSources) {
  sources_.flags = {{"allow_open_network", {"true"}}};
  auto configuration = read_configuration(sources_);
  EXPECT_THAT(check_configuration(configuration),
              ElementsAre(AllOf(StartsWith("allow_open_network = true: "),
                                EndsWith(" (--allow-open-network)"))));
}
