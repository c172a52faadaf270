import type { Language } from "../i18n";
import names from "./names.json";

const known = names as Record<string, string[]>;

/** Name of a province, league or county by its GB/T 2260 code; the code itself when it is not known. */
export function regionName(code: number | string, language: Language): string {
  const pair = known[String(code)];
  return (language === "zh" ? pair?.[0] : pair?.[1]) ?? String(code);
}

/** The twelve leagues and cities, by code. */
export const LEAGUES: number[] = Object.keys(known)
  .map(Number)
  .filter((code) => code % 100 === 0 && code % 10000 !== 0);

/** Provinces and leagues that a data scope lets choose from. */
export function selectable(regions: number[]): number[] {
  const whole = regions.some((region) => region % 10000 === 0);
  if (whole) return [150000, ...LEAGUES];
  return regions.filter((region) => String(region) in known);
}
