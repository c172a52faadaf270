import { Table, Tag, Typography } from "antd";
import { useState } from "react";
import { getTrace } from "../../api/calls";
import type { Span, Trace } from "../../api/types";
import { useQuery } from "../../api/useQuery";
import { Link } from "../../app/router";
import { count, micros } from "../../format/number";
import { dateTime, microsOf } from "../../format/time";
import { useTexts } from "../../i18n";
import { Loaded, Nothing } from "../../parts/Loaded";
import { Panel, Room } from "../../parts/Room";
import { SpanDrawer } from "./SpanDrawer";
import { Waterfall } from "./Waterfall";
import { useTraceColumns } from "./columns";
import { shortName } from "./search";
import { treeOf } from "./tree";

/** One trace: its waterfall, its spans, the traces it is linked with. */
export function TracePage({ id }: { id: string }) {
  const t = useTexts();
  const [chosen, setChosen] = useState<Span>();
  const columns = useTraceColumns();
  const query = useQuery(`trace|${id}`, (signal) => getTrace(id, signal));
  const spans = query.data?.spans ?? [];
  const first = Math.min(...spans.map((s) => microsOf(s.startTime)));
  const root = treeOf(spans).roots[0]?.span;
  return (
    <Room
      title={root ? shortName(root.displayName) : t.trace.title}
      lead={
        <Typography.Text copyable className="mono soft" data-testid="trace-id">
          {id}
        </Typography.Text>
      }
      actions={<Link to="/traces">{t.trace.back}</Link>}
    >
      {query.data && <Summary trace={query.data} />}
      <Panel flush>
        <Loaded query={query} skeletonRows={12}>
          {(trace) => (
            <Waterfall key={trace.name} spans={trace.spans} selected={chosen?.spanId} onSelect={setChosen} />
          )}
        </Loaded>
      </Panel>
      {query.data && (
        <Panel title={t.trace.linked} flush testId="linked">
          <Table
            size="small"
            rowKey="name"
            columns={columns}
            dataSource={query.data.linked}
            pagination={{ pageSize: 20, hideOnSinglePage: true, size: "small" }}
            scroll={{ x: "max-content" }}
            locale={{ emptyText: <Nothing title={t.trace.linkedNone} /> }}
          />
        </Panel>
      )}
      <SpanDrawer
        span={chosen}
        offset={chosen ? microsOf(chosen.startTime) - first : 0}
        onClose={() => setChosen(undefined)}
      />
    </Room>
  );
}

function Summary({ trace }: { trace: Trace }) {
  const t = useTexts();
  const errors = trace.spans.filter((s) => s.error).length;
  const start = trace.spans.reduce<string | undefined>(
    (least, s) => (least === undefined || microsOf(s.startTime) < microsOf(least) ? s.startTime : least),
    undefined,
  );
  const campaign = trace.spans.map((s) => s.attributes["iop.campaign.id"]).find(Boolean)?.replace(/^campaigns\//, "");
  return (
    <div>
      <Tag variant="filled">
        {t.trace.start} {dateTime(start, true)}
      </Tag>
      <Tag variant="filled">
        {t.trace.duration} {micros(treeOf(trace.spans).duration)}
      </Tag>
      <Tag variant="filled">
        {t.trace.spans} {count(trace.spans.length)}
      </Tag>
      <Tag variant="filled" color={errors > 0 ? "red" : "default"} data-testid="trace-errors">
        {t.trace.errors} {count(errors)}
      </Tag>
      {campaign && (
        <Link to={`/campaigns/${campaign}`}>
          {t.trace.campaign} {campaign}
        </Link>
      )}
    </div>
  );
}
