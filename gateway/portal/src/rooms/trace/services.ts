const COLOURS: Record<string, string> = {
  gateway: "#5b6778",
  campaign: "#1d5fbf",
  audience: "#7a52c7",
  event: "#b8731a",
  touchpoint: "#14866d",
  evaluation: "#a8437c",
  campus: "#4d7d2c",
};
const OTHERS = ["#2b8aa6", "#9c5b3a", "#5a6fd0", "#7d7a1f"];

/** The colour of a service; a service of another name (an adapter) gets one by its name. */
export function serviceColour(service: string): string {
  const known = COLOURS[service];
  if (known) return known;
  let hash = 0;
  for (const c of service) hash = (hash * 31 + c.charCodeAt(0)) >>> 0;
  return OTHERS[hash % OTHERS.length] ?? "#5b6778";
}
