import type { GroupSpec } from '../../../core/model/consumer-group.ts';
import { checkGroupName } from '../../../core/model/names.ts';
import type { MessageType, TopicSpec } from '../../../core/model/topic.ts';
import { nameOf, requireAnyUse, requireGroup, requireTopic } from '../access.ts';
import type { CallContext } from '../call-context.ts';
import type { Endpoints__Output } from '../proto/generated/apache/rocketmq/v2/Endpoints.ts';
import type { MessageQueue } from '../proto/generated/apache/rocketmq/v2/MessageQueue.ts';
import type { QueryAssignmentRequest__Output } from '../proto/generated/apache/rocketmq/v2/QueryAssignmentRequest.ts';
import type { QueryAssignmentResponse } from '../proto/generated/apache/rocketmq/v2/QueryAssignmentResponse.ts';
import type { QueryRouteRequest__Output } from '../proto/generated/apache/rocketmq/v2/QueryRouteRequest.ts';
import type { QueryRouteResponse } from '../proto/generated/apache/rocketmq/v2/QueryRouteResponse.ts';
import type { Resource__Output } from '../proto/generated/apache/rocketmq/v2/Resource.ts';
import { OK, ProtocolError } from '../status.ts';
import type { Parts } from './parts.ts';

/** Which queue a consumer shall name when its group takes from all queues at once. */
const ALL_QUEUES = -1;

/** The queues of a topic. The topic is created on first use, so that nobody needs an administrator to begin. */
export async function queryRoute(
  { broker, options }: Parts,
  request: QueryRouteRequest__Output,
  context: CallContext,
): Promise<QueryRouteResponse> {
  const endpoints = accessPointOf(request.endpoints);
  const name = nameOf(request.topic);
  requireAnyUse(broker, context, name);
  const topic = await broker.topics.use(name);
  const types = broker.topics.acceptedTypes(topic);
  const resource = request.topic!;
  return {
    status: OK,
    messageQueues: Array.from({ length: topic.queues }, (_, id) =>
      queueOf(resource, id, endpoints, options.brokerName, types),
    ),
  };
}

/**
 * The queues a push consumer receives from: every member of the group gets the same answer, since messages are shared
 * among them one by one. RocketMQ's proxy: a group in order sees its queues, others all of them as one.
 */
export async function queryAssignment(
  { broker, options }: Parts,
  request: QueryAssignmentRequest__Output,
  context: CallContext,
): Promise<QueryAssignmentResponse> {
  const endpoints = accessPointOf(request.endpoints);
  const topicName = nameOf(request.topic);
  const groupName = nameOf(request.group);
  checkGroupName(groupName);
  requireGroup(broker, context, groupName);
  requireTopic(broker, context, 'SUB', topicName);
  const topic = await broker.topics.use(topicName);
  const group = await broker.groups.use(groupName);
  const types = broker.topics.acceptedTypes(topic);
  const resource = request.topic!;
  return {
    status: OK,
    assignments: assignedQueues(topic, group).map((id) => ({
      messageQueue: queueOf(resource, id, endpoints, options.brokerName, types),
    })),
  };
}

function assignedQueues(topic: TopicSpec, group: GroupSpec): number[] {
  return group.order === 'fifo' ? Array.from({ length: topic.queues }, (_, id) => id) : [ALL_QUEUES];
}

function queueOf(
  topic: Resource__Output,
  id: number,
  endpoints: Endpoints__Output,
  brokerName: string,
  acceptMessageTypes: readonly MessageType[],
): MessageQueue {
  return {
    topic,
    id,
    permission: 'READ_WRITE',
    // Clients only talk to masters, and masters have id 0. The address is the one the client came by: whatever stands
    // between it and the gateway, that one works.
    broker: { name: brokerName, id: 0, endpoints },
    acceptMessageTypes: [...acceptMessageTypes],
  };
}

function accessPointOf(endpoints: Endpoints__Output | null): Endpoints__Output {
  if (endpoints === null || endpoints.addresses.length === 0) {
    throw new ProtocolError('ILLEGAL_ACCESS_POINT', 'the request has no endpoints');
  }
  return endpoints;
}
