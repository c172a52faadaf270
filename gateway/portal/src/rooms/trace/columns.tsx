import type { ColumnsType } from "antd/es/table";
import type { TraceSummary } from "../../api/types";
import { Link } from "../../app/router";
import { count, micros } from "../../format/number";
import { dateTime } from "../../format/time";
import { useTexts, word } from "../../i18n";
import { shortName } from "./search";
import { serviceColour } from "./services";

export const traceId = (name: string): string => name.replace(/^traces\//, "");

export function useTraceColumns(): ColumnsType<TraceSummary> {
  const t = useTexts();
  return [
    {
      title: t.trace.root,
      key: "root",
      render: (_, s) => (
        <>
          <span className="wf-service" style={{ background: serviceColour(s.service) }}>
            {word(t.words.service, s.service)}
          </span>{" "}
          <Link to={`/traces/${traceId(s.name)}`}>{shortName(s.root)}</Link>
        </>
      ),
    },
    {
      title: t.error.traceId,
      key: "id",
      render: (_, s) => <span className="mono soft">{traceId(s.name).slice(0, 16)}…</span>,
    },
    { title: t.trace.start, key: "start", render: (_, s) => <span className="num">{dateTime(s.startTime, true)}</span> },
    {
      title: t.trace.duration,
      key: "duration",
      align: "right",
      render: (_, s) => <span className="num">{micros(s.durationMicros)}</span>,
    },
    {
      title: t.trace.spans,
      key: "spans",
      align: "right",
      render: (_, s) => <span className="num">{count(s.spanCount)}</span>,
    },
    {
      title: t.trace.errors,
      key: "errors",
      align: "right",
      render: (_, s) => (
        <span className="num" style={s.errorCount > 0 ? { color: "#cf3a2f", fontWeight: 600 } : {}}>
          {count(s.errorCount)}
        </span>
      ),
    },
  ];
}
