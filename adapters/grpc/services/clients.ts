import { nameOf, requireGroup } from '../access.ts';
import type { CallContext } from '../call-context.ts';
import type { Client } from '../client-registry.ts';
import type { HeartbeatRequest__Output } from '../proto/generated/apache/rocketmq/v2/HeartbeatRequest.ts';
import type { HeartbeatResponse } from '../proto/generated/apache/rocketmq/v2/HeartbeatResponse.ts';
import type { NotifyClientTerminationRequest__Output } from '../proto/generated/apache/rocketmq/v2/NotifyClientTerminationRequest.ts';
import type { NotifyClientTerminationResponse } from '../proto/generated/apache/rocketmq/v2/NotifyClientTerminationResponse.ts';
import type { Settings } from '../proto/generated/apache/rocketmq/v2/Settings.ts';
import { OK, ProtocolError } from '../status.ts';
import type { Parts } from './parts.ts';

/** A sign of life. The first one brings the settings again, for clients that missed them (see telemetry.ts). */
export function heartbeat(
  { broker, clients }: Parts,
  request: HeartbeatRequest__Output,
  context: CallContext,
): HeartbeatResponse {
  const { client, settings } = knownClient(clients.seen(context));
  if (request.group) requireGroup(broker, context, nameOf(request.group));
  client.heartbeats++;
  if (client.heartbeats === 1) for (const stream of client.streams) stream.sendSettings(settings);
  return { status: OK };
}

/** The client says goodbye: what it held goes to others soon. Producers name no group. */
export function notifyClientTermination(
  { broker, clients }: Parts,
  request: NotifyClientTerminationRequest__Output,
  context: CallContext,
): NotifyClientTerminationResponse {
  const { client } = knownClient(clients.seen(context));
  const group = nameOf(request.group);
  if (group !== '') requireGroup(broker, context, group);
  clients.remove(client);
  return { status: OK };
}

function knownClient(client: Client | undefined): { client: Client; settings: Settings } {
  if (client?.settings === undefined) {
    throw new ProtocolError('UNRECOGNIZED_CLIENT_TYPE', 'the client has not sent its settings yet');
  }
  return { client, settings: client.settings };
}
