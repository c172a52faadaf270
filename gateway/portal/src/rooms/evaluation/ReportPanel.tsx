import { Button, DatePicker, Flex, Segmented, Select, Table } from "antd";
import dayjs from "dayjs";
import { useState } from "react";
import { getReport, listIndicators, listSchools, setIndicators } from "../../api/calls";
import type { Indicator, Report } from "../../api/types";
import { useQuery } from "../../api/useQuery";
import { setQuery, usePlace } from "../../app/router";
import { useMay } from "../../app/session";
import { count, inUnit, percent, ratio } from "../../format/number";
import { useLanguage, useTexts, word } from "../../i18n";
import type { Language } from "../../i18n";
import { Loaded, Nothing } from "../../parts/Loaded";
import { Panel } from "../../parts/Room";
import { useAction } from "../../parts/useAction";
import { regionName } from "../../region/names";

/** Chinese names come with the pool; English ones are the readable codes. */
function indicatorName(i: Indicator, language: Language): string {
  if (language === "zh") return i.displayName;
  const words = i.code.replaceAll("_", " ");
  return words.charAt(0).toUpperCase() + words.slice(1);
}

/** Process and result reports at four region levels (EVA-11 to EVA-16). */
export function ReportPanel({ number, chosen }: { number: number; chosen: string[] }) {
  const t = useTexts();
  const { language } = useLanguage();
  const { query } = usePlace();
  const mayKeep = useMay("planner", "analyst", "campus_manager");
  const { busy, run } = useAction();
  const kind = query.get("kind") ?? "REPORT_KIND_PROCESS";
  const level = query.get("level") ?? "REGION_LEVEL_PROVINCE";
  const [indicators, setChosen] = useState<string[]>([]);
  const [range, setRange] = useState<[string, string]>(["", ""]);
  const pool = useQuery("indicators", (signal) => listIndicators(signal));
  const filter = { kind, level, startDate: range[0], endDate: range[1], indicators };
  const report = useQuery(`report|${number}|${JSON.stringify(filter)}`, (signal) => getReport(number, filter, signal));
  const campuses = useQuery(level === "REGION_LEVEL_CAMPUS" ? "campus-names" : null, async (signal) => {
    const { rows } = await listSchools({ pageSize: 1000 }, signal);
    return new Map(rows.flatMap((s) => s.campuses.map((c) => [c.code, `${s.displayName} ${c.displayName}`])));
  });
  const area = (region: string) =>
    level === "REGION_LEVEL_CAMPUS" ? (campuses.data?.get(region) ?? region) : regionName(region, language);
  return (
    <Panel
      title={t.evaluation.report}
      testId="report"
      extra={
        <Flex gap={8} wrap>
          <Segmented
            size="small"
            value={kind}
            onChange={(value) => setQuery({ kind: value })}
            options={Object.entries(t.words.reportKind).map(([value, label]) => ({ value, label }))}
          />
          <Segmented
            size="small"
            value={level}
            onChange={(value) => setQuery({ level: value })}
            options={Object.entries(t.words.regionLevel).map(([value, label]) => ({ value, label }))}
          />
        </Flex>
      }
    >
      <Flex gap={8} wrap style={{ marginBottom: 12 }}>
        <DatePicker.RangePicker
          size="small"
          allowEmpty
          value={[range[0] ? dayjs(range[0]) : null, range[1] ? dayjs(range[1]) : null]}
          onChange={(dates) =>
            setRange([dates?.[0]?.format("YYYY-MM-DD") ?? "", dates?.[1]?.format("YYYY-MM-DD") ?? ""])
          }
        />
        <Select
          size="small"
          mode="multiple"
          style={{ minWidth: 260, flex: 1 }}
          placeholder={
            chosen.length > 0 ? `${t.evaluation.indicatorsHint} (${chosen.length})` : t.evaluation.indicators
          }
          value={indicators}
          onChange={setChosen}
          loading={pool.loading}
          optionFilterProp="label"
          options={(pool.data ?? []).map((i) => ({ value: i.code, label: indicatorName(i, language) }))}
        />
        {mayKeep && (
          <Button
            size="small"
            disabled={indicators.length === 0}
            loading={busy}
            onClick={() => run(() => setIndicators(number, indicators), t.evaluation.indicatorsSaved)}
          >
            {t.evaluation.saveIndicators}
          </Button>
        )}
      </Flex>
      <Loaded query={report} skeletonRows={6}>
        {(found) => (
          <>
            {found.lift && <LiftLine lift={found.lift} />}
            <Table
              size="small"
              rowKey={(r) => `${r.date}/${r.region}`}
              dataSource={found.rows}
              pagination={{ pageSize: 50, hideOnSinglePage: true, size: "small" }}
              scroll={{ x: "max-content" }}
              locale={{ emptyText: <Nothing title={t.evaluation.reportNone} /> }}
              columns={[
                {
                  title: t.evaluation.date,
                  key: "date",
                  fixed: "left",
                  render: (_, r) => <span className="num">{r.date}</span>,
                },
                { title: word(t.words.regionLevel, level), key: "region", fixed: "left", render: (_, r) => area(r.region) },
                ...found.indicators.map((indicator, i) => ({
                  title: indicatorName(indicator, language),
                  key: indicator.code,
                  align: "right" as const,
                  render: (_: unknown, r: Report["rows"][number]) => (
                    <span className="num">{inUnit(r.values[i] ?? 0, indicator.unit)}</span>
                  ),
                })),
              ]}
            />
          </>
        )}
      </Loaded>
    </Panel>
  );
}

function LiftLine({ lift }: { lift: NonNullable<Report["lift"]> }) {
  const t = useTexts().evaluation;
  return (
    <div className="law" style={{ marginBottom: 10 }} data-testid="lift">
      {t.lift}: {t.liftTarget} <b className="num">{percent(lift.targetOrders, lift.target)}</b>{" "}
      <span className="num">
        ({count(lift.targetOrders)} / {count(lift.target)})
      </span>
      <i>·</i>
      {t.liftControl} <b className="num">{percent(lift.controlOrders, lift.control)}</b>{" "}
      <span className="num">
        ({count(lift.controlOrders)} / {count(lift.control)})
      </span>
      <i>·</i>
      {t.liftValue} <b className="num">{ratio(lift.lift)}</b>
      <i>·</i>
      {t.liftInterval}{" "}
      <b className="num">
        {ratio(lift.lower)} – {ratio(lift.upper)}
      </b>
    </div>
  );
}
