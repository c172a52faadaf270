// The pages of the portal: where they are, who may enter, what the menu shows.
import {
  ApartmentOutlined,
  BarChartOutlined,
  DashboardOutlined,
  DatabaseOutlined,
  FlagOutlined,
  ReadOutlined,
  SendOutlined,
} from "@ant-design/icons";
import { type ReactNode, lazy } from "react";
import type { Texts } from "../i18n/zh";

// Each room is a file of its own: the sign-in page and the board do not wait for the rest.
const Research = lazy(() => import("../rooms/audience/Research").then((m) => ({ default: m.Research })));
const Board = lazy(() => import("../rooms/board/Board").then((m) => ({ default: m.Board })));
const Strategies = lazy(() => import("../rooms/board/Strategies").then((m) => ({ default: m.Strategies })));
const Schools = lazy(() => import("../rooms/campus/Schools").then((m) => ({ default: m.Schools })));
const CampaignForm = lazy(() => import("../rooms/campaign/CampaignForm").then((m) => ({ default: m.CampaignForm })));
const CampaignList = lazy(() => import("../rooms/campaign/CampaignList").then((m) => ({ default: m.CampaignList })));
const CampaignPage = lazy(() => import("../rooms/campaign/CampaignPage").then((m) => ({ default: m.CampaignPage })));
const EvaluationList = lazy(() => import("../rooms/evaluation/EvaluationList").then((m) => ({ default: m.EvaluationList })));
const EvaluationPage = lazy(() => import("../rooms/evaluation/EvaluationPage").then((m) => ({ default: m.EvaluationPage })));
const EventPage = lazy(() => import("../rooms/event/EventPage").then((m) => ({ default: m.EventPage })));
const Events = lazy(() => import("../rooms/event/Events").then((m) => ({ default: m.Events })));
const Resources = lazy(() => import("../rooms/touchpoint/Resources").then((m) => ({ default: m.Resources })));
const Schedule = lazy(() => import("../rooms/touchpoint/Schedule").then((m) => ({ default: m.Schedule })));
const TracePage = lazy(() => import("../rooms/trace/TracePage").then((m) => ({ default: m.TracePage })));
const Traces = lazy(() => import("../rooms/trace/Traces").then((m) => ({ default: m.Traces })));

export interface Route {
  pattern: string;
  /** Menu entry that is lit, and the crumbs above the page. */
  entry: string;
  roles?: string[];
  page: (values: Record<string, string>) => ReactNode;
}

const PLANNERS = ["planner", "campus_manager"];
const COUNTERS = ["planner", "approver", "campus_manager", "analyst"];
const TRACERS = ["operator", "planner", "analyst"];

export const ROUTES: Route[] = [
  { pattern: "/", entry: "/", page: () => <Board /> },
  { pattern: "/users/research", entry: "/users/research", page: () => <Research mayCount={COUNTERS} /> },
  { pattern: "/resources", entry: "/resources", page: () => <Resources /> },
  { pattern: "/campaigns/new", entry: "/campaigns/new", roles: PLANNERS, page: () => <CampaignForm /> },
  { pattern: "/campaigns", entry: "/campaigns", page: () => <CampaignList /> },
  { pattern: "/campaigns/:id", entry: "/campaigns", page: ({ id = "" }) => <CampaignPage key={id} id={id} /> },
  { pattern: "/events", entry: "/events", page: () => <Events /> },
  { pattern: "/events/:id", entry: "/events", page: ({ id = "" }) => <EventPage key={id} id={id} /> },
  { pattern: "/evaluation", entry: "/evaluation", page: () => <EvaluationList /> },
  {
    pattern: "/evaluation/:number",
    entry: "/evaluation",
    page: ({ number = "" }) => <EvaluationPage key={number} number={Number(number)} />,
  },
  { pattern: "/touchpoints/schedule", entry: "/touchpoints/schedule", page: () => <Schedule /> },
  { pattern: "/campus", entry: "/campus", page: () => <Schools /> },
  { pattern: "/board/resources", entry: "/board/resources", page: () => <Resources /> },
  { pattern: "/board/strategies", entry: "/board/strategies", page: () => <Strategies /> },
  { pattern: "/traces", entry: "/traces", roles: TRACERS, page: () => <Traces /> },
  { pattern: "/traces/:id", entry: "/traces", roles: TRACERS, page: ({ id = "" }) => <TracePage key={id} id={id} /> },
];

export interface Entry {
  key: string;
  label: string;
  icon?: ReactNode;
  roles?: string[];
  children?: Entry[];
}

/** The menu tree: three libraries, the campus market, the board centre (POR-02, POR-05 to POR-08). */
export function menuTree(t: Texts["menu"]): Entry[] {
  return [
    {
      key: "information",
      label: t.information,
      icon: <DatabaseOutlined />,
      children: [
        { key: "user-centre", label: t.userCentre, children: [{ key: "/users/research", label: t.research }] },
        { key: "resource-centre", label: t.resourceCentre, children: [{ key: "/resources", label: t.resources }] },
      ],
    },
    {
      key: "strategy",
      label: t.strategy,
      icon: <FlagOutlined />,
      children: [
        {
          key: "marketing-centre",
          label: t.marketingCentre,
          children: [
            { key: "/campaigns/new", label: t.newCampaign, roles: PLANNERS },
            { key: "/campaigns", label: t.campaigns },
          ],
        },
        { key: "/events", label: t.eventCentre },
        { key: "/evaluation", label: t.evaluationCentre },
      ],
    },
    {
      key: "touchpoint",
      label: t.touchpointLibrary,
      icon: <SendOutlined />,
      children: [
        {
          key: "touchpoint-centre",
          label: t.touchpointCentre,
          children: [{ key: "/touchpoints/schedule", label: t.schedule }],
        },
      ],
    },
    { key: "/campus", label: t.campus, icon: <ReadOutlined /> },
    {
      key: "boards",
      label: t.boards,
      icon: <DashboardOutlined />,
      children: [
        { key: "/", label: t.home, icon: <BarChartOutlined /> },
        { key: "/board/resources", label: t.boardResources },
        { key: "/board/strategies", label: t.strategies },
      ],
    },
    { key: "/traces", label: t.traces, icon: <ApartmentOutlined />, roles: TRACERS },
  ];
}

/** Labels from the root of the tree to an entry. */
export function crumbs(tree: Entry[], key: string): string[] {
  for (const entry of tree) {
    if (entry.key === key) return [entry.label];
    const below = crumbs(entry.children ?? [], key);
    if (below.length > 0) return [entry.label, ...below];
  }
  return [];
}
