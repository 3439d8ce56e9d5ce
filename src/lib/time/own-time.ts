import { performance } from "node:perf_hooks";
import { systemClock, timerMs, type Clock } from "./clock.ts";

/**
 * Time of this thread in ms, from any start: in which it worked, and in which it had nothing to do. Time in which it
 * would have worked and was not let, on a busy machine, is not in it: what came meanwhile was not read yet, and is
 * nobody else's delay.
 */
export function ownTimeMs(): number {
  const { user, system } = process.threadCpuUsage();
  return performance.eventLoopUtilization().idle + (user + system) / 1000;
}

/** Calls `over` when `ms` of this thread's own time have passed. @returns what calls that off */
export function afterOwnMs(ms: number, over: () => void): () => void {
  const end = ownTimeMs() + ms;
  const look = (): void => {
    const leftMs = end - ownTimeMs();
    if (leftMs > 0) timer = setTimeout(look, leftMs);
    else over();
  };
  let timer = setTimeout(look, ms);
  return () => clearTimeout(timer);
}

const LOOK_MS = 250;
/** Of a daemon's clock, which looks for as long as it lives. */
const SELDOM_MS = 1000;

/**
 * Time since it was made, in ms, but for what this process was stopped for: by a person, or with its whole machine.
 * Unlike own time it goes on while this process is busy.
 */
export class RunningTime implements Disposable {
  readonly #timer: NodeJS.Timeout;
  /** More time than that between two looks was not let to this process. */
  readonly #mostMs: number;
  #at = performance.now();
  #ms = 0;

  /** @param lookMs how often it looks, with a timer that keeps no process alive */
  constructor(lookMs = LOOK_MS) {
    this.#timer = setInterval(() => this.#look(), lookMs).unref();
    this.#mostMs = 2 * lookMs;
  }

  get ms(): number {
    this.#look();
    return this.#ms;
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }

  #look(): void {
    const now = performance.now();
    this.#ms += Math.min(now - this.#at, this.#mostMs);
    this.#at = now;
  }
}

let lived: RunningTime | undefined;

/** Running time of this process, from any start: for what others are expected to do in it, and nobody sets. */
export const runningClock: Clock = {
  ...systemClock,
  now: () => (lived ??= new RunningTime(SELDOM_MS)).ms,
};

/**
 * Calls `over` when `ms` have passed in which this process was let run: timers come before all news when it goes on, so
 * what came meanwhile would be too late by an ordinary one. @returns what calls that off
 */
export function afterRunningMs(ms: number, over: () => void): () => void {
  const passed = new RunningTime();
  const callOff = (): void => {
    clearTimeout(timer);
    passed[Symbol.dispose]();
  };
  const look = (): void => {
    const leftMs = ms - passed.ms;
    if (leftMs > 0) timer = setTimeout(look, timerMs(leftMs));
    else {
      callOff();
      over();
    }
  };
  let timer = setTimeout(look, timerMs(ms));
  return callOff;
}
