/** `npm run bench -- NAME [flags]`: picks a benchmark by its name. */
import { amqpBenchmark } from './amqp.ts';
import { memoryBenchmark } from './memory.ts';
import { mqttBenchmark } from './mqtt.ts';
import { scaleBenchmark } from './scale.ts';
import { storageBenchmark } from './storage.ts';

export type Benchmark = {
  summary: string;
  /** The flags, one a line. */
  usage: string;
  run: (args: string[]) => Promise<void>;
};

const benchmarks: Record<string, Benchmark> = {
  mqtt: mqttBenchmark,
  amqp: amqpBenchmark,
  storage: storageBenchmark,
  memory: memoryBenchmark,
  scale: scaleBenchmark,
};

function usage(): string {
  const lines = ['usage: npm run bench -- NAME [flags]', ''];
  for (const [name, benchmark] of Object.entries(benchmarks))
    lines.push(`${name}: ${benchmark.summary}`, benchmark.usage);
  return lines.join('\n');
}

const [name = '--help', ...args] = process.argv.slice(2);
const benchmark = Object.hasOwn(benchmarks, name) ? benchmarks[name] : undefined;
if (benchmark === undefined || args.includes('--help')) {
  const asked = name === '--help' || benchmark !== undefined;
  (asked ? console.log : console.error)(usage());
  process.exitCode = asked ? 0 : 2;
} else {
  // By way of process.exit, so that the peers' exit hooks end them.
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130));
  try {
    await benchmark.run(args);
  } catch (error) {
    console.error(`\nFAILED: ${error instanceof Error ? error.message : String(error)}`);
    process.exitCode = 1;
  }
}
