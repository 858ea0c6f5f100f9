#include "cluster/sentinel.hpp"

#include <array>
#include <charconv>
#include <utility>

#include "base/error.hpp"

namespace waystation {
namespace {

constexpr std::string_view kSwitch = "+switch-master";

RedisConnection::Options options_for(RedisConnection::Options::Kind kind) {
  RedisConnection::Options options;
  options.kind = kind;
  options.role = RedisConnection::Options::Role::sentinel;
  options.client_name = "waystation-sentinel";
  // A client waits for the answer no longer than for its own connection.
  options.connect_timeout_ms = 1000;
  options.reply_timeout_ms = 1000;
  return options;
}

/// Takes the next word of a line.
std::string_view take_word(std::string_view& rest) noexcept {
  const auto word = rest.substr(0, rest.find(' '));
  rest.remove_prefix(std::min(word.size() + 1, rest.size()));
  return word;
}

/// A host and port; nothing where the port is not one.
std::optional<EngineHost> to_host(std::string_view host, std::string_view port) {
  EngineHost made{std::string(host), 0};
  const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), made.port);
  const bool is_port = error == std::errc() && end == port.data() + port.size();
  if (!is_port || made.port == 0 || host.empty()) return std::nullopt;
  return made;
}

}  // namespace

SentinelLocator::Link::Link(SentinelLocator& owner, Loop& loop, Resolver& resolver,
                            std::vector<EngineHost> sentinels, Kind kind)
    : owner_(owner),
      kind_(kind),
      locator_(resolver, std::move(sentinels)),
      connection_(loop, locator_, options_for(kind), *this) {
  connection_.start();
}

void SentinelLocator::Link::on_ready() noexcept {
  if (kind_ == Kind::commands) return owner_.ask();
  try {
    (void)connection_.subscribe(std::array{kSwitch});
  } catch (const std::bad_alloc&) {
    connection_.reconnect("no memory to subscribe to the Sentinel");
  }
}

void SentinelLocator::Link::on_lost(std::string_view reason, bool) noexcept {
  if (kind_ != Kind::commands) return;
  owner_.is_asking_ = false;
  owner_.resolver_.cancel(owner_);
  owner_.answer("Sentinel: " + std::string(reason));
}

void SentinelLocator::Link::on_push(const RedisConnection::Push& push) noexcept {
  if (push.type != RedisConnection::Push::Type::message || push.channel != kSwitch) return;
  owner_.on_switch(push.payload);
}

SentinelLocator::SentinelLocator(Loop& loop, Resolver& resolver, std::vector<EngineHost> sentinels,
                                 std::string primary_name)
    : resolver_(resolver), primary_name_(std::move(primary_name)) {
  asker_.emplace(*this, loop, resolver, sentinels, Kind::commands);
  watcher_.emplace(*this, loop, resolver, std::move(sentinels), Kind::subscriptions);
}

SentinelLocator::~SentinelLocator() {
  resolver_.cancel(*this);
}

void SentinelLocator::locate(EngineLocator::Client& client) {
  waiting_.push_back(&client);
  ask();
}

void SentinelLocator::cancel(EngineLocator::Client& client) noexcept {
  std::erase(waiting_, &client);
}

void SentinelLocator::watch(EngineLocator::Client& client) {
  watching_.push_back(&client);
}

void SentinelLocator::unwatch(EngineLocator::Client& client) noexcept {
  std::erase(watching_, &client);
}

void SentinelLocator::ask() noexcept {
  if (waiting_.empty() || is_asking_) return;
  auto& connection = asker_->connection();
  try {
    is_asking_ = connection.send({"SENTINEL", "get-master-addr-by-name", primary_name_},
                                 [this](const Reply* reply) { on_answer(reply); });
  } catch (const std::bad_alloc&) {
    // The clients have a deadline and ask again.
  }
}

void SentinelLocator::on_answer(const Reply* reply) {
  if (reply == nullptr) return;  // on_lost() follows
  const auto& elements = reply->elements;
  const auto primary =
      elements.size() == 2 ? to_host(elements[0].as_text(), elements[1].as_text()) : std::nullopt;
  if (primary) {
    primary_ = *primary;
    return resolver_.resolve(primary_, *this);
  }
  // Another Sentinel may know it. To lose the connection is an answer to all who wait.
  asker_->connection().reconnect(asker_->connection().server_name() + " knows no primary named " +
                                 in_quotes(primary_name_));
}

void SentinelLocator::on_resolved(const Resolver::Addresses& addresses) noexcept {
  is_asking_ = false;
  if (!addresses) return answer(addresses.error());
  answer(Location{addresses->front(), primary_.describe()});
}

void SentinelLocator::answer(const Result<Location, std::string>& location) noexcept {
  for (auto* const client : std::exchange(waiting_, {})) client->on_located(location);
}

void SentinelLocator::on_switch(std::string_view payload) {
  // "<primary name> <old address> <old port> <new address> <new port>"
  if (take_word(payload) != primary_name_) return;
  (void)take_word(payload);
  (void)take_word(payload);
  const auto address = take_word(payload);
  const auto primary = to_host(address, take_word(payload));
  if (!primary) return;
  const auto name = primary->describe();
  // A client may unwatch inside the call.
  for (auto* const client : std::vector(watching_)) client->on_moved(name);
}

std::unique_ptr<EngineLocator> make_locator(Loop& loop, Resolver& resolver,
                                            const EngineAddress& address) {
  if (!address.uses_sentinel()) return std::make_unique<FixedLocator>(resolver, address.hosts);
  return std::make_unique<SentinelLocator>(loop, resolver, address.hosts, address.primary_name);
}

}  // namespace waystation
