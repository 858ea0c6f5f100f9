// Passes messages from a client's bytes to the outboxes of those who hear of them, as the server
// does it but without a socket, so that what it costs can be counted under callgrind:
//
//     waystation_feed SCENE MESSAGES
//
// Counted is what happens in pass_all(): frames read, messages routed, outboxes filled and emptied.

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "reactor/delivery_ledger.hpp"
#include "relay/hub.hpp"
#include "relay/outbox.hpp"
#include "websocket/frame_reader.hpp"
#include "websocket/frame_writer.hpp"

namespace {

using namespace waystation;

constexpr std::size_t kFramesPerRead = 4;

class Counter final : public Observer {
 public:
  void on_delivery(const Delivery& delivery) noexcept override {
    ++outcomes_[static_cast<std::size_t>(delivery.outcome)];
  }
  void on_error_sent() noexcept override { ++errors_; }

  std::size_t count(Outcome outcome) const { return outcomes_[static_cast<std::size_t>(outcome)]; }
  std::size_t errors() const { return errors_; }

 private:
  std::size_t outcomes_[4] = {};
  std::size_t errors_ = 0;
};

/// A socket without one: what a connection and its session do with a text.
template <typename Base>
class Fake final : public Base {
 public:
  Fake(Dialect dialect, OutboxPool& pool) : Base(dialect), outbox_(pool) {}

  bool send(const OutgoingText& text, const Message* delivery) override {
    const FrameHeader header(Opcode::text, text.size());
    if (!outbox_.append({header.view(), text.head, text.value, text.tail})) return false;
    if (delivery != nullptr) {
      if (ledger_.size() >= 128) ledger_.acknowledge(outbox_.sent_offset());
      ledger_.add(outbox_.queued_offset(), *delivery, false);
    }
    return true;
  }
  void refresh(std::string) override {}
  void end_session() override {}

  std::size_t flush() {
    const auto size = outbox_.unsent().size();
    outbox_.consume(size);
    return size;
  }

 private:
  Outbox outbox_;
  DeliveryLedger ledger_;
};

class Reader final : public FrameHandler {
 public:
  Reader(Hub& hub, ChatMember& member) : hub_(hub), member_(member), reader_(limits_) {}

  void feed(std::span<char> bytes) {
    if (reader_.feed(bytes, *this)) std::abort();
  }

 private:
  bool on_message(Opcode, std::string_view payload) override {
    hub_.receive(member_, payload, {1'700'000'000'000, 1'000});
    return true;
  }
  bool on_ping(std::string_view) override { return true; }
  bool on_pong(std::string_view) override { return true; }
  void on_close(CloseCode, std::string_view) override {}

  Hub& hub_;
  ChatMember& member_;
  FrameLimits limits_;
  FrameReader reader_;
};

struct Scene {
  std::string_view name;
  Dialect dialect;
  bool on_push;
  std::size_t bytes;
  bool ascii;
};

constexpr Scene kScenes[] = {
    {"plain_chat_64", Dialect::plain, false, 64, true},
    {"v1_chat_64", Dialect::v1, false, 64, true},
    {"plain_push_64", Dialect::plain, true, 64, true},
    {"v1_push_64", Dialect::v1, true, 64, true},
    {"plain_chat_2048", Dialect::plain, false, 2048, true},
    {"plain_chat_2048_chinese", Dialect::plain, false, 2048, false},
    {"plain_chat_32768", Dialect::plain, false, 32768, true},
};

std::string client_frame(const Scene& scene) {
  std::string value = "\"";
  const std::string_view filler = scene.ascii ? "word for word, " : "一字不差地";
  while (value.size() + filler.size() + 1 <= scene.bytes) value += filler;
  value.append(scene.bytes - 1 - value.size(), '.');
  value += '"';
  auto text = "{\"message\":" + value + ",\"to_user\":\"bob\"";
  if (scene.dialect == Dialect::v1) text += ",\"id\":\"4fQ-7a_Kx\"";
  text += '}';
  const std::string mask = "\x37\xfa\x21\x3d";
  std::string frame(FrameHeader(Opcode::text, text.size()).view());
  frame[1] = static_cast<char>(frame[1] | '\x80');
  frame += mask;
  for (std::size_t i = 0; i < text.size(); ++i) {
    frame += static_cast<char>(text[i] ^ mask[i % 4]);
  }
  return frame;
}

/// What callgrind counts. `reads` are what one recv() each brought.
template <typename Receiver>
[[gnu::noinline]] std::size_t pass_all(Reader& reader, std::vector<std::string>& reads,
                                       Fake<ChatMember>& sender, Receiver& receiver) {
  std::size_t sent = 0;
  for (auto& bytes : reads) {
    reader.feed(bytes);
    sent += sender.flush() + receiver.flush();
  }
  return sent;
}

template <typename Base>
int run(const Scene& scene, std::size_t messages) {
  Counter counter;
  OutboxPool pool(OutboxPool::Limits{});
  Hub hub(counter, {1'000'000, 1'000'000});
  Fake<ChatMember> alice(scene.dialect, pool);
  Fake<Base> bob(scene.dialect, pool);
  hub.join_chat(alice, "alice_bob", "alice");
  if constexpr (std::is_same_v<Base, ChatMember>) {
    hub.join_chat(bob, "alice_bob", "bob");
  } else {
    hub.join_push(bob, "bob");
  }

  const auto frame = client_frame(scene);
  std::string one_read;
  for (std::size_t i = 0; i < kFramesPerRead; ++i) one_read += frame;
  Reader reader(hub, alice);
  std::vector<std::string> reads(messages / kFramesPerRead, one_read);
  const auto sent = pass_all(reader, reads, alice, bob);

  const auto outcome = scene.on_push ? Outcome::pushed : Outcome::chat;
  const auto passed = counter.count(outcome);
  std::printf("%zu messages passed, %zu bytes sent\n", passed, sent);
  if constexpr (std::is_same_v<Base, ChatMember>) {
    hub.leave_chat(bob);
  } else {
    hub.leave_push(bob);
  }
  hub.leave_chat(alice);
  return passed == reads.size() * kFramesPerRead && counter.errors() == 0 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 3) {
    const auto messages = static_cast<std::size_t>(std::atol(argv[2]));
    for (const auto& scene : kScenes) {
      if (scene.name != argv[1]) continue;
      return scene.on_push ? run<PushMember>(scene, messages) : run<ChatMember>(scene, messages);
    }
  }
  std::fprintf(stderr, "usage: waystation_feed SCENE MESSAGES; scenes are:\n");
  for (const auto& scene : kScenes) std::fprintf(stderr, "  %s\n", scene.name.data());
  return 2;
}
