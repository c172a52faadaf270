import { getProgress, listCounters, listFunnels } from "../api/calls";
import type { ActivityProgress } from "../api/types";
import { type Query, useQuery } from "../api/useQuery";
import { type Ledger, ledgersOf } from "./ledger";

export interface LiveActivity {
  progress: ActivityProgress;
  ledgers: Ledger[];
}

export const POLL_MS = 3000;

/**
 * The ledgers of activities, again every three seconds. What the touchpoints received is read before what
 * was handed to them, so that the difference is never negative.
 */
export function useLive(
  activities: { name: string; activityNumber: number }[] | undefined,
  pollMs = POLL_MS,
): Query<Map<string, LiveActivity>> {
  const key = activities === undefined ? null : `live|${activities.map((a) => a.name).join()}`;
  return useQuery(
    key,
    async (signal) => {
      const wanted = activities ?? [];
      if (wanted.length === 0) return new Map();
      const numbers = wanted.map((a) => a.activityNumber);
      const [counters, funnels] = await Promise.all([listCounters(numbers, signal), listFunnels(numbers, signal)]);
      const found = await Promise.all(wanted.map((a) => getProgress(a.name, signal)));
      return new Map(
        found.map((progress) => [progress.name, { progress, ledgers: ledgersOf(progress, counters, funnels) }]),
      );
    },
    pollMs,
  );
}
