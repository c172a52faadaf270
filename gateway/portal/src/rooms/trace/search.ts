// What a person typed into the search box of traces.

/** Names of calls and subjects without the prefix that all of them share. */
export const shortName = (name: string): string => name.replace(/\biop\.[a-z]+\.v1\./g, "");

export type Wanted = { trace: string } | { touch: string } | { campaign: string } | null;

/** A trace id has 32 hexadecimal digits, a touch id 24 of base 32; anything else names a campaign. */
export function wantedOf(typed: string): Wanted {
  const text = typed.trim();
  if (!text) return null;
  const trace = text.replace(/^traces\//, "").toLowerCase();
  if (/^[0-9a-f]{32}$/.test(trace)) return { trace };
  const touch = text.replace(/^touches\//, "").toLowerCase();
  if (/^[a-z2-7]{24}$/.test(touch)) return { touch };
  return { campaign: text.replace(/^campaigns\//, "").split("/")[0] ?? "" };
}
