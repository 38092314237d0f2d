import { CodecError } from '../codec/codec-error.ts';
import { ACCEPTED, type AmqpMap, type Attach } from '../codec/performatives.ts';
import type { DeliveryState, Source, Target } from '../codec/performatives.ts';
import type { AmqpValue } from '../codec/values.ts';
import type { IncomingLink, OutgoingLink, SourceNode, TargetNode } from '../node.ts';
import type { NodeContext } from './node-context.ts';
import { encodeResponse, readRequest, type Request, type Response } from './request-message.ts';

const CREDIT_MAX = 32;
/** Answers that a client has given no credit for; beyond it the oldest are dropped, as they would be by any queue's limit. */
const RESPONSES_MAX = 1_000;
/** RabbitMQ: the link of the same name. */
const REPLY_TO_PAIR = '$me';

/** Answers requests to one kind of node. */
export type RequestHandler = (request: Request, link: IncomingLink) => Promise<Response>;

/**
 * Nodes that are asked and answer: a link to them, and a link from them on the same connection. Where an answer goes is said
 * by name or by target address of the second one.
 */
export class Requests {
  private readonly context: NodeContext;
  private readonly responders = new Map<string, Set<ResponseSource>>();

  constructor(context: NodeContext) {
    this.context = context;
  }

  target(target: Target, attach: Attach, link: IncomingLink, handler: RequestHandler): TargetNode {
    return new RequestTarget(this.context, this, link, target, attach, handler);
  }

  source(source: Source, attach: Attach, link: OutgoingLink): SourceNode {
    const { owner } = link.peer;
    const responder = new ResponseSource(link, source, attach, () => {
      const responders = this.responders.get(owner);
      responders?.delete(responder);
      if (responders?.size === 0) this.responders.delete(owner);
    });
    const responders = this.responders.get(owner) ?? new Set();
    this.responders.set(owner, responders.add(responder));
    return responder;
  }

  /** Nobody waiting for it is no error: the client has gone on. */
  respond(link: IncomingLink, address: string | undefined, replyTo: string | undefined, response: Buffer): void {
    let last: ResponseSource | undefined;
    for (const responder of this.responders.get(link.peer.owner) ?? []) {
      if (responder.source.address !== address) continue;
      last = responder;
      if (responder.isFor(replyTo === REPLY_TO_PAIR ? link.name : replyTo)) break;
    }
    last?.respond(response);
  }
}

class RequestTarget implements TargetNode {
  readonly target: Target;
  readonly properties: AmqpMap;
  readonly maxMessageSize = 1024 * 1024;
  readonly creditMax = CREDIT_MAX;
  private readonly context: NodeContext;
  private readonly requests: Requests;
  private readonly link: IncomingLink;
  private readonly handler: RequestHandler;
  /** One after the other, so that what a client asks for takes effect in its order. */
  private answered: Promise<void> = Promise.resolve();

  constructor(
    context: NodeContext,
    requests: Requests,
    link: IncomingLink,
    target: Target,
    attach: Attach,
    handler: RequestHandler,
  ) {
    this.properties = pairedOf(attach);
    this.context = context;
    this.requests = requests;
    this.link = link;
    this.target = target;
    this.handler = handler;
  }

  deliver(deliveryId: number, settled: boolean, _format: number, buffer: Buffer, start: number, end: number): void {
    let request: Request;
    try {
      request = readRequest(buffer, start, end);
    } catch (error) {
      if (!(error instanceof CodecError)) throw error;
      this.answer(deliveryId, settled, { kind: 'rejected', error: this.context.errorOf(error, '') });
      return;
    }
    this.answered = this.answered.then(() => this.handle(deliveryId, settled, request));
  }

  detached(): void {
    // What was asked for takes its course.
  }

  private async handle(deliveryId: number, settled: boolean, request: Request): Promise<void> {
    try {
      const response = await this.handler(request, this.link);
      this.answer(deliveryId, settled, ACCEPTED);
      this.requests.respond(this.link, this.target.address, request.replyTo, encodeResponse(request, response));
    } catch (error) {
      this.answer(deliveryId, settled, { kind: 'rejected', error: this.context.errorOf(error, 'a request failed') });
    }
  }

  private answer(deliveryId: number, settled: boolean, state: DeliveryState): void {
    if (!settled) this.link.answer(deliveryId, state);
  }
}

class ResponseSource implements SourceNode {
  readonly source: Source;
  readonly properties: AmqpMap;
  private readonly link: OutgoingLink;
  private readonly replyTo: string | undefined;
  private readonly onDetached: () => void;
  private readonly responses: Buffer[] = [];

  constructor(link: OutgoingLink, source: Source, attach: Attach, onDetached: () => void) {
    this.link = link;
    this.source = source;
    this.replyTo = attach.target?.kind === 'target' ? attach.target.address : undefined;
    this.onDetached = onDetached;
    this.properties = pairedOf(attach);
  }

  isFor(replyTo: string | undefined): boolean {
    return replyTo !== undefined && (replyTo === this.link.name || replyTo === this.replyTo);
  }

  respond(response: Buffer): void {
    this.responses.push(response);
    if (this.responses.length > RESPONSES_MAX) this.responses.shift();
    this.link.ready();
  }

  pull(): void {
    const { link, responses } = this;
    while (link.room > 0 && responses.length > 0) {
      const response = responses.shift()!;
      link.send(undefined, NO_HEAD, 0, response, 0, response.length);
    }
    link.drained();
  }

  available(): number {
    return this.responses.length;
  }

  outcome(): void {
    // Answers are not sent twice.
  }

  detached(): void {
    this.onDetached();
  }
}

/** Link pairing 1.0: both sides say that the links of one name belong together. */
function pairedOf({ properties }: Attach): AmqpMap {
  const paired = properties.get('paired');
  return new Map<string, AmqpValue>(paired && [['paired', paired]]);
}

const NO_HEAD = Buffer.alloc(0);
