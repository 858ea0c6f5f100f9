#include "relay/message.hpp"

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <utility>

namespace waystation::test {
namespace {

/// The fields of a message, copied.
struct Fields {
  std::string value, group, from, to, id;
  std::int64_t at;
  Side to_side;
  Protocol from_protocol;
  friend bool operator==(const Fields&, const Fields&) = default;
};

Fields fields_of(const Message& m) {
  return {std::string(m.value),
          std::string(m.group),
          std::string(m.from),
          std::string(m.to),
          std::string(m.id),
          m.at,
          m.to_side,
          m.from_protocol};
}

const Fields kFields{R"({"a" :1.0})", "alice_bob", "alice",  "bob",
                     "m-1",           17,          Side::hi, Protocol::v1};

Message message_of(const Fields& f) {
  return {f.value, f.group, f.from, f.to, f.id, f.at, f.to_side, f.from_protocol};
}

TEST(OwnedMessage, OutlivesTheTextsItWasMadeFrom) {
  auto texts = kFields;
  const OwnedMessage owned(message_of(texts));
  for (auto* text : {&texts.value, &texts.group, &texts.from, &texts.to, &texts.id}) {
    text->assign(text->size(), '#');
  }
  EXPECT_EQ(fields_of(owned.view()), kFields);
}

TEST(OwnedMessage, CanBeMoved) {
  std::optional<OwnedMessage> first(message_of(kFields));
  OwnedMessage second(std::move(*first));
  first.reset();
  EXPECT_EQ(fields_of(second.view()), kFields);
  OwnedMessage third{Message{}};
  third = std::move(second);
  EXPECT_EQ(fields_of(third.view()), kFields);
}

TEST(OwnedMessage, KeepsEmptyFieldsEmpty) {
  const Fields fields{"1", "", "", "bob", "", 17, Side::lo, Protocol::plain};
  EXPECT_EQ(fields_of(OwnedMessage(message_of(fields)).view()), fields);
}

}  // namespace
}  // namespace waystation::test
