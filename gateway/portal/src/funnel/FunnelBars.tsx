import { Tooltip } from "antd";
import { count, percent } from "../format/number";
import { useTexts } from "../i18n";
import { type Ledger, inHand, inTransit, reached, sum } from "./ledger";

interface Segment {
  key: string;
  label: string;
  value: number;
}

/** Target, received, reached, answered, ordered: bars on the scale of the target. */
export function FunnelBars({ ledger }: { ledger: Ledger }) {
  const t = useTexts().funnel;
  const scale = Math.max(ledger.target, ledger.received, 1);
  const good = reached(ledger);
  const rows: { key: string; label: string; value: number; segments: Segment[] }[] = [
    {
      key: "target",
      label: t.target,
      value: ledger.target,
      segments: [
        { key: "handed", label: t.handed, value: ledger.handed },
        { key: "unplanned", label: t.unplanned, value: ledger.unplanned },
        { key: "control", label: t.control, value: ledger.control },
        { key: "excluded", label: t.excluded, value: sum(ledger.excluded) },
      ],
    },
    {
      key: "received",
      label: t.received,
      value: ledger.received,
      segments: [
        { key: "reached", label: t.reached, value: good },
        { key: "inhand", label: `${t.queued} · ${t.leased} · ${t.held} · ${t.waiting}`, value: inHand(ledger) },
        { key: "missed", label: t.settled, value: sum(ledger.settled) - good },
        { key: "suppressed", label: t.suppressed, value: sum(ledger.suppressed) },
        { key: "cancelled", label: t.cancelled, value: ledger.cancelled },
        { key: "transit", label: t.inTransit, value: Math.max(0, inTransit(ledger)) },
      ],
    },
    bar("reached", t.reached, good),
    bar("answered", `${t.clicks} · ${t.replies}`, ledger.clicks + ledger.replies),
    bar("orders", t.orders, ledger.orders),
  ];
  return (
    <div className="funnel" role="table">
      {rows.map((row) => (
        <div className="funnel-row" role="row" key={row.key} data-step={row.key}>
          <span className="funnel-label">{row.label}</span>
          <span className="funnel-track">
            {row.segments
              .filter((s) => s.value > 0)
              .map((s) => (
                <Tooltip key={s.key} title={`${s.label} ${count(s.value)}`} mouseEnterDelay={0}>
                  <i className={`seg seg-${s.key}`} style={{ width: `${(s.value / scale) * 100}%` }} />
                </Tooltip>
              ))}
          </span>
          <b className="num" data-value={row.value}>
            {count(row.value)}
          </b>
          <span className="num share">{row.key === "target" ? "" : percent(row.value, ledger.target)}</span>
        </div>
      ))}
    </div>
  );
}

function bar(key: string, label: string, value: number) {
  return { key, label, value, segments: [{ key, label, value }] };
}
