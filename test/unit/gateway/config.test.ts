import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { z } from 'zod';
import { DEFAULT_AMQP_OPTIONS } from '../../../adapters/amqp/v1/options.ts';
import { DEFAULT_MQTT_OPTIONS } from '../../../adapters/mqtt/options.ts';
import { ConfigError, loadConfig, parseConfig } from '../../../gateway/config/load.ts';
import { configSchema } from '../../../gateway/config/schema.ts';

const PAIR = 'certFile: a, keyFile: b';

/** The message of the ConfigError that the text leads to. */
function problemOf(text: string, ...overrides: string[]): string {
  try {
    parseConfig(text, 'gantry.yaml', overrides);
  } catch (error) {
    if (error instanceof ConfigError) return error.message;
    throw error;
  }
  return 'none';
}

t.test('defaults', async (t) => {
  const config = parseConfig('', 'nothing');
  t.match(config, {
    log: { level: 'info' },
    engine: { type: 'embedded', dir: 'data', flush: 'sync' },
    grpc: { listeners: [{ host: '127.0.0.1', port: 8081 }] },
    users: [],
    anonymous: false,
    autoCreateTopics: true,
    autoCreateGroups: true,
    shutdownGraceMs: 10_000,
  });
  const { listeners, routes, ...options } = config.mqtt;
  t.same(options, DEFAULT_MQTT_OPTIONS);
  t.same(routes, []);
  t.same(listeners, [{ host: '127.0.0.1', port: 1883, transport: 'tcp' }]);
  const { maxMessageBytes, ...amqpOptions } = DEFAULT_AMQP_OPTIONS;
  t.match(config.amqp, { ...amqpOptions, messageBytesMax: maxMessageBytes, bareAddress: 'queue' });
  t.same(config.amqp.listeners, [{ host: '127.0.0.1', port: 5672, transport: 'tcp' }]);
});

t.test('config/gantry.yaml says the defaults', async (t) => {
  t.same(loadConfig('config/gantry.yaml'), parseConfig('', 'nothing'));
});

/** The paths of all keys in a JSON schema; what lists have in them counts as theirs. */
function schemaPaths(schema: z.core.JSONSchema._JSONSchema, path = ''): string[] {
  if (typeof schema === 'boolean') return [];
  const inner = schema.items as z.core.JSONSchema._JSONSchema | undefined;
  return [
    ...Object.entries(schema.properties ?? {}).flatMap(([key, value]) => {
      const own = path === '' ? key : `${path}.${key}`;
      return [own, ...schemaPaths(value, own)];
    }),
    ...(inner === undefined ? [] : schemaPaths(inner, path)),
  ];
}

/** The paths of all keys in a YAML text, those in its comments among them; `a, b: ...` in a comment are two. */
function writtenPaths(text: string): string[] {
  const paths: string[] = [];
  const parents: { indent: number; path: string }[] = [];
  for (const line of text.split('\n')) {
    const [, before, keys] =
      /^( *(?:- )?)([a-z]\w*(?:, [a-z]\w*)*):(?: |$)/i.exec(line.replace(/^( *)# ?/, '$1')) ?? [];
    if (before === undefined) continue;
    while (parents.length > 0 && parents.at(-1)!.indent >= before.length) parents.pop();
    const parent = parents.at(-1)?.path;
    const own = keys!.split(', ').map((key) => (parent === undefined ? key : `${parent}.${key}`));
    paths.push(...own);
    parents.push({ indent: before.length, path: own[0]! });
  }
  return paths;
}

t.test('config/gantry.yaml documents every key, and no other', async (t) => {
  const written = writtenPaths(readFileSync('config/gantry.yaml', 'utf8'));
  const known = schemaPaths(z.toJSONSchema(configSchema, { io: 'input' }));
  t.ok(known.includes('mqtt.listeners.tls.certFile') && known.includes('mqtt.sharedRetry'));
  t.same(
    known.filter((path) => !written.includes(path)),
    [],
    'documented',
  );
  t.same(
    written.filter((path) => !known.includes(path)),
    [],
    'known',
  );
});

t.test('unknown keys and wrong values are refused with their path', async (t) => {
  const cases: [string, RegExp][] = [
    ['mqtt: { inflightMaximum: 5 }', /^gantry\.yaml: mqtt: .*inflightMaximum/],
    ['colour: red', /^gantry\.yaml: the configuration: .*colour/],
    ['mqtt: { inflightMax: 0 }', /^gantry\.yaml: mqtt\.inflightMax: /],
    ['mqtt: { inflightMax: 65536 }', /mqtt\.inflightMax: /],
    ['mqtt: { inflightMax: many }', /mqtt\.inflightMax: /],
    ['grpc: { listeners: [{ port: 1 }, { port: 65536 }] }', /grpc\.listeners\[1\]\.port: /],
    ['topics: [{ name: a, type: FUNNY }]', /topics\[0\]\.type: /],
    ['users: [{ name: a, password: secret }]', /users\[0\]\.password: .*hash-password/],
    ['mqtt: { routes: [{ filter: a, topic: "{2}" }] }', /mqtt\.routes\[0\]: the topic of the route a has \{2\}/],
    ['mqtt: { routes: [{ filter: a }] }', /mqtt\.routes\[0\]\.topic: /],
    ['mqtt: { routes: [{ filter: a, topic: a, tags: b }] }', /mqtt\.routes\[0\]: .*tags/],
    ['users: [{ name: a, scram: secret }]', /users\[0\]\.scram: .*hash-password --scram/],
    ['retained: { countMax: 0 }', /retained\.countMax: /],
    ['log: { level: loud }', /log\.level: /],
    ['grpc: { tls: { certFile: a } }', /grpc\.tls\.keyFile: /],
    ['mqtt: { listeners: [{ transport: udp }] }', /mqtt\.listeners\[0\]\.transport: /],
    ['mqtt: { listeners: [{ path: /mqtt }] }', /listeners\[0\]\.path: needs transport: ws/],
    ['mqtt: { listeners: [{ origins: [a] }] }', /listeners\[0\]\.origins: needs transport: ws/],
    ['mqtt: { listeners: [{ transport: ws, path: mqtt }] }', /listeners\[0\]\.path: /],
    ['mqtt: { listeners: [{ packetBytesMax: 1 }] }', /listeners\[0\]\.packetBytesMax: /],
    ['mqtt: { listeners: [{ connectRateMax: 0 }] }', /listeners\[0\]\.connectRateMax: /],
    ['mqtt: { listeners: [{ inflightMax: 5 }] }', /listeners\[0\]: .*inflightMax/],
    ['mqtt: { listeners: [{ tls: { certFile: a } }] }', /tls\.keyFile: /],
    [`mqtt: { listeners: [{ tls: { ${PAIR}, requireClientCertificate: true } }] }`, /tls\.caFile: needed/],
    [`mqtt: { listeners: [{ tls: { ${PAIR}, requestClientCertificate: true } }] }`, /tls\.caFile: needed/],
    [`mqtt: { listeners: [{ tls: { ${PAIR}, certificateAsUser: true } }] }`, /tls\.certificateAsUser: needs/],
    ['mqtt: { listeners: [{ proxyProtocol: { trusted: [] } }] }', /proxyProtocol\.trusted: /],
    ['mqtt: { listeners: [{ proxyProtocol: { trusted: [10.0.0.0/33] } }] }', /trusted\[0\]: not an address/],
    ['amqp: { maxFrameSizeBytes: 511 }', /amqp\.maxFrameSizeBytes: /],
    ['amqp: { channelMax: 65536 }', /amqp\.channelMax: /],
    ['amqp: { handleMax: 4294967296 }', /amqp\.handleMax: /],
    ['amqp: { bareAddress: exchange }', /amqp\.bareAddress: /],
    ['amqp: { saslMechanisms: [] }', /amqp\.saslMechanisms: /],
    ['amqp: { saslMechanisms: [GSSAPI] }', /amqp\.saslMechanisms\[0\]: /],
    ['amqp: { temporary: { messagesMax: 0 } }', /amqp\.temporary\.messagesMax: /],
    ['amqp: { listeners: [{ path: /amqp }] }', /amqp\.listeners\[0\]\.path: needs transport: ws/],
    ['amqp: { listeners: [{ keepAliveMaxS: 5 }] }', /amqp\.listeners\[0\]: .*keepAliveMaxS/],
    [`amqp: { listeners: [{ tls: { ${PAIR}, certificateAsUser: true } }] }`, /tls\.certificateAsUser: needs/],
    [
      `amqp: { listeners: [{ tls: { ${PAIR}, certificateAsClientIdentifier: true } }] }`,
      /certificateAsClientIdentifier/,
    ],
    [
      `amqp: { listeners: [{ transport: ws, tls: { ${PAIR}, onRequest: true } }] }`,
      /tls\.onRequest: needs transport: tcp/,
    ],
    [`mqtt: { listeners: [{ tls: { ${PAIR}, onRequest: true } }] }`, /mqtt\.listeners\[0\]\.tls: .*onRequest/],
    ['grpc: { listeners: [{ transport: ws }] }', /grpc\.listeners\[0\]: .*transport/],
    ['mqtt: [', /^gantry\.yaml: /],
    ['- a', /^gantry\.yaml: the configuration: /],
    ['text', /^gantry\.yaml: the configuration: /],
  ];
  for (const [text, message] of cases) t.match(problemOf(text), message, text);
  t.equal(problemOf('mqtt: { inflightMax: 0, receiveMaximum: 0 }').split('\n').length, 2, 'one line per problem');
});

t.test('a file that is not there', async (t) => {
  t.throws(() => loadConfig('/nowhere/gantry.yaml'), { name: 'ConfigError', message: /^\/nowhere\/gantry\.yaml: / });
  const file = join(mkdtempSync(join(tmpdir(), 'gantry-config-')), 'gantry.yaml');
  writeFileSync(file, 'mqtt: { inflightMax: 7 }\n');
  t.equal(loadConfig(file).mqtt.inflightMax, 7);
  t.equal(loadConfig(file, ['mqtt.inflightMax=8']).mqtt.inflightMax, 8);
});

t.test('overrides', async (t) => {
  const text = 'mqtt: { inflightMax: 5, receiveMaximum: 6 }';
  const config = parseConfig(text, 'gantry.yaml', [
    'mqtt.inflightMax=9',
    'log.level=error',
    'anonymous=true',
    'grpc.listeners=[{ host: ::1, port: 0 }]',
    'mqtt.inflightMax=10',
  ]);
  t.match(config, { mqtt: { inflightMax: 10, receiveMaximum: 6 }, log: { level: 'error' }, anonymous: true });
  t.same(config.grpc.listeners, [{ host: '::1', port: 0 }]);
  t.match(problemOf('', 'mqtt.inflightMax'), /^--set mqtt\.inflightMax: /);
  t.match(problemOf('', '=5'), /^--set =5: /);
  t.match(problemOf('', 'mqtt.colour=red'), /mqtt: .*colour/);
  t.match(problemOf('', '__proto__.polluted=1'), /__proto__/);
  t.match(problemOf('', 'constructor.prototype.polluted=1'), /constructor/);
  t.notOk('polluted' in {});
  t.match(problemOf('', 'anonymous=['), /^--set anonymous=\[: /, 'a value that is no YAML');
  t.match(problemOf('text', 'anonymous=true'), /^gantry\.yaml: the configuration: /, 'nothing to override in');
});

t.test('nobody becomes reachable from outside without users', async (t) => {
  for (const host of ['0.0.0.0', '::', '192.168.1.5', 'example.org']) {
    const open = `mqtt.listeners=[{ host: '${host}', port: 1883 }]`;
    t.match(problemOf('', open), new RegExp(`mqtt\\.listeners: ${host}:1883 .*\`users\`.*\`anonymous: true\``));
    t.equal(problemOf('', open, 'anonymous=true'), 'none');
    t.equal(problemOf('', open, 'users=[{ name: a, secretKey: b }]'), 'none');
  }
  t.match(problemOf('', 'grpc.listeners=[{ host: 0.0.0.0 }]'), /^grpc\.listeners: 0\.0\.0\.0:8081 /);
  t.match(problemOf('', 'amqp.listeners=[{ host: 0.0.0.0 }]'), /^amqp\.listeners: 0\.0\.0\.0:5672 /);
  const onRequest = `amqp.listeners=[{ host: 0.0.0.0, tls: { ${PAIR}, onRequest: true, caFile: c, requireClientCertificate: true } }]`;
  t.equal(problemOf('', onRequest), 'none', 'nobody comes in without TLS');
  for (const host of ['localhost', '127.0.0.1', '127.8.8.8', '::1']) {
    t.equal(problemOf('', `mqtt.listeners=[{ host: '${host}', port: 0 }]`), 'none', host);
  }
  const proxied = 'mqtt.listeners=[{ proxyProtocol: { trusted: [127.0.0.1] } }]';
  t.match(problemOf('', proxied), /127\.0\.0\.1:1883 /, 'a proxy lets others in');
  const listenerWith = (tls: string) => `mqtt.listeners=[{ host: 0.0.0.0, tls: { ${PAIR}, caFile: c, ${tls} } }]`;
  t.equal(problemOf('', listenerWith('requireClientCertificate: true')), 'none', 'the authority decides who comes in');
  t.match(problemOf('', listenerWith('requestClientCertificate: true')), /0\.0\.0\.0:1883 /);
});
