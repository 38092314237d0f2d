import { fileURLToPath } from 'node:url';
import t from 'tap';
import { amqpBrokerPort } from '../helpers/amqp-broker.ts';
import { PROTON, PYTHON, reportDriver, scenariosOf } from '../helpers/amqp-drivers.ts';

/** AMQP 1.0 through Qpid Proton for Python, whose scenarios are in proton_client.py. */

const driver = fileURLToPath(new URL('./proton_client.py', import.meta.url));

if (PROTON.missing !== undefined) {
  t.comment(`NOT TRIED: ${PROTON.missing}`);
  t.pass('there is no driver');
} else {
  t.test('Qpid Proton', { timeout: 300_000 }, async (t) => {
    await reportDriver(
      t,
      PYTHON,
      [driver, `127.0.0.1:${await amqpBrokerPort(t)}`],
      scenariosOf(PYTHON, [driver, 'list']),
    );
  });
}
