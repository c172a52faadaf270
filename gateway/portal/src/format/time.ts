// Times of the wire are UTC; people read the region's time zone.

let zone = "Asia/Shanghai";

/** Taken from the session once somebody is signed in. */
export function setTimeZone(name: string): void {
  if (name) zone = name;
}

function parts(time: string, seconds: boolean): Record<string, string> {
  const format = new Intl.DateTimeFormat("en-CA", {
    timeZone: zone,
    year: "numeric",
    month: "2-digit",
    day: "2-digit",
    hour: "2-digit",
    minute: "2-digit",
    second: seconds ? "2-digit" : undefined,
    hourCycle: "h23",
  });
  return Object.fromEntries(format.formatToParts(new Date(time)).map((p) => [p.type, p.value]));
}

/** 2026-03-18 09:30, in the region's time zone; a dash when there is no time. */
export function dateTime(time: string | undefined, seconds = false): string {
  if (!time || Number.isNaN(Date.parse(time))) return "–";
  const p = parts(time, seconds);
  return `${p.year}-${p.month}-${p.day} ${p.hour}:${p.minute}${seconds ? `:${p.second}` : ""}`;
}

/** The day of a time in the region's time zone. */
export const day = (time: string | undefined): string => dateTime(time).slice(0, 10);

/** Microseconds since 1970; timestamps of the wire carry up to nine digits of a second. */
export function microsOf(time: string | undefined): number {
  if (!time) return 0;
  const found = /^(.*T\d{2}:\d{2}:\d{2})(?:\.(\d{1,9}))?(Z|[+-]\d{2}:\d{2})$/.exec(time);
  if (!found) return Date.parse(time) * 1000;
  return Date.parse(`${found[1]}${found[3]}`) * 1000 + Math.round(Number(`0.${found[2] ?? "0"}`) * 1e6);
}

/** 1800 -> 30 min. */
export function seconds(value: number): string {
  if (value % 3600 === 0 && value > 0) return `${value / 3600} h`;
  if (value % 60 === 0 && value > 0) return `${value / 60} min`;
  return `${value} s`;
}
