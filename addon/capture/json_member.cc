#include "capture/json_member.h"

#include <cstddef>

namespace kemari {

namespace {

// Behind the string that begins at `at`.
size_t after_string(std::string_view text, size_t at) {
  for (at++; at < text.size(); at++) {
    if (text[at] == '\\') {
      at++;
    } else if (text[at] == '"') {
      return at + 1;
    }
  }
  return text.size();
}

size_t after_space(std::string_view text, size_t at) {
  while (at < text.size() && (text[at] == ' ' || text[at] == '\t' || text[at] == '\r' || text[at] == '\n')) at++;
  return at;
}

// The end of the value that begins at `at`: the comma or brace behind it.
size_t after_value(std::string_view text, size_t at) {
  int depth = 0;
  while (at < text.size()) {
    const char c = text[at];
    if (c == '"') {
      at = after_string(text, at);
      continue;
    }
    if (c == '{' || c == '[') depth++;
    if ((c == '}' || c == ']') && depth-- == 0) return at;
    if (c == ',' && depth == 0) return at;
    at++;
  }
  return at;
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.back() == ' ' || text.back() == '\r' || text.back() == '\n')) text.remove_suffix(1);
  return text;
}

}  // namespace

std::string_view json_member(std::string_view object, std::string_view key) {
  size_t at = after_space(object, 0);
  if (at == object.size() || object[at] != '{') return {};
  at++;
  while (true) {
    at = after_space(object, at);
    if (at >= object.size() || object[at] != '"') return {};
    const size_t key_end = after_string(object, at);
    const std::string_view found = json_text(object.substr(at, key_end - at));
    at = after_space(object, key_end);
    if (at >= object.size() || object[at] != ':') return {};
    at = after_space(object, at + 1);
    const size_t end = after_value(object, at);
    if (found == key) return trimmed(object.substr(at, end - at));
    if (end >= object.size() || object[end] != ',') return {};
    at = end + 1;
  }
}

std::string_view json_text(std::string_view value) {
  if (value.size() < 2 || value.front() != '"' || value.back() != '"') return value;
  return value.substr(1, value.size() - 2);
}

}  // namespace kemari
