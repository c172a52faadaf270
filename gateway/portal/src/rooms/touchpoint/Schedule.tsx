import { Alert, Flex, Select, Switch } from "antd";
import { useState } from "react";
import { listSchedule, updateSchedule } from "../../api/calls";
import type { ScheduleEntry } from "../../api/types";
import { Link, setQuery, usePlace } from "../../app/router";
import { useMay } from "../../app/session";
import { count } from "../../format/number";
import { useTexts, word } from "../../i18n";
import { PagedTable } from "../../parts/PagedTable";
import { Panel, Room } from "../../parts/Room";
import { PriorityTag, StateDot } from "../../parts/tags";
import { useAction } from "../../parts/useAction";

const POLL_MS = 5000;
const PRIORITIES = ["PRIORITY_HIGH", "PRIORITY_MEDIUM", "PRIORITY_LOW"];

/** The queue of the touchpoints, with switch and priority (TCH-72 to TCH-78). */
export function Schedule() {
  const t = useTexts();
  const { query } = usePlace();
  const touchpoint = query.get("touchpoint") ?? "";
  const may = useMay("operator", "planner");
  const { run } = useAction();
  const [version, setVersion] = useState(0);
  const change = async (entry: ScheduleEntry, what: { priority?: string; enabled?: boolean }, done: string) => {
    await run(() => updateSchedule(entry, what), done);
    setVersion((n) => n + 1);
  };
  return (
    <Room
      title={t.schedule.title}
      actions={
        <Select
          style={{ width: 170 }}
          value={touchpoint}
          onChange={(value) => setQuery({ touchpoint: value })}
          aria-label={t.schedule.touchpoint}
          options={[
            { value: "", label: t.common.all },
            ...Object.entries(t.words.touchpoint).map(([value, label]) => ({ value, label })),
          ]}
        />
      }
    >
      {!may && <Alert type="info" showIcon title={t.schedule.readOnly} />}
      <Panel flush testId="schedule">
        <PagedTable<ScheduleEntry>
          name={`schedule|${touchpoint}`}
          version={version}
          read={(page, signal) => listSchedule({ ...page, touchpoint }, signal)}
          rowKey={(e) => `${e.activityNumber}/${e.touchpoint}`}
          pollMs={POLL_MS}
          empty={{ title: t.schedule.none, text: t.schedule.noneText }}
          columns={[
            {
              title: t.schedule.activity,
              key: "activity",
              render: (_, e) => (
                <Link to={`/campaigns/${e.activity.split("/")[1]}`}>{e.activityDisplayName || e.activity}</Link>
              ),
            },
            {
              title: t.schedule.touchpoint,
              key: "touchpoint",
              render: (_, e) => word(t.words.touchpoint, e.touchpoint),
            },
            { title: t.common.state, key: "state", render: (_, e) => <StateDot state={e.state} /> },
            {
              title: t.schedule.priority,
              key: "priority",
              render: (_, e) =>
                may ? (
                  <Select
                    size="small"
                    style={{ width: 92 }}
                    aria-label={t.schedule.change}
                    data-testid="priority"
                    value={e.priority === "PRIORITY_UNSPECIFIED" ? "PRIORITY_MEDIUM" : e.priority}
                    onChange={(priority) => change(e, { priority }, t.schedule.changed)}
                    options={PRIORITIES.map((value) => ({ value, label: word(t.words.priority, value) }))}
                  />
                ) : (
                  <PriorityTag priority={e.priority} />
                ),
            },
            {
              title: t.schedule.enabled,
              key: "enabled",
              render: (_, e) => (
                <Flex gap={8} align="center" data-testid="enabled" data-enabled={e.enabled}>
                  <Switch
                    size="small"
                    checked={e.enabled}
                    disabled={!may}
                    aria-label={t.schedule.enabled}
                    onChange={(enabled) =>
                      change(e, { enabled }, enabled ? t.schedule.enabledDone : t.schedule.disabledDone)
                    }
                  />
                  {e.enabled ? t.schedule.on : t.schedule.off}
                </Flex>
              ),
            },
            {
              title: t.schedule.backlog,
              key: "backlog",
              align: "right",
              render: (_, e) => <span className="num">{count(e.backlog)}</span>,
            },
            {
              title: t.schedule.period,
              key: "period",
              render: (_, e) => (
                <span className="num">{e.period ? `${e.period.startDate} – ${e.period.endDate}` : "–"}</span>
              ),
            },
          ]}
        />
      </Panel>
    </Room>
  );
}
