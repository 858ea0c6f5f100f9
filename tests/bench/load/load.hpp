// One run: opens sockets, sends messages for a time, checks every reply.
#pragma once

#include <sys/types.h>

#include <array>
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "histogram.hpp"
#include "pattern.hpp"
#include "process.hpp"
#include "socket.hpp"

namespace waystation::load {

enum class Route : std::uint8_t { chat, push };

/// A server's protocol: the original extracts the message from its envelope; a plain
/// publish-and-subscribe server passes on the whole text. Socket.IO (protocol version 5, with
/// Engine.IO 4 over WebSocket alone) has the original's texts as arguments of the event `chat`.
enum class Reply : std::uint8_t { message, as_sent, socket_io };

struct LoadOptions {
  Endpoint server;
  // Of a second node; 0: there is one server. The two users of a pair connect to different nodes,
  // the senders to both alike.
  std::uint16_t second_port = 0;
  std::vector<pid_t> pids;  // of the server or its nodes, to read their CPU time and memory
  pid_t engine_pid = 0;     // of the server that the nodes share; 0: none
  Route route = Route::chat;
  Reply reply = Reply::message;
  std::uint32_t pairs = 1;   // that send
  std::uint32_t window = 1;  // messages in flight per pair
  std::uint32_t bytes = 64;  // of a message's value, quotes included
  // After the sockets are open, before the first message: for a server that opens them before it
  // has subscribed.
  double pause_seconds = 0;
  double warmup_seconds = 1;
  double seconds = 5;
  std::uint64_t max_messages = 1'000'000'000;
  double rate = 0;         // messages per second of all pairs; 0: as fast as possible
  std::uint32_t idle = 0;  // additional sockets, in separate pairs
  // So many of the idle sockets are open before the time of the others is taken, and are WebSockets
  // with a `request` too.
  std::uint32_t standing = 0;
  // Additional sockets with the protocol v1, in separate pairs, of a process of their own. All
  // connect at once in the measured time, which ends when each has learnt whether its other user is
  // present.
  std::uint32_t storm = 0;
  bool serve_idle = false;      // each idle socket sends a message once all are open
  std::uint32_t parallel = 64;  // simultaneous upgrades
  // Additional pairs whose receivers stop reading for a time, get their Close, reconnect, and stall
  // again.
  std::uint32_t stalled = 0;
  double stall_seconds = 1;
  std::uint32_t stalled_bytes = 16384;
  std::uint32_t stalled_rate = 500;  // messages per second to each of them
  std::string token_key;             // HS256; empty: no tokens
  // Instead of idle sockets: as many requests for this path, each on a new connection that ends
  // with the answer. Empty: none.
  std::string request;
};

struct LoadReport {
  std::uint64_t messages = 0;         // received in the measured time
  std::uint64_t messages_in_all = 0;  // including warm-up and messages in flight at the end
  double seconds = 0;
  Histogram latency;  // from send to arrival at the receiver, in nanoseconds
  double server_user_seconds = 0;
  double server_system_seconds = 0;
  ProcessUse engine;  // its CPU time in the measured time; its memory at the end
  std::uint64_t engine_kib_before = 0;
  double generator_cpu_seconds = 0;
  std::uint64_t late = 0;  // with a rate: messages delayed by a full window

  std::uint32_t sockets = 0;
  double connect_seconds = 0;
  double connect_cpu_seconds = 0;  // of the server, in that time
  double storm_seconds = 0;
  double first_thousand_seconds = 0;  // 0: fewer than two thousand were opened
  double last_thousand_seconds = 0;
  std::uint64_t resident_kib_before = 0;  // of the server, after it served one pair that closed
  std::uint64_t resident_kib_open = 0;    // with all open, none used yet
  std::uint64_t resident_kib_after = 0;   // at the end, with all still open
  std::uint32_t stalled_ended = 0;        // receivers closed with 4408
  std::uint64_t pings = 0;                // sent by the server
};

class StormProcess;

class Load final : private SocketOwner {
 public:
  /// `storm`: of LoadOptions::storm; null without one.
  explicit Load(const LoadOptions& options, StormProcess* storm = nullptr);
  ~Load();

  /// Throws std::runtime_error if a socket is refused or closed, or if a message is lost, changed,
  /// repeated, out of order or at the wrong socket.
  LoadReport run();

  /// Only the storm, for a process of its own: waits for a byte from the pipe `start`, lets all its
  /// sockets connect, and returns the seconds until each has learnt whether its other user is
  /// present. They stay open. Throws as run() does.
  double storm(int start);

 private:
  struct Pair {
    std::uint32_t index = 0;
    bool is_stalled = false;
    bool is_storm = false;
    Socket sender;
    Socket receiver;
    std::uint64_t sent = 0;
    std::vector<std::int64_t> sent_at;  // of the last `window` messages

    // Stalled pairs only.
    std::int64_t reads_again_at = 0;
    bool has_heard = false;        // the receiver, since its reconnect
    std::uint64_t next_heard = 0;  // the smallest number that it may receive
    std::uint64_t next_echo = 0;   // the same for the sender
    std::uint64_t ended = 0;       // closes of the receiver
    std::uint64_t gaps = 0;        // gaps in the sender's echoes
  };

  void on_open(Socket& socket) override;
  void on_text(Socket& socket, std::string_view text) override;
  void on_ready(Socket& socket);

  void pause();
  void warm_up();
  void open_all();
  void open_until(std::uint32_t end);
  void open_next();
  void open_due();
  bool is_standing(const Pair& pair) const noexcept;
  void open(Pair& pair, bool sender);
  void stall(Pair& pair);
  bool on_socket_io_packet(Socket& socket, std::string_view text);
  void on_stalled_text(Socket& socket, std::string_view text);
  void on_storm_text(Socket& socket, std::string_view text);
  void look_after(Socket& socket);
  void run_events(std::int64_t until_ns);
  template <typename Done>
  void run_until(std::int64_t deadline_ns, Done done);
  void serve_each_once();
  void measure();
  void settle();
  std::uint64_t completed(const Pair& pair) const noexcept;
  std::uint64_t completed_in_all() const noexcept;
  void send_message(Pair& pair, std::int64_t at);
  void refill(Pair& pair);
  void pace(std::int64_t now);
  void pace_stalled(std::int64_t now);
  void wake_stalled(Pair& pair, std::int64_t now);

  LoadOptions options_;
  StormProcess* storm_;
  LoadReport report_;
  int epoll_;
  std::vector<char> buffer_;
  std::deque<Pair> pairs_;  // sending, idle, stalled and storm pairs, and the first one
  std::vector<Pair*> stalled_;
  std::uint32_t idle_pairs_;
  FramePattern frame_;
  FramePattern answer_frame_;
  FramePattern stalled_frame_;
  ReplyPattern reply_;
  ReplyPattern stalled_reply_;

  std::uint32_t opening_ = 0;      // the next socket to open: two per pair
  std::uint32_t opening_end_ = 0;  // the first that is not opened yet
  std::vector<std::int64_t> opened_at_;
  std::size_t opened_end_ = 0;   // how many there are when all have opened
  std::uint32_t opens_due_ = 0;  // sockets that open in the next rounds
  std::uint32_t stormed_ = 0;    // sockets that have learnt of a presence
  bool is_storm_ = false;        // this process has the storm's sockets
  bool is_sending_ = false;
  bool is_measuring_ = false;
  std::int64_t pace_start_ = 0;
  std::uint64_t paced_ = 0;
  std::int64_t stalled_start_ = 0;
  std::uint64_t stalled_sent_ = 0;
};

}  // namespace waystation::load
