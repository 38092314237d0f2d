/** Aedes as a benchmark peer: `node aedes-peer.js PORT`. Its own defaults, TCP_NODELAY on. */
import { createServer } from 'node:net';
import { Aedes } from 'aedes';

const port = Number(process.argv[2]);
const broker = await Aedes.createBroker();
createServer({ noDelay: true }, broker.handle).listen(port, '127.0.0.1');
process.on('SIGTERM', () => process.exit(0));
