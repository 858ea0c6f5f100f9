#include "cluster/scripts.hpp"

#include <openssl/evp.h>

#include <array>
#include <initializer_list>
#include <memory>
#include <new>
#include <optional>
#include <utility>

#include "cluster/engine_error.hpp"

namespace waystation {
namespace {

// What every script begins with. Published messages do not go to replicas and the append-only file
// (REPL_NONE). Arguments of all scripts begin with the channel `all` and the key of the table.
//
// Redis computes a hash of every string that Lua makes. So a frame is passed on as it came, and
// what belongs to it is published in front of a short header, or where another node needs it.
constexpr std::string_view kPrologueLua = R"lua(
redis.set_repl(redis.REPL_NONE)
-- What it returns counts clients that subscribe a pattern, such as `*`, too. NUMSUB does not.
local function publish(channel, payload) return redis.call('PUBLISH', channel, payload) end
local function subscribers(channel) return redis.call('PUBSUB', 'NUMSUB', channel)[2] end
local function now()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end
local all, nodes = ARGV[1], ARGV[2]
local unknown = '?'  -- see kTableLua
local function is_settled()
  return subscribers(all) >= redis.call('HLEN', nodes) and
         redis.call('HEXISTS', nodes, unknown) == 0
end
local function presence(channel)
  if subscribers(channel) > 0 then return '1' end
  return is_settled() and '0' or '2'
end
)lua";

// Verdicts are the numbers of the enumeration Verdict.
constexpr std::string_view kDecideLua = R"lua(
local chat, push, echo, inbox, frame = ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[8]
local header = string.sub(frame, 1, ARGV[9])

local function refuse(verdict)
  publish(inbox, 'V' .. verdict .. '\0\0\0\0' .. header)
  return {verdict, 0}
end

-- The sockets of nodes that have several on a channel, without the first of each.
local function more_sockets(channel)
  local low = redis.call('PUBSUB', 'NUMSUB', channel .. '#0', channel .. '#1', channel .. '#2',
                         channel .. '#3', channel .. '#16')
  local count = low[2] + 2 * low[4] + 4 * low[6] + 8 * low[8]
  if low[10] > 0 then
    for bit = 4, 15 do count = count + 2 ^ bit * subscribers(channel .. '#' .. bit) end
  end
  return count
end

local function count(channel)
  return redis.call('PUBSUB', 'NUMSUB', channel, channel .. '#17', echo, inbox)
end
local counts
-- Returns how many nodes are subscribed to the channel.
local function send(channel)
  if publish(channel, frame) == 0 then return 0 end
  counts = count(channel)
  return counts[2]
end

if now() > tonumber(ARGV[7]) then return refuse(3) end
local verdict, channel, reached = 1, chat, 0
if chat ~= '' then reached = send(chat) end
if reached == 0 then
  if not is_settled() then return refuse(4) end
  verdict, channel = 2, push
  reached = send(push)
end
if reached == 0 then
  verdict, counts = 0, counts or count(push)
elseif counts[4] > 0 then
  reached = reached + more_sockets(channel)
end
-- A node that is alone on the channel is the origin, which still has the value; unless the origin
-- has just lost its subscriptions.
local shown = (counts[6] > 1 or counts[8] == 0) and frame or header
publish(echo, 'V' .. verdict .. struct.pack('>I4', reached) .. shown)
return {verdict, reached}
)lua";

constexpr std::string_view kPublishLua = R"lua(
for i = 4, #ARGV do publish(ARGV[i], ARGV[3]) end
return 1
)lua";

constexpr std::string_view kAskLua = R"lua(
publish(all, ARGV[3])
return {subscribers(all), is_settled() and 1 or 0}
)lua";

constexpr std::string_view kSayLua = R"lua(
local group, own_side, own, other, inbox = ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[7]
publish(other, 'S' .. presence(own) .. own_side .. group)
publish(inbox, 'S' .. presence(other) .. (1 - own_side) .. group)
return 1
)lua";

constexpr std::string_view kSayReachableLua = R"lua(
publish(ARGV[4], 'R' .. presence(ARGV[3]) .. ARGV[5])
return 1
)lua";

constexpr std::string_view kRecountLua = R"lua(
local states, absent = {}, is_settled() and '0' or '2'
for i = 5, #ARGV do states[i - 4] = subscribers(ARGV[i]) > 0 and '1' or absent end
publish(ARGV[3], 'Q' .. struct.pack('>I4', tonumber(ARGV[4])) .. table.concat(states))
return 1
)lua";

// What the scripts about the table have in common. An entry is "<incarnation> <run id of the
// server> <id of S> <id of C> <settings>", where S and C are the connections for subscriptions and
// for commands. The first half of an incarnation is the node's own, so long as its process lives.
// `since` is when this run of the server, or the end of its last pause, was noticed. Nodes that
// were silent since then have time to return.
//
// A server that has just started, or was promoted, may have lost nodes from its table. These nodes
// are about to return, and nobody may know them. The entry `unknown` stands for them. Its value is
// the time until which they are awaited. The table is not settled until then.
constexpr std::string_view kTableLua = R"lua(
local seen, run, inbox_prefix = ARGV[3], ARGV[4], ARGV[5]
local name, incarnation, run_id = ARGV[6], ARGV[7], ARGV[8]
local silence, return_time, reconnect = tonumber(ARGV[9]), tonumber(ARGV[10]), tonumber(ARGV[11])
local settings = ARGV[12]
local time = now()
local nobody = string.rep('-', 32)

local function entry_of(text)
  local incarnation, run_id, s, c, settings =
      string.match(text, '^(%x+) (%S+) (%d+) (%d+) ?(%S*)$')
  return {incarnation = incarnation or nobody, run_id = run_id, s = s, c = c,
          settings = settings or ''}
end
local function is_subscribed(entry)
  return entry.incarnation ~= nobody and subscribers(inbox_prefix .. entry.incarnation) > 0
end
-- Settings are "<place of the engine>/<engines>:<ids of keys>". The first key seals. Returns what
-- keeps this node from working with one that is alive, or has time to return: the other's place,
-- 'own_keys' or 'other_keys', as the node that lacks a key; nil: nothing.
local function difference(node, entry, since)
  if node == name then return nil end
  local own_place, own_keys = string.match(settings, '^(%d+/%d+):(%x+.*)$')
  local place, keys = string.match(entry.settings, '^(%d+/%d+):(%x+.*)$')
  if not own_place or not place then return nil end
  local heard = tonumber(redis.call('HGET', seen, node) or 0)
  if time - math.max(heard, since) > return_time and not is_subscribed(entry) then return nil end
  if place ~= own_place then return place end
  local function has_key_of(keys, others)
    return string.find(keys, string.match(others, '^%x+'), 1, true)
  end
  if not has_key_of(own_keys, keys) then return 'own_keys' end
  if not has_key_of(keys, own_keys) then return 'other_keys' end
  return nil
end
local function report(kind, name, incarnation)
  publish(all, kind .. (is_settled() and '1' or '0') .. incarnation .. name)
end
-- The table is replicated, the times are not.
local function replicated(...)
  redis.set_repl(redis.REPL_ALL)
  redis.call(...)
  redis.set_repl(redis.REPL_NONE)
end
-- Says that a node was removed, until it has returned and knows.
local function removed_key(node) return run .. ':removed:' .. node end
-- The incarnation of each node that has all its subscriptions.
local ready = seen .. ':ready'
local function remove(name, incarnation)
  replicated('HDEL', nodes, name)
  redis.call('HDEL', seen, name)
  redis.call('HDEL', ready, name)
  report('G', name, incarnation)
end
-- From when on every node that was connected before has had time to return. A server that has run
-- for long, was a primary all the time, and has no nodes yet, has never had any.
local function whole_from(was_promoted)
  local uptime = tonumber(string.match(redis.call('INFO', 'server'), 'uptime_in_seconds:(%d+)'))
  -- The table may be an earlier one, from a file. Or somebody has deleted it.
  local had_nodes = redis.call('HLEN', nodes) > 0 or subscribers(all) > 0
  if not uptime or was_promoted or had_nodes then return time + reconnect end
  return (math.floor(time / 1000) - uptime + 1) * 1000 + reconnect  -- the uptime is rounded down
end
-- The id of a server's last promotion. Nothing: it was not promoted, or has forgotten it.
local function promotion_id()
  local replication = redis.call('INFO', 'replication')
  if string.find(replication, 'second_repl_offset:-1', 1, true) then return nil end
  return string.match(replication, 'master_replid2:(%x+)')
end
-- A run begins with the process, or with a promotion. Returns `since`, and whether this call has
-- noticed the run.
local function note_run()
  local promotion = promotion_id()
  local known = redis.call('HMGET', run, 'id', 'since', 'last', 'promotion')
  local since, last = tonumber(known[2]), tonumber(known[3])
  local is_new = known[1] ~= run_id or not since or (promotion and promotion ~= known[4])
  -- Times of another run are of no use, and the clock may have been set back meanwhile.
  if is_new then redis.call('DEL', seen) end
  if not is_new and last > time then
    -- The clock was set back. All times count from now, so that none of them is in the future.
    since = time
    redis.call('DEL', seen)
    if redis.call('HEXISTS', nodes, unknown) == 1 then
      redis.call('HSET', nodes, unknown, time + reconnect)
    end
  end
  -- If nobody was served for long, it was not the nodes that were silent.
  if is_new or time - last > silence then since = time end
  redis.call('HSET', run, 'id', run_id, 'since', since, 'last', time)
  if is_new then redis.call('HSET', run, 'promotion', promotion or '') end
  if is_new then
    local until_time = whole_from(promotion)
    if until_time > time then redis.call('HSET', nodes, unknown, until_time) end
  end
  return since, is_new
end
)lua";

constexpr std::string_view kRegisterLua = R"lua(
local pause, s, c, is_returning = tonumber(ARGV[13]), ARGV[14], ARGV[15], ARGV[16] == '1'
local did_differ = ARGV[17] == '1'
local since, is_new_run = note_run()
local text = redis.call('HGET', nodes, name)
local old = text and entry_of(text)
local is_other = old and string.sub(old.incarnation, 1, 16) ~= string.sub(incarnation, 1, 16)
if is_other and is_subscribed(old) then
  -- A node that is paused, or whose host is lost, stays subscribed for a while.
  local heard = tonumber(redis.call('HGET', seen, name) or 0)
  if time - math.max(heard, since) <= pause then return {'name_taken', heard} end
end
-- On a server that may have lost its table, those who return are first. A node that does not fit
-- them would keep them out.
if tonumber(redis.call('HGET', nodes, unknown) or 0) > time then
  if did_differ then return {'settings_differ', '', ''} end
  if not is_returning then return {'others_awaited'} end
end
local known = redis.call('HGETALL', nodes)
for i = 1, #known, 2 do
  local differs = difference(known[i], entry_of(known[i + 1]), since)
  if differs then return {'settings_differ', known[i], differs} end
end
-- A node that returns is in the table, unless it was removed, or the others never knew it.
local was_removed = is_returning and (redis.call('EXISTS', removed_key(name)) == 1 or
    (is_other and old.incarnation ~= nobody) or
    (not old and not is_new_run and redis.call('HEXISTS', nodes, unknown) == 0))
replicated('HSET', nodes, name, table.concat({incarnation, run_id, s, c, settings}, ' '))
redis.call('HSET', seen, name, time)
-- Who else was there before the server lost its table.
if time - since < return_time then
  for i = 18, #ARGV do
    if redis.call('HEXISTS', nodes, ARGV[i]) == 0 then replicated('HSET', nodes, ARGV[i], '-') end
  end
end
local answer = {was_removed and 'was_removed' or 'entered'}
if old and old.run_id == run_id then answer[2], answer[3] = old.s, old.c end
return answer
)lua";

constexpr std::string_view kReadyLua = R"lua(
replicated('DEL', removed_key(name))
redis.call('HSET', ready, name, incarnation)
report('A', name, incarnation)
return 1
)lua";

constexpr std::string_view kReapLua = R"lua(
local pause = tonumber(ARGV[13])
local own = redis.call('HGET', nodes, name)
local stored = own and entry_of(own).incarnation
if not stored or string.sub(stored, 1, 16) ~= string.sub(incarnation, 1, 16) then
  return {'unknown'}
end
local since = note_run()
redis.call('HSET', seen, name, time)
if stored ~= incarnation then return {'unknown'} end  -- it is about to enter again
local awaited = redis.call('HGET', nodes, unknown)
if awaited and (tonumber(awaited) or 0) <= time then remove(unknown, nobody) end
local names, paused, kill = {}, {}, {}
local known = redis.call('HGETALL', nodes)
for i = 1, #known, 2 do
  local node, entry = known[i], entry_of(known[i + 1])
  local heard = tonumber(redis.call('HGET', seen, node) or 0)
  local silent_for = time - math.max(heard, since)
  local is_here = entry.run_id == run_id
  local is_gone = false
  if not is_subscribed(entry) then
    is_gone = silent_for > (is_here and heard >= since and silence or return_time)
  elseif is_here and silent_for > pause then
    paused[#paused + 1] = node
    kill[#kill + 1] = entry.s
    kill[#kill + 1] = entry.c
  end
  if node == unknown then
    -- It is no node.
  elseif is_gone then
    replicated('SET', removed_key(node), '', 'EX', 3600)
    remove(node, entry.incarnation)
  else
    names[#names + 1] = node
  end
end
return {'member', is_settled() and 1 or 0, names, paused, kill}
)lua";

constexpr std::string_view kLeaveLua = R"lua(
local text = redis.call('HGET', nodes, name)
if text and entry_of(text).incarnation == incarnation then remove(name, incarnation) end
return 1
)lua";

// Each node as {name, incarnation, 1 if it is ready, ms of silence, what differs}.
constexpr std::string_view kListNodesLua = R"lua(
local lines = {}
local since = tonumber(redis.call('HGET', run, 'since') or time)
local known = redis.call('HGETALL', nodes)
for i = 1, #known, 2 do
  local node, entry = known[i], entry_of(known[i + 1])
  local heard = tonumber(redis.call('HGET', seen, node) or time)
  local is_ready = redis.call('HGET', ready, node) == entry.incarnation and is_subscribed(entry)
  if node ~= unknown then
    lines[#lines + 1] = {node, entry.incarnation == nobody and '' or entry.incarnation,
                         is_ready and 1 or 0, math.max(time - heard, 0),
                         difference(node, entry, since) or ''}
  end
end
return lines
)lua";

/// As SCRIPT LOAD computes it.
std::string sha1_hex(std::string_view text) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned size = 0;
  if (EVP_Digest(text.data(), text.size(), digest.data(), &size, EVP_sha1(), nullptr) != 1) {
    throw std::bad_alloc();
  }
  std::string hex;
  for (unsigned i = 0; i < size; ++i) {
    const std::size_t byte = digest[i];
    hex += kDigits[byte >> 4U];
    hex += kDigits[byte & 0xFU];
  }
  return hex;
}

std::string_view side_digit(Side side) noexcept {
  return side == Side::lo ? "0" : "1";
}

std::vector<std::string> texts_of(const Reply& array) {
  std::vector<std::string> texts;
  for (const auto& element : array.elements) texts.emplace_back(element.as_text());
  return texts;
}

std::optional<AskReport> read_ask_report(const Reply& reply) {
  if (reply.elements.size() != 2 || reply.elements[0].integer <= 0) return std::nullopt;
  return AskReport{static_cast<std::size_t>(reply.elements[0].integer),
                   reply.elements[1].integer == 1};
}

std::optional<Registration> read_registration(const Reply& reply) {
  using Status = Registration::Status;
  if (reply.elements.empty()) return std::nullopt;
  Registration read;
  const auto status = reply.elements[0].as_text();
  if (status == "name_taken") {
    read.status = Status::name_taken;
    if (reply.elements.size() > 1) read.heard_ms = reply.elements[1].integer;
    return read;
  }
  if (status == "settings_differ") {
    if (reply.elements.size() != 3) return std::nullopt;
    read.status = Status::settings_differ;
    read.node = reply.elements[1].as_text();
    read.difference = reply.elements[2].as_text();
    return read;
  }
  if (status == "others_awaited") {
    read.status = Status::others_awaited;
    return read;
  }
  if (status == "was_removed") {
    read.status = Status::was_removed;
  } else if (status != "entered") {
    return std::nullopt;
  }
  for (const auto& id : reply.elements.subspan(1)) read.old_connections.emplace_back(id.as_text());
  return read;
}

std::optional<ReapReport> read_report(const Reply& reply) {
  if (reply.elements.empty()) return std::nullopt;
  ReapReport read;
  if (reply.elements[0].is("unknown")) return read;
  if (!reply.elements[0].is("member") || reply.elements.size() != 5) return std::nullopt;
  read.is_member = true;
  read.is_settled = reply.elements[1].integer == 1;
  read.nodes = texts_of(reply.elements[2]);
  read.paused = texts_of(reply.elements[3]);
  read.to_kill = texts_of(reply.elements[4]);
  return read;
}

std::optional<std::vector<TableEntry>> read_table(const Reply& reply) {
  if (reply.type != Reply::Type::array) return std::nullopt;
  std::vector<TableEntry> read;
  for (const auto& node : reply.elements) {
    if (node.elements.size() != 5) return std::nullopt;
    read.push_back({std::string(node.elements[0].as_text()),
                    std::string(node.elements[1].as_text()), node.elements[2].integer == 1,
                    node.elements[3].integer, std::string(node.elements[4].as_text())});
  }
  return read;
}

/// Calls `done` with what `read` makes of the reply; null where that is nothing.
template <typename T, typename Read>
RedisConnection::ReplyHandler reading(Scripts::Done<const T*> done, Read read) {
  return [done = std::move(done), read](const Reply* reply) {
    const auto answer = reply == nullptr ? std::nullopt : read(*reply);
    done(answer ? &*answer : nullptr);
  };
}

}  // namespace

Scripts::Scripts(const ChannelNames& names, const NodeTimes& times)
    : names_(names),
      times_(times),
      all_(names.all()),
      nodes_key_(names.nodes_key()),
      seen_key_(names.seen_key()),
      run_key_(names.run_key()),
      inbox_prefix_(names.prefix() + "n:") {
  struct Source {
    std::string_view name;
    std::string_view body;
    bool is_about_table;
  };
  // In the order of Name.
  constexpr std::array<Source, kScripts> kSources{{{"decide", kDecideLua, false},
                                                   {"publish", kPublishLua, false},
                                                   {"ask", kAskLua, false},
                                                   {"say", kSayLua, false},
                                                   {"say_reachable", kSayReachableLua, false},
                                                   {"recount", kRecountLua, false},
                                                   {"register", kRegisterLua, true},
                                                   {"ready", kReadyLua, true},
                                                   {"reap", kReapLua, true},
                                                   {"leave", kLeaveLua, true},
                                                   {"list_nodes", kListNodesLua, true}}};
  for (const auto& source : kSources) {
    auto text = std::string(kPrologueLua);
    if (source.is_about_table) text += kTableLua;
    text += source.body;
    auto sha = sha1_hex(text);
    scripts_.push_back({source.name, std::move(text), std::move(sha)});
  }
}

bool Scripts::load(RedisConnection& connection, Done<std::string> done) const {
  const auto problem = std::make_shared<std::string>();
  for (const auto& script : scripts_) {
    const auto* const last = &script == &scripts_.back() ? &done : nullptr;
    Handler handler = [&script, problem,
                       done = last != nullptr ? *last : Done<std::string>()](const Reply* reply) {
      if (reply == nullptr) return;
      if (reply->is_error() && problem->empty()) {
        *problem = "script " + std::string(script.name) + ": " + describe_engine_error(reply->text);
      }
      if (done) done(*problem);
    };
    if (!connection.send({"SCRIPT", "LOAD", script.source}, std::move(handler))) return false;
  }
  return true;
}

bool Scripts::run(RedisConnection& connection, Name script,
                  std::span<const std::string_view> arguments, Handler handler) const {
  arguments_.assign({"EVALSHA", scripts_[script].sha, "0", all_, nodes_key_});
  arguments_.insert(arguments_.end(), arguments.begin(), arguments.end());
  return connection.send(arguments_, std::move(handler), RedisConnection::OnError::report);
}

bool Scripts::decide(RedisConnection& connection, const Decide& call, Handler handler) const {
  const auto deadline = std::to_string(call.deadline_ms);
  const auto header = std::to_string(call.header_bytes);
  return run(
      connection, kDecide,
      std::array<std::string_view, 7>{call.chat_channel, call.push_channel, call.echo_channel,
                                      call.inbox, deadline, call.frame, header},
      std::move(handler));
}

bool Scripts::publish(RedisConnection& connection, std::span<const std::string_view> channels,
                      std::string_view frame, Handler handler) const {
  std::vector<std::string_view> arguments{frame};
  arguments.insert(arguments.end(), channels.begin(), channels.end());
  return run(connection, kPublish, arguments, std::move(handler));
}

bool Scripts::ask(RedisConnection& connection, std::string_view frame,
                  Done<const AskReport*> done) const {
  return run(connection, kAsk, std::span(&frame, 1),
             reading<AskReport>(std::move(done), read_ask_report));
}

bool Scripts::say(RedisConnection& connection, std::string_view group, Side own,
                  std::string_view inbox, Handler handler) const {
  const auto own_channel = names_.chat(group, own);
  const auto other_channel = names_.chat(group, opposite(own));
  return run(
      connection, kSay,
      std::array<std::string_view, 5>{group, side_digit(own), own_channel, other_channel, inbox},
      std::move(handler));
}

bool Scripts::say_reachable(RedisConnection& connection, std::string_view user,
                            Handler handler) const {
  const auto push = names_.push(user);
  const auto reachable = names_.reachable(user);
  return run(connection, kSayReachable, std::array<std::string_view, 3>{push, reachable, user},
             std::move(handler));
}

bool Scripts::recount(RedisConnection& connection, std::string_view inbox, std::uint32_t token,
                      std::span<const std::string_view> channels, Handler handler) const {
  const auto number = std::to_string(token);
  std::vector<std::string_view> arguments{inbox, number};
  arguments.insert(arguments.end(), channels.begin(), channels.end());
  return run(connection, kRecount, arguments, std::move(handler));
}

/// The arguments of kTableLua, then `more`.
bool Scripts::run_on_table(RedisConnection& connection, Name script, const NodeEntry& node,
                           std::span<const std::string_view> more, Handler handler) const {
  const auto incarnation = node.incarnation.hex();
  const auto silence_ms = std::to_string(times_.silence_ms);
  const auto return_ms = std::to_string(times_.return_ms);
  const auto reconnect_ms = std::to_string(times_.reconnect_ms);
  std::vector<std::string_view> arguments{seen_key_,    run_key_,     inbox_prefix_, node.name,
                                          incarnation,  node.run_id,  silence_ms,    return_ms,
                                          reconnect_ms, node.settings};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return run(connection, script, arguments, std::move(handler));
}

bool Scripts::register_node(RedisConnection& connection, const NodeEntry& node, bool is_returning,
                            std::span<const std::string> known_nodes,
                            Done<const Registration*> done) const {
  const auto pause_ms = std::to_string(times_.pause_ms);
  std::vector<std::string_view> more{pause_ms, node.subscriptions_id, node.commands_id,
                                     is_returning ? "1" : "0", node.settings_differ ? "1" : "0"};
  more.insert(more.end(), known_nodes.begin(), known_nodes.end());
  return run_on_table(connection, kRegister, node, more,
                      reading<Registration>(std::move(done), read_registration));
}

bool Scripts::announce_ready(RedisConnection& connection, const NodeEntry& node,
                             Handler handler) const {
  return run_on_table(connection, kReady, node, {}, std::move(handler));
}

bool Scripts::reap(RedisConnection& connection, const NodeEntry& node,
                   Done<const ReapReport*> done) const {
  const auto pause_ms = std::to_string(times_.pause_ms);
  return run_on_table(connection, kReap, node, std::array<std::string_view, 1>{pause_ms},
                      reading<ReapReport>(std::move(done), read_report));
}

bool Scripts::list_nodes(RedisConnection& connection, const NodeEntry& node,
                         Done<const std::vector<TableEntry>*> done) const {
  return run_on_table(connection, kListNodes, node, {},
                      reading<std::vector<TableEntry>>(std::move(done), read_table));
}

bool Scripts::leave(RedisConnection& connection, const NodeEntry& node, Handler handler) const {
  return run_on_table(connection, kLeave, node, {}, std::move(handler));
}

}  // namespace waystation
