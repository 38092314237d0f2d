import { Output } from '../connection/output.ts';
import { writeUint16 } from './codec/bytes.ts';

/**
 * An output for PUBLISH packets that lie ready one behind the other, but for their packet identifiers: what lies side by
 * side is copied at once.
 */
export class PublishOutput extends Output {
  /** Counted in `used` and not copied yet. */
  private run: Buffer | undefined;
  private runStart = 0;
  private runEnd = 0;
  /** What is written over the copy of the run: offsets in `chunk` and numbers of 16 bits, in turn. */
  private readonly patches: number[] = [];
  private patchesUsed = 0;

  /** As of every output, but the bytes must stay as they are until `flush`. */
  override append(source: Buffer, start: number, end: number): void {
    const bytes = end - start;
    if (source === this.run && start === this.runEnd && this.used + bytes <= this.chunk.length) this.runEnd = end;
    else {
      this.reserve(bytes);
      this.run = source;
      this.runStart = start;
      this.runEnd = end;
    }
    this.used += bytes;
  }

  /** Writes over what was appended last, `distance` bytes before its end. */
  patchUint16(distance: number, value: number): void {
    this.patches[this.patchesUsed++] = this.used - distance;
    this.patches[this.patchesUsed++] = value;
  }

  override reserve(bytes: number): void {
    if (this.run !== undefined) this.copyRun();
    super.reserve(bytes);
  }

  override flush(): void {
    if (this.run !== undefined) this.copyRun();
    super.flush();
  }

  private copyRun(): void {
    const { chunk, patches } = this;
    this.run!.copy(chunk, this.used - (this.runEnd - this.runStart), this.runStart, this.runEnd);
    this.run = undefined;
    for (let i = 0; i < this.patchesUsed; i += 2) writeUint16(chunk, patches[i]!, patches[i + 1]!);
    this.patchesUsed = 0;
  }
}
