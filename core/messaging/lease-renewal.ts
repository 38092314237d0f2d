import type { Clock } from '../ports/clock.ts';
import type { Delivery, MessageEngine, Receipt, Settlement } from '../ports/message-engine.ts';

/** RocketMQ proxy, DefaultReceiptHandleManager: scan every 5 s, renew what has less than 10 s left, in growing steps. */
const SCAN_MS = 5_000;
const RENEW_BEFORE_MS = 10_000;
const STEPS_MS = [60_000, 180_000, 300_000, 600_000, 1_800_000, 3_600_000] as const;
/** After three hours the consumer is taken for stuck, and the message goes to someone else. */
const RENEW_TOTAL_MS = 3 * 3_600_000;
/** What a consumer that left still held comes back after this. */
const RELEASE_DELAY_MS = 1_000;

/** Leases of those who name what they hold: short, for after a crash nobody gives them back. */
const HELD_STEP_MS = 60_000;

/** Whoever knows by itself what it holds, so that nothing has to be noted here for each message. */
export interface LeaseHolder {
  /** Received, and no verdict was given yet. */
  held(): Iterable<Delivery>;
}

interface RenewedLease {
  readonly receipt: Receipt;
  readonly owner: string;
  readonly since: number;
  visibleAt: number;
  renewals: number;
}

/**
 * Keeps the leases of consumers that process messages at their own pace (RocketMQ push consumers ask for `auto_renew`).
 * A renewed lease keeps its receipt. When the owner goes, what it held is released.
 */
export class LeaseRenewal {
  private readonly engine: MessageEngine;
  private readonly clock: Clock;
  private readonly leases = new Map<Receipt, RenewedLease>();
  /** With the end of those leases that were renewed. */
  private readonly holders = new Map<LeaseHolder, Map<Receipt, number>>();
  private timer: Disposable | undefined;

  constructor(engine: MessageEngine, clock: Clock) {
    this.engine = engine;
    this.clock = clock;
  }

  /** Whether no message is noted here. */
  get isEmpty(): boolean {
    return this.leases.size === 0;
  }

  /** @param owner whoever may go away: a client id */
  add(deliveries: readonly Delivery[], owner: string): void {
    const since = this.clock.now();
    for (const { receipt, visibleAt } of deliveries) {
      this.leases.set(receipt, { receipt, owner, since, visibleAt, renewals: 0 });
    }
    this.arm();
  }

  /** Renews what the holder holds, for as long as it lives, until disposed. */
  keep(holder: LeaseHolder): Disposable {
    this.holders.set(holder, new Map());
    this.arm();
    return { [Symbol.dispose]: () => void this.holders.delete(holder) };
  }

  /** The receipt was settled. */
  remove(receipt: Receipt): void {
    this.leases.delete(receipt);
  }

  /** The owner is gone: its leases end soon instead of running out. */
  async releaseOwner(owner: string): Promise<void> {
    const release: Settlement[] = [];
    for (const lease of this.leases.values()) {
      if (lease.owner !== owner) continue;
      this.leases.delete(lease.receipt);
      release.push({
        receipt: lease.receipt,
        action: { kind: 'release', delayMs: RELEASE_DELAY_MS, countAttempt: true },
      });
    }
    if (release.length > 0) await this.engine.settle(release);
  }

  stop(): void {
    this.timer?.[Symbol.dispose]();
    this.timer = undefined;
  }

  private arm(): void {
    if (this.timer !== undefined || this.leases.size + this.holders.size === 0) return;
    this.timer = this.clock.schedule(SCAN_MS, () => {
      this.timer = undefined;
      void Promise.all([this.renewDue(), this.renewHeld()]).finally(() => this.arm());
    });
  }

  private async renewHeld(): Promise<void> {
    const now = this.clock.now();
    const due: { readonly receipt: Receipt; readonly ends: Map<Receipt, number> }[] = [];
    for (const [holder, endsBefore] of this.holders) {
      const ends = new Map<Receipt, number>();
      for (const { receipt, visibleAt } of holder.held()) {
        const end = endsBefore.get(receipt);
        if ((end ?? visibleAt) - now < RENEW_BEFORE_MS) due.push({ receipt, ends });
        else if (end !== undefined) ends.set(receipt, end);
      }
      // What is not held any more is forgotten.
      this.holders.set(holder, ends);
    }
    if (due.length === 0) return;
    for (const { receipt, ends } of due) ends.set(receipt, now + HELD_STEP_MS);
    await this.engine.settle(
      due.map(({ receipt }) => ({ receipt, action: { kind: 'extend', ms: HELD_STEP_MS, keepReceipt: true } })),
    );
  }

  private async renewDue(): Promise<void> {
    const now = this.clock.now();
    const due = [...this.leases.values()].filter((lease) => lease.visibleAt - now < RENEW_BEFORE_MS);
    const renew = due.filter((lease) => now - lease.since < RENEW_TOTAL_MS);
    for (const lease of due) if (!renew.includes(lease)) this.leases.delete(lease.receipt);
    if (renew.length === 0) return;
    const stepsMs = renew.map((lease) => STEPS_MS[Math.min(lease.renewals, STEPS_MS.length - 1)]!);
    const outcomes = await this.engine.settle(
      renew.map(({ receipt }, i) => ({ receipt, action: { kind: 'extend', ms: stepsMs[i]!, keepReceipt: true } })),
    );
    renew.forEach((lease, i) => {
      if (outcomes[i]?.ok !== true) {
        this.leases.delete(lease.receipt);
        return;
      }
      lease.visibleAt = now + stepsMs[i]!;
      lease.renewals++;
    });
  }
}
