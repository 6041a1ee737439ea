// What both ends of a link are made of.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>

#include "link/psk_session.h"
#include "unique_fd.h"

namespace kemari {

inline constexpr size_t kLinkTokenBytes = 16;

struct LinkConnections {
  UniqueFd stream;
  UniqueFd lease;
  std::optional<LinkKey> key;  // nullopt: plain
  std::array<uint8_t, kLinkTokenBytes> token;
  std::chrono::nanoseconds lease_time;
  std::chrono::milliseconds connect_timeout;
};

// What the two sides of a connection of this kind ("stream", "lease") prove to each other; src/wire/README.md,
// "Secure connections".
inline std::optional<PskSecret> secret_for(const LinkConnections& connections, const char* kind) {
  if (!connections.key) return std::nullopt;
  constexpr char kDigits[] = "0123456789abcdef";
  std::string identity = std::string("kemari ") + kind + " ";
  for (const uint8_t octet : connections.token) {
    identity += kDigits[octet >> 4];
    identity += kDigits[octet & 0xf];
  }
  return PskSecret{*connections.key, std::move(identity)};
}

}  // namespace kemari
