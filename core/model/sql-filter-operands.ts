import { sqlError } from './sql-filter-lexer.ts';
import { booleanOf, type Condition, type Evaluate, type SqlValue } from './sql-filter-values.ts';

/** A part of an expression: what it is known to be before a message is there. */
export type Operand =
  | { readonly kind: 'property' | 'number'; readonly at: number; readonly evaluate: Evaluate }
  | { readonly kind: 'condition'; readonly at: number; readonly evaluate: Condition }
  | { readonly kind: 'constant'; readonly at: number; readonly evaluate: Evaluate; readonly value: SqlValue };

export function constant(value: SqlValue, at: number): Operand {
  return { kind: 'constant', at, value, evaluate: () => value };
}

/** A property counts as a condition by what its text reads like. */
export function asCondition(operand: Operand): Condition {
  if (operand.kind === 'condition') return operand.evaluate;
  const isBoolean = operand.kind === 'constant' && typeof operand.value === 'boolean';
  if (operand.kind !== 'property' && !isBoolean) throw sqlError(operand.at, 'this is neither true nor false');
  const { evaluate } = operand;
  return (properties) => booleanOf(evaluate(properties));
}

export function asNumber(operand: Operand): Operand {
  const isNumber =
    operand.kind !== 'constant' || typeof operand.value === 'number' || typeof operand.value === 'bigint';
  if (operand.kind === 'condition' || !isNumber) throw sqlError(operand.at, 'this is not a number');
  return operand;
}

export function asText(operand: Operand): Evaluate {
  const isText = operand.kind === 'property' || (operand.kind === 'constant' && typeof operand.value === 'string');
  if (!isText) throw sqlError(operand.at, 'this is not a text');
  return operand.evaluate;
}

export function refuseNull(operand: Operand): void {
  if (operand.kind !== 'constant' || operand.value !== undefined) return;
  throw sqlError(operand.at, 'NULL is not equal to anything; write IS NULL');
}

/** RocketMQ: only numbers are larger or smaller. */
export function refuseOrder(operand: Operand, operator: string): void {
  const isNumber =
    operand.kind !== 'constant' || typeof operand.value === 'number' || typeof operand.value === 'bigint';
  if (operand.kind === 'condition' || !isNumber) throw sqlError(operand.at, `${operator} compares numbers only`);
}

/** What is true or false is only equal to what can be. */
export function refuseMixture(left: Operand, right: Operand): void {
  const isBoolean = (operand: Operand): boolean =>
    operand.kind === 'condition' || (operand.kind === 'constant' && typeof operand.value === 'boolean');
  if (!isBoolean(left) || isBoolean(right) || right.kind === 'property') return;
  throw sqlError(right.at, 'this is compared with what is true or false');
}
