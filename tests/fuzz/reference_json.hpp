// A reference for the relay's JSON scanner: RFC 8259's grammar rule by rule, slow and simple. Like
// the scanner, it looks only at the end, escapes and control characters of a string.
#pragma once

#include <cstddef>
#include <string_view>

namespace waystation::test {

class ReferenceJson {
 public:
  /// Returns true if `text` is one JSON text of at most `max_levels` levels of arrays and objects.
  static bool is_json(std::string_view text, std::size_t max_levels) {
    ReferenceJson reader(text, max_levels);
    return reader.element(0) && reader.at_ == text.size();
  }

 private:
  ReferenceJson(std::string_view text, std::size_t max_levels)
      : text_(text), max_levels_(max_levels) {}

  // Section 2: ws = *( %x20 / %x09 / %x0A / %x0D )
  void ws() {
    while (is_one_of(" \t\n\r")) ++at_;
  }

  bool element(std::size_t level) {
    ws();
    if (!value(level)) return false;
    ws();
    return true;
  }

  // Section 3: value = false / null / true / object / array / number / string
  bool value(std::size_t level) {
    if (is_one_of("{")) return object(level);
    if (is_one_of("[")) return array(level);
    if (is_one_of("\"")) return string();
    return word("false") || word("null") || word("true") || number();
  }

  bool object(std::size_t level) {
    if (level == max_levels_ || !take('{')) return false;
    ws();
    if (take('}')) return true;
    do {
      ws();
      if (!string()) return false;
      ws();
      if (!take(':') || !element(level + 1)) return false;
    } while (take(','));
    return take('}');
  }

  bool array(std::size_t level) {
    if (level == max_levels_ || !take('[')) return false;
    ws();
    if (take(']')) return true;
    do {
      if (!element(level + 1)) return false;
    } while (take(','));
    return take(']');
  }

  // Section 6: number = [ minus ] int [ frac ] [ exp ]
  bool number() {
    take('-');
    if (!take('0')) {
      if (!is_one_of("123456789")) return false;
      digits();
    }
    if (take('.') && !digits()) return false;
    if (take('e') || take('E')) {
      if (!take('+')) take('-');
      if (!digits()) return false;
    }
    return true;
  }

  bool digits() {
    if (!is_one_of("0123456789")) return false;
    while (is_one_of("0123456789")) ++at_;
    return true;
  }

  // Section 7: string = quotation-mark *char quotation-mark
  bool string() {
    if (!take('"')) return false;
    while (!take('"')) {
      if (take('\\')) {
        if (take('u')) {
          for (int i = 0; i < 4; ++i, ++at_) {
            if (!is_one_of("0123456789abcdefABCDEF")) return false;
          }
        } else if (is_one_of("\"\\/bfnrt")) {
          ++at_;
        } else {
          return false;
        }
      } else if (at_ < text_.size() && static_cast<unsigned char>(text_[at_]) >= 0x20) {
        ++at_;
      } else {
        return false;
      }
    }
    return true;
  }

  bool is_one_of(std::string_view characters) const {
    return at_ < text_.size() && characters.find(text_[at_]) != std::string_view::npos;
  }

  bool take(char c) {
    if (at_ == text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }

  bool word(std::string_view expected) {
    if (text_.substr(at_, expected.size()) != expected) return false;
    at_ += expected.size();
    return true;
  }

  std::string_view text_;
  std::size_t max_levels_;
  std::size_t at_ = 0;
};

}  // namespace waystation::test
