import type { handleUnaryCall, ServerUnaryCall } from '@grpc/grpc-js';
import { contextOf, type CallContext } from '../call-context.ts';
import type { Status } from '../proto/generated/apache/rocketmq/v2/Status.ts';
import { isAnswer, statusOf, type StatusBody } from '../status.ts';
import type { Parts } from './parts.ts';

interface WithStatus {
  status?: Status | null;
}

/**
 * Runs one RPC: reads who calls, and answers every failure in the body, as RocketMQ's clients expect; the gRPC status is
 * always OK.
 */
export function unary<Request, Response extends WithStatus>(
  parts: Parts,
  answer: (request: Request, context: CallContext) => Promise<Response> | Response,
): handleUnaryCall<Request, Response | WithStatus> {
  const run = async (call: ServerUnaryCall<Request, Response | WithStatus>): Promise<Response | WithStatus> => {
    try {
      return await answer(call.request, await contextOf(parts.broker, call));
    } catch (error) {
      return { status: failureOf(parts, error, call.getPath()) };
    }
  };
  // oxlint-disable-next-line promise/no-callback-in-promise -- `run` turns every failure into an answer
  return (call, callback) => void run(call).then((response) => callback(null, response));
}

/** The status of a failure; defects are logged. */
export function failureOf(parts: Parts, error: unknown, rpc: string): StatusBody {
  if (!isAnswer(error)) parts.log.error({ err: error, rpc }, 'an RPC failed unexpectedly');
  return statusOf(error);
}
