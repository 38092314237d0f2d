import { connect } from 'mqtt';
import t, { type Test } from 'tap';
import type { Qos } from '../../adapters/mqtt/codec/packet.ts';
import {
  connected,
  FOREIGN_CLIENTS,
  MISSING_CLIENTS,
  MQTT_JS_5,
  runMosquitto,
  type ForeignClient,
  type ForeignMessage,
  type ForeignSubscriber,
} from '../helpers/foreign-clients.ts';
import { startTestGateway } from '../helpers/gateway.ts';

/**
 * What clients that others wrote do with each other through the gateway. GANTRY_INTEROP_PORT=1883 runs the same against
 * another broker, with every feature: that is how the scenarios themselves are checked.
 */

const otherPort = process.env['GANTRY_INTEROP_PORT'];

/** What the gateway can do. A feature that lands is one line here; its scenario is below. */
const FEATURES = {
  userProperties: true,
  requestResponse: true,
  qos2: true,
  retained: true,
  wills: true,
  persistentSessions: true,
  sharedSubscriptions: true,
};
type Feature = keyof typeof FEATURES;

async function brokerPort(): Promise<number> {
  if (otherPort !== undefined) return Number(otherPort);
  const { gateway, mqttPort } = await startTestGateway(['engine.type=memory']);
  t.teardown(() => gateway.stop());
  return mqttPort;
}

const port = await brokerPort();
const isOn = (feature: Feature): boolean => otherPort !== undefined || FEATURES[feature];
const v5Clients = FOREIGN_CLIENTS.filter(({ version }) => version === 5);
const qualities: readonly Qos[] = isOn('qos2') ? [0, 1, 2] : [0, 1];
for (const missing of MISSING_CLIENTS) t.comment(`NOT TRIED: ${missing} is not installed`);

let used = 0;
/** A topic no other scenario uses. */
const freshTopic = (): string => `interop${process.pid}/${++used}`;
const freshId = (): string => `interop-${process.pid}-${++used}`;

function message(topic: string, payload: string, fields: Partial<ForeignMessage> = {}): ForeignMessage {
  return { topic, payload, qos: 1, retain: false, ...fields };
}

function subscribe(client: ForeignClient, filter: string, qos: Qos = 1): Promise<ForeignSubscriber> {
  return client.subscribe({ port, clientId: freshId() }, filter, qos);
}

async function take(subscriber: ForeignSubscriber, count: number): Promise<ForeignMessage[]> {
  const messages: ForeignMessage[] = [];
  while (messages.length < count) messages.push(await subscriber.next());
  return messages;
}

/** Runs the scenario once for every client, or says why not. */
function forEachClient(
  title: string,
  feature: Feature | undefined,
  clients: readonly ForeignClient[],
  scenario: (t: Test, client: ForeignClient) => Promise<void>,
): void {
  if (feature !== undefined && !isOn(feature)) {
    t.comment(`not there yet: ${title} (${feature})`);
    return;
  }
  t.test(title, { timeout: 60_000 }, async (t) => {
    for (const client of clients) await t.test(client.name, (t) => scenario(t, client));
  });
}

t.test('the features are those the gateway announces', async (t) => {
  const client = connect(`mqtt://127.0.0.1:${port}`, {
    protocolVersion: 5,
    reconnectPeriod: 0,
    properties: { sessionExpiryInterval: 60 },
  });
  const { properties = {} } = await connected(client);
  const announced = {
    qos2: (properties.maximumQoS ?? 2) === 2,
    retained: properties.retainAvailable !== false,
    persistentSessions: (properties.sessionExpiryInterval ?? 60) !== 0,
    sharedSubscriptions: properties.sharedSubscriptionAvailable !== false,
  };
  const { qos2, retained, persistentSessions, sharedSubscriptions } = FEATURES;
  if (otherPort === undefined) {
    t.same({ qos2, retained, persistentSessions, sharedSubscriptions }, announced, 'FEATURES has to be changed');
  }
  await client.endAsync();
});

t.test('a message at each QoS, from every client to every client', { timeout: 60_000 }, async (t) => {
  const topic = freshTopic();
  const highest = qualities.at(-1)!;
  const subscribers = await Promise.all(FOREIGN_CLIENTS.map((client) => subscribe(client, `${topic}/#`, highest)));
  const expected: string[] = [];
  for (const [i, client] of FOREIGN_CLIENTS.entries()) {
    const messages = qualities.map((qos) => message(`${topic}/${i}/é`, `${client.name} at ${qos}: 𝄞`, { qos }));
    expected.push(...messages.map(({ topic: sent, payload, qos }) => `${sent} ${payload} ${qos}`));
    await client.publish(port, messages);
  }
  for (const [i, subscriber] of subscribers.entries()) {
    const received = await take(subscriber, expected.length);
    t.same(
      received.map(({ topic: got, payload, qos }) => `${got} ${payload} ${qos}`).toSorted(),
      expected.toSorted(),
      `to ${FOREIGN_CLIENTS[i]!.name}`,
    );
    t.ok(
      received.every(({ retain }) => !retain),
      'as live messages',
    );
    await subscriber.stop();
  }
});

forEachClient('many messages arrive in order', undefined, FOREIGN_CLIENTS, async (t, client) => {
  const topic = freshTopic();
  const subscriber = await subscribe(client, topic);
  // One process a message is what makes mosquitto_pub slow.
  const count = client.name.startsWith('mosquitto') ? 20 : 300;
  const sent = Array.from({ length: count }, (_, i) => message(topic, `${i}`));
  await client.publish(port, sent);
  const received = await take(subscriber, count);
  t.same(
    received.map(({ payload }) => payload),
    sent.map(({ payload }) => payload),
  );
  await subscriber.stop();
});

forEachClient('properties of MQTT 5', 'userProperties', v5Clients, async (t, client) => {
  const topic = freshTopic();
  const subscribers = await Promise.all(v5Clients.map((each) => subscribe(each, topic)));
  // MQTT.js keeps user properties by name, so that those of one name come together.
  const userProperties = [
    ['b', '1'],
    ['b', '3'],
    ['a', 'é 𝄞'],
  ] as const;
  const fields = { userProperties, contentType: 'text/plain', responseTopic: 'reply/here', correlationData: 'abc' };
  await client.publish(port, [message(topic, 'x', fields)]);
  for (const [i, subscriber] of subscribers.entries()) {
    t.same(await subscriber.next(), message(topic, 'x', fields), `to ${v5Clients[i]!.name}`);
    await subscriber.stop();
  }
});

t.test('request and response', { timeout: 60_000 }, async (t) => {
  const topic = freshTopic();
  const responder = await MQTT_JS_5.respond(port, `${topic}/ask`);
  for (const client of v5Clients) {
    const answers = await subscribe(client, `${topic}/answer`);
    const fields = { responseTopic: `${topic}/answer`, correlationData: `for ${client.name}` };
    await client.publish(port, [message(`${topic}/ask`, 'question', fields)]);
    t.match(await answers.next(), { payload: 'QUESTION', correlationData: fields.correlationData }, client.name);
    await answers.stop();
  }
  if (v5Clients.some(({ name }) => name.startsWith('mosquitto'))) {
    const flags = [
      '-h',
      '127.0.0.1',
      '-p',
      `${port}`,
      '-t',
      `${topic}/ask`,
      '-e',
      `${topic}/rr`,
      '-m',
      'rr',
      '-q',
      '1',
    ];
    t.equal((await runMosquitto('mosquitto_rr', flags)).trim(), 'RR', 'mosquitto_rr');
  }
  await responder.stop();
});

forEachClient('retained messages', 'retained', FOREIGN_CLIENTS, async (t, client) => {
  const topic = freshTopic();
  const live = await subscribe(client, topic);
  await client.publish(port, [
    message(topic, 'old', { retain: true }),
    message(topic, 'new', { retain: true }),
    message(topic, 'passing'),
  ]);
  t.match(await take(live, 3), [
    { payload: 'old', retain: false },
    { payload: 'new', retain: false },
    { payload: 'passing' },
  ]);
  for (const other of v5Clients) {
    const late = await subscribe(other, `${topic.split('/')[0]}/+`);
    let retained = await late.next();
    while (retained.topic !== topic) retained = await late.next();
    t.match(retained, { payload: 'new', retain: true }, `to ${other.name}`);
    await late.stop();
  }
  await client.publish(port, [message(topic, '', { retain: true })]);
  t.match(await live.next(), { payload: '' }, 'an empty one is delivered');
  const after = await subscribe(client, topic);
  await client.publish(port, [message(topic, 'live')]);
  t.match(await after.next(), { payload: 'live', retain: false }, 'and nothing is retained any more');
  await Promise.all([live.stop(), after.stop()]);
});

forEachClient('a will', 'wills', FOREIGN_CLIENTS, async (t, client) => {
  const topic = freshTopic();
  const witness = await subscribe(MQTT_JS_5, `${topic}/#`);
  const connecting = (name: string) => ({
    port,
    clientId: freshId(),
    will: { topic: `${topic}/${name}`, payload: `${name} is gone`, qos: 1, retain: false } as const,
  });
  const polite = await client.subscribe(connecting('polite'), freshTopic(), 0);
  await polite.stop();
  if (client.disconnectsWithWill) t.match(await witness.next(), { payload: 'polite is gone' }, 'DISCONNECT 0x04');
  const lost = await client.subscribe(connecting('lost'), freshTopic(), 0);
  await lost.vanish();
  const will = { topic: `${topic}/lost`, payload: 'lost is gone', qos: 1, retain: false };
  t.match(await witness.next(), will, 'and none after DISCONNECT 0');
  await witness.stop();
});

forEachClient('a persistent session', 'persistentSessions', FOREIGN_CLIENTS, async (t, client) => {
  const topic = freshTopic();
  const connecting = { port, clientId: freshId(), keepSession: true };
  const highest = qualities.at(-1)!;
  const before = await client.subscribe(connecting, topic, highest);
  await MQTT_JS_5.publish(port, [message(topic, 'here')]);
  t.match(await before.next(), { payload: 'here' });
  await before.stop();
  for (const end of ['stop', 'vanish'] as const) {
    const missed = Array.from({ length: 20 }, (_, i) => message(topic, `${end} ${i}`, { qos: i % 2 ? 1 : highest }));
    await MQTT_JS_5.publish(port, missed);
    const again = await client.subscribe(connecting, topic, highest);
    const received = await take(again, missed.length);
    // Order holds within one QoS [MQTT-4.6.0-5]: clients show a QoS 2 message when its handshake is over.
    for (const quality of qualities) {
      const payloads = (messages: readonly ForeignMessage[]): string[] =>
        messages.filter(({ qos }) => qos === quality).map(({ payload }) => payload);
      t.same(payloads(received), payloads(missed), `what came meanwhile at QoS ${quality}, in order`);
    }
    await again[end]();
  }
});

/** All clients are members: the client it is said to run for is one of them. */
forEachClient('a shared subscription', 'sharedSubscriptions', [MQTT_JS_5], async (t) => {
  const topic = freshTopic();
  const members = await Promise.all(
    FOREIGN_CLIENTS.map((client) => subscribe(client, `$share/group/${topic}/#`).catch(() => undefined)),
  );
  const present = members.filter((member) => member !== undefined);
  if (!t.ok(present.length >= v5Clients.length, `${present.length} members`)) return;
  const everything = await subscribe(MQTT_JS_5, `${topic}/#`);
  const sent = Array.from({ length: 300 }, (_, i) => message(`${topic}/${i % 7}`, `${i}`));
  const shares = present.map(() => 0);
  const received: string[] = [];
  const all = new Promise<void>((resolve) => {
    for (const [i, member] of present.entries()) {
      const read = async (): Promise<void> => {
        for (;;) {
          const { payload } = await member.next();
          shares[i]!++;
          if (received.push(payload) === sent.length) resolve();
        }
      };
      read().catch(() => {});
    }
  });
  await MQTT_JS_5.publish(port, sent);
  await all;
  const expected = sent.map(({ payload }) => payload).toSorted();
  t.same(received.toSorted(), expected, 'each message once');
  t.ok(shares.filter((share) => share > 0).length > 1, `shared ${shares.join(' ')}`);
  t.equal((await take(everything, sent.length)).length, sent.length, 'and all of them to a subscription of its own');
  await Promise.all([...present, everything].map((each) => each.stop()));
});
