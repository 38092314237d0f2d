import { connect, createServer, type AddressInfo } from 'node:net';
import { once } from 'node:events';
import t from 'tap';
import { runGateway, runGatewayWith, startGatewayProcess } from '../../helpers/gateway-process.ts';

t.test('flags', async (t) => {
  const help = await runGateway('--help');
  t.match(help, { code: 0, stdout: /^Usage: gantry/, stderr: '' });
  for (const flag of ['--config', '--set', '--check', 'hash-password', 'doctor'])
    t.ok(help.stdout.includes(flag), flag);
  t.match(await runGateway('--check'), { code: 0, stdout: 'the configuration is fine\n' });
  t.match(await runGateway('-c', 'config/gantry.yaml', '--check'), { code: 0 });
  t.match(await runGateway('--set', 'mqtt.inflightMax=0', '--check'), { code: 2, stderr: /mqtt\.inflightMax: / });
  t.match(await runGateway('--config', '/nowhere'), { code: 2, stderr: /^gantry: \/nowhere: / });
  t.match(await runGateway('--colour'), { code: 2, stderr: /^gantry: .*--colour/ });
  t.match(await runGateway('dance'), { code: 2, stderr: /unknown command dance/ });
});

t.test('a password is read from a line, also one without an end', async (t) => {
  const scram = /^SCRAM-SHA-256\$\d+:\S+\n$/;
  t.match(await runGatewayWith('secret\n', 'hash-password'), { code: 0, stdout: /^scrypt\$/ });
  t.match(await runGatewayWith('secret', 'hash-password', '--scram'), { code: 0, stdout: scram });
  t.match(await runGatewayWith('', 'hash-password'), { code: 1, stdout: '', stderr: /no password was given/ });
});

t.test('a port that is taken', async (t) => {
  const other = createServer().listen(0, '127.0.0.1');
  await once(other, 'listening');
  t.teardown(() => other.close());
  const { port } = other.address() as AddressInfo;
  for (const protocol of ['mqtt', 'amqp', 'grpc']) {
    const settings = ['mqtt', 'amqp', 'grpc'].map(
      (one) => `${one}.listeners=[{ port: ${one === protocol ? port : 0} }]`,
    );
    const flags = ['engine.type=memory', ...settings].flatMap((setting) => ['--set', setting]);
    const result = await runGateway(...flags);
    t.match(result, { code: 1, stderr: new RegExp(`cannot listen for ${protocol} on 127.0.0.1:${port}: `) });
  }
});

for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  t.test(`starts, says where it listens, and stops on ${signal}`, async (t) => {
    const gateway = await startGatewayProcess();
    t.teardown(() => gateway.child.kill('SIGKILL'));
    for (const port of [gateway.mqttPort, gateway.amqpPort, gateway.grpcPort]) {
      const socket = connect(port, '127.0.0.1');
      await once(socket, 'connect');
      socket.destroy();
    }
    gateway.child.kill(signal);
    t.equal(await gateway.exited, 0);
    t.match(gateway.log.at(-1), { msg: 'stopped' });
  });
}
