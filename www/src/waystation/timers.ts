/** Named timers: to start one replaces the timer of the same name. */
export interface Timers<Name extends string> {
  start(name: Name, ms: number, run: () => void): void;
  stop(name: Name): void;
  stopAll(): void;
}

export function createTimers<Name extends string>(): Timers<Name> {
  const running = new Map<Name, ReturnType<typeof setTimeout>>();

  function stop(name: Name): void {
    clearTimeout(running.get(name));
    running.delete(name);
  }

  return {
    start(name, ms, run) {
      stop(name);
      running.set(name, setTimeout(() => {
        running.delete(name);
        run();
      }, ms));
    },
    stop,
    stopAll: () => [...running.keys()].forEach(stop),
  };
}
