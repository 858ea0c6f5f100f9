#include "cluster/resp.hpp"

#include <hiredis/hiredis.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <new>
#include <utility>

namespace waystation {
namespace {

// hiredis moves what is left of its buffer to the front after each reply above 1 KiB. With small
// pieces little is left.
constexpr std::size_t kPieceBytes = 4096;
// Memory that is kept for the next reply.
constexpr std::size_t kKeptBytes = 64U << 10U;
constexpr std::size_t kKeptReplies = 1024;

/// The number of a reply among those of the reader, as the object that hiredis stores for it, and
/// back. An object must not be null.
void* object_of(std::size_t index) noexcept {
  return reinterpret_cast<void*>(index + 1);
}

std::size_t index_of(const void* object) noexcept {
  return reinterpret_cast<std::size_t>(object) - 1;
}

Reply::Type type_of(int type) noexcept {
  switch (type) {
    case REDIS_REPLY_STATUS:
      return Reply::Type::status;
    case REDIS_REPLY_ERROR:
      return Reply::Type::error;
    default:
      return Reply::Type::text;
  }
}

}  // namespace

/// hiredis calls these, from C, while it reads. Null means no memory.
struct ReplyReader::Builder {
  static ReplyReader& reader_of(const redisReadTask* task) noexcept {
    return *static_cast<ReplyReader*>(task->privdata);
  }

  /// The place of this reply: the next element of its array, or the first.
  static std::size_t index_for(const ReplyReader& reader, const redisReadTask* task) noexcept {
    if (task->parent == nullptr) return 0;
    return reader.places_[index_of(task->parent->obj)].first + static_cast<std::size_t>(task->idx);
  }

  static void* text(const redisReadTask* task, char* bytes, std::size_t size) noexcept try {
    auto& reader = reader_of(task);
    const auto index = index_for(reader, task);
    reader.replies_[index].type = type_of(task->type);
    reader.places_[index] = {reader.bytes_.size(), size};
    reader.bytes_.append(bytes, size);
    return object_of(index);
  } catch (...) {
    return nullptr;
  }

  // The type of the number differs between versions of hiredis.
  template <typename Number>
  static void* array(const redisReadTask* task, Number elements) noexcept try {
    auto& reader = reader_of(task);
    const auto index = index_for(reader, task);
    const auto size = static_cast<std::size_t>(std::max(elements, Number{0}));
    const auto first = reader.replies_.size();
    if (size > reader.limits_.elements || first + size > reader.limits_.elements + 1) {
      reader.fail("the reply has more than " + std::to_string(reader.limits_.elements) +
                  " elements");
      return nullptr;
    }
    reader.replies_.resize(first + size);
    reader.places_.resize(first + size);
    reader.replies_[index].type = Reply::Type::array;
    reader.places_[index] = {first, size};
    return object_of(index);
  } catch (...) {
    return nullptr;
  }

  static void* integer(const redisReadTask* task, long long value) noexcept {
    auto& reader = reader_of(task);
    const auto index = index_for(reader, task);
    reader.replies_[index].type = Reply::Type::integer;
    reader.replies_[index].integer = value;
    return object_of(index);
  }

  static void* nil(const redisReadTask* task) noexcept {
    return object_of(index_for(reader_of(task), task));
  }

  static void free(void*) noexcept {}
};

void ReplyReader::Free::operator()(redisReader* reader) const noexcept {
  redisReaderFree(reader);
}

ReplyReader::ReplyReader(const ReplyLimits& limits) : limits_(limits) {
  static redisReplyObjectFunctions functions = [] {
    redisReplyObjectFunctions made{};
    made.createString = Builder::text;
    made.createArray = Builder::array;
    made.createInteger = Builder::integer;
    made.createNil = Builder::nil;
    made.freeObject = Builder::free;
    return made;
  }();
  reader_.reset(redisReaderCreateWithFunctions(&functions));
  if (!reader_) throw std::bad_alloc();
  reader_->privdata = this;
  begin_reply();
}

ReplyReader::~ReplyReader() = default;

void ReplyReader::begin_reply() noexcept {
  try {
    if (bytes_.capacity() > kKeptBytes) std::string().swap(bytes_);
    if (replies_.capacity() > kKeptReplies) {
      std::vector<Reply>().swap(replies_);
      std::vector<Place>().swap(places_);
    }
    bytes_.clear();
    replies_.assign(1, Reply{});
    places_.assign(1, Place{});
  } catch (...) {
    fail("no memory for a reply");
  }
}

void ReplyReader::fail(std::string problem) noexcept {
  if (problem_.empty()) problem_ = std::move(problem);
}

void ReplyReader::feed(std::span<const char>& bytes) noexcept {
  const auto piece = bytes.first(std::min(bytes.size(), kPieceBytes));
  bytes = bytes.subspan(piece.size());
  if (has_failed() || piece.empty()) return;
  if (redisReaderFeed(reader_.get(), piece.data(), piece.size()) != REDIS_OK) {
    fail(reader_->errstr);
  }
}

const Reply* ReplyReader::next() noexcept {
  if (has_failed()) return nullptr;
  if (reader_->reply == nullptr) begin_reply();
  void* object = nullptr;
  if (redisReaderGetReply(reader_.get(), &object) != REDIS_OK) {
    fail(reader_->err == REDIS_ERR_PROTOCOL
             ? "the server does not speak Redis' protocol; check host and port"
             : reader_->errstr);
    return nullptr;
  }
  if (object == nullptr) {
    // What the reply has so far: the texts that were read, and the bytes that wait for the rest.
    if (bytes_.size() + (reader_->len - reader_->pos) > limits_.bytes) {
      fail("the reply is larger than " + std::to_string(limits_.bytes) + " bytes");
    }
    return nullptr;
  }
  return &finish_reply();
}

const Reply& ReplyReader::finish_reply() noexcept {
  for (std::size_t i = 0; i < replies_.size(); ++i) {
    const auto& place = places_[i];
    auto& reply = replies_[i];
    if (reply.type == Reply::Type::array) {
      reply.elements = std::span(replies_).subspan(place.first, place.size);
    } else {
      reply.text = std::string_view(bytes_).substr(place.first, place.size);
    }
  }
  return replies_.front();
}

void append_command(std::string& out, std::span<const std::string_view> arguments) {
  // Commands with more arguments are rare: a resubscription.
  constexpr std::size_t kFew = 64;
  std::array<const char*, kFew> few_texts;
  std::array<std::size_t, kFew> few_sizes;
  std::vector<const char*> many_texts;
  std::vector<std::size_t> many_sizes;
  const char** texts = few_texts.data();
  std::size_t* sizes = few_sizes.data();
  if (arguments.size() > kFew) {
    many_texts.resize(arguments.size());
    many_sizes.resize(arguments.size());
    texts = many_texts.data();
    sizes = many_sizes.data();
  }
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    texts[i] = arguments[i].data() == nullptr ? "" : arguments[i].data();
    sizes[i] = arguments[i].size();
  }
  struct FreeCommand {
    void operator()(char* command) const noexcept { redisFreeCommand(command); }
  };
  char* made = nullptr;
  const auto size = redisFormatCommandArgv(&made, static_cast<int>(arguments.size()), texts, sizes);
  const std::unique_ptr<char, FreeCommand> command(made);
  if (size < 0) throw std::bad_alloc();
  out.append(command.get(), static_cast<std::size_t>(size));
}

}  // namespace waystation
