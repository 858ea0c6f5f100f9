#include "relay/message.hpp"

namespace waystation {

std::string_view route_name(Route route) noexcept {
  switch (route) {
    case Route::none:
      return "none";
    case Route::chat:
      return "chat";
    case Route::push:
      return "push";
  }
  return "";
}

OwnedMessage::OwnedMessage(const Message& message) : view_(message) {
  std::string_view* const views[] = {&view_.value, &view_.group, &view_.from, &view_.to, &view_.id};
  std::size_t size = 0;
  for (const auto* view : views) size += view->size();
  bytes_ = std::make_unique_for_overwrite<char[]>(size);
  char* at = bytes_.get();
  for (auto* view : views) {
    const auto count = view->copy(at, view->size());
    *view = {at, count};
    at += count;
  }
}

}  // namespace waystation
