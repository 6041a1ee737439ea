#include "link/link_sender.h"

#include <time.h>

#include <array>
#include <new>
#include <utility>

#include "error.h"
#include "evidence/evidence.h"
#include "fault/fault.h"
#include "link/thread_priority.h"

namespace kemari {

namespace {

// Of the calling thread, since it began.
int64_t thread_cpu_ns() noexcept {
  timespec used;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
  return int64_t{used.tv_sec} * 1'000'000'000 + used.tv_nsec;
}

}  // namespace

LinkSender::LinkSender(Options options)
    : options_(std::move(options)),
      stream_(std::move(options_.connections.stream), secret_for(options_.connections, "stream"), true),
      lease_(std::move(options_.connections.lease), secret_for(options_.connections, "lease"),
             {.lease = options_.connections.lease_time,
              .end = {.connect_by = LinkClock::now() + options_.connections.connect_timeout,
                      .secured = [this] { secured(); },
                      .refused = [this](const Error& error) { lose(error); }},
              .renewed = options_.renew_lease,
              .changed = [this](bool valid) { options_.on_event({.type = LinkEvent::Type::kLease, .valid = valid}); }}),
      queue_(options_.ram_pages),
      encoder_(options_.cache_bytes, options_.compress) {}

LinkSender::~LinkSender() {
  close();
}

void LinkSender::start() {
  lease_.start();
  threads_.emplace_back([this] { run(&LinkSender::read_stream); });
}

// Whatever goes wrong on a thread is the loss of the link.
void LinkSender::run(void (LinkSender::*body)()) {
  prefer_this_thread(kStreamNice);
  try {
    (this->*body)();
  } catch (const Error& error) {
    lose(error);
  } catch (const std::bad_alloc&) {
    lose(Error("KEMARI_LINK_MEMORY", "this host has no memory for the link"));
  }
}

void LinkSender::lose(const Error& error) {
  if (lost_.exchange(true)) return;
  queue_.close();
  belt_.close();
  stream_.stop();
  options_.on_event({.type = LinkEvent::Type::kLost, .code = error.code(), .text = error.what()});
}

void LinkSender::secured() {
  constexpr int kConnections = 2;
  if (++secured_ == kConnections) options_.on_event({.type = LinkEvent::Type::kConnected});
}

void LinkSender::read_stream() {
  if (!stream_.secure(LinkClock::now() + options_.connections.connect_timeout)) return;
  secured();
  // Not before the peer has proved itself: nothing is said to anyone else.
  std::thread encoding([this] { run(&LinkSender::encode_stream); });
  std::thread sending([this] { run(&LinkSender::send_stream); });
  run(&LinkSender::read_records);
  encoding.join();
  sending.join();
}

void LinkSender::read_records() {
  std::array<uint8_t, kWordHeadBytes + kMaxWordTextBytes> payload;
  RecordReader reader(stream_, [&payload](const RecordHeader& header) {
    if (header.length > payload.size()) {
      fail("KEMARI_LINK_PROTOCOL", "the standby broke the protocol: " + name_of(header.type) + " has " +
                                       std::to_string(header.length) + " bytes");
    }
    return std::span<uint8_t>(payload);
  });
  while (const std::optional<Record> record = reader.next()) take_record(*record);
}

void LinkSender::tell(LinkEvent event) {
  if (options_.on_event(std::move(event))) return;
  fail("KEMARI_LINK_PROTOCOL", "the standby says more than this side can hear");
}

void LinkSender::take_record(const Record& record) {
  const auto& [header, payload] = record;
  if (header.type == static_cast<uint16_t>(RecordType::kWord) && header.epoch == 0) {
    WordMessage message = read_word(payload, false);
    return tell({.type = LinkEvent::Type::kWord, .word = message.word, .text = std::move(message.text)});
  }
  if (header.type != static_cast<uint16_t>(RecordType::kAck) || !payload.empty()) {
    fail("KEMARI_LINK_PROTOCOL", "the standby broke the protocol: it sent " + name_of(header.type));
  }
  if (header.epoch <= acked_epoch_ || header.epoch > committed_epoch_) {
    fail("KEMARI_LINK_PROTOCOL", "the standby broke the protocol: it acknowledged epoch " +
                                     std::to_string(header.epoch) + ", expected one from " +
                                     std::to_string(acked_epoch_ + 1) + " to " + std::to_string(committed_epoch_));
  }
  acked_epoch_ = header.epoch;
  note_ack(AckEvent::kHeard, header.epoch);
  tell({.type = LinkEvent::Type::kAcked, .epoch = header.epoch, .way = send_times_.acked(header.epoch)});
}

void LinkSender::submit(std::unique_ptr<Checkpoint> checkpoint) {
  if (checkpoint->epoch > 0) send_times_.submitted(checkpoint->epoch);
  queue_.submit(std::move(checkpoint));
}

void LinkSender::encode_stream() {
  while (std::optional<SendItem> item = queue_.next()) {
    const bool goes_on = encode_item(std::move(*item));
    encode_cpu_ns_ = thread_cpu_ns();
    if (!goes_on) return;
  }
}

bool LinkSender::encode_item(SendItem item) {
  if (const auto* word = std::get_if<WordMessage>(&item)) {
    Parcel* parcel = belt_.take();
    if (parcel == nullptr) return false;
    const bool is_go = word->word == Word::kGo;
    if (is_go) fault_point("handover.before-go");
    encoder_.encode(*word, *parcel);
    const bool goes_on = pass_on(parcel);
    if (is_go) fault_point("handover.after-go");
    return goes_on;
  }
  encoding_ = std::move(std::get<std::unique_ptr<Checkpoint>>(item));
  encoder_.start(*encoding_);
  std::chrono::nanoseconds took{0};
  while (encoding_ != nullptr) {
    Parcel* parcel = belt_.take();
    if (parcel == nullptr) return false;
    const LinkClock::time_point start = LinkClock::now();
    encoder_.next(*parcel, rate_.ns_per_byte());
    took += LinkClock::now() - start;
    if (parcel->commit_epoch > 0) send_times_.encoded(parcel->commit_epoch, took);
    if (parcel->ends_item) parcel->finished = std::move(encoding_);
    if (!pass_on(parcel)) return false;
  }
  return true;
}

// A parcel that is alone goes out here and now: waking the other thread would take longer than sending.
bool LinkSender::pass_on(Parcel* parcel) {
  if (parcel->ends_item && belt_.is_idle(1)) {
    const bool sent = send_parcel(*parcel);
    belt_.give_back(parcel);
    return sent;
  }
  belt_.send(parcel);
  return true;
}

void LinkSender::send_stream() {
  while (Parcel* parcel = belt_.next()) {
    const bool sent = send_parcel(*parcel);
    belt_.give_back(parcel);
    send_cpu_ns_ = thread_cpu_ns();
    if (!sent) return;
  }
}

bool LinkSender::send_parcel(Parcel& parcel) {
  if (parcel.commit_epoch > 0) {
    committed_epoch_ = parcel.commit_epoch;
    send_times_.committed(parcel.commit_epoch);
  }
  const LinkClock::time_point start = LinkClock::now();
  uint64_t bytes = parcel.before.size() + parcel.header.size() + parcel.after.size();
  const bool halts = parcel.epoch > 0 && !parcel.header.empty() && is_armed("send.pages");
  if (!stream_.write(parcel.before, true) || !stream_.write(parcel.header, !halts)) return false;
  if (halts) fault_point("send.pages");
  if (!parcel.header.empty()) {
    for (const std::span<const uint8_t> piece : parcel.pages.payload()) {
      if (!stream_.write(piece, true)) return false;
      bytes += piece.size();
    }
  }
  if (parcel.commit_epoch > 0 && is_armed("send.last-byte")) {
    const std::span<const uint8_t> all(parcel.after);
    if (!stream_.write(all.first(all.size() - 1), false)) return false;
    fault_point("send.last-byte");
    if (!stream_.write(all.last(1), false)) return false;
  } else if (!stream_.write(parcel.after, !parcel.ends_item)) {
    return false;
  }
  if (parcel.commit_epoch > 0) send_times_.sent(parcel.commit_epoch);
  rate_.note(bytes, LinkClock::now() - start);
  sent_bytes_ += bytes;
  raw_bytes_ += parcel.done_bytes;
  if (parcel.finished != nullptr) queue_.recycle(std::move(parcel.finished));
  queue_.sent(parcel.done_bytes, parcel.ends_item);
  return true;
}

void LinkSender::say(Word word, const std::string& text) {
  static_cast<void>(queue_.say({word, text}));
}

LinkSenderStats LinkSender::stats() {
  return {
      .queued_bytes = queue_.queued_bytes(),
      .sent_bytes = sent_bytes_,
      .raw_bytes = raw_bytes_,
      .acked_epoch = acked_epoch_,
      .ack = send_times_.summary(),
      .bytes_per_second = rate_.bytes_per_second(),
      .round_trip = lease_.round_trip(),
      .lease_valid = lease_.is_valid(),
      .cpu_time = std::chrono::nanoseconds(encode_cpu_ns_ + send_cpu_ns_),
  };
}

void LinkSender::close() {
  const std::lock_guard lock(closing_);
  if (!lost_ && secured_ > 0) queue_.wait_until_sent(kCloseFlush);
  lost_ = true;  // from here on it is no loss
  queue_.close();
  belt_.close();
  stream_.say_end();
  stream_.stop();
  lease_.stop();
  for (std::thread& thread : threads_) {
    if (thread.joinable()) thread.join();
  }
}

}  // namespace kemari
