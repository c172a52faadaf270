// The calls the rooms make, by the words of the contracts.
import { get, post, put, requestId } from "./client";
import type * as T from "./types";

type Signal = AbortSignal | undefined;

export const getSession = (s?: Signal) => get<T.Session>("gateway/v1/session", {}, s);
export const listServices = (s?: Signal) => get<{ services: T.ServiceState[] }>("gateway/v1/services", {}, s);

/** All pages of a list, at most `most` rows. */
export async function all<R>(
  read: (token: string) => Promise<{ rows: R[]; next: string }>,
  most = 2000,
): Promise<R[]> {
  const rows: R[] = [];
  let token = "";
  do {
    const page = await read(token);
    rows.push(...page.rows);
    token = page.next;
  } while (token && rows.length < most);
  return rows;
}

export interface Page<R> {
  rows: R[];
  next: string;
  total?: number;
}

export async function listCampaigns(
  query: { state?: string; pageSize?: number; pageToken?: string },
  s?: Signal,
): Promise<Page<T.Campaign>> {
  const found = await get<{ campaigns: T.Campaign[]; nextPageToken: string }>("campaign/v1/campaigns", query, s);
  return { rows: found.campaigns, next: found.nextPageToken };
}
export const getCampaign = (id: string, s?: Signal) => get<T.Campaign>(`campaign/v1/campaigns/${id}`, {}, s);
export const createCampaign = (campaign: Partial<T.Campaign>, id: string) =>
  post<T.Campaign>("campaign/v1/campaigns", campaign, { requestId: id });
/** submit, approve, reject, launch, pause, resume or terminate. */
export const campaignVerb = (id: string, verb: string, body: Record<string, string>, request = requestId()) =>
  post<T.Campaign>(`campaign/v1/campaigns/${id}:${verb}`, { ...body, requestId: request });

/** Activities of one campaign, or of all with `-`. */
export const listActivities = (campaign: string, s?: Signal) =>
  all<T.Activity>(async (pageToken) => {
    const found = await get<{ activities: T.Activity[]; nextPageToken: string }>(
      `campaign/v1/campaigns/${campaign}/activities`,
      { pageSize: 200, pageToken },
      s,
    );
    return { rows: found.activities, next: found.nextPageToken };
  });
export const getProgress = (activity: string, s?: Signal) =>
  get<T.ActivityProgress>(`campaign/v1/${activity}:progress`, {}, s);
export const listCart = (s?: Signal) => get<{ items: T.CartItem[] }>("campaign/v1/cart", { pageSize: 200 }, s);
export const listJournal = (id: string, s?: Signal) =>
  all<T.JournalEntry>(async (pageToken) => {
    const found = await get<{ entries: T.JournalEntry[]; nextPageToken: string }>(
      `campaign/v1/campaigns/${id}/journal`,
      { pageSize: 200, pageToken },
      s,
    );
    return { rows: found.entries, next: found.nextPageToken };
  });
export const explainTarget = (activity: string, phone: string) =>
  post<{ side: string; group: string }>(`campaign/v1/${activity}:explainTarget`, { phone });

export const listCounters = async (numbers: number[], s?: Signal) =>
  (await get<{ counters: T.TouchCounters[] }>("touchpoint/v1/counters", { activityNumbers: numbers }, s)).counters;
export const explainTouches = (phone: string, activityNumber: number) =>
  post<{ subscriberId: string; phone: string; touches: T.Touch[] }>("touchpoint/v1/touches:explain", {
    phone,
    activityNumber,
  });
export const listTouchpoints = async (s?: Signal) =>
  (await get<{ touchpoints: T.TouchpointInfo[] }>("touchpoint/v1/touchpoints", {}, s)).touchpoints;
export async function listSchedule(
  query: { touchpoint?: string; pageSize?: number; pageToken?: string },
  s?: Signal,
): Promise<Page<T.ScheduleEntry>> {
  const found = await get<{ entries: T.ScheduleEntry[]; nextPageToken: string }>(
    "touchpoint/v1/schedule",
    query,
    s,
  );
  return { rows: found.entries, next: found.nextPageToken };
}
export const updateSchedule = (entry: T.ScheduleEntry, change: { priority?: string; enabled?: boolean }) =>
  post<T.ScheduleEntry>("touchpoint/v1/schedule:update", {
    activityNumber: entry.activityNumber,
    touchpoint: entry.touchpoint,
    ...change,
    requestId: requestId(),
  });

export interface TagQuery {
  query?: string;
  tagClass?: string;
  frequency?: string;
  orderBy?: string;
  pageSize?: number;
  pageToken?: string;
}
export async function listTags(query: TagQuery, s?: Signal): Promise<Page<T.Tag>> {
  const found = await get<{ tags: T.Tag[]; nextPageToken: string; totalSize: number }>(
    "audience/v1/tags",
    { ...query },
    s,
  );
  return { rows: found.tags, next: found.nextPageToken, total: found.totalSize };
}
export const countAudience = (selection: object) =>
  post<T.AudienceCount>("audience/v1/audiences:count", { selection });

export async function listDefinitions(
  query: { pageSize?: number; pageToken?: string },
  s?: Signal,
): Promise<Page<T.Definition>> {
  const found = await get<{ definitions: T.Definition[]; nextPageToken: string }>("event/v1/definitions", query, s);
  return { rows: found.definitions, next: found.nextPageToken };
}

export async function listEvaluated(
  query: { query?: string; pageSize?: number; pageToken?: string },
  s?: Signal,
): Promise<Page<T.EvaluatedActivity>> {
  const found = await get<{ activities: T.EvaluatedActivity[]; nextPageToken: string }>(
    "evaluation/v1/activities",
    query,
    s,
  );
  return { rows: found.activities, next: found.nextPageToken };
}
export const listFunnels = async (numbers: number[], s?: Signal) =>
  (await get<{ funnels: T.Funnel[] }>("evaluation/v1/funnels", { activityNumbers: numbers }, s)).funnels;
export const listIndicators = async (s?: Signal) =>
  (await get<{ indicators: T.Indicator[] }>("evaluation/v1/indicators", {}, s)).indicators;
export const setIndicators = (activityNumber: number, indicators: string[]) =>
  put<{ indicators: string[] }>(`evaluation/v1/activities/${activityNumber}/indicators`, {
    indicators,
    requestId: requestId(),
  });
export const getReport = (
  activityNumber: number,
  query: { kind: string; level: string; startDate?: string; endDate?: string; indicators?: string[] },
  s?: Signal,
) => get<T.Report>(`evaluation/v1/activities/${activityNumber}/report`, query, s);

export async function listSchools(
  query: { region?: number; reviewState?: string; pageSize?: number; pageToken?: string },
  s?: Signal,
): Promise<Page<T.School>> {
  const found = await get<{ schools: T.School[]; nextPageToken: string }>("campus/v1/schools", query, s);
  return { rows: found.schools, next: found.nextPageToken };
}

export async function listTraces(
  query: {
    campaign?: string;
    touchId?: string;
    service?: string;
    failed?: boolean;
    pageSize?: number;
    pageToken?: string;
  },
  s?: Signal,
): Promise<Page<T.TraceSummary>> {
  const found = await get<{ traces: T.TraceSummary[]; nextPageToken: string }>("gateway/v1/traces", query, s);
  return { rows: found.traces, next: found.nextPageToken };
}
export const getTrace = (id: string, s?: Signal) => get<T.Trace>(`gateway/v1/traces/${id}`, {}, s);
