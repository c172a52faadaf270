import { useMemo } from "react";
import { getReport } from "../../api/calls";
import { ApiError } from "../../api/client";
import { useQuery } from "../../api/useQuery";
import { useMay } from "../../app/session";
import { count } from "../../format/number";
import { useLanguage, useTexts } from "../../i18n";
import { Chart } from "../../parts/Chart";
import { Loaded, Nothing } from "../../parts/Loaded";
import { Panel } from "../../parts/Room";
import leagues from "../../region/leagues.json";
import { LEAGUES, regionName } from "../../region/names";

const POLL_MS = 20_000;
const MAP = { name: "leagues", shape: leagues };

/** Customers reached so far, by league, over the activities on the board. */
async function reachedByLeague(activities: number[], signal: AbortSignal): Promise<Map<number, number>> {
  const totals = new Map<number, number>();
  const reports = await Promise.all(
    activities.map(async (number) => {
      try {
        return await getReport(
          number,
          { kind: "REPORT_KIND_PROCESS", level: "REGION_LEVEL_CITY", indicators: ["cumulative_triggered"] },
          signal,
        );
      } catch (problem) {
        // Launched a moment ago: evaluation has not heard of it yet.
        if (problem instanceof ApiError && problem.reason === "ACTIVITY_NOT_LAUNCHED") return null;
        if (problem instanceof ApiError && problem.status === 404) return null;
        throw problem;
      }
    }),
  );
  for (const report of reports) {
    const newest = new Map<number, { date: string; value: number }>();
    for (const row of report?.rows ?? []) {
      const region = Number(row.region);
      const known = newest.get(region);
      if (!known || row.date > known.date) newest.set(region, { date: row.date, value: row.values[0] ?? 0 });
    }
    for (const [region, { value }] of newest) totals.set(region, (totals.get(region) ?? 0) + value);
  }
  return totals;
}

export function RegionMap({ activities }: { activities?: number[] }) {
  const t = useTexts();
  const may = useMay("planner", "approver", "analyst", "campus_manager", "operator");
  const query = useQuery(
    may && activities ? `map|${activities.join()}` : null,
    (signal) => reachedByLeague(activities ?? [], signal),
    POLL_MS,
  );
  if (!may || !activities || activities.length === 0) return null;
  return (
    <Panel title={t.board.map} testId="map">
      <Loaded query={query} skeletonRows={8}>
        {(totals) =>
          totals.size === 0 ? <Nothing title={t.board.mapNone} /> : <Leagues totals={totals} />
        }
      </Loaded>
    </Panel>
  );
}

function Leagues({ totals }: { totals: Map<number, number> }) {
  const { language } = useLanguage();
  const option = useMemo(() => {
    const data = LEAGUES.map((code) => {
      const value = totals.get(code) ?? 0;
      // Leagues where nobody was reached stay in the background.
      return { name: String(code), value, label: value > 0 ? {} : { color: "#8794a5" } };
    });
    const most = Math.max(1, ...data.map((d) => d.value));
    const text = (code: string, value: number) =>
      value > 0 ? `${regionName(code, language)}\n${count(value)}` : regionName(code, language);
    return {
      tooltip: {
        formatter: (p: { name: string; value: number }) => `${regionName(p.name, language)}<br/><b>${count(p.value)}</b>`,
      },
      visualMap: { show: false, min: 0, max: most, inRange: { color: ["#eef3f9", "#a9c8ee", "#4b86d1", "#1d4f9e"] } },
      series: [
        {
          type: "map",
          map: MAP.name,
          roam: false,
          aspectScale: 0.76,
          left: 8,
          right: 8,
          top: 12,
          bottom: 12,
          selectedMode: false,
          itemStyle: { borderColor: "#fff", borderWidth: 1.2 },
          emphasis: { itemStyle: { areaColor: "#f2c879" }, label: { show: true } },
          labelLayout: { hideOverlap: true },
          label: {
            show: true,
            fontSize: 10,
            lineHeight: 13,
            color: "#14263d",
            textBorderColor: "rgba(255,255,255,0.85)",
            textBorderWidth: 2.5,
            formatter: (p: { name: string; value: number }) => text(p.name, p.value || 0),
          },
          data,
        },
      ],
    };
  }, [totals, language]);
  return <Chart option={option} height={460} map={MAP} />;
}
