// Compares module/PROTOCOL.md, and other copies of the protocol's rules, with the code.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cctype>
#include <fstream>
#include <iterator>
#include <regex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "admission/refusal_codes.hpp"
#include "relay/envelope.hpp"
#include "relay/names.hpp"
#include "websocket/close_code.hpp"

namespace waystation::test {
namespace {

using testing::Contains;
using testing::HasSubstr;

/// A file of the repository.
std::string contents(const std::string& path) {
  std::ifstream file(std::string(WAYSTATION_SOURCE) + "/" + path);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// The cells of each row of the document's tables.
std::vector<std::vector<std::string>> rows() {
  std::ifstream document(WAYSTATION_SOURCE "/module/PROTOCOL.md");
  std::vector<std::vector<std::string>> all;
  for (std::string line; std::getline(document, line);) {
    if (line.empty() || line.front() != '|') continue;
    std::vector<std::string> cells(1);
    for (std::size_t i = 1; i < line.size(); ++i) {
      if (line[i] == '|' && line[i - 1] != '\\') {
        cells.emplace_back();
      } else {
        cells.back() += line[i];
      }
    }
    all.push_back(cells);
  }
  return all;
}

/// The numbers with this many digits in a cell.
std::set<int> numbers(const std::string& cell, std::size_t digits) {
  std::set<int> found;
  for (std::size_t i = 0; i < cell.size();) {
    std::size_t end = i;
    while (end < cell.size() && std::isdigit(static_cast<unsigned char>(cell[end])) != 0) ++end;
    if (end - i == digits) found.insert(std::stoi(cell.substr(i, digits)));
    i = std::max(end, i + 1);
  }
  return found;
}

/// The words in backticks that may be codes.
std::set<std::string> codes(const std::string& cell) {
  std::set<std::string> found;
  for (std::size_t at = cell.find('`'); at != std::string::npos; at = cell.find('`', at + 1)) {
    const auto end = cell.find('`', at + 1);
    if (end == std::string::npos) break;
    const auto word = cell.substr(at + 1, end - at - 1);
    if (!word.empty() && word.find_first_not_of("abcdefghijklmnopqrstuvwxyz_") == word.npos) {
      found.insert(word);
    }
    at = end;
  }
  return found;
}

TEST(Protocol, ListsExactlyTheRefusalCodesWithTheirStatus) {
  std::set<std::pair<int, std::string>> documented;
  for (const auto& row : rows()) {
    // In "401, 403 | `unauthenticated`; `missing_scope`" each pair is possible.
    for (const int status : row.size() > 1 ? numbers(row[0], 3) : std::set<int>{}) {
      for (const auto& code : codes(row[1])) documented.emplace(status, code);
    }
  }
  std::set<std::string> known;
  for (const auto& info : kRefusalCodes) {
    EXPECT_THAT(documented, Contains(std::pair(info.status, std::string(info.name))));
    known.emplace(info.name);
  }
  std::set<std::string> named;
  for (const auto& [status, code] : documented) {
    // The cell also names options.
    if (code.find("max_") != 0 && code != "operators") named.insert(code);
  }
  EXPECT_EQ(named, known);
}

TEST(Protocol, ListsExactlyTheErrorCodes) {
  std::set<std::string> documented;
  bool is_inside = false;
  for (const auto& row : rows()) {
    if (row[0] == " error ") {
      is_inside = true;
    } else if (is_inside) {
      if (row[0].find('`') == std::string::npos && row[0].find("---") == std::string::npos) break;
      documented.merge(codes(row[0]));
    }
  }
  EXPECT_EQ(documented, std::set<std::string>(kErrorCodeNames.begin(), kErrorCodeNames.end()));
}

TEST(Protocol, SaysWhichUserIdsAreAllowed) {
  const std::string rule =
      std::regex_replace(WAYSTATION_USER_ID_RULE, std::regex("0-9|a-z"), "`$&`");
  EXPECT_THAT(contents("module/PROTOCOL.md"), HasSubstr(rule));
  EXPECT_THAT(contents("module/EMBEDDING.md"), HasSubstr(rule));
  EXPECT_THAT(contents("embed/token_command.cpp"), HasSubstr(WAYSTATION_USER_ID_RULE));
  EXPECT_THAT(contents("module/include/waystation/waystation.h"), HasSubstr("[0-9a-z]{1,64}"));
}

TEST(Protocol, HasTheSameUserIdsInTheClientLibrary) {
  const std::string names = contents("www/src/waystation/names.ts");
  std::smatch found;
  ASSERT_TRUE(std::regex_search(names, found, std::regex("userPattern = /(.*)/;")));
  const std::regex pattern(found[1].str());
  for (int c = 0; c < 128; ++c) {
    const std::string text(1, static_cast<char>(c));
    EXPECT_EQ(std::regex_match(text, pattern), is_user_id(text)) << c;
  }
  for (std::size_t size = 0; size < 2 * kMaxUserBytes; ++size) {
    const std::string text(size, 'a');
    EXPECT_EQ(std::regex_match(text, pattern), is_user_id(text)) << size;
  }
  EXPECT_THAT(names, HasSubstr("maxUserLength = " + std::to_string(kMaxUserBytes) + ";"));
}

TEST(Protocol, ListsExactlyTheCloseCodes) {
  std::set<int> documented;
  for (const auto& row : rows()) documented.merge(numbers(row[0], 4));
  std::set<int> known;
  for (const auto& info : kCloseCodes) known.insert(static_cast<int>(info.code));
  EXPECT_EQ(documented, known);
}

}  // namespace
}  // namespace waystation::test
