/**
 * The same work done by SQLite, as well as it can: a table per queue so that messages are only ever added behind others,
 * one transaction per turn of the event loop, one statement per queue and kind, and rows that are cut out of one
 * parameter inside SQLite, since binding values one by one costs more than storing them.
 */
import { createRequire } from 'node:module';
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { encodeMessage } from '../../core/model/message.ts';
import type { Statistics } from './engine.ts';
import { queueCount, receiveMax, type Lease, type Store } from './store.ts';

/** SQLite built into a package that has its binaries inside, by N-API, and runs on Node 20. */
const packageName = '@photostructure/sqlite';
const leaseMs = 600_000;

type Statement = { run(...values: unknown[]): unknown; all(...values: unknown[]): unknown[] };
type Database = { exec(sql: string): void; prepare(sql: string): Statement; close(): void };
type Library = { DatabaseSync: new (path: string) => Database };

type SqliteLease = Lease & { queue: number; first: number };
type QueueStatements = { insert: Statement; select: Statement };

const require = createRequire(import.meta.url);

/** Why SQLite cannot be measured; undefined when it can. */
export function sqliteUnavailable(): string | undefined {
  try {
    require.resolve(packageName);
    return undefined;
  } catch {
    return `the package ${packageName} is not installed`;
  }
}

export class SqliteStore implements Store<SqliteLease> {
  private readonly database: Database;
  private readonly begin: Statement;
  private readonly commit: Statement;
  private readonly lease: Statement;
  private readonly moveCursor: Statement;
  private readonly acknowledge: Statement;
  private readonly queues: readonly QueueStatements[];
  private readonly pool: Buffer;
  private readonly rowBytes: number;
  private readonly next = perQueue(1);
  private readonly cursors = perQueue(1);
  private sends: { queues: readonly number[]; done: () => void }[] = [];
  private acks: { lease: SqliteLease; done: () => void }[] = [];
  private readonly waiting: ((lease: SqliteLease) => void)[][] = Array.from({ length: queueCount }, () => []);
  private turn: NodeJS.Immediate | undefined;
  private commits = 0;
  private poolAt = 0;

  constructor(dir: string, bodyBytes: number) {
    const { DatabaseSync } = require(packageName) as Library;
    const database = new DatabaseSync(join(dir, 'bench.sqlite'));
    this.database = database;
    database.exec('pragma journal_mode = wal; pragma synchronous = full; pragma locking_mode = exclusive');
    database.exec('pragma cache_size = -65536; pragma temp_store = memory');
    database.exec(`create table inflight(queue int, id int, until int, attempt int, primary key(queue, id)) without rowid;
      create table cursor(queue integer primary key, next int)`);
    const rows = 'with recursive row(i) as (select 0 union all select i + 1 from row where i + 1 < ?1)';
    this.queues = Array.from({ length: queueCount }, (_, queue) => {
      database.exec(`create table message_${queue}(id integer primary key, stored_at int, bytes blob);
        insert into cursor values(${queue}, 1)`);
      return {
        insert: database.prepare(
          `insert into message_${queue} ${rows} select ?2 + i, ?3, substr(?4, i * ?5 + 1, ?5) from row`,
        ),
        select: database.prepare(
          `select id, stored_at, bytes from message_${queue} where id >= ? order by id limit ${receiveMax}`,
        ),
      };
    });
    this.begin = database.prepare('begin immediate');
    this.commit = database.prepare('commit');
    this.lease = database.prepare(`insert into inflight ${rows} select ?2, ?3 + i, ?4, 1 from row`);
    this.moveCursor = database.prepare('update cursor set next = ? where queue = ?');
    this.acknowledge = database.prepare('delete from inflight where queue = ? and id between ? and ?');
    const encode = (): Buffer =>
      encodeMessage({ address: 'bench/a', body: randomBytes(bodyBytes), bornAt: Date.now() }).buffer;
    this.rowBytes = encode().length;
    this.pool = Buffer.concat(Array.from({ length: 4096 }, encode));
  }

  send(queues: readonly number[], done: () => void): void {
    this.sends.push({ queues, done });
    this.schedule();
  }

  receive(queue: number, done: (lease: SqliteLease) => void): void {
    this.waiting[queue]!.push(done);
    this.schedule();
  }

  ack(lease: SqliteLease, done: () => void): void {
    this.acks.push({ lease, done });
    this.schedule();
  }

  statistics(): Statistics {
    // SQLite does not say how much it wrote; in WAL mode with synchronous = full every commit is one sync.
    return { commits: this.commits, commitBytes: 0, syncs: this.commits };
  }

  async close(): Promise<void> {
    clearImmediate(this.turn);
    this.database.close();
  }

  private schedule(): void {
    this.turn ??= setImmediate(() => this.runTurn());
  }

  private runTurn(): void {
    this.turn = undefined;
    const { sends, acks } = this;
    this.sends = [];
    this.acks = [];
    const leases = this.canLease(sends);
    if (sends.length === 0 && acks.length === 0 && !leases) return;
    this.begin.run();
    this.insertMessages(sends);
    for (const { lease } of acks) this.acknowledge.run(lease.queue, lease.first, lease.first + lease.count - 1);
    const leased = leases ? this.leaseMessages() : [];
    this.commit.run();
    this.commits++;
    for (const { done } of sends) done();
    for (const { done } of acks) done();
    for (const { lease, done } of leased) done(lease);
  }

  private canLease(sends: readonly unknown[]): boolean {
    return this.waiting.some(
      (waiting, queue) => waiting.length > 0 && (sends.length > 0 || this.cursors[queue]! < this.next[queue]!),
    );
  }

  private insertMessages(sends: readonly { queues: readonly number[] }[]): void {
    const counts = perQueue(0);
    for (const { queues } of sends) for (let i = 0; i < queues.length; i++) counts[queues[i]!]!++;
    const now = Date.now();
    for (const [queue, count] of counts.entries()) {
      if (count === 0) continue;
      this.queues[queue]!.insert.run(count, this.next[queue]!, now, this.rowsOf(count), this.rowBytes);
      this.next[queue]! += count;
    }
  }

  /** The next messages of the pool, one behind the other: what a server would have to put together. */
  private rowsOf(count: number): Buffer {
    const messages = this.pool.length / this.rowBytes;
    const rows = Buffer.allocUnsafe(count * this.rowBytes);
    for (let i = 0; i < count; i++) {
      const from = (this.poolAt++ % messages) * this.rowBytes;
      this.pool.copy(rows, i * this.rowBytes, from, from + this.rowBytes);
    }
    return rows;
  }

  private leaseMessages(): { lease: SqliteLease; done: (lease: SqliteLease) => void }[] {
    const leased: { lease: SqliteLease; done: (lease: SqliteLease) => void }[] = [];
    const until = Date.now() + leaseMs;
    for (const [queue, waiting] of this.waiting.entries()) {
      const before = this.cursors[queue]!;
      while (waiting.length > 0 && this.cursors[queue]! < this.next[queue]!) {
        const first = this.cursors[queue]!;
        const count = this.queues[queue]!.select.all(first).length;
        this.lease.run(count, queue, first, until);
        this.cursors[queue]! += count;
        leased.push({ lease: { count, queue, first }, done: waiting.shift()! });
      }
      if (this.cursors[queue]! > before) this.moveCursor.run(this.cursors[queue], queue);
    }
    return leased;
  }
}

function perQueue(value: number): number[] {
  return Array.from({ length: queueCount }, () => value);
}
