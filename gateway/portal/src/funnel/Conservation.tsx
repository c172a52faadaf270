import { CheckCircleFilled, SyncOutlined, WarningFilled } from "@ant-design/icons";
import { Fragment } from "react";
import { count } from "../format/number";
import { useTexts, word } from "../i18n";
import { type Ledger, type Reason, inTransit, plannedGap, receivedGap, sum } from "./ledger";

/** Both halves of the law, spelled out: every customer of the target is accounted for. */
export function Conservation({ ledger, compact = false }: { ledger: Ledger; compact?: boolean }) {
  const t = useTexts().funnel;
  const transit = inTransit(ledger);
  return (
    <div className="conservation" data-testid="conservation">
      <Line
        whole={[t.target, ledger.target]}
        parts={[
          [t.control, ledger.control],
          [t.excluded, sum(ledger.excluded)],
          [t.unplanned, ledger.unplanned],
          [t.handed, ledger.handed],
        ]}
        gap={plannedGap(ledger)}
        compact={compact}
      />
      <Line
        whole={[t.received, ledger.received]}
        parts={[
          [t.suppressed, sum(ledger.suppressed)],
          [t.waiting, ledger.waiting],
          [t.held, ledger.held],
          [t.queued, ledger.queued],
          [t.leased, ledger.leased],
          [t.cancelled, ledger.cancelled],
          [t.settled, sum(ledger.settled)],
        ]}
        gap={receivedGap(ledger)}
        compact={compact}
      />
      {transit !== 0 && (
        <div className="law">
          <SyncOutlined style={{ color: "#1d5fbf" }} /> {t.inTransit} <b className="num">{count(transit)}</b>
        </div>
      )}
    </div>
  );
}

function Line({
  whole,
  parts,
  gap,
  compact,
}: {
  whole: [string, number];
  parts: [string, number][];
  gap: number;
  compact: boolean;
}) {
  const t = useTexts().funnel;
  // Where room is short, parts that hold nobody are left out; the last one always shows.
  const shown = compact ? parts.filter(([, value], i) => value !== 0 || i === parts.length - 1) : parts;
  return (
    <div className="law" data-gap={gap}>
      {gap === 0 ? (
        <CheckCircleFilled style={{ color: "#1f9d6b" }} aria-label={t.balanced} />
      ) : (
        <WarningFilled style={{ color: "#cf3a2f" }} aria-label={t.unbalanced(count(gap))} />
      )}{" "}
      {whole[0]} <b className="num">{count(whole[1])}</b>
      {shown.map(([label, value], i) => (
        <Fragment key={label}>
          <i>{i === 0 ? "=" : "+"}</i>
          <span className={value === 0 ? "zero" : ""}>
            {label} <b className="num">{count(value)}</b>
          </span>
        </Fragment>
      ))}
      {gap !== 0 && <em>{t.unbalanced(count(gap))}</em>}
    </div>
  );
}

/** Reasons in words with their numbers. */
export function Reasons({ title, reasons, words }: { title: string; reasons: Reason[]; words: Record<string, string> }) {
  if (reasons.length === 0) return null;
  return (
    <div className="reasons">
      {title && <span>{title}</span>}
      {reasons.map((r) => (
        <span className="reason" key={r.reason} data-reason={r.reason}>
          {word(words, r.reason)} <b className="num">{count(r.count)}</b>
        </span>
      ))}
    </div>
  );
}
