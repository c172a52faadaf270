import { Table } from "antd";
import { all, listEvaluated, listFunnels } from "../../api/calls";
import type { EvaluatedActivity, Funnel } from "../../api/types";
import { useQuery } from "../../api/useQuery";
import { Link } from "../../app/router";
import { useMay } from "../../app/session";
import { count, percent, yuan } from "../../format/number";
import { Reasons } from "../../funnel/Conservation";
import { reasonsOf } from "../../funnel/ledger";
import { useTexts, word } from "../../i18n";
import { Loaded, Nothing } from "../../parts/Loaded";
import { Panel, Room } from "../../parts/Room";
import { ReportPanel } from "./ReportPanel";

const POLL_MS = 5000;

/** Funnel by touchpoint and day, and the reports of one activity (EVA-06 to EVA-09). */
export function EvaluationPage({ number }: { number: number }) {
  const t = useTexts();
  const reads = useMay("planner", "approver", "analyst", "campus_manager", "operator");
  const activity = useQuery(`evaluated-one|${number}`, async (signal) => {
    const found = await all<EvaluatedActivity>((pageToken) => listEvaluated({ pageSize: 200, pageToken }, signal));
    return found.find((a) => a.activityNumber === number) ?? null;
  });
  const funnels = useQuery(`funnels|${number}`, (signal) => listFunnels([number], signal), POLL_MS);
  return (
    <Room
      title={activity.data?.displayName ?? t.evaluation.activity}
      lead={
        activity.data && (
          <Link to={`/campaigns/${activity.data.activity.split("/")[1]}`}>{activity.data.campaignDisplayName}</Link>
        )
      }
    >
      <Panel title={t.evaluation.funnel} flush testId="funnels">
        <Loaded query={funnels}>{(rows) => <FunnelTable rows={rows} />}</Loaded>
      </Panel>
      {reads && <ReportPanel number={number} chosen={activity.data?.indicators ?? []} />}
    </Room>
  );
}

function FunnelTable({ rows }: { rows: Funnel[] }) {
  const t = useTexts();
  const sums = rows.filter((r) => r.date === "");
  const days = (touchpoint: string) => rows.filter((r) => r.touchpoint === touchpoint && r.date !== "");
  const number = (title: string, key: keyof Funnel) => ({
    title,
    key,
    align: "right" as const,
    render: (_: unknown, f: Funnel) => <span className="num">{count(f[key] as string)}</span>,
  });
  const columns = [
    number(t.funnel.reached, "reached"),
    number(t.funnel.clicks, "clicks"),
    number(t.funnel.replies, "replies"),
    number(t.funnel.optOuts, "optOuts"),
    number(t.funnel.orders, "orders"),
    {
      title: t.board.orderRate,
      key: "rate",
      align: "right" as const,
      render: (_: unknown, f: Funnel) => <span className="num">{percent(f.orders, f.reached)}</span>,
    },
    {
      title: t.funnel.revenue,
      key: "fen",
      align: "right" as const,
      render: (_: unknown, f: Funnel) => <span className="num">{yuan(f.orderFen)}</span>,
    },
    {
      title: t.funnel.settledHow,
      key: "settled",
      render: (_: unknown, f: Funnel) => (
        <div style={{ maxWidth: 420, whiteSpace: "normal" }}>
          <div className="outcomes">
            <Reasons title="" reasons={reasonsOf(f.settled)} words={t.words.outcome} />
          </div>
          <Reasons title={t.funnel.suppressedWhy} reasons={reasonsOf(f.suppressed)} words={t.words.reason} />
        </div>
      ),
    },
  ];
  return (
    <Table<Funnel>
      size="small"
      rowKey={(f) => f.touchpoint}
      dataSource={sums}
      pagination={false}
      scroll={{ x: "max-content" }}
      locale={{ emptyText: <Nothing title={t.evaluation.funnelNone} /> }}
      columns={[
        {
          title: t.campaign.touchpoint,
          key: "touchpoint",
          render: (_, f) => word(t.words.touchpoint, f.touchpoint),
        },
        ...columns,
      ]}
      expandable={{
        rowExpandable: (f) => days(f.touchpoint).length > 0,
        expandedRowRender: (f) => (
          <Table<Funnel>
            size="small"
            rowKey={(d) => d.date}
            dataSource={days(f.touchpoint)}
            pagination={false}
            columns={[
              { title: t.evaluation.date, key: "date", render: (_, d) => <span className="num">{d.date}</span> },
              ...columns,
            ]}
          />
        ),
      }}
    />
  );
}
