#include "ring/xen/netif_queue.h"

#include <string>

#include "error.h"
#include "ring/net/net_header.h"

namespace kemari::xen {

namespace {

[[noreturn]] void refuse(const char* what) {
  fail("KEMARI_RING_STATE", std::string("a checkpoint has ") + what + " of a network ring of Xen's, which has none");
}

}  // namespace

uint64_t netif_features(const NetifOffloads& offloads) noexcept {
  uint64_t features = VIRTIO_F_VERSION_1_MASK | VIRTIO_NET_F_CSUM | VIRTIO_NET_F_HOST_TSO4 | VIRTIO_NET_F_HOST_TSO6;
  if (offloads.scatter) features |= VIRTIO_NET_F_MRG_RXBUF;
  if (!offloads.checksum) return features;
  features |= VIRTIO_NET_F_GUEST_CSUM;
  if (offloads.scatter && offloads.tcp4) features |= VIRTIO_NET_F_GUEST_TSO4;
  if (offloads.scatter && offloads.tcp6) features |= VIRTIO_NET_F_GUEST_TSO6;
  return features;
}

void NetifQueue::start() {
  AttachedQueue::start();
  const uint32_t outstanding = ring().req_cons() - ring().rsp_prod();
  if (outstanding == 0) return;
  AttachedQueue::stop();
  fail("KEMARI_RING_STATE",
       "a network ring of Xen's has " + std::to_string(outstanding) + " requests without an answer, 0 are known");
}

void NetifQueue::describe(uint16_t, std::span<const Segment>, CutRequest&) const {
  refuse("a request");
}

std::vector<Segment> NetifQueue::adopt(const CutRequest&) {
  refuse("a request");
}

void NetifQueue::describe_kept(CutQueue::Kept&) const {
  refuse("an answer");
}

void NetifQueue::adopt_kept(const CutQueue::Kept&) {
  refuse("an answer");
}

}  // namespace kemari::xen
