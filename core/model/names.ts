import { BrokerError } from './broker-error.ts';
import { LIMITS } from './limits.ts';

/** RocketMQ: `Validators.VALID_PATTERN_STR` with `%` for system names. */
const NAME = /^[%|a-zA-Z0-9_-]+$/;
const DEAD_LETTER_PREFIX = '%DLQ%';
const RETRY_PREFIX = '%RETRY%';
/** Of the addresses by which clients of all protocols answer to a queue; its name follows, percent-encoded. */
export const REPLY_QUEUE_PREFIX = '$reply/q/';
/** How the names of queues begin that live as long as the link that made them; nothing is stored for one that is gone. */
export const TEMPORARY_QUEUE_PREFIX = 'temporary-';

const SYSTEM_TOPICS = new Set([
  'TBW102',
  'SCHEDULE_TOPIC_XXXX',
  'BenchmarkTest',
  'TRANS_CHECK_MAX_TIME_TOPIC',
  'SELF_TEST_TOPIC',
  'OFFSET_MOVED_EVENT',
  'CHECKPOINT_TOPIC',
]);

const SYSTEM_GROUPS = new Set([
  'DEFAULT_CONSUMER',
  'DEFAULT_PRODUCER',
  'TOOLS_CONSUMER',
  'FILTERSRV_CONSUMER',
  '__MONITOR_CONSUMER',
  'CLIENT_INNER_PRODUCER',
  'SELF_TEST_P_GROUP',
  'SELF_TEST_C_GROUP',
  'CID_ONS-HTTP-PROXY',
]);

/** Property keys RocketMQ keeps to itself (MessageConst.STRING_HASH_SET); a client may not set them. */
export const RESERVED_PROPERTY_KEYS: ReadonlySet<string> = new Set(
  (
    'TRACE_ON MSG_REGION KEYS TAGS WAIT DELAY RETRY_TOPIC REAL_TOPIC REAL_QID TRAN_MSG PGROUP MIN_OFFSET MAX_OFFSET ' +
    'BUYER_ID ORIGIN_MESSAGE_ID TRANSFER_FLAG CORRECTION_FLAG MQ2_FLAG RECONSUME_TIME UNIQ_KEY MAX_RECONSUME_TIMES ' +
    'CONSUME_START_TIME POP_CK POP_CK_OFFSET 1ST_POP_TIME TRAN_PREPARED_QUEUE_OFFSET DUP_INFO EXTEND_UNIQ_INFO ' +
    'INSTANCE_ID CORRELATION_ID REPLY_TO_CLIENT TTL ARRIVE_TIME PUSH_REPLY_TIME CLUSTER MSG_TYPE ' +
    'INNER_MULTI_QUEUE_OFFSET TIMER_DELAY_MS TIMER_DELAY_SEC TIMER_DELIVER_MS TIMER_ENQUEUE_MS TIMER_DEQUEUE_MS ' +
    'TIMER_ROLL_TIMES TIMER_OUT_MS TIMER_DEL_UNIQKEY TIMER_DELAY_LEVEL __BORNHOST BORN_TIMESTAMP DLQ_ORIGIN_TOPIC ' +
    'DLQ_ORIGIN_MESSAGE_ID __CRC32#'
  ).split(' '),
);

/** The topic that collects what a group gave up on. */
export function deadLetterTopic(group: string): string {
  return DEAD_LETTER_PREFIX + group;
}

/** Whether the topic is one the broker itself writes, exempt from the message type check. */
export function isDeadLetterTopic(topic: string): boolean {
  return topic.startsWith(DEAD_LETTER_PREFIX);
}

function isSystemTopic(name: string): boolean {
  return SYSTEM_TOPICS.has(name) || /^rmq_sys_/i.test(name);
}

/** @throws BrokerError ILLEGAL_TOPIC */
export function checkTopicName(name: string): void {
  const system = name.startsWith(DEAD_LETTER_PREFIX) || name.startsWith(RETRY_PREFIX);
  const charsMax = system ? LIMITS.systemTopicNameCharsMax : LIMITS.topicNameCharsMax;
  if (name.length === 0) throw new BrokerError('ILLEGAL_TOPIC', 'the topic name is empty');
  if (name.length > charsMax) {
    throw new BrokerError('ILLEGAL_TOPIC', `the topic name is longer than ${charsMax} characters`);
  }
  if (!NAME.test(name)) {
    throw new BrokerError(
      'ILLEGAL_TOPIC',
      `the topic name ${JSON.stringify(name)} has characters other than a-zA-Z0-9_-%|`,
    );
  }
  if (isSystemTopic(name)) throw new BrokerError('ILLEGAL_TOPIC', `cannot access system topic: ${name}`);
}

/** @throws BrokerError ILLEGAL_CONSUMER_GROUP */
export function checkGroupName(name: string): void {
  if (name.length === 0) throw new BrokerError('ILLEGAL_CONSUMER_GROUP', 'the consumer group name is empty');
  if (name.length > LIMITS.groupNameCharsMax) {
    throw new BrokerError(
      'ILLEGAL_CONSUMER_GROUP',
      `the consumer group name is longer than ${LIMITS.groupNameCharsMax} characters`,
    );
  }
  if (!NAME.test(name)) {
    throw new BrokerError(
      'ILLEGAL_CONSUMER_GROUP',
      `the consumer group name ${JSON.stringify(name)} has characters other than a-zA-Z0-9_-%|`,
    );
  }
  if (SYSTEM_GROUPS.has(name) || name.startsWith('CID_RMQ_SYS_') || name.startsWith('CID_ONSAPI_')) {
    throw new BrokerError('ILLEGAL_CONSUMER_GROUP', `cannot access system consumer group: ${name}`);
  }
}

/**
 * The topic name for a piece of text of another protocol: characters RocketMQ forbids are percent-encoded, byte by byte
 * of their UTF-8, so that the mapping is reversible.
 */
export function encodeTopicName(text: string): string {
  if (/^[a-zA-Z0-9_-]+$/.test(text)) return text;
  let name = '';
  for (const byte of Buffer.from(text, 'utf8')) {
    const char = String.fromCharCode(byte);
    name += /[a-zA-Z0-9_-]/.test(char) ? char : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
  }
  return name;
}
