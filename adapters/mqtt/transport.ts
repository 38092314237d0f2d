import type { Transport } from '../connection/transport.ts';
import type { MqttOptions } from './options.ts';

export interface MqttTransport extends Transport<MqttOptions> {
  /** From the client's verified certificate: its client identifier, whatever CONNECT says. */
  readonly certificateClientIdentifier?: string | undefined;
}
