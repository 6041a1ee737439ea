#include "capture/capture.h"

#include <algorithm>
#include <chrono>
#include <thread>
#include <utility>

#include "error.h"

namespace kemari {

static constexpr uint64_t kRoundPages = (4 << 20) / kPageBytes;  // what travels at once while the guest runs
static constexpr int64_t kRoomPollNs = 1'000'000;

CopyRoundResult Capture::copy_round() {
  require_round();
  collect();
  CopyRoundResult result;
  while (!owed_.empty()) {
    while (!aborted_.load() && outputs_.sink->queued_bytes() > CheckpointSink::kMaxQueuedBytes) {
      std::this_thread::sleep_for(std::chrono::nanoseconds(kRoomPollNs));
    }
    if (aborted_.load()) fail("KEMARI_CAPTURE_ABORTED", "the capture was detached during a round");
    if (!outputs_.sink->wait_for_room()) fail("KEMARI_CAPTURE_ABORTED", "the link was lost or closed during a round");
    std::unique_ptr<Checkpoint> checkpoint = outputs_.sink->take();
    PageRanges rest;
    uint64_t room = kRoundPages;
    for (const PageRange& range : owed_) {
      const uint64_t now = std::min(room, range.count);
      if (now != 0) checkpoint->ranges.push_back({range.first, now});
      if (now != range.count) rest.push_back({range.first + now, range.count - now});
      room -= now;
    }
    copy(*checkpoint);
    result.pages += checkpoint->pages.page_count();
    owed_ = std::move(rest);
    outputs_.sink->submit(std::move(checkpoint));
  }
  result.dirty_left = count_dirty();
  return result;
}

void Capture::cut_outputs(Checkpoint& checkpoint) {
  checkpoint.devices.resize(outputs_.devices.size());
  for (size_t i = 0; i < outputs_.devices.size(); i++) checkpoint.devices[i] = outputs_.devices[i]->cut();
  if (outputs_.console) checkpoint.console = outputs_.console->cut();
}

}  // namespace kemari
