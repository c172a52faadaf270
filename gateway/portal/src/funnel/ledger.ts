// The conservation law in numbers: campaign's counters, touchpoint's counters and evaluation's facts of one
// activity at one touchpoint, side by side.
import type { ActivityProgress, Funnel, ReasonCount, TouchCounters } from "../api/types";
import { toNumber } from "../format/number";

export interface Reason {
  reason: string;
  count: number;
}

export interface Ledger {
  touchpoint: string;
  target: number;
  control: number;
  excluded: Reason[];
  unplanned: number;
  handed: number;
  received: number;
  suppressed: Reason[];
  waiting: number;
  held: number;
  queued: number;
  leased: number;
  cancelled: number;
  settled: Reason[];
  clicks: number;
  replies: number;
  optOuts: number;
  orders: number;
  orderFen: number;
}

/** Outcomes in which the customer saw the message. */
const REACHED = new Set(["delivered", "shown", "accepted", "declined"]);

export const sum = (reasons: Reason[]): number => reasons.reduce((total, r) => total + r.count, 0);
export const reached = (l: Ledger): number => sum(l.settled.filter((r) => REACHED.has(r.reason)));
export const inHand = (l: Ledger): number => l.waiting + l.held + l.queued + l.leased;

/** target - control - excluded - unplanned - handed: zero when campaign's side conserves. */
export const plannedGap = (l: Ledger): number => l.target - l.control - sum(l.excluded) - l.unplanned - l.handed;

/** Handed over and not yet received. */
export const inTransit = (l: Ledger): number => l.handed - l.received;

/** received less everything it can have become: zero when touchpoint's side conserves. */
export const receivedGap = (l: Ledger): number =>
  l.received - sum(l.suppressed) - inHand(l) - l.cancelled - sum(l.settled);

const EMPTY: Omit<Ledger, "touchpoint"> = {
  target: 0, control: 0, excluded: [], unplanned: 0, handed: 0, received: 0, suppressed: [], waiting: 0, held: 0,
  queued: 0, leased: 0, cancelled: 0, settled: [], clicks: 0, replies: 0, optOuts: 0, orders: 0, orderFen: 0,
};

/** One ledger a touchpoint, in the order of the progress. */
export function ledgersOf(
  progress: ActivityProgress,
  counters: TouchCounters[],
  funnels: Funnel[],
): Ledger[] {
  const number = progress.activityNumber;
  return progress.touchpoints.map((row) => {
    const own = counters.find((c) => c.activityNumber === number && c.touchpoint === row.touchpoint);
    const facts = funnels.find(
      (f) => f.activityNumber === number && f.touchpoint === row.touchpoint && f.date === "",
    );
    return {
      ...EMPTY,
      touchpoint: row.touchpoint,
      target: toNumber(row.target),
      control: toNumber(row.control),
      excluded: reasonsOf(row.excluded),
      unplanned: toNumber(row.unplanned),
      handed: toNumber(row.handed),
      received: toNumber(own?.received),
      suppressed: reasonsOf(own?.suppressed),
      waiting: toNumber(own?.waiting),
      held: toNumber(own?.held),
      queued: toNumber(own?.queued),
      leased: toNumber(own?.leased),
      cancelled: toNumber(own?.cancelled),
      settled: reasonsOf(own?.settled),
      clicks: toNumber(own?.clicks),
      replies: toNumber(own?.replies),
      optOuts: toNumber(facts?.optOuts),
      orders: toNumber(facts?.orders),
      orderFen: toNumber(facts?.orderFen),
    };
  });
}

/** The ledgers of several touchpoints or activities as one. */
export function totalOf(ledgers: Ledger[], touchpoint = ""): Ledger {
  const total: Ledger = { ...EMPTY, touchpoint };
  for (const l of ledgers) {
    for (const key of Object.keys(EMPTY) as (keyof typeof EMPTY)[]) {
      if (key === "excluded" || key === "suppressed" || key === "settled") total[key] = merged(total[key], l[key]);
      else total[key] += l[key];
    }
  }
  return total;
}

function merged(some: Reason[], more: Reason[]): Reason[] {
  const counts = new Map<string, number>();
  for (const r of [...some, ...more]) counts.set(r.reason, (counts.get(r.reason) ?? 0) + r.count);
  return [...counts].map(([reason, count]) => ({ reason, count })).sort((a, b) => b.count - a.count);
}

export function reasonsOf(given: ReasonCount[] | undefined): Reason[] {
  return (given ?? [])
    .map((r) => ({ reason: r.reason, count: toNumber(r.count) }))
    .filter((r) => r.count !== 0)
    .sort((a, b) => b.count - a.count);
}
