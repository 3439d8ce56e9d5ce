import { damaged } from "./byte-io.ts";
import type { ByteStream } from "./byte-stream.ts";
import { BLOCK_BYTES, CONTROL_BYTES, FRAMES_BYTES } from "./limits.ts";
import { SectionOpener } from "./section-opener.ts";

/** A block's sections, inflated. */
export interface Block {
  readonly control: Buffer;
  readonly differ: Buffer;
  readonly literal: Buffer;
  readonly frames: Buffer;
}

const LIMITS = [CONTROL_BYTES, BLOCK_BYTES, BLOCK_BYTES] as const;
/** A section that cannot be compressed grows a little. */
const compressedLimit = (raw: number): number => raw + (raw >> 6) + 1024;

interface Section {
  readonly bytes: Buffer;
  readonly raw: number;
  readonly isStored: boolean;
  readonly isAnew: boolean;
}

/** Blocks in order; while one is looked at, the next is fetched and inflated. */
export async function* readBlocks(stream: ByteStream): AsyncGenerator<Block, void> {
  using openers = new DisposableStack();
  const sections = LIMITS.map(() => openers.use(new SectionOpener()));
  const next = async (): Promise<Block | undefined> => {
    if (await stream.ended()) return undefined;
    const { packed, frames } = await readSections(stream);
    const [control, differ, literal] = await Promise.all(
      packed.map(async ({ bytes, raw, isStored, isAnew }, i) =>
        isStored ? bytes : await (sections[i] as SectionOpener).open(bytes, raw, isAnew),
      ),
    );
    return { control, differ, literal, frames } as Block;
  };
  let ahead = next();
  try {
    for (;;) {
      const block = await ahead;
      if (block === undefined) return;
      ahead = next();
      // Its failure is met when its turn comes.
      ahead.catch(() => undefined);
      yield block;
    }
  } finally {
    await ahead.catch(() => undefined);
  }
}

async function readSections(stream: ByteStream): Promise<{ packed: Section[]; frames: Buffer }> {
  const flags = await stream.number();
  if (flags >= 1 << (2 * LIMITS.length)) throw damaged("a block has unknown flags");
  const lengths: { raw: number; length: number; isStored: boolean; isAnew: boolean }[] = [];
  for (const [i, most] of LIMITS.entries()) {
    const isStored = (flags & (1 << i)) !== 0;
    const isAnew = (flags & (1 << (LIMITS.length + i))) !== 0;
    const raw = await stream.number();
    if (raw > most) throw damaged("a block's section is longer than it may be");
    lengths.push({ raw, length: isStored ? raw : await stream.number(), isStored, isAnew });
  }
  if ((lengths[1]?.raw ?? 0) + (lengths[2]?.raw ?? 0) > BLOCK_BYTES) throw damaged("a block is too long");
  const framesLength = await stream.number();
  const packed: Section[] = [];
  for (const { raw, length, isStored, isAnew } of lengths) {
    packed.push({ bytes: await stream.bytes(length, compressedLimit(raw)), raw, isStored, isAnew });
  }
  return { packed, frames: await stream.bytes(framesLength, FRAMES_BYTES) };
}
