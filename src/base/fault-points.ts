/**
 * Every point at which a process can be told to fail (KEMARI_FAULT): who passes it, and what is true there. README.md has
 * the same list for people; a test holds that each is in it and is passed at one place.
 */
export const FAULT_POINTS = {
  'capture.before-stop': { by: 'primary', means: 'an epoch was ordered, the guest still runs' },
  'capture.after-stop': { by: 'primary', means: 'the vCPUs stand, nothing was cut' },
  'capture.scanned': { by: 'primary', means: 'the written pages are known, the rings were not cut' },
  'capture.half-copied': { by: 'primary', means: 'half of the ranges of pages are copied' },
  'capture.serializing': { by: 'primary', means: 'the pages are copied, QEMU may still write its device state' },
  'capture.before-resume': { by: 'primary', means: 'QEMU is about to be let go' },
  'capture.after-resume': { by: 'primary', means: 'the guest runs again, its epoch may be on its way' },
  'send.before-header': { by: 'primary', means: 'nothing of the epoch has left' },
  'send.pages': { by: 'primary', means: 'the epoch has left up to the header of a record of pages' },
  'send.last-byte': { by: 'primary', means: 'all but the last byte of the epoch has left' },
  'receive.begun': { by: 'standby', means: 'the first record of an epoch has come' },
  'receive.pages': { by: 'standby', means: 'pages of an epoch have come, its end has not' },
  'receive.whole': { by: 'standby', means: 'the epoch is whole, nobody was told' },
  'apply.half': { by: 'standby', means: "half of the epoch is in the guest's memory" },
  'ack.before': { by: 'standby', means: 'the ack was decided on and not sent' },
  'ack.after': { by: 'standby', means: 'the ack was sent' },
  'release.before': { by: 'primary', means: 'the ack has come, nothing that the epoch held has left' },
  'release.tested': {
    by: 'primary',
    means: 'a held request was found released and the lease valid; it was not submitted',
  },
  'release.half': { by: 'primary', means: 'as release.tested, after another of the same lane was let go' },
  'takeover.before-fence': { by: 'standby', means: 'the fence was decided on and not begun' },
  'takeover.after-fence': { by: 'standby', means: 'the fence has ended, nobody was told' },
  'takeover.loaded': { by: 'standby', means: 'machine, rings and disks have the state of the epoch' },
  'takeover.before-resume': { by: 'standby', means: 'it can be undone no more, the guest was not told to run' },
  'takeover.resumed': { by: 'standby', means: 'the guest runs here, the network was not told' },
  'replay.before': { by: 'standby', means: 'a queue goes on, nothing that was pending in it was submitted again' },
  'replay.half': { by: 'standby', means: 'half of what was pending in a queue was submitted again' },
  'replay.after': { by: 'standby', means: 'all that was pending in a queue was submitted again' },
  'handover.before-go': { by: 'primary', means: 'the last epoch is acknowledged, "go" was not sent' },
  'handover.after-go': { by: 'primary', means: '"go" was sent' },
  'handover.before-taken': { by: 'standby', means: 'the guest runs here, "taken" was not sent' },
  'handover.after-taken': { by: 'standby', means: '"taken" was sent' },
  'lease.before-renewal': { by: 'primary', means: 'a renewal counts as sent, and was not' },
  'lease.answered': { by: 'primary', means: 'the answer to a renewal has come and does not count yet' },
  'lease.before-answer': { by: 'standby', means: 'a lease counts as granted, the answer was not sent' },
  'ownership.before-write': { by: 'either', means: 'a record of ownership was not written' },
  'ownership.half-written': { by: 'either', means: 'the new record lies beside the old one, which still stands' },
  'ownership.after-write': { by: 'either', means: 'the record was written for good' },
} as const satisfies Readonly<
  Record<string, { readonly by: 'primary' | 'standby' | 'either'; readonly means: string }>
>;

/** The name of a point, in FAULT_POINTS. */
export type FaultPoint = keyof typeof FAULT_POINTS;
