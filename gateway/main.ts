#!/usr/bin/env -S node --initial-old-space-size=512
import { parseArgs } from 'node:util';
import { startGateway, type Gateway } from './compose.ts';
import { runDoctor } from './cli/doctor.ts';
import { runHashPassword } from './cli/hash-password.ts';
import { ConfigError, loadConfig, parseConfig } from './config/load.ts';
import type { Config } from './config/schema.ts';
import { createLog } from './telemetry/log.ts';

const EXIT_STORAGE_FAILED = 3;
/** For the last checkpoint, after clients had their time. */
const STOP_MARGIN_MS = 20_000;

const USAGE = `Usage: gantry [options]
       gantry hash-password       reads a password, prints the verifier for the configuration; --scram: that for SCRAM
       gantry doctor DIR [--all]  checks a data directory and prints what is in it; exit code 0 sound, 1 damaged

  -c, --config FILE     YAML configuration (config/gantry.yaml describes every key); without it, defaults
  -s, --set KEY=VALUE   overrides one key, for example --set mqtt.inflightMax=500; may be repeated
      --check           checks the configuration and ends
      --all             doctor: lists all light queues
      --scram           hash-password: for SCRAM-SHA-256
  -h, --help            prints this text
`;

/**
 * Exit codes: 0 stopped as asked, 1 failed, 2 called wrongly or with a configuration that cannot be used, 3 the disk failed:
 * nothing more could be stored, what was acknowledged is there at the next start.
 */
async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      config: { type: 'string', short: 'c' },
      set: { type: 'string', short: 's', multiple: true, default: [] },
      check: { type: 'boolean', default: false },
      all: { type: 'boolean', default: false },
      scram: { type: 'boolean', default: false },
      help: { type: 'boolean', short: 'h', default: false },
    },
  });
  if (values.help) {
    process.stdout.write(USAGE);
    return;
  }
  if (positionals[0] === 'hash-password') return runHashPassword(values.scram);
  if (positionals[0] === 'doctor') {
    process.exitCode = await runDoctor(positionals.slice(1), values.all);
    return;
  }
  if (positionals.length > 0) throw new ConfigError(`unknown command ${positionals[0]}\n${USAGE}`);
  const config =
    values.config === undefined
      ? parseConfig('', 'the command line', values.set)
      : loadConfig(values.config, values.set);
  if (values.check) process.stdout.write('the configuration is fine\n');
  else await run(config);
}

async function run(config: Config): Promise<void> {
  const log = createLog(config.log.level);
  const gateway = await startGateway(config, log, (error) => {
    log.error({ err: error }, 'the storage failed: nothing can be acknowledged any more');
    process.exit(EXIT_STORAGE_FAILED);
  });
  // First: whoever reads that it listens may stop it at once.
  stopOnSignal(gateway, log, config.shutdownGraceMs + STOP_MARGIN_MS);
  // A defect must not go on in an unknown state: it is logged, and the supervisor starts a clean process.
  process.on('uncaughtException', (error) => {
    log.error({ err: error }, 'uncaught exception');
    process.exit(1);
  });
  for (const { protocol, transport, address } of gateway.listeners) {
    log.info({ protocol, transport, ...address }, `${protocol} listens on ${address.host}:${address.port}`);
  }
  if (config.users.length === 0) log.warn({}, 'there are no users: everyone who can reach the gateway may come in');
  const { type, dir, flush } = config.engine;
  if (type === 'memory') log.warn({ engine: type }, 'messages are kept in memory and end with this process');
  else log.info({ engine: type, dir, flush }, `messages are kept in ${dir}`);
}

function stopOnSignal(gateway: Gateway, log: ReturnType<typeof createLog>, timeLimitMs: number): void {
  let stopping = false;
  const stop = (signal: NodeJS.Signals): void => {
    // Asked twice: the operator means it.
    if (stopping) process.exit(1);
    stopping = true;
    log.info({ signal }, 'stopping');
    // A disk that is full, or does not answer, must not keep the process: what was acknowledged is there at the next start.
    setTimeout(() => {
      log.error({}, 'could not stop in time');
      process.exit(1);
    }, timeLimitMs).unref();
    gateway.stop().then(
      () => {
        log.info({}, 'stopped');
        process.exit(0);
      },
      (error: unknown) => {
        log.error({ err: error }, 'could not stop cleanly');
        process.exit(1);
      },
    );
  };
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);
}

try {
  await main();
} catch (error) {
  const isUsage =
    error instanceof ConfigError || (error as { code?: string }).code?.startsWith('ERR_PARSE_ARGS') === true;
  process.stderr.write(`gantry: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exit(isUsage ? 2 : 1);
}
