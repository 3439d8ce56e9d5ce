import fs from "node:fs";

/**
 * V8 leaves disposable stacks out while it makes a snapshot, and has them again in a program that begins with one. `using`
 * ends the process then: ours is spelled out by the bundler, Node's own is in these three.
 * @returns takes the stand-ins away again
 */
export async function standIns(): Promise<() => void> {
  const globals = globalThis as { AsyncDisposableStack?: unknown };
  const handle = await fs.promises.open(process.execPath);
  const handles = Object.getPrototypeOf(handle) as Pick<typeof handle, "stat">;
  await handle.close();
  const { stat, lstat } = fs.promises;
  const { stat: fstat } = handles;
  globals.AsyncDisposableStack = StandIn;
  Object.assign(fs.promises, { stat: now(fs.statSync), lstat: now(fs.lstatSync) });
  Object.assign(handles, {
    stat(this: { readonly fd: number }) {
      return now(fs.fstatSync)(this.fd);
    },
  });
  return () => {
    delete globals.AsyncDisposableStack;
    Object.assign(fs.promises, { stat, lstat });
    Object.assign(handles, { stat: fstat });
  };
}

/** The same, said as a promise. */
function now<A extends readonly unknown[], T>(act: (...given: A) => T): (...given: A) => Promise<T> {
  return (...given) => new Promise((resolve) => resolve(act(...given)));
}

type End = () => void | PromiseLike<void>;
type Used = Partial<AsyncDisposable & Disposable> | null | undefined;

class StandIn implements AsyncDisposable {
  #ends: End[] = [];

  use<T extends Used>(used: T): T {
    const end = used?.[Symbol.asyncDispose] ?? used?.[Symbol.dispose];
    if (end !== undefined) this.defer(() => end.call(used));
    return used;
  }

  defer(end: End): void {
    this.#ends.push(end);
  }

  move(): StandIn {
    const moved = new StandIn();
    moved.#ends = this.#ends;
    this.#ends = [];
    return moved;
  }

  async disposeAsync(): Promise<void> {
    for (let end = this.#ends.pop(); end !== undefined; end = this.#ends.pop()) await end();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.disposeAsync();
  }
}
