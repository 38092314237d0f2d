import type { Principal } from './authenticator.ts';

export type Action = 'PUB' | 'SUB';
export type Resource =
  | { readonly kind: 'topic'; readonly topic: string; readonly address: string | undefined }
  | { readonly kind: 'group'; readonly group: string };

/** May this principal do this here? Called on the hot path: it answers at once, from memory. */
export interface Authorizer {
  isAllowed(principal: Principal, action: Action, resource: Resource): boolean;
}

/** Everyone who was let in may do everything. */
export const ALLOW_ALL: Authorizer = { isAllowed: () => true };
