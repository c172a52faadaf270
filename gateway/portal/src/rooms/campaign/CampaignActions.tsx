import { Alert, Button, Input, Modal, Tooltip, Typography } from "antd";
import { useRef, useState } from "react";
import { campaignVerb } from "../../api/calls";
import { requestId } from "../../api/client";
import type { Activity, Campaign } from "../../api/types";
import { useSession } from "../../app/session";
import { useTexts, word } from "../../i18n";
import { useAction } from "../../parts/useAction";
import { idOf } from "./columns";

type Verb = "submit" | "approve" | "reject" | "launch" | "pause" | "resume" | "terminate";

/** Which verb each state offers, and to whom: the contract's roles. */
const VERBS: { verb: Verb; states: string[]; roles: string[]; danger?: boolean; primary?: boolean }[] = [
  { verb: "submit", states: ["DRAFT", "RETURNED"], roles: ["planner", "campus_manager"], primary: true },
  { verb: "reject", states: ["IN_APPROVAL"], roles: ["approver"] },
  { verb: "approve", states: ["IN_APPROVAL"], roles: ["approver"], primary: true },
  { verb: "launch", states: ["APPROVED"], roles: ["planner", "approver", "campus_manager"], primary: true },
  { verb: "pause", states: ["RUNNING"], roles: ["planner", "approver", "operator", "campus_manager"] },
  { verb: "resume", states: ["PAUSED"], roles: ["planner", "approver", "operator", "campus_manager"], primary: true },
  { verb: "terminate", states: ["RUNNING", "PAUSED"], roles: ["planner", "approver", "campus_manager"], danger: true },
];

export function CampaignActions({
  campaign,
  activities,
  parked,
  onDone,
}: {
  campaign: Campaign;
  activities: Activity[];
  parked: number;
  onDone: () => void;
}) {
  const t = useTexts();
  const session = useSession();
  const [verb, setVerb] = useState<Verb>();
  const may = (roles: string[]) => session.roles.includes("admin") || roles.some((r) => session.roles.includes(r));
  const state = campaign.state.replace("CAMPAIGN_STATE_", "");
  const offered = VERBS.filter((v) => v.states.includes(state) && may(v.roles));
  const own = campaign.author === session.subject;
  return (
    <>
      {offered.map((v) => {
        const blocked = v.verb === "approve" && own;
        return (
          <Tooltip key={v.verb} title={blocked ? t.campaign.ownCampaign : ""}>
            <Button
              type={v.primary ? "primary" : "default"}
              danger={v.danger}
              disabled={blocked}
              data-testid={`verb-${v.verb}`}
              onClick={() => setVerb(v.verb)}
            >
              {t.campaign[v.verb]}
            </Button>
          </Tooltip>
        );
      })}
      {verb && (
        <Confirm
          key={verb}
          verb={verb}
          campaign={campaign}
          activities={activities}
          parked={parked}
          onClose={() => setVerb(undefined)}
          onDone={onDone}
        />
      )}
    </>
  );
}

function Confirm({
  verb,
  campaign,
  activities,
  parked,
  onClose,
  onDone,
}: {
  verb: Verb;
  campaign: Campaign;
  activities: Activity[];
  parked: number;
  onClose: () => void;
  onDone: () => void;
}) {
  const t = useTexts();
  const { busy, run } = useAction();
  const [comment, setComment] = useState("");
  const [typed, setTyped] = useState("");
  // A second click on the same dialogue repeats the same request.
  const request = useRef(requestId());
  // What the person reads is what he approves, whatever is polled meanwhile.
  const [digest] = useState(campaign.contentDigest);
  const label = t.campaign[verb];
  const text = t.campaign[`${verb}Text`];
  const withComment = verb !== "submit" && verb !== "launch" && verb !== "resume";
  const ready =
    (verb !== "reject" || comment.trim() !== "") && (verb !== "terminate" || typed.trim() === campaign.displayName);
  const act = async () => {
    const body: Record<string, string> = {};
    if (verb === "submit") body.etag = campaign.etag;
    if (verb === "approve") body.contentDigest = digest;
    if (withComment) body.comment = comment.trim();
    const done = await run(() => campaignVerb(idOf(campaign.name), verb, body, request.current), t.campaign.done(label));
    if (done) onClose();
    onDone();
  };
  return (
    <Modal
      open
      title={`${label} · ${campaign.displayName}`}
      onCancel={onClose}
      onOk={act}
      okText={label}
      cancelText={t.common.cancel}
      confirmLoading={busy}
      okButtonProps={{ disabled: !ready, danger: verb === "terminate", id: "confirm-verb" }}
    >
      <p>{text}</p>
      {verb === "submit" && (
        <p className="soft">
          {activities.map((a) => a.displayName).join(" · ")}
          {parked > 0 && ` · ${t.campaign.inCart} ${parked}`}
        </p>
      )}
      {verb === "approve" && (
        <Alert
          type="info"
          style={{ marginBottom: 12 }}
          title={t.campaign.approveWhat}
          description={
            <>
              {activities.map((a) => (
                <div key={a.name}>
                  {a.displayName} · {word(t.words.mode, a.mode)} ·{" "}
                  {a.settings.map((s) => word(t.words.touchpoint, s.touchpoint)).join(" · ") || "–"}
                </div>
              ))}
              <div style={{ marginTop: 6 }} className="soft">
                {t.campaign.digest}
              </div>
              <Typography.Text className="mono" data-testid="digest" style={{ overflowWrap: "anywhere" }}>
                {digest}
              </Typography.Text>
            </>
          }
        />
      )}
      {withComment && (
        <Input.TextArea
          placeholder={verb === "approve" ? t.campaign.commentLabel : t.campaign.reasonLabel}
          value={comment}
          onChange={(e) => setComment(e.target.value)}
          maxLength={1000}
          autoSize={{ minRows: 2, maxRows: 6 }}
          data-testid="comment"
        />
      )}
      {verb === "terminate" && (
        <div style={{ marginTop: 12 }}>
          <p>{t.campaign.terminateConfirm(campaign.displayName)}</p>
          <Input value={typed} onChange={(e) => setTyped(e.target.value)} data-testid="confirm-name" />
        </div>
      )}
    </Modal>
  );
}
