#include "websocket/close_code.hpp"

#include <gtest/gtest.h>

#include "base/utf8.hpp"

namespace waystation::test {
namespace {

TEST(CloseCode, KnowsWhichCodesAPeerMaySend) {
  // Sections 7.4.1 and 7.4.2, and 1012 to 1014 from the IANA registry.
  for (unsigned code = 0; code <= 0xFFFF; ++code) {
    const bool of_the_protocol = (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014);
    const bool of_libraries_and_applications = code >= 3000 && code <= 4999;
    EXPECT_EQ(may_be_sent(static_cast<std::uint16_t>(code)),
              of_the_protocol || of_libraries_and_applications)
        << code;
  }
}

TEST(CloseCode, ServerCodesAreValidAndTheirReasonsFit) {
  for (const auto code :
       {CloseCode::normal, CloseCode::going_away, CloseCode::protocol_error,
        CloseCode::unsupported_data, CloseCode::invalid_payload, CloseCode::policy_violation,
        CloseCode::message_too_big, CloseCode::internal_error, CloseCode::try_again_later,
        CloseCode::token_expired, CloseCode::ended_by_administrator,
        CloseCode::receiver_too_slow}) {
    EXPECT_TRUE(may_be_sent(static_cast<std::uint16_t>(code)));
    EXPECT_LE(close_reason(code).size(), 123U);
    EXPECT_TRUE(is_utf8(close_reason(code)));
    EXPECT_EQ(close_reason(code).empty(), code == CloseCode::normal);
  }
  EXPECT_EQ(close_reason(CloseCode::no_status), "");
}

TEST(CloseCode, HasTheNumbersOfTheProtocol) {
  EXPECT_EQ(static_cast<int>(CloseCode::going_away), 1001);
  EXPECT_EQ(static_cast<int>(CloseCode::protocol_error), 1002);
  EXPECT_EQ(static_cast<int>(CloseCode::unsupported_data), 1003);
  EXPECT_EQ(static_cast<int>(CloseCode::invalid_payload), 1007);
  EXPECT_EQ(static_cast<int>(CloseCode::policy_violation), 1008);
  EXPECT_EQ(static_cast<int>(CloseCode::message_too_big), 1009);
  EXPECT_EQ(static_cast<int>(CloseCode::internal_error), 1011);
  EXPECT_EQ(static_cast<int>(CloseCode::try_again_later), 1013);
  EXPECT_EQ(static_cast<int>(CloseCode::token_expired), 4401);
  EXPECT_EQ(static_cast<int>(CloseCode::ended_by_administrator), 4403);
  EXPECT_EQ(static_cast<int>(CloseCode::receiver_too_slow), 4408);
}

}  // namespace
}  // namespace waystation::test
