/** Connections that do nothing: what each costs is how much the peer's memory grows between `ready` and the end. */
import { setTimeout as delay } from 'node:timers/promises';
import { timed, type Generator, type LoadFigures, type LoadFrame } from './mqtt-generator.ts';
import { forAll, Link } from './mqtt-link.ts';

export type IdlePlan = { kind: 'idle'; connections: number; isSubscribed: boolean };

/** Before anything is measured, so that the peer has compiled its code and its pools their first size. They stay. */
const firstConnections = 250;
/** Until the peer has done what it puts off. */
const restMs = 1000;

export class IdleGenerator implements Generator {
  private readonly plan: IdlePlan & LoadFrame;
  private count = 0;

  constructor(plan: IdlePlan & LoadFrame) {
    this.plan = plan;
  }

  async prepare(): Promise<void> {
    await this.connectMore(firstConnections);
    await delay(restMs);
  }

  /** The connections stay until this process ends. */
  async measure(): Promise<LoadFigures> {
    const { connections } = this.plan;
    const figures = await timed(
      () => 0,
      () => this.connectMore(connections),
    );
    await delay(restMs);
    return { ...figures, messages: connections };
  }

  describe(): string {
    return `${this.count} connections`;
  }

  private async connectMore(connections: number): Promise<void> {
    const { port, version, isSubscribed } = this.plan;
    await forAll(connections, async () => {
      const name = this.count++;
      const link = await Link.open(port);
      await link.connect(version, `bench-${process.pid}-${name}`);
      if (isSubscribed) await link.subscribe(version, `bench/${name}`, 1);
    });
  }
}
