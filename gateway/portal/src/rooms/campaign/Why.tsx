import { Button, Flex, Form, Input, Select, Tag, Timeline } from "antd";
import { useState } from "react";
import { explainTarget, explainTouches } from "../../api/calls";
import { ApiError } from "../../api/client";
import type { Activity, Touch } from "../../api/types";
import { Link } from "../../app/router";
import { useMay } from "../../app/session";
import { dateTime } from "../../format/time";
import { useTexts, word } from "../../i18n";
import { ErrorPanel } from "../../parts/ErrorPanel";
import { Nothing } from "../../parts/Loaded";
import { Panel } from "../../parts/Room";

interface Answer {
  sides: { activity: Activity; side: string; group: string }[];
  touches?: Touch[];
  phone: string;
}

/** One number, every decision about it with its reason. */
export function Why({ activities }: { activities: Activity[] }) {
  const t = useTexts();
  const seesTarget = useMay("planner", "approver", "operator");
  const seesTouches = useMay("operator", "planner", "analyst", "clerk");
  const [answer, setAnswer] = useState<Answer>();
  const [problem, setProblem] = useState<ApiError>();
  const [busy, setBusy] = useState(false);

  const ask = async ({ phone, activity }: { phone: string; activity: string }) => {
    setBusy(true);
    setProblem(undefined);
    setAnswer(undefined);
    const wanted = activity ? activities.filter((a) => a.name === activity) : activities;
    try {
      const sides = seesTarget
        ? await Promise.all(wanted.map(async (a) => ({ activity: a, ...(await explainTarget(a.name, phone)) })))
        : [];
      let touches: Touch[] | undefined;
      let shown = phone;
      if (seesTouches) {
        const found = await explainTouches(phone, wanted.length === 1 ? (wanted[0]?.activityNumber ?? 0) : 0);
        const numbers = new Set(wanted.map((a) => a.activityNumber));
        touches = found.touches.filter((touch) => numbers.has(touch.activityNumber));
        shown = found.phone;
      }
      setAnswer({ sides, touches, phone: shown });
    } catch (failure) {
      setProblem(failure instanceof ApiError ? failure : new ApiError(0, "PORTAL_FAULT", String(failure)));
    } finally {
      setBusy(false);
    }
  };

  return (
    <Panel title={t.why.title} testId="why">
      <p className="soft" style={{ marginTop: 0 }}>
        {t.why.lead}
      </p>
      <Form layout="inline" onFinish={ask} initialValues={{ activity: "" }} style={{ rowGap: 10 }}>
        <Form.Item name="phone" rules={[{ required: true, pattern: /^1\d{10}$/, message: t.why.phoneWrong }]}>
          <Input placeholder={t.why.phone} inputMode="numeric" maxLength={11} style={{ width: 180 }} data-testid="phone" />
        </Form.Item>
        <Form.Item name="activity">
          <Select
            style={{ minWidth: 220 }}
            popupMatchSelectWidth={false}
            options={[
              { value: "", label: t.why.allActivities },
              ...activities.map((a) => ({ value: a.name, label: a.displayName })),
            ]}
          />
        </Form.Item>
        <Button type="primary" htmlType="submit" loading={busy} data-testid="ask">
          {t.why.ask}
        </Button>
      </Form>
      <div style={{ marginTop: 16 }}>
        {problem &&
          (problem.status === 404 || problem.reason === "SUBSCRIBER_UNKNOWN" ? (
            <Nothing title={t.why.unknown} />
          ) : (
            <ErrorPanel error={problem} />
          ))}
        {answer && <Decisions answer={answer} activities={activities} />}
      </div>
    </Panel>
  );
}

function Decisions({ answer, activities }: { answer: Answer; activities: Activity[] }) {
  const t = useTexts();
  return (
    <div className="stack" data-testid="decisions">
      {answer.sides.length > 0 && (
        <div>
          <h3 style={{ fontSize: 13, margin: "0 0 8px" }}>
            {t.why.side} <span className="soft num">{answer.phone}</span>
          </h3>
          {answer.sides.map((s) => (
            <div key={s.activity.name} data-side={s.side} style={{ lineHeight: "26px" }}>
              <Tag variant="filled" color={s.side === "target" ? "green" : "default"}>
                {s.activity.displayName}
              </Tag>
              {word(t.words.side, s.side)}
              {s.group && <span className="soft"> · {t.why.group(s.group)}</span>}
            </div>
          ))}
        </div>
      )}
      {answer.touches && (
        <div>
          <h3 style={{ fontSize: 13, margin: "0 0 8px" }}>{t.why.touches}</h3>
          {answer.touches.length === 0 && <span className="soft">{t.why.touchesNone}</span>}
          <div className="stack">
            {answer.touches.map((touch) => (
              <TouchCard
                key={touch.name}
                touch={touch}
                activity={activities.find((a) => a.activityNumber === touch.activityNumber)}
              />
            ))}
          </div>
        </div>
      )}
    </div>
  );
}

function TouchCard({ touch, activity }: { touch: Touch; activity?: Activity }) {
  const t = useTexts();
  const traces = useMay("operator", "planner", "analyst");
  const outcome = touch.outcome.replace("OUTCOME_", "").toLowerCase();
  const settled = touch.state === "settled";
  return (
    <div className="touchpoint-row" data-testid="touch" data-state={touch.state} data-reason={touch.reason}>
      <Flex gap={8} wrap align="center">
        <b>{word(t.words.touchpoint, touch.touchpoint)}</b>
        <span>{activity?.displayName}</span>
        <Tag variant="filled" color={color(touch.state, outcome)}>
          {settled ? word(t.words.outcome, outcome) : word(t.words.step, touch.state)}
        </Tag>
        {touch.reason && (
          <span className="reason" data-testid="touch-reason">
            {word(t.words.reason, touch.reason)}
          </span>
        )}
        <span className="soft num">
          {t.why.day} {touch.plannedDay}
        </span>
        {traces && touch.traceId && <Link to={`/traces/${touch.traceId}`}>{t.why.trace}</Link>}
      </Flex>
      {touch.text && (
        <div style={{ margin: "8px 0" }}>
          <span className="soft">{t.why.text}</span> {touch.text}
        </div>
      )}
      {touch.history.length > 0 && (
        <Timeline
          style={{ marginTop: 12 }}
          items={touch.history.map((event) => ({
            content: (
              <>
                <span className="num soft">{dateTime(event.time, true)}</span> {word(t.words.step, event.step)}
                {event.detail && <span className="soft"> · {t.words.reason[event.detail] ?? event.detail}</span>}
              </>
            ),
          }))}
        />
      )}
    </div>
  );
}

function color(state: string, outcome: string): string {
  if (state === "settled") return ["delivered", "shown", "accepted"].includes(outcome) ? "green" : "volcano";
  return state === "suppressed" || state === "cancelled" ? "orange" : "blue";
}
