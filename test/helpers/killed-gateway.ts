import { spawnGatewayProcess, type StartingGateway } from './gateway-process.ts';
import type { Random } from './random.ts';

/** One life of the gateway, as its clients see it. */
export interface Life {
  readonly mqttPort: number;
  readonly amqpPort: number;
  readonly grpcPort: number;
  /** No new messages: publishers end when all is acknowledged, consumers when nothing comes for `quietMs`. */
  readonly isLast: boolean;
  readonly quietMs: number;
  /** Set just before the gateway is killed: from then on a lost connection is no failure. */
  isKilled: boolean;
  /** Resolves when it was killed. */
  readonly ended: Promise<void>;
}

export interface LoadClient {
  /** Works until the life ends. What has no answer then is taken up again in the next one, as real clients do. */
  live(life: Life): Promise<void>;
}

/** A gateway process that is killed again and again under the load of its clients. */
export class KilledGateway {
  kills = 0;
  private readonly settings: readonly string[];
  private readonly clients: readonly LoadClient[];
  private current: StartingGateway | undefined;

  constructor(settings: readonly string[], clients: readonly LoadClient[]) {
    this.settings = settings;
    this.clients = clients;
  }

  /** Runs the clients against a new process until it has been killed at the moment, or they are through. */
  async life(quietMs: number, isLast: boolean, killed: (life: Life) => Promise<void>): Promise<void> {
    this.current = this.spawn();
    const { mqttPort, amqpPort, grpcPort } = await this.current.ready;
    let end!: () => void;
    const ended = new Promise<void>((resolve) => (end = resolve));
    const life: Life = { mqttPort, amqpPort, grpcPort, quietMs, isLast, isKilled: false, ended };
    const clients = Promise.all(this.clients.map((client) => client.live(life)));
    await Promise.race([clients, killed(life)]);
    life.isKilled = true;
    end();
    await this.kill();
    await clients;
  }

  /** Kills a process that has not come up yet, or just has. */
  async stillbirth(random: Random, startMs: number): Promise<void> {
    this.current = this.spawn();
    this.current.ready.catch(() => {});
    await new Promise((resolve) => setTimeout(resolve, random.int(0, startMs)));
    await this.kill();
  }

  async kill(): Promise<void> {
    if (this.current === undefined) return;
    this.current.child.kill('SIGKILL');
    await this.current.exited;
    this.current = undefined;
    this.kills++;
  }

  private spawn(): StartingGateway {
    return spawnGatewayProcess(this.settings);
  }
}
