import { once } from 'node:events';
import { connect as connectTcp, type Socket } from 'node:net';
import { setImmediate as turn } from 'node:timers/promises';
import { connect as connectTls, type ConnectionOptions, type TLSSocket } from 'node:tls';
import { createWebSocketStream, WebSocket, type ClientOptions } from 'ws';
import type { ProtocolVersion } from '../../adapters/mqtt/codec/packet.ts';
import { RawMqttClient } from './mqtt-client.ts';

/** A TCP connection, after the PROXY header, if there is one. */
export async function openTcp(port: number, header?: Buffer): Promise<Socket> {
  const socket = connectTcp({ port, host: '127.0.0.1', noDelay: true });
  // The server may close what it does not like; the tests look for the end.
  socket.on('error', () => {});
  await once(socket, 'connect');
  if (header !== undefined) socket.write(header);
  return socket;
}

/** Rejects when the handshake fails; in TLS 1.3 a certificate is refused only after that. */
export async function openTls(port: number, options: ConnectionOptions, header?: Buffer): Promise<TLSSocket> {
  const socket = connectTls({ servername: 'localhost', ...options, socket: await openTcp(port, header) });
  await once(socket, 'secureConnect');
  socket.on('error', () => {});
  return socket;
}

export interface WebSocketOptions extends ClientOptions {
  readonly path?: string;
  readonly protocols?: string[];
}

/** Rejects with the status when the gateway refuses. */
export async function openWebSocket(port: number, options: WebSocketOptions = {}): Promise<WebSocket> {
  const { path = '/mqtt', protocols = ['mqtt'], ...rest } = options;
  const scheme = 'ca' in options ? 'wss' : 'ws';
  const webSocket = new WebSocket(`${scheme}://127.0.0.1:${port}${path}`, protocols, rest);
  await once(webSocket, 'open');
  webSocket.on('error', () => {});
  return webSocket;
}

export async function openMqttOverWebSocket(
  port: number,
  options: WebSocketOptions = {},
  version: ProtocolVersion = 5,
): Promise<RawMqttClient> {
  return mqttOver(await openWebSocket(port, options), version);
}

/** It ends when the server ends it. */
export function mqttOver(webSocket: WebSocket, version: ProtocolVersion = 5): RawMqttClient {
  return RawMqttClient.over(createWebSocketStream(webSocket, { allowHalfOpen: false }), version);
}

/** One byte after the other, each most likely a read of its own for the server. */
export async function writeByteByByte(socket: Socket, bytes: Buffer): Promise<void> {
  for (const byte of bytes) {
    socket.write(Buffer.of(byte));
    await turn();
    await turn();
  }
}

/** Waits for something that has no event. */
export async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await turn();
}

/** Resolves when the server has closed, to what it sent before. */
export async function allOf(socket: Socket): Promise<Buffer> {
  const chunks: Buffer[] = [];
  socket.on('data', (chunk: Buffer) => chunks.push(chunk));
  if (!socket.closed) await new Promise((resolve) => socket.once('close', resolve));
  return Buffer.concat(chunks);
}
