import { Badge, Table } from "antd";
import { all, listSchedule, listTouchpoints } from "../../api/calls";
import type { ScheduleEntry, TouchpointInfo } from "../../api/types";
import { useQuery } from "../../api/useQuery";
import { Link } from "../../app/router";
import { count, toNumber } from "../../format/number";
import { useTexts, word } from "../../i18n";
import { Loaded, Nothing } from "../../parts/Loaded";
import { Panel, Room } from "../../parts/Room";

const POLL_MS = 5000;

interface Load extends TouchpointInfo {
  running: number;
  backlog: number;
}

/** What each touchpoint has to do and who does it (RES-02, RES-05). */
async function loads(signal: AbortSignal): Promise<Load[]> {
  const [touchpoints, entries] = await Promise.all([
    listTouchpoints(signal),
    all<ScheduleEntry>((pageToken) => listSchedule({ pageSize: 500, pageToken }, signal)),
  ]);
  return touchpoints.map((info) => {
    const own = entries.filter((e) => e.touchpoint === info.touchpoint);
    return {
      ...info,
      running: own.filter((e) => e.state === "running" && e.enabled).length,
      backlog: own.reduce((n, e) => n + toNumber(e.backlog), 0),
    };
  });
}

export function Resources() {
  const t = useTexts();
  const query = useQuery("touchpoints", loads, POLL_MS);
  return (
    <Room title={t.resources.title} lead={t.resources.lead}>
      <Panel flush testId="touchpoints">
        <Loaded query={query} skeletonRows={12}>
          {(rows) => (
            <Table<Load>
              size="small"
              rowKey="touchpoint"
              dataSource={rows}
              pagination={false}
              scroll={{ x: "max-content" }}
              locale={{ emptyText: <Nothing title={t.resources.none} /> }}
              columns={[
                {
                  title: t.schedule.touchpoint,
                  key: "name",
                  render: (_, i) => (
                    <Link to={`/touchpoints/schedule?touchpoint=${i.touchpoint}`}>
                      {word(t.words.touchpoint, i.touchpoint)}
                    </Link>
                  ),
                },
                { title: t.resources.form, key: "form", render: (_, i) => word(t.words.form, i.form) },
                {
                  title: t.resources.sender,
                  key: "sender",
                  render: (_, i) => <span className="num">{i.sender || "–"}</span>,
                },
                {
                  title: t.resources.modes,
                  key: "modes",
                  render: (_, i) => i.modes.map((m) => word(t.words.mode, m)).join(" · "),
                },
                {
                  title: t.resources.running,
                  key: "running",
                  align: "right",
                  render: (_, i) => <span className="num">{count(i.running)}</span>,
                },
                {
                  title: t.resources.queued,
                  key: "queued",
                  align: "right",
                  render: (_, i) => <span className="num">{count(i.queued)}</span>,
                },
                {
                  title: t.resources.backlog,
                  key: "backlog",
                  align: "right",
                  render: (_, i) => <span className="num">{count(i.backlog)}</span>,
                },
                {
                  title: t.resources.adapters,
                  key: "adapters",
                  render: (_, i) =>
                    i.adapters > 0 ? (
                      <Badge status="success" text={count(i.adapters)} />
                    ) : (
                      <Badge status={i.backlog > 0 ? "error" : "default"} text={t.resources.offline} />
                    ),
                },
              ]}
            />
          )}
        </Loaded>
      </Panel>
    </Room>
  );
}
