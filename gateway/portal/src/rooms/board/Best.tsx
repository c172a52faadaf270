import { all, listEvaluated, listFunnels } from "../../api/calls";
import type { EvaluatedActivity } from "../../api/types";
import { useQuery } from "../../api/useQuery";
import { Link } from "../../app/router";
import { count, percent, toNumber } from "../../format/number";
import { useTexts } from "../../i18n";
import { Loaded, Nothing } from "../../parts/Loaded";
import { Panel } from "../../parts/Room";

const POLL_MS = 15_000;
const SHOWN = 5;

interface Line {
  id: string;
  name: string;
  reached: number;
  orders: number;
}

/** Campaigns by order rate, so that good ones spread (POR-16). */
async function best(signal: AbortSignal): Promise<Line[]> {
  const activities = await all<EvaluatedActivity>(
    async (pageToken) => listEvaluated({ pageSize: 200, pageToken }, signal),
    1000,
  );
  if (activities.length === 0) return [];
  const funnels = await listFunnels([], signal);
  const lines = new Map<string, Line>();
  for (const a of activities) {
    const id = a.activity.split("/")[1] ?? "";
    const line = lines.get(id) ?? { id, name: a.campaignDisplayName, reached: 0, orders: 0 };
    for (const f of funnels) {
      if (f.activityNumber !== a.activityNumber || f.date !== "") continue;
      line.reached += toNumber(f.reached);
      line.orders += toNumber(f.orders);
    }
    lines.set(id, line);
  }
  return [...lines.values()]
    .filter((l) => l.reached > 0)
    .sort((a, b) => b.orders / b.reached - a.orders / a.reached)
    .slice(0, SHOWN);
}

export function Best() {
  const t = useTexts();
  const query = useQuery("best", best, POLL_MS);
  return (
    <Panel title={t.board.best} extra={<span className="soft">{t.board.orderRate}</span>} testId="best">
      <Loaded query={query}>
        {(lines) =>
          lines.length === 0 ? (
            <Nothing title={t.board.bestNone} />
          ) : (
            <div className="lines">
              {lines.map((l) => (
                <div className="line" key={l.id}>
                  <Link to={`/campaigns/${l.id}`} className="cut" title={l.name}>
                    {l.name}
                  </Link>
                  <b className="num" title={`${t.board.orders} ${count(l.orders)} / ${t.board.reached} ${count(l.reached)}`}>
                    {percent(l.orders, l.reached)}
                  </b>
                  <div className="meter">
                    <i style={{ width: `${(l.orders / l.reached / top(lines)) * 100}%` }} />
                  </div>
                </div>
              ))}
            </div>
          )
        }
      </Loaded>
    </Panel>
  );
}

const top = (lines: Line[]): number => Math.max(...lines.map((l) => l.orders / l.reached), 1e-9);
