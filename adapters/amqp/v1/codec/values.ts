/**
 * A value with its AMQP type (part 1.6), so that it can be written again as it was: the number 5 may have come as a ubyte,
 * a uint or a long, and a peer tells them apart.
 */
export type AmqpValue =
  | { readonly type: 'null' }
  | { readonly type: 'boolean'; readonly value: boolean }
  | {
      readonly type: 'ubyte' | 'ushort' | 'uint' | 'byte' | 'short' | 'int' | 'float' | 'double' | 'char';
      readonly value: number;
    }
  | { readonly type: 'ulong' | 'long' | 'timestamp'; readonly value: bigint }
  | { readonly type: 'decimal32' | 'decimal64' | 'decimal128' | 'uuid' | 'binary'; readonly value: Buffer }
  | { readonly type: 'string' | 'symbol'; readonly value: string }
  | { readonly type: 'list'; readonly value: readonly AmqpValue[] }
  /** Keys and values in turn, as they came: keys may be of any type. */
  | { readonly type: 'map'; readonly value: readonly (readonly [key: AmqpValue, value: AmqpValue])[] }
  | { readonly type: 'array'; readonly value: readonly AmqpValue[]; readonly elementType: AmqpType }
  | { readonly type: 'described'; readonly descriptor: AmqpValue; readonly value: AmqpValue };

export type AmqpType = AmqpValue['type'];
