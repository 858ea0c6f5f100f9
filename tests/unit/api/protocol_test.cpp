// Compares the tables of codes in module/PROTOCOL.md with those in the code.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cctype>
#include <fstream>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "admission/refusal_codes.hpp"
#include "relay/envelope.hpp"
#include "websocket/close_code.hpp"

namespace waystation::test {
namespace {

using testing::Contains;

/// The cells of each row of the document's tables.
std::vector<std::vector<std::string>> rows() {
  std::ifstream document(WAYSTATION_PROTOCOL);
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

TEST(Protocol, ListsExactlyTheCloseCodes) {
  std::set<int> documented;
  for (const auto& row : rows()) documented.merge(numbers(row[0], 4));
  std::set<int> known;
  for (const auto& info : kCloseCodes) known.insert(static_cast<int>(info.code));
  EXPECT_EQ(documented, known);
}

}  // namespace
}  // namespace waystation::test
