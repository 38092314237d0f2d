/** Topic Aliases the client sets for its own messages; they end with the connection [MQTT-3.3.2-7]. */
export class InboundAliases {
  private readonly topicNames: (string | undefined)[] = [];

  set(alias: number, topicName: string): void {
    this.topicNames[alias] = topicName;
  }

  get(alias: number): string | undefined {
    return this.topicNames[alias];
  }
}

/** Topic Aliases for messages to the client: the first topics get one, as many as it allows. */
export class OutboundAliases {
  private readonly max: number;
  private readonly aliases = new Map<string, number>();
  private isNew = false;

  constructor(max: number) {
    this.max = max;
  }

  /** The alias to send with the topic; where the client knows it already, `source` loses its topic. */
  use(topicName: string, source: { topicStart: number; topicEnd: number }): number | undefined {
    const known = this.aliases.get(topicName);
    this.isNew = known === undefined;
    if (known !== undefined) {
      source.topicStart = source.topicEnd;
      return known;
    }
    if (this.aliases.size >= this.max) return undefined;
    const alias = this.aliases.size + 1;
    this.aliases.set(topicName, alias);
    return alias;
  }

  /** The packet with the alias did not go out: the client does not know it. */
  unsent(topicName: string): void {
    if (this.isNew) this.aliases.delete(topicName);
  }
}
