// The contracts' messages as the gateway writes them: proto3 JSON, 64-bit integers as texts.

export type Int64 = string;

export interface ReasonCount {
  reason: string;
  count: Int64;
}
export interface DateRange {
  startDate: string;
  endDate: string;
}

export interface Session {
  subject: string;
  displayName: string;
  roles: string[];
  regions: number[];
  campuses: string[];
  version: string;
  businessTime: string;
  timeZone: string;
}

export interface ServiceState {
  service: string;
  reachable: boolean;
  error: string;
  status?: {
    businessTime?: string;
    outboxRows: Int64;
    consumers: { name: string; pending: Int64; ackPending: Int64; handled: Int64 }[];
    jobs: { name: string; idleTime?: string; failures: Int64 }[];
    busy: Record<string, Int64>;
    gauges: Record<string, Int64>;
    handled: Int64;
    published: Int64;
    idle: boolean;
    deadLetters: Int64;
  };
}

export interface Campaign {
  name: string;
  displayName: string;
  theme: string;
  goal: string;
  region: number;
  initiator: string;
  cycle: string;
  period?: DateRange;
  needDimensions: string[];
  lifecycleStages: string[];
  brands: string[];
  targetDescription: string;
  caseId: string;
  marketingType: string;
  state: string;
  author: string;
  approver: string;
  approvalComment: string;
  contentDigest: string;
  createTime?: string;
  updateTime?: string;
  launchTime?: string;
  etag: string;
  traceId: string;
}

export interface TouchpointSetting {
  touchpoint: string;
  period?: DateRange;
  periodicUpdate: boolean;
  suppression?: {
    keepBlockList: boolean;
    keepRedList: boolean;
    keepSensitiveList: boolean;
    reason: string;
  };
  priority: string;
  marketingWords: string;
  fields: Record<string, string>;
  smsContractOnly: boolean;
}

export interface Activity {
  name: string;
  displayName: string;
  code: string;
  description: string;
  mode: string;
  target?: { audience?: string; customerList?: string; allCustomers?: boolean };
  definition: string;
  product?: { code: string; displayName: string; priceFen: Int64; orderInstruction: string };
  controlPercent: number;
  splits: { group: string; percent: number; touchpoints: string[] }[];
  timeToLiveSeconds: number;
  activityNumber: number;
  settings: TouchpointSetting[];
  school: string;
  snapshot: string;
}

export interface CartItem {
  itemId: string;
  activity: string;
  setting: TouchpointSetting;
  createTime?: string;
  owner: string;
}

export interface TouchpointProgress {
  touchpoint: string;
  target: Int64;
  control: Int64;
  excluded: ReasonCount[];
  unplanned: Int64;
  handed: Int64;
  populationControl: Int64;
  populationExcluded: ReasonCount[];
}

export interface ActivityProgress {
  name: string;
  activityNumber: number;
  population: Int64;
  touchpoints: TouchpointProgress[];
}

export interface JournalEntry {
  time?: string;
  actor: string;
  action: string;
  comment: string;
  traceId: string;
}

export interface TouchCounters {
  activityNumber: number;
  touchpoint: string;
  received: Int64;
  suppressed: ReasonCount[];
  waiting: Int64;
  held: Int64;
  queued: Int64;
  leased: Int64;
  cancelled: Int64;
  settled: ReasonCount[];
  clicks: Int64;
  replies: Int64;
  imbalance: Int64;
}

export interface Touch {
  name: string;
  activityNumber: number;
  activity: string;
  touchpoint: string;
  plannedDay: string;
  occurrence: number;
  subscriberId: Int64;
  phone: string;
  state: string;
  outcome: string;
  reason: string;
  text: string;
  providerMessageId: string;
  history: { time?: string; step: string; detail: string }[];
  traceId: string;
}

export interface TouchpointInfo {
  touchpoint: string;
  displayName: string;
  form: string;
  sender: string;
  modes: string[];
  periodicUpdate: boolean;
  suppression: boolean;
  queued: Int64;
  adapters: number;
}

export interface ScheduleEntry {
  activityNumber: number;
  activity: string;
  activityDisplayName: string;
  touchpoint: string;
  priority: string;
  enabled: boolean;
  state: string;
  period?: DateRange;
  backlog: Int64;
}

export interface Tag {
  name: string;
  code: string;
  displayName: string;
  displayNameEn: string;
  tagClass: string;
  category: string;
  type: string;
  unit: string;
  frequency: string;
  description: string;
  values: { code: string; label: string }[];
  dataDates: string[];
  usageCount: Int64;
}

export interface AudienceCount {
  scope: Int64;
  matched: Int64;
  excluded: ReasonCount[];
  count: Int64;
  dataDate: string;
}

export interface Comparison {
  field: string;
  operator: string;
  values: { number?: number; text?: string; flag?: boolean; date?: string; id?: Int64 }[];
  lowerOpen?: boolean;
  upperOpen?: boolean;
}
export interface Condition {
  allOf?: { conditions: Condition[] };
  anyOf?: { conditions: Condition[] };
  not?: Condition;
  comparison?: Comparison;
  membership?: { set: string };
}

export interface EventRule {
  source: string;
  condition?: Condition;
  dwellSeconds: number;
  count: number;
  windowSeconds: number;
  startTime?: string;
  endTime?: string;
  areas: object[];
}
export interface EventExpression {
  rule?: EventRule;
  allOf?: { expressions: EventExpression[] };
  anyOf?: { expressions: EventExpression[] };
}
export interface Definition {
  name: string;
  displayName: string;
  description: string;
  expression: EventExpression;
  combinationSeconds: number;
  definitionNumber: number;
  expressionText: string;
  creator: string;
  createTime?: string;
  updateTime?: string;
  matchCount: Int64;
}

export interface EvaluatedActivity {
  activityNumber: number;
  activity: string;
  displayName: string;
  campaignDisplayName: string;
  caseId: string;
  region: number;
  launchTime?: string;
  indicators: string[];
}

export interface Funnel {
  activityNumber: number;
  touchpoint: string;
  date: string;
  suppressed: ReasonCount[];
  settled: ReasonCount[];
  reached: Int64;
  clicks: Int64;
  replies: Int64;
  optOuts: Int64;
  orders: Int64;
  orderFen: Int64;
}

export interface Indicator {
  code: string;
  displayName: string;
  unit: string;
  description: string;
}
export interface Report {
  displayName: string;
  purpose: string;
  indicators: Indicator[];
  rows: { date: string; region: Int64; values: number[] }[];
  lift?: {
    target: Int64;
    targetOrders: Int64;
    control: Int64;
    controlOrders: Int64;
    lift: number;
    lower: number;
    upper: number;
  };
}

export interface School {
  name: string;
  displayName: string;
  type: string;
  nature: string;
  authority: string;
  city: number;
  county: number;
  studentCount: number;
  enrolmentCount: number;
  staffCount: number;
  address: string;
  campuses: { code: Int64; displayName: string; county: number }[];
  reviewState: string;
  approved: boolean;
  reviewComment: string;
  editor: string;
  updateTime?: string;
}

export interface TraceSummary {
  name: string;
  root: string;
  service: string;
  startTime?: string;
  durationMicros: Int64;
  spanCount: number;
  errorCount: number;
}
export interface Span {
  spanId: string;
  parentSpanId: string;
  displayName: string;
  service: string;
  kind: string;
  startTime?: string;
  durationMicros: Int64;
  error: boolean;
  statusMessage: string;
  attributes: Record<string, string>;
  links: string[];
}
export interface Trace {
  name: string;
  spans: Span[];
  linked: TraceSummary[];
}
