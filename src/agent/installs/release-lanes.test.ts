import assert from "node:assert/strict";
import test from "node:test";
import type { ReleaseId } from "../../lib/text/ids.ts";
import type { InstallProgress } from "../../release/install/install-progress.ts";
import { ReleaseLanes } from "./release-lanes.ts";

const RELEASE = "a".repeat(32) as ReleaseId;
const progress = (bytesDone: number) =>
  ({ stage: "fetch", bytesDone, bytesTotal: 9 }) as unknown as InstallProgress;

test("who waits hears of what is waited for, and who gave up hears no more of it", async (t) => {
  const lanes = new ReleaseLanes();
  const { promise: ended, resolve: end } = Promise.withResolvers<void>();
  const begun = Promise.withResolvers<(progress: InstallProgress) => void>();
  const work = lanes.alone(
    "shop",
    RELEASE,
    async (tell) => {
      begun.resolve(tell);
      await ended;
    },
    { signal: t.signal },
  );
  const tell = await begun.promise;
  const heard: Record<string, number[]> = { gone: [], stays: [] };
  const waiting = (who: string, signal: AbortSignal): Promise<void> =>
    lanes.alone("shop", RELEASE, async () => undefined, {
      signal,
      onProgress: ({ bytesDone }) => heard[who]?.push(bytesDone),
    });
  const gone = new AbortController();
  const given = waiting("gone", gone.signal);
  const stays = waiting("stays", t.signal);
  tell(progress(1));
  gone.abort(new Error("superseded"));
  await assert.rejects(given, /superseded/);
  tell(progress(2));
  end();
  await Promise.all([work, stays]);
  assert.deepEqual(heard, { gone: [1], stays: [1, 2] });
});
