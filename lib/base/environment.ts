/**
 * The impure world as interfaces: clock, log, randomness. Only domain/process.ts and cli/program.ts make real ones; everything
 * else is handed one, so that tests run on simulated time.
 */

/** Two clocks of one host. */
export interface Clock {
  /** Monotonic time in nanoseconds since an arbitrary start; exact in a double for 104 days. */
  monotonicNs(): number
  /** UTC wall clock in milliseconds since 1970. */
  wallMs(): number
}

/** Where a domain process writes what happened. One line per call, no newline at the end. */
export interface Logger {
  info(line: string): void
  warn(line: string): void
}

/** Fills `bytes` with random data. */
export type Random = (bytes: Uint8Array) => void

/** A clock that stands still until told to move. */
export class SimulatedClock implements Clock {
  constructor(
    public nowNs = 0,
    public wallStartMs = 0,
  ) {}
  advance(ns: number): void {
    this.nowNs += ns
  }
  monotonicNs(): number {
    return this.nowNs
  }
  wallMs(): number {
    return this.wallStartMs + this.nowNs / 1e6
  }
}

/** A logger that keeps its lines. */
export class RecordingLogger implements Logger {
  readonly lines: string[] = []
  info(line: string): void {
    this.lines.push(line)
  }
  warn(line: string): void {
    this.lines.push(`warning: ${line}`)
  }
}
