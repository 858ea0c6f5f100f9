#include "websocket/frame_writer.hpp"

#include <gtest/gtest.h>

#include <string>

namespace waystation::test {
namespace {

using namespace std::string_literals;

std::string header(Opcode opcode, std::uint64_t size) {
  return std::string(FrameHeader(opcode, size).view());
}

TEST(FrameHeader, IsWholeAndUnmasked) {
  EXPECT_EQ(header(Opcode::text, 5), "\x81\x05"s);
  EXPECT_EQ(header(Opcode::binary, 5), "\x82\x05"s);
  EXPECT_EQ(header(Opcode::close, 2), "\x88\x02"s);
  EXPECT_EQ(header(Opcode::ping, 0), "\x89\x00"s);
  EXPECT_EQ(header(Opcode::pong, 125), "\x8A\x7D"s);
}

TEST(FrameHeader, UsesTheShortestFormOfTheLength) {
  EXPECT_EQ(header(Opcode::text, 0), "\x81\x00"s);
  EXPECT_EQ(header(Opcode::text, 125), "\x81\x7D"s);
  EXPECT_EQ(header(Opcode::text, 126), "\x81\x7E\x00\x7E"s);
  EXPECT_EQ(header(Opcode::text, 0x1234), "\x81\x7E\x12\x34"s);
  EXPECT_EQ(header(Opcode::text, 65535), "\x81\x7E\xFF\xFF"s);
  EXPECT_EQ(header(Opcode::text, 65536), "\x81\x7F\x00\x00\x00\x00\x00\x01\x00\x00"s);
  EXPECT_EQ(header(Opcode::text, 0x0102030405060708), "\x81\x7F\x01\x02\x03\x04\x05\x06\x07\x08"s);
}

TEST(ClosePayload, IsTheCodeAndTheReason) {
  EXPECT_EQ(close_payload(CloseCode::normal, ""), "\x03\xE8"s);
  EXPECT_EQ(close_payload(CloseCode::receiver_too_slow, "slow"), "\x11\x38slow"s);
}

TEST(ClosePayload, IsEmptyWithoutACode) {
  EXPECT_EQ(close_payload(CloseCode::no_status, "ignored"), "");
}

TEST(Opcode, RecognizesControlFrames) {
  for (unsigned opcode = 0; opcode < 16; ++opcode) {
    EXPECT_EQ(is_control(static_cast<Opcode>(opcode)), opcode >= 8) << opcode;
  }
}

}  // namespace
}  // namespace waystation::test
