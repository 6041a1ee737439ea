// The two rings between a guest's network driver and its back-end, as they lie in shared pages
// (xen/include/public/io/netif.h).
#pragma once

#include <cstdint>

#include "ring/xen/ring_layout.h"

namespace kemari::xen {

inline constexpr uint16_t XEN_NETTXF_csum_blank = 1 << 0;  // the checksum is to be completed
inline constexpr uint16_t XEN_NETTXF_data_validated = 1 << 1;
inline constexpr uint16_t XEN_NETTXF_more_data = 1 << 2;   // the next request belongs to this frame, too
inline constexpr uint16_t XEN_NETTXF_extra_info = 1 << 3;  // an entry with netif_extra_info comes next

inline constexpr uint16_t XEN_NETRXF_data_validated = 1 << 0;
inline constexpr uint16_t XEN_NETRXF_csum_blank = 1 << 1;
inline constexpr uint16_t XEN_NETRXF_more_data = 1 << 2;
inline constexpr uint16_t XEN_NETRXF_extra_info = 1 << 3;

inline constexpr uint8_t XEN_NETIF_EXTRA_TYPE_GSO = 1;
inline constexpr uint8_t XEN_NETIF_EXTRA_TYPE_MAX = 6;
inline constexpr uint8_t XEN_NETIF_EXTRA_FLAG_MORE = 1;
inline constexpr uint8_t XEN_NETIF_GSO_TYPE_TCPV4 = 1;
inline constexpr uint8_t XEN_NETIF_GSO_TYPE_TCPV6 = 2;

inline constexpr int16_t XEN_NETIF_RSP_ERROR = -1;
inline constexpr int16_t XEN_NETIF_RSP_OKAY = 0;
inline constexpr int16_t XEN_NETIF_RSP_NULL = 1;  // of an entry with extra info

struct netif_tx_request {
  uint32_t gref;
  uint16_t offset;
  uint16_t flags;
  uint16_t id;
  uint16_t size;  // in a frame's first request: of the whole frame
};

struct netif_extra_info {
  uint8_t type;
  uint8_t flags;
  uint16_t gso_size;  // what follows: of XEN_NETIF_EXTRA_TYPE_GSO
  uint8_t gso_type;
  uint8_t reserved;
  uint16_t gso_features;
};

struct netif_tx_response {
  uint16_t id;
  int16_t status;
};

struct netif_rx_request {
  uint16_t id;
  uint16_t reserved;
  uint32_t gref;
};

struct netif_rx_response {
  uint16_t id;
  uint16_t offset;  // in the page
  uint16_t flags;
  int16_t status;  // bytes, or below 0
};

inline constexpr size_t kNetifTxEntryBytes = 12;
inline constexpr size_t kNetifRxEntryBytes = 8;
static_assert(sizeof(netif_tx_request) == kNetifTxEntryBytes && sizeof(netif_tx_response) == 4);
static_assert(sizeof(netif_rx_request) == kNetifRxEntryBytes && sizeof(netif_rx_response) == kNetifRxEntryBytes);
static_assert(sizeof(netif_extra_info) == 8);

}  // namespace kemari::xen
