import t from 'tap';
import { amqpBrokerPort } from '../helpers/amqp-broker.ts';
import { JMS, JMS_COMMAND, reportDriver, scenariosOf } from '../helpers/amqp-drivers.ts';

/** AMQP 1.0 through Qpid JMS, whose scenarios are in jms/. */

const [java, ...flags] = JMS_COMMAND;

if (process.env['GANTRY_WITHOUT_JMS']) {
  t.pass('left out: whoever runs this says that Maven cannot get the client');
} else if (JMS.missing !== undefined) {
  t.comment(`NOT TRIED: ${JMS.missing}`);
  t.pass('there is no driver');
} else {
  t.test('Qpid JMS', { timeout: 300_000 }, async (t) => {
    await reportDriver(
      t,
      java,
      [...flags, `127.0.0.1:${await amqpBrokerPort(t)}`],
      scenariosOf(java, [...flags, 'list']),
    );
  });
}
