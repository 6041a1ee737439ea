#include "xen/machine_state.h"

#include <array>
#include <cstring>
#include <string>

#include "error.h"

namespace kemari::xen {

namespace {

constexpr std::array kParameters{
    kHvmParamCallbackIrq, kHvmParamStorePfn,      kHvmParamStoreEvtchn,         kHvmParamIdentPt,
    kHvmParamConsolePfn,  kHvmParamConsoleEvtchn, kHvmParamAcpiIoportsLocation, kHvmParamX87FipWidth,
    kHvmParamVm86TssSized};
constexpr std::array<char, 4> kMagic{'K', 'X', 'E', 'N'};
constexpr uint32_t kVersion = 1;

struct Header {
  std::array<char, 4> magic;
  uint32_t version;
  uint32_t parameters;
  uint32_t hvm_bytes;
  uint32_t pv_bytes;
  uint32_t pad;
};

void append_bytes(std::vector<uint8_t>& to, const void* from, size_t bytes) {
  const auto* const first = static_cast<const uint8_t*>(from);
  to.insert(to.end(), first, first + bytes);
}

}  // namespace

std::vector<HvmParam> read_parameters(Domain& domain) {
  std::vector<HvmParam> parameters;
  for (const uint32_t index : kParameters) parameters.push_back({domain.domid(), 0, index, domain.parameter(index)});
  return parameters;
}

void write_machine_state(const MachineState& from, std::vector<uint8_t>& to) {
  const Header header{kMagic,
                      kVersion,
                      static_cast<uint32_t>(from.parameters.size()),
                      static_cast<uint32_t>(from.hvm_context.size()),
                      static_cast<uint32_t>(from.pv_context.size()),
                      0};
  append_bytes(to, &header, sizeof header);
  append_bytes(to, from.parameters.data(), from.parameters.size_bytes());
  append_bytes(to, from.hvm_context.data(), from.hvm_context.size());
  append_bytes(to, from.pv_context.data(), from.pv_context.size());
}

MachineState read_machine_state(std::span<const uint8_t> from) {
  Header header{};
  if (from.size() >= sizeof header) std::memcpy(&header, from.data(), sizeof header);
  const uint64_t size =
      sizeof header + header.parameters * sizeof(HvmParam) + header.hvm_bytes + uint64_t{header.pv_bytes};
  if (header.magic != kMagic || header.version != kVersion || header.parameters != kParameters.size() ||
      size != from.size()) {
    fail("KEMARI_XEN_CONTEXT", "no state of a guest of Xen's of version " + std::to_string(kVersion) + ": " +
                                   std::to_string(from.size()) + " bytes, version " + std::to_string(header.version));
  }
  // SAFETY: the header keeps the alignment, and the size was checked.
  const auto* const parameters = reinterpret_cast<const HvmParam*>(from.data() + sizeof header);
  const uint8_t* const contexts = from.data() + sizeof header + header.parameters * sizeof(HvmParam);
  for (size_t i = 0; i < kParameters.size(); i++) {
    if (parameters[i].index == kParameters[i]) continue;
    fail("KEMARI_XEN_CONTEXT", "parameter " + std::to_string(parameters[i].index) + " came, parameter " +
                                   std::to_string(kParameters[i]) + " was expected");
  }
  return {
      {parameters, header.parameters}, {contexts, header.hvm_bytes}, {contexts + header.hvm_bytes, header.pv_bytes}};
}

}  // namespace kemari::xen
