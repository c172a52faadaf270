// Numbers as people read them. Counts arrive as texts of 64-bit integers.

export type Count = string | number | undefined;

export function toNumber(value: Count): number {
  return value === undefined || value === "" ? 0 : Number(value);
}

const WHOLE = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });
const TENTH = new Intl.NumberFormat("en-US", { maximumFractionDigits: 1 });

/** 1234567 -> 1,234,567. */
export const count = (value: Count): string => WHOLE.format(toNumber(value));

/** 0.1234 -> 12.3%; small shares keep two digits; the share of nothing is a dash. */
export function percent(part: Count, whole: Count): string {
  const base = toNumber(whole);
  return base === 0 ? "–" : ratio(toNumber(part) / base);
}

export function ratio(value: number): string {
  const hundred = value * 100;
  const digits = hundred !== 0 && Math.abs(hundred) < 1 ? 2 : 1;
  return `${hundred.toFixed(digits)}%`;
}

/** Fen to yuan: 123456 -> 1,234.56. */
export function yuan(fen: Count): string {
  return (toNumber(fen) / 100).toLocaleString("en-US", { minimumFractionDigits: 2, maximumFractionDigits: 2 });
}

/** Microseconds: 950 µs, 12.3 ms, 4.56 s, 2 min 5 s. */
export function micros(value: Count): string {
  const us = toNumber(value);
  if (us < 1000) return `${us} µs`;
  if (us < 1_000_000) return `${TENTH.format(us / 1000)} ms`;
  const seconds = us / 1_000_000;
  if (seconds < 60) return `${seconds.toFixed(2)} s`;
  return `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s`;
}

/** An indicator's value in its unit. */
export function inUnit(value: number, unit: string): string {
  if (unit === "ratio") return ratio(value);
  if (unit === "fen") return yuan(value);
  return TENTH.format(value);
}
