/** A binary min-heap of (time, offset), without an object per entry. */
export class VisibilityHeap {
  size = 0;
  private times = new Float64Array(16);
  private offsets = new Float64Array(16);

  get topTime(): number {
    return this.size === 0 ? Infinity : this.times[0]!;
  }
  get topOffset(): number {
    return this.offsets[0]!;
  }

  push(time: number, offset: number): void {
    if (this.size === this.times.length) this.grow();
    let i = this.size++;
    while (i > 0) {
      const parent = (i - 1) >> 1;
      if (!isBefore(time, offset, this.times[parent]!, this.offsets[parent]!)) break;
      this.times[i] = this.times[parent]!;
      this.offsets[i] = this.offsets[parent]!;
      i = parent;
    }
    this.times[i] = time;
    this.offsets[i] = offset;
  }

  pop(): void {
    const last = --this.size;
    if (last > 0) this.siftDown(this.times[last]!, this.offsets[last]!);
  }

  /** Drops entries that were overtaken by an acknowledgement or a new lease. */
  keepOnly(isLive: (time: number, offset: number) => boolean): void {
    const { times, offsets, size } = this;
    this.times = new Float64Array(times.length);
    this.offsets = new Float64Array(times.length);
    this.size = 0;
    for (let i = 0; i < size; i++) if (isLive(times[i]!, offsets[i]!)) this.push(times[i]!, offsets[i]!);
  }

  private siftDown(time: number, offset: number): void {
    const { times, offsets, size } = this;
    let i = 0;
    for (;;) {
      let child = 2 * i + 1;
      if (child >= size) break;
      const right = child + 1;
      if (right < size && isBefore(times[right]!, offsets[right]!, times[child]!, offsets[child]!)) child = right;
      if (!isBefore(times[child]!, offsets[child]!, time, offset)) break;
      times[i] = times[child]!;
      offsets[i] = offsets[child]!;
      i = child;
    }
    times[i] = time;
    offsets[i] = offset;
  }

  private grow(): void {
    const times = new Float64Array(this.times.length * 2);
    const offsets = new Float64Array(this.times.length * 2);
    times.set(this.times);
    offsets.set(this.offsets);
    this.times = times;
    this.offsets = offsets;
  }
}

function isBefore(timeA: number, offsetA: number, timeB: number, offsetB: number): boolean {
  return timeA < timeB || (timeA === timeB && offsetA < offsetB);
}
