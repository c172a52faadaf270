import { CloseOutlined } from "@ant-design/icons";
import { Button, DatePicker, Flex, Input, Select, Switch } from "antd";
import dayjs from "dayjs";
import { useState } from "react";
import { countAudience } from "../../api/calls";
import { ApiError } from "../../api/client";
import type { AudienceCount } from "../../api/types";
import { useSession } from "../../app/session";
import { count, percent, toNumber } from "../../format/number";
import { Reasons } from "../../funnel/Conservation";
import { reasonsOf } from "../../funnel/ledger";
import { named, useLanguage, useTexts } from "../../i18n";
import { ErrorPanel } from "../../parts/ErrorPanel";
import { Panel } from "../../parts/Room";
import { regionName, selectable } from "../../region/names";
import { OPERATORS, type Row, complete, conditionOf, takesBounds, takesMany, takesValue } from "./selection";

/** The condition area: rows joined by "and", a region, and the count with its exclusions. */
export function Conditions({ rows, onChange }: { rows: Row[]; onChange: (rows: Row[]) => void }) {
  const t = useTexts();
  const { language } = useLanguage();
  const session = useSession();
  const regions = selectable(session.regions);
  const [chosen, setChosen] = useState<number[]>([]);
  const [date, setDate] = useState<string>("");
  const [busy, setBusy] = useState(false);
  const [result, setResult] = useState<AudienceCount>();
  const [problem, setProblem] = useState<ApiError>();
  const change = (row: Row) => onChange(rows.map((old) => (old.id === row.id ? row : old)));

  const ask = async () => {
    setBusy(true);
    setProblem(undefined);
    try {
      // A person bound to some regions asks for these unless he narrows them.
      const scope = chosen.length > 0 ? chosen : session.regions;
      setResult(await countAudience({ condition: conditionOf(rows), regions: scope, dataDate: date }));
    } catch (failure) {
      setResult(undefined);
      setProblem(failure instanceof ApiError ? failure : new ApiError(0, "PORTAL_FAULT", String(failure)));
    } finally {
      setBusy(false);
    }
  };

  return (
    <Panel title={t.research.conditions} testId="conditions">
      {rows.length === 0 && <p className="soft" style={{ marginTop: 0 }}>{t.research.conditionsNone}</p>}
      {rows.map((row) => (
        <RowEditor key={row.id} row={row} onChange={change} onRemove={() => onChange(rows.filter((r) => r.id !== row.id))} />
      ))}
      <Flex gap={8} wrap style={{ margin: "14px 0" }}>
        <Select
          mode="multiple"
          style={{ minWidth: 200, flex: 1 }}
          placeholder={`${t.research.region}: ${session.regions.map((r) => regionName(r, language)).join(" · ")}`}
          value={chosen}
          onChange={setChosen}
          options={regions.map((code) => ({ value: code, label: regionName(code, language) }))}
          optionFilterProp="label"
        />
        <DatePicker
          placeholder={`${t.research.dataDate}: ${t.research.newest}`}
          value={date ? dayjs(date) : null}
          onChange={(value) => setDate(value ? value.format("YYYY-MM-DD") : "")}
        />
        <Button type="primary" loading={busy} disabled={!rows.every(complete)} onClick={ask} data-testid="count">
          {t.research.count}
        </Button>
      </Flex>
      <p className="soft">{t.research.suppression}</p>
      {problem && <ErrorPanel error={problem} />}
      {result && <Result result={result} />}
    </Panel>
  );
}

function Result({ result }: { result: AudienceCount }) {
  const t = useTexts();
  const lines: [string, string, string][] = [
    [t.research.scope, result.scope, "inhand"],
    [t.research.matched, result.matched, "answered"],
    [t.research.afterExclusion, result.count, "reached"],
  ];
  const whole = Math.max(1, toNumber(result.scope));
  return (
    <div data-testid="count-result">
      <div className="funnel">
        {lines.map(([label, value, seg]) => (
          <div className="funnel-row" key={label}>
            <span className="funnel-label">{label}</span>
            <span className="funnel-track">
              <i className={`seg seg-${seg}`} style={{ width: `${(toNumber(value) / whole) * 100}%` }} />
            </span>
            <b className="num" data-value={value}>
              {count(value)}
            </b>
            <span className="num share">{percent(value, result.scope)}</span>
          </div>
        ))}
      </div>
      <Reasons title={t.funnel.excludedWhy} reasons={reasonsOf(result.excluded)} words={t.words.reason} />
      {result.dataDate && <p className="soft">{t.research.resultDate(result.dataDate)}</p>}
    </div>
  );
}

function RowEditor({ row, onChange, onRemove }: { row: Row; onChange: (row: Row) => void; onRemove: () => void }) {
  const t = useTexts();
  const { language } = useLanguage();
  return (
    <div className="condition-row" data-testid="condition" data-tag={row.tag.code}>
      <b>{named(language, row.tag.displayName, row.tag.displayNameEn)}</b>
      <Select
        size="small"
        style={{ width: 112 }}
        value={row.operator}
        onChange={(operator) => onChange({ ...row, operator })}
        options={(OPERATORS[row.tag.type] ?? []).map((value) => ({ value, label: t.words.operator[value] }))}
      />
      {takesBounds(row.operator) ? (
        <Bounds row={row} onChange={onChange} />
      ) : takesValue(row.operator) ? (
        <Values row={row} onChange={onChange} />
      ) : null}
      <span style={{ flex: 1 }} />
      <Button size="small" type="text" icon={<CloseOutlined />} aria-label={t.research.remove} onClick={onRemove} />
    </div>
  );
}

/** Lower and upper bound, each open or closed (AUD-09). */
function Bounds({ row, onChange }: { row: Row; onChange: (row: Row) => void }) {
  const t = useTexts();
  const bound = (side: "lower" | "upper") => {
    const openKey = side === "lower" ? "lowerOpen" : "upperOpen";
    return (
      <Flex gap={6} align="center" key={side}>
        <Input
          size="small"
          style={{ width: 96 }}
          placeholder={row.tag.type === "TAG_TYPE_DATE" ? "2026-01-31" : t.research[side]}
          value={row[side]}
          inputMode="decimal"
          data-testid={side}
          onChange={(e) => onChange({ ...row, [side]: e.target.value })}
        />
        <Switch
          size="small"
          checked={!row[openKey]}
          checkedChildren={t.research.closedBound}
          unCheckedChildren={t.research.openBound}
          data-testid={`${side}-closed`}
          onChange={(closed) => onChange({ ...row, [openKey]: !closed })}
        />
      </Flex>
    );
  };
  return (
    <>
      {bound("lower")} {t.common.to} {bound("upper")}
      {row.tag.unit && <span className="soft">{t.words.unit[row.tag.unit] ?? row.tag.unit}</span>}
    </>
  );
}

function Values({ row, onChange }: { row: Row; onChange: (row: Row) => void }) {
  const t = useTexts();
  const many = takesMany(row.operator);
  if (row.tag.type === "TAG_TYPE_FLAG") {
    return (
      <Select
        size="small"
        style={{ width: 80 }}
        value={row.values[0]}
        onChange={(value) => onChange({ ...row, values: [value] })}
        options={[
          { value: "true", label: t.common.yes },
          { value: "false", label: t.common.no },
        ]}
      />
    );
  }
  if (row.tag.values.length > 0 || (many && row.tag.type !== "TAG_TYPE_NUMBER")) {
    return (
      <Select
        size="small"
        mode={row.tag.values.length > 0 ? "multiple" : "tags"}
        style={{ minWidth: 190 }}
        maxCount={many ? undefined : 1}
        placeholder={t.research.value}
        value={row.values}
        onChange={(values) => onChange({ ...row, values })}
        options={row.tag.values.map((v) => ({ value: v.code, label: v.label || v.code }))}
        optionFilterProp="label"
      />
    );
  }
  return (
    <>
      <Input
        size="small"
        style={{ width: 130 }}
        placeholder={row.tag.type === "TAG_TYPE_DATE" ? "2026-01-31" : t.research.value}
        value={row.values[0] ?? ""}
        data-testid="value"
        onChange={(e) => onChange({ ...row, values: [e.target.value] })}
      />
      {row.tag.unit && <span className="soft">{t.words.unit[row.tag.unit] ?? row.tag.unit}</span>}
    </>
  );
}
