import type { handleServerStreamingCall, handleUnaryCall, ServerDuplexStream } from '@grpc/grpc-js';
import type { MessagingServiceHandlers } from '../proto/generated/apache/rocketmq/v2/MessagingService.ts';
import type { PullMessageRequest__Output } from '../proto/generated/apache/rocketmq/v2/PullMessageRequest.ts';
import type { PullMessageResponse } from '../proto/generated/apache/rocketmq/v2/PullMessageResponse.ts';
import type {
  TelemetryCommand,
  TelemetryCommand__Output,
} from '../proto/generated/apache/rocketmq/v2/TelemetryCommand.ts';
import type { StatusBody } from '../status.ts';
import { heartbeat, notifyClientTermination } from './clients.ts';
import type { Parts } from './parts.ts';
import { Receiving } from './receiving.ts';
import { queryAssignment, queryRoute } from './routes.ts';
import { recallMessage, sendMessage } from './sending.ts';
import { ackMessage, changeInvisibleDuration, forwardMessageToDeadLetterQueue } from './settling.ts';
import { TelemetrySession } from './telemetry.ts';
import { unary } from './unary.ts';

const NOT_IMPLEMENTED: StatusBody = { code: 'NOT_IMPLEMENTED', message: 'this call is not implemented yet' };

/** All calls of `apache.rocketmq.v2.MessagingService`. */
export function messagingHandlers(parts: Parts): MessagingServiceHandlers {
  const receiving = new Receiving(parts);
  return {
    QueryRoute: unary(parts, (request, context) => queryRoute(parts, request, context)),
    QueryAssignment: unary(parts, (request, context) => queryAssignment(parts, request, context)),
    Heartbeat: unary(parts, (request, context) => heartbeat(parts, request, context)),
    NotifyClientTermination: unary(parts, (request, context) => notifyClientTermination(parts, request, context)),
    SendMessage: unary(parts, (request, context) => sendMessage(parts, request, context)),
    AckMessage: unary(parts, (request, context) => ackMessage(parts, request, context)),
    ChangeInvisibleDuration: unary(parts, (request, context) => changeInvisibleDuration(parts, request, context)),
    ForwardMessageToDeadLetterQueue: unary(parts, (request, context) =>
      forwardMessageToDeadLetterQueue(parts, request, context),
    ),
    ReceiveMessage: (call) => void receiving.serve(call),
    Telemetry: (call: ServerDuplexStream<TelemetryCommand__Output, TelemetryCommand>) =>
      void new TelemetrySession(parts, call).run(),
    EndTransaction: notImplemented,
    GetOffset: notImplemented,
    PullMessage: pullNotImplemented,
    QueryOffset: notImplemented,
    RecallMessage: unary(parts, (request, context) => recallMessage(parts, request, context)),
    SyncLiteSubscription: notImplemented,
    UpdateOffset: notImplemented,
  };
}

const notImplemented: handleUnaryCall<unknown, { status: StatusBody }> = (_call, callback) => {
  callback(null, { status: NOT_IMPLEMENTED });
};

const pullNotImplemented: handleServerStreamingCall<PullMessageRequest__Output, PullMessageResponse> = (call) => {
  call.write({ status: NOT_IMPLEMENTED, content: 'status' });
  call.end();
};
