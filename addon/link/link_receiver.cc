#include "link/link_receiver.h"

#include <algorithm>
#include <new>
#include <utility>

#include "error.h"
#include "evidence/evidence.h"
#include "fault/fault.h"
#include "link/thread_priority.h"

namespace kemari {

namespace {

constexpr int kConnections = 2;

}  // namespace

LinkReceiver::LinkReceiver(Options options)
    : options_(std::move(options)),
      staging_(*options_.ram, {.staging_bytes = options_.staging_bytes, .device_count = options_.device_count}),
      stream_(std::move(options_.connections.stream), secret_for(options_.connections, "stream"), false),
      lease_(std::move(options_.connections.lease), secret_for(options_.connections, "lease"),
             {.lease = options_.connections.lease_time,
              .takeover_timeout = options_.takeover_timeout,
              .end = {.connect_by = LinkClock::now() + options_.connections.connect_timeout,
                      .secured = [this] { secured(); },
                      .refused = [this](const Error& error) { lose(error.code(), error.what()); }},
              .changed = [this](bool heard) {
                options_.on_event({.type = heard ? LinkEvent::Type::kHeard : LinkEvent::Type::kSilent});
              }}) {}

LinkReceiver::~LinkReceiver() {
  close();
}

void LinkReceiver::start() {
  lease_.start();
  reading_ = std::thread([this] {
    prefer_this_thread(kStreamNice);
    try {
      read_stream();
    } catch (const Error& error) {
      lose(error.code(), error.what());
    } catch (const std::bad_alloc&) {
      lose("KEMARI_LINK_MEMORY", "this host has no memory for the epoch that arrives");
    }
  });
}

void LinkReceiver::lose(const std::string& code, const std::string& text) {
  if (lost_.exchange(true)) return;
  options_.on_event({.type = LinkEvent::Type::kLost, .code = code, .text = text});
}

void LinkReceiver::secured() {
  if (++secured_ == kConnections) options_.on_event({.type = LinkEvent::Type::kConnected});
}

void LinkReceiver::read_stream() {
  if (!stream_.secure(LinkClock::now() + options_.connections.connect_timeout)) return;
  start_posting();
  secured();
  options_.ram->open();
  RecordReader reader(stream_, [this](const RecordHeader& header) { return staging_.payload_room(header); });
  while (const std::optional<Record> record = reader.next()) {
    received_bytes_ += kRecordHeaderBytes + record->payload.size();
    if (record->header.type == static_cast<uint16_t>(RecordType::kWord)) {
      take_word(*record);
    } else {
      take_part(*record);
    }
  }
}

void LinkReceiver::start_posting() {
  const std::lock_guard lock(posting_);
  can_post_ = true;
  for (const std::vector<uint8_t>& payload : unsaid_) post(RecordType::kWord, 0, payload);
  unsaid_.clear();
}

void LinkReceiver::tell(LinkEvent event) {
  if (options_.on_event(std::move(event))) return;
  fail("KEMARI_LINK_PROTOCOL", "the peer says more than this side can hear");
}

void LinkReceiver::take_word(const Record& record) {
  if (staging_.is_in_epoch() || record.header.epoch != 0) {
    fail("KEMARI_LINK_PROTOCOL", "the peer broke the protocol: WORD came within an epoch");
  }
  WordMessage message = read_word(record.payload, true);
  tell({.type = LinkEvent::Type::kWord, .word = message.word, .text = std::move(message.text)});
}

void LinkReceiver::take_part(const Record& record) {
  const std::optional<CommittedEpoch> committed = staging_.accept(record.header, record.payload);
  pages_received_ = staging_.pages_accepted();
  staged_bytes_ = staging_.staged_bytes();
  staged_bytes_peak_ = std::max(staged_bytes_peak_.load(), staged_bytes_.load());
  if (!committed) return;
  fault_point("receive.whole");
  // Told before it is applied: the ack is on its way meanwhile. Nothing can keep apply() from coming to its end.
  committed_epoch_ = committed->epoch;
  const LinkEvent event{.type = LinkEvent::Type::kCommitted,
                        .epoch = committed->epoch,
                        .pages = committed->pages,
                        .bytes = committed->bytes,
                        .writes_pending = has_pending_writes(staging_.committed()),
                        .guest_paused = staging_.committed().guest_paused};
  const bool heard = options_.on_event(event);
  const LinkClock::time_point start = LinkClock::now();
  staging_.apply();
  apply_time_ = LinkClock::now() - start;
  staged_bytes_ = 0;
  if (!heard) fail("KEMARI_LINK_PROTOCOL", "the peer sends epochs faster than this side can hear of them");
}

bool LinkReceiver::has_pending_writes(const EpochState& state) const {
  return std::ranges::any_of(state.devices, options_.has_pending_writes);
}

void LinkReceiver::post(RecordType type, uint64_t epoch, std::span<const uint8_t> payload) {
  if (!can_post_) return;
  try {
    stream_.post(whole_record(type, epoch, next_number_, payload));
    next_number_++;
  } catch (const Error& error) {
    can_post_ = false;
    lose(error.code(), error.what());
  }
}

void LinkReceiver::ack(uint64_t epoch) {
  const std::lock_guard lock(posting_);
  if (epoch <= acked_epoch_ || epoch > committed_epoch_) {
    fail("KEMARI_ARGUMENT", "epoch " + std::to_string(epoch) +
                                " cannot be acknowledged: " + std::to_string(committed_epoch_) + " is committed, " +
                                std::to_string(acked_epoch_) + " acknowledged");
  }
  acked_epoch_ = epoch;
  fault_point("ack.before");
  note_ack(AckEvent::kSent, epoch);
  post(RecordType::kAck, epoch, {});
  fault_point("ack.after");
}

void LinkReceiver::say(Word word, const std::string& text) {
  const std::lock_guard lock(posting_);
  std::vector<uint8_t> payload = word_payload(word, text);
  if (can_post_) return post(RecordType::kWord, 0, payload);
  if (!lost_ && secured_ < kConnections && unsaid_.size() < kMaxUnsaid) unsaid_.push_back(std::move(payload));
}

void LinkReceiver::stop_reading() {
  const std::lock_guard lock(joining_);
  stream_.stop();
  if (reading_.joinable()) reading_.join();
}

LinkReceiverStats LinkReceiver::stats() const noexcept {
  return {
      .received_bytes = received_bytes_,
      .pages_received = pages_received_,
      .committed_epoch = committed_epoch_,
      .staged_bytes = staged_bytes_,
      .staged_bytes_peak = staged_bytes_peak_,
      .apply_time = apply_time_,
  };
}

void LinkReceiver::close() {
  lost_ = true;  // from here on it is no loss
  stop_reading();
  {
    const std::lock_guard lock(posting_);
    if (std::exchange(can_post_, false)) stream_.finish(kCloseFlush);
  }
  lease_.stop();
}

}  // namespace kemari
