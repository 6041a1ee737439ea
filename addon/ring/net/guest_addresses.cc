#include "ring/net/guest_addresses.h"

#include <algorithm>
#include <cstring>

namespace kemari {
namespace {

constexpr size_t kSourceMac = 6;
constexpr size_t kEtherType = 12;
constexpr size_t kArpSenderAddress = 14 + 14;   // RFC 826, with Ethernet and IPv4
constexpr size_t kIpv4SourceAddress = 14 + 12;  // RFC 791 section 3.1
constexpr uint16_t kTypeIpv4 = 0x0008;          // as a little-endian machine reads them
constexpr uint16_t kTypeArp = 0x0608;

template <typename T>
T read(std::span<const uint8_t> frame, size_t offset) noexcept {
  T value;
  std::memcpy(&value, frame.data() + offset, sizeof value);
  return value;
}

}  // namespace

void GuestAddresses::learn(std::span<const uint8_t> frame) noexcept {
  if (frame.size() < kArpSenderAddress + sizeof(uint32_t)) return;
  const auto type = read<uint16_t>(frame, kEtherType);
  if (type != kTypeIpv4 && type != kTypeArp) return;
  // Before a probe was answered the sender is 0.0.0.0 (RFC 5227); a guest that is a router sends others' addresses,
  // too.
  const auto address = read<uint32_t>(frame, type == kTypeArp ? kArpSenderAddress : kIpv4SourceAddress);
  if (address == 0 || (!addresses_.empty() && addresses_.back() == address)) return;
  if (std::memcmp(frame.data() + kSourceMac, mac_.data(), mac_.size()) != 0) return;
  if (type == kTypeArp) add(address);
  // What is only forwarded is not learned: ARP says which addresses are the guest's own, once there was any.
  if (type == kTypeIpv4 && addresses_.empty()) add(address);
}

void GuestAddresses::add(uint32_t address) {
  std::erase(addresses_, address);
  if (addresses_.size() == kMaxAddresses) addresses_.erase(addresses_.begin());
  addresses_.push_back(address);
}

void GuestAddresses::replace(std::vector<uint32_t> addresses) {
  if (addresses.size() > kMaxAddresses) addresses.resize(kMaxAddresses);
  addresses_.assign(addresses.begin(), addresses.end());
}

}  // namespace kemari
