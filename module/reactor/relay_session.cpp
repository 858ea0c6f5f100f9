#include "reactor/relay_session.hpp"

#include <algorithm>
#include <new>
#include <type_traits>
#include <utility>

#include "reactor/reactor.hpp"
#include "reactor/relay_service.hpp"
#include "relay/names.hpp"

namespace waystation {
namespace {

// Entries in the ledger of a socket before the kernel is first asked which have arrived. The next
// time is when the remaining entries have doubled: at most one system call for so many messages.
constexpr std::size_t kLedgerEntries = 16;

/// `Base` is ChatMember or PushMember. The two differ only in joining and leaving.
template <typename Base>
class RelaySession final : public Session, public Base {
 public:
  static constexpr bool kIsChat = std::is_same_v<Base, ChatMember>;

  RelaySession(RelayService& service, Connection& connection, SessionParameters parameters)
      : Base(parameters.protocol),
        service_(service),
        connection_(connection),
        name_(kIsChat ? std::move(parameters.group) : parameters.user) {
    if (!kIsChat) return;
    const auto users = parse_group(name_);
    const bool is_hi = users && parameters.user == users->hi;
    user_begin_ = static_cast<std::uint8_t>(is_hi ? users->lo.size() + 1 : 0);
    user_size_ = static_cast<std::uint8_t>(parameters.user.size());
  }

  // ---- Session

  void on_open() override {
    if constexpr (kIsChat) {
      service_.router().join(*this, name_, user());
    } else {
      service_.router().join(*this, user());
    }
  }

  std::string on_refused() override { return service_.on_refused(connection_, user()); }

  void on_message(Opcode, std::string_view payload) override {
    service_.router().receive(*this, payload, service_.now());
  }

  void on_heartbeat() override {
    if (ledger_.size() != 0) acknowledge();
    service_.evict_idle();
  }

  void on_end() noexcept override {
    const bool was_joined = Base::is_joined();
    service_.router().leave(*this);
    if (was_joined) service_.on_closed(connection_, kind(), user());
  }

  void on_lost(std::uint64_t offset) noexcept override {
    const auto own_users = kIsChat ? parse_group(name_) : std::nullopt;
    ledger_.lose_beyond(offset, [&](const DeliveryLedger::Entry& entry) {
      const std::string_view group = kIsChat ? name_ : entry.group;
      const auto users = kIsChat ? own_users : parse_group(group);
      const bool to_lo = entry.to_side == Side::lo;
      const auto to = !users ? user() : to_lo ? users->lo : users->hi;
      const auto from = !users ? std::string_view() : to_lo ? users->hi : users->lo;
      service_.on_delivery({Outcome::dropped, entry.at, group, from, to, entry.id, 0, entry.bytes,
                            connection_.end_reason(), entry.key, entry.taken});
    });
  }

  // ---- Member

  void on_joined() noexcept override {
    connection_.accept();
    service_.on_opened(kind());
  }

  bool send(const OutgoingText& text, const Message* delivery) override {
    // Out of memory for this receiver closes the receiver, not the sender.
    try {
      if (!connection_.send(Opcode::text, {text.head, text.value, text.tail})) return false;
      if (delivery == nullptr) return true;
      ledger_.add(connection_.queued_offset(), *delivery, !kIsChat);
      // Bytes in the kernel are in no queue here, but the ledger may be as large as a queue.
      const auto most = service_.max_queue_bytes();
      if (ledger_.size() >= ask_kernel_at_ || ledger_.used_bytes() > most) {
        acknowledge();
        if (ledger_.used_bytes() > most) connection_.close(CloseCode::receiver_too_slow);
      }
      return true;
    } catch (const std::bad_alloc&) {
      connection_.close(CloseCode::internal_error);
      return false;
    }
  }

  void set_taken(std::uint64_t key, std::uint32_t sockets) noexcept override {
    ledger_.set_taken(key, sockets);
  }

  void refresh(std::string token, const ShortText& id) override {
    service_.refresh(connection_, *this, std::string(user()), std::move(token), id);
  }

  void ask_missed(MissedQuestion question, const ShortText& id) override {
    service_.ask_missed(connection_, *this, std::string(user()), std::move(question), id);
  }

  void on_error_sent(ErrorCode code, std::string_view detail) noexcept override {
    service_.log_error_frame(connection_, user(), code, detail);
  }

  void end_session() override { connection_.close(CloseCode::ended_by_administrator); }

  void go_away() override { connection_.close(CloseCode::going_away); }

  void throttle(std::int64_t us) override { connection_.pause_reading(us); }

 private:
  void acknowledge() noexcept {
    ledger_.acknowledge(connection_.acknowledged_offset());
    ask_kernel_at_ = std::max(kLedgerEntries, 2 * ledger_.size());
  }

  std::string_view user() const noexcept {
    const std::string_view name = name_;
    return kIsChat ? name.substr(user_begin_, user_size_) : name;
  }

  static constexpr SocketKind kind() { return kIsChat ? SocketKind::chat : SocketKind::push; }

  // What each message uses comes first, as in Connection.
  RelayService& service_;
  Connection& connection_;
  DeliveryLedger ledger_;
  std::size_t ask_kernel_at_ = kLedgerEntries;
  std::string name_;  // chat: the group's, which holds the user's; push: the user's
  std::uint8_t user_begin_ = 0;
  std::uint8_t user_size_ = 0;  // chat: 0 where anonymous
};

}  // namespace

std::unique_ptr<Session> make_relay_session(RelayService& service, Connection& connection,
                                            SessionParameters parameters) {
  if (parameters.kind == SocketKind::chat) {
    return std::make_unique<RelaySession<ChatMember>>(service, connection, std::move(parameters));
  }
  return std::make_unique<RelaySession<PushMember>>(service, connection, std::move(parameters));
}

}  // namespace waystation
