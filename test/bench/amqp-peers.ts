/** The AMQP 1.0 brokers a benchmark compares. */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gatewayPeer, type PeerSpec } from './peers.ts';

const listener = (port: number): string => `amqp: { listeners: [ { host: 127.0.0.1, port: ${port} } ] }`;
export const gantryAmqpPeer = gatewayPeer('gantry', () => '{ type: memory }', listener);
/** Each message and each acknowledgement on disk before it is confirmed: what `npm start` does. */
export const gantrySyncAmqpPeer = gatewayPeer(
  'gantry-sync',
  (configPath) => `{ type: embedded, dir: ${dirname(configPath)}/data, flush: sync }`,
  listener,
);

export const rheaPeer = scriptPeer('rhea', './amqp-rhea-peer.js');
/** No broker: what the load generator can do at most. */
export const sinkPeer = scriptPeer('sink', './amqp-sink-peer.js');

function scriptPeer(name: string, script: string): PeerSpec {
  const path = fileURLToPath(new URL(script, import.meta.url));
  return {
    name,
    wakeUps: ['block'],
    unavailable: () => undefined,
    command: (port) => ({ file: process.execPath, args: [path, String(port)] }),
  };
}

const rabbitmqServer = '/usr/lib/rabbitmq/bin/rabbitmq-server';

/** Debian's RabbitMQ with its plugin for AMQP 1.0, classic queues, messages that it need not keep on disk. */
export const rabbitmqPeer: PeerSpec = {
  name: 'rabbitmq',
  wakeUps: ['block'],
  unavailable: () => (existsSync(rabbitmqServer) ? undefined : 'rabbitmq-server is not installed'),
  command: (port, configPath) => {
    const directory = dirname(configPath);
    return {
      file: 'sh',
      // By exec, so that the peer's process is the virtual machine itself.
      args: ['-c', `echo '[rabbitmq_amqp1_0].' > ${directory}/plugins; exec ${rabbitmqServer} -noshell -noinput`],
      env: {
        HOME: directory,
        RABBITMQ_NODENAME: `bench-${port}@localhost`,
        RABBITMQ_NODE_IP_ADDRESS: '127.0.0.1',
        RABBITMQ_NODE_PORT: String(port),
        RABBITMQ_DIST_PORT: String(distributionPort(port)),
        ERL_EPMD_PORT: String(epmdPort(port)),
        ERL_EPMD_ADDRESS: '127.0.0.1',
        RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS: '-kernel inet_dist_use_interface {127,0,0,1}',
        RABBITMQ_MNESIA_BASE: `${directory}/mnesia`,
        RABBITMQ_LOG_BASE: `${directory}/log`,
        RABBITMQ_LOGS: '-',
        RABBITMQ_ENABLED_PLUGINS_FILE: `${directory}/plugins`,
        // Not the system's.
        RABBITMQ_CONFIG_FILE: `${directory}/none`,
        RABBITMQ_CONF_ENV_FILE: '/dev/null',
        RABBITMQ_PID_FILE: `${directory}/pid`,
        RABBITMQ_ALLOW_INPUT: '1',
      },
    };
  },
  // Its name server is a process of its own, which it leaves behind.
  afterwards: (port) => void spawnSync('epmd', ['-port', String(epmdPort(port)), '-kill'], { stdio: 'ignore' }),
};

/** Ports beside a free one, which are free as well more often than not. */
const distributionPort = (port: number): number => (port > 60_000 ? port - 1 : port + 1);
const epmdPort = (port: number): number => (port > 60_000 ? port - 2 : port + 2);
