/** What the gateway was to reach against Mosquitto, where a run has measured it. */
import type { Summary } from './mqtt-report.ts';
import { target, type Target } from './table.ts';

export function mqttTargets(summaries: readonly Summary[]): Target[] {
  const of = (scenario: string, peer: string): Summary | undefined =>
    summaries.find((summary) => summary.scenario === scenario && summary.peer === peer);
  const gain = (scenario: string, peer = 'gantry'): number | undefined => {
    const [ours, theirs] = [of(scenario, peer), of(scenario, 'mosquitto')];
    if (ours === undefined || theirs === undefined) return undefined;
    return ours.messagesPerSecond.median / theirs.messagesPerSecond.median;
  };
  const all: [scenario: string, Target][] = [
    ['qos0', target('QoS 0, 1 to 1: times Mosquitto', gain('qos0'), '>= 6', (v) => v >= 6)],
    [
      'qos1',
      target('QoS 1, a sync before each PUBACK: times Mosquitto', gain('qos1', 'gantry-sync'), '>= 2', (v) => v >= 2),
    ],
    ['fan-out-qos0', target('fan-out, QoS 0: times Mosquitto', gain('fan-out-qos0'), '>= 8', (v) => v >= 8)],
    ['fan-out-qos1', target('fan-out, QoS 1: times Mosquitto', gain('fan-out-qos1'), '>= 8', (v) => v >= 8)],
    ['idle', target('idle connection, KiB', of('idle', 'gantry')?.growth?.value, '< 13', (v) => v < 13)],
    ['connect', target('connections a second: times Mosquitto', gain('connect'), '>= 1', (v) => v >= 1)],
    ...['drain', 'drain-500'].flatMap((name): [string, Target][] => [
      [name, target(`${name}: times Mosquitto`, gain(name, 'gantry-sync'), '> 1', (v) => v > 1)],
      [name, target(`${name}: MiB while they wait`, of(name, 'gantry-sync')?.growth?.value, '< 10', (v) => v < 10)],
    ]),
  ];
  const measured = new Set(summaries.map(({ scenario }) => scenario));
  return all.filter(([scenario]) => measured.has(scenario)).map(([, one]) => one);
}
