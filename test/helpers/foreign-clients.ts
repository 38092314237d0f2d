import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { connect, type IClientPublishOptions, type IConnackPacket, type IPublishPacket, type MqttClient } from 'mqtt';
import type { ProtocolVersion, Qos } from '../../adapters/mqtt/codec/packet.ts';

/** MQTT clients that others wrote, behind one face: mosquitto_pub and mosquitto_sub, paho for Python, MQTT.js. */

/** What a message has as far as all of them can show it. */
export interface ForeignMessage {
  readonly topic: string;
  readonly payload: string;
  readonly qos: Qos;
  readonly retain: boolean;
  readonly userProperties?: readonly (readonly [string, string])[];
  readonly contentType?: string;
  readonly responseTopic?: string;
  readonly correlationData?: string;
}

export interface Connecting {
  readonly port: number;
  readonly clientId: string;
  /** Without it the session is clean and ends with the connection. */
  readonly keepSession?: boolean;
  readonly will?: Pick<ForeignMessage, 'topic' | 'payload' | 'qos' | 'retain'>;
}

/** A connected client with one subscription. */
export interface ForeignSubscriber {
  /** The next message; rejects when the connection ends before one came. */
  next(): Promise<ForeignMessage>;
  /** Ends with DISCONNECT. */
  stop(): Promise<void>;
  /** Ends as if the power went: no DISCONNECT. */
  vanish(): Promise<void>;
}

export interface ForeignClient {
  readonly name: string;
  readonly version: ProtocolVersion;
  /** Its DISCONNECT asks for the will (reason code 0x04). */
  readonly disconnectsWithWill: boolean;
  /** Connects, publishes, disconnects. Resolves when all of it is acknowledged. */
  publish(port: number, messages: readonly ForeignMessage[]): Promise<void>;
  /** Connects and subscribes. Resolves when the SUBACK is there. */
  subscribe(connecting: Connecting, topicFilter: string, qos: Qos): Promise<ForeignSubscriber>;
}

/** Messages as they come, for whoever asks for the next one. */
class Inbox {
  private readonly messages: ForeignMessage[] = [];
  private wake: (() => void) | undefined;
  private isClosed = false;

  push(message: ForeignMessage): void {
    this.messages.push(message);
    this.wake?.();
  }

  close(): void {
    this.isClosed = true;
    this.wake?.();
  }

  async next(): Promise<ForeignMessage> {
    while (this.messages.length === 0) {
      if (this.isClosed) throw new Error('the client ended');
      await new Promise<void>((resolve) => (this.wake = resolve));
    }
    return this.messages.shift()!;
  }
}

/** Waits for the first line that says so; rejects with all lines when the process ends before. */
class Lines {
  private readonly seen: string[] = [];
  private readonly waiting: { pattern: RegExp; resolve: (line: string) => void; reject: (error: Error) => void }[] = [];

  constructor(child: ChildProcess, onLine: (line: string) => void) {
    const add = (line: string): void => {
      this.seen.push(line);
      const index = this.waiting.findIndex(({ pattern }) => pattern.test(line));
      if (index >= 0) this.waiting.splice(index, 1)[0]!.resolve(line);
      onLine(line);
    };
    createInterface({ input: child.stdout! }).on('line', add);
    if (child.stderr !== null) createInterface({ input: child.stderr }).on('line', add);
    child.on('close', (code) => {
      const error = new Error(`ended with ${code}: ${this.seen.join('\n')}`);
      for (const { reject } of this.waiting.splice(0)) reject(error);
    });
  }

  waitFor(pattern: RegExp): Promise<string> {
    return new Promise((resolve, reject) => this.waiting.push({ pattern, resolve, reject }));
  }
}

const MOSQUITTO_VERSIONS = { 3: 'mqttv31', 4: 'mqttv311', 5: 'mqttv5' } as const;
const MOSQUITTO_FIELDS = {
  'content-type': 'contentType',
  'response-topic': 'responseTopic',
  'correlation-data': 'correlationData',
} as const;

class MosquittoClient implements ForeignClient {
  readonly name: string;
  readonly version: ProtocolVersion;
  /** mosquitto_sub does so when a signal ends it. */
  readonly disconnectsWithWill: boolean;

  constructor(version: ProtocolVersion) {
    this.version = version;
    this.name = `mosquitto ${version}`;
    this.disconnectsWithWill = version === 5;
  }

  async publish(port: number, messages: readonly ForeignMessage[]): Promise<void> {
    for (const message of messages) {
      const flags = ['-t', message.topic, '-q', `${message.qos}`, ...(message.retain ? ['-r'] : [])];
      const payload = message.payload === '' ? ['-n'] : ['-m', message.payload];
      await runMosquitto('mosquitto_pub', [...this.common(port), ...flags, ...payload, ...propertyFlags(message)]);
    }
  }

  async subscribe(connecting: Connecting, topicFilter: string, qos: Qos): Promise<ForeignSubscriber> {
    const { port, clientId, keepSession = false, will } = connecting;
    const flags = ['-d', '-i', clientId, '-t', topicFilter, '-q', `${qos}`, '-F', 'MESSAGE %j'];
    if (keepSession) flags.push('-c');
    if (will !== undefined) {
      flags.push('--will-topic', will.topic, '--will-payload', will.payload, '--will-qos', `${will.qos}`);
      if (will.retain) flags.push('--will-retain');
    }
    // By itself it keeps its lines back when they go to a pipe.
    const command = ['-oL', 'mosquitto_sub', ...this.common(port), ...flags];
    const child = spawn('stdbuf', command, { stdio: ['ignore', 'pipe', 'pipe'] });
    const closed = once(child, 'close');
    const inbox = new Inbox();
    child.on('close', () => inbox.close());
    const lines = new Lines(child, (line) => {
      if (line.startsWith('MESSAGE ')) inbox.push(mosquittoMessage(line.slice(8)));
    });
    const subscribed = await lines.waitFor(/^Subscribed \(mid: \d+\)/);
    if (/: (128|\d{3})$/.test(subscribed)) throw new Error(`${topicFilter} is refused: ${subscribed}`);
    const end = async (signal: 'SIGINT' | 'SIGKILL'): Promise<void> => {
      child.kill(signal);
      await closed;
    };
    return { next: () => inbox.next(), stop: () => end('SIGINT'), vanish: () => end('SIGKILL') };
  }

  private common(port: number): string[] {
    return ['-h', '127.0.0.1', '-p', `${port}`, '-V', MOSQUITTO_VERSIONS[this.version]];
  }
}

function propertyFlags(message: ForeignMessage): string[] {
  const flags = (message.userProperties ?? []).flatMap((pair) => ['-D', 'publish', 'user-property', ...pair]);
  for (const [theirs, ours] of Object.entries(MOSQUITTO_FIELDS)) {
    const value = message[ours];
    if (value !== undefined) flags.push('-D', 'publish', theirs, value);
  }
  return flags;
}

/** Runs one of Mosquitto's tools to its end and returns what it printed; rejects when it failed. */
export async function runMosquitto(tool: string, flags: readonly string[]): Promise<string> {
  const child = spawn(tool, flags, { stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (output += chunk.toString()));
  const [code] = (await once(child, 'close')) as [number | null];
  if (code !== 0) throw new Error(`${tool} ended with ${code}: ${output}`);
  return output;
}

function mosquittoMessage(json: string): ForeignMessage {
  const { topic, payload, qos, retain, properties } = JSON.parse(json) as {
    topic: string;
    payload: string;
    qos: Qos;
    retain: 0 | 1;
    properties?: Record<string, unknown>;
  };
  const message: Record<string, unknown> = { topic, payload: payload ?? '', qos, retain: retain === 1 };
  for (const [theirs, ours] of Object.entries(MOSQUITTO_FIELDS)) {
    if (properties?.[theirs] !== undefined) message[ours] = properties[theirs];
  }
  // Names may repeat, which an object cannot show: the pairs are read from the text.
  const pairs = /"user-properties":(\{(?:"(?:[^"\\]|\\.)*"|[^"}])*\})/.exec(json)?.[1];
  if (pairs !== undefined) {
    message['userProperties'] = [...pairs.matchAll(/("(?:[^"\\]|\\.)*"):("(?:[^"\\]|\\.)*")/g)].map(
      ([, name, value]) => [JSON.parse(name!) as string, JSON.parse(value!) as string],
    );
  }
  return message as unknown as ForeignMessage;
}

// The Python that Debian installs packages for, whatever else is first in the path.
const PYTHON = '/usr/bin/python3';
const PAHO = fileURLToPath(new URL('../interop/paho_client.py', import.meta.url));

class PahoClient implements ForeignClient {
  readonly name: string;
  readonly version: ProtocolVersion;
  readonly disconnectsWithWill = false;

  constructor(version: ProtocolVersion) {
    this.version = version;
    this.name = `paho ${version}`;
  }

  async publish(port: number, messages: readonly ForeignMessage[]): Promise<void> {
    const process = await PahoProcess.connected(this.version, { port, clientId: `paho-pub-${port}-${this.version}` });
    for (const message of messages) await process.call({ do: 'publish', ...message }, 'published');
    await process.end('disconnect');
  }

  async subscribe(connecting: Connecting, topicFilter: string, qos: Qos): Promise<ForeignSubscriber> {
    const process = await PahoProcess.connected(this.version, connecting);
    const line = await process.call({ do: 'subscribe', filter: topicFilter, qos }, 'subscribed');
    const { reasonCodes } = JSON.parse(line) as { reasonCodes: number[] };
    if (reasonCodes[0]! >= 0x80) throw new Error(`${topicFilter} is refused: ${reasonCodes[0]}`);
    return {
      next: () => process.inbox.next(),
      stop: () => process.end('disconnect'),
      vanish: () => process.end('vanish'),
    };
  }
}

class PahoProcess {
  readonly inbox = new Inbox();
  private readonly child: ChildProcess;
  private readonly lines: Lines;
  private readonly closed: Promise<unknown>;

  private constructor() {
    this.child = spawn(PYTHON, [PAHO], { stdio: ['pipe', 'pipe', 'pipe'] });
    this.closed = once(this.child, 'close');
    this.child.on('close', () => this.inbox.close());
    this.lines = new Lines(this.child, (line) => {
      if (!line.startsWith('{"event": "message"')) return;
      const { event: _event, ...message } = JSON.parse(line) as { event: string } & ForeignMessage;
      this.inbox.push(message);
    });
  }

  static async connected(version: ProtocolVersion, connecting: Connecting): Promise<PahoProcess> {
    const paho = new PahoProcess();
    const line = await paho.call({ do: 'connect', version, keepSession: false, ...connecting }, 'connected');
    const { reasonCode } = JSON.parse(line) as { reasonCode: number };
    if (reasonCode !== 0) throw new Error(`paho is refused: ${reasonCode}`);
    return paho;
  }

  /** Gives a command and waits for the event that ends it. */
  call(command: object, event: string): Promise<string> {
    const done = this.lines.waitFor(new RegExp(`^\\{"event": "${event}"`));
    this.child.stdin!.write(`${JSON.stringify(command)}\n`);
    return done;
  }

  async end(how: 'disconnect' | 'vanish'): Promise<void> {
    this.child.stdin!.end(`${JSON.stringify({ do: how })}\n`);
    await this.closed;
  }
}

class MqttJsClient implements ForeignClient {
  readonly name: string;
  readonly version: ProtocolVersion;
  readonly disconnectsWithWill = false;

  constructor(version: ProtocolVersion) {
    this.version = version;
    this.name = `MQTT.js ${version}`;
  }

  async publish(port: number, messages: readonly ForeignMessage[]): Promise<void> {
    const client = await this.connected({ port, clientId: `js-pub-${port}-${this.version}` });
    for (const message of messages) await this.publishOne(client, message);
    await client.endAsync();
  }

  async subscribe(connecting: Connecting, topicFilter: string, qos: Qos): Promise<ForeignSubscriber> {
    const inbox = new Inbox();
    const client = await this.connected(connecting, (message) => inbox.push(message));
    client.on('close', () => inbox.close());
    await client.subscribeAsync(topicFilter, { qos });
    return {
      next: () => inbox.next(),
      stop: () => client.endAsync(),
      async vanish() {
        client.stream.destroy();
        await client.endAsync(true);
      },
    };
  }

  /** A client that answers every request it gets on `topicFilter`: the same payload in capitals. */
  async respond(port: number, topicFilter: string): Promise<{ stop(): Promise<void> }> {
    const client = await this.connected({ port, clientId: `js-respond-${port}` });
    client.on('message', (_topic, payload, { properties }) => {
      const { responseTopic, correlationData } = properties ?? {};
      if (responseTopic === undefined) return;
      const options: IClientPublishOptions = { qos: 1, ...(correlationData && { properties: { correlationData } }) };
      client.publish(responseTopic, payload.toString().toUpperCase(), options);
    });
    await client.subscribeAsync(topicFilter, { qos: 1 });
    return { stop: () => client.endAsync() };
  }

  private async publishOne(client: MqttClient, message: ForeignMessage): Promise<void> {
    const { topic, payload, qos, retain, userProperties, contentType, responseTopic, correlationData } = message;
    const options: IClientPublishOptions = { qos, retain };
    if (this.version === 5) {
      const byName: Record<string, string[]> = {};
      for (const [name, value] of userProperties ?? []) (byName[name] ??= []).push(value);
      options.properties = {
        ...(userProperties && { userProperties: byName }),
        ...(contentType !== undefined && { contentType }),
        ...(responseTopic !== undefined && { responseTopic }),
        ...(correlationData !== undefined && { correlationData: Buffer.from(correlationData) }),
      };
    }
    await client.publishAsync(topic, payload, options);
  }

  private async connected(connecting: Connecting, onMessage?: (message: ForeignMessage) => void): Promise<MqttClient> {
    const { port, clientId, keepSession = false, will } = connecting;
    const client = connect(`mqtt://127.0.0.1:${port}`, {
      clientId,
      protocolVersion: this.version,
      ...(this.version === 3 && { protocolId: 'MQIsdp' as const }),
      clean: !keepSession,
      reconnectPeriod: 0,
      ...(will && { will: { ...will, payload: Buffer.from(will.payload) } }),
      ...(this.version === 5 && keepSession && { properties: { sessionExpiryInterval: 3600 } }),
    });
    // What a kept session still has comes right behind CONNACK: this has to be there before.
    if (onMessage !== undefined) client.on('message', (_topic, _payload, packet) => onMessage(jsMessage(packet)));
    await connected(client);
    return client;
  }
}

/** Resolves with the CONNACK, rejects when it does not come. */
export function connected(client: MqttClient): Promise<IConnackPacket> {
  return new Promise((resolve, reject) => {
    client.once('connect', resolve);
    client.once('error', reject);
    client.once('close', () => reject(new Error('closed before CONNACK')));
  });
}

function jsMessage({ topic, payload, qos, retain, properties }: IPublishPacket): ForeignMessage {
  const pairs = Object.entries(properties?.userProperties ?? {}).flatMap(([name, values]) =>
    [values].flat().map((value): [string, string] => [name, value]),
  );
  return {
    topic,
    payload: payload.toString(),
    qos,
    retain,
    ...(pairs.length > 0 && { userProperties: pairs }),
    ...(properties?.contentType !== undefined && { contentType: properties.contentType }),
    ...(properties?.responseTopic !== undefined && { responseTopic: properties.responseTopic }),
    ...(properties?.correlationData && { correlationData: properties.correlationData.toString() }),
  };
}

/** MQTT.js in version 5, which also answers requests. */
export const MQTT_JS_5 = new MqttJsClient(5);

const hasMosquitto = spawnSync('mosquitto_sub', ['--help']).error === undefined;
const hasPaho = spawnSync(PYTHON, ['-c', 'import paho.mqtt.client']).status === 0;

/** The clients there are on this machine. */
export const FOREIGN_CLIENTS: readonly ForeignClient[] = [
  ...([3, 4] as const).map((version) => new MqttJsClient(version)),
  MQTT_JS_5,
  ...(hasMosquitto ? ([3, 4, 5] as const).map((version) => new MosquittoClient(version)) : []),
  ...(hasPaho ? ([3, 4, 5] as const).map((version) => new PahoClient(version)) : []),
];

/** What is not installed, with the Debian package it comes in. */
export const MISSING_CLIENTS: readonly string[] = [
  ...(hasMosquitto ? [] : ['mosquitto_pub, mosquitto_sub, mosquitto_rr (Debian package mosquitto-clients)']),
  ...(hasPaho ? [] : [`paho for ${PYTHON} (Debian package python3-paho-mqtt)`]),
];
