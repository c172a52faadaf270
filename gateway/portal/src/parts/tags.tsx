import { Badge, Tag } from "antd";
import { useTexts, word } from "../i18n";

const CAMPAIGN: Record<string, string> = {
  CAMPAIGN_STATE_DRAFT: "default",
  CAMPAIGN_STATE_IN_APPROVAL: "gold",
  CAMPAIGN_STATE_RETURNED: "volcano",
  CAMPAIGN_STATE_APPROVED: "blue",
  CAMPAIGN_STATE_RUNNING: "green",
  CAMPAIGN_STATE_PAUSED: "orange",
  CAMPAIGN_STATE_COMPLETED: "cyan",
  CAMPAIGN_STATE_TERMINATED: "default",
};

export function CampaignStateTag({ state }: { state: string }) {
  const t = useTexts();
  return (
    <Tag color={CAMPAIGN[state] ?? "default"} variant="filled" data-state={state}>
      {word(t.words.campaignState, state)}
    </Tag>
  );
}

const PRIORITY: Record<string, string> = {
  PRIORITY_HIGH: "red",
  PRIORITY_MEDIUM: "blue",
  PRIORITY_UNSPECIFIED: "blue",
  PRIORITY_LOW: "default",
};

export function PriorityTag({ priority }: { priority: string }) {
  const t = useTexts();
  return (
    <Tag color={PRIORITY[priority] ?? "default"} variant="filled">
      {word(t.words.priority, priority)}
    </Tag>
  );
}

const DOTS = {
  running: "processing",
  paused: "warning",
  completed: "success",
  terminated: "default",
} as const;

export function StateDot({ state }: { state: string }) {
  const t = useTexts();
  return (
    <Badge
      status={DOTS[state as keyof typeof DOTS] ?? "default"}
      text={word(t.words.scheduleState, state)}
    />
  );
}

export function TouchpointName({ touchpoint }: { touchpoint: string }) {
  const t = useTexts();
  return <>{word(t.words.touchpoint, touchpoint)}</>;
}
