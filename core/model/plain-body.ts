import { gunzipSync } from 'node:zlib';
import { LIMITS } from './limits.ts';
import type { MessageView } from './message-view.ts';

/** The body as clients get it that know nothing of compression: RocketMQ's may compress what they send. */
export function plainBody(view: MessageView): Buffer {
  if (view.bodyEncoding !== 'GZIP') return view.body;
  try {
    return gunzipSync(view.body, { maxOutputLength: 8 * LIMITS.bodyBytesMax });
  } catch {
    // Said to be compressed and is not, or is a bomb: passed on as it came.
    return view.body;
  }
}
