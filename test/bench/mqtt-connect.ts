/** Connections that come and go: TCP, CONNECT, CONNACK, DISCONNECT, closed by the peer; some at a time, each at once followed by the next. */
import { performance } from 'node:perf_hooks';
import { timed, type Generator, type LoadFigures, type LoadFrame } from './mqtt-generator.ts';
import { Link } from './mqtt-link.ts';
import { disconnectBytes, encodeConnect } from './mqtt-wire.ts';

export type ConnectPlan = { kind: 'connect'; atOnce: number };

export class ConnectGenerator implements Generator {
  private readonly plan: ConnectPlan & LoadFrame;
  private readonly connects: Buffer[];
  private count = 0;

  constructor(plan: ConnectPlan & LoadFrame) {
    this.plan = plan;
    this.connects = Array.from({ length: plan.atOnce }, (_, index) => encodeConnect(plan.version, clientId(index)));
  }

  async prepare(): Promise<void> {
    await this.load(this.plan.warmupMs);
  }

  measure(): Promise<LoadFigures> {
    return this.load(this.plan.durationMs);
  }

  describe(): string {
    return `${this.count} connections`;
  }

  private load(durationMs: number): Promise<LoadFigures> {
    return timed(
      () => this.count,
      (startMs) => {
        const stopAtMs = startMs + durationMs;
        return Promise.all(this.connects.map((request, index) => this.comeAndGo(index, request, stopAtMs)));
      },
    );
  }

  private async comeAndGo(index: number, request: Buffer, stopAtMs: number): Promise<void> {
    const { port, version } = this.plan;
    while (performance.now() < stopAtMs) {
      const link = await Link.open(port);
      await link.connect(version, clientId(index), request);
      await link.end(disconnectBytes);
      this.count++;
    }
  }
}

function clientId(index: number): string {
  return `bench-${process.pid}-${index}`;
}
