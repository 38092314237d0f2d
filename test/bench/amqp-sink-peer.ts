/**
 * What the load generator can do at most: `node amqp-sink-peer.js PORT`. Reads no more than the lengths of frames, confirms
 * whatever comes, a disposition a chunk, and sends the same frames back to whoever gives credit.
 */
import { createServer, type Socket } from 'node:net';
import * as wire from './amqp-wire.ts';

const { code } = wire;
/** What came in since the last receiver was done: frames of one length. */
let kept: Buffer[] = [];

class Connection {
  private readonly socket: Socket;
  private rest: Buffer = Buffer.alloc(0);
  private received = 0;
  private sent = 0;
  private queue: Buffer = Buffer.alloc(0);
  private readonly fields = new wire.Fields();

  constructor(socket: Socket) {
    this.socket = socket;
    socket.on('data', (chunk: Buffer) => this.onBytes(chunk));
    socket.on('error', () => {});
  }

  private onBytes(chunk: Buffer): void {
    const bytes = this.rest.length === 0 ? chunk : Buffer.concat([this.rest, chunk]);
    const before = this.received;
    let transfersAt = -1;
    let at = 0;
    while (bytes.length - at >= 8) {
      if (bytes[at] === 0x41) {
        const isSasl = bytes[at + 4] === 3;
        const mechanisms = wire.frame(wire.described(code.saslMechanisms, [wire.symbol('ANONYMOUS')]), undefined, 1);
        this.socket.write(isSasl ? Buffer.concat([wire.saslHeader, mechanisms]) : wire.amqpHeader);
        at += 8;
        continue;
      }
      const length = bytes.readUInt32BE(at);
      if (bytes.length - at < length) break;
      if (bytes[at + 10] === code.transfer) {
        if (transfersAt < 0) transfersAt = at;
        this.received++;
      } else this.onFrame(bytes, at);
      at += length;
    }
    this.rest = bytes.subarray(at);
    if (this.received === before) return;
    kept.push(Buffer.from(bytes.subarray(transfersAt, at)));
    const disposition = wire.accepted(true, before, this.received - 1);
    this.socket.write(Buffer.concat([disposition, wire.flow(this.received, 0, this.received, 1000)]));
  }

  private onFrame(bytes: Buffer, at: number): void {
    switch (wire.frameCode(bytes, at)) {
      case code.saslInit:
        this.socket.write(wire.frame(wire.described(code.saslOutcome, [wire.ubyte(0)]), undefined, 1));
        break;
      case code.begin: {
        const begin = [Buffer.from([0x60, 0, 0]), wire.uint(0), wire.uint(wire.windowMax), wire.uint(wire.windowMax)];
        this.socket.write(wire.openAndBegin('sink').subarray(0, wire.openAndBegin('sink').readUInt32BE(0)));
        this.socket.write(wire.frame(wire.described(code.begin, begin)));
        break;
      }
      case code.attach:
        this.socket.write(wire.attach('link', 'any', false));
        this.socket.write(wire.flow(0, 0, 0, 1000));
        break;
      case code.flow:
        this.onFlow(bytes, at);
        break;
      case code.close:
        this.socket.end(wire.closing);
        break;
    }
  }

  private onFlow(bytes: Buffer, at: number): void {
    this.fields.read(bytes, at);
    for (let i = 0; i < 5; i++) this.fields.next();
    const end = this.fields.next() + this.fields.next();
    if (this.queue.length === 0) {
      this.queue = Buffer.concat(kept);
      kept = [];
    }
    if (this.queue.length === 0) return;
    const bytesToSend = (end - this.sent) * this.queue.readUInt32BE(0);
    this.socket.write(this.queue.subarray(0, bytesToSend));
    this.queue = this.queue.subarray(bytesToSend);
    this.sent = end;
  }
}

createServer({ noDelay: true }, (socket) => new Connection(socket)).listen(Number(process.argv[2]), '127.0.0.1');
process.on('SIGTERM', () => process.exit(0));
