import type { MqttAdapter } from '../../adapters/mqtt/mqtt-adapter.ts';
import type { MqttOptions } from '../../adapters/mqtt/options.ts';
import type { Logger } from '../../core/ports/logger.ts';
import type { Config, MqttListenerConfig } from '../config/schema.ts';
import type { ConnectionHandler } from './accepted.ts';
import { protocolListeners, transportOf } from './protocol-listeners.ts';
import type { TcpListener } from './tcp-listener.ts';

/** [MQTT-6.0.0-3]; the other one is what clients of MQTT 3.1 ask for. */
const SUBPROTOCOLS = ['mqtt', 'mqttv3.1'];

/** The MQTT listeners of the configuration. @throws Error naming the listener whose certificate cannot be used */
export function mqttListeners(mqtt: Config['mqtt'], adapter: MqttAdapter, log: Logger): Promise<TcpListener[]> {
  const { listeners, connectionsMax } = mqtt;
  const parts = {
    protocol: 'mqtt',
    listeners,
    connectionsMax,
    defaultPath: '/mqtt',
    webSocketOf: (listener: MqttListenerConfig) => {
      const { connectPacketBytesMax, packetBytesMax } = optionsOf(mqtt, listener);
      const limits = { firstBytesMax: connectPacketBytesMax, unitBytesMax: packetBytesMax };
      return { protocol: 'MQTT', subprotocols: SUBPROTOCOLS, ...limits };
    },
    handshakeTimeoutMsOf: (listener: MqttListenerConfig) => optionsOf(mqtt, listener).connectTimeoutMs,
    handlerOf: (listener: MqttListenerConfig) => mqttHandler(adapter, optionsOf(mqtt, listener), listener.tls),
  };
  return protocolListeners(parts, log);
}

function mqttHandler(adapter: MqttAdapter, options: MqttOptions, tls: MqttListenerConfig['tls']): ConnectionHandler {
  return {
    handleConnection(accepted): void {
      const certificateClientIdentifier = tls?.certificateAsClientIdentifier === true ? accepted.commonName : undefined;
      adapter.handleConnection({ ...transportOf(accepted, tls), options, certificateClientIdentifier });
    },
  };
}

/** What the listener says itself goes before what is said for all. */
function optionsOf(mqtt: Config['mqtt'], listener: MqttListenerConfig): MqttOptions {
  const { connectTimeoutMs, connectPacketBytesMax, packetBytesMax, keepAliveMaxS } = listener;
  return {
    ...mqtt,
    connectTimeoutMs: connectTimeoutMs ?? mqtt.connectTimeoutMs,
    connectPacketBytesMax: connectPacketBytesMax ?? mqtt.connectPacketBytesMax,
    packetBytesMax: packetBytesMax ?? mqtt.packetBytesMax,
    keepAliveMaxS: keepAliveMaxS ?? mqtt.keepAliveMaxS,
  };
}
