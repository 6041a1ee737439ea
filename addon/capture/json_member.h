// As much JSON as QMP's lines need.
#pragma once

#include <string>
#include <string_view>

namespace kemari {

// The text of a member's value in a JSON object that a well-behaved peer wrote; empty when it has no such member.
std::string_view json_member(std::string_view object, std::string_view key);

// A JSON string without its quotes, escapes left as they are; other values as they stand.
std::string_view json_text(std::string_view value);

}  // namespace kemari
