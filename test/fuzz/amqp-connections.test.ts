import { once } from 'node:events';
import { connect } from 'node:net';
import t from 'tap';
import { encodeFrame, encodeSaslFrame } from '../../adapters/amqp/v1/codec/frame-encoder.ts';
import { type Performative, type SaslPerformative } from '../../adapters/amqp/v1/codec/performatives.ts';
import { PROTOCOL_HEADERS } from '../../adapters/amqp/v1/codec/protocol-header.ts';
import type { Logger } from '../../core/ports/logger.ts';
import {
  attachFrame,
  beginFrame,
  flowFrame,
  openFrame,
  RawAmqpClient,
  sourceOf,
  targetOf,
  transferFrame,
} from '../helpers/amqp-client.ts';
import { FrameCollector } from '../helpers/amqp-frames.ts';
import { bin, bytesOf, readMessage } from '../helpers/amqp-messages.ts';
import { AMQP_MUTATIONS, mutateFrame } from '../helpers/amqp-mutations.ts';
import { PERFORMATIVES, SASL_PERFORMATIVES } from '../helpers/amqp-samples.ts';
import { startTestGateway } from '../helpers/gateway.ts';
import { Random, testSeed } from '../helpers/random.ts';
import { SILENT } from '../helpers/silent-logger.ts';
import { heapBytes } from '../helpers/heap.ts';

/**
 * Conversations with something wrong in them, with a running gateway: frames that are changed, left out, sent twice or in
 * another order. GANTRY_SEED repeats a run, GANTRY_FRAMES sets how many frames.
 */

const FRAMES = Number(process.env['GANTRY_FRAMES'] ?? 40_000);
const TIMEOUT_MS = 60_000 * Math.max(1, FRAMES / 40_000);
/** Connections at a time. */
const WORKERS = 16;
const QUARTERS = 4;
/** What the heap may differ by between quarters: caches that fill, code that is compiled, messages that stay in queues. */
const HEAP_BYTES_MAX = 8 * 1024 * 1024;
const seed = testSeed();
const names = Object.keys(AMQP_MUTATIONS);

const MESSAGE = bytesOf([['data', bin('a message')]]);
const DECLARE = Buffer.from([0, 0x53, 0x77, 0, 0x53, 0x31, 0xc0, 1, 0]);

/** What a client says that does everything right: links to a few nodes, a transaction, messages both ways. */
function validConversation(random: Random): Buffer[] {
  const queue = `queue${random.int(1, 8)}`;
  const address = random.pick([queue, `/topics/t${random.int(1, 4)}`, '$management', `/groups/g/topics/${queue}`]);
  const frame = (performative: Performative): Buffer => encodeFrame(0, performative);
  const coordinator = { kind: 'coordinator', capabilities: [] } as const;
  const frames = [
    frame(openFrame({ containerId: `fuzz${random.int(1, 20)}` })),
    frame(beginFrame()),
    frame(attachFrame({ role: 'sender', name: 's', handle: 0, target: targetOf(address) })),
    frame(attachFrame({ role: 'receiver', name: 'r', handle: 1, source: sourceOf(address) })),
    frame(flowFrame({ handle: 1, deliveryCount: 0, linkCredit: random.int(1, 100), drain: random.chance(0.3) })),
    transferFrame({ handle: 0, deliveryId: 0 }, MESSAGE),
    transferFrame({ handle: 0, deliveryId: 1, more: true }, MESSAGE.subarray(0, 5)),
    transferFrame({ handle: 0, deliveryId: 1 }, MESSAGE.subarray(5)),
    frame({
      kind: 'disposition',
      role: 'receiver',
      first: 0,
      last: 3,
      settled: random.chance(0.5),
      state: { kind: 'accepted' },
    }),
    frame(attachFrame({ role: 'sender', name: 'c', handle: 2, target: coordinator })),
    transferFrame({ handle: 2, deliveryId: 2 }, DECLARE),
    frame(flowFrame({ echo: true })),
    frame({ kind: 'detach', handle: 1, closed: random.chance(0.5) }),
    frame({ kind: 'end' }),
    frame({ kind: 'close' }),
  ];
  return random.chance(0.5) ? frames.slice(0, random.int(1, frames.length)) : frames;
}

const corpusRandom = new Random(seed ^ 0xc0);
const corpus = Object.entries<(random: Random) => unknown>(PERFORMATIVES)
  .flatMap(([, make]) =>
    Array.from({ length: 100 }, () => encodeFrame(corpusRandom.int(0, 1), make(corpusRandom) as Performative)),
  )
  // Few large ones: they take their time and have nothing in them that small ones have not.
  .filter(({ length }) => length < 2000 || corpusRandom.chance(0.02));
const saslCorpus = Object.values<(random: Random) => unknown>(SASL_PERFORMATIVES).flatMap((make) =>
  Array.from({ length: 50 }, () => encodeSaslFrame(make(corpusRandom) as SaslPerformative)),
);
const ANONYMOUS = encodeSaslFrame({ kind: 'sasl-init', mechanism: 'ANONYMOUS' });

interface Conversation {
  readonly bytes: Buffer;
  /** How many frames in it were changed. */
  readonly mutated: number;
}

function conversation(random: Random): Conversation {
  const frames = validConversation(random);
  let mutated = 0;
  for (let changes = random.int(2, 11); changes > 0; changes--) {
    // Most behind the greeting, so that they find links.
    const at = random.int(Math.min(random.pick([0, 2, 4, 5]), frames.length - 1), frames.length - 1);
    const own = frames[at]!;
    const base = random.chance(0.6) ? own : random.pick(corpus);
    const applied = Array.from({ length: random.chance(0.8) ? 1 : random.int(2, 3) }, () => random.pick(names));
    const changed = random.chance(0.9) ? mutateFrame(base, random.pick(corpus), applied, random) : base;
    frames.splice(at, random.pick([0, 1, 1, 2]), changed);
    mutated++;
  }
  const sasl = random.chance(0.15)
    ? [PROTOCOL_HEADERS.sasl, random.chance(0.7) ? ANONYMOUS : random.pick(saslCorpus)]
    : [];
  return { bytes: Buffer.concat([...sasl, PROTOCOL_HEADERS.amqp, ...frames]), mutated };
}

/** What the gateway says to one connection, which the client has ended on its side; resolves when it is closed. */
async function converse(port: number, bytes: Buffer, random: Random): Promise<Buffer> {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true });
  const answer: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => answer.push(chunk));
  // A server that closes on bytes it has not read resets the connection.
  socket.on('error', () => {});
  const at = random.chance(0.5) ? bytes.length : random.int(0, bytes.length);
  socket.write(bytes.subarray(0, at));
  socket.end(bytes.subarray(at));
  await once(socket, 'close');
  return Buffer.concat(answer);
}

/** Everything the gateway says has to be AMQP. */
function answerFault(answer: Buffer): string | undefined {
  try {
    new FrameCollector().decoder.push(answer);
    return undefined;
  } catch (error) {
    return String(error);
  }
}

/** A client that does everything right, beside all the others: it sends, and gets every message once and in order. */
class Witness {
  private readonly client: RawAmqpClient;
  private count = 0;
  private isBusy = false;

  private constructor(client: RawAmqpClient) {
    this.client = client;
  }

  static async connected(port: number): Promise<Witness> {
    const client = await RawAmqpClient.opened(port);
    await client.sender('witness only', { handle: 0, name: 'out' });
    await client.receiver('witness only', 0, { handle: 1, name: 'in' });
    return new Witness(client);
  }

  /** Not again while it waits for that. */
  async isServed(): Promise<boolean> {
    if (this.isBusy) return true;
    this.isBusy = true;
    const { client, count } = this;
    client.flow({ handle: 1, deliveryCount: count, linkCredit: 1 });
    client.transfer({ handle: 0, deliveryId: count }, bytesOf([['data', bin(`${count}`)]]));
    const { state } = await client.next('disposition');
    const { payload, deliveryId } = await client.next('transfer');
    client.disposition(deliveryId!);
    client.received.length = 0;
    this.count++;
    this.isBusy = false;
    const data = readMessage(payload).body[0]![1];
    return state?.kind === 'accepted' && data.type === 'binary' && data.value.toString() === `${count}`;
  }

  close(): Promise<void> {
    return this.client.close();
  }
}

const GATEWAY = ['engine.type=memory', 'engine.bytesMax=268435456', 'topicsMax=50', 'groupsMax=50'];

t.test(`${FRAMES} frames in connections to a gateway (GANTRY_SEED=${seed})`, { timeout: TIMEOUT_MS }, async (t) => {
  const errors: string[] = [];
  const record = (fields: object, message: string): void => {
    const { err } = fields as { err?: Error };
    errors.push(`${message}: ${err?.stack ?? JSON.stringify(fields)}`);
  };
  const log: Logger = { ...SILENT, warn: record, error: record };
  const { gateway, amqpPorts } = await startTestGateway(GATEWAY, log);
  t.teardown(() => gateway.stop());
  const port = amqpPorts[0]!;
  const witness = await Witness.connected(port);
  const random = new Random(seed);
  const wrong: string[] = [];
  const heap: number[] = [];
  let tried = 0;
  let connections = 0;
  const work = async (until: number): Promise<void> => {
    while (tried < until && wrong.length < 10) {
      const { bytes, mutated } = conversation(random);
      tried += mutated;
      connections++;
      const answer = await converse(port, bytes, random);
      const fault = answer.length === 0 ? 'no answer' : answerFault(answer);
      if (fault !== undefined) wrong.push(`${fault} ${bytes.toString('hex')} -> ${answer.toString('hex')}`);
      if (connections % 50 === 0 && !(await witness.isServed())) wrong.push('the witness was not served');
    }
  };
  for (let quarter = 1; quarter <= QUARTERS; quarter++) {
    await Promise.all(Array.from({ length: WORKERS }, () => work((FRAMES / QUARTERS) * quarter)));
    heap.push(heapBytes());
  }
  t.same(wrong, []);
  t.same(errors.slice(0, 3), [], 'nothing unexpected in the log');
  t.ok(await witness.isServed(), 'who does everything right is served to the end');
  await witness.close();
  const mebibytes = heap.map((value) => (value / 1024 ** 2).toFixed(1)).join(' ');
  t.comment(`seed ${seed}, ${tried} frames, ${connections} connections, heap ${mebibytes} MiB`);
  t.ok(heap.at(-1)! - heap[0]! < HEAP_BYTES_MAX, 'the heap stays as it is');
});
